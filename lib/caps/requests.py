"""Asking for more room: a lead asks, an administrator who is somebody else decides, for a time, and both are audited."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace

from sqlalchemy import Connection, insert, select, update

from lib.access import audit
from lib.access.audit import Subject, Tag
from lib.access.denied_attempts import denials_logged
from lib.access.projects import find, find_for, visible_projects
from lib.access.roles import Action, Actor, require
from lib.caps.plans import Override, checked_override, replace_override
from lib.clock import Micros
from lib.db import AnyRow, Database
from lib.db.tables import cap_requests, projects
from lib.errors import BadInput, Forbidden

_LONGEST_ANSWER = 500


@dataclass(frozen=True)
class CapRequest:
    """What somebody asked for: both caps in nano-USD, until when, and why. ``status``: open, approved or declined."""

    project: str
    request_id: str
    asked_by: str
    asked_at: Micros
    cap_5h_nano: int
    cap_7d_nano: int
    wanted_until: Micros
    reason: str
    status: str
    decided_by: str | None = None
    decided_at: Micros | None = None
    answer: str | None = None


Tell = Callable[[Connection, Subject, CapRequest, Micros], None]
"""Tells of a request that was made or decided, within the transaction that does it."""


def _tell_nobody(*_: object) -> None:
    pass


_FIELDS = tuple(name for name in CapRequest.__dataclass_fields__ if name != "project")
_ALL = (
    select(projects.c.slug.label("project"), *(cap_requests.c[name] for name in _FIELDS))
    .join(projects, projects.c.id == cap_requests.c.project_id)
    .order_by(cap_requests.c.asked_at.desc(), cap_requests.c.request_id)
)


class CapRequests:
    """Ask for more room, list what is asked, decide. Each function checks the actor's rights itself."""

    def __init__(self, database: Database, tell: Tell = _tell_nobody) -> None:
        self._database, self._tell = database, tell

    def ask(
        self, slug: str, *, cap_5h_nano: int, cap_7d_nano: int, until: Micros, reason: str, actor: Actor
    ) -> CapRequest:
        """Ask for other caps of a project until an instant; it replaces what the project asked for and still waits.

        Raises:
            BadInput: a cap is below zero, the reason is missing, or the end lies in the past.
            Forbidden: that takes the role lead.
        """
        wanted = checked_override(cap_5h_nano, cap_7d_nano, reason, until)
        with (
            denials_logged(self._database, actor, "ask for more room", slug),
            self._database.write() as connection,
        ):
            project = find_for(connection, slug, actor, Action.ASK_FOR_CAPS, lock=True)
            now = self._database.now(connection)
            _require_future(until, now)
            asked = CapRequest(
                slug,
                str(uuid.uuid4()),
                actor.name,
                now,
                cap_5h_nano,
                cap_7d_nano,
                until,
                wanted.reason,
                "open",
            )
            _close(
                connection, project.id, {"status": "replaced", "decided_by": actor.name, "decided_at": now}
            )
            row = {name: value for name, value in asdict(asked).items() if name != "project"}
            connection.execute(insert(cap_requests), row | {"project_id": project.id})
            audit.record(connection, now, actor, Tag.CAPS_ASKED, project.subject, after=asdict(wanted))
            self._tell(connection, project.subject, asked, now)
        return asked

    def waiting(self, *, actor: Actor, slug: str | None = None) -> list[CapRequest]:
        """What waits for a decision in the projects that the actor sees, or in one of them; the newest first."""
        with self._database.read() as connection:
            ids = visible_projects(connection, actor, [slug] if slug else [])
            found = connection.execute(_ALL.where(cap_requests.c.status == "open")).all()
            asking = projects.c.slug.in_({row.project for row in found})
            names = connection.execute(
                select(projects.c.slug).where(projects.c.id.in_(ids), asking)
            ).scalars()
            visible = set(names)
        return [_request(row) for row in found if row.project in visible]

    def latest(self, slug: str, *, actor: Actor) -> CapRequest | None:
        """The last thing that was asked for in a project, decided or not; None where nothing was."""
        with self._database.read() as connection:
            project = find_for(connection, slug, actor, Action.SEE_SPEND)
            row = connection.execute(_ALL.where(cap_requests.c.project_id == project.id).limit(1)).first()
        return _request(row) if row else None

    def approve(
        self,
        slug: str,
        request_id: str,
        *,
        cap_5h_nano: int,
        cap_7d_nano: int,
        until: Micros,
        actor: Actor,
    ) -> Override:
        """Give a project caps of its own until an instant, as was asked or otherwise; they count from its next call on.

        Raises:
            BadInput: nothing waits under that id any more, a cap is below zero, or the end lies in the past.
            Forbidden: that takes the role admin, and somebody else than who asked.
        """
        with self._deciding(slug, actor) as connection:
            project = find(connection, slug, lock=True)
            asked = _waiting(connection, project.id, request_id, actor)
            now = self._database.now(connection)
            _require_future(until, now)
            given = checked_override(cap_5h_nano, cap_7d_nano, asked.reason, until)
            before = replace_override(connection, project.id, given, now, actor)
            decided = replace(
                asked,
                cap_5h_nano=cap_5h_nano,
                cap_7d_nano=cap_7d_nano,
                wanted_until=until,
                status="approved",
            )
            self._decide(connection, project.subject, decided, actor)
            told = {"before": asdict(before) if before else None, "after": asdict(given)}
            audit.record(connection, now, actor, Tag.CAPS_SET, project.subject, **told)
        return given

    def decline(self, slug: str, request_id: str, *, answer: str, actor: Actor) -> None:
        """Say no, and why.

        Raises:
            BadInput: nothing waits under that id any more, or there is no answer.
            Forbidden: that takes the role admin, and somebody else than who asked.
        """
        if not answer.strip() or len(answer) > _LONGEST_ANSWER or not answer.isprintable():
            raise BadInput(f"Say why not, on one line of at most {_LONGEST_ANSWER} characters.")
        with self._deciding(slug, actor) as connection:
            project = find(connection, slug, lock=True)
            asked = _waiting(connection, project.id, request_id, actor)
            decided = replace(asked, status="declined", answer=answer.strip())
            self._decide(connection, project.subject, decided, actor)

    @contextmanager
    def _deciding(self, slug: str, actor: Actor) -> Iterator[Connection]:
        with denials_logged(self._database, actor, "decide on a request for more room", slug):
            require(actor, Action.SET_PLAN, None)
            with self._database.write() as connection:
                yield connection

    def _decide(self, connection: Connection, subject: Subject, decided: CapRequest, actor: Actor) -> None:
        now = self._database.now(connection)
        decided = replace(decided, decided_by=actor.name, decided_at=now)
        kept = {name: getattr(decided, name) for name in ("status", "decided_by", "decided_at", "answer")}
        _close(connection, subject.project_id, kept)
        told = {"asked_by": decided.asked_by, "reason": decided.reason}
        tag = Tag.CAPS_APPROVED if decided.status == "approved" else Tag.CAPS_DECLINED
        audit.record(
            connection, now, actor, tag, subject, before=told, after={"answer": decided.answer or ""}
        )
        self._tell(connection, subject, decided, now)


def _waiting(connection: Connection, project_id: str, request_id: str, actor: Actor) -> CapRequest:
    """What waits under that id, for somebody who may decide on it."""
    wanted = _ALL.where(
        cap_requests.c.project_id == project_id,
        cap_requests.c.request_id == request_id,
        cap_requests.c.status == "open",
    )
    row = connection.execute(wanted).first()
    if row is None:
        raise BadInput(
            "That request was decided on or replaced in the meantime. Look at the project's plan again."
        )
    found = _request(row)
    if found.asked_by == actor.name:
        raise Forbidden("You asked for this yourself. Somebody else who is an administrator decides.")
    return found


def _close(connection: Connection, project_id: str, decided: Mapping[str, object]) -> None:
    """End what waits in the project: there is never more than one."""
    waiting = (cap_requests.c.project_id == project_id) & (cap_requests.c.status == "open")
    connection.execute(update(cap_requests).where(waiting).values(decided))


def _require_future(until: Micros, now: Micros) -> None:
    if until <= now:
        raise BadInput("The caps would have ended already. Choose a later date.")


def _request(row: AnyRow) -> CapRequest:
    return CapRequest(*row)
