"""What stands side by side: a change has its sign, and rounded parts add up to their rounded whole."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.formatting import MINUS, money
from lib.ui.base import comparing

CENT = 10_000_000


@pytest.mark.parametrize(
    ("now", "before", "text"),
    [
        (1026, 1000, "+2.6%"),
        (981, 1000, f"{MINUS}1.9%"),
        (1000, 1000, "0.0%"),
        (0, 0, None),
        (0, 5, f"{MINUS}100.0%"),
        (5, 0, "new"),
        (28_241, 100, "new"),
        (10_001, 100, "new"),
        (10_000, 100, "+9,900.0%"),
    ],
)
def test_a_change_has_its_sign_and_is_new_where_there_was_next_to_nothing(
    now: int, before: int, text: str | None
):
    assert comparing.change(now, before) == text


def test_two_amounts_beside_their_sum_add_up_to_it():
    """Each by itself, it would be $230.33 and $123.55 beside $353.87."""
    platform, byok = 230_325_900_000, 123_545_900_000
    assert [money(nano) for nano in (platform + byok, platform, byok)] == ["$353.87", "$230.33", "$123.55"]
    assert comparing.money_adding_up(platform, byok) == ["$230.33", "$123.54"]


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ((None, None), ["unknown", "unknown"]),
        ((None, 5 * CENT), ["unknown", "$0.05"]),
        ((0, 0), ["$0.00", "$0.00"]),
        ((4_200_000, 1_234_560_000_000), ["$0.0042", "$1,234.5600"]),
        ((50_000, 60_000), ["$0.000050", "$0.000060"]),
        ((42, 5 * CENT), ["<$0.0001", "$0.0500"]),
        ((9_960_000, 14_000_000), ["$0.01", "$0.01"]),
    ],
)
def test_unknown_is_in_no_sum_and_less_than_a_cent_stays_visible(
    parts: tuple[int | None, ...], words: list[str]
):
    assert comparing.money_adding_up(*parts) == words


def test_columns_of_cents_stay_as_they_are_where_they_add_up_and_are_whole_cents_where_not():
    fine, off = [230_321_000_000, 123_541_000_000], [230_325_900_000, 123_545_900_000]
    assert comparing.cents_adding_up(fine) == fine
    assert comparing.cents_adding_up(off) == [230_330_000_000, 123_540_000_000]


@given(st.lists(st.integers(CENT, 10**15), min_size=2, max_size=3))
def test_what_is_read_adds_up_and_each_amount_is_less_than_a_cent_from_what_it_is(parts: list[int]):
    shown = [Decimal(text.replace("$", "").replace(",", "")) for text in comparing.money_adding_up(*parts)]
    assert f"${sum(shown):,}" == money(sum(parts))
    assert all(
        abs(text - Decimal(nano).scaleb(-9)) < Decimal("0.01")
        for text, nano in zip(shown, parts, strict=True)
    )
