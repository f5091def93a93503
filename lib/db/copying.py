"""PostgreSQL's COPY: the rows of a SELECT as text that the server wrote, the fastest way out of it."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import suppress
from typing import Any

from psycopg import ClientCursor, Error, generators
from psycopg.errors import error_from_result
from psycopg.pq import ExecStatus
from psycopg.waiting import Ready, Wait
from sqlalchemy import Connection, Select
from sqlalchemy.exc import DBAPIError

_CANCEL_SECONDS = 5.0
_PIECE = 64 * 1024


def copied(
    connection: Connection, query: Select[Any], *, delimiter: str, together: int = 64 * 1024
) -> Generator[bytes]:
    """Run a SELECT within a transaction; its rows as CSV lines, many at a time.

    A line ends with a line feed. NULL comes as nothing and an empty text as ``""``; a cell has quotes where it holds
    the delimiter, a quote or the end of a line (https://www.postgresql.org/docs/current/sql-copy.html).

    Args:
        connection: of the transaction.
        query: its columns are what the lines are to show.
        delimiter: stands between two cells; one byte.
        together: bytes that are handed on at once, at least; libpq gives a row at a time.

    Raises:
        DBAPIError: as SQLAlchemy would raise it.
    """
    found = query.compile(dialect=connection.dialect, compile_kwargs={"render_postcompile": True})
    statement = f"COPY ({found}) TO STDOUT WITH (FORMAT csv, DELIMITER E'\\x{ord(delimiter):02x}')"
    try:
        yield from _blocks(connection.connection.dbapi_connection, statement, found.params, together)
    except Error as problem:
        raise DBAPIError.instance(statement, None, problem, Error, hide_parameters=True) from problem


def _blocks(driver: Any, statement: str, parameters: Any, together: int) -> Generator[bytes]:
    # psycopg's own cursor.copy() spends as long on a row as the server does, so libpq is asked directly.
    libpq = driver.pgconn
    libpq.send_query(ClientCursor(driver).mogrify(statement, parameters).encode())
    begun = driver.wait(generators.execute(libpq))[-1]
    if begun.status != ExecStatus.COPY_OUT:
        raise error_from_result(begun)
    whole = False
    try:
        yield from _joined(driver, together)
        whole = True
    finally:
        _end(driver, whole=whole)


def _joined(driver: Any, together: int) -> Generator[bytes]:
    waiting: list[bytes] = []
    size = 0
    for piece in _pieces(driver):
        waiting.append(piece)
        size += len(piece)
        if size >= together:
            yield b"".join(waiting)
            waiting, size = [], 0
    if size:
        yield b"".join(waiting)


def _pieces(driver: Any) -> Generator[bytes]:
    """Some rows at a time: of more at once, the memory of their objects would go back to the system each time."""
    rows: list[Any] = []
    size, read = 0, driver.pgconn.get_copy_data  # looked up once: this runs for every row
    while (found := read(1))[0] >= 0:
        if not found[0]:
            _wait_for_more(driver)
            continue
        rows.append(found[1])
        size += found[0]
        if size >= _PIECE:
            yield b"".join(rows)
            rows, size = [], 0
    yield b"".join(rows)


def _wait_for_more(driver: Any) -> None:
    """A server that sends nothing for too long is given up."""
    driver.wait(_more(driver.pgconn), timeout=driver.row_seconds)


def _more(libpq: Any) -> Generator[Wait, Ready, None]:
    while not (yield Wait.R):
        pass
    libpq.consume_input()


def _end(driver: Any, *, whole: bool) -> None:
    """Leave the connection ready for the next statement, whatever is still on its way."""
    if whole:
        for ended in driver.wait(generators.fetch_many(driver.pgconn), timeout=driver.row_seconds):
            if ended.status != ExecStatus.COMMAND_OK:
                raise error_from_result(ended)
        return
    with suppress(
        Error
    ):  # a connection that stays in the middle of something is closed at the end of its block
        driver.cancel_safe(timeout=_CANCEL_SECONDS)
        for _ in _pieces(driver):
            pass
    with suppress(Error):
        driver.wait(generators.fetch_many(driver.pgconn), timeout=_CANCEL_SECONDS)
