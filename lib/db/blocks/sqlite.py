"""What is particular to SQLite: its file, its connections, how a transaction begins and ends."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.pool import NullPool

from lib.db.blocks.limits import Limits
from lib.errors import DatabaseUnavailable

OLDEST = (3, 35)
_ANY_TIME = 2**31 - 1
# recursive_triggers: REPLACE may not pass by the triggers that keep the audit log.
# secure_delete: the sealed key that is removed is overwritten in its page, not left there.
# cache_size: 32 MiB, or a year's sums are sorted on disk.
_PRAGMAS = (
    "journal_mode=WAL",
    "cache_size=-32768",
    "foreign_keys=ON",
    "synchronous=FULL",
    "recursive_triggers=ON",
    "secure_delete=ON",
)


class SQLite:
    """The driver's side of one SQLite database."""

    name = "sqlite"

    def __init__(self, url: str, limits: Limits) -> None:
        if sqlite3.sqlite_version_info < OLDEST:
            raise DatabaseUnavailable(
                f"This Python has SQLite {sqlite3.sqlite_version}. Qodex needs 3.35 or newer: use a newer Python.",
                cause="unsupported",
            )
        self.path = prepare_file(url)
        self._limits = limits
        arguments = {"timeout": limits.seconds, "check_same_thread": False}
        self.engine: Engine = create_engine(
            url, hide_parameters=True, poolclass=NullPool, connect_args=arguments
        )
        event.listen(self.engine, "connect", _prepare)

    def begin(self, driver: Any, *, write: bool, durable: bool, seconds: float | None) -> None:
        """Begin a transaction."""
        if write:
            driver.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
        driver.execute(
            f"PRAGMA busy_timeout={_patience(self._limits.seconds if seconds is None else seconds)}"
        )
        # IMMEDIATE: a transaction that will write must not find out at its end that it may not.
        driver.execute("BEGIN IMMEDIATE" if write else "BEGIN")

    def commit(self, driver: Any) -> None:
        """Keep what was written."""
        driver.commit()

    def rollback(self, driver: Any) -> None:
        """Undo what was written, and leave the connection fit for the next transaction."""
        driver.rollback()

    def end_read(self, driver: Any) -> None:
        """End a transaction that was to read only; nothing that it wrote stays."""
        driver.rollback()

    def call_function(
        self, driver: Any, name: str, asked: str, *, durable: bool, seconds: float | None
    ) -> Any:
        """It has no functions, and no round trips that they would save."""

    def close(self, driver: Any) -> None:
        """Whatever state it is in. Statements that are still held somewhere would keep its locks: so first undo."""
        try:
            driver.rollback()
        finally:
            driver.close()

    def is_alive(self, driver: Any) -> bool:
        """A file does not go away."""
        return driver is not None


def _patience(seconds: float) -> int:
    """Milliseconds; 0 seconds are any time, where SQLite's 0 is none."""
    return int(1000 * seconds) or _ANY_TIME


def prepare_file(url: str) -> Path:
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


def _prepare(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # the transactions are ours
    for pragma in _PRAGMAS:
        connection.execute(f"PRAGMA {pragma}")
