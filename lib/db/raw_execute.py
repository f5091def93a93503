"""Statements that every call runs, compiled once and then handed to the driver as they are.

SQLAlchemy's way of executing costs a tenth of a millisecond each time, and a call runs a dozen statements.
They run on the driver's connection of the same transaction. Each is built once for the life of the process.
Values go in and come out as the driver takes and gives them: integers, texts, bytes, None.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Dialect
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.base import Executable


@dataclass(frozen=True)
class _Compiled:
    statement: Executable  # kept, so that no other one gets its id
    sql: str
    fixed: Mapping[str, Any]
    order: Sequence[str] | None
    row: Any


_compiled: dict[tuple[int, str, tuple[str, ...]], _Compiled] = {}


def raw_execute(connection: Connection, statement: Any, parameters: Mapping[str, Any]) -> list[Any]:
    """Run a statement within a transaction; its rows, with columns as attributes. Raises SQLAlchemy's errors."""
    dialect = connection.dialect
    error = dialect.loaded_dbapi.Error
    try:
        return run_on_driver(connection.connection.dbapi_connection, dialect, statement, parameters)
    except error as problem:
        sql = _ready(dialect, statement, parameters).sql
        raise DBAPIError.instance(sql, None, problem, error, hide_parameters=True) from problem


def run_on_driver(driver: Any, dialect: Dialect, statement: Any, parameters: Mapping[str, Any]) -> list[Any]:
    """Run a statement on the driver's own connection, in autocommit as well. Raises the driver's errors."""
    ready = _ready(dialect, statement, parameters)
    values = {**ready.fixed, **parameters}
    arguments = values if ready.order is None else [values[name] for name in ready.order]
    cursor = driver.execute(ready.sql, arguments)
    return [ready.row(*row) for row in cursor.fetchall()] if ready.row else []


def _ready(dialect: Dialect, statement: Any, parameters: Mapping[str, Any]) -> _Compiled:
    key = (id(statement), dialect.name, tuple(parameters))
    if key not in _compiled:
        names = list(parameters) if getattr(statement, "is_insert", False) else None
        found: Any = statement.compile(dialect=dialect, column_keys=names)
        columns = [column.name for column in getattr(statement, "exported_columns", ())]
        row = namedtuple("DirectRow", columns) if columns else None  # noqa: PYI024
        order = tuple(found.positiontup) if found.positional else None
        _compiled[key] = _Compiled(statement, str(found), found.params, order, row)
    return _compiled[key]
