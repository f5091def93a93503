"""What is particular to PostgreSQL: its connections, how a transaction begins and ends, and how long each step may take.

Nothing here needs a connection of one's own for longer than a transaction, so a pooler in transaction mode may stand
in between: ``SET LOCAL`` only, no session state, and prepared statements, which spare the server most of its work for
a look-up, only where the server itself has answered or DATABASE_URL asks for them.
"""

from __future__ import annotations

import math
from typing import Any

import psycopg
from psycopg.pq import Escaping, TransactionStatus
from sqlalchemy import Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.pool import NullPool

from lib.db.blocks.limits import Limits
from lib.errors import DatabaseUnavailable

OLDEST = 14
"""The oldest major version that the tests and the statements here are for."""
_GRACE = 1.0
"""Seconds after which a server that should have ended a statement by itself is taken for dead."""


_ROWS = 20
"""How many times as long the next row of a COPY may take: the server may sort all of them first."""
_CANCEL_SECONDS = 1.0
_PREPARE_AFTER = 5
"""Uses after which a statement is prepared on the server."""
_ALONE = "BEGIN; SET LOCAL statement_timeout = {milliseconds}; SET LOCAL synchronous_commit = off"
_ANSWER = 3
"""The place of a function's answer behind these."""
_FLUSH = "; SELECT pg_logical_emit_message(true, 'qodex', '')"
"""A commit that waits for the disk, and holds nothing: any change at all makes one, and this is the smallest."""
_BY_STATEMENTS = {"QX001", "22P02", "22P05", "42883"}
"""Of a function that leaves it to statements, or cannot read its argument; and where there is no such function."""


class BoundedConnection(psycopg.Connection[Any]):
    """A connection that does not wait for ever for a server that is stopped, or behind a cut network."""

    seconds: float | None = None
    """How long one answer may take; None for no limit."""
    row_seconds: float | None = None
    """How long the next row of a COPY may take."""

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        """Wait for the server: psycopg calls this for each thing that it waits for."""
        return super().wait(gen, interval, self.seconds if timeout is None else timeout)


class PostgreSQL:
    """The driver's side of one PostgreSQL database."""

    name = "postgresql"

    def __init__(self, url: str, limits: Limits, *, application: str) -> None:
        self._limits = limits
        self._defaults = {
            "application_name": application,
            "connect_timeout": str(max(2, math.ceil(limits.seconds))),
            "tcp_user_timeout": str(int(1000 * (limits.seconds + _GRACE))),
            "keepalives_idle": "30",
            "keepalives_interval": "10",
            "keepalives_count": "3",
        }
        self.engine = _engine(url)
        event.listen(self.engine, "do_connect", self._connect)

    def begin(self, driver: Any, *, write: bool, durable: bool, seconds: float | None) -> None:
        """Begin a transaction with its limits, in one round trip. ``seconds`` 0: its statements may take any time."""
        limit = self._limits.seconds if seconds is None else seconds
        driver.seconds = _patience(limit)
        statement = _begin(limit or self._limits.seconds, write=write, durable=durable, endless=limit == 0)
        driver.execute(statement, prepare=False)  # several commands are no prepared statement

    def commit(self, driver: Any) -> None:
        """Keep what was written."""
        if driver.pgconn.transaction_status == TransactionStatus.INERROR:
            # The server would answer this COMMIT with a rollback, and no error.
            raise psycopg.errors.InFailedSqlTransaction(
                "a statement of the transaction failed before its end"
            )
        driver.commit()
        driver.seconds = _patience(self._limits.seconds)

    def rollback(self, driver: Any) -> None:
        """Undo what was written, and leave the connection fit for the next transaction."""
        driver.rollback()
        driver.seconds = _patience(self._limits.seconds)

    def end_read(self, driver: Any) -> None:
        """End a transaction that the server lets only read. Rolled back, psycopg would forget what it has prepared."""
        self.commit(driver)

    def call_function(
        self, driver: Any, name: str, asked: str, *, durable: bool, seconds: float | None
    ) -> Any:
        """Call a function with one JSON document, in a transaction of its own: all of it in one round trip.

        Its locks are held until it has committed, and not while the log is flushed to the disk: that is waited for
        behind the commit, together with all others who wait (one flush covers what was committed before it).

        Args:
            driver: the connection.
            name: of the function, which takes and returns ``jsonb``.
            asked: its argument.
            durable: whether to return only when what it wrote survives a power cut.
            seconds: as for ``begin``.

        Returns:
            What it returns; None also where it undid what it had begun, or where there is no such function.
        """
        limit = self._limits.seconds if seconds is None else seconds
        driver.seconds = _patience(limit)
        document = Escaping(driver.pgconn).escape_literal(asked.encode()).decode()
        begin, call = _ALONE.format(milliseconds=int(1000 * limit)), f"SELECT {name}({document})"
        try:
            cursor = driver.execute(f"{begin}; {call}; COMMIT{_FLUSH if durable else ''}", prepare=False)
        except psycopg.Error as problem:
            if driver.pgconn.transaction_status == TransactionStatus.INERROR:
                driver.rollback()
            if problem.sqlstate not in _BY_STATEMENTS:
                raise
            return None
        finally:
            driver.seconds = _patience(self._limits.seconds)
        return cursor.set_result(_ANSWER).fetchone()[0]

    def close(self, driver: Any) -> None:
        """Whatever state it is in: the server undoes what has not committed."""
        try:
            if driver.pgconn.transaction_status == TransactionStatus.ACTIVE:
                # Else the server goes on with the statement, and keeps its locks until that has ended.
                driver.cancel_safe(timeout=_CANCEL_SECONDS)
        finally:
            driver.close()

    def is_alive(self, driver: Any) -> bool:
        """False where the server, or something in between, has ended the connection."""
        return not driver.closed

    def _connect(self, _dialect: object, _record: object, arguments: Any, options: dict[str, Any]) -> Any:
        options = {**self._defaults, **options}
        asked = "prepare_threshold" in options
        options["prepare_threshold"] = _threshold(options.get("prepare_threshold"))
        connection = BoundedConnection.connect(*arguments, **options)
        if too_old := unsupported(connection.info.server_version):
            connection.close()
            raise too_old
        connection.autocommit = True  # the transactions are ours
        connection.seconds = _patience(self._limits.seconds)
        connection.row_seconds = _ROWS * self._limits.seconds
        if not asked and _is_the_server(connection):
            connection.prepare_threshold = _PREPARE_AFTER
        return connection


