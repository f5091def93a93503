"""How numbers, money and times read."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib import formatting
from lib.clock import DAY, HOUR, MINUTE, SECOND, parse_iso

UTC = ZoneInfo("UTC")
NOW = parse_iso("2026-11-23T14:20:00Z")


@pytest.mark.parametrize(
    ("nano", "text"),
    [
        (None, "unknown"),
        (0, "$0.00"),
        (1, "<$0.0001"),
        (99_999, "<$0.0001"),
        (100_000, "$0.0001"),
        (4_200_000, "$0.0042"),
        (9_949_999, "$0.0099"),
        (9_999_999, "$0.01"),
        (10_000_000, "$0.01"),
        (1_234_560_000_000, "$1,234.56"),
        (-1_500_000_000, f"{formatting.MINUS}$1.50"),
        (9_007_199_254_740_993_000_000_001, "$9,007,199,254,740,993.00"),
    ],
)
def test_money_is_exact_small_money_stays_visible_and_unknown_is_never_zero(nano: int | None, text: str):
    assert formatting.money(nano) == text


@pytest.mark.parametrize(
    ("column", "texts"),
    [
        ([None, 0], ["unknown", "$0.00"]),
        ([118_000_000_000, 9_960_000], ["$118.00", "$0.01"]),
        ([118_000_000_000, 4_200_000, None, 0], ["$118.0000", "$0.0042", "unknown", "$0.0000"]),
        ([118_000_000_000, 42], ["$118.0000", "<$0.0001"]),
        ([4_200_000, 13_000, 500], ["$0.004200", "$0.000013", "<$0.000001"]),
    ],
)
def test_amounts_that_stand_together_have_the_decimals_that_the_smallest_needs(
    column: list[int | None], texts: list[str]
):
    assert formatting.moneys(*column) == texts


@given(st.lists(st.integers(0, 10**13), min_size=1))
def test_no_column_mixes_decimals_and_none_hides_an_amount(column: list[int]):
    texts = formatting.moneys(*column)
    assert len({len(text.partition(".")[2]) for text in texts}) == 1
    assert all(
        any(map("123456789".__contains__, text)) == bool(nano)
        for text, nano in zip(texts, column, strict=True)
    )


def test_a_cap_says_100_percent_only_when_nothing_fits():
    assert [formatting.percent_down(part, 1000) for part in (0, 999, 1000, 1200)] == [
        "0%",
        "99%",
        "100%",
        "100%",
    ]


@pytest.mark.parametrize(
    ("length", "text"),
    [
        (-1, "<1 s"),
        (SECOND - 1, "<1 s"),
        (40 * SECOND, "40 s"),
        (MINUTE + 4 * SECOND, "1 min 04 s"),
        (HOUR + 10 * MINUTE, "1 h 10 min"),
        (2 * DAY + 3 * HOUR, "2 days 3 h"),
    ],
)
def test_a_duration_has_two_units_at_most(length: int, text: str):
    assert formatting.duration(length) == text


def test_a_past_moment_is_told_relative_first_and_exactly_behind_with_its_zone():
    assert formatting.when(NOW - 12 * MINUTE, NOW, UTC) == "12 min ago · 14:08 UTC"
    assert (
        formatting.when(parse_iso("2026-11-06T09:14:00Z"), NOW, UTC) == "17 days ago · 6 Nov 2026, 09:14 UTC"
    )
    assert formatting.when(None, NOW, UTC) == "never"


def test_a_moment_to_come_is_told_both_ways():
    assert formatting.when(NOW + HOUR + 10 * MINUTE, NOW, UTC) == "in 1 h 10 min (15:30 UTC)"


@pytest.mark.parametrize(
    ("zone", "text"),
    [
        ("Europe/Berlin", "23 Nov 2026, 15:20 Europe/Berlin"),
        ("Asia/Kathmandu", "23 Nov 2026, 20:05 Asia/Kathmandu"),
        ("UTC", "23 Nov 2026, 14:20 UTC"),
    ],
)
def test_an_exact_moment_names_its_zone_as_it_is_chosen(zone: str, text: str):
    assert formatting.exact(NOW, ZoneInfo(zone)) == text


def test_today_is_a_day_of_the_zone():
    late = parse_iso("2026-11-22T23:30:00Z")
    assert formatting.exact(late, UTC, now=NOW) == "22 Nov 2026, 23:30 UTC"
    assert formatting.exact(late, ZoneInfo("Europe/Berlin"), now=NOW) == "00:30 Europe/Berlin"


def test_an_hour_that_comes_twice_says_which_of_the_two_it_is():
    berlin = ZoneInfo("Europe/Berlin")
    summer, winter = (parse_iso(f"2026-10-25T0{hour}:30:00Z") for hour in (0, 1))
    assert formatting.exact(summer, berlin) == "25 Oct 2026, 02:30 Europe/Berlin (UTC+02:00)"
    assert formatting.exact(winter, berlin) == "25 Oct 2026, 02:30 Europe/Berlin (UTC+01:00)"


@pytest.mark.parametrize(
    ("since", "until", "text"),
    [
        ("2026-10-25T00:00:00Z", "2026-11-24T00:00:00Z", "25 Oct to 23 Nov 2026, 14:20 UTC"),
        ("2026-11-22T14:20:00Z", "2026-11-23T14:20:00Z", "22 Nov, 14:20 to 23 Nov 2026, 14:20 UTC"),
        ("2026-11-23T00:00:00Z", "2026-11-24T00:00:00Z", "23 Nov 2026, 00:00 to 14:20 UTC"),
        ("2026-11-20T00:00:00Z", "2026-11-21T00:00:00Z", "20 Nov 2026, UTC"),
        ("2025-12-01T00:00:00Z", "2026-11-01T00:00:00Z", "1 Dec 2025 to 31 Oct 2026, UTC"),
    ],
)
def test_a_period_says_its_days_its_zone_and_that_it_ends_now(since: str, until: str, text: str):
    assert formatting.span(parse_iso(since), parse_iso(until), UTC, now=NOW) == text
