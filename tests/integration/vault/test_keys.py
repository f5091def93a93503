"""The life of a project's key: promises 1 to 6, and 18 for keys, each by name. No network here."""

from __future__ import annotations

import base64
import json
import logging
import pickle
import re
import traceback
from collections.abc import Callable, Iterator
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import pytest

from lib.access.roles import Actor, Origin, Role
from lib.errors import (
    DatabaseConflict,
    DatabaseUnavailable,
    Forbidden,
    KeyChanged,
    KeyLocked,
    KeyMissing,
    MasterKeyMissing,
    ProjectUnknown,
)
from lib.platform import Platform
from lib.secret import Secret
from lib.settings import Settings
from lib.vault.keys import ever_sealed
from lib.vault.sealing import MasterKey
from lib.vault.states import KeyState, Verdict
from tests.vaults import ADMIN, Vault, open_vault

MASTER, SECOND, OTHER = bytes(range(100, 132)), bytes(range(1, 64, 2)), bytes(range(0, 128, 4))
ID = MasterKey(MASTER).id
FIRST_KEY, NEXT_KEY, THIRD_KEY = "sk-test-first-key-1111", "sk-test-next-key-2222", "sk-test-third-key-3333"
PLATFORM = "sk-test-platform-key-0003"
LEAD_NAME = "lena@example.com"


@pytest.fixture
def vault(database_url: str) -> Iterator[Vault]:
    with open_vault(database_url, MASTER, platform_key=PLATFORM, projects=("checkout", "search")) as opened:
        yield opened


def person(vault: Vault, slug: str, role: Role | None, name: str = LEAD_NAME) -> Actor:
    (row,) = vault.sql("SELECT id FROM projects WHERE slug = :slug", slug=slug)
    return Actor(name, Origin.BROWSER, projects={row.id: role} if role else {})


# --- save, replace, remove -------------------------------------------------------------------------


def test_a_project_without_a_key_of_its_own_uses_the_platforms(vault):
    resolved = vault.keys.resolve("checkout")
    assert (resolved.source, resolved.secret.reveal(), resolved.last4) == ("platform", PLATFORM, "0003")
    assert vault.describe("checkout") == KeyState("checkout", "openai", "platform", "none")


def test_a_saved_key_is_used_and_described_by_its_last_four(vault):
    state = vault.keys.save(
        "checkout",
        Secret(FIRST_KEY),
        actor=person(vault, "checkout", Role.LEAD),
        expected_version=0,
        verdict=Verdict("insufficient_quota", "The key is genuine, but its account is out of money."),
    )
    assert state == vault.describe("checkout") == vault.keys.describe_all(actor=ADMIN)["checkout"]
    assert (state.source, state.status, state.version, state.last4) == ("byok", "warning", 1, "1111")
    assert (state.saved_by, state.check_code, state.last_used_at) == (LEAD_NAME, "insufficient_quota", None)
    assert state.saved_at == state.last_checked_at
    resolved = vault.keys.resolve("checkout")
    assert (resolved.source, resolved.secret.reveal(), resolved.version) == ("byok", FIRST_KEY, 1)


def test_a_key_belongs_to_one_project(vault):
    vault.save("checkout", FIRST_KEY)
    assert vault.opened("search") == PLATFORM
    assert vault.describe("search").status == "none"


def test_a_replaced_key_is_gone_and_its_history_stays(vault):
    vault.save("checkout", FIRST_KEY)
    assert vault.save("checkout", NEXT_KEY, 1).version == 2
    assert vault.opened("checkout") == NEXT_KEY
    rows = vault.sql("SELECT * FROM provider_keys ORDER BY version")
    assert [(row.version, row.last4, row.sealed_value is None, row.ended_by) for row in rows] == [
        (1, "1111", True, "local"),
        (2, "2222", False, None),
    ]
    assert rows[0].sealed_data_key is None


def test_a_removed_key_is_destroyed_and_the_project_uses_the_platforms_again(vault):
    vault.save("checkout", FIRST_KEY)
    assert vault.remove("checkout") == KeyState("checkout", "openai", "platform", "none")
    assert vault.opened("checkout") == PLATFORM
    (row,) = vault.sql("SELECT * FROM provider_keys")
    assert (row.sealed_data_key, row.sealed_value, row.last4) == (None, None, "1111")


