"""Addresses: what a link names and is not there is said and corrected, and the latest change is the one that counts."""

from __future__ import annotations

import pytest
from streamlit.testing.v1 import AppTest

from lib.ui.base import loaders
from tests.pages import Dashboard, texts
from tests.upstream import GOOD_KEY

pytestmark = pytest.mark.parametrize("database_kind", ["sqlite"])


@pytest.fixture(autouse=True)
def _used(dashboard: Dashboard) -> None:
    loaders.forget()
    dashboard.add("checkout-api", GOOD_KEY)
    with dashboard.platform.run("checkout-api") as run:
        run.openai.responses.create(model="gpt-5-mini", input="Hi", max_output_tokens=50)


def said(page: AppTest) -> str:
    return " ".join(warning.value for warning in page.warning).replace("\\", "")


def asked(page: AppTest) -> dict[str, list[str]]:
    found = {name: page.query_params[name] for name in page.query_params}
    return {name: values if isinstance(values, list) else [values] for name, values in found.items()}


@pytest.mark.parametrize("page", ["overview", "usage", "run_logs", "audit_log"])
@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ({"period": "garbage"}, "no such period; showing the last "),
        ({"zone": "Mars/Base"}, "no such time zone; showing UTC."),
        ({"period": "custom", "from": "1900-01-01", "to": "2200-01-01"}, "no such days; showing "),
        ({"period": "custom", "from": "2026-01-05", "to": "2026-01-02"}, "showing 2026-01-02 to 2026-01-02."),
    ],
)
def test_a_period_or_zone_that_is_none_is_said_and_corrected(
    dashboard: Dashboard, page: str, address: dict[str, str], sentence: str
):
    shown = dashboard.open(page, **address)
    assert sentence in said(shown)
    assert not set(address.values()) & {value for values in asked(shown).values() for value in values} - {
        "custom",
        "2026-01-02",
    }
    assert said(shown.run()) == ""


@pytest.mark.parametrize(
    ("page", "address", "noun"),
    [
        ("usage", {"model": "gpt-99"}, "model"),
        ("usage", {"source": "gold"}, "source"),
        ("usage", {"project": "nope"}, "project that you can see"),
        ("run_logs", {"status": "sleeping"}, "status"),
        ("audit_log", {"by": "nobody@example.com"}, "person"),
    ],
)
def test_a_filter_that_is_none_is_said_and_taken_out(
    dashboard: Dashboard, page: str, address: dict[str, str], noun: str
):
    shown = dashboard.open(page, **address)
    assert said(shown) == f"This link names no such {noun}; showing all."
    assert not set(address) & set(asked(shown))


@pytest.mark.parametrize("page", ["run_logs", "audit_log"])
@pytest.mark.parametrize("number", ["999", "zero", "-1", "99999999999999"])
def test_a_page_of_a_list_that_is_none_is_said_and_the_last_or_first_one_shown(
    dashboard: Dashboard, page: str, number: str
):
    shown = dashboard.open(page, page=number)
    assert said(shown) == "This link names no such page; showing page 1."
    assert "page" not in asked(shown)
    assert "1 of 1 run" in texts(shown) or "change" in texts(shown)


def test_an_address_without_choices_is_no_wrong_link(dashboard: Dashboard):
    for page in ("overview", "usage", "run_logs", "audit_log", "plan", "integrations", "members"):
        assert said(dashboard.open(page)) == ""


def choose(page: AppTest, label: str, option: str) -> AppTest:
    return next(box for box in page.selectbox if box.label == label).select(option).run()


def test_a_choice_that_is_sent_before_the_browser_has_heard_of_the_last_one_undoes_nothing(
    dashboard: Dashboard,
):
    page = dashboard.open("usage", period="90d")
    before = asked(page)
    choose(page, "Period", "7d")
    # The browser sends the next choice with the address that it still shows.
    for name, values in before.items():
        page.query_params[name] = values
    choose(page, "Time zone", "Asia/Kolkata")
    assert asked(page) == {"period": ["7d"], "zone": ["Asia/Kolkata"]}


def test_the_back_button_counts_as_a_choice(dashboard: Dashboard):
    page = dashboard.open("usage", period="90d")
    choose(page, "Period", "7d")
    page.query_params["period"] = "90d"
    page.run()
    choose(page, "Time zone", "Asia/Kolkata")
    assert asked(page) == {"period": ["90d"], "zone": ["Asia/Kolkata"]}
