"""Workers that are killed between reserving and settling: nothing stays open, counts twice or is lost."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict

import pytest

from lib.clock import HOUR
from lib.errors import CapExceeded
from tests.spenders import in_processes
from tests.spending import LEASE, NOON, Clock, Shop, check_books, check_history, keep_history
from tests.whole import whole_or

CEILING = 1_000
KILLS = whole_or(80, 200)


@pytest.fixture
def shop(database_url: str, clock: Clock) -> Iterator[Shop]:
    shop = Shop(database_url, clock)
    yield shop
    shop.close()


def test_of_killed_workers_each_call_is_counted_once(shop: Shop, clock: Clock) -> None:
    """Their calls reserve more than the cap has, so that some are refused as well."""
    cap = KILLS // 2 * CEILING
    keep_history(shop)
    project_id = shop.add(cap_5h=cap, cap_7d=cap)
    runs = [asdict(shop.start()) for _ in range(3)]
    told = in_processes("crash", url=shop.url, runs=runs, times=KILLS, ceiling=CEILING, now=NOON)
    opened, settled = set(told["opened"]), set(told["settled"])
    assert told["killed"] > KILLS // 4
    assert 0 < len(settled) < len(opened)
    check_books(shop)

    clock.now += LEASE
    before = shop.open_now()
    assert shop.headroom().windows["5h"].reserved_nano == before * CEILING
    clock.now += 1
    headroom = shop.headroom()
    assert shop.open_now() == 0
    assert headroom.windows["5h"].reserved_nano == 0
    check_books(shop)
    check_history(shop, project_id, {"5h": cap, "7d": cap})

    rows = [row for row in shop.events() if row.project_id == project_id]
    events = {row.event_id: row for row in rows}
    assert len(events) == len(rows)
    # What a killed worker opened without being able to tell is there as well.
    assert opened <= set(events)
    assert {row.event_id for row in events.values() if row.status == "ok"} >= settled
    unknown = [row for row in events.values() if row.status == "unknown"]
    assert len(unknown) == before
    spent = sum(row.cost_nano for row in events.values() if row.status == "ok")
    assert headroom.windows["7d"].used_nano == spent + before * CEILING <= cap


def test_a_crash_loop_cannot_spend_past_the_cap(shop: Shop, clock: Clock) -> None:
    """Each life of the worker calls once and dies; the next one comes after the lease has run out."""
    shop.add(cap_5h=10 * CEILING, cap_7d=25 * CEILING)
    admitted: list[int] = []
    for _ in range(100):
        try:
            shop.open(shop.start(), CEILING)
        except CapExceeded:
            pass
        else:
            admitted.append(clock.now)
        clock.now += 2 * LEASE
    assert len(admitted) == 25
    assert sum(at < NOON + 5 * HOUR for at in admitted) == 10
    assert shop.headroom().windows["7d"].used_nano == 25 * CEILING
    assert shop.headroom().windows["7d"].unknown_nano == 25 * CEILING
    check_books(shop)


def test_calls_that_nobody_settles_are_found_by_whoever_comes_next(shop: Shop, clock: Clock) -> None:
    """There is no background process: the next call, run, look at the caps or at the run log finds them."""
    shop.add()
    visitors = {
        "a call": lambda: shop.open(shop.start(), CEILING),
        "a call on its own key": lambda: (
            shop.save_key(),
            shop.open(shop.start(), CEILING),
            shop.remove_key(),
        ),
        "a run": shop.start,
        "caps": shop.headroom,
        "run log": lambda: shop.show(run),
    }
    for visitor in visitors.values():
        run = shop.start()
        call = shop.open(run, CEILING)
        clock.now += LEASE + 1
        visitor()
        [event] = [row for row in shop.events() if row.event_id == call.id]
        assert (event.status, event.cost_nano) == ("unknown", None)
    check_books(shop)
