"""Overview, Usage and Plan: the same numbers as the reports, unknown never as zero, and every state in words."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest
from sqlalchemy import event
from sqlalchemy.engine import Engine
from starlette.applications import Starlette
from starlette.testclient import TestClient
from streamlit.testing.v1 import AppTest

from lib.clock import DAY, HOUR, SECOND, Micros, from_micros, iso
from lib.exchange.imports.import_usage import import_usage
from lib.ledger.attempts import AttemptResult, RequestProfile
from lib.ledger.ledger import Ledger
from lib.pricing.prices import Tokens
from lib.providers import DEFAULT
from lib.runs.lifecycle import RunStore
from lib.secret import Secret
from lib.ui.base import loaders
from lib.ui.base.server import real_front_door
from lib.ui.usage import export_card
from lib.vault.keys import KeyStore
from lib.web.downloads.exports import ExportService
from lib.web.downloads.links import COOKIE, new_browser
from lib.web.routes import routes
from tests.pages import ADMIN, Dashboard, buttons, press, texts
from tests.upstream import CLAUDE_KEY, GOOD_KEY, ScriptedUpstream

pytestmark = pytest.mark.parametrize("database_kind", ["sqlite"])
DOLLAR = 10**9
PLATFORM_KEY = "sk-test-platform-key-0001"


@pytest.fixture(autouse=True)
def _fresh(dashboard: Dashboard) -> None:
    """What other tests loaded is forgotten."""
    loaders.forget()


def metrics(page: AppTest) -> dict[str, str]:
    return {metric.label: str(metric.value).replace("\\", "") for metric in page.metric}


def charts(page: AppTest) -> list[Any]:
    return list(page.get("vega_lite_chart") or page.get("arrow_vega_lite_chart"))


def columns_of(chart: Any) -> dict[str, list[Any]]:
    """The numbers that are drawn."""
    return pa.ipc.open_stream(chart.proto.data.data).read_all().to_pydict()


def days(page: AppTest) -> Any:
    """The table of days."""
    return page.dataframe[-1].value


def use(dashboard: Dashboard, *rows: str) -> None:
    """Import rows of ``hours ago, project, source, model, cost``; an empty cost of an unknown model is unknown."""
    now = _now(dashboard)
    lines = ["occurred_at,project,source,model,input_tokens,output_tokens,cost_usd"]
    for row in rows:
        hours, project, source, model, cost = row.split(",")
        at = iso(now - int(float(hours) * HOUR))
        lines.append(f"{at},{project},{source},{model},1000,100,{cost}")
    file = io.BytesIO("\n".join(lines).encode())
    platform = dashboard.platform
    result = import_usage(platform.database, platform.prices, file, name="test.csv", actor=ADMIN)
    assert result.added == len(rows)


def _now(dashboard: Dashboard) -> Micros:
    with dashboard.platform.database.read() as connection:
        return dashboard.platform.database.now(connection)


class Spender:
    """Makes platform-funded calls that settled at a chosen time."""

    def __init__(self, dashboard: Dashboard) -> None:
        platform = dashboard.platform
        self._database = platform.database
        self._keys = KeyStore(platform.database, platform.keyring, {DEFAULT: Secret(PLATFORM_KEY)})
        self._ledger = Ledger(platform.database, self._keys, platform.prices, ADMIN)
        self._runs = RunStore(platform.database)

    def spend(self, slug: str, cents: int, *, unknown: bool = False) -> None:
        """One call of gpt-5 that costs so many cents: its output is 10 USD per million tokens."""
        run = self._runs.start(slug, "scan", actor=ADMIN, token_budget=None)
        ask = RequestProfile(
            endpoint="responses",
            model="gpt-5",
            input_bytes=0,
            output_limit=1000 * cents,
            choices=1,
            uses_context_window=False,
            cost_unbounded=None,
            free=False,
            streaming=False,
        )
        call = self._ledger.open(run, ask, lease=60 * SECOND)
        if unknown:
            self._ledger.settle(call, AttemptResult("unknown", None))
        else:
            self._ledger.settle(
                call, AttemptResult("ok", Tokens(0, 0, 1000 * cents, 0), 200, key_verdict="fine")
            )
        self._runs.finish(run, "passed")


@pytest.fixture
def spender(dashboard: Dashboard) -> Spender:
    return Spender(dashboard)


def cap(dashboard: Dashboard, slug: str, five_hours: int, seven_days: int) -> None:
    dashboard.platform.plans.set_caps(
        slug, cap_5h_nano=five_hours, cap_7d_nano=seven_days, reason="a test", actor=ADMIN
    )


def use_of_ten(dashboard: Dashboard, spender: Spender, slug: str, cents: int) -> None:
    """Spend so much, and then have caps of 10 and 100 dollars."""
    cap(dashboard, slug, 50 * DOLLAR, 100 * DOLLAR)
    if cents:
        spender.spend(slug, cents)
    cap(dashboard, slug, 10 * DOLLAR, 100 * DOLLAR)


# --- usage -----------------------------------------------------------------------------------------


def test_a_period_without_calls_says_so_and_draws_nothing(dashboard: Dashboard):
    dashboard.add("checkout-api")
    page = dashboard.open("usage")
    assert not page.exception
    assert "No calls in this period" in texts(page)
    assert not charts(page)
    assert not page.metric


def test_every_number_of_usage_is_that_of_the_reports(dashboard: Dashboard):
    dashboard.add("checkout-api")
    dashboard.add("mobile-bff")
    use(
        dashboard,
        "1,checkout-api,platform,gpt-5,1.50",
        "30,checkout-api,platform,gpt-5,2.25",
        "31,mobile-bff,byok,gpt-5-mini,0.25",
    )
    page = dashboard.open("usage")
    assert not page.exception
    shown = metrics(page)
    assert (shown["Total spend"], shown["Platform-funded"], shown["BYOK"]) == ("$4.00", "$3.75", "$0.25")
    assert shown["Cost per 1,000 calls"] == "$1,333.33"
    assert "3 calls." in texts(page)
    table = days(page)
    assert table["Total"].sum() == pytest.approx(4)
    assert table["Calls"].sum() == 3
    assert len(table) == 30
    assert table["Total"].tolist()[-1] == 0, "a day without calls cost nothing"


def test_the_address_narrows_every_number(dashboard: Dashboard):
    dashboard.add("checkout-api")
    dashboard.add("mobile-bff")
    use(dashboard, "1,checkout-api,platform,gpt-5,1.50", "1,mobile-bff,byok,gpt-5-mini,0.25")
    page = dashboard.open("usage", project="mobile-bff")
    assert metrics(page)["Total spend"] == "$0.25"
    assert "1 of 2 calls matches" in texts(page)
    page = dashboard.open("usage", model="gpt-5", source="platform")
    assert metrics(page)["Total spend"] == "$1.50"


def test_wrong_values_in_the_address_are_as_good_as_none(dashboard: Dashboard):
    dashboard.add("checkout-api")
    use(dashboard, "1,checkout-api,platform,gpt-5,1.50")
    page = dashboard.open(
        "usage",
        project="../../etc",
        source="gold",
        model="x' OR 1=1",
        period="forever",
        zone="Mars/Olympus",
        **{"from": "yesterday"},
    )
    assert not page.exception
    assert not page.error
    assert metrics(page)["Total spend"] == "$1.50"


def test_a_custom_period_with_its_days_reversed_is_its_last_day(dashboard: Dashboard):
    dashboard.add("checkout-api")
    use(dashboard, "1,checkout-api,platform,gpt-5,1.50")
    page = dashboard.open("usage", period="custom", to="2026-01-02", **{"from": "2026-01-05"})
    assert not page.exception
    assert "2 Jan 2026" in texts(page)


@pytest.mark.parametrize("name", ["usage", "overview", "run_logs"])
@pytest.mark.parametrize(
    ("first", "last", "zone"),
    [
        ("9999-12-31", "9999-12-31", "UTC"),
        ("", "0001-01-03", "UTC"),
        ("0001-01-01", "0001-01-02", "Asia/Tokyo"),
        ("1970-01-02", "2199-12-31", "Pacific/Kiritimati"),
        ("", "1970-01-02", "Pacific/Honolulu"),
        ("2011-12-30", "2011-12-30", "Pacific/Apia"),
        ("2011-12-01", "2011-12-31", "Pacific/Apia"),
    ],
)
def test_no_day_of_the_calendar_breaks_a_page(
    dashboard: Dashboard, name: str, first: str, last: str, zone: str
):
    dashboard.add("checkout-api")
    use(dashboard, "1,checkout-api,platform,gpt-5,1.50")
    page = dashboard.open(name, period="custom", to=last, zone=zone, **{"from": first})
    assert not page.exception
    assert not page.error


def test_a_cost_that_nobody_knows_is_never_zero(dashboard: Dashboard):
    dashboard.add("checkout-api")
    use(dashboard, "1,checkout-api,byok,mystery-1,", "2,checkout-api,byok,mystery-1,")
    page = dashboard.open("usage")
    shown = metrics(page)
    assert (shown["Total spend"], shown["BYOK"], shown["Platform-funded"]) == ("unknown", "unknown", "$0.00")
    assert "2 of them (2 BYOK) have no known cost and are left out of totals" in texts(page)
    assert days(page)["BYOK"].isna().sum() == 1
    assert days(page)["Platform-funded"].tolist() == [0] * 30


def test_amounts_below_a_cent_are_not_rounded_to_nothing(dashboard: Dashboard):
    dashboard.add("checkout-api")
    use(dashboard, "1,checkout-api,byok,gpt-5,0.0042", "30,checkout-api,byok,gpt-5,150")
    page = dashboard.open("usage", period="24h")
    assert metrics(page)["BYOK"] == "$0.0042"
    page = dashboard.open("usage")
    assert "%,.4f" in page.dataframe[-1].proto.columns


def test_a_short_period_is_drawn_by_the_hour(dashboard: Dashboard):
    dashboard.add("checkout-api")
    use(dashboard, "1,checkout-api,platform,gpt-5,1.50", "5,checkout-api,byok,gpt-5,0.50")
    spend = charts(dashboard.open("usage", period="24h"))[0]
    assert "Spend per hour" in spend.proto.alt
    assert sum(columns_of(spend)["Total"]) == 2.0


def test_reset_takes_the_filters_out_of_the_address_and_keeps_the_period(dashboard: Dashboard):
    dashboard.add("checkout-api")
    use(dashboard, "1,checkout-api,platform,gpt-5,1.50")
    page = press(dashboard.open("usage", project="checkout-api", source="byok", period="7d"), "Reset filters")
    assert set(page.query_params) == {"period"}
    assert metrics(page)["Total spend"] == "$1.50"


def test_the_charts_say_what_they_show_and_their_tables_say_the_numbers_in_words(dashboard: Dashboard):
    dashboard.add("checkout-api")
    use(dashboard, "1,checkout-api,platform,gpt-5,1.50")
    page = dashboard.open("usage")
    drawn = charts(page)
    assert "Spend by model in USD, the most expensive first." in [chart.proto.alt for chart in drawn]
    for name in ("spend", "tokens"):
        page.button(key=f"turn:{name}").click().run()
    said = " ".join(table.proto.alt for table in page.dataframe)
    assert "$1.50 platform-funded and $0.00 BYOK" in said
    assert "1 of 1 model: spend, calls and tokens" in said
    assert "1,100 tokens in all" in said


def test_without_the_browsers_cookie_there_is_no_link_to_an_export(dashboard: Dashboard):
    dashboard.add("checkout-api")
    use(dashboard, "1,checkout-api,platform,gpt-5,1.50")
    page = dashboard.open("usage")
    [link] = page.get("link_button")
    assert (link.proto.url, link.proto.disabled) == ("", True)
    assert "Reload this page to export" in texts(page)


@pytest.mark.parametrize(("choice", "rows"), [("csv", 3), ("daily-csv", 2), ("parquet", 3)])
def test_the_link_to_an_export_leads_to_what_the_filters_select(
    dashboard: Dashboard, monkeypatch: pytest.MonkeyPatch, choice: str, rows: int
):
    for slug in ("checkout-api", "mobile-bff"):
        dashboard.add(slug)
    use(dashboard, *["1,checkout-api,platform,gpt-5,1.50"] * 2, "30,checkout-api,byok,gpt-5,1")
    use(dashboard, "2,mobile-bff,byok,gpt-5,1")
    browser = new_browser()
    monkeypatch.setattr(export_card, "this_browser", lambda: browser)
    page = dashboard.open("usage", project="checkout-api")
    page.radio(key="export:format").set_value(choice).run()
    [link] = page.get("link_button")
    app = Starlette(routes=routes(lambda: None, ExportService(lambda: dashboard.platform)))
    with TestClient(app, base_url="http://localhost:8501", cookies={COOKIE: browser}) as asked:
        answer = asked.get(link.proto.url)
    assert (answer.status_code, answer.headers["x-qodex-rows"]) == (200, str(rows))
    assert "qodex-usage_checkout-api_" in answer.headers["content-disposition"]


def test_cap_use_is_drawn_for_one_project_that_spent_on_the_platform_key(
    dashboard: Dashboard, spender: Spender
):
    for slug in ("checkout-api", "mobile-bff"):
        dashboard.add(slug)
    use_of_ten(dashboard, spender, "checkout-api", 500)
    assert "Cap use" not in texts(dashboard.open("usage"))
    page = dashboard.open("usage", project="checkout-api")
    assert "Cap use, % of today's caps" in texts(page)
    assert any("Now 50% and 5%" in chart.proto.alt for chart in charts(page))


# --- plan ------------------------------------------------------------------------------------------


def test_a_project_that_never_spent_is_under_both_caps(dashboard: Dashboard):
    dashboard.add("checkout-api")
    page = dashboard.open("plan")
    assert not page.exception
    said = texts(page)
    assert said.count("Under cap") == 2
    assert said.count("Nothing is in this window") == 2
    assert "attention" not in said
    assert "all of both caps is free" in said
    assert len(charts(page)) == 2, "two bars, and a sentence instead of an empty line chart"


def test_a_window_says_what_is_used_free_and_rolls_off_next(dashboard: Dashboard, spender: Spender):
    dashboard.add("checkout-api")
    use_of_ten(dashboard, spender, "checkout-api", 250)
    page = dashboard.open("plan")
    said = texts(page).replace("\\", "")
    assert "Used **$2.50** · reserved by running calls **$0.00** · free **$7.50**" in said
    assert "Rolls off next: $2.50 in 4 h 59 min" in said
    assert "Rolls off next: $2.50 in 6 days 23 h" in said
    assert "$2.50 platform-funded, counted" in said
    assert page.dataframe[0].value["In"].tolist() == [
        "Now",
        "30 min",
        "1 h",
        "2 h",
        "3 h",
        "5 h",
        "12 h",
        "24 h",
        "48 h",
    ]
    assert page.dataframe[0].value["5-hour free"].tolist() == pytest.approx([7.5] * 5 + [10] * 4)


def test_near_the_cap_there_is_one_line_with_what_is_free(dashboard: Dashboard, spender: Spender):
    dashboard.add("checkout-api")
    use_of_ten(dashboard, spender, "checkout-api", 860)
    said = texts(dashboard.open("plan")).replace("\\", "")
    assert "The 5-hour cap is 86% used. $1.40 of it is free." in said
    assert said.count("Near cap") == 2, "in the line and on the window"


def test_at_the_cap_it_says_when_room_returns_and_what_happens_until_then(
    dashboard: Dashboard, spender: Spender
):
    dashboard.add("checkout-api")
    use_of_ten(dashboard, spender, "checkout-api", 1000)
    said = texts(dashboard.open("plan")).replace("\\", "")
    assert "The 5-hour cap is used. Room returns in 4 h 59 min (" in said
    assert "Until then new chats are refused, and scheduled runs wait." in said
    assert "free **$0.00**" in said


def test_calls_with_an_unknown_outcome_are_told_apart(dashboard: Dashboard, spender: Spender):
    dashboard.add("checkout-api")
    spender.spend("checkout-api", 100, unknown=True)
    said = texts(dashboard.open("plan")).replace("\\", "")
    assert "for calls with an unknown outcome, counted at their maximum cost" in said
    assert "Last 7 days: $0.00 platform-funded, counted." in said


def test_imported_and_own_spend_is_named_but_not_counted(dashboard: Dashboard):
    dashboard.add("checkout-api")
    use(dashboard, "1,checkout-api,platform,gpt-5,3", "1,checkout-api,byok,gpt-5,2")
    said = texts(dashboard.open("plan")).replace("\\", "")
    assert "$0.00 platform-funded, counted. $2.00 BYOK, not counted." in said
    assert "$3.00 platform-funded but imported, not counted." in said


def test_with_a_key_of_its_own_caps_neither_count_nor_limit(dashboard: Dashboard):
    dashboard.add("checkout-api", GOOD_KEY)
    said = texts(dashboard.open("plan"))
    assert "caps neither count nor limit its calls" in said
    assert said.count("Does not apply") == 2


def test_the_largest_plan_names_an_override_instead_of_a_larger_one(dashboard: Dashboard):
    dashboard.add("checkout-api")
    assert "Team has" in texts(dashboard.open("plan"))
    dashboard.platform.projects.set_plan("checkout-api", "Scale", actor=ADMIN)
    said = texts(dashboard.open("plan"))
    assert "Scale is the largest plan" in said
    assert "caps of its own" in said


# --- overview --------------------------------------------------------------------------------------


def test_an_empty_installation_shows_three_steps_of_which_the_first_can_be_taken(dashboard: Dashboard):
    page = dashboard.open("overview")
    said = texts(page)
    assert all(step in said for step in ("1. Create a project", "2. Choose who pays", "3. Make a first call"))
    enabled = [button.label for button in page.button if not button.disabled]
    assert "Create a project" in enabled
    assert not {"Choose who pays", "Send a test call"} & set(enabled)
    assert "Create a project" in buttons(page)


def test_a_quiet_overview_has_numbers_and_no_attention(dashboard: Dashboard, monkeypatch: pytest.MonkeyPatch):
    dashboard.add("checkout-api", GOOD_KEY)
    use(dashboard, "1,checkout-api,byok,gpt-5,1.50")
    page = dashboard.open("overview")
    assert not page.exception
    assert "attention" not in texts(page)
    assert metrics(page)["Total spend"] == "$1.50"
    assert metrics(page)["At or near a cap"] == "0 of 0"
    table = page.dataframe[0].value
    assert table["Project"].tolist() == ["checkout-api"]
    assert table["5-hour cap"].isna().all()


def test_what_deserves_attention_comes_worst_first(
    dashboard: Dashboard, spender: Spender, monkeypatch: pytest.MonkeyPatch
):
    for slug in ("near", "full", "mystery"):
        dashboard.add(slug)
    use_of_ten(dashboard, spender, "near", 860)
    use_of_ten(dashboard, spender, "full", 1000)
    use(dashboard, "1,mystery,byok,mystery-1,")
    said = texts(dashboard.open("overview")).replace("\\", "")
    order = ["No platform key", "At cap", "Near cap", "No price"]
    places = [said.index(f"-badge[{word}]") for word in order]
    assert places == sorted(places)
    assert "**full** has used its 5-hour cap of $10.00. Room returns in 4 h 59 min" in said
    assert "**near** has used 86% of its 5-hour cap of $10.00" in said
    assert "reach it at about" not in said  # one hour is no history to forecast from
    assert "1 call without a known price. Its cost is in no total." in said


def test_the_month_so_far_is_said_to_the_cent_as_the_numbers_above_it(dashboard: Dashboard):
    dashboard.add("shop")
    use(dashboard, "0,shop,platform,gpt-5,10.006", "0,shop,byok,gpt-5,10.006")  # together 20.01, not 20.02
    page = dashboard.open("overview", period="month")
    platform, byok = (metric.value.replace("\\", "") for metric in page.metric[1:3])
    said = texts(page).replace("\\", "")
    assert f"so far: {platform} platform-funded (not enough history for a forecast); {byok} BYOK" in said


def test_spend_that_jumped_is_named_with_what_it_is_compared_to(dashboard: Dashboard):
    for slug in ("steady", "jumped"):
        dashboard.add(slug)
    # Noon of yesterday and of the seven days before, whatever the time of the test.
    noon = _now(dashboard) % DAY / HOUR + 12
    before = [f"{noon + 24 * back},{{}},platform,gpt-5,10" for back in range(1, 8)]
    use(dashboard, *(row.format(slug) for row in before for slug in ("steady", "jumped")))
    use(dashboard, f"{noon},steady,platform,gpt-5,12", f"{noon},jumped,byok,gpt-5,45.50")
    said = texts(dashboard.open("overview"))
    assert said.count("-badge[Jump]") == 1
    assert "**jumped** spent $45.50 BYOK on " in said
    assert "4.5 times the $10.00 median of the 7 days before." in said


def test_a_projects_course_has_the_bars_of_the_page_and_is_its_spend(dashboard: Dashboard):
    dashboard.add("checkout-api")
    use(
        dashboard,
        "1,checkout-api,byok,gpt-5,1.50",
        "400,checkout-api,platform,gpt-5,2",
        "1200,checkout-api,byok,gpt-5,4",
    )
    today = from_micros(_now(dashboard)).date().isoformat()
    for address, unit in (
        ({"period": "90d"}, "day"),
        ({"period": "custom", "to": today, "from": "2025-01-01"}, "week"),
    ):
        table = dashboard.open("overview", **address).dataframe[0].value
        series = table[f"Per {unit}"][0]
        assert sum(series) == pytest.approx(7.5)
        assert len(series) == 90 or unit == "week"


def test_how_many_are_at_and_near_a_cap_is_said_apart(dashboard: Dashboard, spender: Spender):
    for slug, cents in (("near", 860), ("full", 1000), ("far", 100)):
        dashboard.add(slug)
        use_of_ten(dashboard, spender, slug, cents)
    page = dashboard.open("overview")
    (shown,) = (metric for metric in page.metric if metric.label == "At or near a cap")
    assert (shown.value, shown.delta) == ("2 of 3", "+2")
    assert "1 at its cap, 1 near" in shown.help


def test_where_a_period_is_over_how_many_are_near_a_cap_now_is_not_compared_with_it(
    dashboard: Dashboard, spender: Spender
):
    dashboard.add("full")
    use_of_ten(dashboard, spender, "full", 1000)
    page = dashboard.open("overview", period="last_month")
    (shown,) = (metric for metric in page.metric if metric.label == "At or near a cap")
    assert (shown.value, shown.delta) == ("1 of 1", "")


def test_the_projects_nearest_to_a_cap_come_first(dashboard: Dashboard, spender: Spender):
    for slug, cents in (("a-idle", 0), ("b-near", 860), ("c-full", 1000)):
        dashboard.add(slug)
        use_of_ten(dashboard, spender, slug, cents)
    table = dashboard.open("overview").dataframe[0].value
    assert table["Project"].tolist() == ["c-full", "b-near", "a-idle"]
    assert table["5-hour cap"].tolist() == [100, 86, 0]


def test_a_spend_of_unknown_cost_leaves_its_cell_empty(dashboard: Dashboard):
    dashboard.add("checkout-api")
    use(dashboard, "1,checkout-api,byok,mystery-1,")
    page = dashboard.open("overview")
    assert page.dataframe[0].value["BYOK"].isna().all()
    assert metrics(page)["BYOK"] == "unknown"


def test_many_projects_cost_as_many_queries_as_few(dashboard: Dashboard):
    for number in range(3):
        dashboard.add(f"project-{number}")
    use(dashboard, "1,project-0,byok,gpt-5,1.50")
    dashboard.open("overview")
    few = statements(lambda: dashboard.open("overview"))
    for number in range(3, 40):
        dashboard.add(f"project-{number}")
    assert statements(lambda: dashboard.open("overview")) == few
    assert len(dashboard.open("overview").dataframe[0].value) == 40


def statements(look: Callable[[], object]) -> int:
    """How many it takes, where nothing is kept of before, and what is kept of now does not run out meanwhile."""
    seen: list[str] = []

    def note(*call: object) -> None:
        seen.append(str(call[2]))

    kept: dict[str, Any] = {}

    def answer(key: str, ask: Callable[[], Any]) -> Any:
        if key not in kept:
            kept[key] = ask()
        return kept[key]

    with pytest.MonkeyPatch.context() as patch:
        for cache in ("_kept", "_kept_for_a_minute"):
            patch.setattr(loaders, cache, answer)
        event.listen(Engine, "before_cursor_execute", note)
        try:
            look()
        finally:
            event.remove(Engine, "before_cursor_execute", note)
    return len(seen)


def test_a_project_with_a_key_of_one_provider_stays_within_its_caps_for_the_other(
    dashboard: Dashboard, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("QODEX_OPENAI_API_KEY", PLATFORM_KEY)
    real_front_door.clear()
    dashboard.add("checkout-api")
    dashboard.add("search-ranking", GOOD_KEY)
    keys = dashboard.platform.keys
    for slug in ("checkout-api", "search-ranking"):
        keys.save(slug, CLAUDE_KEY, provider="anthropic")
    mixed, whole = (keys.describe_each(slug) for slug in ("checkout-api", "search-ranking"))
    seen = real_front_door().keys
    assert (seen.is_capped(mixed), seen.is_capped(whole)) == (True, False)
    said = texts(dashboard.open("plan", project="checkout-api"))
    assert "uses its own Anthropic key •••• 0001: caps neither count nor limit calls with it." in said
    said = texts(dashboard.open("plan", project="search-ranking"))
    assert "its own OpenAI key •••• 0001 and Anthropic key •••• 0001" in said


def test_a_failing_key_of_any_provider_is_told_on_overview(dashboard: Dashboard, upstream: ScriptedUpstream):
    dashboard.add("checkout-api", GOOD_KEY)
    dashboard.platform.keys.save("checkout-api", CLAUDE_KEY, provider="anthropic")
    upstream.keys[CLAUDE_KEY] = "anthropic.revoked"
    dashboard.platform.test_call("checkout-api", "claude-opus-5", "Hi", provider="anthropic")
    page = dashboard.open("overview")
    assert "Anthropic has rejected its key since" in texts(page)
    assert "OpenAI has rejected" not in texts(page)
