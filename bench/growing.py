"""Many projects at once: calls a second by workers, and what holds up the database meanwhile, until it is the limit."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections import Counter
from typing import Any

from sqlalchemy import text

from bench.measure import table
from lib.db import Database
from lib.db.migrate import migrate
from tests.services import running_postgres
from tests.spending import Shop

PROJECTS = 200
WORKERS = (1, 2, 4, 8, 16, 32)
_PROCESSES = 4
_SECONDS = float(os.environ.get("BENCH_GROWING_SECONDS", "4"))
_COST = 500
_FIRST_CALLS = 20
_PAUSE = 0.02
_SESSIONS = text(
    """SELECT CASE WHEN state <> 'active' THEN 'idle' WHEN wait_event_type IS NULL THEN 'working'
        WHEN wait_event_type = 'Lock' THEN 'a lock' WHEN wait_event_type IN ('IO', 'LWLock') THEN 'the disk'
        ELSE 'other' END
    FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() AND state IS NOT NULL"""
)


def main() -> None:
    """Print the table."""
    with running_postgres(durable=True) as server:
        url = server.url(server.create())
        database = Database(url)
        migrate(database)
        database.close()
        shop = Shop(url)
        for number in range(PROJECTS):
            shop.add(_slug(number))
        found = {workers: _calls_a_second(shop, workers) for workers in WORKERS}
        shop.close()
    one = found[1][0]
    rows = [
        (
            str(workers),
            f"{speed:,.0f}",
            f"{speed / one:.1f}×",
            *(f"{seen[name]:.1f}" for name in ("working", "a lock", "the disk", "idle")),
        )
        for workers, (speed, seen) in found.items()
    ]
    header = (
        "workers",
        "calls a second",
        "of one worker",
        "working",
        "wait for a lock",
        "for the disk",
        "idle",
    )
    table(
        f"PostgreSQL: calls over {PROJECTS} projects; sessions of the database on the average, of {os.cpu_count()} processors",
        header,
        rows,
    )


def _slug(number: int) -> str:
    return f"project-{number % PROJECTS}"


def _calls_a_second(shop: Shop, workers: int) -> tuple[float, dict[str, float]]:
    """How many calls are made, and how many sessions of the database do what meanwhile."""
    context = multiprocessing.get_context("fork")
    processes = min(_PROCESSES, workers)
    start, told = context.Barrier(workers + 1), context.SimpleQueue()
    each = [range(number, workers, processes) for number in range(processes)]
    children = [context.Process(target=_process, args=(shop.url, mine, start, told)) for mine in each]
    for child in children:
        child.start()
    start.wait()
    seen = _watch(shop)
    calls = sum(told.get() for _ in children)
    for child in children:
        child.join()
    return calls / _SECONDS, seen


def _watch(shop: Shop) -> dict[str, float]:
    seen: Counter[str] = Counter()
    end, looks = time.perf_counter() + _SECONDS, 0
    with shop.database.outside_transaction() as connection:
        while time.perf_counter() < end:
            seen.update(connection.execute(_SESSIONS).scalars())
            looks += 1
            time.sleep(_PAUSE)
    return {name: seen[name] / looks for name in ("working", "a lock", "the disk", "idle")}


def _process(url: str, mine: range, start: Any, told: Any) -> None:
    shop, counts = Shop(url), list[int]()

    def work(number: int) -> None:
        """Call for one project after the other, from another one than the other workers on."""
        step = PROJECTS // WORKERS[-1]
        runs = [shop.start(slug=_slug(number * step + place)) for place in range(step)]
        for turn in range(_FIRST_CALLS):
            shop.spend(runs[turn % step], _COST)
        calls = 0
        start.wait()
        end = time.perf_counter() + _SECONDS
        while time.perf_counter() < end:
            shop.spend(runs[calls % step], _COST)
            calls += 1
        counts.append(calls)

    threads = [threading.Thread(target=work, args=(number,)) for number in mine]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    told.put(sum(counts))


if __name__ == "__main__":
    main()
