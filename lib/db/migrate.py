"""Bring the database to the newest schema when a process starts; safe when several start at once."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import Connection, inspect, text

from lib.db.engine import Database
from lib.db.tables import metadata
from lib.errors import DatabaseUnavailable

log = logging.getLogger(__name__)

HEAD = "0011"
_FOLDER = Path(__file__).parent / "migrations"
_LOCK_SECONDS = 3.0
_PAUSE = 0.5
_MOST_TRIES = 60
_PASSING = {"busy", "deadlock"}
_LOCK = 0x716F6465  # "qode": PostgreSQL's advisory lock of this product


def migrate(database: Database, *, seal_projects: Callable[[Connection], None] | None = None) -> None:
    """Create or upgrade the schema. Cheap where there is nothing to do: one SELECT, no Alembic.

    Each step is a transaction of its own, so that none keeps locks while the next one waits for calls that wait for
    those. Workers go on meanwhile: a step asks for a lock only for a moment, because calls queue behind whoever
    waits for one, and then tries again.

    Args:
        database: the one to bring up to date.
        seal_projects: what the step that brings seals seals with those projects that are there already. Without
            it they stay locked until an operator seals them.

    Raises:
        DatabaseUnavailable: the database is newer than this program, or cannot be reached.
    """
    if current_revision(database) == HEAD:
        return
    tries = 0
    while current_revision(database) != HEAD:
        try:
            with database.write(seconds=0) as connection:
                _wait_for_others(connection, database)
                _upgrade_one_step(connection, seal_projects)
        except DatabaseUnavailable as problem:
            tries += 1
            if problem.cause not in _PASSING or tries == _MOST_TRIES:
                raise
            log.info("The upgrade of the schema lets calls in progress go first, and tries again.")
            time.sleep(_PAUSE)


def current_revision(database: Database, *, seconds: float | None = None) -> str | None:
    """The schema's revision, None for an empty database. ``seconds`` as in ``Database.read``."""
    with database.read(seconds=seconds) as connection:
        return _revision(connection)


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    revision: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return revision


def _upgrade_one_step(connection: Connection, seal_projects: Callable[[Connection], None] | None) -> None:
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
    if found != HEAD:  # another process was first
        command.upgrade(config, "+1")


def _wait_for_others(connection: Connection, database: Database) -> None:
    """One process upgrades at a time, however long another one takes; SQLite's write is alone already."""
    if not database.is_sqlite:
        connection.exec_driver_sql("SET LOCAL lock_timeout = 0")
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = {int(1000 * _LOCK_SECONDS)}")
