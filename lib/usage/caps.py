"""Rolling caps without scanning history.

Each platform-funded call of a project carries the project's running total right after it. What a
window holds is the newest total minus the one at the moment the window began: one index look-up,
however long the history. When room returns is one more, by running total. Imports carry no running
total and never count.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from sqlalchemy import Connection, bindparam, select

from lib.access.projects import find
from lib.access.roles import Action, Actor, allows
from lib.clock import DAY, HOUR, Micros, from_micros
from lib.db import AnyRow, Database
from lib.db.tables import accounts, cap_overrides, open_calls, plans, projects, usage_events
from lib.errors import CapExceeded, ProjectUnknown
from lib.usage.prices import usd

WINDOWS: dict[str, Micros] = {"5h": 5 * HOUR, "7d": 7 * DAY}
TITLES = {"5h": "5-hour", "7d": "7-day"}


@dataclass(frozen=True, slots=True)
class Caps:
    """What a project may spend on the platform key, in nano-USD, by window; and its default output limit."""

    plan: str
    nano: dict[str, int]
    default_output_limit: int
    override_reason: str | None = None


@dataclass(frozen=True, slots=True)
class Account:
    """A project's running totals. ``counted`` includes ``unknown``: ceilings of calls of unknown outcome."""

    project_id: str
    sequence: int
    counted: int
    unknown: int
    reserved: int
    last_settled_at: Micros


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
        """The same in USD."""
        return usd(self.free_nano)

    @property
    def nearest(self) -> Window:
        """The window nearest to its cap."""
        return max(self.windows.values(), key=lambda window: window.percent)


_CAPS = (
    select(
        plans.c.name,
        plans.c.cap_5h_nano,
        plans.c.cap_7d_nano,
        plans.c.default_output_limit,
        cap_overrides.c.cap_5h_nano.label("override_5h"),
        cap_overrides.c.cap_7d_nano.label("override_7d"),
        cap_overrides.c.reason,
        cap_overrides.c.ends_at,
    )
    .select_from(projects)
    .join(plans, plans.c.name == projects.c.plan)
    .outerjoin(cap_overrides, cap_overrides.c.project_id == projects.c.id)
    .where(projects.c.id == bindparam("project_id"))
)
_ACCOUNT = select(accounts).where(accounts.c.project_id == bindparam("project_id"))
_ACCOUNT_LOCKED = _ACCOUNT.with_for_update()
_counted_events = (usage_events.c.project_id == bindparam("project_id")) & usage_events.c.sequence.is_not(
    None
)
_TOTAL_AT = (
    select(usage_events.c.counted_after_nano, usage_events.c.unknown_after_nano)
    .where(_counted_events, usage_events.c.occurred_at <= bindparam("cutoff"))
    .order_by(usage_events.c.occurred_at.desc(), usage_events.c.sequence.desc())
    .limit(1)
)
_FIRST_WITH_TOTAL = (
    select(usage_events.c.occurred_at, usage_events.c.counted_after_nano)
    .where(_counted_events, usage_events.c.counted_after_nano >= bindparam("total"))
    .order_by(usage_events.c.counted_after_nano, usage_events.c.sequence)
    .limit(1)
)
_LAST_LEASE = (
    select(open_calls.c.lease_until)
    .where(open_calls.c.project_id == bindparam("project_id"), open_calls.c.source == "platform")
    .order_by(open_calls.c.lease_until)
    .limit(1)
)


def caps_of(connection: Connection, project_id: str, at: Micros) -> Caps:
    """The caps in force for a project at a moment: its plan's, or its override's until that ends."""
    row = connection.execute(_CAPS, {"project_id": project_id}).one()
    overridden = row.override_5h is not None and (row.ends_at is None or at < row.ends_at)
    caps = (row.override_5h, row.override_7d) if overridden else (row.cap_5h_nano, row.cap_7d_nano)
    return Caps(
        row.name,
        dict(zip(WINDOWS, caps, strict=True)),
        row.default_output_limit,
        row.reason if overridden else None,
    )


def account_of(connection: Connection, project_id: str, *, lock: bool = False) -> Account:
    """A project's totals. ``lock`` makes other workers of the same project wait until the transaction ends."""
    statement = _ACCOUNT_LOCKED if lock else _ACCOUNT
    row = connection.execute(statement, {"project_id": project_id}).one()
    return Account(
        row.project_id,
        row.sequence,
        row.counted_nano,
        row.unknown_nano,
        row.reserved_nano,
        row.last_settled_at,
    )


