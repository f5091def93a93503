"""Migration 0007: where rows were imported before, their former ids go on being recognised; elsewhere nobody looks."""

from __future__ import annotations

from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import text

from lib.db import Database, migrations
from lib.db.migrate import migrate
from lib.exchange.imported_files import has_former_ids


def _old_database(url: str, *, imported: bool) -> Database:
    database = Database(url)
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    with database.write() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0006")
        connection.execute(
            text(
                "INSERT INTO projects (id, slug, name, plan, created_at, created_by)"
                " VALUES ('p', 'shop', 'Shop', 'Starter', 1, 'somebody')"
            )
        )
        connection.execute(
            text(
                "INSERT INTO usage_events (project_id, event_id, occurred_at, source, provider, model, endpoint, status,"
                " imported) VALUES ('p', 'i-1', 1, 'byok', 'openai', 'gpt-5', '', 'ok', :imported)"
            ),
            {"imported": imported},
        )
    return database


@pytest.mark.parametrize("imported", [True, False])
def test_only_a_database_with_imported_rows_is_searched_for_former_ids(
    empty_database_url: str, *, imported: bool
) -> None:
    database = _old_database(empty_database_url, imported=imported)
    migrate(database)
    with database.read() as connection:
        assert has_former_ids(connection) == imported
    database.close()


def test_a_new_database_is_not(database_url: str) -> None:
    database = Database(database_url)
    with database.read() as connection:
        assert not has_former_ids(connection)
    database.close()
