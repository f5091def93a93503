"""What the pages say of a change: like is compared with like, and what it was compared with can be read."""

from __future__ import annotations

import io

import pytest

from lib.clock import DAY, HOUR, MINUTE, Micros, iso, parse_iso
from lib.exchange.imports.import_usage import import_usage
from lib.formatting import MINUS
from lib.ui.base import filters, loaders
from lib.ui.parts.spend_card import WHAT_BYOK_IS
from tests.pages import ADMIN, Dashboard, texts

pytestmark = pytest.mark.parametrize("database_kind", ["sqlite"])
NIGHT = parse_iso("2026-05-30T01:37:00Z")


@pytest.fixture(autouse=True)
def _fresh(dashboard: Dashboard, monkeypatch: pytest.MonkeyPatch) -> None:
    """At 01:37 of a night, and what other tests loaded is forgotten."""
    loaders.forget()
    monkeypatch.setattr(filters, "now", lambda: NIGHT)
    dashboard.add("checkout-api")


def bring(dashboard: Dashboard, *calls: tuple[Micros, str], source: str = "byok") -> None:
    """Calls of so many USD at these times."""
    lines = ["occurred_at,project,source,model,input_tokens,output_tokens,cost_usd"]
    lines += [f"{iso(at)},checkout-api,{source},gpt-5,10,10,{cost}" for at, cost in calls]
    file, platform = io.BytesIO("\n".join(lines).encode()), dashboard.platform
    import_usage(platform.database, platform.prices, file, name="calls.csv", actor=ADMIN)


def changes(dashboard: Dashboard, page: str, **address: str) -> dict[str, str]:
    return {metric.label: metric.delta for metric in dashboard.open(page, **address).metric}


@pytest.mark.parametrize("page", ["overview", "usage"])
@pytest.mark.parametrize(
    "address",
    [
        {"period": "7d"},
        {"period": "30d"},
        {"period": "month"},
        {"period": "24h"},
        {"period": "7d", "zone": "Asia/Kolkata"},
        {"period": "custom", "from": "2026-05-30", "to": "2026-05-30"},
    ],
    ids=lambda address: " ".join(address.values()),
)
def test_spend_that_goes_on_evenly_has_not_changed_at_any_time_of_the_day(
    dashboard: Dashboard, page: str, address: dict[str, str]
):
    """Measured against whole days, today would have lost nine tenths of yesterday's."""
    bring(dashboard, *((NIGHT - MINUTE - number * HOUR, "1") for number in range(24 * 70)))
    found = changes(dashboard, page, **address)
    assert (found["Total spend"], found["BYOK"]) == ("0.0%", "0.0%")


def test_what_is_compared_is_said_beside_the_number_and_exactly_where_one_points(dashboard: Dashboard):
    bring(dashboard, (NIGHT - HOUR, "3"), (NIGHT - 30 * DAY - HOUR, "2"))
    page = dashboard.open("usage", period="month")
    total = next(metric for metric in page.metric if metric.label == "Total spend")
    assert (total.delta, total.proto.delta_description) == ("+50.0%", "vs same days of Apr")
    assert "Compared with 1 Apr to 30 Apr 2026, 01:37 UTC." in total.help.replace("\\", "")


@pytest.mark.parametrize("page", ["overview", "usage"])
def test_a_page_says_once_what_the_byok_figure_leaves_out_where_there_is_one(dashboard: Dashboard, page: str):
    bring(dashboard, (NIGHT - HOUR, "1"), source="platform")
    assert WHAT_BYOK_IS not in texts(dashboard.open(page, period="7d"))
    loaders.forget()
    bring(dashboard, (NIGHT - HOUR, "1"))
    assert texts(dashboard.open(page, period="7d")).count(WHAT_BYOK_IS) == 1


def test_error_answers_make_a_thousand_calls_no_cheaper(dashboard: Dashboard):
    lines = ["occurred_at,project,model,input_tokens,output_tokens,cost_usd,status"]
    lines += [
        f"{iso(NIGHT - DAY - number)},checkout-api,gpt-5,10,10,{cost},{status}"
        for number, (cost, status) in enumerate([("0.02", "ok"), *[("0", "error")] * 9])
    ]
    platform = dashboard.platform
    file = io.BytesIO("\n".join(lines).encode())
    import_usage(platform.database, platform.prices, file, name="calls.csv", actor=ADMIN)
    page = dashboard.open("usage", period="7d")
    shown = {metric.label: metric for metric in page.metric}
    assert shown["Cost per 1,000 calls"].value.replace("\\", "") == "$20.00"
    assert "Error answers, which cost nothing, are left out." in shown["Cost per 1,000 calls"].help
    assert shown["Tokens per call, median"].value == "20"
    loaders.forget()
    page = dashboard.open("usage", period="7d", status="error")
    assert {metric.label: metric.value for metric in page.metric}["Cost per 1,000 calls"] == "unknown"


def test_what_was_next_to_nothing_before_is_new(dashboard: Dashboard):
    bring(dashboard, (NIGHT - HOUR, "28.24"), (NIGHT - 8 * DAY, "0.1"))
    found = changes(dashboard, "usage", period="7d")
    assert (found["Total spend"], found["BYOK"], found["Platform-funded"]) == ("new", "new", "")
    assert f"{MINUS}" not in "".join(found.values())
