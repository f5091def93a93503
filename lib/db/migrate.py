"""Bring the database to the newest schema when a process starts; safe when several start at once."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, inspect, text

from lib.db.engine import Database
from lib.db.migrations.months_0019 import give_up
from lib.db.migrations.online import Online, limit_lock_waits
from lib.db.tables import metadata
from lib.errors import DatabaseUnavailable

log = logging.getLogger(__name__)

HEAD = "0021"
_BY_MONTHS = "0019"
_FOLDER = Path(__file__).parent / "migrations"
_PAUSE, _LONGEST_PAUSE = 0.5, 5.0
_MOST_TRIES = 60
_PASSING = {"busy", "deadlock"}
# PostgreSQL's advisory locks of this product. Programs of before there was the second one wait for the first
# with a snapshot, and an index that is built without blocking waits for every snapshot: so the first is held
# for a step's own transaction only.
_LOCK = 0x716F6465  # "qode"
_TURN = 0x716F6466
_TRY_TURN = f"SELECT pg_try_advisory_xact_lock({_TURN})"

Seal = Callable[[Connection], None]


def migrate(database: Database, *, seal_projects: Seal | None = None) -> None:
    """Create or upgrade the schema. Cheap where there is nothing to do: one SELECT, no Alembic.

    Workers go on meanwhile. Each step is a transaction of its own, that asks for a lock which calls have to wait for
    on one table only, or in the order in which they take it, and only for a moment; then it lets them go first,
    and tries again. What takes long on PostgreSQL is done ahead of the step, without such a lock
    (lib.db.migrations.online).

    Args:
        database: the one to bring up to date.
        seal_projects: what the step that brings seals seals with those projects that are there already. Without
            it they stay locked until an operator seals them.

    Raises:
        DatabaseUnavailable: the database is newer than this program, or cannot be reached.
    """
    tries = 0
    while current_revision(database) != HEAD:
        try:
            with upgrade_turn(database) as is_ours:
                if is_ours:
                    _go_on(database, seal_projects)
                    tries = 0
        except DatabaseUnavailable as problem:
            tries += 1
            if problem.cause not in _PASSING or tries == _MOST_TRIES:
                raise
            log.info("The upgrade of the schema lets calls in progress go first, and tries again.")
            is_ours = False
        if not is_ours:
            time.sleep(min(_PAUSE * max(tries, 1), _LONGEST_PAUSE))


def current_revision(database: Database, *, seconds: float | None = None) -> str | None:
    """The schema's revision, None for an empty database. ``seconds`` as in ``Database.read``."""
    with database.read(seconds=seconds) as connection:
        return _revision(connection)


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    revision: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return revision


@contextmanager
def upgrade_turn(database: Database) -> Iterator[bool]:
    """Whether this process may upgrade now: one does at a time, however long that takes. SQLite's write is alone already.

    No process waits inside a transaction for the turn (see ``_LOCK``).
    """
    if database.is_sqlite:
        yield True
        return
    with database.write(seconds=0) as connection:
        driver: Any = connection.connection.dbapi_connection
        # Without parameters, and not prepared after some steps, so that no open portal keeps the snapshot of this
        # transaction: an index that a later step builds would wait for it for ever.
        yield driver.execute(_TRY_TURN, prepare=False).fetchone() == (True,)


def _go_on(database: Database, seal_projects: Seal | None) -> None:
    """One step from where the schema is now."""
    from alembic.config import Config  # noqa: PLC0415 - loaded only when there is something to do
    from alembic.script import ScriptDirectory  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(_FOLDER).replace("%", "%%"))
    steps = {step.down_revision: step for step in ScriptDirectory.from_config(config).walk_revisions()}
    with database.read() as connection:
        found = _revision(connection)
        _require_ours(connection, found, {step.revision for step in steps.values()})
    if found == HEAD:  # another process was first
        return
    if not database.is_sqlite and (found or "") >= _BY_MONTHS:
        give_up(
            Online(database)
        )  # what an unfinished move of the events has made does not know what comes now
    ahead = getattr(steps[found].module, "ahead", None)
    if ahead is not None and not database.is_sqlite:
        ahead(Online(database))
    with database.write(seconds=0) as connection:
        _upgrade(connection, config, found, seal_projects)


def _require_ours(connection: Connection, found: str | None, known: set[str]) -> None:
    if found is not None and found not in known:
        raise DatabaseUnavailable(
            f"The database was made by a newer version of Qodex (schema {found}). Update this program."
        )
    if found is None and set(inspect(connection).get_table_names()) & set(metadata.tables):
        raise DatabaseUnavailable(
            "The database has tables of another program. Give Qodex a database of its own (DATABASE_URL)."
        )


def _upgrade(connection: Connection, config: Any, found: str | None, seal_projects: Seal | None) -> None:
    from alembic import command  # noqa: PLC0415

    if connection.dialect.name != "sqlite":
        connection.exec_driver_sql("SET LOCAL lock_timeout = 0")
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        limit_lock_waits(connection)
    if _revision(connection) == found:  # no other process was first
        config.attributes.update(connection=connection, seal_projects=seal_projects)
        command.upgrade(config, "+1")
