"""Rolling caps without scanning history.

Each platform-funded call of a project carries the project's running total right after it. What a
window holds is the newest total minus the one at the moment the window began: one index look-up,
however long the history. When room returns is one more, by running total. Imports carry no running
total and never count.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal

from sqlalchemy import ColumnElement, Connection, bindparam, func, select

from lib.clock import DAY, HOUR, SECOND, Micros, from_micros
from lib.db import AnyRow
from lib.db.tables import accounts, cap_overrides, open_calls, plans, projects, usage_events
from lib.errors import CapExceeded
from lib.pricing.amounts import usd
from lib.usage.clock_leaps import has_leapt, take_back

WINDOWS: dict[str, Micros] = {"5h": 5 * HOUR, "7d": 7 * DAY}
TITLES = {"5h": "5-hour", "7d": "7-day"}
NEAR_CAP = 80
"""Percent of a cap from which a person is told that it is near."""


@dataclass(frozen=True, slots=True)
class Caps:
    """What a project may spend on the platform key, in nano-USD, by window; and its default output limit."""

    plan: str
    nano: dict[str, int]
    default_output_limit: int
    override_reason: str | None = None
    later: tuple[Micros, Mapping[str, int]] | None = None
    """Where an override ends: when, and the plan's caps, which hold from then on."""


@dataclass(frozen=True, slots=True)
class Window:
    """One rolling window at one moment; all amounts in nano-USD.

    ``used`` counts settled calls and includes ``unknown``, the ceilings of calls whose outcome is not
    known. ``rolls_off_nano`` leave the window at ``rolls_off_at``. ``returns_at`` is set while there is
    no room.
    """

    name: str
    cap_nano: int
    used_nano: int
    unknown_nano: int
    reserved_nano: int
    returns_at: Micros | None
    rolls_off_at: Micros | None
    rolls_off_nano: int

    @property
    def free_nano(self) -> int:
        """Room for new calls; never below zero."""
        return max(0, self.cap_nano - self.used_nano - self.reserved_nano)

    @property
    def percent(self) -> int:
        """Used and reserved of the cap, rounded down: 100 only when nothing fits any more."""
        taken = self.used_nano + self.reserved_nano
        return 100 if self.free_nano == 0 else 100 * taken // self.cap_nano

    @property
    def is_near(self) -> bool:
        """Whether so much is taken that the project is told; at the cap, too."""
        return self.percent >= NEAR_CAP

    @property
    def free(self) -> Decimal:
        """Room in USD."""
        return usd(self.free_nano)

    @property
    def used(self) -> Decimal:
        """Counted in the window, in USD."""
        return usd(self.used_nano)

    @property
    def reserved(self) -> Decimal:
        """Held by running calls, in USD."""
        return usd(self.reserved_nano)

    @property
    def cap(self) -> Decimal:
        """The cap in USD."""
        return usd(self.cap_nano)


@dataclass(frozen=True, slots=True)
class Headroom:
    """Both windows of a project at ``at`` (microseconds)."""

    project: str
    plan: str
    at: Micros
    windows: dict[str, Window]

    @property
    def free_nano(self) -> int:
        """What a call may cost now: the smaller room of the two windows."""
        return min(window.free_nano for window in self.windows.values())

    @property
    def free(self) -> Decimal:
        """What is free in the window, in USD."""
        return usd(self.free_nano)

    @property
    def nearest(self) -> Window:
        """The window nearest to its cap."""
        return max(self.windows.values(), key=lambda window: window.percent)


_counted_events = (usage_events.c.project_id == accounts.c.project_id) & usage_events.c.sequence.is_not(None)


def total_at(cutoff: ColumnElement[int], column: ColumnElement[int]) -> ColumnElement[int]:
    """The running total of all calls that settled at or before the cutoff: exactly then a call has left."""
    newest = (
        select(column)
        .where(_counted_events, usage_events.c.occurred_at <= cutoff)
        .order_by(usage_events.c.occurred_at.desc(), usage_events.c.sequence.desc())
        .limit(1)
        .scalar_subquery()
    )
    return func.coalesce(newest, 0)


