"""Usage by group: one control, linkable, a row narrows the page, and what is read call by call says its limit."""

from __future__ import annotations

from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from lib.ui.base import loaders
from lib.ui.usage.group_card import PAGE_ROWS
from tests.integration.ui.test_pages_spend import Spender, charts, use
from tests.pages import ADMIN, Dashboard, texts

pytestmark = pytest.mark.parametrize("database_kind", ["sqlite"])


@pytest.fixture
def busy(dashboard: Dashboard) -> Dashboard:
    """Two projects, two sources, a label."""
    loaders.forget()
    for slug in ("checkout-api", "mobile-bff"):
        dashboard.add(slug)
    use(
        dashboard,
        "1,checkout-api,platform,gpt-5,1.50",
        "30,checkout-api,platform,gpt-5,2.25",
        "0,mobile-bff,byok,gpt-5-mini,0.25",
        "0,mobile-bff,byok,mystery-1,",
    )
    describe = dashboard.platform.project_changes.describe
    describe("checkout-api", title="The *checkout*", actor=ADMIN)
    describe("mobile-bff", labels={"cost_centre": "4711"}, actor=ADMIN)
    return dashboard


def table(page: AppTest) -> Any:
    [found] = [each for each in page.dataframe if ": spend, calls and tokens" in each.proto.alt]
    return found.value


def test_projects_are_compared_with_their_titles_and_an_unknown_cost_is_told_apart(busy: Dashboard):
    page = busy.open("usage")
    assert not page.exception
    found = table(page)
    assert found["Project"].tolist() == ["checkout-api", "mobile-bff"]
    assert found["Title"].tolist() == ["The *checkout*", ""]
    assert found["Total"].tolist() == [3.75, 0.25]
    assert found["Share"].tolist() == ["94%", "6%"]
    assert found["Cost unknown"].tolist() == [0, 1]


@pytest.mark.parametrize(
    ("group", "first", "names"),
    [
        ("model", "Model", ["gpt-5", "gpt-5-mini", "mystery-1"]),
        ("kind", "Run kind", ["no run"]),
        ("user", "User", ["nobody known"]),
        ("key", "Key", ["Platform key unknown", "mobile-bff key unknown"]),
        ("label:cost_centre", "Value", ["no cost_centre", "4711"]),
    ],
)
def test_a_link_names_what_usage_is_grouped_by(busy: Dashboard, group: str, first: str, names: list[str]):
    page = busy.open("usage", group=group)
    assert not page.exception
    assert table(page)[first].tolist() == names
    assert table(page)["Total"].sum() == pytest.approx(4)


def test_a_group_that_there_is_none_of_is_said(busy: Dashboard):
    page = busy.open("usage", group="label:owner")
    assert "This link names no such grouping; showing Group by project." in texts(page)
    assert table(page)["Project"].tolist() == ["checkout-api", "mobile-bff"]


def test_one_project_is_compared_by_model_and_another_order_stays_in_the_address(busy: Dashboard):
    page = busy.open("usage", project="mobile-bff", sort="name")
    assert table(page)["Model"].tolist() == ["gpt-5-mini", "mystery-1"]
    page.selectbox(key="address:group").set_value("project").run()
    assert (page.query_params["group"], page.query_params["sort"]) == ("project", "name")


def test_many_groups_stand_in_pages_of_which_each_is_a_link_and_the_tail_has_no_bar(dashboard: Dashboard):
    loaders.forget()
    dashboard.add("checkout-api")
    use(dashboard, *[f"1,checkout-api,byok,m{number:03},0.{number + 1:03}" for number in range(120)])
    page = dashboard.open("usage", group="model", page="3")
    assert not page.exception
    assert len(table(page)) == 120 - 2 * PAGE_ROWS
    assert table(page)["Model"].tolist()[0] == "m019"
    assert "20 of 120 models" in texts(page)
    drawn = next(chart for chart in charts(page) if chart.proto.alt.startswith("Spend by model"))
    assert drawn.proto.alt.count("m119") <= 1
    gone = dashboard.open("usage", group="model", page="9")
    assert len(table(gone)) == 20


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ({"user": "ann@example.com"}, "ann@example.com"),
        ({"user": ""}, "nobody known"),
        ({"key": ""}, "not known"),
        ({"key": "x4Tz"}, "•••• x4Tz"),
    ],
)
def test_usage_of_a_user_or_a_key_alone_is_a_filter_like_others(
    busy: Dashboard, address: dict[str, str], said: str
):
    page = busy.open("usage", **address)
    assert not page.exception
    [name] = address
    choice = page.multiselect(key=f"address:{name}")
    assert (choice.value, choice.options) == (list(address.values()), [said])
    if address[name]:
        assert "0 of 4 calls match." in texts(page)
    else:
        assert table(page)["Total"].sum() == pytest.approx(4)


def test_a_user_is_typed_and_taken_back(busy: Dashboard):
    page = busy.open("usage", user="ann@example.com")
    page.multiselect(key="address:user").unselect("ann@example.com").run()
    assert "user" not in page.query_params
    assert "4 calls." in texts(page)


def test_what_each_key_paid_is_drawn_over_time(dashboard: Dashboard):
    loaders.forget()
    dashboard.add("checkout-api")
    Spender(dashboard).spend("checkout-api", 100)
    use(dashboard, "30,checkout-api,byok,gpt-5,2.25")
    page = dashboard.open("usage", project="checkout-api", group="key")
    assert not page.exception
    page.button(key="turn:keys").click().run()
    [found] = [each for each in page.dataframe if "by the key that paid" in each.proto.alt]
    names = list(found.value)[1:]
    assert names[0] == "BYOK key unknown"
    assert names[1].startswith("Platform •••• ")
    assert [found.value[name].sum() for name in names] == [2.25, 1.0, 3.25]
