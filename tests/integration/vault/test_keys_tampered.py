"""Rows of keys that somebody altered who can write to the database, but has no master key: nothing opens.

Promises 1, 4 and 6: such a key serves no other project, is shown as locked, and never turns into platform
spend unless the project has chosen that.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from lib.access.roles import Origin, local_administrator
from lib.clock import MINUTE
from lib.errors import DatabaseConflict, KeyLocked
from lib.ledger.attempts import RequestProfile
from lib.ledger.ledger import Ledger
from lib.ledger.open_attempt import OpenAttempt
from lib.pricing.prices import PriceBook
from lib.runs.lifecycle import RunStore, StartedRun
from lib.secret import Secret
from lib.vault.master_keys.masters import Keyring
from lib.vault.sealing import MasterKey
from lib.vault.states import Verdict
from lib.vault.unsealed import UnsealedProjects
from tests.vaults import ADMIN, Vault, open_vault

MASTER, OTHER = bytes(range(100, 132)), bytes(range(132, 164))
FIRST_KEY, NEXT_KEY, THIRD_KEY = "sk-test-first-key-1111", "sk-test-next-key-2222", "sk-test-third-key-3333"
PLATFORM = "sk-test-platform-key-0003"
WORKER = local_administrator(Origin.WORKER, "worker")


@pytest.fixture
def vault(database_url: str) -> Iterator[Vault]:
    with open_vault(database_url, MASTER, platform_key=PLATFORM, projects=("checkout", "search")) as opened:
        yield opened


def swap_between_projects(vault: Vault) -> None:
    vault.save("checkout", FIRST_KEY)
    vault.save("search", NEXT_KEY)
    one, other = vault.sql("SELECT * FROM provider_keys")
    for here, there in ((one, other), (other, one)):
        _put(
            vault,
            here,
            sealed_data_key=there.sealed_data_key,
            sealed_value=there.sealed_value,
            last4=there.last4,
        )


def swap_between_projects_with_its_id(vault: Vault) -> None:
    """The box moves together with the id of its secret."""
    vault.save("checkout", FIRST_KEY)
    vault.save("search", NEXT_KEY)
    one, other = vault.sql("SELECT * FROM provider_keys")
    vault.sql("DELETE FROM provider_keys WHERE project_id = :id", id=other.project_id)
    _put(
        vault,
        one,
        **{name: getattr(other, name) for name in ("secret_id", "last4", "sealed_data_key", "sealed_value")},
    )


def move_to_another_project(vault: Vault) -> None:
    """The whole row becomes another project's."""
    vault.save("search", FIRST_KEY)
    (row,) = vault.sql("SELECT id FROM projects WHERE slug = 'checkout'")
    vault.sql("UPDATE provider_keys SET project_id = :id", id=row.id)


def swap_between_providers(vault: Vault) -> None:
    vault.keys.save(
        "checkout",
        Secret(FIRST_KEY),
        actor=ADMIN,
        expected_version=0,
        verdict=Verdict(),
        provider="anthropic",
    )
    vault.sql("UPDATE provider_keys SET provider = 'openai'")


def put_an_older_version_back(vault: Vault) -> None:
    vault.save("checkout", FIRST_KEY)
    (old,) = vault.sql("SELECT * FROM provider_keys")
    vault.save("checkout", NEXT_KEY, 1)
    new = vault.sql("SELECT * FROM provider_keys WHERE version = 2")[0]
    vault.sql("UPDATE provider_keys SET secret_id = 'gone' WHERE version = 1")
    _put(
        vault,
        new,
        **{name: getattr(old, name) for name in ("secret_id", "last4", "sealed_data_key", "sealed_value")},
    )


def alter_the_last_four(vault: Vault) -> None:
    vault.save("checkout", FIRST_KEY)
    vault.sql("UPDATE provider_keys SET last4 = '9999'")


def alter_the_value(vault: Vault) -> None:
    vault.save("checkout", FIRST_KEY)
    (row,) = vault.sql("SELECT * FROM provider_keys")
    _put(vault, row, sealed_value=row.sealed_value[:-1] + bytes([row.sealed_value[-1] ^ 1]))


def empty_the_value(vault: Vault) -> None:
    vault.save("checkout", FIRST_KEY)
    vault.sql("UPDATE provider_keys SET sealed_value = :empty", empty=b"")


