"""Upgrades from every earlier schema, with a history in it, while workers of that version go on making calls."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import inspect, text

from lib.db import Database
from lib.db import migrate as steps
from lib.db.migrate import HEAD, current_revision, migrate
from lib.db.migrations.online import Online
from lib.platform import Platform
from lib.secret import Secret
from lib.settings import Settings
from lib.usage import rollups
from tests.old_calls import SCHEMAS, OldWorker
from tests.old_schemas import add_history, begin_at, differences
from tests.services import ROOT, wait_until
from tests.upstream import PLATFORM_KEY, ScriptedUpstream
from tests.whole import whole_or

EVENTS = 100_000
EARLIER = [schema for schema in SCHEMAS if schema != HEAD]
_MANY = {"0001", "0004", "0013", EARLIER[-1]}
"""From these each step is taken with so many calls; with ``--whole`` from each schema."""
WORKERS = {"r-shop-1": "shop", "r-shop-2": "shop", "r-till-1": "till", "r-till-2": "till"}
CALLS_BEFORE, CALLS_AFTER = 3, 10
postgres_only = pytest.mark.parametrize("database_kind", ["postgresql"])


def history_of(schema: str) -> int:
    """How many calls are there: with many, the workers make theirs in the middle of each step."""
    return whole_or(EVENTS if schema in _MANY else EVENTS // 50, EVENTS)


def old_database(url: str, schema: str, events: int) -> Database:
    """A database of that schema: the project ``shop`` with a history, ``till`` without, and a run for each worker."""
    database = Database(url)
    with database.write(seconds=0) as connection:
        begin_at(connection, schema, "shop", "till")
        add_history(connection, "shop", events)
        add_history(connection, "till", 0)
        for run, project in WORKERS.items():
            connection.execute(
                text(
                    "INSERT INTO runs (project_id, run_id, kind, status, started_at, started_by, lease_until)"
                    " VALUES (:project, :run, 'scan', 'running', 1, 'worker', 9000000000000000)"
                ),
                {"project": project, "run": run},
            )
    return database


class OldWorkers:
    """The processes, and what the provider has seen of each."""

    def __init__(self, url: str, schema: str, folder: Path, runs: Sequence[str]) -> None:
        self._folder, self._runs = folder, runs
        self._processes = [self._start(url, schema, run) for run in runs]

    def _start(self, url: str, schema: str, run: str) -> subprocess.Popen[bytes]:
        words = [sys.executable, "-m", "tests.old_calls", url, schema, WORKERS[run], run, str(self._folder)]
        with self._complaints(run).open("wb") as complaints:
            return subprocess.Popen(words, cwd=ROOT, stderr=complaints)

    def _complaints(self, run: str) -> Path:
        return self._folder / f"{run}.err"

    def seen(self) -> dict[str, list[str]]:
        """The ids of calls, by run."""
        files = {run: self._folder / run for run in self._runs}
        return {run: file.read_text().split() if file.exists() else [] for run, file in files.items()}

    def go_on(self, calls: int) -> None:
        """Wait until each has made so many more calls."""
        before = {run: len(ids) for run, ids in self.seen().items()}

        def done() -> bool:
            if any(process.poll() is not None for process in self._processes):
                return True
            return all(len(ids) >= before[run] + calls for run, ids in self.seen().items())

        assert wait_until(done, 600)

    def stop(self) -> list[str]:
        """Let each end its call; returns what they complained of."""
        (self._folder / "stop").touch()
        for process in self._processes:
            process.wait(600)
        return [self._complaints(run).read_text() for run in self._runs]


@contextmanager
def old_workers(url: str, schema: str, folder: Path) -> Iterator[OldWorkers]:
    """Two of each project where there are many calls, else one."""
    runs = list(WORKERS) if history_of(schema) == EVENTS else ["r-shop-1", "r-till-1"]
    workers = OldWorkers(url, schema, folder, runs)
    try:
        yield workers
    finally:
        workers.stop()


@pytest.mark.parametrize("schema", EARLIER)
def test_no_call_is_lost_doubled_or_stuck_while_the_schema_is_upgraded_under_workers(
    empty_database_url: str, schema: str, tmp_path: Path, upstream: ScriptedUpstream
) -> None:
    """They go on afterwards, beside calls of this version."""
    old_database(empty_database_url, schema, history_of(schema)).close()
    settings = Settings(
        database_url=empty_database_url,
        master_keys=Secret(base64.b64encode(os.urandom(32)).decode()),
        openai_api_key=Secret(PLATFORM_KEY),
        openai_base_url=upstream.base_url,
    )
    with old_workers(empty_database_url, schema, tmp_path) as workers:
        workers.go_on(CALLS_BEFORE)
        platform = Platform(settings)
        # Where there were seals already, the projects of this test have none.
        platform.unsealed.seal(platform.unsealed.find(actor=platform.actor), actor=platform.actor)
        for slug in ("shop", "till"):
            with platform.run(slug) as run:
                run.openai.responses.create(model="gpt-5-mini", input="Hi")
        workers.go_on(CALLS_AFTER)
        complaints = workers.stop()
    assert not any(complaints)
    seen = {event for ids in workers.seen().values() for event in ids}
    assert_all_agrees(platform, seen, upstream)
    platform.close()


def assert_all_agrees(platform: Platform, seen: set[str], upstream: ScriptedUpstream) -> None:
    """Each call has one row, accounts and roll-ups are the sums of the rows, and the schema is the newest, whole."""
    with platform.database.read() as connection:
        rows = set(_all(connection, "SELECT event_id FROM usage_events WHERE event_id NOT LIKE 'seed-%'"))
        assert seen <= rows
        assert len(rows - seen) == len(upstream.requests)
        assert _all(connection, "SELECT count(*) FROM open_calls") == [0]
        assert _all(connection, _WRONG_TOTALS) == []
        assert _all(connection, _WRONG_ACCOUNTS) == []
        assert _all(connection, _WRONG_RUNS) == []
        assert differences(connection) == []
        if not platform.database.is_sqlite:
            assert _all(connection, "SELECT conname FROM pg_constraint WHERE NOT convalidated") == []
            assert _all(connection, "SELECT indexrelid::regclass FROM pg_index WHERE NOT indisvalid") == []
    assert list(rollups.verify(platform.database)) == []


def _all(connection: Any, statement: str) -> list[Any]:
    return list(connection.execute(text(statement)).scalars())


_WRONG_TOTALS = """
SELECT event_id FROM (
    SELECT event_id, sequence, counted_after_nano,
        row_number() OVER (PARTITION BY project_id ORDER BY sequence) AS place,
        sum(cost_nano) OVER (PARTITION BY project_id ORDER BY sequence) AS total
    FROM usage_events WHERE sequence IS NOT NULL
) counted WHERE sequence <> place OR counted_after_nano <> total
"""
_WRONG_ACCOUNTS = """
SELECT project_id FROM accounts WHERE reserved_nano <> 0 OR unknown_nano <> 0
OR counted_nano <> (SELECT coalesce(sum(cost_nano), 0) FROM usage_events e WHERE e.project_id = accounts.project_id)
"""
_WRONG_RUNS = """
SELECT run_id FROM runs WHERE calls <>
(SELECT count(*) FROM usage_events e WHERE e.project_id = runs.project_id AND e.run_id = runs.run_id)
"""


STEPS = {
    "0003": "v0004_search_by_id",
    "0005": "v0006_what_changes_a_price",
    "0007": "v0008_seals",
    "0010": "v0011_alerts",
}


# --- PostgreSQL: who waits for whom ------------------------------------------------------------------


def psycopg_connection(url: str) -> psycopg.Connection:
    return psycopg.connect(url.replace("+psycopg", ""))


@contextmanager
def upgrading(database: Database) -> Iterator[threading.Thread]:
    """The upgrade in a thread; at the end of the block it has to come to its own."""
    failed: list[BaseException] = []

    def run() -> None:
        try:
            migrate(database)
        except BaseException as problem:  # noqa: BLE001 - the test shows it
            failed.append(problem)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield thread
    finally:
        thread.join(600)
    assert (failed, thread.is_alive(), current_revision(database)) == ([], False, HEAD)
    database.close()


def is_waiting(url: str, statement: str) -> bool:
    """Whether somebody waits in a statement that begins so."""
    waiting = (
        "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND ltrim(query, E' \\n') LIKE %s"
    )
    with psycopg_connection(url) as connection:
        return connection.execute(waiting, (f"{statement}%",)).fetchone() is not None


def one_call(url: str, schema: str, folder: Path) -> None:
    """A whole call of a worker of that schema. It fails where it has to wait."""
    with (
        closing(OldWorker(url, schema, "shop", "r-shop-1", seconds=1)) as worker,
        (folder / "calls").open("a") as seen,
    ):
        worker.call(seen)


@postgres_only
def test_calls_go_on_while_an_index_is_built(empty_database_url: str, tmp_path: Path) -> None:
    database = old_database(empty_database_url, "0003", 10)
    with psycopg_connection(empty_database_url) as reader:
        # The build has to wait until this has ended: it would need the rows that this sees.
        reader.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        reader.execute("SELECT count(*) FROM plans")
        with upgrading(database):
            assert wait_until(lambda: is_waiting(empty_database_url, "CREATE INDEX CONCURRENTLY"), 600)
            one_call(empty_database_url, "0003", tmp_path)
            reader.rollback()


@postgres_only
def test_calls_go_on_while_old_rows_are_filled_in(empty_database_url: str, tmp_path: Path) -> None:
    database = old_database(empty_database_url, "0005", 10)
    Online(database).briefly(import_module(f"lib.db.migrations.versions.{STEPS['0005']}").add_columns)
    with psycopg_connection(empty_database_url) as other:
        other.execute("SELECT 1 FROM usage_events WHERE event_id = 'seed-10' FOR UPDATE")
        with upgrading(database):
            assert wait_until(lambda: is_waiting(empty_database_url, "UPDATE usage_events"), 600)
            one_call(empty_database_url, "0005", tmp_path)
            other.rollback()


@postgres_only
def test_who_retires_a_master_key_does_not_wait_for_the_upgrade_that_waits_for_them(
    empty_database_url: str, master_key: str
) -> None:
    database = old_database(empty_database_url, "0007", 10)
    settings = Settings(database_url=empty_database_url, master_keys=Secret(master_key))
    with psycopg_connection(empty_database_url) as retiring:
        retiring.execute("SELECT one FROM deployment FOR UPDATE")
        start = threading.Thread(target=lambda: Platform(settings).close())
        start.start()
        assert wait_until(lambda: is_waiting(empty_database_url, "SELECT deployment.id"), 600)
        retiring.execute("SET LOCAL lock_timeout = '1s'")
        assert retiring.execute("SELECT count(*) FROM projects").fetchone() == (2,)
        retiring.execute("SELECT slug FROM projects FOR NO KEY UPDATE")
        retiring.rollback()
    start.join(600)
    assert current_revision(database) == HEAD
    database.close()


@postgres_only
@pytest.mark.parametrize("before", STEPS)
def test_an_upgrade_that_was_killed_between_its_transactions_goes_on(
    empty_database_url: str, before: str
) -> None:
    """All that is done ahead of the step is there, and the schema still has its old number."""
    database = old_database(empty_database_url, before, 100)
    import_module(f"lib.db.migrations.versions.{STEPS[before]}").ahead(Online(database))
    assert current_revision(database) == before
    migrate(database)
    with database.read() as connection:
        assert differences(connection) == []
        written = _all(connection, "SELECT cache_write_tokens FROM usage_events WHERE model = 'gpt-5.6-sol'")
    assert written == [3_000 if before < "0006" else None] * 10
    database.close()


_LOCKS = """
SELECT relation::regclass::text, mode = 'AccessExclusiveLock' FROM pg_locks JOIN pg_class ON pg_class.oid = relation
WHERE pid = pg_backend_pid() AND relkind = 'r'
AND mode IN ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
"""
# New tables refer to projects, which calls only read. Calls take roll-ups in this order: the hour, then the day.
_IN_THE_ORDER_OF_CALLS = {"projects", "usage_hourly", "usage_daily"}


@postgres_only
def test_a_transaction_of_an_upgrade_locks_one_table_or_some_in_the_order_of_calls(
    empty_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who holds one and waits for another may wait for a call that waits for the first."""
    upgrade_in_one_transaction, briefly = steps._upgrade, Online.briefly

    def check(connection: Any, there: list[str]) -> None:
        used = set(there) - {"usage_events_former"}  # nobody does any more
        held = {name: alone for name, alone in connection.execute(text(_LOCKS)) if name in used}
        alone = {name for name, is_alone in held.items() if is_alone}
        assert len(held) <= 1 or (not alone and set(held) <= _IN_THE_ORDER_OF_CALLS)

    def upgrade(connection: Any, *more: Any) -> None:
        there = inspect(connection).get_table_names()
        upgrade_in_one_transaction(connection, *more)
        check(connection, there)

    def watched(online: Online, act: Any) -> Any:
        def acting(connection: Any) -> Any:
            there = inspect(connection).get_table_names()
            done = act(connection)
            check(connection, there)
            return done

        return briefly(online, acting)

    monkeypatch.setattr(steps, "_upgrade", upgrade)
    monkeypatch.setattr(Online, "briefly", watched)
    database = Database(empty_database_url)
    migrate(database)
    database.close()


@postgres_only
def test_what_an_interrupted_build_left_of_an_index_is_built_anew(empty_database_url: str) -> None:
    database = old_database(empty_database_url, "0003", 10)
    with database.write() as connection:
        connection.execute(
            text("CREATE INDEX ix_usage_events_request ON usage_events (project_id, upstream_request_id)")
        )
        connection.execute(
            text(
                "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'ix_usage_events_request'::regclass"
            )
        )
    migrate(database)
    with database.read() as connection:
        assert _all(connection, "SELECT indexrelid::regclass FROM pg_index WHERE NOT indisvalid") == []
        assert differences(connection) == []
    database.close()