def test_removing_twice_is_one_removal(vault):
    vault.save("checkout", FIRST_KEY)
    vault.remove("checkout")
    vault.remove("checkout")
    assert vault.audit("checkout")[1:] == ["key:saved", "key:removed"]


def test_version_numbers_are_never_used_again(vault):
    """Else an old box could be put back under a number that it once had."""
    versions = []
    for _ in range(3):
        versions.append(vault.save("checkout", FIRST_KEY).version)
        vault.remove("checkout")
    assert versions == [1, 2, 3]
    ids = vault.sql("SELECT DISTINCT secret_id FROM provider_keys")
    assert len(ids) == 3


def test_the_same_key_sealed_for_two_projects_has_nothing_in_common(vault):
    vault.save("checkout", FIRST_KEY)
    vault.save("search", FIRST_KEY)
    one, other = vault.sql("SELECT * FROM provider_keys")
    assert {one.sealed_value, one.sealed_data_key}.isdisjoint({other.sealed_value, other.sealed_data_key})


@pytest.mark.parametrize("database_kind", ["sqlite"])
@pytest.mark.parametrize("change", ["remove", "replace"])
@pytest.mark.parametrize("length", [20, 9_000], ids=["short", "of several pages"])
def test_nothing_of_the_sealed_key_is_left_in_any_file_after_it_was_removed_or_replaced(
    vault, change, length
):
    vault.save("checkout", FIRST_KEY.rjust(length, "x"))
    (row,) = vault.sql("SELECT * FROM provider_keys")
    pieces = [row.sealed_data_key[12:], row.sealed_value[12:][:16], row.sealed_value[-16:]]
    assert all(piece in _files(vault) for piece in pieces)
    vault.remove("checkout") if change == "remove" else vault.replace("checkout", NEXT_KEY)
    content = _files(vault)
    assert not any(piece in content for piece in pieces)
    assert b"1111" in content


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_a_reader_in_the_way_does_not_keep_a_key_from_being_removed(vault):
    vault.save("checkout", FIRST_KEY)
    with vault.database.read() as reader:
        reader.exec_driver_sql("SELECT count(*) FROM provider_keys").scalar_one()
        vault.remove("checkout")
    assert vault.describe("checkout").status == "none"
    vault.save("checkout", NEXT_KEY)
    assert vault.opened("checkout") == NEXT_KEY


def _files(vault: Vault) -> bytes:
    """The database as a thief finds it: with its write-ahead log, while the product runs."""
    path = Path(vault.url.removeprefix("sqlite:///"))
    return b"".join(file.read_bytes() for file in path.parent.glob("qodex.db*"))


# --- two people ------------------------------------------------------------------------------------


@pytest.mark.parametrize("seen", [0, 2, 99, -1])
def test_who_saw_another_version_is_told_and_overwrites_nothing(vault, seen):
    vault.save("checkout", FIRST_KEY)
    with pytest.raises(KeyChanged, match=r"local saved the key •••• 1111 in the meantime. It is in use"):
        vault.save("checkout", NEXT_KEY, seen, actor=person(vault, "checkout", Role.LEAD))
    assert vault.opened("checkout") == FIRST_KEY


def test_who_saw_a_key_that_was_removed_is_told(vault):
    vault.save("checkout", FIRST_KEY)
    vault.remove("checkout")
    with pytest.raises(KeyChanged, match=r"removed in the meantime. Nothing was saved"):
        vault.save("checkout", NEXT_KEY, 1)
    assert vault.opened("checkout") == PLATFORM


def test_who_removes_a_key_that_they_did_not_see_is_told(vault):
    vault.save("checkout", FIRST_KEY)
    vault.save("checkout", NEXT_KEY, 1)
    with pytest.raises(KeyChanged, match="•••• 2222"):
        vault.keys.remove("checkout", actor=ADMIN, expected_version=1)
    assert vault.opened("checkout") == NEXT_KEY


def test_the_second_click_of_a_double_click_changes_nothing(vault):
    first = vault.save("checkout", FIRST_KEY)
    assert vault.save("checkout", FIRST_KEY) == first
    assert vault.audit("checkout")[1:] == ["key:saved"]


