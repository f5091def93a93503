"""Every wait for the database has a limit, and what it ends in names the cause.

A test that waited for good would not end; none looks at how long it took.
"""

from __future__ import annotations

import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator

import psycopg
import pytest
from sqlalchemy import column, func, select, table, text

from lib.db import Database
from lib.db.blocks.limits import Limits
from lib.db.blocks.writer_lock import WriterLock
from lib.errors import DatabaseUnavailable
from tests.services import PostgresServer, running_postgres

sqlite_only = pytest.mark.parametrize("database_kind", ["sqlite"])
postgres_only = pytest.mark.parametrize("database_kind", ["postgresql"])
NEWEST = select(func.max(column("id")).label("id")).select_from(table("notes"))
ADD = text("INSERT INTO notes (id) VALUES ((SELECT coalesce(max(id), 0) + 1 FROM notes))")


def opened(url: str, limits: Limits) -> Database:
    database = Database(url, limits=limits)
    with database.write() as connection:
        connection.execute(text("CREATE TABLE IF NOT EXISTS notes (id integer PRIMARY KEY)"))
    return database


@pytest.fixture
def notes(database_url: str) -> Iterator[Database]:
    database = opened(database_url, Limits(pool=2, seconds=1))
    yield database
    database.close()


def write(database: Database, **options: float) -> None:
    with database.write(**options) as connection:
        connection.execute(ADD)


def read(database: Database) -> None:
    with database.read() as connection:
        connection.execute(NEWEST).scalar_one()


def look(database: Database) -> None:
    database.fast_read(NEWEST, {})


def refused(act: Callable[[], None], *causes: str) -> None:
    with pytest.raises(DatabaseUnavailable, match="Nothing was changed") as problem:
        act()
    assert problem.value.cause in causes


@postgres_only
@pytest.mark.parametrize("act", [write, read, look])
def test_a_table_that_another_program_has_locked_is_waited_for_only_so_long(
    notes: Database, database_url: str, act: Callable[[Database], None]
) -> None:
    with psycopg.connect(database_url.replace("+psycopg", "")) as other:
        other.execute("LOCK TABLE notes IN ACCESS EXCLUSIVE MODE")
        for _ in range(3):  # more than there are connections: none is lost
            refused(lambda: act(notes), "busy", "unreachable")
    act(notes)


@postgres_only
def test_a_transaction_may_have_a_shorter_limit_of_its_own(database_url: str) -> None:
    patient = opened(database_url, Limits(seconds=3600))
    with psycopg.connect(database_url.replace("+psycopg", "")) as other:
        other.execute("LOCK TABLE notes IN ACCESS EXCLUSIVE MODE")
        refused(lambda: write(patient, seconds=0.2), "busy")
    write(patient)
    patient.close()


@postgres_only
def test_a_statement_that_takes_too_long_is_ended_and_one_that_may_is_not(notes: Database) -> None:
    def sleep(seconds: float | None) -> None:
        with notes.read(seconds=seconds) as connection:
            connection.execute(text("SELECT pg_sleep(1.5)"))

    refused(lambda: sleep(None), "busy")
    sleep(0)


@postgres_only
def test_a_transaction_that_does_nothing_is_ended_by_the_server(notes: Database) -> None:
    def idle() -> None:
        with notes.write() as connection:
            connection.execute(ADD)
            time.sleep(1.5)
            connection.execute(ADD)

    refused(idle, "busy")
    write(notes)


@sqlite_only
@pytest.mark.parametrize("seconds", [None, 0.2])
def test_a_turn_that_another_process_does_not_give_back_is_waited_for_only_so_long(
    notes: Database, database_url: str, seconds: float | None
) -> None:
    other = WriterLock(notes._parts.side.path)  # type: ignore[attr-defined]
    turn = other.enter(60)
    options = {} if seconds is None else {"seconds": seconds}
    refused(lambda: write(notes, **options), "busy")
    turn.leave()
    write(notes)


@sqlite_only
def test_a_file_that_another_program_has_locked_is_waited_for_only_so_long(
    notes: Database, database_url: str
) -> None:
    other = sqlite3.connect(database_url.removeprefix("sqlite:///"), isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    refused(lambda: write(notes), "busy")
    refused(lambda: write(notes, seconds=0.1), "busy")
    other.execute("COMMIT")
    other.close()
    write(notes)


def test_a_connection_that_no_thread_gives_back_is_waited_for_only_so_long(database_url: str) -> None:
    notes = opened(database_url, Limits(pool=1, seconds=1))
    inside, done = threading.Event(), threading.Event()

    def keep() -> None:
        with notes.read():
            inside.set()
            done.wait()

    other = threading.Thread(target=keep)
    other.start()
    inside.wait()
    refused(lambda: read(notes), "pool")
    done.set()
    other.join()
    read(notes)
    notes.close()


def test_a_block_inside_a_block_does_not_wait_for_its_own_connection(database_url: str) -> None:
    notes = opened(database_url, Limits(pool=1, seconds=1))
    with notes.read(), notes.read():
        look(notes)
        write(notes)
    assert notes.in_use == 0
    notes.close()


@pytest.fixture(scope="module")
def own_server() -> Iterator[PostgresServer]:
    """A server that nobody else uses."""
    with running_postgres() as server:
        yield server


@postgres_only
@pytest.mark.parametrize("act", [write, read, look])
def test_a_server_that_is_stopped_is_given_up_and_serves_again_when_it_goes_on(
    own_server: PostgresServer, act: Callable[[Database], None], database_kind: str
) -> None:
    database = opened(own_server.url(own_server.create()), Limits(pool=2, seconds=1))
    act(database)
    with own_server.stopped():
        for _ in range(2):
            refused(lambda: act(database), "unreachable")
    act(database)
    database.close()


@postgres_only
def test_a_port_that_accepts_and_never_answers_is_given_up(database_kind: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        database = Database(f"postgresql+psycopg://qodex@127.0.0.1:{port}/name", limits=Limits(seconds=1))
        refused(lambda: read(database), "unreachable")
        refused(lambda: look(database), "unreachable")
        database.close()


@sqlite_only
def test_a_write_that_may_take_any_time_waits_for_a_foreign_writer_and_later_ones_have_their_limit_again(
    notes: Database,
) -> None:
    """SQLite's own 0 would be not to wait at all."""
    with notes.write(seconds=0) as connection:
        assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar_one() > 1_000_000
    with notes.write() as connection:
        assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar_one() == 1_000
