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
    waiting: list[Any] = []
    size = 0
    while (row := _next(driver)) is not None:
        waiting.append(row)
        size += len(row)
        if size >= together:
            yield b"".join(waiting)
            waiting, size = [], 0
    if waiting:
        yield b"".join(waiting)


def _next(driver: Any) -> Any | None:
    """The next row, None after the last. A server that sends nothing for too long is given up."""
    while not (found := driver.pgconn.get_copy_data(1))[0]:
        driver.wait(_more(driver.pgconn), timeout=driver.row_seconds)
    return found[1] if found[0] > 0 else None


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
        while _next(driver) is not None:
            pass
    with suppress(Error):
        driver.wait(generators.fetch_many(driver.pgconn), timeout=_CANCEL_SECONDS)
