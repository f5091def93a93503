"""What the pages ask, by size of history; against SQL over the events and DuckDB; what roll-ups cost a write.

``BENCH_EVENTS`` is the largest number of events: 10000000 for the full size. PostgreSQL gets a million of them.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from sqlalchemy import event

from bench import generator, peers
from bench.measure import interleaved, median, ratio, table, verdict
from bench.questions import HOT, beyond, month, of_pages, over, year
from bench.workplace import database_urls
from lib.platform import Platform
from lib.usage import events
from tests.services import running_postgres
from tests.spending import Shop

SIZES = (10_000, 1_000_000, 10_000_000)
EVENTS = int(os.environ.get("BENCH_EVENTS", "1000000"))
_ON_POSTGRES = 1_000_000
_PATIENCE = 1.0  # seconds for one question


def main() -> None:
    """Print the tables."""
    sizes = [size for size in SIZES if size < EVENTS] + [EVENTS]
    files = {size: generator.sqlite_file(size) for size in sizes}
    with ExitStack() as stack:
        opened = {
            f"{size:,}": stack.enter_context(generator.opened(f"sqlite:///{path}"))
            for size, path in files.items()
        }
        _print_questions("SQLite", opened)
        largest = opened[f"{sizes[-1]:,}"]
        _print_against_raw(largest, peers.covering(sizes[-1], files[sizes[-1]]))
        _print_against_duckdb(largest, sizes[-1])
    _print_postgres(min(EVENTS, _ON_POSTGRES))
    _print_writes()


# --- by size ---------------------------------------------------------------------------------------


def _print_questions(engine: str, opened: Mapping[str, Platform]) -> None:
    for title, made in (("the pages' own period, 30 days", of_pages), ("beyond it", beyond)):
        times = {
            size: {name: _milliseconds(ask) for name, ask in made(each).items()}
            for size, each in opened.items()
        }
        smaller, largest = (list(times)[-2:] * 2)[:2] if len(times) > 1 else (None, next(iter(times)))
        rows = [
            (
                name,
                *(f"{of[name]:.1f}" for of in times.values()),
                *([f"{took / times[smaller][name]:.2f}×"] if smaller else ()),
            )
            for name, took in times[largest].items()
        ]
        header = ("question", *times, *([f"{largest} / {smaller}"] if smaller else ()))
        table(f"{engine}: what Overview and Usage ask, {title}, ms by events", header, rows)
        if smaller:
            slowest = max(times[largest], key=times[largest].__getitem__)
            grown = times[largest][slowest] / times[smaller][slowest]
            print(f"  Slowest: {slowest}, {verdict(grown, 1.5)}")


def _milliseconds(ask: Callable[[], object]) -> float:
    ask()
    found: list[float] = []
    begun = time.perf_counter()
    while len(found) < 3 or (len(found) < 15 and time.perf_counter() - begun < _PATIENCE):
        start = time.perf_counter()
        ask()
        found.append((time.perf_counter() - start) * 1e3)
    return median(found)


def _print_postgres(size: int) -> None:
    with running_postgres(durable=True) as server:
        url = server.url(server.create())
        started = time.perf_counter()
        generator.fill(url, size)
        print(f"  filled PostgreSQL with {size:,} events: {time.perf_counter() - started:.0f} s")
        with generator.opened(url) as platform:
            _print_questions("PostgreSQL", {f"{size:,}": platform})


# --- peers -----------------------------------------------------------------------------------------


def _print_against_raw(platform: Platform, covering: Any) -> None:
    """A project's days: the whole call of the report, and its statement alone, against the covering index."""
    project_id = platform.projects.get(HOT, actor=generator.ACTOR).id
    rows = []
    for name, period in (("30 days", month()), ("year", year())):
        work = lambda period=period: platform.reports.by_day(over(period, HOT), actor=generator.ACTOR)  # noqa: E731
        raw = median(peers.raw_days(covering, project_id, period.since, period.until, 5)) * 1e3
        whole, alone = _milliseconds(work), _statement_alone(platform, work)
        rows.append(
            (
                name,
                f"{raw:.1f}",
                f"{alone:.2f}",
                f"{raw / alone:,.0f}×",
                f"{whole:.2f}",
                f"{raw / whole:,.0f}×",
            )
        )
    header = ("period", "covering index, ms", "our statement, ms", "faster", "whole report, ms", "faster")
    table(
        f"A hot project by day and source, {EVENTS:,} events (target: statement ≥ 100× faster)", header, rows
    )


def _statement_alone(platform: Platform, work: Callable[[], object]) -> float:
    """Milliseconds that the longest of a report's statements takes without what is around it."""
    said: list[tuple[str, Any]] = []

    def note(_connection: object, _cursor: object, statement: str, parameters: Any, *_: object) -> None:
        if statement.startswith("SELECT"):
            said.append((statement, parameters))

    event.listen(platform.database.engine, "before_cursor_execute", note)
    work()
    event.remove(platform.database.engine, "before_cursor_execute", note)
    with platform.database.read() as connection:
        driver: Any = connection.connection.dbapi_connection
        return max(_milliseconds(lambda one=one: driver.execute(*one).fetchall()) for one in said)


def _print_against_duckdb(platform: Platform, size: int) -> None:
    period = year()
    theirs = median(peers.duckdb_days(peers.parquet(size), period.since, period.until, 5)) * 1e3
    ours = _milliseconds(lambda: platform.reports.by_day(over(period), actor=generator.ACTOR))
    faster = theirs / ours
    table(
        f"The organisation's year by day and source, {size:,} events, ms",
        ("DuckDB over Parquet", "ours, the whole report", "faster (target ≥ 3×)"),
        [(f"{theirs:.1f}", f"{ours:.1f}", f"{faster:.1f}×{'' if faster >= 3 else ' MISSED'}")],
    )


# --- writes ----------------------------------------------------------------------------------------


class _NoRollups:
    """What a write would be without them."""

    def add(self, *_: object) -> None:
        """Do nothing."""


def _print_writes() -> None:
    rows = []
    with database_urls() as urls:
        for engine, url in urls.items():
            generator.migrated(url)
            shop = Shop(url)
            shop.add("shop")
            run = shop.start(slug="shop")

            def call(shop=shop, run=run) -> None:
                shop.spend(run, 500)

            def bare(call=call) -> None:
                with _without_rollups():
                    call()

            times = interleaved({"with": call, "without": bare}, 40, 10)
            cells = (f"{median(times[name]):.0f}" for name in ("without", "with"))
            rows.append((engine, *cells, verdict(ratio(times, "with", "without"), 2)))
            shop.close()
    table(
        "A platform-funded call's two transactions, µs", ("engine", "without roll-ups", "with", "ratio"), rows
    )


@contextmanager
def _without_rollups() -> Iterator[None]:
    kept = events._rollups  # noqa: SLF001 - what is measured is its absence
    events._rollups = _NoRollups()  # type: ignore[assignment]  # noqa: SLF001
    try:
        yield
    finally:
        events._rollups = kept  # noqa: SLF001


if __name__ == "__main__":
    main()