def _engine(url: str) -> Engine:
    try:
        return create_engine(make_url(url), hide_parameters=True, poolclass=NullPool, use_native_hstore=False)
    except (ArgumentError, ValueError):
        reason = "DATABASE_URL cannot be read. Write it like postgresql+psycopg://user@host:5432/name."
    raise DatabaseUnavailable(reason)  # here, because that error repeats the URL with its password


def unsupported(version: int) -> DatabaseUnavailable | None:
    """What to raise before anything is asked of a server that is too old.

    Args:
        version: as the server told it when the connection was made, 130004 for 13.4; 0 where it told none.
    """
    if not 0 < version < 10_000 * OLDEST:
        return None
    major, minor = divmod(version // 100, 100)
    told = major if major >= 10 else f"{major}.{minor}"  # noqa: PLR2004 - until 9.6 a major version had two numbers
    return DatabaseUnavailable(
        f"The database server is PostgreSQL {told}. Qodex needs PostgreSQL {OLDEST} or newer. Nothing was changed; "
        "upgrade the server, or name another one in DATABASE_URL.",
        cause="unsupported",
    )


def _is_the_server(connection: psycopg.Connection[Any]) -> bool:
    """Whether no pooler stands in between: one has numbers of its own for its clients, so that they can cancel."""
    row = connection.execute("SELECT pg_backend_pid()").fetchone()
    return row is not None and row[0] == connection.pgconn.backend_pid


def _patience(limit: float) -> float | None:
    """The server ends a statement at its limit and says why; one that does not is given up a little later."""
    return 1.1 * limit + _GRACE if limit else None


def _threshold(value: object) -> int | None:
    """After how many uses psycopg prepares a statement on the server. As text it would fail at each of them."""
    if value is None or str(value).lower() in {"", "none", "off"}:
        return None
    if str(value).isdecimal():
        return int(str(value))
    raise DatabaseUnavailable(
        "DATABASE_URL: prepare_threshold is a whole number, or none for no prepared statements.",
        cause="options",
    )


def _begin(seconds: float, *, write: bool, durable: bool, endless: bool) -> str:
    """A transaction's first statements. A lock is given up before the statement is, so that the cause is told."""
    mode = "" if write else " ISOLATION LEVEL REPEATABLE READ READ ONLY"
    settings = {
        "lock_timeout": int(900 * seconds),
        "statement_timeout": 0 if endless else int(1000 * seconds),
        "idle_in_transaction_session_timeout": 0 if endless else int(1000 * seconds),
    }
    relaxed = "; SET LOCAL synchronous_commit = off" if write and not durable else ""
    return (
        f"BEGIN{mode}"
        + "".join(f"; SET LOCAL {name} = {value}" for name, value in settings.items())
        + relaxed
    )
