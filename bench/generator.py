"""Databases with a year of usage: 200 projects, 8 models, as many events as wanted, roll-ups and totals included.

SQLite ones are kept in ``$BENCH_FOLDER`` (``var/bench``), named by size, seed and schema, so that the next
``make bench`` finds them. What counts as now in them is ``END``: open them with ``opened``.
"""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from sqlalchemy import Connection, func, insert, select

from bench.rows import ACCOUNT_COLUMNS, CAP_COLUMNS, EVENT_COLUMNS, RUN_COLUMNS, Row, Rows
from bench.traffic import END, START, draw
from lib.access.roles import Origin, local_administrator
from lib.clock import DAY, HOUR
from lib.db import Database
from lib.db.migrate import HEAD, migrate
from lib.db.rollup_tables import MEASURES
from lib.db.tables import projects, usage_daily, usage_events, usage_hourly
from lib.platform import Platform
from lib.secret import Secret
from lib.settings import ROOT, Settings
from lib.usage.measures import summed
from lib.usage.rollups import DIMENSIONS, event_dimensions
from lib.vault.keys import KeyStore
from lib.vault.master_keys.masters import Keyring
from lib.vault.sealing import MasterKey
from lib.vault.states import Verdict
from lib.vault.unsealed import UnsealedProjects

SEED = 4
SHAPE = 2
"""Raise it when the generator draws other events: kept databases of the old shape are not used any more."""

ACTOR = local_administrator(Origin.WORKER, "bench")
MASTER = hashlib.sha256(b"the benchmarks").digest()
_BYTES = 700  # of disk that an event takes, indexes and all; while it is made, half as much again
_PROJECT_COLUMNS = ("id", "slug", "name", "plan", "created_at", "created_by")


def folder() -> Path:
    """Where generated databases are kept."""
    found = Path(os.environ.get("BENCH_FOLDER") or ROOT / "var" / "bench")
    found.mkdir(parents=True, exist_ok=True)
    return found


