"""Each cause of a failure of the database is one sentence; what the driver said stays in the log, redacted."""

from __future__ import annotations

import logging
import sqlite3

import psycopg
import pytest
from sqlalchemy.exc import DBAPIError, OperationalError, StatementError

from lib.db.blocks.causes import PoolExhausted, translate
from lib.db.blocks.line import WaitedTooLong
from lib.db.blocks.writer_lock import WriterLockUnusable
from lib.errors import BadInput, DatabaseConflict, DatabaseUnavailable, RunUnknown

SQL = "INSERT INTO secrets VALUES (1)"


def of_postgresql(state: str, words: str = "told by the server") -> psycopg.Error:
    return psycopg.errors.lookup(state)(words)


CAUSES = [
    (psycopg.OperationalError("connection refused"), "unreachable"),
    (of_postgresql("57P01"), "unreachable"),
    (of_postgresql("08006"), "unreachable"),
    (psycopg.OperationalError("FATAL: sorry, too many clients already"), "too_many_connections"),
    (of_postgresql("53300"), "too_many_connections"),
    (psycopg.OperationalError("no more connections allowed (max_client_conn)"), "too_many_connections"),
    (psycopg.OperationalError('password authentication failed for user "x"'), "refused"),
    (psycopg.OperationalError('database "x" does not exist'), "refused"),
    (of_postgresql("55P03"), "busy"),
    (of_postgresql("57014"), "busy"),
    (of_postgresql("40P01"), "deadlock"),
    (of_postgresql("53100"), "full"),
    (of_postgresql("25006"), "read_only"),
    (of_postgresql("42P01", 'relation "usage_events" does not exist'), "schema"),
    (of_postgresql("42501"), "rights"),
    (of_postgresql("58P01", "could not load library plpgsql.so"), "damaged"),
    (of_postgresql("58030"), "disk"),
    (of_postgresql("22003"), "overflow"),
    (of_postgresql("42601"), "refused"),
    (of_postgresql("0A000"), "refused"),
    (sqlite3.OperationalError("database is locked"), "busy"),
    (sqlite3.OperationalError("database or disk is full"), "full"),
    (sqlite3.OperationalError("attempt to write a readonly database"), "read_only"),
    (sqlite3.OperationalError("disk I/O error"), "disk"),
    (sqlite3.OperationalError("no such table: runs"), "schema"),
    (sqlite3.OperationalError("unable to open database file"), "unreachable"),
    (sqlite3.DatabaseError("file is not a database"), "damaged"),
    (sqlite3.DatabaseError("database disk image is malformed"), "damaged"),
    (sqlite3.OperationalError("integer overflow"), "overflow"),
    (WaitedTooLong(), "busy"),
    (PoolExhausted(), "pool"),
    (WriterLockUnusable("database or disk is full"), "full"),
]


@pytest.mark.parametrize(
    ("problem", "cause"), CAUSES, ids=[f"{number}-{cause}" for number, (_, cause) in enumerate(CAUSES)]
)
@pytest.mark.parametrize("wrapped", [False, True])
def test_a_failure_is_the_sentence_of_its_cause_and_holds_no_sql(
    problem: Exception, cause: str, wrapped: bool, caplog: pytest.LogCaptureFixture
) -> None:
    met = DBAPIError.instance(SQL, None, problem, Exception) if wrapped else problem
    found = translate(met)
    assert isinstance(found, DatabaseUnavailable)
    assert found.cause == cause
    assert SQL not in str(found)
    assert "told by the server" not in str(found)
    assert " ".join(str(problem).split()) in caplog.text


def test_a_row_that_breaks_a_rule_is_a_conflict() -> None:
    for problem in (of_postgresql("23505"), sqlite3.IntegrityError("UNIQUE constraint failed")):
        assert isinstance(translate(problem), DatabaseConflict)


def test_a_character_that_the_database_cannot_keep_is_bad_input() -> None:
    assert isinstance(translate(psycopg.DataError("text fields cannot contain NUL (0x00) bytes")), BadInput)
    assert isinstance(
        translate(StatementError("", SQL, {}, UnicodeEncodeError("utf-8", "", 0, 1, ""))), BadInput
    )


def test_what_is_no_failure_of_the_database_stays_what_it_is() -> None:
    for problem in (RunUnknown(), ZeroDivisionError(), KeyboardInterrupt()):
        assert translate(problem) is None


def test_an_exception_from_outside_comes_out_without_the_sql_around_it() -> None:
    outside = TimeoutError("soft limit")
    assert translate(StatementError("soft limit", SQL, {}, outside)) is outside


def test_the_log_has_the_cause_whole_but_no_password_and_no_key(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    words = "cannot reach postgresql://me:planted-word@host/x with password=planted-word, key sk-test-planted-0001"
    translate(OperationalError(SQL, {}, psycopg.OperationalError(words)))
    assert "cannot reach" in caplog.text
    assert SQL in caplog.text
    assert "planted" not in caplog.text
