"""A SELECT that is compiled once and then handed to the driver as it is."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, Select


class Lookup:
    """One row by its key, as cheaply as the driver can: for what happens before every call.

    Columns come as the driver gives them (integers, texts, bytes); the row has them as attributes.
    """

    def __init__(self, statement: Select[Any]) -> None:
        self._statement = statement
        self._row = namedtuple("LookupRow", [column.name for column in statement.selected_columns])  # type: ignore[misc]  # noqa: PYI024
        self._compiled: dict[str, tuple[str, dict[str, Any], tuple[str, ...] | None]] = {}

    def first(self, connection: Connection, parameters: Mapping[str, object]) -> Any | None:
        """Run it on the driver's own connection, which is in autocommit. Raises the driver's errors."""
        sql, fixed, order = self._for(connection)
        values = {**fixed, **parameters}
        arguments = values if order is None else [values[name] for name in order]
        driver: Any = connection.connection.driver_connection
        row = driver.execute(sql, arguments).fetchone()
        return None if row is None else self._row(*row)

    def _for(self, connection: Connection) -> tuple[str, dict[str, Any], tuple[str, ...] | None]:
        name = connection.dialect.name
        if name not in self._compiled:
            compiled: Any = self._statement.compile(dialect=connection.dialect)
            order = tuple(compiled.positiontup) if compiled.positional else None
            self._compiled[name] = (str(compiled), compiled.params, order)
        return self._compiled[name]
