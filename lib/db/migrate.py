"""Bring the database to the newest schema when a process starts; safe when several start at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, inspect, text

from lib.db.engine import Database
from lib.db.tables import metadata
from lib.errors import DatabaseUnavailable

HEAD = "0010"
_FOLDER = Path(__file__).parent / "migrations"
_LOCK = 0x716F6465  # "qode": PostgreSQL's advisory lock of this product


def migrate(database: Database, *, seal_projects: Callable[[Connection], None] | None = None) -> None:
    """Create or upgrade the schema. Cheap where there is nothing to do: one SELECT, no Alembic.

    Args:
        database: the one to bring up to date.
        seal_projects: what the step that brings seals seals with those projects that are there already. Without
            it they stay locked until an operator seals them.

    Raises:
        DatabaseUnavailable: the database is newer than this program, or cannot be reached.
    """
    if current_revision(database) == HEAD:
        return
    with database.write() as connection, _alone(connection, database):
        _upgrade(connection, seal_projects)


def current_revision(database: Database, *, seconds: float | None = None) -> str | None:
    """The schema's revision, None for an empty database. ``seconds`` as in ``Database.read``."""
    with database.read(seconds=seconds) as connection:
        return _revision(connection)


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    revision: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return revision


def _upgrade(connection: Connection, seal_projects: Callable[[Connection], None] | None) -> None:
    from alembic import command  # noqa: PLC0415 - loaded only when there is something to do
    from alembic.config import Config  # noqa: PLC0415
    from alembic.script import ScriptDirectory  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(_FOLDER).replace("%", "%%"))
    config.attributes.update(connection=connection, seal_projects=seal_projects)
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    found = _revision(connection)
    if found is not None and found not in known:
        raise DatabaseUnavailable(
            f"The database was made by a newer version of Qodex (schema {found}). Update this program."
        )
    if found is None and set(inspect(connection).get_table_names()) & set(metadata.tables):
        raise DatabaseUnavailable(
            "The database has tables of another program. Give Qodex a database of its own (DATABASE_URL)."
        )
    command.upgrade(config, "head")


@contextmanager
def _alone(connection: Connection, database: Database) -> Iterator[None]:
    """SQLite's write transaction is a lock already; PostgreSQL holds one until the transaction ends."""
    if not database.is_sqlite:
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
    yield
