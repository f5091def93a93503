"""Migration 0007: where rows were imported before, their former ids go on being recognised; elsewhere nobody looks."""

from __future__ import annotations

import pytest
from sqlalchemy import Connection, text

from lib.db import Database
from lib.db.migrate import migrate
from lib.exchange.imports.imported_files import has_former_ids
from tests.old_schemas import begin_at


def _old_database(url: str, *, imported: bool) -> Database:
    database = Database(url)
    with database.write() as connection:
        begin_at(connection, "0006", "p")
        _add(connection, "i-1" if imported else "2f6a8f6e-0c3d-4c1b-9a52-6a3d0e9b7c11", imported=imported)
    return database


def _add(connection: Connection, event_id: str, *, imported: bool) -> None:
    connection.execute(
        text(
            "INSERT INTO usage_events (project_id, event_id, occurred_at, source, provider, model, endpoint, status,"
            " imported) VALUES ('p', :event_id, 1, 'byok', 'openai', 'gpt-5', '', 'ok', :imported)"
        ),
        {"event_id": event_id, "imported": imported},
    )


@pytest.mark.parametrize("imported", [True, False])
def test_only_a_database_with_imported_rows_is_searched_for_former_ids(
    empty_database_url: str, *, imported: bool
) -> None:
    database = _old_database(empty_database_url, imported=imported)
    migrate(database)
    with database.read() as connection:
        assert has_former_ids(connection) == imported
    database.close()


def test_rows_that_a_program_of_before_imports_after_the_upgrade_are_recognised_as_well(
    empty_database_url: str,
) -> None:
    database = _old_database(empty_database_url, imported=False)
    migrate(database)
    with database.write() as connection:
        assert not has_former_ids(connection)
        _add(connection, "i-0123456789abcdef0123456789abcdef", imported=True)
        assert has_former_ids(connection)
    database.close()


def test_a_new_database_is_not(database_url: str) -> None:
    database = Database(database_url)
    with database.read() as connection:
        assert not has_former_ids(connection)
    database.close()
