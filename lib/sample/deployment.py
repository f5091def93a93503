"""The sample data: a deployment of its own beside the real one, with a database and a master key of its own.

It is made in a folder aside and put in its place in one step, so it is there whole or not at all. Nothing of it is
in the real database, and nothing that is asked of it leaves this machine: its settings say that it is the sample.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from io import BytesIO
from pathlib import Path

from lib.access import audit
from lib.access.audit import Tag
from lib.access.roles import Action, Actor, Origin, Role, local_administrator, require
from lib.alerts import thresholds
from lib.clock import DAY, Micros, from_micros
from lib.db import Database
from lib.errors import BadInput, DatabaseUnavailable
from lib.exchange.imports.import_usage import import_usage
from lib.ledger.ledger import Ledger
from lib.platform import Platform
from lib.pricing.amounts import NANO
from lib.pricing.prices import PriceBook
from lib.providers import DEFAULT, known
from lib.reports.models import UsageFilter
from lib.runs.lifecycle import RunStore
from lib.sample.past import sized, usage_file
from lib.sample.play import Clock, Stage, play
from lib.sample.prices import PricesOfToday
from lib.sample.projects import PLATFORM_LAST4, STORIES, OwnKey, Story
from lib.sample.traffic import DraftRun, draft_runs
from lib.secret import Secret
from lib.settings import Settings
from lib.vault.keys import KeyStore
from lib.vault.master_keys import keyfile
from lib.vault.master_keys.masters import Keyring, new_key
from lib.vault.sealing import KEY_BYTES, MasterKey
from lib.vault.states import Verdict

DAYS = 120
LIVE: Micros = 7 * DAY
"""What goes through the ledger; all before is imported."""

_THERE = "The sample data is there already. Remove it first to load it again."
_PEOPLE = (
    ("amara@example.com", "storefront-web", "lead"),
    ("tomas@example.com", "mobile-bff", "lead"),
    ("lin@example.com", "search-ranking", "lead"),
    ("jonas@example.com", "partner-webhooks", "lead"),
    ("priya@example.com", "payments-core", "lead"),
    ("noor@example.com", "checkout-api", "manager"),
    ("sam@example.com", None, "analyst"),
    ("ines@example.com", None, "manager"),
)
"""Who has which role, in a project or in all of them."""


@dataclass(frozen=True)
class SampleData:
    """What was loaded or removed."""

    projects: list[str]
    calls: int


def sample_settings(settings: Settings) -> Settings:
    """Return the settings of the sample deployment that stands beside the one of ``settings``."""
    return _settings_in(settings, settings.sample_folder)


def is_loaded(settings: Settings) -> bool:
    """Whether the sample data is there."""
    return _database_file(settings.sample_folder).exists()


def identity(settings: Settings) -> tuple[int, int] | None:
    """Return what tells this sample data from one that was loaded later; None where there is none."""
    try:
        found = _database_file(settings.sample_folder).stat()
    except OSError:
        return None
    return found.st_ino, found.st_ctime_ns


def visitor(actor: Actor) -> Actor:
    """Return who a person is in the sample deployment: a lead of all its projects, or what they are everywhere."""
    return replace(actor, everywhere=max(actor.everywhere or Role.LEAD, Role.LEAD), projects={})


def load(
    platform: Platform, actor: Actor, *, now: Micros | None = None, days: int | None = None
) -> SampleData:
    """Make the sample deployment beside the real one.

    Args:
        platform: the real front door; its audit log says that the sample data was loaded.
        actor: who loads it; needs the role admin.
        now: when its history ends; the database's time unless told.
        days: how far back it goes; 120 unless told.

    Raises:
        BadInput: it is there already.
        Forbidden: only administrators create projects.
        DatabaseUnavailable: there is no room for it.
    """
    require(actor, Action.CREATE_PROJECT, None)
    folder = platform.settings.sample_folder
    if is_loaded(platform.settings):
        raise BadInput(_THERE)
    with platform.database.read() as connection:
        now = now or platform.database.now(connection)
    with _put_in_place(folder) as aside:
        loaded = _make(_settings_in(platform.settings, aside), now, days or DAYS)
    _note(platform.database, actor, Tag.SAMPLE_LOADED, loaded)
    return loaded


def remove(platform: Platform, actor: Actor) -> None:
    """Remove the sample deployment.

    Raises:
        BadInput: there is none.
        Forbidden: an actor who may not load it may not remove it.
    """
    require(actor, Action.CREATE_PROJECT, None)
    folder = platform.settings.sample_folder
    gone = Path(tempfile.mkdtemp(prefix=f"{folder.name}-gone-", dir=_parent(folder)))
    try:
        folder.rename(gone / "sample")
    except FileNotFoundError:
        raise BadInput("There is no sample data to remove.") from None
    finally:
        shutil.rmtree(gone, ignore_errors=True)
    _note(platform.database, actor, Tag.SAMPLE_REMOVED, None)


def _note(database: Database, actor: Actor, tag: Tag, data: SampleData | None) -> None:
    with database.write() as connection:
        after = {"projects": data.projects, "calls": data.calls} if data else None
        audit.record(connection, database.now(connection), actor, tag, after=after)


# --- where it is -----------------------------------------------------------------------------------


class _SampleSettings(Settings):
    is_sample = True


def _settings_in(settings: Settings, folder: Path) -> Settings:
    own = {
        "database_url": f"sqlite:///{_database_file(folder)}",
        "master_keys": None,
        "key_service": None,
        "master_key_file": folder / "keys" / "master.key",
        **{f"{name}_api_key": Secret(f"sk-sample-not-a-key-{PLATFORM_LAST4}") for name in known.facts},
    }
    return _SampleSettings.model_construct(**(dict(settings) | own))


def _database_file(folder: Path) -> Path:
    return folder / "db" / "qodex.db"


@contextmanager
def _put_in_place(folder: Path) -> Iterator[Path]:
    """A folder aside, which becomes ``folder`` at the end of the block; where that fails nothing is left."""
    aside = Path(tempfile.mkdtemp(prefix=f"{folder.name}-new-", dir=_parent(folder)))
    try:
        yield aside / "sample"
        (aside / "sample").rename(folder)
    except OSError as problem:
        if folder.exists():
            raise BadInput(_THERE) from None  # another process was first
        raise DatabaseUnavailable(f"The sample data cannot be written ({problem.strerror}).") from None
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _parent(folder: Path) -> Path:
    folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder.parent


# --- making it -------------------------------------------------------------------------------------


def _make(settings: Settings, now: Micros, days: int) -> SampleData:
    clock = Clock(now - days * DAY - DAY)
    operator = local_administrator(Origin.COMMAND_LINE, "operator")
    keyfile.create(settings.master_key_file, keyfile.text_of([new_key()]))
    with closing(Platform(settings, actor=operator, clock=clock, durable=False)) as platform:
        lost = Keyring([MasterKey(os.urandom(KEY_BYTES))])
        prices = PricesOfToday(from_micros(now))
        drafts = [(story, _drafts(story, prices, now, days)) for story in STORIES]
        _found(platform, clock, lost, now)
        _import_past(platform, prices, clock, drafts, now)
        play(_stage(platform, prices, clock, lost, now), _after(drafts, now - LIVE))
        _fit_caps(platform)
        platform.database.purge_deleted()
        calls = platform.reports.totals(UsageFilter(), actor=operator).calls
    return SampleData(sorted(story.name for story in STORIES), calls)


def _drafts(story: Story, prices: PriceBook, now: Micros, days: int) -> list[DraftRun]:
    return sized(draft_runs(story, now, days), story, prices, now - LIVE, from_micros(now))


def _after(
    drafts: Sequence[tuple[Story, list[DraftRun]]], since: Micros
) -> list[tuple[Story, list[DraftRun]]]:
    return [(story, [run for run in runs if run.started_at >= since]) for story, runs in drafts]


def _found(platform: Platform, clock: Clock, lost: Keyring, now: Micros) -> None:
    """Projects, members and keys, each at its time; each leaves its row in the audit log."""
    begin = clock.now
    acts = [
        (max(begin, now - (story.age or now)), partial(_add_project, platform, story)) for story in STORIES
    ]
    acts += [(begin + DAY, partial(_add_member, platform, *person)) for person in _PEOPLE]
    acts += [
        (max(begin + 2 * DAY, now - key.saved), partial(_save_key, platform, story, (provider, key), lost))
        for story in STORIES
        for provider in known.facts
        if (key := story.key_of(provider)) is not None
    ]
    for at, act in sorted(acts, key=lambda each: each[0]):
        clock.move_to(at)
        act()


def _add_project(platform: Platform, story: Story) -> None:
    platform.projects.add(story.name, name=story.title, plan=story.plan, actor=platform.actor)


def _add_member(platform: Platform, email: str, slug: str | None, role: str) -> None:
    platform.members.put(email, role, slug=slug, actor=platform.actor)


def _save_key(platform: Platform, story: Story, own_key: tuple[str, OwnKey], lost: Keyring) -> None:
    """Save a text that no provider would take; what is to be locked by now is sealed with a key that nobody has."""
    provider, key = own_key
    own = platform.keyring.first
    keyring = platform.keyring if key.locked is None else Keyring([lost.first, own])
    store = KeyStore(platform.database, keyring, {})
    lead = Actor(key.saved_by, Origin.BROWSER, Role.LEAD)
    secret = Secret(f"sk-sample-not-a-key-{key.last4}")
    store.save(story.name, secret, actor=lead, expected_version=0, verdict=Verdict(), provider=provider)
    if story.on_key_failure != "stop" and provider == DEFAULT:
        platform.projects.set_policy(story.name, story.on_key_failure, actor=lead)


def _import_past(
    platform: Platform,
    prices: PriceBook,
    clock: Clock,
    drafts: Sequence[tuple[Story, list[DraftRun]]],
    now: Micros,
) -> None:
    since = now - LIVE
    clock.move_to(since)
    past = [(story, [run for run in runs if run.started_at < since]) for story, runs in drafts]
    file = usage_file(past, prices, now, from_micros(now), until=since)
    import_usage(platform.database, platform.prices, BytesIO(file), name="older weeks", actor=platform.actor)


def _stage(platform: Platform, prices: PriceBook, clock: Clock, lost: Keyring, now: Micros) -> Stage:
    both = Keyring([platform.keyring.first, lost.first])
    keys = platform.settings.platform_keys
    opens, locks = (KeyStore(platform.database, ring, keys) for ring in (both, platform.keyring))
    return Stage(
        Ledger(platform.database, opens, prices, platform.actor),
        Ledger(platform.database, locks, prices, platform.actor),
        RunStore(platform.database, thresholds.refused),
        platform.actor,
        clock,
        now,
        lambda slug: platform.caps.headroom(slug).windows["5h"].free_nano,
    )


def _fit_caps(platform: Platform) -> None:
    """Give a project that is to be near its 7-day cap one that fits what it has used."""
    for story in STORIES:
        if story.near_cap is not None:
            windows = platform.caps.headroom(story.name).windows
            cap = 100 * windows["7d"].used_nano // story.near_cap
            platform.plans.set_caps(
                story.name,
                cap_5h_nano=windows["5h"].cap_nano,
                cap_7d_nano=cap + -cap % (NANO // 10),
                reason="Agreed for this quarter",
                actor=platform.actor,
            )
