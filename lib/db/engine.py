"""One database, two engines: SQLite in WAL mode, or PostgreSQL. The same code runs on both."""

from __future__ import annotations

import json
import logging
import os
import sqlite3
import time
import weakref
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Self, TypeAlias

from sqlalchemy import Connection, Engine, Row, Select, select, text

from lib.clock import Micros, to_micros
from lib.db.blocks.checkout import Block, BlockKind, Parts, call_function, look
from lib.db.blocks.fork_guard import ForkGuard
from lib.db.blocks.limits import Limits
from lib.db.blocks.pool import Driver, Pool
from lib.db.blocks.sqlite import SQLite
from lib.db.blocks.writer_lock import WriterLock
from lib.db.tables import deployment
from lib.errors import DatabaseUnavailable
from lib.settings import Settings

AnyRow: TypeAlias = Row[*tuple[Any, ...]]

log = logging.getLogger(__name__)

_PATIENCE_SECONDS = 0.25
"""How long readers are waited for, while writers wait, before deleted rows are left to the next checkpoint."""
_DEPLOYMENT_ID = select(deployment.c.id)
_POSTGRES_NOW = text("SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS bigint)")

_EARLIEST, _LATEST = (to_micros(datetime(year, 1, 1, tzinfo=UTC)) for year in (2020, 2200))