_SNAPSHOTS = (
    select(
        projects.c.slug,
        plans.c.name,
        plans.c.cap_5h_nano,
        plans.c.cap_7d_nano,
        plans.c.default_output_limit,
        cap_overrides.c.cap_5h_nano.label("override_5h"),
        cap_overrides.c.cap_7d_nano.label("override_7d"),
        cap_overrides.c.reason,
        cap_overrides.c.ends_at,
        accounts,
        *(
            total_at(bindparam(f"cutoff_{name}"), column).label(f"{label}_before_{name}")
            for name in WINDOWS
            for label, column in (
                ("counted", usage_events.c.counted_after_nano),
                ("unknown", usage_events.c.unknown_after_nano),
            )
        ),
    )
    .select_from(accounts)
    .join(projects, projects.c.id == accounts.c.project_id)
    .join(plans, plans.c.name == projects.c.plan)
    .outerjoin(cap_overrides, cap_overrides.c.project_id == projects.c.id)
)
_SNAPSHOT = _SNAPSHOTS.where(accounts.c.project_id == bindparam("project_id"))
_SNAPSHOT_LOCKED = _SNAPSHOT.with_for_update(of=accounts)
_FIRST_WITH_TOTAL = (
    select(usage_events.c.occurred_at, usage_events.c.counted_after_nano)
    .where(
        usage_events.c.project_id == bindparam("project_id"),
        usage_events.c.sequence.is_not(None),
        usage_events.c.counted_after_nano >= bindparam("total"),
    )
    .order_by(usage_events.c.counted_after_nano, usage_events.c.sequence)
    .limit(1)
)
# The last one, not the maximum: that SQLite would look for among all totals, from the newest down.
_TOTAL_AFTER = (
    select(usage_events.c.counted_after_nano)
    .where(usage_events.c.project_id == bindparam("project_id"), usage_events.c.sequence.is_not(None))
    .where(usage_events.c.occurred_at == bindparam("moment"))
    .order_by(usage_events.c.sequence.desc())
    .limit(1)
)
_NEXT_LEASE_END = (
    select(open_calls.c.lease_until)
    .where(open_calls.c.project_id == bindparam("project_id"), open_calls.c.source == "platform")
    .order_by(open_calls.c.lease_until)
    .limit(1)
)


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


def require_headroom(connection: Connection, at: CapState, ceiling: int) -> None:
    """Return if a call of at most ``ceiling`` nano-USD fits into both windows, the account being locked.

    What costs nothing always fits.

    Raises:
        CapExceeded: names the window that is the last to have room again, and when that is.
    """
    if ceiling == 0 or all(_fits(at, name, cap, ceiling) for name, cap in at.caps.nano.items()):
        return
    returns_at, name = _returns_at(connection, at, ceiling)
    if returns_at is None:
        raise CapExceeded(_too_large(at, name, ceiling), window=name, returns_at=None)
    raise CapExceeded(_exceeded(at, name, returns_at), window=name, returns_at=from_micros(returns_at))


def window(connection: Connection, at: CapState, name: str) -> Window:
    """One window as it stands: what rolls off next, and when room returns where there is none."""
    length, cap, before = WINDOWS[name], at.caps.nano[name], at.counted_before[name]
    oldest = _first_with_total(connection, at.project_id, before + 1)
    full = at.used(name) + at.reserved >= cap
    return Window(
        name=name,
        cap_nano=cap,
        used_nano=at.used(name),
        unknown_nano=at.unknown - at.unknown_before[name],
        reserved_nano=at.reserved,
        returns_at=_returns_at(connection, at, 1, [name])[0] if full else None,
        rolls_off_at=min(oldest.occurred_at, at.now) + length if oldest else None,
        rolls_off_nano=_rolls_off(connection, at, oldest) - before if oldest else 0,
    )


def falls_below_at(connection: Connection, at: CapState, name: str, nano: int) -> Micros:
    """When less than ``nano`` is used and reserved in a window, if nothing more is spent meanwhile."""
    return _fits_at(connection, at, name, nano, 1)


def _rolls_off(connection: Connection, at: CapState, oldest: AnyRow) -> int:
    """The running total of what leaves with the oldest call; what is dated ahead counts as of now, all at once."""
    ahead = oldest.occurred_at > at.now
    return at.counted if ahead else _total_after(connection, at.project_id, oldest.occurred_at)


