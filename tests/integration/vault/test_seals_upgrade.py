"""A database that is older than seals: sealed once, when it is upgraded, where an operator sees it; never again by itself."""

from __future__ import annotations

import base64
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from sqlalchemy import insert, text

from lib.access.roles import Origin, local_administrator
from lib.cli import cli
from lib.db import Database
from lib.db.tables import provider_keys
from lib.errors import KeyLocked, MasterKeyMissing
from lib.platform import Platform
from lib.secret import Secret
from lib.settings import Settings
from lib.vault.master_keys.masters import Keyring
from lib.vault.opening import RowCipher
from lib.vault.sealing import MasterKey
from lib.vault.unsealed import seal_existing
from tests.old_schemas import begin_at

MASTER, OTHER = os.urandom(32), os.urandom(32)
KEY, PLATFORM = "sk-test-own-key-1111", "sk-test-platform-key-0003"
BEFORE = "0007"
OPERATOR = local_administrator(Origin.COMMAND_LINE, "olga")


def text_of(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


@pytest.fixture
def old_url(empty_database_url: str) -> str:
    """The schema before seals, with a project that has a key and one that has none."""
    database = Database(empty_database_url)
    with database.write() as connection:
        begin_at(connection, BEFORE, "own", "funded")
        for slug in ("own", "funded"):
            connection.execute(text("INSERT INTO accounts (project_id) VALUES (:slug)"), {"slug": slug})
    sealed = RowCipher(database, Keyring([MasterKey(MASTER)])).seal(Secret(KEY), "own", "openai", "an id", 1)
    row = {"scheme": sealed.scheme, "master_key_id": sealed.master_key_id, "saved_at": 1, "saved_by": "x"}
    row |= {"sealed_data_key": sealed.data_key, "sealed_value": sealed.value, "last4": "1111"}
    row |= {"project_id": "own", "provider": "openai", "version": 1, "secret_id": "an id"}
    with database.write() as connection:
        connection.execute(insert(provider_keys), row)
    database.close()
    return empty_database_url


def settings_of(url: str, tmp_path: Path, *masters: bytes) -> Settings:
    keys = Secret(",".join(map(text_of, masters))) if masters else None
    return Settings(
        database_url=url,
        master_keys=keys,
        master_key_file=tmp_path / "keys" / "master.key",
        openai_api_key=Secret(PLATFORM),
    )


def rows(platform: Platform, statement: str) -> list[Any]:
    with platform.database.write() as connection:
        found = connection.execute(text(statement))
        return list(found) if found.returns_rows else []


@pytest.fixture
def upgraded(old_url: str, tmp_path: Path) -> Iterator[Platform]:
    platform = Platform(settings_of(old_url, tmp_path, MASTER))
    yield platform
    platform.close()


def test_the_upgrade_seals_what_is_there_and_an_operator_sees_it(
    old_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        platform = Platform(settings_of(old_url, tmp_path, MASTER))
    assert "of 2 projects, as they are in the database" in caplog.text
    assert platform.keys.resolve("own").secret.reveal() == KEY
    assert platform.keys.resolve("funded").source == "platform"
    told = rows(platform, "SELECT actor, project FROM audit_log WHERE action = 'project:sealed' ORDER BY id")
    assert [tuple(row) for row in told] == [("worker", "funded"), ("worker", "own")]
    platform.close()
    environment = {"DATABASE_URL": old_url, "QODEX_MASTER_KEYS": text_of(MASTER)}
    doctor = CliRunner().invoke(cli, ["doctor"], env=environment)
    assert "2 projects sealed as found in the database, last" in doctor.output


def test_a_second_start_seals_nothing(upgraded: Platform, old_url: str, tmp_path: Path) -> None:
    before = rows(upgraded, "SELECT seal FROM projects ORDER BY id")
    Platform(settings_of(old_url, tmp_path, MASTER)).close()
    assert rows(upgraded, "SELECT seal FROM projects ORDER BY id") == before


def test_whoever_deletes_the_seals_does_not_get_others_at_the_next_start(
    upgraded: Platform, old_url: str, tmp_path: Path
) -> None:
    rows(upgraded, "DELETE FROM provider_keys")
    rows(upgraded, "UPDATE projects SET sealed_keys = NULL, seal_master_key_id = NULL, seal = NULL")
    again = Platform(settings_of(old_url, tmp_path, MASTER))
    for slug in ("own", "funded"):
        with pytest.raises(KeyLocked, match="nothing seals"):
            again.keys.resolve(slug)
    again.close()


def test_whoever_stages_the_upgrade_again_gets_nothing_sealed(
    upgraded: Platform, caplog: pytest.LogCaptureFixture
) -> None:
    """The audit log, which an application account cannot change, says that there were seals."""
    rows(upgraded, "UPDATE projects SET sealed_keys = NULL, seal_master_key_id = NULL, seal = NULL")
    with upgraded.database.write() as connection:
        seal_existing(upgraded.database, upgraded.settings, OPERATOR, connection)
    assert "had seals before. Nothing was sealed" in caplog.text
    assert rows(upgraded, "SELECT DISTINCT seal FROM projects") == [(None,)]


def test_without_a_master_key_the_upgrade_seals_nothing_and_calls_stop_until_an_operator_has_looked(
    old_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    Platform(settings_of(old_url, tmp_path)).close()
    assert "No project was sealed: There is no master key" in caplog.text
    platform = Platform(settings_of(old_url, tmp_path, MASTER))
    with pytest.raises(KeyLocked, match="nothing seals"):
        platform.keys.resolve("funded")
    assert platform.masters.status(actor=OPERATOR).altered
    platform.unsealed.seal(platform.unsealed.find(actor=OPERATOR), actor=OPERATOR)
    assert platform.keys.resolve("funded").source == "platform"
    assert platform.keys.resolve("own").secret.reveal() == KEY
    assert not platform.masters.status(actor=OPERATOR).altered
    platform.close()


def test_what_a_program_of_before_changes_after_the_upgrade_is_locked_until_an_operator_seals_it(
    upgraded: Platform, old_url: str
) -> None:
    """As docs/operators.md has it: a project that it creates, and a policy that it sets, have no seal of their own."""
    columns = (
        "(id, slug, name, plan, created_at, created_by) VALUES ('late', 'late', 'late', 'Starter', 1, 'x')"
    )
    rows(upgraded, f"INSERT INTO projects {columns}")
    rows(upgraded, "INSERT INTO accounts (project_id) VALUES ('late')")
    rows(upgraded, "UPDATE projects SET on_key_failure = 'platform' WHERE slug = 'own'")
    for slug in ("late", "own"):
        with pytest.raises(KeyLocked, match="older version"):
            upgraded.keys.resolve(slug)
    assert upgraded.keys.resolve("funded").source == "platform"
    environment = {"DATABASE_URL": old_url, "QODEX_MASTER_KEYS": text_of(MASTER)}
    status = CliRunner().invoke(cli, ["master", "status"], env=environment)
    assert status.exit_code == 1
    assert "late is locked" in status.output
    assert CliRunner().invoke(cli, ["master", "seal", "--yes"], env=environment).exit_code == 0
    assert CliRunner().invoke(cli, ["master", "status"], env=environment).exit_code == 0
    assert upgraded.keys.resolve("late").source == "platform"
    assert upgraded.keys.resolve("own").secret.reveal() == KEY


def test_a_key_that_did_not_open_before_does_not_open_afterwards(old_url: str, tmp_path: Path) -> None:
    platform = Platform(settings_of(old_url, tmp_path, OTHER))
    assert platform.keys.describe("own").status == "locked"
    assert platform.keys.resolve("funded").source == "platform"
    platform.close()


def test_a_new_database_needs_a_master_key_for_its_first_project(database_url: str, tmp_path: Path) -> None:
    settings = settings_of(database_url, tmp_path, MASTER)
    platform = Platform(settings)
    platform.projects.add("shop", actor=OPERATOR)
    assert platform.keys.resolve("shop").source == "platform"
    platform.close()
    keyless = Platform(replace_keys(settings))
    with pytest.raises(MasterKeyMissing, match="no project can be created"):
        keyless.projects.add("other", actor=OPERATOR)
    assert [project.slug for project in keyless.projects.list(actor=OPERATOR)] == ["shop"]
    assert keyless.keys.describe("shop").lock_reason is not None
    keyless.close()


def replace_keys(settings: Settings) -> Settings:
    return settings.model_copy(update={"master_keys": None})
