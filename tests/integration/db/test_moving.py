"""From SQLite to PostgreSQL: all that was there, as it was; or nothing."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import select, text

from lib.cli import cli
from lib.db import Database
from lib.db.tables import accounts, audit_log, metadata, open_calls
from lib.db.upkeep.moving import _ALONE, copy_database
from lib.errors import BadInput, DatabaseUnavailable
from lib.platform import Platform
from lib.secret import Secret
from lib.settings import Settings
from lib.usage import rollups
from tests.calls import SAY
from tests.services import PostgresServer, wait_until
from tests.upstream import GOOD_KEY, PLATFORM_KEY, ScriptedUpstream


@pytest.fixture
def target_url(postgres: PostgresServer) -> Iterator[str]:
    """A PostgreSQL database without tables."""
    name = postgres.create()
    yield postgres.url(name)
    postgres.drop(name)


@pytest.fixture
def database_kind() -> str:
    """What is moved is SQLite."""
    return "sqlite"


@pytest.fixture
def source(settings: Settings) -> Iterator[Platform]:
    """Two projects, a key, members, a plan of one's own, finished runs, and a call that is open."""
    platform = Platform(settings.model_copy(update={"openai_api_key": Secret(PLATFORM_KEY)}))
    platform._heartbeat._interval = (
        3_600  # what is compared with a copy stays as it is, however long that takes
    )
    for slug in ("shop", "own"):
        platform.projects.add(slug, actor=platform.actor)
    platform.keys.save("own", GOOD_KEY, actor=platform.actor, expected_version=0)
    platform.members.put("ada@example.com", "lead", slug="shop", actor=platform.actor)
    for slug in ("shop", "own", "shop"):
        with platform.run(slug) as run:
            run.openai.responses.create(model="gpt-5-mini", input="Hi")
    with platform.run("shop") as run:
        stream = run.openai.chat.completions.create(model="gpt-5-mini", messages=SAY, stream=True)
        next(stream)
        yield platform
        stream.close()
    platform.close()


def everything(database: Database) -> dict[str, list[Any]]:
    """Every row of every table."""
    with database.read() as connection:
        return {
            table.name: sorted(map(tuple, connection.execute(select(table))), key=repr)
            for table in metadata.sorted_tables
        }


@pytest.fixture
def move(source: Platform, target_url: str) -> Callable[..., Result]:
    """``db copy`` as an operator runs it."""

    def run(*urls: str) -> Result:
        assert source.settings.master_keys
        environment = {
            "DATABASE_URL": source.settings.database_url,
            "QODEX_MASTER_KEYS": source.settings.master_keys.reveal(),
        }
        words = urls or (source.settings.database_url, target_url)
        return CliRunner().invoke(cli, ["db", "copy", *words], env=environment)

    return run


def test_all_of_it_is_there_and_goes_on_from_where_it_was(
    source: Platform, target_url: str, move: Callable[..., Result], upstream: ScriptedUpstream
) -> None:
    before = everything(source.database)
    assert before["open_calls"]
    assert before["usage_events"]
    done = move()
    assert done.exit_code == 0, done.output
    assert "every count and sum is the same" in done.stderr
    assert "Every key opens" in done.stderr
    settings = source.settings.model_copy(update={"database_url": target_url})
    with closing(Platform(settings)) as moved:
        assert everything(moved.database) == before
        assert everything(source.database) == before
        assert list(rollups.verify(moved.database)) == []
        assert moved.keys.resolve("own").secret.reveal() == GOOD_KEY
        moved.projects.add("third", actor=moved.actor)
        for slug in ("shop", "own", "third"):
            with moved.run(slug) as run:
                run.openai.responses.create(model="gpt-5-mini", input="Hi")
        assert list(rollups.verify(moved.database)) == []
        with moved.database.read() as connection:
            numbers = connection.execute(select(audit_log.c.id).order_by(audit_log.c.id)).scalars().all()
            reserved = connection.execute(select(accounts.c.reserved_nano)).scalars().all()
            ceilings = connection.execute(select(open_calls.c.ceiling_nano)).scalars().all()
    assert len(numbers) > len(before["audit_log"])
    assert sum(reserved) == sum(ceilings) > 0


