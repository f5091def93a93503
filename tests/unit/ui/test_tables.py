"""What tables say: every change by its word, and no small amount as nothing."""

from __future__ import annotations

import json

import pytest

from lib.access.audit import Tag
from lib.ui.audit import audit_list
from lib.ui.base.tables import call_cost_column, in_room, money_column, wide_enough


@pytest.mark.parametrize("tag", list(Tag))
def test_every_change_has_a_word_and_a_kind_to_filter_by(tag: Tag):
    assert audit_list.word(tag.value) != tag.value
    assert tag.value.split(":")[0] in audit_list.KINDS


def test_rows_of_releases_with_one_provider_read_as_those_of_now():
    assert audit_list.word("key:openai:rotated") == audit_list.word("key:rotated") == "Key replaced"


@pytest.mark.parametrize(
    ("kept", "words"),
    [
        (None, ""),
        ({"plan": "Starter", "warning": None, "note": ""}, "plan Starter"),
        ({"cap_5h_nano": 20 * 10**9, "ends_at": 0}, "5-hour cap $20.00, until 1970-01-01T00:00:00Z"),
        ({"last4": "x4Tz", "version": 2}, "key •••• x4Tz, version 2"),
        ({"provider": "openai", "version": 2}, "provider OpenAI, version 2"),
        ({"added": 3166, "projects": ["one", "two"]}, "added 3,166, projects one, two"),
        ({"filter": {"sources": ["byok"], "models": []}, "rows": 5}, "filter (sources byok), rows 5"),
    ],
)
def test_what_a_change_kept_is_told_in_words(kept: object, words: str):
    assert audit_list.values(None if kept is None else json.dumps(kept)) == words


@pytest.mark.parametrize(
    ("amounts", "form"),
    [
        ([], "$%,.2f"),
        ([None, 0.0], "$%,.2f"),
        ([0.01, 1_200.0], "$%,.2f"),
        ([0.0042, 1_200.0], "$%,.4f"),
        ([0.000013], "$%,.6f"),
        ([0.000013, 1_200.0], "$%,.4f"),
    ],
)
def test_a_column_of_money_has_the_decimals_that_its_amounts_need(amounts: list[float | None], form: str):
    assert money_column(amounts)["type_config"]["format"] == form


def test_what_calls_cost_has_four_decimals_or_six():
    assert call_cost_column([1.5, None])["type_config"]["format"] == "$%,.4f"
    assert call_cost_column([0.000013, 0.0])["type_config"]["format"] == "$%,.6f"


def test_a_column_has_room_for_the_longest_cell_that_it_shows():
    """A table that gets other rows keeps the widths it had, and a number would lose its first digits."""
    config = {"Cost": money_column([0.5])}
    small, large = (wide_enough({"Cost": [0.5, cost]}, config, "Cost", "Model") for cost in (0.25, 12_345.25))
    assert set(small) == {"Cost"}
    assert 6.5 * len("$12,345.250000") < large["Cost"]["width"] < 2 * small["Cost"]["width"]
    assert large["Cost"] == config["Cost"] | {"width": large["Cost"]["width"]}


def test_a_wide_title_stands_behind_all_others_where_it_hides_none_of_them():
    short, long = (
        {"Project": ["shop"], "Title": ["Shop"], "Total": [1.0]},
        {"Title": ["x" * 60], "Total": [1.0]},
    )
    assert in_room(short, "Title") == ["Project", "Title", "Total"]
    assert in_room(long, "Title") == ["Total", "Title"]
    assert in_room({"Total": [1.0]}, "Title") == ["Total"]
