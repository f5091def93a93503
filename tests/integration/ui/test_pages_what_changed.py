"""What changed on Overview and Usage: money, percent and the reason, and nothing unknown shown as zero."""

from __future__ import annotations

import re
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from lib.formatting import MINUS
from lib.ui.base import loaders
from tests.integration.ui.test_pages_spend import use
from tests.pages import ADMIN, Dashboard, texts

pytestmark = pytest.mark.parametrize("database_kind", ["sqlite"])
BEFORE = 24 * 10


@pytest.fixture(autouse=True)
def _fresh(dashboard: Dashboard) -> None:
    """What other tests loaded is forgotten."""
    loaders.forget()


def table(page: AppTest) -> Any:
    [found] = [each for each in page.dataframe if each.proto.alt.startswith("What changed")]
    return found.value


def rows(page: AppTest) -> list[tuple[Any, ...]]:
    return list(table(page)[["Change", "%", "Why"]].itertuples(index=False, name=None))


@pytest.fixture
def changed(dashboard: Dashboard) -> Dashboard:
    """Twice the calls in one project; another that is new; one that is gone; one whose cost is not known any more."""
    for slug in ("twice", "new-one", "gone", "unpriced"):
        dashboard.add(slug)
    use(
        dashboard,
        f"{BEFORE},twice,platform,gpt-5,1.50",
        "1,twice,platform,gpt-5,1.50",
        "2,twice,platform,gpt-5,1.50",
        "3,new-one,byok,gpt-5,0.75",
        f"{BEFORE + 1},gone,byok,gpt-5-mini,0.25",
        f"{BEFORE + 2},unpriced,platform,mystery-1,0.10",
        "4,unpriced,platform,mystery-1,",
    )
    return dashboard


@pytest.mark.parametrize("name", ["overview", "usage"])
def test_the_largest_change_is_first_and_says_why(changed: Dashboard, name: str):
    page = changed.open(name, period="7d")
    assert table(page)["Project"].tolist() == ["twice", "new-one", "gone", "unpriced"]
    assert rows(page) == [
        ("+$1.50", "+100.0%", "calls +$1.50"),
        ("+$0.75", "new", ""),
        (f"{MINUS}$0.25", "gone", ""),
        ("unknown", "", "cost unknown: 1 call now"),
    ]
    assert table(page)["Now"].isna().tolist() == [False, False, False, True]


def test_all_together_the_causes_add_up_and_both_ledgers_are_told_apart(changed: Dashboard):
    said = texts(changed.open("overview", period="7d")).replace("\N{WORD JOINER}", "")
    assert "**+$1.90** (+102.7%)" in said
    assert "Platform-funded +$1.40" in said
    assert "BYOK +$0.50" in said
    assert "cost unknown: 1 call now" in said


def test_the_rows_are_projects_or_models_as_chosen_and_models_for_one_project(changed: Dashboard):
    page = changed.open("overview", period="7d")
    page.selectbox(key="address:changes").select("model").run()
    assert page.query_params["changes"] == "model"
    assert table(page)["Model"].tolist()[0] == "gpt-5"
    assert table(changed.open("usage", period="7d", project="twice"))["Model"].tolist() == ["gpt-5"]


def test_more_than_a_handful_are_summed_in_one_row(dashboard: Dashboard):
    for number in range(9):
        dashboard.add(f"project-{number}")
    use(
        dashboard,
        f"{BEFORE},project-0,platform,gpt-5,1",
        *(f"1,project-{number},platform,gpt-5,{number}" for number in range(9)),
    )
    found = table(dashboard.open("overview", period="7d"))
    assert found["Project"].tolist() == [*(f"project-{number}" for number in range(8, 2, -1)), "3 others"]
    assert found["Change"].tolist()[-1] == "+$2.00"


def test_without_a_call_before_it_says_that_there_is_nothing_to_compare_with(dashboard: Dashboard):
    dashboard.add("young")
    use(dashboard, "1,young,platform,gpt-5,1")
    said = texts(dashboard.open("overview", period="7d"))
    assert "No call to compare with: " in said


@pytest.mark.parametrize("name", ["overview", "usage"])
def test_a_project_with_a_title_is_shown_with_it(changed: Dashboard, name: str):
    assert "Title" not in table(changed.open(name, period="7d"))
    changed.platform.project_changes.describe("twice", title="Twice as much", actor=ADMIN)
    found = table(changed.open(name, period="7d"))
    assert found["Title"].tolist() == ["Twice as much", "", "", ""]


def test_a_cause_of_no_weight_gives_the_others_no_decimals(dashboard: Dashboard):
    """All amounts of one column look alike, whatever is next to nothing among them."""
    dashboard.add("mixed")
    use(
        dashboard,
        f"{BEFORE},mixed,platform,gpt-5,1.50",
        f"{BEFORE},mixed,platform,gpt-5-mini,0.0001",
        "1,mixed,platform,gpt-5,1.75",
        "1,mixed,platform,gpt-5,1.7502",
    )
    [why] = table(dashboard.open("overview", period="7d"))["Why"].tolist()
    assert why
    assert all(len(amount.split(".")[1]) == 2 for amount in re.findall(r"\$[\d.]+", why))