def test_the_same_key_from_another_person_is_no_double_click(vault):
    vault.save("checkout", FIRST_KEY)
    with pytest.raises(KeyChanged):
        vault.save("checkout", FIRST_KEY, actor=person(vault, "checkout", Role.LEAD))


def test_a_late_check_of_an_old_key_says_nothing_about_the_new_one(vault):
    vault.save("checkout", FIRST_KEY)
    vault.save("checkout", NEXT_KEY, 1)
    failure: dict[str, object] = {"failure": "rejected", "failure_status": 401, "failure_message": "Revoked."}
    state = vault.keys.record_check("checkout", actor=ADMIN, version=1, verdict=None, failure=failure)
    assert (state.status, state.version) == ("working", 2)


def test_a_failing_check_leaves_the_key_in_use_and_remembers_since_when(vault):
    vault.save("checkout", FIRST_KEY)
    failure: dict[str, object] = {"failure": "rejected", "failure_status": 401, "failure_message": "Revoked."}
    first = vault.keys.record_check("checkout", actor=ADMIN, version=1, verdict=None, failure=failure)
    second = vault.keys.record_check("checkout", actor=ADMIN, version=1, verdict=None, failure=failure)
    assert (first.status, second.failing_since) == ("failing", first.failing_since)
    assert vault.opened("checkout") == FIRST_KEY
    well = vault.keys.record_check("checkout", actor=ADMIN, version=1, verdict=Verdict())
    assert (well.status, well.failing_since, well.failure_message) == ("working", None, None)


# --- master keys -----------------------------------------------------------------------------------


@pytest.mark.parametrize("masters", [(), (OTHER,)], ids=["missing", "wrong"])
def test_without_its_master_key_a_key_is_locked_and_nothing_is_overwritten(database_url, masters):
    with open_vault(database_url, MASTER, projects=("checkout",)) as vault:
        vault.save("checkout", FIRST_KEY)
        before = vault.sql("SELECT * FROM provider_keys")
    with open_vault(database_url, *masters, platform_key=PLATFORM) as vault:
        state = vault.describe("checkout")
        assert (state.status, state.master_key_id, state.last4) == ("locked", ID, "1111")
        assert f"does not have master key {ID}" in state.lock_reason
        with pytest.raises(KeyLocked, match=ID) as locked:
            vault.keys.resolve("checkout")
        assert not locked.value.tampered
        assert vault.sql("SELECT * FROM provider_keys") == before
    with open_vault(database_url, MASTER) as vault:
        assert vault.opened("checkout") == FIRST_KEY


def test_with_another_master_key_a_lead_can_enter_the_key_again(database_url):
    with open_vault(database_url, MASTER, projects=("checkout",)) as vault:
        vault.save("checkout", FIRST_KEY)
    with open_vault(database_url, OTHER) as vault:
        assert vault.save("checkout", FIRST_KEY, 1).version == 2
        assert vault.opened("checkout") == FIRST_KEY


def test_without_any_master_key_nothing_is_saved_and_the_old_key_stays(database_url):
    with open_vault(database_url, MASTER, projects=("checkout",)) as vault:
        vault.save("checkout", FIRST_KEY)
    with open_vault(database_url) as vault, pytest.raises(MasterKeyMissing, match="QODEX_MASTER_KEYS"):
        vault.save("checkout", NEXT_KEY, 1)
    with open_vault(database_url, MASTER) as vault:
        assert vault.opened("checkout") == FIRST_KEY
        assert vault.audit("checkout")[1:] == ["key:saved"]


def test_of_several_master_keys_the_first_one_seals_and_every_one_opens(database_url):
    with open_vault(database_url, MASTER, projects=("checkout", "search")) as vault:
        vault.save("checkout", FIRST_KEY)
    with open_vault(database_url, SECOND, MASTER) as vault:
        vault.save("search", NEXT_KEY)
        assert [vault.opened(slug) for slug in ("checkout", "search")] == [FIRST_KEY, NEXT_KEY]
        assert [vault.describe(slug).master_key_id for slug in ("checkout", "search")] == [
            ID,
            MasterKey(SECOND).id,
        ]
    with open_vault(database_url, MASTER) as vault:
        assert [vault.describe(slug).status for slug in ("checkout", "search")] == ["working", "locked"]


