"""Promise 11 under load: 32 workers in four processes never pass a cap, use its room up, and none starves.

And on PostgreSQL, where projects do not share a lock: nobody waits for another project, nor ever for each other.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from sqlalchemy import func, select

from lib.caps.windows import WINDOWS
from lib.clock import DAY, HOUR, SECOND
from lib.db.tables import open_calls, usage_events
from lib.errors import CapExceeded, Forbidden, KeyChanged, KeyLocked, LeaseLost, RunEnded, RunWaiting
from lib.ledger.attempts import AttemptResult
from lib.ledger.open_attempt import OpenAttempt
from lib.pricing.prices import Tokens
from tests.spenders import in_processes
from tests.spending import (
    ADMIN,
    LEASE,
    NOON,
    Clock,
    Shop,
    add_past_calls,
    at_once,
    check_books,
    check_history,
    keep_history,
)

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
    caps = {"5h": 20_000, "7d": 22_000}  # room for each of its workers to come late
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


# --- PostgreSQL: rows are locked in one order, and never another project's --------------------------

on_postgresql = pytest.mark.parametrize("database_kind", ["postgresql"])


def set_for_database(shop: Shop, **settings: str) -> Shop:
    """A second shop over the same database, whose connections have these settings."""
    with shop.database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        name = connection.exec_driver_sql("SELECT current_database()").scalar_one()
        for setting, value in settings.items():
            connection.exec_driver_sql(f"ALTER DATABASE \"{name}\" SET {setting} = '{value}'")
    return Shop(shop.url, shop.database._clock)


class Mixed:
    """Whatever can happen to a project at the same time, in a random order."""

    def __init__(self, shop: Shop, seed: int) -> None:
        self.shop, self.luck = shop, random.Random(seed)
        self.runs = [shop.start(slug=slug) for slug in ("shop", "other")]
        self.calls: list[OpenAttempt] = []
        self.acts = [self.open, self.open, self.open, self.end, self.end, self.end, self.fall_back]
        self.acts += [self.key, self.policy, self.look, self.restart, self.alive, self.go_on, self.lock_up]

    def act(self, times: int) -> None:
        for _ in range(times):
            # Refusals are answers; what must not come is DatabaseUnavailable: a deadlock that was broken.
            with suppress(*EXPECTED):
                self.luck.choice(self.acts)()

    def open(self) -> None:
        lease = self.luck.choice([LEASE, LEASE, 1])  # one in three is forgotten at once
        call = self.shop.open(self.luck.choice(self.runs), self.luck.randint(64, 500), lease=lease)
        if lease > 1:
            self.calls.append(call)

    def end(self) -> None:
        if not self.calls:
            return self.open()
        call = self.calls.pop(self.luck.randrange(len(self.calls)))
        self.shop.ledger.renew(call, LEASE)
        verdict: Any = self.luck.choice(["fine", "rejected", "out_of_money", None])
        outcome = AttemptResult("ok", Tokens(10, 0, 10, 0), 200, key_verdict=verdict)
        self.luck.choice([self.shop.release, lambda call: self.shop.ledger.settle(call, outcome)])(call)
        return None

    def fall_back(self) -> None:
        call = self.shop.open(self.runs[0], 100)
        self.shop.ledger.settle(call, AttemptResult("error", None, 401, key_verdict="rejected"))
        self.calls.append(self.shop.open(self.runs[0], 100, instead_of=call, why="rejected"))

    def key(self) -> None:
        self.luck.choice([self.shop.save_key, self.shop.save_key, self.shop.remove_key])()

    def lock_up(self) -> None:
        self.shop.lock_up()

    def policy(self) -> None:
        self.shop.projects.set_policy("shop", self.luck.choice(["stop", "platform", "platform"]), actor=ADMIN)
        self.shop.projects.set_plan("shop", self.luck.choice(["Starter", "Team"]), actor=ADMIN)

    def look(self) -> None:
        self.shop.headroom()
        self.shop.show(self.luck.choice(self.runs))

    def restart(self) -> None:
        number = self.luck.randrange(2)
        self.shop.runs.finish(self.runs[number], "passed")
        self.runs[number] = self.shop.start(slug=self.runs[number].project)

    def alive(self) -> None:
        runs = list(self.runs)
        self.luck.shuffle(runs)
        self.shop.runs.keep_alive(runs)

    def go_on(self) -> None:
        for run in self.shop.runs.due(actor=ADMIN):
            self.shop.runs.resume(run.run_id, actor=ADMIN)
        self.shop.start("scheduled")


EXPECTED = (CapExceeded, RunWaiting, RunEnded, KeyChanged, KeyLocked, LeaseLost, Forbidden)


@on_postgresql
def test_no_two_transactions_ever_wait_for_each_other(database_url: str) -> None:
    """Sixteen threads do everything at once, in two projects; their clock runs, so that leases run out meanwhile."""
    begun = time.monotonic()

    def fast() -> int:
        return NOON + int((time.monotonic() - begun) * 100 * SECOND)

    plain = Shop(database_url, fast)
    plain.add(cap_5h=4_000, cap_7d=100_000)
    plain.add("other", cap_5h=4_000, cap_7d=100_000)
    shop = set_for_database(plain, deadlock_timeout="1ms")
    mixed = [Mixed(shop, seed) for seed in range(16)]
    at_once(16, lambda number: mixed[number].act(60))
    with shop.database.read() as connection:
        broken = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
        assert connection.exec_driver_sql(broken).scalar_one() == 0
    check_books(shop)
    for used in (shop, plain):
        used.close()


@on_postgresql
def test_no_call_waits_for_another_project(database_url: str) -> None:
    """One project's rows are all locked by a transaction that hangs; the other's calls go through."""
    clock = Clock()
    plain = Shop(database_url, clock)
    plain.add("stuck")
    stuck = plain.start(slug="stuck")
    plain.save_key("stuck")
    plain.spend(stuck, 100)
    plain.remove_key("stuck")
    plain.spend(stuck, 100)
    plain.open(stuck, 100, lease=1)
    plain.add()
    tables = ["accounts", "runs", "provider_keys", "open_calls", "usage_hourly", "usage_daily", "run_log"]
    with plain.database.engine.connect() as hanging:
        for table in tables:
            condition = f"project_id = '{stuck.project_id}'"
            hanging.exec_driver_sql(f"SELECT 1 FROM {table} WHERE {condition} FOR UPDATE")
        hanging.exec_driver_sql(f"SELECT 1 FROM projects WHERE id = '{stuck.project_id}' FOR UPDATE")
        clock.now += HOUR  # the stuck project's run and call are lost by now
        shop = set_for_database(plain, lock_timeout="2s")
        run = shop.start()
        shop.open(run, 100, lease=1)
        clock.now += SECOND
        shop.runs.keep_alive([run])
        shop.spend(run, 100)
        shop.ledger.settle(shop.open(run, 100), AttemptResult("error", None, 401, key_verdict="rejected"))
        shop.save_key()
        assert shop.spend(run, 100).source == "byok"
        shop.remove_key()
        assert shop.runs.due(actor=ADMIN) == []
        assert shop.headroom().windows["5h"].used_nano == 200
        assert shop.runs.finish(run, "passed") == "passed"
        hanging.rollback()
    check_books(shop)
    for used in (shop, plain):
        used.close()
