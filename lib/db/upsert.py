"""INSERT … ON CONFLICT DO UPDATE: the same SQL on both engines, spelled per dialect by SQLAlchemy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from sqlalchemy import Connection, Select, Table
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql.dml import Insert

_INSERTS: dict[str, Any] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}


class Upsert:
    """Insert a row, or change the one that is there. Built once for each engine.

    Args:
        table: rows are the same if their primary key is.
        sums: columns that change; ``add`` the new value to the old one, or ``set`` it.
        names, source: the columns to fill and the SELECT to fill them from; by default plain values.
    """

    def __init__(
        self,
        table: Table,
        sums: Sequence[str],
        how: Literal["add", "set"],
        *,
        names: Sequence[str] = (),
        source: Select[Any] | None = None,
    ) -> None:
        self._table, self._sums, self._how, self._names, self._source = table, sums, how, names, source
        self._built: dict[str, Insert] = {}

    def on(self, connection: Connection) -> Insert:
        """The statement for this connection's engine."""
        dialect = connection.dialect.name
        if dialect not in self._built:
            self._built[dialect] = self._build(_INSERTS[dialect](self._table))
        return self._built[dialect]

    def _build(self, statement: Any) -> Insert:
        if self._source is not None:
            statement = statement.from_select(self._names, self._source)
        old, new = self._table.c, statement.excluded
        values = {name: old[name] + new[name] if self._how == "add" else new[name] for name in self._sums}
        built: Insert = statement.on_conflict_do_update(
            index_elements=list(self._table.primary_key.columns), set_=values
        )
        return built
