"""Promise 16 where it is not about charts: what pages ask again and again does not walk all that ever happened.

SQLite counts the steps that it takes. Ten times the history may take a few more, for a deeper index.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator

import pytest

from lib.clock import SECOND
from lib.runs.log import RunFilter
from tests.spending import ADMIN, Clock, Shop, answer, open_shop

pytestmark = pytest.mark.parametrize("database_kind", ["sqlite"])
CAP = 1_000_000


@pytest.fixture
def shop(database_url: str, clock: Clock) -> Iterator[Shop]:
    with open_shop(database_url, clock, cap_5h=CAP, cap_7d=CAP) as shop:
        yield shop


def test_how_much_room_there_is_and_when_more_returns(shop: Shop, clock: Clock) -> None:
    run = shop.start()

    def live() -> None:
        shop.spend(run, 64)
        clock.now += SECOND

    assert_same_steps(shop, live, shop.headroom)


def test_how_many_runs_wait_and_which_was_the_latest(shop: Shop, clock: Clock) -> None:
    def live() -> None:
        run = shop.start()
        shop.spend(run, 64)
        shop.runs.finish(run, "passed")
        clock.now += SECOND

    waiting, funded = RunFilter(("shop",), statuses=("waiting",)), RunFilter(("shop",), source="platform")
    assert_same_steps(shop, live, lambda: shop.log.number(waiting, actor=ADMIN))
    assert_same_steps(shop, live, lambda: shop.log.latest(funded, actor=ADMIN))


def test_which_run_made_a_request(shop: Shop, clock: Clock) -> None:
    made: list[str] = []

    def live() -> None:
        run = shop.start()
        made.append(run.run_id)
        request = f"req_{len(made):04}"
        shop.ledger.settle(shop.open(run, 64), answer(64, upstream_request_id=request))
        shop.runs.finish(run, "passed")
        clock.now += SECOND

    for search in ("req_0007", "nothing"):
        assert_same_steps(shop, live, lambda: shop.log.list(RunFilter(search=search), actor=ADMIN))  # noqa: B023
    assert_same_steps(shop, live, lambda: shop.log.list(RunFilter(search=made[3]), actor=ADMIN))


def assert_same_steps(shop: Shop, live: Callable[[], object], ask: Callable[[], object]) -> None:
    for _ in range(20):
        live()
    before = _steps(shop, ask)
    for _ in range(180):
        live()
    assert _steps(shop, ask) <= before * 1.2


def _steps(shop: Shop, ask: Callable[[], object]) -> int:
    """Of SQLite's virtual machine."""
    taken = 0

    def step() -> int:
        nonlocal taken
        taken += 1
        return 0

    def watch(each: Callable[[], int] | None) -> None:
        with shop.database.read() as connection:  # the connection used last is used next
            driver = connection.connection.dbapi_connection
            assert isinstance(driver, sqlite3.Connection)
            driver.set_progress_handler(each, 1)

    ask()  # what is read once for the life of the process
    watch(step)
    try:
        ask()
    finally:
        watch(None)
    assert taken > 0
    return taken
