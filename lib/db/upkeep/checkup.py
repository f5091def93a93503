"""What may be wrong with a database that works: looked for on an operator's word, and nothing is changed."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, text

from lib.clock import DAY, HOUR, MINUTE, SECOND, Micros
from lib.db.engine import Database
from lib.db.months.partitioning import is_moving
from lib.db.months.parts import is_by_month, is_due
from lib.db.tables import metadata
from lib.db.upkeep.health import describe, names_of
from lib.errors import QodexError
from lib.settings import COMMAND

OK, NOTE, BROKEN = "ok", "note", "broken"
LONG: Micros = 5 * MINUTE
"""How long a transaction may last before it is told; an export of years takes as long."""
STUCK: Micros = HOUR
"""Nothing of ours lasts so long but an upgrade."""
NOTICEABLE, HARMFUL = 2 * SECOND, 5 * MINUTE
"""How far two clocks may differ: from the second on receivers refuse signed webhooks, and sign-ins fail."""
_MOST_DEAD = 0.2
_FEWEST_DEAD = 10_000
_LARGE_LOG = 256 * 1024 * 1024

_OF_BOTH = {
    *(f"usage_daily_{event}" for event in ("insert", "update", "delete")),
    *(f"usage_daily_models_{event}" for event in ("insert", "update", "delete")),
    *(f"usage_hourly_totals_{event}" for event in ("insert", "update", "delete")),
    *(f"usage_daily_caching_{event}" for event in ("insert", "update")),
}
TRIGGERS = {
    "sqlite": _OF_BOTH | {f"audit_log_no_{verb}" for verb in ("UPDATE", "DELETE", "replace")},
    "postgresql": _OF_BOTH | {"audit_log_no_change"},
}
"""What keeps the sums of sums, and the audit log: without one of them figures are wrong, and no statement fails."""
_THERE = {
    "sqlite": "SELECT name FROM sqlite_master WHERE type = 'trigger'",
    "postgresql": "SELECT tgname FROM pg_trigger WHERE NOT tgisinternal AND tgenabled <> 'D'",
}
_SAMPLE_INDEX = text("SELECT 1 FROM sqlite_master WHERE name = 'ix_usage_events_sample'")
_TRANSACTIONS = text("""
SELECT coalesce(nullif(application_name, ''), 'a program without a name') AS program, pid, state,
    CAST(extract(epoch FROM clock_timestamp() - xact_start) * 1000000 AS bigint) AS lasts
FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
AND xact_start < clock_timestamp() - CAST(:long AS bigint) * interval '1 microsecond' ORDER BY xact_start
""")
_UNFINISHED = text("""
SELECT 'index ' || indexrelid::regclass FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
WHERE NOT indisvalid AND relnamespace = current_schema()::regnamespace
UNION ALL SELECT 'rule ' || conname FROM pg_constraint
WHERE NOT convalidated AND connamespace = current_schema()::regnamespace
""")
_DEAD = text("""
SELECT relname, n_dead_tup AS dead, n_live_tup AS live FROM pg_stat_user_tables
WHERE schemaname = current_schema() AND n_dead_tup > :fewest AND n_dead_tup > :most * n_live_tup
ORDER BY n_dead_tup DESC
""")


@dataclass(frozen=True)
class Finding:
    """What was looked at, and what was found: ok, note or broken."""

    check: str
    status: str
    message: str


def examine(database: Database, url: str, *, clock: Callable[[], int] = time.time_ns) -> Iterator[Finding]:
    """All that is found, one after the other.

    Args:
        database: to be looked at.
        url: of it.
        clock: of this machine, nanoseconds.
    """
    try:
        yield Finding("database", OK, describe(database))
        with database.read(seconds=0) as connection:
            yield from _pieces(connection)
            if database.is_sqlite:
                yield from _file(connection, url)
                return
            yield from _transactions(connection)
            yield from _dead_rows(connection)
            yield _months(connection, database.now(connection))
        yield _clock(database, clock)
    except QodexError as problem:
        yield Finding("database", BROKEN, problem.sentence)


def _found(check: str, problems: Sequence[str], fine: str, status: str = BROKEN) -> Iterator[Finding]:
    """A line for each problem, or the one that says that there is none."""
    yield from (Finding(check, status, each) for each in problems)
    if not problems:
        yield Finding(check, OK, fine)


# --- is all there? ---------------------------------------------------------------------------------


def _pieces(connection: Connection) -> Iterator[Finding]:
    engine = connection.dialect.name
    there = set(connection.execute(text(_THERE[engine])).scalars())
    missing = [
        *_differences(connection),
        *(f"trigger {name} is missing or switched off" for name in sorted(TRIGGERS[engine] - there)),
    ]
    if engine == "sqlite":  # SQLAlchemy reads none of its indexes of expressions
        sample = connection.execute(_SAMPLE_INDEX).first()
        missing += [] if sample else ["index ix_usage_events_sample is missing"]
    else:
        unfinished = connection.execute(_UNFINISHED).scalars()
        missing += [f"{name} was not finished; start one process of Qodex again" for name in unfinished]
    yield from _found("schema", missing, "every table, index, rule and trigger is there")


def _differences(connection: Connection) -> Iterator[str]:
    """Of the tables from what this program knows. What an operator has added is no concern of ours."""
    from alembic.autogenerate import compare_metadata  # noqa: PLC0415 - loaded on an operator's word only
    from alembic.runtime.migration import MigrationContext  # noqa: PLC0415

    with warnings.catch_warnings():
        # SQLAlchemy reads no rule that is not checked yet, and on SQLite no index of expressions.
        warnings.simplefilter("ignore")
        steps = compare_metadata(MigrationContext.configure(connection), metadata)
    for step in steps:
        for change in step if isinstance(step, list) else [step]:
            word, *told = change
            if word.startswith("add_"):
                yield f"{word.removeprefix('add_')} {getattr(told[-1], 'name', told[-1])} is missing"
            elif word.startswith("modify_"):
                yield f"column {told[1]}.{told[2]} is another one ({word.removeprefix('modify_')})"


# --- PostgreSQL ------------------------------------------------------------------------------------


def _transactions(connection: Connection) -> Iterator[Finding]:
    long = connection.execute(_TRANSACTIONS, {"long": LONG}).all()
    for row in long:
        status = BROKEN if row.lasts >= STUCK else NOTE
        yield Finding(
            "transactions",
            status,
            f"{row.program} (process {row.pid}) has been in one for {_minutes(row.lasts)}, {row.state}: rows that were "
            "deleted since stay, and an upgrade waits for it",
        )
    if not long:
        yield Finding("transactions", OK, f"none lasts longer than {_minutes(LONG)}")


def _months(connection: Connection, now: Micros) -> Finding:
    if not is_by_month(connection):
        unfinished = "moving them was interrupted" if is_moving(connection) else "they are one table"
        return Finding(
            "months", NOTE, f"events are not in months: {unfinished}; {COMMAND} db partition goes on"
        )
    if is_due(connection, now):
        return Finding(
            "months", NOTE, f"the next months of events are not made: {COMMAND} db maintain makes them"
        )
    return Finding("months", OK, "the next ones of events are there")


def _minutes(lasts: Micros) -> str:
    if lasts >= DAY:
        return f"{lasts // DAY} days"
    return f"{lasts // MINUTE} min" if lasts < 2 * HOUR else f"{lasts // HOUR} h"


def _dead_rows(connection: Connection) -> Iterator[Finding]:
    rows = connection.execute(_DEAD, {"fewest": _FEWEST_DEAD, "most": _MOST_DEAD}).all()
    told = [f"{row.relname}: {row.dead:,} dead rows beside {row.live:,}; is autovacuum on?" for row in rows]
    yield from _found("dead rows", told, "few in every table", NOTE)


def _clock(database: Database, clock: Callable[[], int]) -> Finding:
    before = clock()
    with database.read() as connection:
        there = database.now(connection)
        after = clock()
    off = there - (before + after) // 2 // 1000
    apart = max(0, abs(off) - (after - before) // 2 // 1000)
    if apart < NOTICEABLE:
        return Finding("clock", OK, "this machine's and the server's agree")
    way = "behind" if off > 0 else "ahead of"
    words = f"this machine's is {apart // SECOND:,} s {way} the server's, which is the one that counts"
    return Finding("clock", BROKEN if apart >= HARMFUL else NOTE, words)


# --- SQLite ----------------------------------------------------------------------------------------


def _file(connection: Connection, url: str) -> Iterator[Finding]:
    driver: Any = connection.connection.dbapi_connection
    with closing(driver.execute("PRAGMA quick_check(5)")) as lines:
        problems = [line for (line,) in lines if line != "ok"]
    yield from _found("file", problems, "sound")
    with closing(driver.execute("PRAGMA foreign_key_check")) as lines:
        orphans = [
            f"a row of {table} names a row of {parent} that is not there" for table, _, parent, _ in lines
        ]
    yield from _found("references", sorted(set(orphans)), "every row names rows that are there")
    _, log, *_ = names_of(url)
    size = log.stat().st_size if log.exists() else 0
    large = [f"{size // 2**20:,} MiB: a reader has kept it from being emptied for long"]
    yield from _found("write-ahead log", large if size > _LARGE_LOG else [], f"{size // 2**20:,} MiB", NOTE)
