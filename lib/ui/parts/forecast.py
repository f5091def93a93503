"""Forecasts in words: when a cap is reached, and what the month will have cost, never without its range."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from zoneinfo import ZoneInfo

from lib.access.roles import Actor
from lib.caps.forecast.forecasts import CapForecast, HeldForecast, MonthForecast
from lib.clock import Micros, from_micros
from lib.formatting import exact, moneys
from lib.ui.base import loaders
from lib.ui.base.comparing import money_adding_up
from lib.ui.base.server import front_door
from lib.ui.base.wording import escape

_ENOUGH_TO_JUDGE = 20
_SOURCES = {"platform": "platform-funded", "byok": "BYOK"}


def cap_forecasts(windows: Mapping[str, str], actor: Actor) -> dict[str, CapForecast]:
    """Forecast one window (5h or 7d) of each project, by slug."""
    slugs = tuple(windows)
    return (
        loaders.cached_for_a_minute(front_door().forecasts.caps, slugs, dict(windows), actor=actor)
        if slugs
        else {}
    )


def held_forecast(slug: str, window: str, actor: Actor) -> list[HeldForecast]:
    """Forecast what a window of a project will hold over 48 hours; empty where nothing is known."""
    return loaders.cached_for_a_minute(front_door().forecasts.held, slug, window, actor=actor)


def cap_sentence(found: CapForecast, zone: ZoneInfo) -> str:
    """``It will reach it at about 14:30 UTC, between 13:50 and 16:10.``; empty where that is unlikely or not known.

    Where it is likelier not to reach it, ``It may reach it, not before 13:50 UTC.``
    """
    if found.verdict is None or found.earliest is None:
        return ""
    if found.median is None:
        return escape(f"It {found.verdict} reach it, not before {exact(found.earliest, zone, now=found.at)}.")
    about = exact(found.median, zone, now=found.at)
    return escape(f"It {found.verdict} reach it at about {about}, {_between(found, zone)}.")


def cap_outlook(found: CapForecast, zone: ZoneInfo) -> str:
    """What Plan says of a window that is not full: also that it is unlikely, or why nothing is known."""
    if found.why_none == "too little history":
        return "Not enough history for a forecast; it takes three days."
    if found.why_none == "idle":
        return "No platform-funded spend in the last 24 hours, so there is no forecast."
    return cap_sentence(found, zone).replace("reach it", "reach this cap") or (
        "It is unlikely to reach this cap in the next 48 hours."
    )


def short(found: CapForecast | None, zone: ZoneInfo) -> str:
    """For a table: ``14:30 (13:50 to 16:10)``, ``maybe from 13:50``; empty where there is nothing to say."""
    if found is None or found.verdict is None or found.earliest is None:
        return ""
    if found.median is None:
        return f"maybe from {_clock(found.earliest, found.at, zone)}"
    word = "" if found.verdict == "will" else "maybe "
    ends = f"from {_clock(found.earliest or found.at, found.at, zone)}"
    return f"{word}{_clock(found.median, found.at, zone)} ({_range(found, zone, ' to ') if found.latest else ends})"


def _between(found: CapForecast, zone: ZoneInfo) -> str:
    if found.latest is None:
        return f"not before {_clock(found.earliest or found.at, found.at, zone)}"
    return f"between {_range(found, zone, ' and ')}"


def _range(found: CapForecast, zone: ZoneInfo, joint: str) -> str:
    return joint.join(_clock(end or found.at, found.at, zone) for end in (found.earliest, found.latest))


def _clock(moment: Micros, now: Micros, zone: ZoneInfo) -> str:
    """``14:30``, or ``Wed 14:30`` where it is another day than today."""
    at = from_micros(moment).astimezone(zone)
    same = at.date() == from_micros(now).astimezone(zone).date()
    return f"{at:%H:%M}" if same else f"{at:%a %H:%M}"


def month_lines(slugs: Sequence[str], actor: Actor) -> str:
    """What this month will have cost, a ledger each, and how good forecasts have been; empty without projects."""
    if not slugs:
        return ""
    ask = front_door().forecasts.month
    found = {
        source: loaders.cached_for_a_minute(ask, tuple(slugs), (source,), actor=actor) for source in _SOURCES
    }
    # As the numbers above: where the month is the period, both say the same to the cent.
    spent = money_adding_up(*(month.so_far_nano for month in found.values()))
    told = zip(found.items(), spent, strict=True)
    said = [line for (source, month), so_far in told if (line := _month(source, month, so_far))]
    if not said:
        return ""
    first = next(iter(found.values()))
    return escape(f"{first.month:%B} so far: {'; '.join(said)}.{_record(slugs, actor)}")


def _month(source: str, found: MonthForecast, so_far: str) -> str:
    if not found.so_far_nano and found.expected is None:
        return ""
    if found.expected is None:
        return f"{so_far} {_SOURCES[source]} (not enough history for a forecast)"
    plain, *ahead = moneys(found.so_far_nano, *map(round, found.expected))
    # Where no more is to come, the cent that makes the parts add up is in the forecast, too.
    low, middle, high = (so_far if each == plain else each for each in ahead)
    if not round(found.expected[-1]):
        return ""
    return f"{so_far} {_SOURCES[source]}, about {middle} by {found.last_day.day} {found.last_day:%b} ({low} to {high})"


def _record(slugs: Sequence[str], actor: Actor) -> str:
    record = loaders.cached_for_a_minute(front_door().forecasts.track_record, tuple(slugs), 24, actor=actor)
    if record.forecasts < _ENOUGH_TO_JUDGE:
        return ""
    return (
        f" Of the last 30 days' forecasts of a day's spend, {record.percent_inside}% held: "
        "the outcome was within the range (80% is the aim)."
    )
