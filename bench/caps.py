"""Rolling caps: what a reservation costs however long the history, and what 32 workers make of a hot project.

``BENCH_EVENTS`` is the number of usage events in each database: 10000000 for the full size.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from sqlalchemy import Connection, text

from bench.measure import interleaved, median, ratio, table, verdict
from bench.spenders import PROCESSES, THREADS, WARM_UP, check_then_record, reserve_then_settle, spend_at_once
from bench.workplace import database_urls
from lib.caps.cap_state import cap_snapshot
from lib.caps.windows import WINDOWS
from lib.clock import DAY, HOUR, MINUTE, Micros
from lib.db import Database
from lib.db.migrate import migrate
from tests.spending import ADMIN, Shop

IN_WINDOW = (10_000, 200_000, 1_000_000)
EVENTS = int(os.environ.get("BENCH_EVENTS", "2000000"))
CEILING = 500
ROOM = {"much room": 6_000, "little room": 40}  # calls at their ceiling

_CALLS = """INSERT INTO usage_events (project_id, event_id, occurred_at, source, provider, model, endpoint, status,
    cost_nano, imported, sequence, counted_after_nano, unknown_after_nano)
    SELECT CAST(:id AS varchar(36)), 'past-' || CAST(n AS varchar(20)), :since + (n - :first) * :step, 'platform',
    'openai', 'unit', 'responses', 'ok', 1, false, n, n, 0 FROM ("""
_NUMBERS = {
    "postgresql": "SELECT n FROM generate_series(CAST(:first AS bigint), CAST(:last AS bigint)) AS s (n)) AS made",
    "sqlite": """WITH RECURSIVE s (n) AS (SELECT :first UNION ALL SELECT n + 1 FROM s WHERE n < :last)
        SELECT n FROM s) AS made""",
}
_SUMS = text(
    """SELECT (SELECT sum(cost_nano) FROM usage_events WHERE project_id = :id AND occurred_at > :cutoff_5h),
    (SELECT sum(cost_nano) FROM usage_events WHERE project_id = :id AND occurred_at > :cutoff_7d)"""
)


def main() -> None:
    """Print the tables."""
    with database_urls() as urls:
        for engine, url in urls.items():
            database = Database(url)
            migrate(database)
            database.close()
            shop = Shop(url)
            _print_whole_call(engine, shop)
            _print_hot_project(engine, shop)
            _print_long_history(engine, shop)
            shop.close()


# --- a whole call, and 32 workers ------------------------------------------------------------------


def _print_whole_call(engine: str, shop: Shop) -> None:
    shop.add("whole")
    run = shop.start(slug="whole")
    with shop.database.write() as connection:
        connection.execute(text("CREATE TABLE floor (id INTEGER, filler TEXT)"))

    def floor() -> None:
        with shop.database.write() as connection:
            connection.execute(text("SELECT slug FROM projects")).first()
            connection.execute(text("INSERT INTO floor VALUES (1, :filler)"), {"filler": "x" * 300})

    times = interleaved({"floor": floor, "call": lambda: shop.spend(run, CEILING)}, 40, 10)
    cells = [f"{median(times[name]):.0f}" for name in ("floor", "call")]
    table(
        f"{engine}: a whole platform-funded call, µs (floor: one SELECT and one durable INSERT)",
        ("floor", "resolve, reserve, settle, event, roll-ups", "call / floor"),
        [(*cells, verdict(ratio(times, "call", "floor"), 3))],
    )


def _print_hot_project(engine: str, shop: Shop) -> None:
    rows = []
    shop.add(WARM_UP)
    for title, calls in ROOM.items():
        for way, work in (
            ("check, then record", check_then_record),
            ("reserve, then settle", reserve_then_settle),
        ):
            slug, cap = f"{title} {way}".replace(",", "").replace(" ", "-"), calls * CEILING
            project_id = shop.add(slug, cap_5h=cap, cap_7d=cap)
            told = spend_at_once(work, shop.url, slug, CEILING, cap)
            with shop.database.read() as connection:
                spent = connection.execute(
                    text("SELECT sum(cost_nano) FROM usage_events WHERE project_id = :id"), {"id": project_id}
                ).scalar_one()
            share = min(told.calls) / (sum(told.calls) / len(told.calls))
            speed = f"{sum(told.calls) / told.seconds:,.0f}"
            over = f"{100 * max(0, spent - cap) / cap:.1f} %", f"{100 * max(0, cap - spent) / cap:.2f} %"
            fair = f"{share:.2f}" if title == "much room" else "–"  # too few calls to share
            rows.append((title, way, speed, fair, f"{told.longest_wait * 1e3:.0f}", *over))
    header = (
        "cap",
        "way",
        "calls a second",
        "slowest worker's share",
        "longest wait, ms",
        "overspent",
        "unused",
    )
    table(
        f"{engine}: {PROCESSES * THREADS} workers in {PROCESSES} processes on one hot project", header, rows
    )


# --- a long history --------------------------------------------------------------------------------


def _print_long_history(engine: str, shop: Shop) -> None:
    _fill(shop)
    first, last = IN_WINDOW[0], IN_WINDOW[-1]
    rows, found = [], {}
    with shop.database.engine.connect() as connection:
        for way, (make, rounds, each) in {
            "running total: the check": (_check, 60, 20),
            "running total: reserve, give back": (_reserve, 60, 5),
            "SUM over an index: the check": (_sum, 6, 2),
        }.items():
            works = {str(count): make(shop, connection, count) for count in IN_WINDOW}
            found[make] = times = interleaved(works, rounds, each)
            cells = [f"{median(times[str(count)]):.0f}" for count in IN_WINDOW]
            rows.append((way, *cells, f"{ratio(times, str(last), str(first)):.2f}×"))
            connection.rollback()
    table(
        f"{engine}: µs by calls in the 7-day window, of {EVENTS:,} events in all (target: flat, ≤ 1.2×)",
        ("way", *(f"{count:,}" for count in IN_WINDOW), "last / first"),
        rows,
    )
    faster = median(found[_sum][str(last)]) / median(found[_check][str(last)])
    print(f"  With {last:,} calls in the window the check is {faster:,.0f}× faster than SUM (target ≥ 500×).")


def _check(shop: Shop, connection: Connection, count: int) -> Callable[[], object]:
    project_id, now = _project(shop, connection, count)
    return lambda: cap_snapshot(connection, project_id, now)


def _reserve(shop: Shop, _: Connection, count: int) -> Callable[[], object]:
    run = shop.start(slug=_slug(count))
    return lambda: shop.release(shop.open(run, CEILING))


def _sum(shop: Shop, connection: Connection, count: int) -> Callable[[], object]:
    project_id, now = _project(shop, connection, count)
    cutoffs = {f"cutoff_{name}": now - length for name, length in WINDOWS.items()}
    return lambda: connection.execute(_SUMS, {"id": project_id, **cutoffs}).one()


def _project(shop: Shop, connection: Connection, count: int) -> tuple[str, Micros]:
    return shop.projects.get(_slug(count), actor=ADMIN).id, shop.database.now(connection)


def _fill(shop: Shop) -> None:
    """Three projects with so many calls in their 7-day window, and older ones of each for the rest."""
    older = max(0, EVENTS - sum(IN_WINDOW)) // len(IN_WINDOW)
    with shop.database.read() as connection:
        now = shop.database.now(connection)
    for count in IN_WINDOW:
        project_id = shop.add(_slug(count))
        with shop.database.write(durable=False) as connection:
            _add_calls(connection, project_id, range(1, older + 1), now - 300 * DAY, now - 8 * DAY)
            newer = range(older + 1, older + count + 1)
            _add_calls(connection, project_id, newer, now - 7 * DAY + HOUR, now - MINUTE)
            totals = "sequence = :n, counted_nano = :n, last_settled_at = :at"
            connection.execute(
                text(f"UPDATE accounts SET {totals} WHERE project_id = :id"),
                {"n": older + count, "at": now - MINUTE, "id": project_id},
            )
    with shop.database.write() as connection:
        # Whoever sums a window would have made this: all that the sum needs is in the index.
        connection.execute(text("CREATE INDEX sums ON usage_events (project_id, occurred_at, cost_nano)"))
    with shop.database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("ANALYZE" if shop.database.is_sqlite else "VACUUM ANALYZE"))


def _add_calls(connection: Connection, project_id: str, numbers: range, since: Micros, until: Micros) -> None:
    """Calls of one nano-USD each, made where they are stored."""
    if not numbers:
        return
    told = {"id": project_id, "first": numbers[0], "last": numbers[-1], "since": since}
    step = (until - since) // len(numbers)
    connection.execute(text(_CALLS + _NUMBERS[connection.dialect.name]), told | {"step": step})


def _slug(count: int) -> str:
    return f"calls-{count}"


if __name__ == "__main__":
    main()
