"""A whole SQLite database copied into an empty PostgreSQL one: in one transaction that is verified, or not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    Boolean,
    Column,
    ColumnElement,
    Connection,
    Integer,
    Table,
    case,
    delete,
    func,
    inspect,
    select,
    text,
)

from lib.db.engine import AnyRow, Database
from lib.db.migrate import HEAD, current_revision, migrate
from lib.db.tables import (
    audit_log,
    deployment,
    metadata,
    plans,
    rollup_zone,
    run_log,
    usage_daily_caching,
    usage_daily_models,
    usage_daily_totals,
    usage_hourly_totals,
    usage_models,
)
from lib.errors import BadInput, DatabaseUnavailable

_MADE_BY_MIGRATIONS = (plans, deployment, rollup_zone)
_KEPT_BY_TRIGGERS = (
    usage_hourly_totals,
    usage_daily_totals,
    usage_daily_models,
    usage_models,
    usage_daily_caching,
)
"""Rows appear in them when events and roll-ups are copied; those of the source take their place."""
_NUMBERED = (audit_log, run_log)
_ALONE = text(
    "SELECT pg_try_advisory_xact_lock(1668247673)"
)  # "copy": PostgreSQL's advisory lock of one copy
_MODULUS = 1_000_003
"""Numbers are added up by their remainders, which no sum of microseconds leaves 64 bits for."""


@dataclass(frozen=True)
class CopiedTable:
    """One table, and how many rows were copied."""

    table: str
    rows: int


def copy_database(
    source: Database, target: Database, progress: Callable[[CopiedTable], None] | None = None
) -> list[CopiedTable]:
    """Copy all that the source holds. Nobody writes to it meanwhile.

    Whatever ends this early, SIGKILL too, leaves the target without a row: the copy is started again from its beginning.

    Args:
        source: a SQLite database of the newest schema.
        target: a PostgreSQL database without rows of anybody; it gets the schema.
        progress: called with each table that was copied and verified.

    Raises:
        BadInput: they are none such.
        DatabaseUnavailable: one of them cannot be reached, or what arrived is not what was sent. Nothing was copied.
    """
    _require_usable(source, target)
    migrate(target)
    copied = []
    with source.write(seconds=0) as reading, target.write(seconds=0) as writing:
        _require_alone(writing)
        _require_empty(writing)
        for table in _MADE_BY_MIGRATIONS:
            writing.execute(delete(table))
        for table in _in_order():
            copied.append(_copy(reading, writing, table))
            if progress:
                progress(copied[-1])
        for table in _NUMBERED:
            _go_on_counting(writing, table)
    return copied


def _require_usable(source: Database, target: Database) -> None:
    if not source.is_sqlite or target.is_sqlite:
        raise BadInput("A SQLite database is copied into a PostgreSQL one: name them in this order.")
    found = current_revision(source)
    if found != HEAD:
        raise BadInput(
            f"The SQLite database has schema {found or 'none'}, this program needs {HEAD}. Start the dashboard on it once."
        )
    with target.read() as connection:
        if set(inspect(connection).get_table_names()) & set(metadata.tables):
            _require_empty(connection)


def has_schema(target: Database) -> bool:
    """Whether the target has tables of Qodex, as a copy that was interrupted leaves them: without rows."""
    with target.read() as connection:
        return inspect(connection).has_table(audit_log.name)


def _require_alone(connection: Connection) -> None:
    """A copy whose process or network is gone goes on in the server until that notices; its rows are then undone."""
    if not connection.execute(_ALONE).scalar_one():
        raise BadInput(
            "Another copy into this PostgreSQL database is under way, or one that was interrupted is still being undone. "
            "Nothing was copied; wait until it has ended, and try again."
        )


def _require_empty(connection: Connection) -> None:
    there = inspect(connection).get_table_names()
    for table in metadata.sorted_tables:
        if table.name not in there or table in _MADE_BY_MIGRATIONS:
            continue
        if connection.execute(select(text("1")).select_from(table).limit(1)).first() is not None:
            raise BadInput(
                f"The PostgreSQL database is not empty: {table.name} has rows. Nothing was copied; make a new one."
            )


def _in_order() -> Iterator[Table]:
    """Whatever others refer to first, and at the end what triggers have filled meanwhile."""
    yield from (table for table in metadata.sorted_tables if table not in _KEPT_BY_TRIGGERS)
    yield from _KEPT_BY_TRIGGERS


def _copy(reading: Connection, writing: Connection, table: Table) -> CopiedTable:
    if table in _KEPT_BY_TRIGGERS:
        writing.execute(delete(table))
    quote = writing.dialect.identifier_preparer.quote
    names = ", ".join(quote(column.name) for column in table.c)
    driver: Any = writing.connection.dbapi_connection
    with driver.cursor() as cursor, cursor.copy(f"COPY {quote(table.name)} ({names}) FROM STDIN") as copy:
        for row in reading.execute(select(table)):
            copy.write_row(tuple(row))
    sent, arrived = (_digest(connection, table) for connection in (reading, writing))
    if sent != arrived:
        raise DatabaseUnavailable(
            f"What arrived in {table.name} is not what was sent. Nothing was copied; try again.", cause="copy"
        )
    return CopiedTable(table.name, sent[0])


def _digest(connection: Connection, table: Table) -> tuple[int, ...]:
    """How many rows, and of each column a sum that says whether all of it is there."""
    sums = [func.coalesce(func.sum(_measure(column)), 0) for column in table.c]
    found: AnyRow = connection.execute(select(func.count(), *sums).select_from(table)).one()
    return tuple(map(int, found))


def _measure(column: Column[Any]) -> ColumnElement[int]:
    if isinstance(column.type, Boolean):
        return case((column, 1), else_=0)
    return column % _MODULUS if isinstance(column.type, Integer) else func.length(column)


def _go_on_counting(connection: Connection, table: Table) -> None:
    """The next row gets the next number."""
    numbers = func.pg_get_serial_sequence(table.name, "id")
    last = func.coalesce(func.max(table.c.id), 0)
    connection.execute(select(func.setval(numbers, last + 1, text("false"))).select_from(table))
