"""Both engines: the schema and how it comes about, transactions, files, forks, and failures in one sentence."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import column, create_engine, func, inspect, select, table, text

from lib.access import audit
from lib.access.audit import Tag
from lib.db import Database
from lib.db.blocks.limits import Limits
from lib.db.migrate import HEAD, current_revision, migrate
from lib.db.tables import audit_log, metadata, plans
from lib.errors import DatabaseConflict, DatabaseUnavailable
from lib.usage import rollup_totals
from tests.old_schemas import begin_at, differences
from tests.services import wait_until
from tests.vaults import ADMIN

ROOT = Path(__file__).resolve().parents[3]
sqlite_only = pytest.mark.parametrize("database_kind", ["sqlite"])
postgres_only = pytest.mark.parametrize("database_kind", ["postgresql"])
# Python 3.12 warns of forks with threads; here they are what is tested.
forks = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    opened = Database(database_url)
    yield opened
    opened.close()


@pytest.fixture
def notes(database: Database) -> Database:
    """A database with a table to write into."""
    with database.write() as connection:
        connection.execute(text("CREATE TABLE notes (id integer PRIMARY KEY, who text)"))
    return database


def add(database: Database, number: int, who: str = "", *, durable: bool = True) -> None:
    with database.write(durable=durable) as connection:
        connection.execute(text("INSERT INTO notes VALUES (:id, :who)"), {"id": number, "who": who})


def ids(database: Database) -> list[int]:
    with database.read() as connection:
        return [row.id for row in connection.execute(text("SELECT id FROM notes ORDER BY id"))]


def in_another_process(code: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        cwd=ROOT,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def in_a_fork(what: Callable[[], object]) -> str:
    """Fork, and return what ``what`` returns (or raises) in the child."""
    receive, send = os.pipe()
    child = os.fork()
    if not child:
        try:
            said = str(what())
        except BaseException as problem:  # noqa: BLE001 - the test reads it
            said = repr(problem)
        os.write(send, said.encode())
        os._exit(0)
    os.close(send)
    with os.fdopen(receive) as pipe:
        said = pipe.read()
    os.waitpid(child, 0)
    return said


# --- the schema ------------------------------------------------------------------------------------


def test_the_migrations_make_the_tables_that_the_code_knows(empty_database_url):
    database = Database(empty_database_url)
    migrate(database)
    with database.read() as connection:
        assert differences(connection) == []
    database.close()


def test_the_migrations_make_the_rules_that_the_code_knows(empty_database_url, database_kind, tmp_path):
    """Alembic does not compare CHECK constraints, so they are compared with freshly made tables."""
    database = Database(empty_database_url)
    migrate(database)
    fresh = create_engine(
        f"sqlite:///{tmp_path / 'fresh.db'}" if database_kind == "sqlite" else empty_database_url
    )
    with fresh.begin() as connection:
        if database_kind == "postgresql":
            connection.execute(text("CREATE SCHEMA fresh"))
            connection.execute(text("SET search_path TO fresh"))
        metadata.create_all(connection)
        expected = _rules(connection)
    with database.read() as connection:
        assert _rules(connection) == expected
    fresh.dispose()
    database.close()


def _rules(connection: Any) -> dict[str, set[tuple[str, str]]]:
    inspector = inspect(connection)
    return {
        table: {
            (str(rule["name"]), "".join(str(rule["sqltext"]).split()))
            for rule in inspector.get_check_constraints(table)
        }
        for table in metadata.tables
    }


@pytest.mark.parametrize("processes", [3])
def test_processes_that_start_at_once_on_an_empty_database_all_find_the_schema(empty_database_url, processes):
    code = (
        "import sys; from lib.db import Database; from lib.db.migrate import migrate; "
        "migrate(Database(sys.argv[1]))"
    )
    started = [in_another_process(code, empty_database_url) for _ in range(processes)]
    assert [(process.wait(), process.communicate()[0]) for process in started] == [(0, "")] * processes
    database = Database(empty_database_url)
    assert current_revision(database) == HEAD
    with database.read() as connection:
        assert len(connection.execute(text("SELECT id FROM deployment")).all()) == 1
    database.close()


def test_totals_of_days_are_made_from_the_days_of_the_schema_before(empty_database_url):
    """And go on with them from then on: what is added, changed and taken away."""
    database = Database(empty_database_url)
    with database.write() as connection:
        begin_at(connection, "0001", "p")
        _add_day(connection, status="ok", calls=3)
        _add_day(connection, status="error", calls=2)
        _add_day(connection, status="ok", calls=4, source="byok", model="other")

    migrate(database)

    with database.write() as connection:
        before = _totals_of_days(connection)
        _add_day(connection, status="broken", calls=1)
        connection.execute(text("UPDATE usage_daily SET calls = 5, cost_nano = 50 WHERE status = 'error'"))
        connection.execute(text("DELETE FROM usage_daily WHERE source = 'byok'"))
        after = _totals_of_days(connection)
        models = connection.execute(text("SELECT model FROM usage_models ORDER BY model")).scalars().all()
    database.close()
    assert before == [("byok", 4, 0, 0, 40), ("platform", 5, 2, 0, 50)]
    assert after == [("platform", 9, 5, 1, 90)]
    assert models == ["gpt-5", "other"]


def test_totals_of_hours_and_models_are_made_from_the_schema_before(empty_database_url):
    """And go on with their roll-ups from then on; a model is known from the hour on."""
    database = Database(empty_database_url)
    with database.write() as connection:
        begin_at(connection, "0002", "p")
        for add in (_add_hour, _add_day):
            add(connection, status="ok", calls=3)
            add(connection, status="error", calls=2)
            add(connection, status="ok", calls=4, source="byok", model="other")

    migrate(database)

    with database.write() as connection:
        before = _totals_of_hours(connection), _totals_of_models(connection)
        for add in (_add_hour, _add_day):
            add(connection, status="broken", calls=1)
            add(connection, status="ok", calls=1, model="third")
        for table in ("usage_hourly", "usage_daily"):
            connection.execute(text(f"UPDATE {table} SET calls = 5, cost_nano = 50 WHERE status = 'error'"))
            connection.execute(text(f"DELETE FROM {table} WHERE source = 'byok'"))
        after = _totals_of_hours(connection), _totals_of_models(connection)
        kept = list(rollup_totals.compared(connection, "p"))
    database.close()
    assert before == (
        [("byok", 4, 0, 40), ("platform", 5, 2, 50)],
        [("byok", "other", 4, 0, 40), ("platform", "gpt-5", 5, 2, 50)],
    )
    assert after == (
        [("platform", 10, 5, 100)],
        [("platform", "gpt-5", 9, 5, 90), ("platform", "third", 1, 0, 10)],
    )
    assert all(stored == summed for _, stored, summed in kept)


def _add_hour(connection: Any, **row: Any) -> None:
    _add(connection, "usage_hourly", row)


def _add_day(connection: Any, **row: Any) -> None:
    _add(connection, "usage_daily", row)


def _add(connection: Any, table: str, row: dict[str, Any]) -> None:
    row = {"source": "platform", "model": "gpt-5", "cost": 10 * row["calls"]} | row
    connection.execute(
        text(
            f"INSERT INTO {table} VALUES"
            " ('p', 86400000000, :source, 'openai', :model, 'scan', :status, :calls, 0, :cost, 1, 1, 1, 1)"
        ),
        row,
    )


def _totals_of_hours(connection: Any) -> list[tuple[Any, ...]]:
    columns = "source, calls, error_calls, cost_nano"
    return list(map(tuple, connection.execute(text(f"SELECT {columns} FROM usage_hourly_totals ORDER BY 1"))))


def _totals_of_models(connection: Any) -> list[tuple[Any, ...]]:
    columns = "source, model, calls, error_calls, cost_nano"
    return list(
        map(tuple, connection.execute(text(f"SELECT {columns} FROM usage_daily_models ORDER BY 1, 2")))
    )


def _totals_of_days(connection: Any) -> list[tuple[Any, ...]]:
    columns = "source, calls, error_calls, broken_calls, cost_nano"
    return [
        tuple(row)
        for row in connection.execute(text(f"SELECT {columns} FROM usage_daily_totals ORDER BY source"))
    ]


def test_migrating_again_changes_nothing(database):
    with database.read() as connection:
        before = connection.execute(text("SELECT id FROM deployment")).scalar()
    migrate(database)
    with database.read() as connection:
        assert connection.execute(text("SELECT id FROM deployment")).scalar() == before


def test_a_database_of_a_newer_version_is_refused_and_left_as_it_is(database):
    with database.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(
        DatabaseUnavailable, match=r"newer version of Qodex \(schema 9999\). Update this program"
    ):
        migrate(database)
    assert current_revision(database) == "9999"


def test_a_database_of_another_program_is_refused_and_left_as_it_is(empty_database_url):
    database = Database(empty_database_url)
    with database.write() as connection:
        connection.execute(text("CREATE TABLE projects (id integer)"))
    with pytest.raises(DatabaseUnavailable, match="tables of another program"):
        migrate(database)
    with database.read() as connection:
        assert inspect(connection).get_table_names() == ["projects"]
    database.close()


def test_a_migration_that_fails_in_the_middle_leaves_nothing(empty_database_url):
    database = Database(empty_database_url)
    with database.write() as connection:  # only the name of an index is taken, so it fails late
        connection.execute(text("CREATE TABLE other (id integer)"))
        connection.execute(text("CREATE INDEX ix_run_log_run ON other (id)"))
    with pytest.raises((DatabaseConflict, DatabaseUnavailable)):
        migrate(database)
    with database.read() as connection:
        assert inspect(connection).get_table_names() == ["other"]
    database.close()


def test_a_step_that_fails_leaves_the_steps_before_it_and_goes_on_from_there(empty_database_url):
    database = Database(empty_database_url)
    with database.write() as connection:
        begin_at(connection, "0002", "p")
        connection.execute(text("CREATE TABLE other (id integer)"))
        connection.execute(text("CREATE INDEX ix_usage_events_request ON other (id)"))
    with pytest.raises(DatabaseUnavailable):
        migrate(database)
    assert current_revision(database) == "0003"
    with database.write() as connection:
        connection.execute(text("DROP TABLE other"))
    migrate(database)
    assert current_revision(database) == HEAD
    database.close()


@postgres_only
@pytest.mark.parametrize(
    ("table", "schema"), [("usage_events", "0005"), ("usage_hourly", "0001"), ("usage_daily", "0001")]
)
def test_an_upgrade_lets_a_call_in_progress_go_first_and_tries_again(
    empty_database_url, table, schema, monkeypatch, caplog
):
    """As a settlement that holds what a step wants, and then wants what the step may hold: one of them gives way."""
    monkeypatch.setattr("lib.db.migrations.online._LOCK_SECONDS", 0.1)
    caplog.set_level("INFO")
    database = Database(empty_database_url)
    with database.write() as connection:
        begin_at(connection, schema, "p")
    with psycopg.connect(empty_database_url.replace("+psycopg", "")) as call:
        call.execute(f"LOCK TABLE {table} IN ROW EXCLUSIVE MODE")
        upgrade = threading.Thread(target=migrate, args=(database,))
        upgrade.start()
        assert wait_until(lambda: "tries again" in caplog.text, 600)
        call.execute("LOCK TABLE usage_events, usage_hourly, usage_daily, runs IN ROW EXCLUSIVE MODE")
    upgrade.join()
    assert current_revision(database) == HEAD
    database.close()


# --- the audit log ---------------------------------------------------------------------------------


@pytest.fixture
def audited(database: Database) -> Database:
    for _ in range(2):
        with database.write() as connection:
            audit.record(connection, 1, ADMIN, Tag.PLAN_SET, after={"plan": "Team"})
    return database


TAMPERINGS = {
    "change": "UPDATE audit_log SET actor = 'somebody else'",
    "change one": "UPDATE audit_log SET at = 0 WHERE id = 1",
    "delete": "DELETE FROM audit_log",
    "delete one": "DELETE FROM audit_log WHERE id = 1",
    "write over": "INSERT INTO audit_log (id, at, actor, origin, action) VALUES (1, 0, 'x', 'x', 'x') "
    "ON CONFLICT (id) DO UPDATE SET actor = 'x'",
}
ENGINE_TAMPERINGS = {
    "sqlite": "REPLACE INTO audit_log (id, at, actor, origin, action) VALUES (1, 0, 'x', 'x', 'x')",
    "postgresql": "TRUNCATE audit_log",
}


@pytest.mark.parametrize("how", [*TAMPERINGS, "the engine's own way"])
def test_a_row_of_the_audit_log_stays_as_it_was_written(audited, database_kind, how):
    statement = TAMPERINGS.get(how) or ENGINE_TAMPERINGS[database_kind]
    with pytest.raises((DatabaseConflict, DatabaseUnavailable)), audited.write() as connection:
        connection.execute(text(statement))
    with audited.read() as connection:
        assert connection.execute(select(audit_log.c.id, audit_log.c.at, audit_log.c.actor)).all() == [
            (1, 1, "local"),
            (2, 1, "local"),
        ]


# --- transactions ----------------------------------------------------------------------------------


def test_an_exception_undoes_all_of_its_block(notes):
    def fail() -> None:
        with notes.write() as connection:
            connection.execute(text("INSERT INTO notes VALUES (1, '')"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert ids(notes) == []
    add(notes, 2)  # and the next writer is not held up


def test_nobody_sees_what_has_not_committed_and_everybody_what_has(notes):
    with notes.write() as connection:
        connection.execute(text("INSERT INTO notes VALUES (1, '')"))
        assert ids(notes) == []
    assert ids(notes) == [1]


def test_all_reads_of_one_block_see_the_same_moment(notes):
    count = text("SELECT count(*) FROM notes")
    with notes.read() as connection:
        assert connection.execute(count).scalar() == 0
        add(notes, 1)
        assert connection.execute(count).scalar() == 0
    assert ids(notes) == [1]


def test_what_a_read_writes_does_not_stay(notes):
    try:
        with notes.read() as connection:
            connection.execute(text("INSERT INTO notes VALUES (1, '')"))
    except (DatabaseConflict, DatabaseUnavailable):
        pass  # PostgreSQL refuses it outright
    assert ids(notes) == []


def test_a_broken_rule_of_the_tables_is_no_fault_of_the_database(database):
    with pytest.raises(DatabaseConflict), database.write() as connection:
        connection.execute(
            plans.insert(), {"name": "x", "cap_5h_nano": -1, "cap_7d_nano": 0, "default_output_limit": 1}
        )


def test_a_foreign_key_is_kept(database):
    with pytest.raises(DatabaseConflict), database.write() as connection:
        connection.execute(text("INSERT INTO accounts (project_id) VALUES ('nobody')"))


@sqlite_only
def test_a_write_inside_a_write_is_an_error_and_not_a_wait_for_ever(notes):
    with pytest.raises(RuntimeError, match="inside a write"), notes.write(), notes.write():
        pass
    add(notes, 1)


def test_a_durable_write_waits_for_the_disk_and_a_relaxed_one_does_not(notes, database_kind):
    asked = text("PRAGMA synchronous" if database_kind == "sqlite" else "SHOW synchronous_commit")
    found = []
    for durable in (False, True, False, True):
        with notes.write(durable=durable) as connection:
            found.append(str(connection.execute(asked).scalar()))
    assert found == (["1", "2"] * 2 if database_kind == "sqlite" else [found[0], found[1]] * 2)
    if (
        database_kind == "postgresql"
    ):  # the server of these tests does not wait for its disk, but we do not say so
        assert found[0] == "off"


@pytest.mark.parametrize("durable", [True, False])
def test_what_has_committed_survives_the_death_of_its_process(notes, database_url, durable):
    code = (
        "import os, signal, sys; from sqlalchemy import text; from lib.db import Database\n"
        f"with Database(sys.argv[1]).write(durable={durable}) as connection:\n"
        "    connection.execute(text(\"INSERT INTO notes VALUES (1, '')\"))\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    killed = in_another_process(code, database_url)
    killed.communicate()
    assert killed.returncode == -9
    assert ids(notes) == [1]


def test_what_has_not_committed_dies_with_its_process_and_holds_nobody_up(notes, database_url):
    code = (
        "import os, signal, sys; from sqlalchemy import text; from lib.db import Database\n"
        "with Database(sys.argv[1]).write() as connection:\n"
        "    connection.execute(text(\"INSERT INTO notes VALUES (1, '')\"))\n"
        "    os.kill(os.getpid(), signal.SIGKILL)"
    )
    in_another_process(code, database_url).communicate()
    add(notes, 2)
    assert ids(notes) == [2]


# --- one look --------------------------------------------------------------------------------------

NEWEST = select(func.max(column("id")).label("id")).select_from(table("notes"))


def test_a_look_sees_what_committed_before_it_began(notes, database_url):
    other = Database(database_url)
    for number in range(1, 50):
        add(other, number)
        assert notes.fast_read(NEWEST, {}).id == number
    other.close()


def test_many_threads_that_look_leave_connections_for_the_others(notes):
    """Each of these threads stays alive; were a connection kept for each, the pool would be empty."""
    looked, stay = threading.Barrier(101), threading.Event()

    def look() -> None:
        notes.fast_read(NEWEST, {})
        looked.wait()
        stay.wait()

    threads = [threading.Thread(target=look) for _ in range(100)]
    for thread in threads:
        thread.start()
    looked.wait()
    with notes.read(), notes.read(), notes.write() as connection:
        connection.execute(text("INSERT INTO notes VALUES (1, '')"))
    assert notes.fast_read(NEWEST, {}).id == 1
    stay.set()
    for thread in threads:
        thread.join()


@postgres_only
def test_a_look_goes_on_after_the_server_ended_its_connections(notes):
    start = threading.Barrier(4)
    threads = [threading.Thread(target=lambda: (start.wait(), notes.fast_read(NEWEST, {}))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    admin = create_engine(notes.engine.url)
    with admin.begin() as connection:
        connection.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        )
    admin.dispose()
    assert notes.fast_read(NEWEST, {}).id is None
    add(notes, 1)
    assert ids(notes) == [1]


# --- writers wait in a queue -----------------------------------------------------------------------

_WRITER = """
import sys
from sqlalchemy import text
from lib.db import Database
database = Database(sys.argv[1])
add = text("INSERT INTO notes (who) VALUES (:who)")
print("ready", flush=True)
sys.stdin.readline()
for _ in range(150):
    with database.write(durable=False) as connection:
        connection.execute(add, {"who": sys.argv[2]})
