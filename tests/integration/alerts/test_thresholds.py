"""A threshold of a rolling cap is told once: by the settlement that crosses it, whoever else settles meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import pytest

from lib.clock import DAY, HOUR, MINUTE
from lib.errors import CapExceeded, RunWaiting
from tests.alerts import crossed, told, want_thresholds
from tests.spenders import in_processes
from tests.spending import ADMIN, NOON, UNKNOWN, Clock, Shop, open_shop

CAP = 10_000
FAR = 10**9


@pytest.fixture
def shop(database_url: str, clock: Clock) -> Iterator[Shop]:
    with open_shop(database_url, clock, cap_5h=CAP, cap_7d=FAR) as shop:
        yield shop


def test_the_settlement_that_crosses_a_threshold_tells_of_it_once(shop: Shop) -> None:
    run = shop.start()
    shop.spend(run, 7_900)
    assert crossed(shop.database) == []
    shop.spend(run, 100)
    shop.spend(run, 100)
    assert crossed(shop.database) == [("5h", 80)]


def test_it_says_the_numbers_and_when_room_comes(shop: Shop) -> None:
    shop.spend(shop.start(), 8_400)
    (event,) = told(shop.database)
    assert (event.kind, event.severity, event.at) == ("cap.threshold", "warning", NOON)
    assert {
        name: event.data[name] for name in ("project", "percent", "cap_nano", "used_nano", "rolls_off_at")
    } == {
        "project": "shop",
        "percent": 84,
        "cap_nano": CAP,
        "used_nano": 8_400,
        "rolls_off_at": NOON + 5 * HOUR,
    }


def test_reservations_of_running_calls_count(shop: Shop) -> None:
    run = shop.start()
    shop.open(run, 5_000)
    shop.spend(run, 3_000)
    assert crossed(shop.database) == [("5h", 80)]


def test_a_ceiling_that_was_not_used_up_is_no_alarm(shop: Shop) -> None:
    shop.spend(shop.start(), 100, ceiling=9_000)
    assert crossed(shop.database) == []


def test_of_several_thresholds_crossed_by_one_call_the_highest_is_told(shop: Shop, clock: Clock) -> None:
    want_thresholds(shop.database, shop.account().project_id, 50, 80, 95)
    run = shop.start()
    shop.spend(run, 8_500)
    assert crossed(shop.database) == [("5h", 80)]
    clock.now += MINUTE
    shop.spend(run, 1_100)
    assert crossed(shop.database) == [("5h", 80), ("5h", 95)]
    assert [event.severity for event in told(shop.database)] == ["warning", "critical"]


def test_a_window_that_breathes_around_its_threshold_is_told_once(shop: Shop, clock: Clock) -> None:
    run = shop.start()
    for _ in range(10):  # what will leave while more comes
        clock.now += 6 * MINUTE
        shop.spend(run, 790)
    clock.now = NOON + 5 * HOUR
    for _ in range(60):
        clock.now += MINUTE
        shop.spend(run, 132)
    assert crossed(shop.database) == [("5h", 80)]


def test_it_is_told_again_once_it_has_fallen_five_points_below(shop: Shop, clock: Clock) -> None:
    run = shop.start()
    shop.spend(run, 1_000)
    clock.now += 2 * HOUR
    shop.spend(run, 7_000)
    clock.now = NOON + 5 * HOUR  # 70 percent are left
    shop.spend(run, 100)
    shop.spend(run, 900)
    assert crossed(shop.database) == [("5h", 80), ("5h", 80)]


def test_four_points_are_not_enough(shop: Shop, clock: Clock) -> None:
    run = shop.start()
    shop.spend(run, 400)
    clock.now += 2 * HOUR
    shop.spend(run, 7_600)
    clock.now = NOON + 5 * HOUR
    shop.spend(run, 100)
    shop.spend(run, 900)
    assert crossed(shop.database) == [("5h", 80)]


def test_within_an_hour_it_is_not_told_again(shop: Shop, clock: Clock) -> None:
    run = shop.start()
    shop.spend(run, 3_000)
    clock.now += 5 * HOUR - 30 * MINUTE
    shop.spend(run, 5_000)
    clock.now += 40 * MINUTE  # it has fallen to half
    shop.spend(run, 100)
    shop.spend(run, 4_000)
    assert crossed(shop.database) == [("5h", 80)]


def test_one_call_after_a_quiet_day_is_told(shop: Shop, clock: Clock) -> None:
    run = shop.start()
    shop.spend(run, 8_500)
    clock.now += DAY
    shop.spend(shop.start(), 9_000)
    assert crossed(shop.database) == [("5h", 80), ("5h", 80)]


def test_a_changed_cap_is_looked_at_in_silence(shop: Shop) -> None:
    run = shop.start()
    shop.spend(run, 5_000)
    shop.cap(6_000, FAR)
    shop.spend(run, 100)
    assert crossed(shop.database) == []
    shop.cap(2 * CAP, FAR)
    shop.spend(run, 100)
    shop.spend(run, 11_000)
    assert crossed(shop.database) == [("5h", 80)]


def test_the_end_of_an_override_is_a_changed_cap(shop: Shop, clock: Clock) -> None:
    shop.plans.set("Starter", cap_5h_nano=6_000, cap_7d_nano=FAR, actor=ADMIN)
    shop.cap(CAP, FAR, ends_at=NOON + HOUR)
    run = shop.start()
    shop.spend(run, 5_000)
    clock.now += HOUR
    shop.spend(run, 100)
    assert crossed(shop.database) == []


def test_a_plan_without_any_room_has_no_thresholds(shop: Shop) -> None:
    shop.cap(0, 0)
    with suppress(CapExceeded):
        shop.start("chat")
    assert told(shop.database) == []


def test_an_unknown_outcome_counts_with_its_ceiling(shop: Shop) -> None:
    call = shop.open(shop.start(), 8_200)
    shop.ledger.settle(call, UNKNOWN)
    assert crossed(shop.database) == [("5h", 80)]


def test_what_a_dead_worker_left_is_told_by_the_next_settlement(shop: Shop, clock: Clock) -> None:
    shop.open(shop.start(), 8_200)
    clock.now += HOUR
    shop.headroom()  # settles it at its ceiling
    shop.spend(shop.start(), 1)
    assert crossed(shop.database) == [("5h", 80)]


def test_the_first_refusal_is_told_and_no_other(shop: Shop) -> None:
    run = shop.start()
    shop.spend(run, CAP)
    for _ in range(3):
        with pytest.raises(CapExceeded):
            shop.open(run, 100)
        with pytest.raises(CapExceeded):
            shop.start("chat")
    (event,) = told(shop.database, "cap.reached")
    assert (event.severity, event.data["window"], event.data["returns_at"]) == (
        "critical",
        "5h",
        NOON + 5 * HOUR,
    )


def test_a_run_that_waits_is_counted(shop: Shop) -> None:
    shop.spend(shop.start(), CAP)
    for _ in range(2):
        with pytest.raises(RunWaiting):
            shop.start("scheduled")
    (event,) = told(shop.database, "cap.reached")
    assert event.data["runs_waiting"] == 1


def test_a_cap_that_is_reached_again_after_there_was_room_is_told_again(shop: Shop, clock: Clock) -> None:
    for _ in range(2):
        run = shop.start()
        shop.spend(run, CAP)
        with pytest.raises(CapExceeded):
            shop.open(run, 100)
        clock.now += 6 * HOUR
    assert len(told(shop.database, "cap.reached")) == 2


def test_a_call_that_never_fits_reaches_no_cap(shop: Shop) -> None:
    with pytest.raises(CapExceeded):
        shop.open(shop.start(), CAP + 1)
    assert told(shop.database) == []


@pytest.mark.slow
def test_32_workers_across_every_threshold_tell_of_each_once(database_url: str) -> None:
    shop = Shop(database_url)
    project_id = shop.add(cap_5h=210_000, cap_7d=200_000)
    want_thresholds(shop.database, project_id, 50, 80, 95)
    in_processes("race", url=shop.url, slugs=["shop"], processes=4, threads=8, highest=1_000)
    every = [(window, percent) for window in ("5h", "7d") for percent in (50, 80, 95)]
    assert sorted(crossed(shop.database)) == every
    assert [event.data["window"] for event in told(shop.database, "cap.reached")] == ["7d"]
    shop.close()