def sqlite_file(events: int, seed: int = SEED) -> Path:
    """A kept SQLite database of so many events, made where it is missing."""
    path = folder() / f"usage-{events}-seed{seed}-schema{HEAD}-shape{SHAPE}.db"
    if path.exists():
        return path
    need_room(events * _BYTES * 3 // 2)
    started, unfinished = time.perf_counter(), path.with_suffix(".new")
    _remove(unfinished)
    fill(f"sqlite:///{unfinished}", events, seed)
    unfinished.rename(path)
    _remove(unfinished)
    print(f"  made {path.name}: {path.stat().st_size / 1e6:,.0f} MB, {time.perf_counter() - started:.0f} s")
    return path


def _remove(path: Path) -> None:
    for suffix in ("", "-wal", "-shm", "-queue"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)


def need_room(wanted: int) -> None:
    """Say how much disk is needed, before it is full."""
    free = shutil.disk_usage(folder()).free
    if free < wanted:
        raise SystemExit(
            f"{folder()} has {free / 1e9:.1f} GB free; this benchmark needs {wanted / 1e9:.1f} GB once. "
            "Set BENCH_FOLDER to a larger disk, or BENCH_EVENTS to fewer events."
        )


@contextmanager
def opened(url: str) -> Iterator[Platform]:
    """The front door over such a database, where now is ``END``."""
    settings = Settings(database_url=url, **secrets())
    platform = Platform(settings, actor=ACTOR, clock=lambda: END)
    try:
        yield platform
    finally:
        platform.close()


def secrets() -> dict[str, Secret]:
    """The keys that go with such a database."""
    return {
        "master_keys": Secret(base64.b64encode(MASTER).decode()),
        "openai_api_key": Secret("sk-bench-platform-PLAT"),
    }


def fill(url: str, events: int, seed: int = SEED) -> None:
    """Fill a new database."""
    rows = Rows(draw(events, seed), seed)
    migrated(url)
    with closing_database(url) as database:
        _add_projects(database, rows)
    (_fill_sqlite if database.is_sqlite else _fill_postgres)(url, rows)


def migrated(url: str) -> None:
    """Give a new database its tables."""
    with closing_database(url) as database:
        migrate(database)


def _add_projects(database: Database, rows: Rows) -> None:
    with database.write(seconds=0) as connection:
        named = zip(rows.ids, rows.slugs, strict=True)
        found = [(id_, slug, slug.title(), "Starter", START, "bench") for id_, slug in named]
        connection.execute(insert(projects), [dict(zip(_PROJECT_COLUMNS, row, strict=True)) for row in found])
    keyring = Keyring([MasterKey(MASTER)])
    unsealed = UnsealedProjects(database, keyring)
    unsealed.seal(unsealed.find(actor=ACTOR), actor=ACTOR)
    store = KeyStore(database, keyring, {})
    for slug in rows.own_keys:
        store.save(slug, Secret("sk-bench-own-BYOK"), actor=ACTOR, expected_version=0, verdict=Verdict())


def _tables(rows: Rows) -> Iterator[tuple[str, Sequence[str], Iterable[list[Row]]]]:
    yield "accounts", ACCOUNT_COLUMNS, [list(rows.accounts())]
    yield "cap_overrides", CAP_COLUMNS, [list(rows.caps())]
    yield "runs", RUN_COLUMNS, rows.runs()
    yield "usage_events", EVENT_COLUMNS, rows.events()


def _fill_sqlite(url: str, rows: Rows) -> None:
    """No journal, no sync, indexes afterwards: a file that is lost when this is interrupted."""
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)) as connection:
        for pragma in ("journal_mode=OFF", "synchronous=OFF", "foreign_keys=OFF", "cache_size=-400000"):
            connection.execute(f"PRAGMA {pragma}")
        wanted = "type = 'index' AND tbl_name IN ('usage_events', 'runs') AND sql IS NOT NULL"
        indexes = connection.execute(f"SELECT name, sql FROM sqlite_master WHERE {wanted}").fetchall()
        for name, _ in indexes:
            connection.execute(f"DROP INDEX {name}")
        connection.execute("BEGIN")
        for table, columns, chunks in _tables(rows):
            marks = ", ".join("?" * len(columns))
            for chunk in chunks:
                connection.executemany(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})", chunk)
        connection.execute("COMMIT")
        for _, statement in indexes:
            connection.execute(statement)
    with closing_database(url) as database, database.write(seconds=0) as connection:
        roll_up(connection)


def _fill_postgres(url: str, rows: Rows) -> None:
    with closing_database(url) as database:
        raw = database.engine.raw_connection()
        with closing(raw), raw.cursor() as cursor:
            for table, columns, chunks in _tables(rows):
                with cursor.copy(f"COPY {table} ({', '.join(columns)}) FROM STDIN") as copy:
                    for chunk in chunks:
                        for row in chunk:
                            copy.write_row(row)
            raw.commit()
        with database.write(seconds=0) as connection:
            roll_up(connection)
        with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("VACUUM ANALYZE")


@contextmanager
def closing_database(url: str) -> Iterator[Database]:
    """A database that is closed at the end of the block."""
    database = Database(url, clock=lambda: START)
    try:
        yield database
    finally:
        database.close()


def roll_up(connection: Connection) -> None:
    """Both roll-ups, made where the events are stored; days are those of UTC."""
    hour = usage_events.c.occurred_at - usage_events.c.occurred_at % HOUR
    keys = [usage_events.c.project_id, hour.label("hour_at"), *event_dimensions()]
    hours = select(*keys, *summed()).group_by(*keys)
    connection.execute(
        insert(usage_hourly).from_select(["project_id", "hour_at", *DIMENSIONS, *MEASURES], hours)
    )
    day = usage_hourly.c.hour_at - usage_hourly.c.hour_at % DAY
    keys = [usage_hourly.c.project_id, day.label("day_at"), *(usage_hourly.c[name] for name in DIMENSIONS)]
    days = select(*keys, *(func.sum(usage_hourly.c[name]).label(name) for name in MEASURES)).group_by(*keys)
    connection.execute(
        insert(usage_daily).from_select(["project_id", "day_at", *DIMENSIONS, *MEASURES], days)
    )