"""


@sqlite_only
def test_several_processes_write_at_once_without_losing_anything(notes, database_url):
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", _WRITER, database_url, name],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for name in "abc"
    ]
    for writer in writers:
        writer.stdout.readline()
    for writer in writers:
        writer.stdin.close()
    assert [writer.wait() for writer in writers] == [0] * 3
    for writer in writers:
        writer.stdout.close()
    with notes.read() as connection:
        written = "".join(connection.execute(text("SELECT who FROM notes")).scalars())
    assert sorted(written) == sorted("abc" * 150)


@sqlite_only
def test_forty_threads_write_without_losing_anything(notes):
    def write(start: int) -> None:
        for number in range(start, start + 5):
            add(notes, number, durable=False)

    threads = [threading.Thread(target=write, args=(5 * start,)) for start in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ids(notes) == list(range(200))


# --- forks -----------------------------------------------------------------------------------------


@forks
def test_a_child_reads_and_writes_and_so_does_its_parent_after_it(notes):
    add(notes, 1)
    notes.fast_read(NEWEST, {})

    def child() -> list[int]:
        assert notes.fast_read(NEWEST, {}).id == 1
        add(notes, 2)
        return ids(notes)

    assert in_a_fork(child) == "[1, 2]"
    add(notes, 3)
    assert notes.fast_read(NEWEST, {}).id == 3
    assert ids(notes) == [1, 2, 3]


@forks
def test_a_child_that_is_born_in_the_middle_of_other_threads_work_can_write(notes):
    """SQLite notes its locks in memory: a child born under another thread's lock would wait for ever."""
    done, busy = threading.Event(), threading.Barrier(5)

    def work(start: int) -> None:
        for number in range(start, start + 100_000):
            add(notes, number, durable=False)
            notes.fast_read(NEWEST, {})
            ids(notes)
            if number == start:
                busy.wait()
            if done.is_set():
                break

    threads = [threading.Thread(target=work, args=(1_000_000 * worker,)) for worker in range(1, 5)]
    for thread in threads:
        thread.start()
    busy.wait()
    said = [in_a_fork(lambda number=number: add(notes, -number)) for number in range(1, 11)]
    done.set()
    for thread in threads:
        thread.join()
    assert said == ["None"] * 10
    assert ids(notes)[:10] == list(range(-10, 0))