def test_a_key_of_another_master_key_is_never_opened_by_trial(vault):
    """The row names its master key; another one is not tried, even where it would fit."""
    vault.save("checkout", FIRST_KEY)
    vault.sql("UPDATE provider_keys SET master_key_id = :id", id=MasterKey(OTHER).id)
    with pytest.raises(KeyLocked, match=MasterKey(OTHER).id):
        vault.keys.resolve("checkout")


def test_a_database_remembers_that_anything_was_ever_sealed(database_url):
    with open_vault(database_url, MASTER) as vault:
        with vault.database.read() as connection:
            assert not ever_sealed(connection)
        vault.projects.add("checkout", actor=ADMIN)
        with vault.database.read() as connection:
            assert ever_sealed(connection)
        vault.sql("UPDATE projects SET sealed_keys = NULL, seal_master_key_id = NULL, seal = NULL")
        with vault.database.read() as connection:
            assert not ever_sealed(connection)


def test_a_database_remembers_that_a_key_was_ever_sealed(vault):
    vault.save("checkout", FIRST_KEY)
    vault.remove("checkout")
    vault.sql("UPDATE projects SET sealed_keys = NULL, seal_master_key_id = NULL, seal = NULL")
    with vault.database.read() as connection:
        assert ever_sealed(connection)


def _front_door(database_url: str, key_file: Path) -> Platform:
    return Platform(Settings(database_url=database_url, master_key_file=key_file))


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_on_an_empty_database_a_master_key_is_made_and_found_again(database_url, tmp_path):
    key_file = tmp_path.parent / f"{tmp_path.name}-keys" / "master.key"
    for _ in range(2):
        platform = _front_door(database_url, key_file)
        assert platform.keyring.ids == [MasterKey(base64.b64decode(key_file.read_text())).id]
        assert key_file.stat().st_mode & 0o777 == 0o600
        platform.close()


@pytest.mark.parametrize("database_kind", ["sqlite"])
@pytest.mark.parametrize("removed", [False, True])
def test_where_a_key_was_ever_sealed_no_master_key_is_made_and_the_rest_goes_on(
    database_url, tmp_path, removed
):
    with open_vault(database_url, MASTER, projects=("checkout",)) as vault:
        vault.save("checkout", FIRST_KEY)
        if removed:
            vault.remove("checkout")
    key_file = tmp_path.parent / f"{tmp_path.name}-keys" / "master.key"
    platform = _front_door(database_url, key_file)
    assert (platform.keyring.ids, key_file.exists()) == ([], False)
    assert platform.keys.describe("checkout").status == "locked"
    platform.close()


@pytest.mark.parametrize("database_kind", ["postgresql"])
def test_on_a_server_no_master_key_is_made_by_itself_and_the_rest_goes_on(vault, database_url, tmp_path):
    key_file = tmp_path / "keys" / "master.key"
    platform = _front_door(database_url, key_file)
    assert (platform.keyring.ids, key_file.exists()) == ([], False)
    assert platform.keys.describe("checkout").status == "locked"
    with pytest.raises(MasterKeyMissing, match="no project can be created"):
        platform.projects.add("shop", actor=ADMIN)
    platform.close()


# --- who may ---------------------------------------------------------------------------------------

CHANGES = {
    "save": lambda vault, actor: vault.save("checkout", NEXT_KEY, 1, actor=actor),
    "remove": lambda vault, actor: vault.keys.remove("checkout", actor=actor),
    "check": lambda vault, actor: vault.keys.record_check(
        "checkout", actor=actor, version=1, verdict=Verdict("x")
    ),
    "refusal": lambda vault, actor: vault.keys.record_refusal(
        "checkout", actor=actor, code="invalid_api_key"
    ),
    "policy": lambda vault, actor: vault.projects.set_policy("checkout", "platform", actor=actor),
}
each_change = pytest.mark.parametrize("change", CHANGES)


def _everything(vault: Vault) -> list[Any]:
    found = [vault.sql(f"SELECT * FROM {table} ORDER BY 1, 2, 3") for table in ("projects", "provider_keys")]
    found.append(vault.sql("SELECT * FROM audit_log WHERE action <> 'access:refused' ORDER BY id"))
    return [tuple(row) for rows in found for row in rows]


