"""One database, two engines: SQLite in WAL mode, or PostgreSQL. The same code runs on both."""

from __future__ import annotations

import logging
import os
import sqlite3
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, TypeAlias

from sqlalchemy import Connection, Engine, Row, Select, create_engine, event, text
from sqlalchemy.exc import ArgumentError, DataError, DBAPIError, IntegrityError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from lib.clock import Micros
from lib.db.direct import run
from lib.db.forking import ForkGate
from lib.db.queue import QueueUnusable, WriterQueue
from lib.db.reentrancy import transaction_mark
from lib.errors import BadInput, DatabaseUnavailable

AnyRow: TypeAlias = Row[*tuple[Any, ...]]

log = logging.getLogger(__name__)

_BUSY_SECONDS = 30
_PATIENCE_MS = 250
"""How long readers are waited for, while writers wait, before deleted rows are left to the next checkpoint."""
_MOST_KEPT = 8
_ABANDONED: list[object] = []
"""Connections of a parent process. While they stand here, the child does not close them."""
_POSTGRES_NOW = text("SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS bigint)")
_REASONS = {
    "integer overflow": "A sum of cost or tokens is larger than the database can hold. Nothing was changed.",
    "locked": "The database is busy. Nothing was changed; try again in a moment.",
    "no space left": "The disk of the database is full. Nothing was changed; free some space and try again.",
    "full": "The disk of the database is full. Nothing was changed; free some space and try again.",
    "readonly": "The database can only be read. Nothing was changed; check the rights of its folder.",
    "read-only": "The database can only be read. Nothing was changed; check the rights of its folder.",
    "not a database": "The database file is damaged or no database. Restore it from a backup.",
    "malformed": "The database file is damaged. Restore it from a backup.",
}


class Database:
    """Short transactions on the database that ``url`` names.

    Args:
        url: a SQLAlchemy URL, ``sqlite:///…`` or ``postgresql+psycopg://…``.
        clock: replaces the time of both engines, in microseconds; for tests.
    """

    def __init__(self, url: str, *, clock: Callable[[], Micros] | None = None) -> None:
        self.is_sqlite = url.startswith("sqlite")
        self._clock = clock
        self._queue = WriterQueue(_prepare_file(url)) if self.is_sqlite else None
        self._engine = _sqlite_engine(url) if self.is_sqlite else _postgres_engine(url)
        self._gate: ForkGate | AbstractContextManager[None] = ForkGate() if self.is_sqlite else nullcontext()
        self._kept: list[Connection] = []
        self._driver_error: type[Exception] = self._engine.dialect.loaded_dbapi.Error
        _watch_forks(self)
        if self._queue:
            # The switch to WAL does not wait for others, so the first connection takes its turn.
            with _translated(), self._queue.turn(), self._engine.connect():
                pass

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A read-only view of one moment: all statements inside see the same state."""
        options: dict[str, Any] = (
            {} if self.is_sqlite else {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        )
        with (
            transaction_mark(),
            _translated(),
            self._gate,
            self._engine.connect().execution_options(**options) as connection,
        ):
            yield connection

    @contextmanager
    def write(self, *, durable: bool = True) -> Iterator[Connection]:
        """One short transaction, committed at the end of the block, undone by any exception.

        ``durable=False`` survives a crash of the process, not of the power.
        """
        turn = self._queue.turn() if self._queue else nullcontext()
        options = {"qodex_write": True}
        with (
            transaction_mark(),
            _translated(),
            turn,
            self._gate,
            self._engine.connect().execution_options(**options) as connection,
        ):
            if self.is_sqlite:
                _pragma(connection, "synchronous", "FULL" if durable else "NORMAL")
            with connection.begin():
                if not durable and not self.is_sqlite:
                    connection.exec_driver_sql("SET LOCAL synchronous_commit = off")
                yield connection

    def lookup(self, query: Select[Any], parameters: Mapping[str, object]) -> Any | None:
        """Run one SELECT (lib.db.direct) on a connection that is kept for it, outside any transaction; its first row.

        The cheapest read there is, and never stale: it sees whatever has committed before it began.
        """
        with transaction_mark(), self._gate:
            try:
                return self._look(query, parameters)
            except self._driver_error:
                self._close_kept()  # if the server was restarted, the others are dead as well
            try:
                return self._look(query, parameters)
            except self._driver_error as problem:
                raise DatabaseUnavailable(_sentence(problem)) from problem

    def now(self, connection: Connection) -> Micros:
        """The time that counts: PostgreSQL's own, so that no worker's clock can; on SQLite this machine's."""
        if self._clock:
            return self._clock()
        if self.is_sqlite:
            return time.time_ns() // 1000
        return int(connection.execute(_POSTGRES_NOW).scalar_one())

    def forget_deleted(self) -> None:
        """SQLite: overwrite what was deleted, in its write-ahead log too. Best effort: readers may be in the way.

        PostgreSQL does the like in its own time (vacuum, and its log's recycling).
        """
        if self._queue is None:
            return
        try:
            with (
                transaction_mark(),
                _translated(),
                self._queue.turn(),
                self._gate,
                self._engine.connect() as connection,
            ):
                _pragma(connection, "busy_timeout", _PATIENCE_MS)
                try:
                    _pragma(connection, "wal_checkpoint", "TRUNCATE")
                finally:
                    _pragma(connection, "busy_timeout", 1000 * _BUSY_SECONDS)
        except (DatabaseUnavailable, sqlite3.Error):
            log.info("What was deleted stays in the write-ahead log until the next checkpoint.")

    @property
    def engine(self) -> Engine:
        """For migrations and for bulk copies, which need the driver itself."""
        return self._engine

    def close(self) -> None:
        """Give all connections back."""
        self._close_kept()
        self._engine.dispose()

    def before_fork(self) -> None:
        """Before a fork: on SQLite, no transaction is open and no connection is handed down."""
        if isinstance(self._gate, ForkGate) and self._gate.close():
            self.close()

    def after_fork_in_parent(self) -> None:
        """Go on."""
        if isinstance(self._gate, ForkGate):
            self._gate.open()

    def forget(self) -> None:
        """After a fork: the parent's connections must not be touched, nor closed, by the child."""
        _ABANDONED.extend((self._kept, self._engine.pool))
        self._kept = []
        self._engine.dispose(close=False)
        if self._queue:
            self._queue.forget()
        if isinstance(self._gate, ForkGate):
            self._gate.renew()

    def _look(self, query: Select[Any], parameters: Mapping[str, object]) -> Any | None:
        try:
            kept = self._kept.pop()
        except IndexError:
            kept = self._connect_to_look()
        try:
            rows = run(kept, query, parameters)
        except BaseException:
            kept.invalidate()
            raise
        # Only a few are kept, so that many threads never use up the pool.
        if len(self._kept) < _MOST_KEPT:
            self._kept.append(kept)
        else:
            kept.close()
        return rows[0] if rows else None

    def _connect_to_look(self) -> Connection:
        with _translated():
            kept = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
            kept.begin()  # of nothing: each statement is its own transaction
            return kept

    def _close_kept(self) -> None:
        kept, self._kept = self._kept, []
        for connection in kept:
            connection.close()


