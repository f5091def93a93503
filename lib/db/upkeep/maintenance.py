"""What a database needs now and then: the room of deleted rows made usable, and what its planner knows brought up to date.

Both engines do most of it by themselves. After much was deleted (an archive) it is worth doing at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from lib.db.engine import Database
from lib.db.tables import metadata

_SIZE = {
    "sqlite": "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()",
    "postgresql": "SELECT pg_database_size(current_database())",
}


@dataclass(frozen=True)
class Maintained:
    """How large the database was, and is, in bytes."""

    before: int
    after: int


def maintain(database: Database, *, full: bool = False) -> Maintained:
    """Do it now. May be stopped and run again at any time.

    Args:
        database: of the newest schema.
        full: give room back to the disk, too. Whoever reads or writes waits meanwhile, and there has to be room for
            a second copy.

    Raises:
        DatabaseUnavailable: it does not answer, or there is no room.
    """
    with database.outside_transaction() as connection:
        driver: Any = connection.connection.dbapi_connection
        before = _size(connection)
        for statement in _statements(connection, full=full):
            _run(driver, statement)
        return Maintained(before, _size(connection))


def _statements(connection: Connection, *, full: bool) -> Iterator[str]:
    if connection.dialect.name == "sqlite":
        if full:
            yield "VACUUM"
        yield "PRAGMA optimize"
        yield "PRAGMA wal_checkpoint(TRUNCATE)"
        return
    quote = connection.dialect.identifier_preparer.quote
    for table in metadata.sorted_tables:
        yield f"VACUUM ({'FULL, ' if full else ''}ANALYZE) {quote(table.name)}"


def _run(driver: Any, statement: str) -> None:
    seconds = getattr(driver, "seconds", None)
    if seconds is not None:
        driver.seconds = None  # it takes as long as it takes
    try:
        driver.execute(statement).close()
    finally:
        if seconds is not None:
            driver.seconds = seconds


def _size(connection: Connection) -> int:
    return int(connection.exec_driver_sql(_SIZE[connection.dialect.name]).scalar_one())