def name_another_scheme(vault: Vault) -> None:
    vault.save("checkout", FIRST_KEY)
    vault.sql("UPDATE provider_keys SET scheme = 'plain'")


def rename_the_deployment(vault: Vault) -> None:
    """The rows of one deployment were copied into another one that has the same master key."""
    vault.save("checkout", FIRST_KEY)
    vault.sql("UPDATE deployment SET id = 'another'")


def _put(vault: Vault, row: Any, **values: Any) -> None:
    setting = ", ".join(f"{name} = :{name}" for name in values)
    if "secret_id" in values:
        vault.sql(
            "UPDATE provider_keys SET secret_id = 'moved away' WHERE secret_id = :id", id=values["secret_id"]
        )
    vault.sql(
        f"UPDATE provider_keys SET {setting} WHERE project_id = :project AND version = :number",
        project=row.project_id,
        number=row.version,
        **values,
    )


TAMPERINGS = [
    swap_between_projects,
    swap_between_projects_with_its_id,
    move_to_another_project,
    swap_between_providers,
    put_an_older_version_back,
    alter_the_last_four,
    alter_the_value,
    empty_the_value,
    name_another_scheme,
    rename_the_deployment,
]
each_tampering = pytest.mark.parametrize("tamper", TAMPERINGS, ids=lambda tamper: tamper.__name__)


@each_tampering
def test_a_row_that_was_tampered_with_is_locked_and_never_turns_into_the_platforms_key(database_url, tamper):
    with open_vault(database_url, MASTER, platform_key=PLATFORM, projects=("checkout", "search")) as before:
        tamper(before)
    with open_vault(database_url, MASTER, platform_key=PLATFORM) as vault:
        with pytest.raises(
            KeyLocked, match=r"does not belong here or was altered. Replace the key"
        ) as locked:
            vault.keys.resolve("checkout")
        assert locked.value.tampered
        state = vault.describe("checkout")
        assert (state.status, state.source, state.lock_reason) == ("locked", "byok", str(locked.value))
        assert vault.keys.describe_all(actor=ADMIN)["checkout"] == state


@each_tampering
def test_it_is_mended_by_replacing_or_by_removing_the_key(vault, tamper):
    tamper(vault)
    assert vault.replace("checkout", THIRD_KEY).status == "working"
    assert vault.opened("checkout") == THIRD_KEY
    vault.remove("checkout")
    assert vault.opened("checkout") == PLATFORM


@pytest.mark.parametrize("database_kind", ["sqlite"])
@pytest.mark.parametrize("value", ["text", 17, 0.5])
def test_what_is_no_box_at_all_is_locked_and_breaks_no_page(vault, value):
    """SQLite stores what it is given."""
    vault.save("checkout", FIRST_KEY)
    vault.sql("UPDATE provider_keys SET sealed_value = :value", value=value)
    assert {slug: state.status for slug, state in vault.keys.describe_all(actor=ADMIN).items()} == {
        "checkout": "locked",
        "search": "none",
    }


def test_a_key_in_use_cannot_lose_its_box(vault):
    """Else a locked key would look like no key, and the platform would pay."""
    vault.save("checkout", FIRST_KEY)
    with pytest.raises(DatabaseConflict):
        vault.sql("UPDATE provider_keys SET sealed_value = NULL")
    with pytest.raises(DatabaseConflict):
        vault.sql("UPDATE provider_keys SET ended_at = 1")
    assert vault.opened("checkout") == FIRST_KEY


def test_a_project_has_one_key_in_use_whatever_is_written(vault):
    vault.save("checkout", FIRST_KEY)
    with pytest.raises(DatabaseConflict):
        vault.sql(
            "INSERT INTO provider_keys (project_id, provider, version, secret_id, last4, scheme, master_key_id,"
            " sealed_data_key, sealed_value, saved_at, saved_by)"
            " SELECT project_id, provider, 2, 'other', last4, scheme, master_key_id, sealed_data_key,"
            " sealed_value, saved_at, saved_by FROM provider_keys"
        )


# --- what a call does then -------------------------------------------------------------------------


def call(vault: Vault, run: StartedRun) -> OpenAttempt:
    """Open a call, as the client does before a request leaves."""
    ledger = Ledger(vault.database, vault.keys, PriceBook.load(None), WORKER)
    ask = RequestProfile(
        "responses",
        "gpt-5-mini",
        100,
        50,
        1,
        uses_context_window=False,
        cost_unbounded=None,
        free=False,
        streaming=False,
    )
    return ledger.open(run, ask, lease=MINUTE)


