"""Period and zone of a page, from its address; and what they say in the page's context line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import cached_property
from zoneinfo import ZoneInfo

import streamlit as st

from lib.clock import DAY, HOUR, Micros
from lib.errors import BadInput
from lib.formatting import span
from lib.reports.labels import split
from lib.reports.models import UsageFilter
from lib.ui.base import query_state, wrong_links
from lib.ui.base.server import front_door, now
from lib.usage.comparison import MONTHS, compared_with
from lib.usage.periods import FIRST_DAY, PRESETS, Period, custom, day_of, midnight, preset, zone_named

# One or two for each offset, so that the list stays short; the address may name any other.
ZONES = (
    "UTC",
    "Pacific/Honolulu",
    "America/Los_Angeles",
    "America/Denver",
    "America/Chicago",
    "America/New_York",
    "America/Halifax",
    "America/Sao_Paulo",
    "Atlantic/Azores",
    "Europe/London",
    "Europe/Berlin",
    "Europe/Athens",
    "Europe/Istanbul",
    "Africa/Lagos",
    "Africa/Nairobi",
    "Asia/Tehran",
    "Asia/Dubai",
    "Asia/Karachi",
    "Asia/Kolkata",
    "Asia/Kathmandu",
    "Asia/Dhaka",
    "Asia/Bangkok",
    "Asia/Singapore",
    "Asia/Shanghai",
    "Asia/Tokyo",
    "Australia/Adelaide",
    "Australia/Sydney",
    "Pacific/Auckland",
    "Pacific/Kiritimati",
)
_HOURLY = 2 * DAY + 2 * HOUR  # two days, one of which may be longer
_LONGEST = timedelta(days=3660)


@dataclass(frozen=True)
class Chosen:
    """What the reader chose: a period in a zone, seen at ``now``."""

    name: str
    period: Period
    now: Micros

    @property
    def zone(self) -> ZoneInfo:
        """Days belong to it, and times are shown in it."""
        return self.period.zone

    @property
    def days(self) -> int:
        """How many days of the zone it touches."""
        return (self.period.last_day - self.period.first_day).days + 1

    @property
    def hourly(self) -> bool:
        """Whether it is so short that hours say more than days."""
        return self.period.until - self.period.since <= _HOURLY

    @property
    def label(self) -> str:
        """For the context line: ``25 Oct to 23 Nov 2026, 14:20 UTC``."""
        return span(self.period.since, self.period.until, self.zone, now=self.now)

    @cached_property
    def earlier(self) -> Period:
        """What a change is measured against: the same stretch of the period before."""
        return compared_with(self.name, self.period, self.now)

    @property
    def before(self) -> str:
        """What the period is compared with, in few words: ``vs 7 d before``, ``vs same days of Oct``."""
        if self.name not in MONTHS:
            return f"vs {'24 h' if self.name == '24h' else f'{self.days} d'} before"
        first, whole = self.earlier.first_day, self.earlier.until == self.period.since
        month = f"{first:%b}" if first.year == self.period.first_day.year else f"{first:%b %Y}"
        return f"vs all of {month}" if whole else f"vs same days of {month}"

    @property
    def against(self) -> str:
        """What the period is compared with exactly, as a sentence: 24 Oct to 30 Oct 2026, 01:37 UTC."""
        since, until = self.earlier.since, self.earlier.until
        whole = midnight(day_of(until, self.zone), self.zone) == until
        return f"Compared with {span(since, until, self.zone, now=self.now if whole else until)}."

    @property
    def today(self) -> date:
        """The day that is not over yet."""
        return day_of(self.now, self.zone)


def choose_period(*, default: str = "30d") -> Chosen:
    """Draw the period and the zone, and say what they come to."""
    at = now()
    name = query_state.one(
        "period", list(PRESETS), default, noun="period", shown=f"the {PRESETS[default].lower()}"
    )
    zone = _zone()
    with st.container(horizontal=True, width="content", horizontal_alignment="right", gap="xsmall"):
        query_state.select(
            "Period", "period", list(PRESETS), default=default, width=150, format_func=PRESETS.__getitem__
        )
        if name == "custom":
            _correct_days(at, zone)
            _choose_days(at, zone)
        query_state.select(
            "Time zone", "zone", _zones(zone.key), default=_default_zone(), width=_width(zone.key)
        )
    return Chosen(name, _period(name, zone, at), at)


def choose_labels(known: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """Draw the choice of labels, ``known`` by name; nothing where there are none. What it returns is a filter's."""
    options = [f"{name}={value}" for name, values in known.items() for value in (*values, "")]
    noun = "label that you can see"
    if not options:
        return tuple(query_state.many("label", options, noun=noun))
    return tuple(query_state.select_many("Labels", "label", options, noun=noun, format_func=label_in_words))


def label_in_words(label: str) -> str:
    """``cost_centre: 4711``, ``no cost_centre``; ``label`` as in a filter."""
    name, value = split(label)
    return f"{name}: {value}" if value else f"no {name}"


def narrow_to(first: date, last: date) -> None:
    """Make these days the period of the page."""
    query_state.put("period", "custom")
    query_state.put("from", first.isoformat())
    query_state.put("to", last.isoformat())


def _period(name: str, zone: ZoneInfo, at: Micros) -> Period:
    if name != "custom":
        return preset(name, zone, at)
    return custom(*_days(at, zone), zone)


def _days(at: Micros, zone: ZoneInfo) -> tuple[date, date]:
    """First and last day of a custom period; the last seven days where the address does not say."""
    today = day_of(at, zone)
    last = query_state.day("to") or today
    first = query_state.day("from") or max(FIRST_DAY, last - timedelta(days=6))
    return max(first, last - _LONGEST) if first <= last else last, last


def _correct_days(at: Micros, zone: ZoneInfo) -> None:
    """Where the address names days that cannot be shown: none, too many, or in the wrong order."""
    shown = _days(at, zone)
    asked = {name: query_state.text(name, 20) for name in ("from", "to")}
    if any(text not in ("", day.isoformat()) for text, day in zip(asked.values(), shown, strict=True)):
        wrong_links.add("days", f"{shown[0]} to {shown[1]}")
        for name, day in zip(asked, shown, strict=True):
            query_state.put_silently(name, day.isoformat())


def _choose_days(at: Micros, zone: ZoneInfo) -> None:
    key = "address:from,to"
    st.session_state[key] = _days(at, zone)

    def changed() -> None:
        chosen = st.session_state[key]
        if len(chosen) == 2:  # noqa: PLR2004 - the second day is not chosen yet
            for name, day in zip(("from", "to"), chosen, strict=True):
                query_state.put(name, day.isoformat())

    st.date_input(
        "First and last day", key=key, on_change=changed, label_visibility="collapsed", format="YYYY-MM-DD"
    )


def _default_zone() -> str:
    return front_door().settings.timezone


def _zone() -> ZoneInfo:
    asked = query_state.text("zone", 60)
    try:
        return zone_named(asked or _default_zone())
    except BadInput:
        wrong_links.add("time zone", _default_zone())
        query_state.put_silently("zone", None)
        return zone_named(_default_zone())


def _zones(chosen: str) -> list[str]:
    return list(dict.fromkeys((_default_zone(), *ZONES, chosen)))


def _width(zone: str) -> int:
    return 100 if len(zone) < 6 else 180  # noqa: PLR2004 - characters


def before(wanted: UsageFilter, chosen: Chosen) -> UsageFilter:
    """The filter over what the period is compared with."""
    return replace(wanted, since=chosen.earlier.since, until=chosen.earlier.until)
