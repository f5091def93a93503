"""Plans and the caps that differ from them. It is Qodex's money: only administrators change it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from sqlalchemy import Connection, delete, insert, select, update

from lib.access import audit
from lib.access.audit import Tag
from lib.access.denied_attempts import denials_logged
from lib.access.projects import clean_name, find, find_for
from lib.access.roles import Action, Actor, require
from lib.clock import Micros
from lib.db import AnyRow, Database
from lib.db.tables import cap_overrides, plans
from lib.errors import BadInput

_LONGEST_NAME = 40
_LONGEST_REASON = 500
_NEW_OUTPUT_LIMIT = 4_096


@dataclass(frozen=True)
class Plan:
    """What projects of a plan may spend on the platform key in 5 hours and in 7 days, in nano-USD.

    ``default_output_limit`` is written into platform-funded requests that set no limit of their own.
    """

    name: str
    cap_5h_nano: int
    cap_7d_nano: int
    default_output_limit: int


@dataclass(frozen=True)
class Override:
    """Caps of one project that replace its plan's, until ``ends_at`` (None: without an end)."""

    cap_5h_nano: int
    cap_7d_nano: int
    reason: str
    ends_at: Micros | None


_ALL = select(*(plans.c[name] for name in Plan.__dataclass_fields__)).order_by(
    plans.c.cap_7d_nano, plans.c.name
)
_OVERRIDE = select(*(cap_overrides.c[name] for name in Override.__dataclass_fields__))


class Plans:
    """List and change plans, and the caps of single projects."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def list(self) -> list[Plan]:
        """All plans, the smallest first. They are no secret."""
        with self._database.read() as connection:
            return [_plan(row) for row in connection.execute(_ALL)]

    def set(self, name: str, *, cap_5h_nano: int, cap_7d_nano: int, actor: Actor) -> Plan:
        """Change a plan's caps, or make a new plan. It counts for all its projects from their next call on.

        ``team`` is the plan Team: a name that differs only in case makes no second plan.

        Raises:
            BadInput: a cap is below zero, or the name cannot be used.
            Forbidden: that takes the role admin.
        """
        with denials_logged(self._database, actor, "set the plan's caps"):
            require(actor, Action.SET_PLAN, None)
        _require_caps(cap_5h_nano, cap_7d_nano)
        name = clean_name(name)
        if len(name) > _LONGEST_NAME:
            raise BadInput(f"A plan's name has at most {_LONGEST_NAME} characters.")
        values = {"cap_5h_nano": cap_5h_nano, "cap_7d_nano": cap_7d_nano}
        with self._database.write() as connection:
            before = _alike(connection, name)
            after = Plan(
                before.name if before else name,
                default_output_limit=before.default_output_limit if before else _NEW_OUTPUT_LIMIT,
                **values,
            )
            if before:
                connection.execute(update(plans).where(plans.c.name == before.name).values(values))
            else:
                connection.execute(insert(plans), asdict(after))
            now = self._database.now(connection)
            audit.record(connection, now, actor, Tag.PLAN_SET, before=_audited(before), after=_audited(after))
        return after

    def override(self, slug: str, *, actor: Actor) -> Override | None:
        """The caps that replace the plan's in that project now; None where the plan's hold."""
        with self._database.read() as connection:
            project = find_for(connection, slug, actor, Action.SEE_SPEND)
            found = _override_of(connection, project.id)
            now = self._database.now(connection)
        return found if found and (found.ends_at is None or found.ends_at > now) else None

    def end_override(self, slug: str, *, actor: Actor) -> None:
        """Let the plan's caps hold again, from the project's next call on.

        Raises:
            BadInput: the project has no caps of its own.
            Forbidden: that takes the role admin.
        """
        with denials_logged(self._database, actor, "end the project's own caps", slug):
            require(actor, Action.SET_PLAN, None)
        with self._database.write() as connection:
            project = find(connection, slug, lock=True)
            before = _override_of(connection, project.id)
            if before is None:
                raise BadInput("The project has no caps of its own: those of its plan hold.")
            connection.execute(delete(cap_overrides).where(cap_overrides.c.project_id == project.id))
            now = self._database.now(connection)
            audit.record(connection, now, actor, Tag.CAPS_ENDED, project.subject, before=_audited(before))

    def set_caps(
        self,
        slug: str,
        *,
        cap_5h_nano: int,
        cap_7d_nano: int,
        reason: str,
        ends_at: Micros | None = None,
        actor: Actor,
    ) -> Override:
        """Give one project caps of its own. They replace earlier ones and count from its next call on.

        Args:
            slug: the project.
            cap_5h_nano: nano-USD in 5 hours.
            cap_7d_nano: nano-USD in 7 days.
            reason: why; one line for the audit log.
            ends_at: when the plan's caps come back; None for never.
            actor: who decides.

        Raises:
            BadInput: a cap is below zero, the reason is missing, or the end lies in the past.
            Forbidden: that takes the role admin.
        """
        with denials_logged(self._database, actor, "set the project's caps", slug):
            require(actor, Action.SET_PLAN, None)
        after = checked_override(cap_5h_nano, cap_7d_nano, reason, ends_at)
        with self._database.write() as connection:
            project = find(connection, slug, lock=True)
            now = self._database.now(connection)
            if ends_at is not None and ends_at <= now:
                raise BadInput("The caps would have ended already. Choose a later date.")
            before = replace_override(connection, project.id, after, now, actor)
            told = {"before": _audited(before), "after": _audited(after)}
            audit.record(connection, now, actor, Tag.CAPS_SET, project.subject, **told)
        return after


def checked_override(cap_5h_nano: int, cap_7d_nano: int, reason: str, ends_at: Micros | None) -> Override:
    """Caps that a project may be given. Raises BadInput."""
    _require_caps(cap_5h_nano, cap_7d_nano)
    if not reason.strip() or len(reason) > _LONGEST_REASON or not reason.isprintable():
        raise BadInput(f"Say why, on one line of at most {_LONGEST_REASON} characters.")
    return Override(cap_5h_nano, cap_7d_nano, reason.strip(), ends_at)


def replace_override(
    connection: Connection, project_id: str, after: Override, now: Micros, actor: Actor
) -> Override | None:
    """Put these caps in place of the project's earlier ones; returns those."""
    before = _override_of(connection, project_id)
    connection.execute(delete(cap_overrides).where(cap_overrides.c.project_id == project_id))
    values = {"project_id": project_id, "set_at": now, "set_by": actor.name, **asdict(after)}
    connection.execute(insert(cap_overrides), values)
    return before


def _override_of(connection: Connection, project_id: str) -> Override | None:
    row = connection.execute(_OVERRIDE.where(cap_overrides.c.project_id == project_id)).first()
    return Override(*row) if row else None


def _alike(connection: Connection, name: str) -> Plan | None:
    """The plan of that name, whatever its case; locked."""
    found = [_plan(row) for row in connection.execute(_ALL.with_for_update())]
    return next((plan for plan in found if plan.name.casefold() == name.casefold()), None)


def _plan(row: AnyRow) -> Plan:
    return Plan(*row)


def _audited(values: Plan | Override | None) -> Mapping[str, object] | None:
    return None if values is None else asdict(values)


def _require_caps(*caps: int) -> None:
    if min(caps) < 0:
        raise BadInput("A cap is 0 USD or more.")
