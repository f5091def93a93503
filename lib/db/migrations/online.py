"""What a step of the schema does ahead of its own transaction, on PostgreSQL, while calls go on.

A migration that has much to do defines ``ahead(online)``. Whatever it does may be interrupted anywhere and is then
done again from its beginning, so each part finds out what is there already. Its ``upgrade()`` finds it done; where
``ahead`` did not run (SQLite, where all of a step is one transaction) it does everything by itself.

Calls queue behind whoever waits for a lock that they conflict with, so such a lock is asked for briefly. And who
holds one and waits for another may wait for a call that waits for the first: so there is one table to a transaction,
or the order in which calls take them (lib.usage.events).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from sqlalchemy import Connection, text

from lib.db.engine import Database

T = TypeVar("T")

_LOCK_SECONDS = 3.0
"""Longer than PostgreSQL lets a vacuum go on that somebody waits for (deadlock_timeout, one second)."""
_INDEX = "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(%s) AND indrelid = to_regclass(%s)"


class Online:
    """Changes a schema beside calls in progress."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def briefly(self, act: Callable[[Connection], T]) -> T:
        """One short transaction, that gives up a lock which it does not get soon."""
        with self._database.write(seconds=0) as connection:
            limit_lock_waits(connection)
            return act(connection)

    def index(self, name: str, table: str, columns: str, *, unique: bool = False) -> None:
        """Build an index without keeping anybody from writing. What an interrupted build left is built anew.

        Args:
            name: of the index.
            table: what it is of.
            columns: what comes after the table in CREATE INDEX.
            unique: no two rows may be equal in it.
        """
        kind = "UNIQUE INDEX" if unique else "INDEX"
        with self._database.outside_transaction() as connection:
            driver: Any = connection.connection.dbapi_connection
            seconds, driver.seconds = driver.seconds, None  # it takes as long as it takes
            try:
                found = driver.execute(_INDEX, (name, table)).fetchone()
                if found and not found[0]:
                    driver.execute(f"DROP INDEX CONCURRENTLY {name}")
                if not found or not found[0]:
                    driver.execute(f"CREATE {kind} CONCURRENTLY {name} ON {table} {columns}")
            finally:
                driver.seconds = seconds


def limit_lock_waits(connection: Connection) -> None:
    """Give up a lock that does not come soon, because calls queue behind whoever waits for it."""
    connection.exec_driver_sql(f"SET LOCAL lock_timeout = {int(1000 * _LOCK_SECONDS)}")


def is_there(connection: Connection, relation: str) -> bool:
    """Whether there is a table or an index of that name; asked without any lock on it."""
    found = text("SELECT to_regclass(:name) IS NOT NULL")
    return bool(connection.execute(found, {"name": relation}).scalar())


def has_column(connection: Connection, table: str, column: str) -> bool:
    """Whether a table has that column; asked without any lock on it. On SQLite no: nothing is done ahead there."""
    if connection.dialect.name == "sqlite":
        return False
    found = text(
        "SELECT EXISTS (SELECT 1 FROM pg_attribute"
        " WHERE attrelid = to_regclass(:table) AND attname = :column AND NOT attisdropped)"
    )
    return bool(connection.execute(found, {"table": table, "column": column}).scalar())
