"""Forecasts over real roll-ups: only what is visible, only what was known, and scored by what happened."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from io import BytesIO
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import select

from lib.access.roles import Actor, Origin
from lib.caps.forecast.forecast_scores import HORIZONS, keep_forecasts
from lib.caps.forecast.forecasts import Forecasts
from lib.caps.forecast.hourly import day_lags
from lib.clock import DAY, HOUR, MINUTE, Micros, iso, to_micros
from lib.db.tables import forecasts
from lib.errors import ProjectUnknown
from lib.exchange.imports.import_usage import import_usage
from tests.spending import ADMIN, NOON, PRICES, Clock, Shop

UTC_ZONE = ZoneInfo("UTC")
BERLIN = ZoneInfo("Europe/Berlin")
AN_HOUR = 1_000


@pytest.fixture
def shop(database_url: str, clock: Clock) -> Iterator[Shop]:
    found = Shop(database_url, clock)
    yield found
    found.close()


def spend_each_hour(
    shop: Shop, clock: Clock, *, hours: int, until: Micros = NOON, slug: str = "shop"
) -> None:
    run = shop.start(slug=slug)
    for hour in range(hours, 0, -1):
        clock.now = until - hour * HOUR
        shop.spend(run, AN_HOUR)
    clock.now = until


def made(shop: Shop, zone: ZoneInfo = UTC_ZONE) -> Forecasts:
    return Forecasts(shop.database, shop.view, zone)


def kept(shop: Shop) -> list[tuple[int, int | None]]:
    with shop.database.read() as connection:
        columns = select(forecasts.c.hours_ahead, forecasts.c.outcome_nano)
        return [(row[0], row[1]) for row in connection.execute(columns.order_by(forecasts.c.made_at))]


@pytest.mark.parametrize("hours", [0, 5, 70])
def test_with_less_than_three_days_there_is_no_forecast_and_it_is_said_why(
    shop: Shop, clock: Clock, hours: int
):
    shop.add()
    spend_each_hour(shop, clock, hours=hours)
    found = made(shop).cap("shop", "7d", actor=ADMIN)
    assert found.verdict is None
    assert found.median is None
    assert found.why_none == ("too little history" if hours else "idle")


def test_a_project_that_spent_nothing_for_a_day_gets_no_forecast(shop: Shop, clock: Clock):
    shop.add()
    spend_each_hour(shop, clock, hours=100)
    clock.now = NOON + 25 * HOUR
    assert made(shop).cap("shop", "7d", actor=ADMIN).why_none == "idle"


def test_a_project_that_is_named_twice_is_forecast_once(shop: Shop, clock: Clock):
    shop.add()
    spend_each_hour(shop, clock, hours=5)
    assert list(made(shop).hourly(("shop", "shop"), ("platform",), actor=ADMIN)) == ["shop"]


def test_steady_spend_reaches_the_cap_when_the_room_is_used(shop: Shop, clock: Clock):
    shop.add(cap_7d=106 * AN_HOUR)
    spend_each_hour(shop, clock, hours=100)
    found = made(shop).cap("shop", "7d", actor=ADMIN)
    assert (found.verdict, found.chance_soon) == ("will", 0.0)
    assert found.earliest is not None
    assert found.median is not None
    assert found.latest is not None
    assert found.earliest <= found.median <= found.latest
    assert abs(found.median - (NOON + 6 * HOUR)) <= HOUR


def test_what_a_window_will_hold_begins_with_now_and_ends_at_the_cap(shop: Shop, clock: Clock):
    shop.add(cap_7d=106 * AN_HOUR)
    assert made(shop).held("shop", "7d", actor=ADMIN) == []
    spend_each_hour(shop, clock, hours=100)
    first, *rest = made(shop).held("shop", "7d", actor=ADMIN)
    assert (first.at, first.low_nano, first.high_nano) == (NOON, 100 * AN_HOUR, 100 * AN_HOUR)
    assert all(each.low_nano <= each.middle_nano <= each.high_nano <= 106 * AN_HOUR for each in rest)
    assert rest[2].middle_nano == 103 * AN_HOUR
    assert rest[-1].at == NOON - NOON % HOUR + 48 * HOUR


def test_imports_move_no_forecast_of_a_cap(shop: Shop, clock: Clock):
    shop.add(cap_7d=106 * AN_HOUR)
    spend_each_hour(shop, clock, hours=100)
    before = made(shop).cap("shop", "7d", actor=ADMIN)
    rows = [f"{iso(NOON - hour * HOUR)},shop,unit,1,1,5" for hour in range(1, 90)]
    file = "\n".join(["occurred_at,project,model,input_tokens,output_tokens,cost_usd", *rows])
    import_usage(shop.database, PRICES, BytesIO(file.encode()), name="a file", actor=ADMIN)
    assert made(shop).cap("shop", "7d", actor=ADMIN) == before


def test_what_a_month_has_cost_so_far_is_exact_however_much_it_is(shop: Shop):
    shop.add()
    row = f"{iso(NOON)},shop,unit,1,1,999999.999999999"
    file = "\n".join(["occurred_at,project,model,input_tokens,output_tokens,cost_usd", *[row] * 11])
    import_usage(shop.database, PRICES, BytesIO(file.encode()), name="a file", actor=ADMIN)
    assert made(shop).month(["shop"], ("byok",), actor=ADMIN).so_far_nano == 11 * 999_999_999_999_999


def test_a_window_that_breathes_as_fast_as_it_is_filled_is_never_full(shop: Shop, clock: Clock):
    shop.add(cap_5h=8 * AN_HOUR)
    spend_each_hour(shop, clock, hours=100)
    found = made(shop).cap("shop", "5h", actor=ADMIN)
    assert (found.verdict, found.why_none) == (None, None)


def test_a_stranger_gets_no_forecast(shop: Shop, clock: Clock):
    shop.add()
    stranger = Actor("stranger@example.com", Origin.BROWSER)
    with pytest.raises(ProjectUnknown):
        made(shop).cap("shop", "7d", actor=stranger)
    with pytest.raises(ProjectUnknown):
        made(shop).month(["shop"], ("platform",), actor=stranger)
    with pytest.raises(ProjectUnknown):
        made(shop).track_record(["shop"], 5, actor=stranger)


def test_the_month_is_what_was_spent_and_what_comes(shop: Shop, clock: Clock):
    at = to_micros(datetime(2026, 9, 21, 12, tzinfo=UTC))
    shop.add()
    spend_each_hour(shop, clock, hours=30 * 24, until=at)
    found = made(shop).month(["shop"], ("platform",), actor=ADMIN)
    so_far = (20 * 24 + 12) * AN_HOUR
    assert found.so_far_nano == so_far
    assert (found.month.isoformat(), found.last_day.isoformat()) == ("2026-09-01", "2026-09-30")
    assert found.expected is not None
    # 22 August is only half there; the median of the weeks does not mind.
    assert found.expected.middle == pytest.approx(30 * 24 * AN_HOUR, rel=0.02)
    assert made(shop).month(["shop"], ("byok",), actor=ADMIN).so_far_nano == 0


def test_hours_of_the_clock_stay_the_same_over_a_change_of_clocks():
    after = datetime(2026, 10, 26, 9, tzinfo=BERLIN)  # clocks went back on the 25th
    assert day_lags(after, 24 * 4) == (24, 49, 73)
    before = datetime(2026, 3, 30, 9, tzinfo=BERLIN)  # and forward on the 29th
    assert day_lags(before, 24 * 4) == (24, 47, 71, 95)


# --- kept and scored -------------------------------------------------------------------------------


def test_a_forecast_is_kept_once_an_hour_and_scored_when_its_time_is_over(shop: Shop, clock: Clock):
    shop.add()
    spend_each_hour(shop, clock, hours=100)
    assert keep_forecasts(shop.database, UTC_ZONE) == len(HORIZONS)
    clock.now = NOON + 3 * MINUTE
    assert keep_forecasts(shop.database, UTC_ZONE) == 0
    assert sorted(kept(shop)) == [(hours, None) for hours in HORIZONS]

    spend_each_hour(shop, clock, hours=6, until=NOON + 6 * HOUR)
    keep_forecasts(shop.database, UTC_ZONE)

    assert (5, 5 * AN_HOUR) in kept(shop)
    found = made(shop).track_record(["shop"], 5, actor=ADMIN)
    assert (found.forecasts, found.outcome_nano) == (1, 5 * AN_HOUR)
    assert found.percent_inside == 100 * found.inside


def test_an_outcome_outside_the_range_counts_against_the_forecast(shop: Shop, clock: Clock):
    shop.add()
    spend_each_hour(shop, clock, hours=100)
    keep_forecasts(shop.database, UTC_ZONE)
    clock.now = NOON + HOUR
    shop.spend(shop.start(), 500 * AN_HOUR)
    clock.now = NOON + 6 * HOUR
    keep_forecasts(shop.database, UTC_ZONE)
    found = made(shop).track_record(["shop"], 5, actor=ADMIN)
    assert (found.forecasts, found.inside, found.percent_inside) == (1, 0, 0)


def test_forecasts_of_a_quarter_ago_are_gone(shop: Shop, clock: Clock):
    shop.add()
    spend_each_hour(shop, clock, hours=100)
    keep_forecasts(shop.database, UTC_ZONE)
    clock.now = NOON + 91 * DAY
    keep_forecasts(shop.database, UTC_ZONE)
    assert kept(shop) == []
