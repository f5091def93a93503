"""A change is measured against the like of what it measures: as long, at the same time of day, in the same month days."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from lib.clock import DAY, HOUR, MINUTE, from_micros, parse_iso, to_micros
from lib.ui.base.filters import Chosen
from lib.usage.comparison import compared_with
from lib.usage.periods import PRESETS, Period, custom, day_of, midnight, preset


def at(zone: str, text: str) -> int:
    """An instant as the zone's clocks show it."""
    return to_micros(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)))


def chosen(name: str, zone: str, now: int) -> Chosen:
    return Chosen(name, preset(name, ZoneInfo(zone), now), now)


def stretch(found: Period) -> tuple[str, str]:
    since, until = (from_micros(moment).astimezone(found.zone) for moment in (found.since, found.until))
    return f"{since:%Y-%m-%d %H:%M}", f"{until:%Y-%m-%d %H:%M}"


@pytest.mark.parametrize(
    ("name", "now", "since", "until"),
    [
        ("7d", "2026-11-30T01:37", "2026-11-17 00:00", "2026-11-23 01:37"),
        ("30d", "2026-11-30T01:37", "2026-10-02 00:00", "2026-10-31 01:37"),
        ("90d", "2026-11-30T01:37", "2026-06-04 00:00", "2026-09-01 01:37"),
        ("24h", "2026-11-30T01:37", "2026-11-28 01:37", "2026-11-29 01:37"),
        ("month", "2026-11-01T01:37", "2026-10-01 00:00", "2026-10-01 01:37"),
        ("month", "2026-11-02T01:37", "2026-10-01 00:00", "2026-10-02 01:37"),
        ("month", "2026-11-30T01:37", "2026-10-01 00:00", "2026-10-30 01:37"),
        ("month", "2026-10-31T01:37", "2026-09-01 00:00", "2026-10-01 00:00"),
        ("month", "2026-03-31T01:37", "2026-02-01 00:00", "2026-03-01 00:00"),
        ("month", "2026-03-28T01:37", "2026-02-01 00:00", "2026-02-28 01:37"),
        ("month", "2026-01-15T23:59", "2025-12-01 00:00", "2025-12-15 23:59"),
        ("last_month", "2026-11-30T01:37", "2026-09-01 00:00", "2026-10-01 00:00"),
        ("last_month", "2026-03-05T12:00", "2026-01-01 00:00", "2026-02-01 00:00"),
    ],
)
@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "Asia/Kolkata", "America/St_Johns"])
def test_a_period_is_compared_with_the_same_stretch_of_the_one_before(
    name: str, now: str, since: str, until: str, zone: str
):
    assert stretch(chosen(name, zone, at(zone, now)).earlier) == (since, until)


@pytest.mark.parametrize(
    ("zone", "now", "until"),
    [
        ("Europe/Berlin", "2026-10-26T01:37", "2026-10-19 01:37"),  # the clocks went back the day before
        ("Europe/Berlin", "2026-10-25T02:30", "2026-10-18 02:30"),
        (
            "Europe/Berlin",
            "2026-11-01T02:30",
            "2026-10-25 02:30",
        ),  # the first of the two that were half past two
        ("Europe/Berlin", "2026-03-30T01:37", "2026-03-23 01:37"),
        ("Europe/Berlin", "2026-04-05T02:30", "2026-03-29 03:30"),  # there was no half past two
        ("Australia/Lord_Howe", "2026-10-05T01:37", "2026-09-28 01:37"),  # half an hour was left out
        ("Australia/Lord_Howe", "2026-10-11T02:15", "2026-10-04 02:45"),
        ("Australia/Adelaide", "2026-04-06T01:37", "2026-03-30 01:37"),
        ("America/Havana", "2026-03-15T00:30", "2026-03-08 01:30"),  # that day began at one
    ],
)
def test_over_a_change_of_clocks_the_clocks_are_compared(zone: str, now: str, until: str):
    assert stretch(chosen("7d", zone, at(zone, now)).earlier)[1] == until


def test_days_of_23_and_25_hours_are_days():
    spring = Period(
        at("Europe/Berlin", "2026-03-29T00:00"),
        at("Europe/Berlin", "2026-03-30T00:00"),
        ZoneInfo("Europe/Berlin"),
    )
    assert stretch(compared_with("custom", spring, spring.until)) == ("2026-03-28 00:00", "2026-03-29 00:00")


