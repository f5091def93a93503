"""Usage: every chart has its numbers as a table, single calls say which were looked at, and runs lead to their log."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from lib.clock import DAY, HOUR, from_micros
from lib.reports import calls as call_reports
from lib.reports import percentiles
from lib.reports.models import Totals
from lib.ui.base import loaders
from lib.ui.base.wording import escape, key_name
from lib.ui.usage import usage_calls
from tests.integration.ui.test_pages_spend import Spender, charts, metrics, use
from tests.pages import Dashboard, texts

pytestmark = pytest.mark.parametrize("database_kind", ["sqlite"])


@pytest.fixture(autouse=True)
def _fresh(dashboard: Dashboard) -> None:
    """What other tests loaded is forgotten."""
    loaders.forget()


def popovers(page: AppTest) -> list[str]:
    """The labels of all buttons that open something, as Markdown."""

    def inside(block: Any) -> Iterator[str]:
        for child in getattr(block, "children", {}).values():
            if getattr(child, "type", "") == "popover":
                yield child.proto.popover.label
            yield from inside(child)

    return list(inside(page.main))


@pytest.mark.parametrize(
    "typed",
    ["[Sign in](https://evil.example)", "![x](//evil.example/x.png)", ":red[alert]", "$$x$$", "**bold**"],
)
def test_what_a_link_says_stands_on_a_filters_button_as_plain_text(dashboard: Dashboard, typed: str):
    dashboard.add("shop")
    labels = popovers(dashboard.open("usage", project="shop", user=typed, key=typed))
    assert f"User: {escape(typed)}" in labels
    assert f"Key: {escape(key_name(typed))}" in labels


def turn(page: AppTest, name: str) -> Any:
    """Press the button of a chart's card; returns the table that is there then."""
    said = alts(page)
    page.button(key=f"turn:{name}").click().run()
    [table] = [table for table in page.dataframe if table.proto.alt.startswith(tuple(said))]
    return table.value


def alts(page: AppTest) -> list[str]:
    return [chart.proto.alt for chart in charts(page)]


@pytest.fixture
def busy(dashboard: Dashboard) -> Dashboard:
    """Two projects, two sources, an unknown price and a failure."""
    for slug in ("checkout-api", "mobile-bff"):
        dashboard.add(slug)
    use(
        dashboard,
        "1,checkout-api,platform,gpt-5,1.50",
        "30,checkout-api,platform,gpt-5,2.25",
        "31,mobile-bff,byok,gpt-5-mini,0.25",
        "32,mobile-bff,byok,mystery-1,",
    )
    return dashboard


@pytest.mark.parametrize("name", ["spend", "tokens", "hours"])
def test_the_button_of_a_chart_shows_its_numbers_in_its_place_without_asking_the_database(
    busy: Dashboard, name: str
):
    page = busy.open("usage")
    before = len(charts(page))
    table = turn(page, name)
    assert len(charts(page)) == before - 1
    assert len(table) > 1
    page.button(key=f"turn:{name}").click().run()
    assert len(charts(page)) == before


def test_the_table_of_spend_is_the_total_and_says_its_zone(busy: Dashboard):
    page = busy.open("usage", zone="Asia/Kolkata")
    table = turn(page, "spend")
    assert list(table) == ["Day (Asia/Kolkata)", "Platform-funded", "BYOK", "Total"]
    assert table["Total"].sum() == pytest.approx(4)
    assert metrics(page)["Total spend"] == "$4.00"


def test_one_source_is_unknown_only_where_all_its_own_calls_are(dashboard: Dashboard):
    """Two calls without a price on the project's own key say nothing of what the platform paid."""
    dashboard.add("checkout-api")
    use(dashboard, "1,checkout-api,byok,mystery-1,", "2,checkout-api,byok,mystery-1,")
    use(dashboard, "3,checkout-api,platform,free,0")
    shown = metrics(dashboard.open("usage"))
    assert (shown["Platform-funded"], shown["BYOK"], shown["Total spend"]) == ("$0.00", "unknown", "$0.00")
    loaders.forget()
    overview = dashboard.open("overview").dataframe[0].value
    assert overview["Platform-funded"].tolist() == [0]
    assert overview["BYOK"].isna().all()


def test_without_failures_there_is_a_sentence_instead_of_an_empty_chart(busy: Dashboard):
    page = busy.open("usage")
    assert "All 4 calls were answered in full." in texts(page)
    assert not any("not answered in full" in alt for alt in alts(page))


def test_failures_are_drawn_by_status_with_their_share(dashboard: Dashboard):
    dashboard.add("checkout-api")
    use(dashboard, "1,checkout-api,byok,gpt-5,1")
    Spender(dashboard).spend("checkout-api", 1, unknown=True)
    page = dashboard.open("usage")
    assert "1 of 2 calls, 50.0%" in texts(page)
    table = turn(page, "failures")
    assert (table["Answered"].sum(), table["Outcome unknown"].sum(), table["Calls"].sum()) == (1, 1, 2)