class Database:
    """Short transactions on the database that ``url`` names.

    Args:
        url: a SQLAlchemy URL, ``sqlite:///…`` or ``postgresql+psycopg://…``.
        clock: replaces the time of both engines, in microseconds; for tests and sample data.
        limits: how long anything may take, and how many connections there may be.
        application: how PostgreSQL's list of sessions names this process.
        durable: False for a database that can be made again: no commit waits for the disk.

    Raises:
        DatabaseUnavailable: the URL cannot be read, or the file cannot be made.
    """

    def __init__(
        self,
        url: str,
        *,
        clock: Callable[[], Micros] | None = None,
        limits: Limits | None = None,
        application: str = "qodex",
        durable: bool = True,
    ) -> None:
        self.limits = limits or Limits()
        self._durable = durable
        self.is_sqlite = url.startswith("sqlite")
        self._clock = clock
        self._parts = (
            _sqlite(url, self.limits) if self.is_sqlite else _postgresql(url, self.limits, application)
        )
        _watch_forks(self)
        if self.is_sqlite:
            # The switch to WAL does not wait for others, so the first connection takes its turn.
            with Block(self._parts, BlockKind(write=True, bare=True)):
                pass

    @classmethod
    def from_settings(
        cls,
        settings: Settings,
        *,
        clock: Callable[[], Micros] | None = None,
        application: str = "qodex",
        durable: bool = True,
    ) -> Self:
        """The database that the environment names, with the operator's limits."""
        limits = Limits(pool=settings.db_pool, seconds=settings.db_timeout)
        return cls(
            settings.database_url, clock=clock, limits=limits, application=application, durable=durable
        )

    def read(self, *, seconds: float | None = None) -> AbstractContextManager[Connection]:
        """A read-only view of one moment: all statements inside see the same state.

        Args:
            seconds: how long one statement may take; None for the operator's limit, 0 for any time.

        Raises:
            DatabaseUnavailable: names the cause.
        """
        return Block(self._parts, BlockKind(seconds=seconds))

    def write(
        self, *, durable: bool = True, seconds: float | None = None
    ) -> AbstractContextManager[Connection]:
        """One short transaction, committed at the end of the block, undone by any exception.

        Args:
            durable: False survives a crash of the process, not of the power.
            seconds: how long the turn, a lock and a statement may take each; None for the operator's limit,
                0 for any time.

        Raises:
            DatabaseUnavailable: names the cause. Nothing was written, unless the answer to the commit was lost.
            DatabaseConflict: a row contradicts one that is there.
        """
        return Block(self._parts, BlockKind(write=True, durable=durable and self._durable, seconds=seconds))

    def outside_transaction(self) -> AbstractContextManager[Connection]:
        """A connection in autocommit, for what PostgreSQL does outside of transactions only. Raises DatabaseUnavailable."""
        return Block(self._parts, BlockKind(write=True, bare=True))

    def fast_read(self, query: Select[Any], parameters: Mapping[str, object]) -> Any | None:
        """Run one SELECT (lib.db.raw_execute) outside any transaction; its first row.

        The cheapest read there is, and never stale: it sees whatever has committed before it began.
        """
        rows = look(self._parts, query, parameters)
        return rows[0] if rows else None

    def call_function(
        self, name: str, asked: Mapping[str, object], *, durable: bool = True, seconds: float | None = None
    ) -> Any | None:
        """One short transaction, in one round trip: a function that migrations have made, from JSON to JSON.

        Args:
            name: of the function.
            asked: its argument. It gets the time as ``now`` where a clock replaces the database's.
            durable: as for ``write``.
            seconds: as for ``write``.

        Returns:
            What it returns; None where it changed nothing and leaves the work to statements, as on SQLite always.

        Raises:
            DatabaseUnavailable, DatabaseConflict: as for ``write``.
        """
        told = asked if self._clock is None else {**asked, "now": self._clock()}
        kind = BlockKind(write=True, bare=True, durable=durable and self._durable, seconds=seconds)
        return None if self.is_sqlite else call_function(self._parts, kind, name, json.dumps(told))

    @cached_property
    def deployment_id(self) -> str:
        """Id of this deployment, which sealed rows are bound to. The first migration made it; it never changes.

        Read it once outside any transaction: inside one it takes a second connection, and where all connections of a
        pooler hold transactions that want one, they wait for each other.
        """
        with self.read() as connection:
            return str(connection.execute(_DEPLOYMENT_ID).scalar_one())

    def now(self, connection: Connection) -> Micros:
        """The time that counts: PostgreSQL's own, so that no worker's clock can; on SQLite this machine's."""
        now = self._read_clock(connection)
        if not _EARLIEST <= now < _LATEST:
            raise DatabaseUnavailable(
                "The clock says that this is no time between 2020 and 2200. Nothing was changed; set the clock of "
                f"{'this machine' if self.is_sqlite else 'the database server'} right.",
                cause="clock",
            )
        return now

    def given_time(self) -> Micros | None:
        """The time of the clock that replaces the engines' own; None where there is none."""
        return None if self._clock is None else self._clock()

    def _read_clock(self, connection: Connection) -> Micros:
        if self._clock:
            return self._clock()
        if self.is_sqlite:
            return time.time_ns() // 1000
        return int(connection.execute(_POSTGRES_NOW).scalar_one())

    def purge_deleted(self) -> None:
        """SQLite: overwrite what was deleted, in its write-ahead log too. Best effort: readers may be in the way.

        PostgreSQL does the like in its own time (vacuum, and its log's recycling).
        """
        if not self.is_sqlite:
            return
        try:
            with Block(self._parts, BlockKind(write=True, bare=True)) as connection:
                driver: Any = connection.connection.dbapi_connection
                driver.execute(f"PRAGMA busy_timeout={int(1000 * _PATIENCE_SECONDS)}")
                try:
                    driver.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
                finally:
                    driver.execute(f"PRAGMA busy_timeout={int(1000 * self.limits.seconds)}")
        except (DatabaseUnavailable, sqlite3.Error):
            log.info("What was deleted stays in the write-ahead log until the next checkpoint.")

    @property
    def engine(self) -> Engine:
        """For migrations and for bulk copies, which need the driver itself."""
        return self._parts.side.engine

    @property
    def in_use(self) -> int:
        """Connections that are in a block now."""
        return self._parts.pool.in_use

    def close(self) -> None:
        """Give all connections back."""
        self._parts.pool.close_idle()

    def before_fork(self) -> None:
        """Before a fork: on SQLite, no transaction is open and no connection is handed down."""
        if self._parts.guard is not None and self._parts.guard.close():
            self.close()

    def after_fork_in_parent(self) -> None:
        """Go on."""
        if self._parts.guard is not None:
            self._parts.guard.open()

    def forget(self) -> None:
        """After a fork: the parent's connections must not be touched, nor closed, by the child."""
        self._parts.pool.forget()
        if self._parts.lock is not None:
            self._parts.lock.forget()
        if self._parts.guard is not None:
            self._parts.guard.renew()


def _sqlite(url: str, limits: Limits) -> Parts:
    side = SQLite(url, limits)
    return Parts(side, limits, Pool(side, limits), WriterLock(side.path), ForkGuard())


def _postgresql(url: str, limits: Limits, application: str) -> Parts:
    from lib.db.blocks.postgresql import PostgreSQL  # noqa: PLC0415 - its driver is not loaded for SQLite

    side: Driver = PostgreSQL(url, limits, application=application)
    return Parts(side, limits, Pool(side, limits))


def _watch_forks(database: Database) -> None:
    reference = weakref.ref(database)

    def tell(what: Callable[[Database], None]) -> Callable[[], None]:
        def hook() -> None:
            alive = reference()
            if alive is not None:
                what(alive)

        return hook

    os.register_at_fork(
        before=tell(Database.before_fork),
        after_in_parent=tell(Database.after_fork_in_parent),
        after_in_child=tell(Database.forget),
    )