@each_change
def test_who_may_look_but_not_change_is_refused_and_changes_nothing(vault, change):
    vault.save("checkout", FIRST_KEY)
    before = _everything(vault)
    for role in (Role.ANALYST, Role.MANAGER):
        with pytest.raises(Forbidden, match="That takes the role lead"):
            CHANGES[change](vault, person(vault, "checkout", role))
    assert _everything(vault) == before


@each_change
def test_who_belongs_elsewhere_is_not_even_told_that_the_project_exists(vault, change):
    vault.save("checkout", FIRST_KEY)
    before = _everything(vault)
    with pytest.raises(ProjectUnknown) as unknown:
        vault.keys.remove("no-such-project", actor=ADMIN)
    for role in (None, Role.ANALYST, Role.LEAD, Role.ADMIN):
        with pytest.raises(ProjectUnknown, match=re.escape(str(unknown.value))):
            CHANGES[change](vault, person(vault, "search", role))
    assert _everything(vault) == before


@each_change
def test_a_lead_of_the_project_may(vault, change):
    vault.save("checkout", FIRST_KEY)
    CHANGES[change](vault, person(vault, "checkout", Role.LEAD))
    assert vault.sql("SELECT actor FROM audit_log ORDER BY id DESC LIMIT 1")[0].actor == LEAD_NAME


def test_a_person_sees_the_keys_of_their_own_projects_only(vault):
    vault.save("checkout", FIRST_KEY)
    vault.save("search", NEXT_KEY)
    analyst = person(vault, "search", Role.ANALYST)
    assert list(vault.keys.describe_all(actor=analyst)) == ["search"]
    assert [project.slug for project in vault.projects.list(actor=analyst)] == ["search"]
    for look in (vault.keys.describe, vault.projects.get):
        with pytest.raises(ProjectUnknown):
            look("checkout", actor=analyst)


NO_SLUGS = [
    "",
    " checkout",
    "checkout ",
    "CHECKOUT",
    "checkout\0",
    "checkout%",
    "../search",
    "' OR 1=1 --",
    "\ud800",
    "x" * 100_000,
]


def test_what_is_no_projects_name_is_an_unknown_project_and_nothing_else(vault):
    vault.save("checkout", FIRST_KEY)
    for look in (
        vault.keys.resolve,
        vault.describe,
        lambda slug: vault.projects.get(slug, actor=ADMIN),
        lambda slug: vault.save(slug, NEXT_KEY),
        vault.remove,
    ):
        for slug in NO_SLUGS:
            with pytest.raises(ProjectUnknown):
                look(slug)


def test_nobody_can_pay_is_said_to_the_lead_and_to_the_operator(database_url):
    with (
        open_vault(database_url, MASTER, projects=("checkout",)) as vault,
        pytest.raises(KeyMissing) as missing,
    ):
        vault.keys.resolve("checkout")
    assert "Settings > Integrations" in str(missing.value)


# --- one transaction with its audit row ------------------------------------------------------------


def test_every_change_has_one_row_that_says_who_and_what(vault):
    lead = person(vault, "checkout", Role.LEAD)
    vault.save("checkout", FIRST_KEY, actor=lead)
    vault.save("checkout", NEXT_KEY, 1, actor=lead)
    vault.keys.remove("checkout", actor=lead)
    rows = vault.sql("SELECT * FROM audit_log WHERE action LIKE 'key:%' ORDER BY id")
    assert [(row.action, row.actor, row.origin, row.project) for row in rows] == [
        (f"key:{what}", LEAD_NAME, "browser", "checkout") for what in ("saved", "rotated", "removed")
    ]
    told = [(json.loads(row.before or "null"), json.loads(row.after or "null")) for row in rows]
    first, second = ({"provider": "openai", "version": n, "last4": str(n) * 4} for n in (1, 2))
    assert told == [(None, first | {"warning": None}), (first, second | {"warning": None}), (second, None)]


_NO_MORE_AUDIT = {
    "sqlite": ["CREATE TRIGGER no_more BEFORE INSERT ON audit_log BEGIN SELECT RAISE(ABORT, 'full'); END"],
    "postgresql": [
        "CREATE FUNCTION no_more() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'full'; END $$",
        "CREATE TRIGGER no_more BEFORE INSERT ON audit_log FOR EACH ROW EXECUTE FUNCTION no_more()",
    ],
}


