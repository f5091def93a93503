"""What no single call shows: old and unused keys, runs that wait, caps that will be reached, spend that jumped."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from zoneinfo import ZoneInfo

import pytest

from lib.alerts.watch import LEAST_NANO, Watch
from lib.caps.forecast.forecasts import Forecasts
from lib.clock import DAY, HOUR, MINUTE
from lib.errors import RunWaiting
from tests.alerts import Told, told
from tests.spending import ADMIN, Clock, Shop, open_shop

FAR = 10**15


@pytest.fixture
def shop(database_url: str, clock: Clock) -> Iterator[Shop]:
    with open_shop(database_url, clock) as shop:
        yield shop


def look(shop: Shop, *kinds: str) -> list[Told]:
    """Look around twice, as two senders would; all that was ever told."""
    for _ in range(2):
        Watch(shop.database, shop.view, Forecasts(shop.database, shop.view, ZoneInfo("UTC"))).check()
    return told(shop.database, *kinds)


def spend_each_hour(shop: Shop, clock: Clock, hours: int, cost: int) -> None:
    run = shop.start()
    for _ in range(hours):
        shop.spend(run, cost)
        clock.now += HOUR


def test_nothing_is_told_where_there_is_nothing(shop: Shop) -> None:
    assert look(shop) == []


def test_a_key_that_is_old_is_told_once(shop: Shop, clock: Clock) -> None:
    shop.save_key()
    clock.now += 179 * DAY
    assert look(shop, "key.old") == []
    clock.now += DAY
    (event,) = look(shop, "key.old")
    assert (event.data["days"], event.data["saved_by"], event.data["last4"]) == (180, ADMIN.name, "0001")


def test_a_key_that_is_not_used_is_told_again_only_after_it_was_used(shop: Shop, clock: Clock) -> None:
    shop.save_key()
    clock.now += 31 * DAY
    assert [event.data["days"] for event in look(shop, "key.unused")] == [31]
    clock.now += DAY
    shop.spend(shop.start(), 1)
    clock.now += 30 * DAY
    assert [event.data["days"] for event in look(shop, "key.unused")] == [31, 30]


def test_runs_that_wait_for_an_hour_are_told_until_none_waits(shop: Shop, clock: Clock) -> None:
    shop.cap(1_000, FAR)
    shop.spend(shop.start(), 1_000)
    for _ in range(2):
        with suppress(RunWaiting):
            shop.start("scheduled")
    clock.now += 59 * MINUTE
    assert look(shop, "runs.waiting") == []
    clock.now += MINUTE
    (event,) = look(shop, "runs.waiting")
    assert event.data["runs"] == 2
    clock.now += 5 * HOUR
    for run in shop.runs.due(actor=ADMIN):
        shop.runs.resume(run.run_id, actor=ADMIN)
    assert len(look(shop, "runs.waiting")) == 1
    shop.spend(shop.start(), 1_000)
    with suppress(RunWaiting):
        shop.start("scheduled")
    clock.now += HOUR
    assert len(look(shop, "runs.waiting")) == 2


def test_a_cap_that_will_be_reached_within_hours_is_told_once(shop: Shop, clock: Clock) -> None:
    spend_each_hour(shop, clock, 96, 1_000)
    assert look(shop, "cap.forecast") == []
    shop.cap(FAR, 98_500)
    (event,) = look(shop, "cap.forecast")
    assert event.data["window"] == "7d"
    assert event.data["chance_percent"] >= 80
    assert clock.now < event.data["median"] < clock.now + 5 * HOUR


def test_an_hour_of_many_times_the_usual_is_a_jump_told_once_a_day(shop: Shop, clock: Clock) -> None:
    usual = LEAST_NANO // 10
    spend_each_hour(shop, clock, 96, usual)
    assert look(shop, "spend.jump") == []
    spend_each_hour(shop, clock, 1, 20 * usual)
    (event,) = look(shop, "spend.jump")
    assert (event.data["spent_nano"], event.data["times"]) == (20 * usual, 20)
