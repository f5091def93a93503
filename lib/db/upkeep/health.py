"""Whether a database is usable, for the operator: reachable, of this program's schema, writable."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import text, update

from lib.db.engine import Database
from lib.db.migrate import HEAD, current_revision
from lib.db.tables import deployment
from lib.errors import DatabaseUnavailable

_VERSION = {True: text("SELECT sqlite_version()"), False: text("SHOW server_version")}


def describe(database: Database, *, seconds: float | None = None) -> str:
    """Engine and version, having proved that the schema is the newest and that a row can be written.

    Args:
        database: to be looked at.
        seconds: how long each statement and lock may take; None for the operator's limit.

    Raises:
        DatabaseUnavailable: says what is wrong.
    """
    found = current_revision(database, seconds=seconds)
    if found != HEAD:
        raise DatabaseUnavailable(
            f"The database has schema {found or 'none'}, this program needs {HEAD}. Start the dashboard once."
        )
    with database.read(seconds=seconds) as connection:
        version = str(connection.execute(_VERSION[database.is_sqlite]).scalar_one())
    _write_nothing(database, seconds)
    return f"{'SQLite' if database.is_sqlite else 'PostgreSQL'} {version}, schema {found}"


def _write_nothing(database: Database, seconds: float | None) -> None:
    """Write a row as it is, and take that back. On PostgreSQL the language of the triggers has to load, too."""
    with (
        database.write(durable=False, seconds=seconds) as connection,
        connection.begin_nested() as attempt,
    ):
        if not database.is_sqlite:
            connection.exec_driver_sql("DO $$ BEGIN END $$")
        connection.execute(update(deployment).values(one=deployment.c.one))
        attempt.rollback()


_COMPANIONS = ("-wal", "-shm", "-journal", "-next", "-queue")


def files_of(url: str) -> list[Path]:
    """The files of a SQLite database that exist; none for PostgreSQL."""
    return [file for file in names_of(url) if file.exists()]


def names_of(url: str) -> list[Path]:
    """Every name that a SQLite database may write to, whether it is there or not; none for PostgreSQL."""
    if not url.startswith("sqlite:///"):
        return []
    path = Path(url.removeprefix("sqlite:///"))
    return [path, *(path.with_name(path.name + end) for end in _COMPANIONS)]
