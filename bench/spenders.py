"""Workers that spend one project's cap at once, in several processes: our way and the usual one."""

from __future__ import annotations

import multiprocessing
import random
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import insert, text

from lib.db.tables import usage_events
from lib.errors import CapExceeded
from tests.spending import PLATFORM_CALL, Shop, answer

PROCESSES, THREADS = 4, 8
WARM_UP = "warm-up"
"""A project on which each worker makes its first calls: they cost a connection, and the plans of its statements."""
_FIRST_CALLS = 20
_ANSWER_SECONDS = 0.003  # of the provider
_REFUSALS = 5  # then a worker gives up
_SUM = text("SELECT coalesce(sum(cost_nano), 0) FROM usage_events WHERE project_id = :id")

Call = Callable[[int], bool]
Way = Callable[[Shop, str, int], Call]


@dataclass
class Told:
    """What the workers tell: calls of each, how long all took, and the longest wait before a call, seconds."""

    calls: list[int]
    seconds: float
    longest_wait: float


def reserve_then_settle(shop: Shop, slug: str, _: int) -> Call:
    """The ledger: room is reserved before the call leaves, and it knows the cap."""
    run = shop.start(slug=slug)

    def call(ceiling: int) -> bool:
        try:
            opened = shop.open(run, ceiling)
        except CapExceeded:
            return False
        time.sleep(_ANSWER_SECONDS)
        shop.ledger.settle(opened, answer(ceiling))
        return True

    return call


def check_then_record(shop: Shop, slug: str, cap: int) -> Call:
    """What others do: look at what is spent, call, write down what it cost."""
    run = shop.start(slug=slug)
    plain = PLATFORM_CALL | {"project_id": run.project_id, "run_id": run.run_id, "imported": True}

    def call(ceiling: int) -> bool:
        with shop.database.read() as connection:
            spent = connection.execute(_SUM, {"id": run.project_id}).scalar_one()
        if spent + ceiling > cap:
            return False
        time.sleep(_ANSWER_SECONDS)
        with shop.database.write() as connection:
            now = shop.database.now(connection)
            row = {"event_id": str(uuid.uuid4()), "occurred_at": now, "cost_nano": ceiling}
            connection.execute(insert(usage_events), plain | row)
        return True

    return call


def spend_at_once(way: Way, url: str, slug: str, ceiling: int, cap: int) -> Told:
    """Let all workers call, each time for up to ``ceiling``, until nothing fits any more."""
    context = multiprocessing.get_context("fork")
    start, told = context.Barrier(PROCESSES * THREADS + 1), context.SimpleQueue()
    children = [
        context.Process(target=_process, args=(way, url, slug, ceiling, cap, number, start, told))
        for number in range(PROCESSES)
    ]
    for child in children:
        child.start()
    start.wait()
    begun = time.perf_counter()
    found = [one for _ in children for one in told.get()]
    seconds = time.perf_counter() - begun
    for child in children:
        child.join()
    return Told([calls for calls, _ in found], seconds, max(wait for _, wait in found))


def _process(
    way: Way, url: str, slug: str, ceiling: int, cap: int, number: int, start: Any, told: Any
) -> None:
    shop, found = Shop(url), list[tuple[int, float]]()

    def work(seed: int) -> None:
        first = way(shop, WARM_UP, cap)
        for _ in range(_FIRST_CALLS):
            first(ceiling)
        call, luck = way(shop, slug, cap), random.Random(seed)
        calls, refusals, longest = 0, 0, 0.0
        start.wait()
        while refusals < _REFUSALS:
            begun = time.perf_counter()
            if call(luck.randint(ceiling // 2, ceiling)):
                calls += 1
                longest = max(longest, time.perf_counter() - begun - _ANSWER_SECONDS)
            else:
                refusals += 1
        found.append((calls, longest))

    threads = [threading.Thread(target=work, args=(number * THREADS + each,)) for each in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    told.put(found)
