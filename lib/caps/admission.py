"""Whether a call fits into a project's caps, and when room returns where it does not.

When room returns is one more index look-up (lib.caps.cap_state): by running total, for the call with which enough
leaves the window.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sqlalchemy import Connection, bindparam, select

from lib.caps.cap_state import CapState
from lib.caps.windows import TITLES, WINDOWS, Window
from lib.clock import SECOND, Micros, from_micros
from lib.db import AnyRow
from lib.db.tables import open_calls, usage_events
from lib.errors import CapExceeded
from lib.pricing.amounts import usd

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