@forks
@sqlite_only
def test_a_child_of_a_thread_in_a_transaction_is_born_without_delay(notes):
    with notes.read() as connection:
        assert connection.execute(NEWEST).scalar() is None
        assert in_a_fork(lambda: "born") == "born"
        assert connection.execute(NEWEST).scalar() is None


@forks
@sqlite_only
def test_a_child_inherits_no_connection(notes, database_url):
    """A child that outlives its parent would otherwise read without the locks that others respect."""
    notes.fast_read(NEWEST, {})
    path = os.path.realpath(database_url.removeprefix("sqlite:///"))

    def inherited() -> list[str]:
        found = [os.path.realpath(name) for name in Path("/proc/self/fd").iterdir()]
        return [name for name in found if name.startswith(path)]

    assert in_a_fork(inherited) == "[]"


# --- files -----------------------------------------------------------------------------------------


def test_every_file_of_the_database_is_for_its_owner_alone_whatever_the_umask(tmp_path):
    before = os.umask(0)
    try:
        database = Database(f"sqlite:///{tmp_path / 'new' / 'qodex.db'}")
        migrate(database)
        with database.read():
            found = {
                path.name: oct(stat.S_IMODE(path.stat().st_mode)) for path in (tmp_path / "new").iterdir()
            }
    finally:
        os.umask(before)
    assert found == dict.fromkeys(
        ["qodex.db", "qodex.db-wal", "qodex.db-shm", "qodex.db-next", "qodex.db-queue"], "0o600"
    )
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o700
    database.close()