def test_24_hours_stay_24_hours_where_they_begin_at_a_midnight():
    """At one o'clock after a day of 23 hours, the last 24 began at a midnight and are still no two days."""
    now = at("Europe/Berlin", "2026-03-30T01:00")
    earlier = chosen("24h", "Europe/Berlin", now).earlier
    assert (earlier.since, earlier.until) == (now - 2 * DAY, now - DAY)


def test_days_that_are_over_are_compared_whole_and_days_to_come_too():
    zone, now = ZoneInfo("UTC"), parse_iso("2026-11-30T01:37:00Z")
    for first, last in (("2026-11-20", "2026-11-24"), ("2026-12-20", "2026-12-24")):
        period = custom(*map(datetime.date, map(datetime.fromisoformat, (first, last))), zone)
        earlier = compared_with("custom", period, now)
        assert (earlier.until, earlier.until - earlier.since) == (period.since, 5 * DAY)


ZONES = st.sampled_from(
    [
        "UTC",
        "Europe/Berlin",
        "Asia/Kolkata",
        "Australia/Lord_Howe",
        "America/St_Johns",
        "America/Havana",
        "Pacific/Chatham",
    ]
)
MOMENTS = st.integers(parse_iso("2024-01-01T00:00:00Z"), parse_iso("2028-12-31T00:00:00Z"))


@given(name=st.sampled_from([name for name in PRESETS if name != "custom"]), zone=ZONES, now=MOMENTS)
def test_nothing_is_compared_with_more_than_it_has_itself_nor_with_a_part_of_it(
    name: str, zone: str, now: int
):
    look = chosen(name, zone, now)
    period, earlier = look.period, look.earlier
    assert earlier.since <= earlier.until <= period.since
    if name == "last_month":
        return
    elapsed = min(now, period.until) - period.since
    # Each stretch may hold a change of clocks of its own.
    assert earlier.until - earlier.since <= elapsed + 2 * HOUR
    whole_month = name == "month" and earlier.until == period.since
    assert whole_month or earlier.until - earlier.since > elapsed - 2 * HOUR - MINUTE


@given(zone=ZONES, now=MOMENTS, days=st.integers(1, 40))
def test_at_the_same_time_of_day(zone: str, now: int, days: int):
    clocks = ZoneInfo(zone)
    today = day_of(now, clocks)
    period = Period(midnight(today, clocks), midnight(today, clocks) + days * DAY, clocks)
    assume(now < period.until)
    period = custom(today, day_of(period.until - HOUR, clocks), clocks)
    until = from_micros(compared_with("custom", period, now).until).astimezone(clocks)
    local = from_micros(now).astimezone(clocks)
    jump = until.utcoffset() != from_micros(to_micros(until) - 2 * HOUR).astimezone(clocks).utcoffset()
    assert jump or (until.hour, until.minute) == (local.hour, local.minute)


@pytest.mark.parametrize(
    ("name", "now", "words", "against"),
    [
        ("24h", "2026-11-30T01:37", "vs 24 h before", "28 Nov, 01:37 to 29 Nov 2026, 01:37 UTC"),
        ("7d", "2026-11-30T01:37", "vs 7 d before", "17 Nov to 23 Nov 2026, 01:37 UTC"),
        ("month", "2026-11-30T01:37", "vs same days of Oct", "1 Oct to 30 Oct 2026, 01:37 UTC"),
        ("month", "2026-01-02T01:37", "vs same days of Dec 2025", "1 Dec to 2 Dec 2025, 01:37 UTC"),
        ("month", "2026-03-31T01:37", "vs all of Feb", "1 Feb to 28 Feb 2026, UTC"),
        ("last_month", "2026-11-30T01:37", "vs all of Sep", "1 Sep to 30 Sep 2026, UTC"),
    ],
)
def test_what_is_compared_with_is_said_shortly_and_exactly(name: str, now: str, words: str, against: str):
    look = chosen(name, "UTC", to_micros(datetime.fromisoformat(now).replace(tzinfo=UTC)))
    assert (look.before, look.against) == (words, f"Compared with {against}.")