def log_of(vault: Vault) -> list[tuple[str, str]]:
    return [(row.tag, row.message) for row in vault.sql("SELECT tag, message FROM run_log ORDER BY id")]


@each_tampering
def test_a_call_fails_with_the_reason_and_nothing_is_spent_on_the_platform_key(database_url, tamper):
    with open_vault(database_url, MASTER, projects=("checkout", "search")) as before:
        tamper(before)
    with open_vault(database_url, MASTER, platform_key=PLATFORM) as vault:
        run = RunStore(vault.database).start("checkout", "scan", actor=WORKER)
        for _ in range(3):
            with pytest.raises(KeyLocked):
                call(vault, run)
        assert vault.sql("SELECT * FROM open_calls") == vault.sql("SELECT * FROM usage_events") == []
        assert vault.sql("SELECT max(reserved_nano) AS most FROM accounts")[0].most == 0
        tags, messages = zip(*log_of(vault), strict=True)
        assert set(tags) == {"key:locked"}
        assert all("was altered. Replace the key." in message for message in messages)
        assert vault.audit("checkout").count("key:locked") == 1


@each_tampering
def test_whoever_alters_a_key_moves_no_call_to_the_platform_whatever_the_project_chose(vault, tamper):
    vault.projects.set_policy("checkout", "platform", actor=ADMIN)
    tamper(vault)
    run = RunStore(vault.database).start("checkout", "scan", actor=WORKER)
    if tamper is rename_the_deployment:
        return  # a process that runs remembers its own; a new one is in the tests above
    with pytest.raises(KeyLocked):
        call(vault, run)
    assert vault.sql("SELECT * FROM open_calls") == []


def test_a_project_that_chose_to_fall_back_does_so_where_a_master_key_is_gone_and_the_run_log_says_why(
    database_url,
):
    """Its key is as it was sealed, and what it chose too; an operator has said so under a new master key."""
    with open_vault(database_url, MASTER, projects=("checkout",)) as before:
        before.projects.set_policy("checkout", "platform", actor=ADMIN)
        before.save("checkout", FIRST_KEY)
    with open_vault(database_url, OTHER, platform_key=PLATFORM) as vault:
        run = RunStore(vault.database).start("checkout", "scan", actor=WORKER)
        with pytest.raises(KeyLocked, match="does not have master key"):
            call(vault, run)
        unsealed = UnsealedProjects(vault.database, Keyring([MasterKey(OTHER)]))
        unsealed.seal(unsealed.find(actor=ADMIN), actor=ADMIN)
        falls_back_and_says_why(vault)


def falls_back_and_says_why(vault: Vault) -> None:
    run = RunStore(vault.database).start("checkout", "scan", actor=WORKER)
    opened = call(vault, run)
    assert (opened.source, opened.secret.reveal(), opened.key_version) == ("platform", PLATFORM, None)
    tag, message = log_of(vault)[-1]
    assert tag == "key:fell_back"
    assert "•••• 1111 is locked" in message
    assert "went on with the platform-funded key, as checkout has chosen" in message
    assert vault.audit("checkout").count("key:locked") == 1


def test_a_key_that_is_locked_again_after_it_was_mended_is_audited_again(vault):
    for _ in range(2):
        vault.replace("checkout", FIRST_KEY)
        vault.sql("UPDATE provider_keys SET last4 = '9999' WHERE ended_at IS NULL")
        run = RunStore(vault.database).start("checkout", "scan", actor=WORKER)
        with pytest.raises(KeyLocked):
            call(vault, run)
    assert vault.audit("checkout").count("key:locked") == 2


def test_a_missing_master_key_stops_calls_in_the_same_way(database_url):
    with open_vault(database_url, MASTER, projects=("checkout",)) as vault:
        vault.save("checkout", FIRST_KEY)
    with open_vault(database_url, platform_key=PLATFORM) as vault:
        run = RunStore(vault.database).start("checkout", "scan", actor=WORKER)
        with pytest.raises(KeyLocked, match="does not have master key"):
            call(vault, run)
        assert vault.sql("SELECT * FROM open_calls") == []
    with open_vault(database_url, MASTER, platform_key=PLATFORM) as vault:
        assert call(vault, run).secret.reveal() == FIRST_KEY
        assert vault.sql("SELECT locked_since FROM provider_keys") == [(None,)]
