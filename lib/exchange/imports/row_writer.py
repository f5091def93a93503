"""Writing an import's rows, those that are not there yet, each engine in its fastest way; and their sums."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

from sqlalchemy import Connection

from lib.db import AnyRow
from lib.db.months.parts import is_by_month
from lib.errors import DatabaseUnavailable
from lib.exchange.imports.import_rollups import SUMMED
from lib.exchange.imports.staging import Row, StagedRows

_UNLESS_THERE = "ON CONFLICT DO NOTHING"
_ALONE = "SELECT pg_advisory_xact_lock(1768780914)"  # "impr": PostgreSQL's advisory lock of one import
_TOGETHER = 50
"""Rows that one statement inserts: of 30 columns far from as many values as SQLite takes."""
_SUMMED_AFTER = SUMMED.format(rows="usage_events WHERE rowid > ?")


_THERE = "EXISTS (SELECT 1 FROM usage_events there WHERE there.project_id = {project} AND there.event_id = {former})"


class _Statements:
    """The SQL of both engines.

    Args:
        names: the columns that the rows have.
        former: each row ends with the id it got before schema 0007, by which it may be there.
        by_month: the events are partitioned, and a row may be there at another time, where no key keeps it out.
    """

    def __init__(self, names: Sequence[str], *, former: bool, by_month: bool = False) -> None:
        self.former = former
        columns, marks = ", ".join(names), ", ".join("?" * len(names))
        more, named = (", former_id", ", event_id AS former_id") if former else ("", "")
        into, chosen = f"INSERT INTO usage_events ({columns}, imported)", f"SELECT {columns}"
        values = f"SELECT {marks}, true {self._unless('?', '?')}" if former else f"VALUES ({marks}, true)"
        unless = self._unless("staged.project_id", "staged.former_id")
        if by_month:
            there = _THERE.format(project="staged.project_id", former="staged.event_id")
            unless = f"{unless} {'AND' if unless else 'WHERE'} NOT {there}"
            chosen = f"SELECT DISTINCT ON (project_id, event_id) {columns}"
        # In one order, so that two imports at once wait for each other instead of both; of equal ids the first of the file.
        order = "ORDER BY project_id, event_id, staged.ctid"
        insert = f"{into} {chosen}, true FROM imported_rows staged {unless} {order} {_UNLESS_THERE}"
        self.from_values = f"{into} {values} {_UNLESS_THERE}"
        self.from_many_values = f"{into} VALUES {', '.join([f'({marks}, true)'] * _TOGETHER)} {_UNLESS_THERE}"
        chosen = f"SELECT {columns}{named} FROM usage_events LIMIT 0"  # noqa: S608  # nosec B608 - of constants
        self.stage = f"CREATE TEMP TABLE imported_rows ON COMMIT DROP AS {chosen}"
        self.copy = f"COPY imported_rows ({columns}{more}) FROM STDIN"
        self.from_stage = f"WITH added AS ({insert} RETURNING *) {SUMMED.format(rows='added')}"

    def _unless(self, project: str, former: str) -> str:
        return f"WHERE NOT {_THERE.format(project=project, former=former)}" if self.former else ""


def write_rows(
    connection: Connection, staged: StagedRows, names: Sequence[str], *, former: bool
) -> Sequence[AnyRow]:
    """Write the rows of ``staged`` that are not there yet; returns what SUMMED says of them.

    Args:
        connection: of one write.
        staged: the rows.
        names: the columns that they have; all others are empty.
        former: rows that were imported before schema 0007 are recognised by the ids of then, too.
    """
    by_month = is_by_month(connection)
    write = _insert if connection.dialect.name == "sqlite" else _copy
    if by_month:  # each sees what the one before has written, which no key of all parts would keep out
        connection.exec_driver_sql(_ALONE)
    return write(connection, staged.batches(), _Statements(names, former=former, by_month=by_month))


def _insert(connection: Connection, batches: Iterator[list[Row]], sql: _Statements) -> Sequence[AnyRow]:
    """SQLite: new rows get row ids above all earlier ones."""
    before = connection.exec_driver_sql("SELECT coalesce(max(rowid), 0) FROM usage_events").scalar_one()
    for batch in batches:
        rows: Sequence[Row] = batch
        if sql.former:
            rows = [(*row[:-1], row[0], row[-1]) for row in batch]
        else:
            rows = _insert_together(connection, batch, sql)
        if rows:
            connection.exec_driver_sql(sql.from_values, rows)
    return connection.exec_driver_sql(_SUMMED_AFTER, (before,)).all()


def _insert_together(connection: Connection, batch: list[Row], sql: _Statements) -> list[Row]:
    """Insert as many rows as fill whole statements; returns the rest.

    The triggers of the table make each statement keep a journal of its own, which takes longer than a row does.
    """
    whole = len(batch) - len(batch) % _TOGETHER
    many = [tuple(chain.from_iterable(batch[at : at + _TOGETHER])) for at in range(0, whole, _TOGETHER)]
    if many:
        connection.exec_driver_sql(sql.from_many_values, many)
    return batch[whole:]


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
