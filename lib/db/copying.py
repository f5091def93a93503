"""PostgreSQL's COPY: the rows of a SELECT as text that the server wrote, the fastest way out of it."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from sqlalchemy import Connection, Select
from sqlalchemy.exc import DBAPIError

_BLOCK = 64 * 1024
"""Bytes that are handed on together; libpq gives a row at a time."""


def copied(connection: Connection, query: Select[Any], *, delimiter: str) -> Generator[bytes]:
    """Run a SELECT within a transaction; its rows as CSV lines, many at a time.

    A line ends with a line feed. NULL comes as nothing and an empty text as ``""``; a cell has quotes where it holds
    the delimiter, a quote or the end of a line (https://www.postgresql.org/docs/current/sql-copy.html).

    Args:
        connection: of the transaction.
        query: its columns are what the lines are to show.
        delimiter: stands between two cells; one byte.

    Raises:
        DBAPIError: as SQLAlchemy would raise it.
    """
    found = query.compile(dialect=connection.dialect, compile_kwargs={"render_postcompile": True})
    statement = f"COPY ({found}) TO STDOUT WITH (FORMAT csv, DELIMITER E'\\x{ord(delimiter):02x}')"
    driver: Any = connection.connection.driver_connection
    error = connection.dialect.loaded_dbapi.Error
    try:
        with driver.cursor() as cursor, cursor.copy(statement, found.params) as lines:
            yield from _blocks(lines)
    except error as problem:
        raise DBAPIError.instance(statement, None, problem, error, hide_parameters=True) from problem


def _blocks(lines: Any) -> Generator[bytes]:
    waiting: list[Any] = []
    size = 0
    for line in lines:
        waiting.append(line)
        size += len(line)
        if size >= _BLOCK:
            yield b"".join(waiting)
            waiting, size = [], 0
    if waiting:
        yield b"".join(waiting)
