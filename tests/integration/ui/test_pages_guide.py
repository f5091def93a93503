"""Help > Guide, and what else is said where one works: an old key, a run without calls."""

from __future__ import annotations

import pytest

from lib.clock import DAY
from lib.ui.guide.chapters import search
from lib.ui.integrations import key_panel
from tests.pages import ADMIN, Dashboard, texts
from tests.upstream import GOOD_KEY

pytestmark = pytest.mark.parametrize("database_kind", ["sqlite"])


def test_a_chapter_is_read_and_a_wrong_one_is_said(dashboard: Dashboard):
    page = dashboard.open("guide", chapter="caps")
    assert "Plans and exceptions" in texts(page)
    page = dashboard.open("guide", chapter="nothing")
    assert "no such chapter" in page.warning[0].value
    assert "Before it is saved" in texts(page)


def test_words_are_found_in_every_chapter_those_in_a_title_first(dashboard: Dashboard):
    found = search("token BUDGET")
    assert found[0].title == "A run's own token budget"
    assert {section.chapter for section in found} > {"caps"}
    labels = [expander.label for expander in dashboard.open("guide", q="token budget").expander]
    assert labels[0].replace("\\", "") == "Caps: A run's own token budget"
    assert "No section has all of these words" in texts(dashboard.open("guide", q="xyzzy"))


def test_a_key_of_ninety_days_is_marked_and_a_newer_one_is_not(dashboard: Dashboard):
    dashboard.add("checkout-api", GOOD_KEY)
    state = dashboard.platform.keys.describe("checkout-api", actor=ADMIN)
    saved = state.saved_at or 0
    assert "Not rotated" not in str(key_panel.badges(state, saved + 90 * DAY - 1, "own"))
    assert "Not rotated for 90 days" in str(key_panel.badges(state, saved + 90 * DAY, "own"))


def test_a_run_without_calls_says_so_and_cost_nothing(dashboard: Dashboard):
    dashboard.add("checkout-api", GOOD_KEY)
    with dashboard.platform.run("checkout-api") as run:
        pass
    page = dashboard.open("run_logs", run=run.id)
    assert "no model calls, $0" in texts(page)
    row = page.dataframe[0].value.iloc[0]
    assert (row["Calls"], row["Cost"]) == (0, 0.0)
