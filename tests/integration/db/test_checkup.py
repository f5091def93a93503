"""What an operator is told of a database that works and is not all right."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from click.testing import CliRunner
from sqlalchemy import text

from lib.cli import cli
from lib.clock import HOUR, MINUTE, SECOND
from lib.db import Database
from lib.db.upkeep import checkup
from lib.db.upkeep.checkup import TRIGGERS, examine
from tests.old_schemas import begin_at

on_postgres = pytest.mark.parametrize("database_kind", ["postgresql"])
on_sqlite = pytest.mark.parametrize("database_kind", ["sqlite"])


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    opened = Database(database_url)
    yield opened
    opened.close()


def wrong(database: Database, url: str, *, ahead: int = 0) -> list[tuple[str, str]]:
    """What is not ok; ``ahead``: of this machine's clock, microseconds."""
    found = examine(database, url, clock=lambda: time.time_ns() + 1000 * ahead)
    return [(each.check, each.status) for each in found if each.status != "ok"]


def messages(database: Database, url: str) -> str:
    return "\n".join(each.message for each in examine(database, url))


def change(database: Database, *statements: str) -> None:
    with database.write() as connection:
        for statement in statements:
            connection.execute(text(statement))


def test_nothing_is_wrong_with_a_new_database(database: Database, database_url: str) -> None:
    assert wrong(database, database_url) == []


def test_every_trigger_of_a_new_database_is_known(database: Database) -> None:
    with database.read() as connection:
        engine = connection.dialect.name
        there = set(connection.execute(text(checkup._THERE[engine])).scalars())
    assert there == TRIGGERS[engine]


def test_what_is_missing_is_named(database: Database, database_url: str) -> None:
    on = "" if database.is_sqlite else " ON usage_daily"
    change(
        database,
        "DROP INDEX ix_usage_events_run",
        "DROP INDEX ix_usage_events_sample",
        "DROP TABLE project_labels",
        f"DROP TRIGGER usage_daily_insert{on}",
        "ALTER TABLE runs ADD COLUMN noted_by_an_operator INTEGER",
    )
    assert wrong(database, database_url) == [("schema", "broken")] * 4
    said = messages(database, database_url)
    indexes = ("index ix_usage_events_run", "index ix_usage_events_sample")
    for name in (*indexes, "table project_labels", "trigger usage_daily_insert"):
        assert f"{name} is missing" in said


@on_postgres
def test_a_trigger_that_is_switched_off_is_as_good_as_missing(database: Database, database_url: str) -> None:
    change(database, "ALTER TABLE audit_log DISABLE TRIGGER audit_log_no_change")
    assert wrong(database, database_url) == [("schema", "broken")]


@on_postgres
def test_what_an_upgrade_left_unfinished_is_named(database: Database, database_url: str) -> None:
    change(
        database,
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'ix_usage_events_run'::regclass",
        "ALTER TABLE runs ADD CONSTRAINT half CHECK (calls >= 0) NOT VALID",
    )
    said = messages(database, database_url)
    assert "index ix_usage_events_run was not finished" in said
    assert "rule half was not finished" in said


@on_postgres
@pytest.mark.parametrize(("stuck", "status"), [(2**60, "note"), (0, "broken")])
def test_a_transaction_that_does_not_end_is_told_with_its_program(
    database: Database, database_url: str, monkeypatch: pytest.MonkeyPatch, stuck: int, status: str
) -> None:
    monkeypatch.setattr(checkup, "LONG", 0)
    monkeypatch.setattr(checkup, "STUCK", stuck)
    with psycopg.connect(database_url.replace("+psycopg", ""), application_name="somebody's psql") as other:
        other.execute("SELECT 1")
        found = [each for each in examine(database, database_url) if each.check == "transactions"]
    assert [each.status for each in found] == [status]
    assert "somebody's psql" in found[0].message
    assert "idle in transaction" in found[0].message


@on_postgres
@pytest.mark.parametrize(
    ("ahead", "found"),
    [
        (SECOND, []),
        (-MINUTE, [("clock", "note")]),
        (MINUTE, [("clock", "note")]),
        (HOUR, [("clock", "broken")]),
    ],
)
def test_a_clock_that_differs_from_the_servers_is_told(
    database: Database, database_url: str, ahead: int, found: list[tuple[str, str]]
) -> None:
    assert wrong(database, database_url, ahead=ahead) == found


def past_qodex(url: str, *statements: str) -> None:
    """Change a SQLite database with a program that keeps no rule."""
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as other, other:
        for statement in statements:
            other.execute(statement)


@on_sqlite
def test_a_file_that_is_damaged_is_told(database: Database, database_url: str, tmp_path: Path) -> None:
    past_qodex(
        database_url,
        *(f"INSERT INTO run_log VALUES ({n}, 'p', 'r', 1, 't', '{'m' * 150}', NULL)" for n in range(99)),
    )
    with database.read() as connection:
        where = "SELECT rootpage FROM sqlite_master WHERE name = 'ix_run_log_run'"
        page = connection.execute(text(where)).scalar_one()
    database.close()
    file = tmp_path / "qodex.db"
    content = bytearray(file.read_bytes())
    content[(page - 1) * 4096 : (page - 1) * 4096 + 100] = bytes(100)
    file.write_bytes(content)
    assert ("file", "broken") in wrong(database, database_url)


@on_sqlite
def test_a_row_that_names_nothing_is_told(database: Database, database_url: str) -> None:
    past_qodex(database_url, "INSERT INTO usage_models VALUES ('nowhere', 'openai', 'gpt-5')")
    assert wrong(database, database_url) == [("references", "broken")]


@on_sqlite
def test_a_log_that_is_never_emptied_is_told(
    database: Database, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkup, "_LARGE_LOG", 0)
    change(database, "UPDATE deployment SET one = one")
    assert wrong(database, database_url) == [("write-ahead log", "note")]


def test_another_schema_is_told_and_nothing_more(empty_database_url: str) -> None:
    database = Database(empty_database_url)
    with database.write() as connection:
        begin_at(connection, "0010")
    found = list(examine(database, empty_database_url))
    assert [(each.check, each.status) for each in found] == [("database", "broken")]
    assert "has schema 0010, this program needs" in found[0].message
    database.close()


def test_the_command_says_it_in_its_status(database: Database, database_url: str) -> None:
    told = CliRunner().invoke(cli, ["db", "check", "--json"], env={"DATABASE_URL": database_url})
    assert told.exit_code == 0, told.output
    change(database, "DROP INDEX ix_usage_events_run")
    told = CliRunner().invoke(cli, ["db", "check"], env={"DATABASE_URL": database_url})
    assert told.exit_code == 1
    assert "index ix_usage_events_run is missing" in told.stdout


@on_sqlite
def test_no_database_is_made_by_looking_for_one(tmp_path: Path, database_kind: str) -> None:
    nowhere = tmp_path / "nowhere.db"
    told = CliRunner().invoke(cli, ["db", "check"], env={"DATABASE_URL": f"sqlite:///{nowhere}"})
    assert told.exit_code == 1
    assert "There is no database yet" in told.stderr
    assert not nowhere.exists()
