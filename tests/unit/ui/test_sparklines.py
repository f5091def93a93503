"""The lines below the numbers."""

from __future__ import annotations

from urllib.parse import unquote

import pytest

from lib.ui.charts import theme
from lib.ui.charts.sparklines import sparkline
from lib.ui.shell.startup import read_configuration


@pytest.fixture(autouse=True)
def _configuration() -> None:
    read_configuration()


def test_it_is_a_picture_with_words_for_who_cannot_see_it():
    drawn = sparkline([1, 2], slot="Axis", alt='Calls "over" time')
    assert drawn.startswith('<div role="img" aria-label="Calls &quot;over&quot; time" ')


@pytest.mark.parametrize("slot", theme.SLOTS)
def test_it_has_the_colour_of_its_meaning_in_both_themes(slot: str):
    drawn = sparkline([1, 2], slot=slot, alt="Calls over time")
    assert "background:light-dark(#" in drawn


@pytest.mark.parametrize(
    ("values", "path"),
    [
        ([0, 10, 5], "M0 42L50 2L100 22"),
        ([0, 0], "M0 42L100 42"),
        ([3], "M0 2"),
        ([10**15, 0], "M0 2L100 42"),
    ],
)
def test_it_goes_from_zero_to_the_largest_over_its_whole_width(values: list[int], path: str):
    assert f"d='{path}'" in unquote(sparkline(values, slot="Axis", alt="Calls over time"))
