"""The state of a project's caps, read without scanning history.

Each platform-funded call of a project carries the project's running total right after it. What a
window holds is the newest total minus the one at the moment the window began: one index look-up,
however long the history. Imports carry no running total and never count.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, bindparam, func, select

from lib.caps.windows import WINDOWS
from lib.clock import Micros
from lib.db import AnyRow
from lib.db.tables import accounts, cap_overrides, plans, projects, usage_events
from lib.usage.clock_leaps import has_leapt, take_back


@dataclass(frozen=True, slots=True)
class Caps:
    """What a project may spend on the platform key, in nano-USD, by window; and its default output limit."""

    plan: str
    nano: dict[str, int]
    default_output_limit: int
    later: tuple[Micros, Mapping[str, int]] | None = None
    """Where an override ends: when, and the plan's caps, which hold from then on."""


@dataclass(frozen=True, slots=True)
class CapState:
    """Where a project stands with its caps at ``now``: totals, caps, and the totals when each window began."""

    project_id: str
    slug: str
    now: Micros
    caps: Caps
    counted: int
    unknown: int
    reserved: int
    counted_before: dict[str, int]
    unknown_before: dict[str, int]
    leapt: bool = False
    """A wrong clock has dated calls into the future; in each window they count as calls of now."""

    def used(self, window: str) -> int:
        """Counted in the window, nano-USD."""
        return self.counted - self.counted_before[window]


_OF_ACCOUNT: ColumnElement[str] = accounts.c.project_id


def total_at(
    cutoff: ColumnElement[int], column: ColumnElement[int], project: ColumnElement[str] = _OF_ACCOUNT
) -> ColumnElement[int]:
    """The running total of all calls that settled at or before the cutoff: exactly then a call has left."""
    newest = (
        select(column)
        .where(usage_events.c.project_id == project, usage_events.c.sequence.is_not(None))
        .where(usage_events.c.occurred_at <= cutoff)
        .order_by(usage_events.c.occurred_at.desc(), usage_events.c.sequence.desc())
        .limit(1)
        .scalar_subquery()
    )
    return func.coalesce(newest, 0)


def _snapshots(project: ColumnElement[str]) -> Select[Any]:
    return (
        select(
            projects.c.slug,
            plans.c.name,
            plans.c.cap_5h_nano,
            plans.c.cap_7d_nano,
            plans.c.default_output_limit,
            cap_overrides.c.cap_5h_nano.label("override_5h"),
            cap_overrides.c.cap_7d_nano.label("override_7d"),
            cap_overrides.c.ends_at,
            accounts,
            *(
                total_at(bindparam(f"cutoff_{name}"), column, project).label(f"{label}_before_{name}")
                for name in WINDOWS
                for label, column in (
                    ("counted", usage_events.c.counted_after_nano),
                    ("unknown", usage_events.c.unknown_after_nano),
                )
            ),
        )
        .select_from(accounts)
        .join(projects, projects.c.id == project)
        .join(plans, plans.c.name == projects.c.plan)
        .outerjoin(cap_overrides, cap_overrides.c.project_id == project)
    )


_SNAPSHOTS = _snapshots(_OF_ACCOUNT)
# Each part names the project by itself: an engine that is distributed by it locks no row in a statement else.
_PROJECT = bindparam("project_id", type_=accounts.c.project_id.type)
_SNAPSHOT = _snapshots(_PROJECT).where(accounts.c.project_id == _PROJECT)
_SNAPSHOT_LOCKED = _SNAPSHOT.with_for_update(of=accounts)


def cap_snapshot(connection: Connection, project_id: str, now: Micros, *, lock: bool = False) -> CapState:
    """One SELECT, however long the history. ``lock`` makes the project's other workers wait.

    On PostgreSQL a statement that waited for the lock sees the account as it is now, and the totals before
    the windows as they were when it began: those lie hours back, and an older one is only smaller.
    """
    statement = _SNAPSHOT_LOCKED if lock else _SNAPSHOT
    row = connection.execute(statement, {"project_id": project_id, **_cutoffs(now)}).one()
    leapt = has_leapt(connection, project_id, row.last_settled_at, now)
    if row.last_settled_at > now and not leapt:
        # The clock went back; that must not let usage out of a window early, nor bring any back.
        now = row.last_settled_at
        row = connection.execute(statement, {"project_id": project_id, **_cutoffs(now)}).one()
    return _cap_state(row, now, leapt=leapt)


def cap_snapshot_to_write(
    connection: Connection, project_id: str, now: Micros, *, lock: bool = False
) -> CapState:
    """A ``cap_snapshot`` of one who writes: calls that a wrong clock has dated ahead are dated to now first."""
    at = cap_snapshot(connection, project_id, now, lock=lock)
    if not at.leapt:
        return at
    take_back(connection, project_id, now)
    return cap_snapshot(connection, project_id, now, lock=lock)


def cap_snapshots(connection: Connection, now: Micros) -> Iterator[CapState]:
    """Where all projects stand, in one SELECT."""
    for row in connection.execute(_SNAPSHOTS, _cutoffs(now)).all():
        if row.last_settled_at > now:
            yield cap_snapshot(connection, row.project_id, now)
        else:
            yield _cap_state(row, now)


def _cap_state(row: AnyRow, now: Micros, *, leapt: bool = False) -> CapState:
    values = row._mapping  # noqa: SLF001 - SQLAlchemy's public name for it
    return CapState(
        row.project_id,
        row.slug,
        now,
        _caps(row, now),
        row.counted_nano,
        row.unknown_nano,
        row.reserved_nano,
        {name: int(values[f"counted_before_{name}"]) for name in WINDOWS},
        {name: int(values[f"unknown_before_{name}"]) for name in WINDOWS},
        leapt,
    )


def _cutoffs(now: Micros) -> dict[str, Micros]:
    return {f"cutoff_{name}": now - length for name, length in WINDOWS.items()}


def _caps(row: AnyRow, now: Micros) -> Caps:
    """The plan's caps, or the override's until that ends."""
    plan = dict(zip(WINDOWS, (row.cap_5h_nano, row.cap_7d_nano), strict=True))
    if row.override_5h is None or (row.ends_at is not None and now >= row.ends_at):
        return Caps(row.name, plan, row.default_output_limit)
    caps = dict(zip(WINDOWS, (row.override_5h, row.override_7d), strict=True))
    later = None if row.ends_at is None else (row.ends_at, plan)
    return Caps(row.name, caps, row.default_output_limit, later)
