"""Spikes of spend and the hours of the week: plain sums, compared by rules that can be said in a sentence."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.clock import DAY, HOUR, from_micros, to_micros
from lib.reports import weekly
from lib.reports.models import SpendTotals
from lib.reports.spikes import DAYS_BEFORE, FACTOR, FLOOR_NANO, Spike, detect_spike

DOLLAR = 10**9
SUNDAY = date(2026, 11, 22)
FIRST = to_micros(
    datetime(2026, 10, 18, tzinfo=UTC)
)  # the clocks of Berlin and New York change in these weeks


def week_before(*dollars: int) -> dict[date, SpendTotals]:
    """Spend of the days before Sunday, the nearest first."""
    return {
        SUNDAY - timedelta(days=back): SpendTotals(platform_nano=amount * DOLLAR)
        for back, amount in enumerate(dollars, start=1)
    }


def on_sunday(dollars: int, *before: int) -> Spike | None:
    return detect_spike(week_before(*before) | {SUNDAY: SpendTotals(byok_nano=dollars * DOLLAR)}, SUNDAY)


@pytest.mark.parametrize(
    ("spent", "before", "jumped"),
    [
        (30, [10] * 7, True),
        (29, [10] * 7, False),  # not three times
        (12, [1] * 7, True),
        (10, [1] * 7, False),  # ten times, but not ten dollars more
        (30, [10, 10, 10, 10, 500, 500, 500], True),  # the median does not mind a few days
        (500, [0, 0, 0, 0, 100, 100, 100], False),  # quiet on most days: there is no usual day
        (500, [100], False),  # a new project
        (0, [10] * 7, False),
    ],
)
def test_a_day_jumps_by_a_factor_and_by_a_floor(spent: int, before: list[int], *, jumped: bool):
    assert (on_sunday(spent, *before) is not None) == jumped


@given(spent=st.integers(0, 10**14), before=st.lists(st.integers(0, 10**13), min_size=7, max_size=7))
def test_what_is_said_of_a_jump_is_what_was_spent(spent: int, before: list[int]):
    series = {
        SUNDAY - timedelta(days=back): SpendTotals(byok_nano=nano) for back, nano in enumerate(before, 1)
    }
    found = detect_spike(series | {SUNDAY: SpendTotals(platform_nano=spent)}, SUNDAY)
    median = sorted(before)[DAYS_BEFORE // 2]
    if median and spent >= FACTOR * median and spent - median >= FLOOR_NANO:
        assert found == Spike(SUNDAY, spent, 0, median)
    else:
        assert found is None


@given(
    hours=st.dictionaries(
        st.integers(-28 * 24, 34 * 24), st.tuples(st.integers(0, 10**12), st.integers(0, 10**12))
    ),
    first=st.integers(-28 * 24, 7 * 24),
    weeks=st.integers(1, 4),
    zone=st.sampled_from(
        [
            "UTC",
            "Europe/Berlin",
            "Asia/Kolkata",
            "America/New_York",
            "Pacific/Kiritimati",
            "Australia/Adelaide",
            "Australia/Lord_Howe",
        ]
    ),
)
def test_the_hours_of_a_week_hold_every_hour_once(
    hours: dict[int, tuple[int, int]], first: int, weeks: int, zone: str
):
    spent = {FIRST + hour * HOUR: SpendTotals(*nano) for hour, nano in hours.items()}
    since = FIRST + first * HOUR
    until = since + weeks * weekly.WEEK

    found = weekly.week(spent, since, until, ZoneInfo(zone))

    inside = {at: spend for at, spend in spent.items() if since <= at < until}
    assert sum(cell.hours for cell in found) == weeks * 7 * 24
    assert sum(cell.platform_nano + cell.byok_nano for cell in found) == sum(map(sum, inside.values()))
    for cell in found:
        mine = [
            spend
            for at, spend in inside.items()
            if (local := from_micros(at).astimezone(ZoneInfo(zone))).weekday() == cell.weekday
            and f"{local:%H:%M}" == cell.clock
        ]
        assert cell.platform_nano == sum(spend.platform_nano for spend in mine)
        assert cell.byok_nano == sum(spend.byok_nano for spend in mine)


def test_hours_of_before_and_after_a_change_by_half_an_hour_are_hours_apart():
    """Clocks of Lord Howe went from 02:00 to 02:30 on 4 October: hours of UTC began at half past, then on the hour."""
    since = to_micros(datetime(2026, 9, 20, 14, tzinfo=UTC))  # two weeks before, and after
    spent = {since + hour * HOUR: SpendTotals(byok_nano=DOLLAR) for hour in range(4 * 7 * 24)}
    found = weekly.week(spent, since, since + 4 * weekly.WEEK, ZoneInfo("Australia/Lord_Howe"))
    wednesday = {cell.clock: (cell.hours, cell.average_nano) for cell in found if cell.weekday == 2}
    assert len(wednesday) == 48
    assert set(wednesday.values()) == {(2, DOLLAR)}


@given(length=st.integers(0, 400 * DAY), left=st.integers(-3 * DAY, 3 * DAY))
def test_whole_weeks_are_looked_at_or_all_hours_of_a_shorter_period_and_none_that_is_not_over(
    length: int, left: int
):
    until = FIRST + length
    stretch = weekly.latest_weeks(FIRST, until, until - left)
    if stretch is None:
        assert min(until, until - left) - FIRST < HOUR
        return
    since, end = stretch
    assert min(until, until - left) - HOUR < end <= min(until, until - left)
    assert since % HOUR == end % HOUR == 0
    assert FIRST <= since < end <= since + weekly.WEEKS * weekly.WEEK
    assert (end - since) % weekly.WEEK == 0 or (since == FIRST and end - since < weekly.WEEK)