def _sqlite_engine(url: str) -> Engine:
    engine = create_engine(
        url, hide_parameters=True, pool_size=8, max_overflow=64, connect_args={"timeout": _BUSY_SECONDS}
    )

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: object) -> None:
        connection.isolation_level = None  # the transactions are ours, below
        # recursive_triggers: REPLACE may not pass by the triggers that keep the audit log.
        # secure_delete: the sealed key that is removed is overwritten in its page, not left there.
        # cache_size: 32 MiB, or a year's sums are sorted on disk.
        for pragma in (
            "journal_mode=WAL",
            "cache_size=-32768",
            "foreign_keys=ON",
            "synchronous=FULL",
            "recursive_triggers=ON",
            "secure_delete=ON",
        ):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        options = connection.get_execution_options()
        if options.get("isolation_level") != "AUTOCOMMIT":
            # IMMEDIATE: a transaction that will write must not find out at its end that it may not.
            connection.exec_driver_sql("BEGIN IMMEDIATE" if options.get("qodex_write") else "BEGIN")

    return engine


def _postgres_engine(url: str) -> Engine:
    try:
        return create_engine(url, hide_parameters=True, pool_size=8, max_overflow=64, pool_pre_ping=True)
    except (ArgumentError, ValueError):
        reason = "DATABASE_URL cannot be read. Write it like postgresql+psycopg://user@host:5432/name."
    raise DatabaseUnavailable(reason)  # here, because that error repeats the URL with its password


def _prepare_file(url: str) -> Path:
    """Create the file readable by its owner alone; SQLite gives its side files the same mode."""
    path = Path(url.removeprefix("sqlite:///"))
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not path.exists():  # else not even opened: closing it would drop SQLite's locks
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except OSError as problem:
        if path.is_file():
            return path  # another process was first
        raise DatabaseUnavailable(
            f"The database file cannot be made ({problem.strerror}). Check DATABASE_URL and the folder's rights."
        ) from None
    return path


def _pragma(connection: Connection, name: str, value: str | int) -> None:
    driver = connection.connection.driver_connection
    assert driver is not None  # noqa: S101 - a checked-out connection has one
    driver.execute(f"PRAGMA {name}={value}").fetchall()


@contextmanager
def _translated() -> Iterator[None]:
    """Turn the driver's failures into one sentence; constraint violations stay what they are."""
    try:
        yield
    except (DataError, UnicodeEncodeError) as problem:
        if isinstance(problem, DataError) and "NUL" not in str(problem.orig):
            raise
        raise BadInput("A text holds a character that the database cannot keep. Type it again.") from problem
    except (IntegrityError, ProgrammingError):
        raise  # our own mistake or a rule of the tables, not the database's state
    except (DBAPIError, PoolTimeout, QueueUnusable) as problem:
        raise DatabaseUnavailable(_sentence(problem)) from problem


def _sentence(problem: Exception) -> str:
    words = str(getattr(problem, "orig", problem)).lower()
    return next(
        (sentence for word, sentence in _REASONS.items() if word in words),
        "The database did not answer. Nothing was changed; check DATABASE_URL and that the server runs.",
    )


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
