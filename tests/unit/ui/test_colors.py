"""The theme's colours can be read on their backgrounds, and nobody takes one source of money for the other."""

from __future__ import annotations

import pytest

from tests.colors import SIGHTS, THEMES, contrast, distance, theme

TEXT, GRAPHICS = 4.5, 3.0
MEANINGS = ("violet", "blue", "green", "orange", "red", "gray")
STATUSES = ("green", "orange", "red")


@pytest.mark.parametrize("name", THEMES)
def test_text_can_be_read_on_every_background(name: str):
    colors = theme(name)
    for background in ("backgroundColor", "secondaryBackgroundColor"):
        for text in ("textColor", "linkColor"):
            assert contrast(colors[text], colors[background]) >= TEXT, (text, background)
    assert contrast(colors["codeTextColor"], colors["codeBackgroundColor"]) >= TEXT
    assert contrast(colors["dataframeHeaderTextColor"], colors["dataframeHeaderBackgroundColor"]) >= TEXT
    assert contrast("#FFFFFF", colors["primaryColor"]) >= TEXT, "labels of primary buttons are white"


@pytest.mark.parametrize("meaning", MEANINGS)
@pytest.mark.parametrize("name", THEMES)
def test_a_badge_and_a_bar_of_each_meaning_can_be_read(name: str, meaning: str):
    colors = theme(name)
    assert contrast(colors[f"{meaning}TextColor"], colors[f"{meaning}BackgroundColor"]) >= TEXT
    for background in ("backgroundColor", "secondaryBackgroundColor"):
        assert contrast(colors[f"{meaning}Color"], colors[background]) >= GRAPHICS


@pytest.mark.parametrize("sight", SIGHTS)
@pytest.mark.parametrize("name", THEMES)
def test_platform_and_byok_stay_far_apart_for_everybody(name: str, sight: str):
    colors = theme(name)
    assert distance(colors["violetColor"], colors["blueColor"], sight) >= 25


@pytest.mark.parametrize("sight", SIGHTS)
@pytest.mark.parametrize("name", THEMES)
def test_neither_source_is_taken_for_a_status(name: str, sight: str):
    colors = theme(name)
    for source in ("violetColor", "blueColor"):
        for status in STATUSES:
            assert distance(colors[source], colors[f"{status}Color"], sight) >= 10, (source, status)


@pytest.mark.parametrize(
    ("one", "other", "known"),
    [("#000000", "#FFFFFF", 100.0), ("#352E80", "#352E80", 0.0), ("#FF0000", "#00FF00", 86.6)],
)
def test_the_distance_is_that_of_ciede2000(one: str, other: str, known: float):
    assert distance(one, other, "normal") == pytest.approx(known, abs=0.1)
