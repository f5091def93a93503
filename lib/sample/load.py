"""The sample workspace: eight labelled projects that show every page in use, apart from all that is real.

Loading and removing it leaves two rows of the audit log, and nothing else. Its projects are marked
(``projects.sample``): they are in no total, list or export unless asked for (lib.reports.spend), and no call
of theirs ever leaves this machine (lib.ledger.payer).
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, Table, delete, func, insert, select

from lib.access import audit
from lib.access.audit import Tag
from lib.access.roles import Action, Actor, require
from lib.caps.windows import admit, standing
from lib.clock import DAY, MINUTE, Micros, to_micros
from lib.db import Database
from lib.db.tables import (
    accounts,
    cap_overrides,
    members,
    plans,
    projects,
    provider_keys,
    run_log,
    runs,
    usage_events,
)
from lib.errors import BadInput, CapExceeded, DatabaseConflict
from lib.pricing.prices import NANO, PriceBook
from lib.sample.keys import FakeKey, FakeKeys
from lib.sample.projects import STORIES, Story
from lib.sample.rows import Row, log_row, run_row
from lib.sample.simulate import Cast, Played, play
from lib.sample.traffic import draft_runs
from lib.usage import rollups
from lib.vault.masters import Keyring

DAYS = 120
_PREFIX = "sample-"
_REASON = "Caps of the sample data"
_BATCH = 2_000
_THERE = "The sample data is there already. Remove it first to load it again."
_AT_CAP = (("scheduled", 11 * MINUTE), ("pr_review", 9 * MINUTE), ("chat", 6 * MINUTE))
"""Runs that came when the cap was used: kind, and how long ago."""


@dataclass(frozen=True)
class SampleData:
    """What was loaded or removed."""

    projects: list[str]
    calls: int


@dataclass(frozen=True)
class _Told:
    """One story, played: ready to be written."""

    story: Story
    cast: Cast
    created_at: Micros
    key: FakeKey | None
    played: Played


def is_loaded(database: Database) -> bool:
    """Whether the sample data is there."""
    with database.read() as connection:
        return bool(_sample_ids(connection))


def load(
    database: Database, keyring: Keyring, actor: Actor, now: Micros | None = None, *, days: int | None = None
) -> SampleData:
    """Write the sample projects with a history of ``days`` up to ``now`` (120, and the database's time).

    Everything is made first and then written in one transaction, all or nothing. The same ``now`` and ``days``
    give the same data, but for the projects' ids.

    Raises:
        BadInput: it is there already.
        MasterKeyMissing: there is no master key to seal its made-up keys with.
        Forbidden: only administrators create projects.
    """
    require(actor, Action.CREATE_PROJECT, None)
    with database.read() as connection:
        if _sample_ids(connection):
            raise BadInput(_THERE)
        now = database.now(connection) if now is None else now
        slugs = _free_slugs(connection)
    keys, prices, days = FakeKeys(database, keyring, now), PriceBook(), days or DAYS
    told = [_tell(story, slug, keys, prices, now, days) for story, slug in zip(STORIES, slugs, strict=True)]
    loaded = SampleData(slugs, sum(len(each.played.events) for each in told))
    try:
        with database.write(seconds=0) as connection:
            _write(connection, told, actor, now)
            at = database.now(connection)
            audit.record(connection, at, actor, Tag.SAMPLE_LOADED, after=_audited(loaded))
    except DatabaseConflict:
        raise BadInput(_THERE) from None  # somebody else was first
    return loaded


def remove(database: Database, actor: Actor) -> SampleData:
    """Remove the sample projects and all that belongs to them.

    Raises:
        BadInput: there is none.
        Forbidden: whoever may not load it may not remove it.
    """
    require(actor, Action.CREATE_PROJECT, None)
    with database.write(seconds=0) as connection:
        ids = _sample_ids(connection, lock=True)
        if not ids:
            raise BadInput("There is no sample data to remove.")
        names = select(projects.c.slug).where(projects.c.id.in_(ids)).order_by(projects.c.slug)
        slugs = list(connection.execute(names).scalars())
        calls = select(func.count()).select_from(usage_events).where(usage_events.c.project_id.in_(ids))
        removed = SampleData(slugs, int(connection.execute(calls).scalar_one()))
        connection.execute(delete(members).where(members.c.scope.in_(ids)))
        connection.execute(delete(projects).where(projects.c.id.in_(ids)))  # and what refers to them
        now = database.now(connection)
        audit.record(connection, now, actor, Tag.SAMPLE_REMOVED, before=_audited(removed))
    return removed


def _sample_ids(connection: Connection, *, lock: bool = False) -> Sequence[str]:
    statement = select(projects.c.id).where(projects.c.sample.is_(True)).order_by(projects.c.id)
    return connection.execute(statement.with_for_update() if lock else statement).scalars().all()


def _audited(data: SampleData) -> dict[str, object]:
    return {"projects": data.projects, "calls": data.calls}


def _free_slugs(connection: Connection) -> list[str]:
    """A name of its own for each project, also where somebody has a real project of that name."""
    taken = set(connection.execute(select(projects.c.slug)).scalars())
    slugs = []
    for story in STORIES:
        wanted = slug = f"{_PREFIX}{story.name}"
        number = 1
        while slug in taken:
            number += 1
            slug = f"{wanted}-{number}"
        slugs.append(slug)
    return slugs


def _tell(story: Story, slug: str, keys: FakeKeys, prices: PriceBook, now: Micros, days: int) -> _Told:
    project_id = str(uuid.uuid4())
    key = keys.seal(project_id, story.key) if story.key else None
    cast = Cast(project_id, slug, key.locked_sentence if key else "")
    oldest = max(min(days * DAY, story.age or days * DAY), story.key.saved if story.key else 0)
    played = play(story, cast, draft_runs(story, now, days), prices, now)
    return _Told(story, cast, now - oldest - DAY, key, played)


# --- writing ---------------------------------------------------------------------------------------


def _write(connection: Connection, told: Sequence[_Told], actor: Actor, now: Micros) -> None:
    if connection.dialect.name != "sqlite":
        # Waits for a change of the reporting zone that is under way, and keeps the next one waiting.
        connection.exec_driver_sql("LOCK TABLE usage_daily IN ROW EXCLUSIVE MODE")
    for each in told:
        connection.execute(insert(projects), _project_row(each, actor))
        connection.execute(insert(accounts), _account_row(each))
        if each.key:
            connection.execute(insert(provider_keys), each.key.row(each.played.events))
        _insert(connection, runs, each.played.runs)
        _insert(connection, usage_events, each.played.events)
        _insert(connection, run_log, each.played.log)
        first = min((event["occurred_at"] for event in each.played.events), default=now)
        rollups.rebuild(connection, each.cast.project_id, first, now + 1)
        _write_caps(connection, each, actor, now)
        if each.story.rush is not None:
            _write_runs_at_cap(connection, each, now)


def _insert(connection: Connection, table: Table, rows: Sequence[Row]) -> None:
    for start in range(0, len(rows), _BATCH):
        connection.execute(insert(table), rows[start : start + _BATCH])


def _project_row(told: _Told, actor: Actor) -> Row:
    key, chosen = told.story.key, told.story.on_key_failure
    decided = key is not None and chosen != "stop"
    return {
        "id": told.cast.project_id,
        "slug": told.cast.slug,
        "name": f"{told.story.title} (sample)",
        "plan": told.story.plan,
        "on_key_failure": chosen,
        "policy_set_at": told.created_at + DAY if decided else None,
        "policy_set_by": key.saved_by if key and decided else None,
        "created_at": told.created_at,
        "created_by": actor.name,
        "sample": True,
    }


def _account_row(told: _Told) -> Row:
    played = told.played
    return {
        "project_id": told.cast.project_id,
        "sequence": played.sequence,
        "counted_nano": played.counted_nano,
        "unknown_nano": played.unknown_nano,
        "last_settled_at": played.last_settled_at,
    }


def _write_caps(connection: Connection, told: _Told, actor: Actor, now: Micros) -> None:
    """Caps of its own where the story has some, or where the plan's are not those it was written for."""
    plan = connection.execute(select(plans).where(plans.c.name == told.story.plan)).one()
    caps = dict(told.story.caps)
    if told.story.near_cap is not None:
        used = standing(connection, told.cast.project_id, now).used("7d")
        caps["7d"] = _round_up(100 * used // told.story.near_cap)
    if caps == {"5h": plan.cap_5h_nano, "7d": plan.cap_7d_nano}:
        return
    row = {"cap_5h_nano": caps["5h"], "cap_7d_nano": caps["7d"], "reason": _REASON}
    made = {"project_id": told.cast.project_id, "set_at": now - DAY, "set_by": actor.name}
    connection.execute(insert(cap_overrides), row | made)


def _round_up(nano: int) -> int:
    """To tenths of a dollar."""
    return nano + -nano % (NANO // 10)


def _write_runs_at_cap(connection: Connection, told: _Told, now: Micros) -> None:
    """What came after the cap was used: waiting runs, and a refused one. The caps themselves say until when."""
    project_id = told.cast.project_id
    try:
        admit(connection, standing(connection, project_id, now), 1)
    except CapExceeded as problem:
        refusal = problem
    else:
        return
    returns_at = None if refusal.returns_at is None else to_micros(refusal.returns_at)
    for number, (kind, ago) in enumerate(_AT_CAP):
        waits = kind != "chat"
        run_id = f"r-{uuid.uuid5(uuid.UUID(project_id), str(number)).hex[:10]}"
        run = run_row(project_id, run_id, kind, "waiting" if waits else "refused", now - ago)
        stopped = {"ended_at": now - ago, "stopped_by": "cap"}
        connection.execute(insert(runs), run | ({"resumes_at": returns_at} if waits else stopped))
        tag = "run:waiting" if waits else "cap:refused"
        connection.execute(insert(run_log), log_row(run, now - ago, tag, refusal.sentence))