def _fits(at: CapState, name: str, cap: int, ceiling: int) -> bool:
    return at.used(name) + at.reserved + ceiling <= cap


def _returns_at(
    connection: Connection, at: CapState, ceiling: int, names: Iterable[str] = WINDOWS
) -> tuple[Micros | None, str]:
    """When ``ceiling`` fits into all the windows named, None for never, and the window that is the last."""
    returns_at, name = _last_to_fit(connection, at, at.caps.nano, ceiling, names)
    if at.caps.later is None:
        return returns_at, name
    ends_at, caps = at.caps.later
    if returns_at is not None and returns_at < ends_at:
        return returns_at, name
    # The override ends before it has room: then the plan's caps decide, and there may be room at once or never.
    later, name = _last_to_fit(connection, at, caps, ceiling, names)
    return (None if later is None else max(later, ends_at)), name


def _last_to_fit(
    connection: Connection, at: CapState, caps: Mapping[str, int], ceiling: int, names: Iterable[str]
) -> tuple[Micros | None, str]:
    last: tuple[Micros, str] | None = None
    for name in names:
        if ceiling > caps[name]:
            return None, name
        fits_at = _fits_at(connection, at, name, caps[name], ceiling)
        if last is None or fits_at > last[0]:
            last = fits_at, name
    assert last is not None  # noqa: S101 - there are windows
    return last


def _fits_at(connection: Connection, at: CapState, name: str, cap: int, ceiling: int) -> Micros:
    """When ``ceiling`` fits: as soon as the calls up to the needed running total have left the window."""
    if _fits(at, name, cap, ceiling):
        return at.now
    needed = at.counted + at.reserved + ceiling - cap
    if needed <= at.counted:
        row = _first_with_total(connection, at.project_id, needed)
        if row is not None:
            return min(int(row.occurred_at), at.now) + WINDOWS[name]
    # Running calls alone fill the cap: some of it is free again when the first of them has ended.
    lease = connection.execute(_NEXT_LEASE_END, {"project_id": at.project_id}).scalar()
    return max(at.now, int(lease or at.now))


def _total_after(connection: Connection, project_id: str, moment: Micros) -> int:
    """The running total after all calls that settled at that very moment: they leave a window together."""
    parameters = {"project_id": project_id, "moment": moment}
    return int(connection.execute(_TOTAL_AFTER, parameters).scalar_one())


def _first_with_total(connection: Connection, project_id: str, total: int) -> AnyRow | None:
    return connection.execute(_FIRST_WITH_TOTAL, {"project_id": project_id, "total": total}).first()


def _caps(row: AnyRow, now: Micros) -> Caps:
    """The plan's caps, or the override's until that ends."""
    plan = dict(zip(WINDOWS, (row.cap_5h_nano, row.cap_7d_nano), strict=True))
    if row.override_5h is None or (row.ends_at is not None and now >= row.ends_at):
        return Caps(row.name, plan, row.default_output_limit)
    caps = dict(zip(WINDOWS, (row.override_5h, row.override_7d), strict=True))
    later = None if row.ends_at is None else (row.ends_at, plan)
    return Caps(row.name, caps, row.default_output_limit, row.reason, later)


def _exceeded(at: CapState, name: str, returns_at: Micros) -> str:
    cap = usd(at.caps.nano[name])
    # The sentence has whole seconds: the next one, because a second too early is refused again.
    moment = from_micros(returns_at + -returns_at % SECOND)
    return (
        f"{at.slug} has no room in its {TITLES[name]} cap of ${cap:.2f}. "
        f"Room returns at {moment:%H:%M:%S} UTC on {moment.day} {moment:%b %Y}."
    )


def _too_large(at: CapState, name: str, ceiling: int) -> str:
    cap = at.caps.nano[name]
    if cap == 0:
        return f"{at.slug} may spend nothing on the platform key: its {TITLES[name]} cap is $0.00."
    return (
        f"The call could cost up to ${usd(ceiling):.4f}, more than the whole {TITLES[name]} cap of {at.slug} "
        f"(${usd(cap):.2f}), so it can never run on the platform key. Lower its output limit or its input."
    )