def test_a_database_with_rows_is_refused_and_left_as_it_is(
    source: Platform, target_url: str, move: Callable[..., Result]
) -> None:
    assert move().exit_code == 0
    with closing(Database(target_url)) as target:
        before = everything(target)
        again = move()
        assert again.exit_code == 1
        assert "is not empty" in again.stderr
        assert everything(target) == before


@pytest.mark.parametrize("table", ["usage_events", "audit_log", "usage_hourly_totals"])
def test_what_does_not_arrive_whole_is_not_copied_at_all_and_can_be_copied_again(
    source: Platform, target_url: str, move: Callable[..., Result], table: str
) -> None:
    """A trigger loses a row, as a fault on the way would."""
    assert source.database.deployment_id
    with closing(Database(target_url)) as target:
        prepare(target, table)
        with pytest.raises(DatabaseUnavailable, match="Nothing was copied"):
            copy_database(source.database, target)
        assert not everything(target)["projects"]
        with target.write() as connection:
            connection.execute(text(f"DROP TRIGGER lose ON {table}"))
    assert move().exit_code == 0


KILLED = """
import os, signal, sys
from lib.db import Database
from lib.db.upkeep.moving import _ALONE, copy_database

def die(copied):
    if copied.table == sys.argv[3]:
        os.kill(os.getpid(), signal.SIGKILL)

copy_database(Database(sys.argv[1]), Database(sys.argv[2]), die)
"""


@pytest.mark.parametrize("table", ["deployment", "usage_events", "usage_daily_caching"])
def test_killed_at_any_table_it_leaves_no_row_and_begins_again(
    source: Platform, target_url: str, move: Callable[..., Result], table: str
) -> None:
    before = everything(source.database)
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, source.settings.database_url, target_url, table], check=False
    )
    assert killed.returncode == -signal.SIGKILL
    with closing(Database(target_url)) as target:
        wait_for_the_server(target)
        assert not everything(target)["projects"]
        again = move()
        assert again.exit_code == 0, again.stderr
        assert "begins at the beginning" in again.stderr
        assert "Every key opens" in again.stderr
        assert everything(target) == before


def wait_for_the_server(target: Database) -> None:
    """Until it has noticed that the killed process is gone."""

    def is_alone() -> bool:
        with target.write() as connection:
            return bool(connection.execute(_ALONE).scalar_one())

    assert wait_until(is_alone, 600)


def test_two_copies_into_one_database_do_not_meet(
    source: Platform, target_url: str, move: Callable[..., Result]
) -> None:
    with closing(Database(target_url)) as target:
        with target.write() as other:
            other.execute(_ALONE)
            refused = move()
        assert refused.exit_code == 1
        assert "Another copy" in refused.stderr
        assert not everything(target)["projects"]
    assert move().exit_code == 0


def prepare(target: Database, table: str) -> None:
    from lib.db.migrate import migrate

    migrate(target)
    with target.write() as connection:
        lose = "CREATE FUNCTION lose() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'"
        connection.execute(text(lose))
        connection.execute(
            text(f"CREATE TRIGGER lose BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION lose()")
        )


def test_only_sqlite_is_copied_into_only_postgresql(
    source: Platform, target_url: str, move: Callable[..., Result], tmp_path: Path
) -> None:
    for urls in (
        (target_url, source.settings.database_url),
        (source.settings.database_url, f"sqlite:///{tmp_path / 'other.db'}"),
    ):
        refused = move(*urls)
        assert refused.exit_code == 1
        assert "SQLite database is copied into a PostgreSQL one" in refused.stderr
    assert move("mysql://x", target_url).exit_code == 1


def test_an_older_schema_is_brought_up_to_date_first(source: Platform, target_url: str) -> None:
    with source.database.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '0009'"))
    with closing(Database(target_url)) as target, pytest.raises(BadInput, match="Start the dashboard"):
        copy_database(source.database, target)
