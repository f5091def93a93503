"""Writing an import's rows, those that are not there yet, each engine in its fastest way; and their sums."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import Connection

from lib.db import AnyRow
from lib.errors import DatabaseUnavailable
from lib.exchange.columns import EVENT_COLUMNS
from lib.exchange.import_rollups import SUMMED
from lib.exchange.staging import Row, Spool

_STORED = ("project_id", *(column.stored for column in EVENT_COLUMNS if column.name != "project"))
_NAMES = ", ".join(_STORED)
_INTO = f"INSERT INTO usage_events ({_NAMES}, imported)"
_UNLESS_THERE = "ON CONFLICT (project_id, event_id) DO NOTHING"
_SUMMED_AFTER = SUMMED.format(rows="usage_events WHERE rowid > ?")


_THERE = "EXISTS (SELECT 1 FROM usage_events there WHERE there.project_id = {project} AND there.event_id = {former})"


class _Statements:
    """The SQL of both engines.

    Args:
        former: each row ends with the id it got before schema 0007, by which it may be there.
    """

    def __init__(self, *, former: bool) -> None:
        self.former = former
        more, named = (", former_id", ", event_id AS former_id") if former else ("", "")
        marks = ", ".join("?" * len(_STORED))
        values, staged = f"SELECT {marks}, true", f"SELECT {_NAMES}, true"
        # In one order, so that two imports at once wait for each other instead of both.
        sources = {
            values: f"WHERE {self._unless('?', '?')}",
            staged: f"FROM imported_rows staged WHERE {self._unless('staged.project_id', 'staged.former_id')} ORDER BY 1, 2",
        }
        self.from_values, insert = (" ".join((_INTO, *pair, _UNLESS_THERE)) for pair in sources.items())
        self.stage = f"CREATE TEMP TABLE imported_rows ON COMMIT DROP AS {self._columns(named)} LIMIT 0"
        self.copy = f"COPY imported_rows ({_NAMES}{more}) FROM STDIN"
        self.from_stage = f"WITH added AS ({insert} RETURNING *) {SUMMED.format(rows='added')}"

    def _unless(self, project: str, former: str) -> str:
        return f"NOT {_THERE.format(project=project, former=former)}" if self.former else "true"

    @staticmethod
    def _columns(more: str) -> str:
        return " ".join(("SELECT", f"{_NAMES}{more}", "FROM usage_events"))


def write_rows(connection: Connection, spool: Spool, *, former: bool) -> Sequence[AnyRow]:
    """Write the rows of ``spool`` that are not there yet; returns what SUMMED says of them.

    Args:
        connection: of one write.
        spool: the rows.
        former: rows that were imported before schema 0007 are recognised by the ids of then, too.
    """
    write = _insert if connection.dialect.name == "sqlite" else _copy
    return write(connection, spool.batches(), _Statements(former=former))


def _insert(connection: Connection, batches: Iterator[list[Row]], sql: _Statements) -> Sequence[AnyRow]:
    """SQLite: new rows get row ids above all earlier ones."""
    before = connection.exec_driver_sql("SELECT coalesce(max(rowid), 0) FROM usage_events").scalar_one()
    for batch in batches:
        if batch:
            rows = [(*row[:-1], row[0], row[-1]) for row in batch] if sql.former else batch
            connection.exec_driver_sql(sql.from_values, rows)
    return connection.exec_driver_sql(_SUMMED_AFTER, (before,)).all()


def _copy(connection: Connection, batches: Iterator[list[Row]], sql: _Statements) -> Sequence[AnyRow]:
    """PostgreSQL: COPY into a table of this transaction, then take what is not there yet."""
    connection.exec_driver_sql(sql.stage)
    driver: Any = connection.connection.dbapi_connection
    try:
        with driver.cursor() as cursor, cursor.copy(sql.copy) as copy:
            for batch in batches:
                for row in batch:
                    copy.write_row(row)
    except connection.dialect.loaded_dbapi.Error as problem:
        raise DatabaseUnavailable("The database did not take the rows. Nothing was imported.") from problem
    return connection.exec_driver_sql(sql.from_stage).all()
