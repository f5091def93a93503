"""Promise 11 under load: 32 workers in four processes never pass a cap, use its room up, and none starves."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import func, select

from lib.clock import DAY, HOUR, SECOND
from lib.db.tables import open_calls, usage_events
from lib.usage.caps import WINDOWS
from tests.spenders import in_processes
from tests.spending import Shop, add_past_calls, check_books, check_history, keep_history

HIGHEST = 1_000  # nano-USD: the largest ceiling of one call
WORKERS = {"processes": 4, "threads": 8, "highest": HIGHEST}


@pytest.fixture
def shop(database_url: str) -> Iterator[Shop]:
    shop = Shop(database_url)
    keep_history(shop)
    yield shop
    shop.close()


@contextmanager
def sampled(shop: Shop, project_id: str) -> Iterator[list[dict[str, int]]]:
    """Meanwhile add up all rows again and again, as another process sees them."""
    samples: list[dict[str, int]] = []
    done = threading.Event()

    def sample() -> None:
        while not done.wait(0.02):
            samples.append(_taken(shop, project_id))

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield samples
    finally:
        done.set()
        thread.join()


def _taken(shop: Shop, project_id: str) -> dict[str, int]:
    """Settled, counted and reserved in each window, by plain sums."""
    before = func.lag(usage_events.c.counted_after_nano, 1, 0).over(order_by=usage_events.c.sequence)
    calls = (
        select(usage_events.c.occurred_at, (usage_events.c.counted_after_nano - before).label("nano"))
        .where(usage_events.c.project_id == project_id)
        .subquery()
    )
    with shop.database.read() as connection:
        now = shop.database.now(connection)
        reserved = connection.execute(
            select(func.coalesce(func.sum(open_calls.c.ceiling_nano), 0)).where(
                open_calls.c.project_id == project_id
            )
        ).scalar_one()
        used = {
            name: connection.execute(
                select(func.coalesce(func.sum(calls.c.nano), 0)).where(calls.c.occurred_at > now - length)
            ).scalar_one()
            for name, length in WINDOWS.items()
        }
    return {name: int(used[name] + reserved) for name in WINDOWS}


def test_32_workers_on_one_project_use_its_cap_up_and_never_pass_it(shop: Shop) -> None:
    caps = {"5h": 70_000, "7d": 60_000}
    project_id = shop.add(cap_5h=caps["5h"], cap_7d=caps["7d"])
    with sampled(shop, project_id) as samples:
        workers = in_processes("race", url=shop.url, slugs=["shop"], **WORKERS)
    assert max(sample["7d"] for sample in samples) <= caps["7d"]
    assert check_history(shop, project_id, caps) > 2 * sum(worker["calls"] for worker in workers) - 1
    check_books(shop)
    assert shop.open_now() == 0
    assert shop.headroom().free_nano < 3 * HIGHEST
    assert min(worker["calls"] for worker in workers) > 0
    assert sum(worker["refused"] for worker in workers) == 5 * 32


def test_no_project_uses_the_room_of_another(shop: Shop) -> None:
    slugs = [f"shop-{n}" for n in range(8)]
    caps = {"5h": 7_000, "7d": 8_000}
    ids = {slug: shop.add(slug, cap_5h=caps["5h"], cap_7d=caps["7d"]) for slug in slugs}
    workers = in_processes("race", url=shop.url, slugs=slugs, **WORKERS)
    check_books(shop)
    for slug, project_id in ids.items():
        assert check_history(shop, project_id, caps) > 0
        assert shop.headroom(slug).free_nano < 3 * HIGHEST
    assert min(worker["calls"] for worker in workers) > 0


def test_room_that_returns_meanwhile_is_used_once(shop: Shop) -> None:
    """Old calls leave the window one by one while 32 workers wait for their room."""
    caps = {"5h": 25_000, "7d": 100_000}
    project_id = shop.add(cap_5h=caps["5h"], cap_7d=caps["7d"])
    with shop.database.read() as connection:
        begin = shop.database.now(connection) - 5 * HOUR + 2 * SECOND
    leaving = [begin + n * SECOND // 50 for n in range(45)]
    add_past_calls(shop, project_id, [begin - DAY, *leaving], 500)
    with sampled(shop, project_id) as samples:
        in_processes("race", url=shop.url, slugs=["shop"], **WORKERS)
    assert max(sample["5h"] for sample in samples) <= caps["5h"]
    assert check_history(shop, project_id, caps) > 0
    check_books(shop)
