"""A forecast in words never names a time without its range, and says nothing of what is unlikely."""

from __future__ import annotations

from datetime import date
from zoneinfo import ZoneInfo

import pytest

from lib.caps.forecast.forecasts import CapForecast, MonthForecast
from lib.clock import DAY, HOUR, MINUTE, Micros
from lib.ui.parts.forecast import _month, cap_outlook, cap_sentence, short

ZONE = ZoneInfo("UTC")
AT: Micros = 1_764_504_000_000_000  # Sun 30 Nov 2025, 12:00 UTC


def made(verdict: str | None = "will", latest: Micros | None = AT + 4 * HOUR, **more: object) -> CapForecast:
    told = {
        "at": AT,
        "window": "5h",
        "verdict": verdict,
        "earliest": AT + 110 * MINUTE,
        "median": AT + 150 * MINUTE,
        "latest": latest,
    }
    return CapForecast(**(told | more))


@pytest.mark.parametrize(
    ("found", "sentence", "cell"),
    [
        (made(), "It will reach it at about 14:30 UTC, between 13:50 and 16:00.", "14:30 (13:50 to 16:00)"),
        (
            made("may"),
            "It may reach it at about 14:30 UTC, between 13:50 and 16:00.",
            "maybe 14:30 (13:50 to 16:00)",
        ),
        (
            made(latest=AT + DAY),
            "It will reach it at about 14:30 UTC, between 13:50 and Mon 12:00.",
            "14:30 (13:50 to Mon 12:00)",
        ),
        (
            made(latest=None),
            "It will reach it at about 14:30 UTC, not before 13:50.",
            "14:30 (from 13:50)",
        ),
        (made(None), "", ""),
        (
            made("may", latest=None, median=None),
            "It may reach it, not before 13:50 UTC.",
            "maybe from 13:50",
        ),
    ],
)
def test_a_time_comes_with_its_range(found: CapForecast, sentence: str, cell: str):
    assert cap_sentence(found, ZONE).replace("\\", "") == sentence
    assert short(found, ZONE) == cell


def test_plan_says_why_there_is_no_forecast():
    nothing = {"earliest": None, "median": None, "latest": None}
    little = cap_outlook(made(None, why_none="too little history", **nothing), ZONE)
    idle = cap_outlook(made(None, why_none="idle", **nothing), ZONE)
    unlikely = cap_outlook(made(None, **nothing), ZONE)
    assert little == "Not enough history for a forecast; it takes three days."
    assert idle == "No platform-funded spend in the last 24 hours, so there is no forecast."
    assert unlikely == "It is unlikely to reach this cap in the next 48 hours."


def test_a_month_that_spends_no_more_ends_at_what_it_has_cost_to_the_cent():
    spent = 374_254_000_000
    found = MonthForecast(date(2026, 11, 1), date(2026, 11, 30), spent, (float(spent),) * 3)
    assert _month("platform", found, "$374.26").count("$374.26") == 4