@each_change
def test_what_cannot_be_audited_does_not_happen(vault, database_kind, change):
    vault.save("checkout", FIRST_KEY)
    before = _everything(vault)
    for statement in _NO_MORE_AUDIT[database_kind]:
        vault.sql(statement)
    with pytest.raises((DatabaseConflict, DatabaseUnavailable)):
        CHANGES[change](vault, ADMIN)
    assert _everything(vault) == before
    assert vault.opened("checkout") == FIRST_KEY


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_on_a_full_disk_the_old_key_stays_in_use(vault):
    vault.save("checkout", FIRST_KEY)
    vault.sql("CREATE TABLE filler (text)")
    vault.database.close()  # one connection is used from here on: the one with the limit
    vault.sql(f"PRAGMA max_page_count = {vault.sql('PRAGMA page_count')[0][0]}")
    for size in (4000, 500, 50):
        _until_full(lambda size=size: vault.sql("INSERT INTO filler VALUES (:text)", text="x" * size))
    saved = _until_full(lambda: vault.replace("checkout", NEXT_KEY + "x" * 2000))
    in_use = vault.describe("checkout")
    assert in_use.version == 1 + len(saved)
    assert vault.opened("checkout").startswith(NEXT_KEY if saved else FIRST_KEY)
    assert len(vault.audit("checkout")) == 2 + len(saved)


def _until_full(what: Callable[[], Any]) -> list[Any]:
    """Do it until there is no more room; return what was done before."""
    done: list[Any] = []
    try:
        while len(done) < 10_000:
            done.append(what())
    except DatabaseUnavailable as problem:
        assert str(problem).startswith("The disk of the database is full. Nothing was changed")  # noqa: PT017
        return done
    raise AssertionError("the disk never became full")


# --- nothing shows the key -------------------------------------------------------------------------


def test_no_type_that_describes_a_key_has_room_for_it(vault):
    vault.save("checkout", "sk-test-planted-key-7777")
    assert not [field.name for field in fields(KeyState) if re.search("secret|sealed|key$", field.name)]
    assert "planted" not in json.dumps(asdict(vault.describe("checkout")))
    assert "planted" not in repr(vault.keys.resolve("checkout"))
    with pytest.raises(TypeError):
        pickle.dumps(vault.keys.resolve("checkout"))


def test_a_stored_key_is_in_no_table_no_file_no_log_and_no_traceback(vault, database_kind, caplog):
    planted = "sk-test-planted-key-7777"
    caplog.set_level(logging.DEBUG)
    logging.getLogger("sqlalchemy.engine").setLevel(logging.DEBUG)
    try:
        vault.save("checkout", planted)
        vault.save("checkout", planted + "x", 1)
        vault.keys.resolve("checkout")
        traces = [_trace(vault, database_kind, planted)]
    finally:
        logging.getLogger("sqlalchemy.engine").setLevel(logging.NOTSET)
    tables = [row[0] for row in vault.sql(_TABLES[database_kind])]
    assert "provider_keys" in tables
    cells = [repr(tuple(row)) for table in tables for row in vault.sql(f'SELECT * FROM "{table}"')]
    path = Path(vault.url.removeprefix("sqlite:///"))
    files = [file.read_bytes().decode("latin-1") for file in path.parent.glob("qodex.db*")]
    for text in [*cells, *files, *traces, caplog.text]:
        assert "planted" not in text
        assert "test-plan" not in text
    assert "INSERT INTO provider_keys" in caplog.text  # so the log did say something


_TABLES = {
    "sqlite": "SELECT name FROM sqlite_master WHERE type = 'table'",
    "postgresql": "SELECT tablename FROM pg_tables WHERE schemaname = 'public'",
}


def _trace(vault: Vault, database_kind: str, planted: str) -> str:
    """What an error reporter that notes all variables makes of a save that fails in the database."""
    for statement in _NO_MORE_AUDIT[database_kind]:
        vault.sql(statement)
    secret = Secret(planted)
    try:
        vault.keys.save("checkout", secret, actor=ADMIN, expected_version=2, verdict=Verdict())
    except (DatabaseConflict, DatabaseUnavailable) as problem:
        found = traceback.TracebackException.from_exception(problem, capture_locals=True)
    del planted
    return "".join(line for line in found.format() if "planted = " not in line)