# --- failures --------------------------------------------------------------------------------------


def refused(database: Database, words: str) -> None:
    with pytest.raises(DatabaseUnavailable, match=words) as problem:
        add(database, 99)
    assert "\n" not in str(problem.value)


@pytest.mark.parametrize("content", [b"no database" * 500, b"SQLite format 3\0" + b"\xff" * 4096])
def test_a_file_that_is_no_database_is_one_sentence_at_start(tmp_path, content):
    path = tmp_path / "qodex.db"
    path.write_bytes(content)
    with pytest.raises(DatabaseUnavailable, match="Restore it from a backup"):
        migrate(Database(f"sqlite:///{path}"))
    assert path.read_bytes() == content


@sqlite_only
def test_a_damaged_page_is_one_sentence(notes, database_url, tmp_path):
    for number in range(2000):
        if number % 500 == 0:
            add(notes, number, "x" * 200)
    notes.close()
    copy = tmp_path / "copy.db"
    with sqlite3.connect(database_url.removeprefix("sqlite:///")) as source:
        page = source.execute("SELECT rootpage FROM sqlite_master WHERE name = 'notes'").fetchone()[0]
        source.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    source.close()
    shutil.copy(database_url.removeprefix("sqlite:///"), copy)
    with copy.open("r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(b"\xff" * 4096)
    damaged = Database(f"sqlite:///{copy}")
    refused(damaged, "damaged. Restore it from a backup")
    damaged.close()


def _add_all(database: Database, rows: list[dict[str, Any]]) -> None:
    with database.write() as connection:
        for row in rows:
            connection.execute(text("INSERT INTO notes VALUES (:id, :who)"), row)


@sqlite_only
def test_a_full_disk_is_one_sentence_and_nothing_is_half_done(notes):
    with notes.write() as connection:
        pages = connection.execute(text("PRAGMA page_count")).scalar_one()
        connection.execute(text(f"PRAGMA max_page_count = {pages + 5}"))
    many = [{"id": number, "who": "x" * 3000} for number in range(1000)]
    with pytest.raises(DatabaseUnavailable, match=r"disk of the database is full. Nothing was changed"):
        _add_all(notes, many)
    assert ids(notes) == []


@sqlite_only
def test_a_database_that_another_program_holds_is_one_sentence(notes, database_url):
    database = Database(database_url, limits=Limits(seconds=0.01))
    other = sqlite3.connect(database_url.removeprefix("sqlite:///"), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    refused(database, "The database is busy: .* Nothing was changed")
    other.rollback()
    other.close()
    add(database, 1)
    assert ids(database) == [1]
    database.close()


@sqlite_only
def test_a_database_that_can_only_be_read_is_one_sentence_and_can_be_read(notes, database_url):
    add(notes, 1)

    @event_on(notes)
    def only_read(connection: Any) -> None:
        connection.execute("PRAGMA query_only=ON")

    refused(notes, "can only be read. Nothing was changed")
    assert ids(notes) == [1]


def event_on(database: Database) -> Callable[[Callable[[Any], None]], None]:
    """Do something to each new connection from now on."""
    from sqlalchemy import event

    def register(what: Callable[[Any], None]) -> None:
        database.close()
        event.listen(database.engine, "connect", lambda connection, _record: what(connection))

    return register


@sqlite_only
@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_can_only_be_read_is_one_sentence(database_url):
    folder = Path(database_url.removeprefix("sqlite:///")).parent
    folder.chmod(0o500)
    try:
        with pytest.raises(DatabaseUnavailable, match="can only be read"):
            Database(database_url)
    finally:
        folder.chmod(0o700)


def test_a_queue_that_cannot_be_made_is_one_sentence(tmp_path):
    (tmp_path / "qodex.db-queue").mkdir()
    with pytest.raises(DatabaseUnavailable, match="Nothing was changed"):
        Database(f"sqlite:///{tmp_path / 'qodex.db'}")


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DatabaseUnavailable, match=r"cannot be made .* Check DATABASE_URL"):
        Database(f"sqlite:///{tmp_path / 'file' / 'qodex.db'}")


def test_a_server_that_is_not_there_is_one_sentence(tmp_path):
    database = Database(f"postgresql+psycopg://user:planted@/name?host={tmp_path}")
    with pytest.raises(DatabaseUnavailable, match=r"did not answer. Nothing was changed") as problem:
        migrate(database)
    assert "planted" not in str(problem.value)


@pytest.mark.parametrize(
    "url", ["postgresql+psycopg://user:planted@host:port/name", "postgresql+psycopg://[::1/planted"]
)
def test_a_url_that_cannot_be_read_is_one_sentence_without_its_password(url):
    with pytest.raises(DatabaseUnavailable, match="DATABASE_URL cannot be read") as problem:
        Database(url)
    assert "planted" not in str(problem.value)
    assert problem.value.__cause__ is problem.value.__context__ is None


@postgres_only
def test_a_database_that_can_only_be_read_is_one_sentence_on_a_server_too(notes):
    add(notes, 1)
    with notes.engine.begin() as connection:
        name = connection.execute(text("SELECT current_database()")).scalar()
        connection.execute(text(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on'))
    notes.close()
    refused(notes, "can only be read. Nothing was changed")
    assert ids(notes) == [1]
