"""Amounts, counts and times as people read them: the same on pages, in messages and in commands. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime
from decimal import ROUND_DOWN, ROUND_HALF_EVEN, Decimal
from typing import Literal
from zoneinfo import ZoneInfo

from lib.clock import DAY, HOUR, MINUTE, SECOND, Micros, from_micros
from lib.pricing.amounts import usd

UNKNOWN = "unknown"
MINUS = "\N{MINUS SIGN}"

SMALLEST_IN_CENTS = 9_950_000
"""Nano-USD from which on an amount is written with two decimals: what rounds to a whole cent."""

_SMALLEST = {2: SMALLEST_IN_CENTS, 4: 100_000, 6: 1_000}
"""Nano-USD from which on an amount is seen with so many decimals."""
_CENT = 10_000_000
_NANO_PLACES = 9
_JUST_NOW = 5 * SECOND

Decimals = Literal[2, 4, 6]

# --- money and counts ------------------------------------------------------------------------------


def decimals(amounts: Iterable[int | None]) -> Decimals:
    """How many decimals all amounts of one column, series or axis have, in nano-USD: enough to see the smallest.

    Two; four where cents would hide one of them; six where the largest is below a cent and the smallest below
    a hundredth of it.
    """
    sizes = [abs(nano) for nano in amounts if nano]
    if not sizes or min(sizes) >= SMALLEST_IN_CENTS:
        return 2
    return 6 if max(sizes) < _CENT and min(sizes) < _SMALLEST[4] else 4


def money(nano: int | None, places: Decimals | None = None) -> str:
    """``$1,234.56``; below one cent ``$0.0042``; below $0.0001 ``<$0.0001``; None is "unknown".

    Args:
        nano: the amount in nano-USD.
        places: the decimals of the column that it stands in; what these would hide is ``<`` their smallest amount.
    """
    if nano is None:
        return UNKNOWN
    size, sign = abs(nano), MINUS if nano < 0 else ""
    if places is None:
        places = 4 if 0 < size < SMALLEST_IN_CENTS else 2
    if 0 < size < _SMALLEST[places]:
        return f"{sign}<{_dollars(10 ** (_NANO_PLACES - places), places)}"
    return sign + _dollars(size, places)


def moneys(*amounts: int | None) -> list[str]:
    """Amounts that stand in one column, series or sum: all with the decimals that the smallest of them needs."""
    places = decimals(amounts)
    return [money(nano, places) for nano in amounts]


def _dollars(nano: int, places: int) -> str:
    amount = usd(nano).quantize(Decimal(1).scaleb(-places), ROUND_HALF_EVEN)
    return f"${amount:,}"


def count(number: int, noun: str = "", plural: str | None = None) -> str:
    """``1 call``, ``5,197 calls``; without a noun only the number."""
    if not noun:
        return f"{number:,}"
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def size(bytes_: int) -> str:
    """Bytes for people: ``640 kB``, ``1.2 MB``."""
    for unit, factor in (("GB", 10**9), ("MB", 10**6)):
        if bytes_ >= factor:
            return f"{bytes_ / factor:,.1f} {unit}"
    return f"{-(-bytes_ // 1000):,} kB"


def percent_down(part: int, whole: int) -> str:
    """Whole percent, rounded down: a cap says 100% only when nothing fits any more."""
    return "100%" if whole <= 0 or part >= whole else f"{100 * max(part, 0) // whole}%"


def share(part: int, whole: int, *, places: int = 0) -> str:
    """A part of a whole in percent, rounded half-even; empty where there is no whole."""
    if whole <= 0:
        return ""
    step = Decimal(1).scaleb(-places)
    return f"{(Decimal(100) * part / whole).quantize(step, ROUND_HALF_EVEN)}%"


# --- times -----------------------------------------------------------------------------------------


def duration(micros: Micros) -> str:
    """``<1 s``, ``40 s``, ``1 min 04 s``, ``1 h 10 min``, ``2 days 3 h``; never longer than it was."""
    if micros < SECOND:
        return "<1 s"
    seconds = micros // SECOND
    if seconds < MINUTE // SECOND:
        return f"{seconds} s"
    minutes, seconds = divmod(seconds, 60)
    if minutes < HOUR // MINUTE:
        return f"{minutes} min {seconds:02} s"
    hours, minutes = divmod(minutes, 60)
    if hours < DAY // HOUR:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(hours, 24)
    return f"{count(days, 'day')} {hours} h" if hours else count(days, "day")


def latency(milliseconds: int | None) -> str:
    """``212 ms``, ``1.4 s``; None is "unknown"."""
    if milliseconds is None:
        return UNKNOWN
    if milliseconds < 1000:  # noqa: PLR2004 - a second
        return f"{milliseconds} ms"
    return f"{(Decimal(milliseconds) / 1000).quantize(Decimal('0.1'), ROUND_DOWN)} s"


def ago(moment: Micros, now: Micros) -> str:
    """``40 s ago``, ``12 min ago``, ``17 days ago``: one unit, rounded down."""
    past = now - moment
    if past < _JUST_NOW:
        return "just now"
    for unit, name in ((DAY, "day"), (HOUR, "h"), (MINUTE, "min")):
        if past >= unit:
            amount = past // unit
            return f"{count(amount, 'day')} ago" if name == "day" else f"{amount} {name} ago"
    return f"{past // SECOND} s ago"


def exact(moment: Micros, zone: ZoneInfo, *, now: Micros | None = None) -> str:
    """``6 Nov 2026, 09:14 UTC``; only ``09:14 UTC`` where ``now`` is given and it is the same day."""
    at = from_micros(moment).astimezone(zone)
    if now is not None and from_micros(now).astimezone(zone).date() == at.date():
        return f"{at:%H:%M} {zone_label(at)}"
    return f"{day_time(moment, zone)} {zone_label(at)}"


def day_time(moment: Micros, zone: ZoneInfo) -> str:
    """``6 Nov 2026, 09:14``, where the zone stands beside it already."""
    at = from_micros(moment).astimezone(zone)
    return f"{at.day} {at:%b %Y, %H:%M}"


def exact_seconds(moment: Micros, zone: ZoneInfo) -> str:
    """``23 Nov 2026, 14:02:07 UTC``."""
    at = from_micros(moment).astimezone(zone)
    return f"{at.day} {at:%b %Y, %H:%M:%S} {zone_label(at)}"


def weekday_time(moment: Micros, zone: ZoneInfo) -> str:
    """``Sat 21 Nov, 14:02 UTC``: since when something is so."""
    at = from_micros(moment).astimezone(zone)
    return f"{at:%a} {at.day} {at:%b, %H:%M} {zone_label(at)}"


def when(moment: Micros | None, now: Micros, zone: ZoneInfo) -> str:
    """Relative first, exact behind: ``17 days ago · 6 Nov 2026, 09:14 UTC``; both where it is to come."""
    if moment is None:
        return "never"
    if moment > now + SECOND:
        return f"in {duration(moment - now)} ({exact(moment, zone, now=now)})"
    return f"{ago(moment, now)} · {exact(moment, zone, now=now)}"


def span(since: Micros, until: Micros, zone: ZoneInfo, *, now: Micros) -> str:
    """The period a page counts: ``25 Oct to 23 Nov 2026, 14:20 UTC``; it ends now at the latest.

    A beginning in mid-day has its time: ``22 Nov, 14:20 to 23 Nov 2026, 14:20 UTC``.
    """
    first = from_micros(since).astimezone(zone)
    goes_on = until >= now
    last = from_micros(now if goes_on else until - 1).astimezone(zone)
    end = f"{last:%H:%M} {zone_label(last)}" if goes_on else zone_label(last)
    if first.date() == last.date():
        return f"{last.day} {last:%b %Y}, {first:%H:%M} to {end}" if goes_on else f"{day(last)}, {end}"
    year = "" if first.year == last.year else f" {first.year}"
    begins = f", {first:%H:%M}" if (first.hour, first.minute) != (0, 0) else ""
    return f"{first.day} {first:%b}{year}{begins} to {last.day} {last:%b %Y}, {end}"


def day(at: datetime) -> str:
    """``23 Nov 2026``."""
    return f"{at.day} {at:%b %Y}"


def short_day(day: date) -> str:
    """``Mon 23 Nov``."""
    return f"{day:%a} {day.day} {day:%b}"


def zone_label(at: datetime) -> str:
    """``Asia/Kolkata``, as where a zone is chosen: IST is three zones. With its offset in an hour that comes twice."""
    name = getattr(at.tzinfo, "key", None) or at.tzname() or "UTC"
    if at.replace(fold=1 - at.fold).utcoffset() == at.utcoffset():
        return str(name)
    offset = at.strftime("%z")
    return f"{name} (UTC{offset[:3]}:{offset[3:5]})"