def admit(connection: Connection, account: Account, caps: Caps, ceiling: int, now: Micros, slug: str) -> None:
    """Return if a call of at most ``ceiling`` nano-USD fits into both windows, the account being locked.

    Raises:
        CapExceeded: names the window with the latest return of room, and when that is.
    """
    now = _not_before(account, now)
    worst: tuple[Micros, CapExceeded] | None = None
    for name, cap in caps.nano.items():
        if ceiling > cap:
            raise CapExceeded(_too_large(slug, name, cap, ceiling), window=name, returns_at=None)
        used = account.counted - _total_at(connection, account.project_id, now - WINDOWS[name])[0]
        if used + account.reserved + ceiling <= cap:
            continue
        returns_at = _returns_at(connection, account, name, cap, ceiling, now)
        if worst is None or returns_at > worst[0]:
            worst = returns_at, exceeded(slug, name, cap, from_micros(returns_at))
    if worst:
        raise worst[1]


def exceeded(slug: str, name: str, cap: int, returns_at: datetime) -> CapExceeded:
    """The error for a full window."""
    sentence = (
        f"{slug} has no room in its {TITLES[name]} cap of ${usd(cap):.2f}. "
        f"Room returns at {returns_at:%H:%M:%S} UTC on {returns_at.day} {returns_at:%b %Y}."
    )
    return CapExceeded(sentence, window=name, returns_at=returns_at)


def windows_at(connection: Connection, account: Account, caps: Caps, now: Micros) -> dict[str, Window]:
    """Both windows of an account at ``now``."""
    now = _not_before(account, now)
    return {name: _window(connection, account, name, cap, now) for name, cap in caps.nano.items()}


class CapsView:
    """Reading a project's caps, for pages and the command line."""

    def __init__(self, database: Database, worker: Actor) -> None:
        self._database = database
        self._worker = worker

    def headroom(self, slug: str, *, actor: Actor | None = None) -> Headroom:
        """How much of each cap is used, reserved and free now, and when room returns.

        Raises:
            ProjectUnknown: no such project, or ``actor`` may not know of it.
        """
        actor = actor or self._worker
        with self._database.read() as connection:
            project = find(connection, slug)
            if not allows(actor, Action.SEE_SPEND, project.id):
                raise ProjectUnknown(slug)
            now = self._database.now(connection)
            caps = caps_of(connection, project.id, now)
            account = account_of(connection, project.id)
            return Headroom(slug, caps.plan, now, windows_at(connection, account, caps, now))


def _window(connection: Connection, account: Account, name: str, cap: int, now: Micros) -> Window:
    length = WINDOWS[name]
    counted, unknown = _total_at(connection, account.project_id, now - length)
    oldest = _first_with_total(connection, account.project_id, counted + 1)
    used = account.counted - counted
    full = used + account.reserved >= cap
    return Window(
        name=name,
        cap_nano=cap,
        used_nano=used,
        unknown_nano=account.unknown - unknown,
        reserved_nano=account.reserved,
        returns_at=_returns_at(connection, account, name, cap, 1, now) if full and cap else None,
        rolls_off_at=oldest.occurred_at + length if oldest else None,
        rolls_off_nano=oldest.counted_after_nano - counted if oldest else 0,
    )


def _returns_at(
    connection: Connection, account: Account, name: str, cap: int, ceiling: int, now: Micros
) -> Micros:
    """When ``ceiling`` fits: as soon as the calls up to the needed running total have left the window."""
    needed = account.counted + account.reserved + ceiling - cap
    if needed <= account.counted:
        row = _first_with_total(connection, account.project_id, needed)
        if row is not None:
            return int(row.occurred_at) + WINDOWS[name]
    # Running calls alone fill the cap: some of it is free again when the first of them has ended.
    lease = connection.execute(_LAST_LEASE, {"project_id": account.project_id}).scalar()
    return max(now, int(lease or now))


def _total_at(connection: Connection, project_id: str, cutoff: Micros) -> tuple[int, int]:
    """Running totals of all calls that settled at or before ``cutoff``: exactly then a call has left."""
    row = connection.execute(_TOTAL_AT, {"project_id": project_id, "cutoff": cutoff}).first()
    return (int(row[0]), int(row[1])) if row else (0, 0)


def _first_with_total(connection: Connection, project_id: str, total: int) -> AnyRow | None:
    return connection.execute(_FIRST_WITH_TOTAL, {"project_id": project_id, "total": total}).first()


def _not_before(account: Account, now: Micros) -> Micros:
    """A clock that went back must not bring usage back into a window, nor let any out early."""
    return max(now, account.last_settled_at)


def _too_large(slug: str, name: str, cap: int, ceiling: int) -> str:
    return (
        f"The call could cost up to ${usd(ceiling):.4f}, more than the whole {TITLES[name]} cap of {slug} "
        f"(${usd(cap):.2f}), so it can never run on the platform key. Lower its output limit or its input."
    )