def test_more_than_half_a_year_is_drawn_by_weeks_and_more_than_two_years_by_months(busy: Dashboard):
    today = from_micros(_now(busy)).date().isoformat()
    for first, unit in (("2026-02-01", "week"), ("2022-01-01", "month")):
        page = busy.open("usage", period="custom", to=today, **{"from": first})
        said = alts(page)
        assert said[0].startswith(f"Spend per {unit} in USD")
        table = turn(page, "spend")
        assert (table["Platform-funded"].sum(), table["BYOK"].sum()) == (3.75, 0.25)
        assert any(alt.startswith(f"Tokens per {unit}") for alt in said)


def test_the_week_by_hours_is_drawn_where_the_period_has_days(busy: Dashboard):
    for period, note in (("30d", "average hour of the latest 4 weeks"), ("7d", "the hours that are over")):
        page = busy.open("usage", period=period)
        assert any("by weekday and hour" in alt for alt in alts(page))
        assert note in texts(page)
    assert not any("by weekday and hour" in alt for alt in alts(busy.open("usage", period="24h")))


def test_size_and_speed_are_those_of_all_calls_that_match(busy: Dashboard):
    page = busy.open("usage")
    shown = metrics(page)
    assert "all 4 calls that match" in texts(page)
    assert (shown["Tokens per call, median"], shown["Tokens, 95th percentile"]) == ("1,100", "1,100")
    assert (shown["Latency, median"], shown["Latency, 95th percentile"]) == ("unknown", "unknown")


def test_of_many_calls_size_is_estimated_and_says_its_range(busy: Dashboard, monkeypatch: pytest.MonkeyPatch):
    """All of the four calls are alike, so that whichever are in the sample have those tokens."""
    monkeypatch.setattr(percentiles, "EXACT", 3)
    monkeypatch.setattr(usage_calls, "EXACT", 3)
    page = busy.open("usage")
    assert "estimated from one in 8 of the 4 calls that match" in texts(page)
    assert metrics(page)["Tokens per call, median"] in ("1,100", "unknown")
    between = usage_calls.metrics(
        percentiles.Spreads(8, *(2 * [percentiles.spread(range(1000, 4000), exact=False)])),
        Totals(calls=24_000),
    )
    assert [(each.value, each.change) for each in between] == [
        ("≈ 2,499", "2,445 to 2,554"),
        ("≈ 3,849", "3,825 to 3,874"),
        ("≈ 2.4 s", "2.4 s to 2.5 s"),
        ("≈ 3.8 s", "3.8 s to 3.8 s"),
    ]
    assert "Estimated from 3,000 calls, one in 8, spread evenly over the whole period" in str(between[0].help)
    assert "With 95% certainty it is 2,445 to 2,554." in str(between[0].help)


def test_where_only_the_latest_calls_are_looked_at_the_page_says_so(
    busy: Dashboard, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(call_reports, "MOST", 1)
    said = texts(busy.open("usage"))
    assert "the costliest are those of the latest calls only: 1 that match since" in said
    assert "all 4 calls that match" in said


def test_the_costliest_runs_and_calls_lead_to_their_run_logs(dashboard: Dashboard):
    dashboard.add("checkout-api")
    spender = Spender(dashboard)
    for cents in (10, 30, 20):
        spender.spend("checkout-api", cents)
    pages = [dashboard.open("usage"), dashboard.open("usage", costliest="calls")]
    runs, calls = (costliest(page) for page in pages)
    assert runs["Cost"].tolist() == calls["Cost"].tolist() == [0.3, 0.2, 0.1]
    assert runs["Run"].tolist() == calls["Run"].tolist()
    log = dashboard.open("run_logs", run=runs["Run"][0])
    assert runs["Run"][0] in texts(log)
    assert all("opens:" in table.proto.id for page in pages for table in page.dataframe[:2])
    assert runs["Project"].tolist() == calls["Project"].tolist() == ["checkout-api"] * 3
    of_one = dashboard.open("usage", project="checkout-api")
    assert ["Project" in table.value for table in of_one.dataframe] == [False] * 3


def test_the_costliest_calls_are_shown_in_place_of_the_runs_and_the_address_says_so(dashboard: Dashboard):
    dashboard.add("checkout-api")
    Spender(dashboard).spend("checkout-api", 10)
    page = dashboard.open("usage")
    page.selectbox(key="address:costliest").select("calls").run()
    assert page.query_params["costliest"] == "calls"
    assert list(costliest(page))[-2:] == ["Settled, UTC", "Latency"]


def costliest(page: AppTest) -> Any:
    [table] = [table for table in page.dataframe if "costliest" in table.proto.alt]
    return table.value


def test_a_page_of_a_period_that_is_over_does_not_follow_new_calls(busy: Dashboard):
    assert "updates live" in texts(busy.open("usage"))
    yesterday = from_micros(_now(busy) - DAY).date().isoformat()
    page = busy.open("usage", period="custom", to=yesterday, **{"from": "2026-01-01"})
    assert "updates live" not in texts(page)


def _now(dashboard: Dashboard) -> int:
    with dashboard.platform.database.read() as connection:
        return dashboard.platform.database.now(connection) // HOUR * HOUR
