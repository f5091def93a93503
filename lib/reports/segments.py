"""Which table answers which part of a period: days, then hours, and events only at the edges. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Literal
from zoneinfo import ZoneInfo

from lib.clock import HOUR, Micros
from lib.usage.periods import day_of, days_between, midnight

Grain = Literal["day", "hour", "event"]


@dataclass(frozen=True)
class Segment:
    """A half-open stretch that one table answers exactly; None is without an end on that side.

    ``cuts`` are hours that hold the beginning of a day. Hours with them are answered by two segments of the
    same stretch: ``hour`` leaves them out, ``event`` counts nothing else.
    """

    grain: Grain
    since: Micros | None
    until: Micros | None
    cuts: tuple[Micros, ...] = ()


def plan(since: Micros | None, until: Micros | None, rollup_zone: ZoneInfo) -> list[Segment]:
    """Cut a period into whole days of the roll-ups' zone, whole hours beside them, and events at the edges."""
    if since is not None and until is not None and since >= until:
        return []
    first, last = _up_to_day(since, rollup_zone), _down_to_day(until, rollup_zone)
    if first is not None and last is not None and first >= last:
        return list(plan_hours(since, until))
    before = [] if since is None else list(plan_hours(since, first))
    after = [] if until is None else list(plan_hours(last, until))
    return [*before, Segment("day", first, last), *after]


def plan_days(since: Micros, until: Micros, zone: ZoneInfo) -> list[Segment]:
    """Segments for one sum a day of ``zone``, another one than the roll-ups': whole hours inside each day.

    Where a day begins within an hour of UTC, the events of that hour are summed.
    """
    days = list(days_between(since, until, zone))[1:]
    starts = [start for start in (midnight(day, zone) for day in days) if start % HOUR]
    cuts = tuple(dict.fromkeys(start - start % HOUR for start in starts))
    found: list[Segment] = []
    for segment in plan_hours(since, until):
        inside = tuple(cut for cut in cuts if _holds(segment, cut))
        found.append(replace(segment, cuts=inside) if segment.grain == "hour" else segment)
        if inside:
            found.append(replace(segment, grain="event", cuts=inside))
    return found


def _holds(segment: Segment, hour: Micros) -> bool:
    since, until = segment.since, segment.until
    return segment.grain == "hour" and since is not None and until is not None and since <= hour < until


def plan_hours(since: Micros | None, until: Micros | None) -> Iterator[Segment]:
    """Whole hours of UTC inside, events in the part hours at both ends."""
    if since is None or until is None:
        yield Segment("hour", since, until)
        return
    first, last = since + -since % HOUR, until - until % HOUR
    if first >= last:
        if since < until:
            yield Segment("event", since, until)
        return
    if since < first:
        yield Segment("event", since, first)
    yield Segment("hour", first, last)
    if last < until:
        yield Segment("event", last, until)


def _up_to_day(moment: Micros | None, zone: ZoneInfo) -> Micros | None:
    if moment is None:
        return None
    day = day_of(moment, zone)
    start = midnight(day, zone)
    return start if start == moment else midnight(day + timedelta(days=1), zone)


def _down_to_day(moment: Micros | None, zone: ZoneInfo) -> Micros | None:
    return None if moment is None else midnight(day_of(moment, zone), zone)
