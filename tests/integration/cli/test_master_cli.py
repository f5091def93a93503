"""``bin/qodex master``: what an operator types, sees and is asked."""

from __future__ import annotations

import base64
import json
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from lib.cli import cli
from lib.secret import Secret
from lib.vault.master_keys.masters import id_of
from tests.upstream import GOOD_KEY, ScriptedUpstream

pytestmark = pytest.mark.parametrize("database_kind", ["sqlite"])
Run = Callable[..., Result]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys" / "master.key"


@pytest.fixture
def run(database_url: str, path: Path, upstream: ScriptedUpstream) -> Run:
    """Run a command in this process; the first one makes the master key, as the dashboard's first start does."""
    environment = {
        "DATABASE_URL": database_url,
        "QODEX_MASTER_KEY_FILE": str(path),
        "OPENAI_BASE_URL": upstream.base_url,
        "ANTHROPIC_BASE_URL": upstream.root_url,
        "GEMINI_BASE_URL": upstream.root_url,
    }

    def run(*words: str, status: int = 0, typed: str = "", **more: str) -> Result:
        result = CliRunner().invoke(cli, words, input=typed, env=environment | more)
        assert result.exit_code == status, result.output
        return result

    run("projects", "add", "checkout-api")
    run("keys", "set", "checkout-api", typed=GOOD_KEY)
    return run


def master_keys(run: Run) -> list[tuple[str, str, int]]:
    shown = json.loads(run("master", "status", "--json").stdout)
    return [(each["id"], each["use"], each["stored_keys"]) for each in shown["master_keys"]]


def test_the_four_commands_in_their_order_change_the_master_key(run: Run, path: Path) -> None:
    ((old, _, _),) = master_keys(run)
    told = run("master", "new")
    assert told.stdout == ""
    assert "does not encrypt yet. Give the file to every other server first" in told.stderr
    new = master_keys(run)[1][0]
    assert master_keys(run) == [(old, "encrypts", 1), (new, "next", 0)]
    assert "Sealed 1 key with " + new in run("master", "rotate", "--yes").stderr
    assert master_keys(run) == [(new, "encrypts", 1), (old, "opens", 0)]
    assert f"is sealed with {new} already" in run("master", "rotate").stderr
    run("master", "retire", old, "--yes")
    assert master_keys(run) == [(new, "encrypts", 1)]
    assert json.loads(run("keys", "show", "checkout-api", "--json").stdout)["status"] == "working"
    assert (path.stat().st_mode & 0o777, list(path.parent.iterdir())) == (0o600, [path])


def test_no_command_but_new_for_the_environment_shows_a_master_key(run: Run, path: Path) -> None:
    run("master", "new")
    lines = [line for line in path.read_text().splitlines() if id_of(Secret(line))]
    ((old, _, _), _) = master_keys(run)
    words = (["status"], ["status", "--json"], ["rotate", "--yes"], ["retire", old, "--yes"], ["status"])
    told = "".join(run("master", *each).output for each in words)
    assert old in told
    assert not [line for line in lines if line in told or line[:12] in told]


def test_a_person_is_asked_before_keys_are_resealed_and_a_master_key_goes(run: Run, path: Path) -> None:
    run("master", "new")
    ((old, _, _), _) = master_keys(run)
    before = path.read_text()
    asked = run("master", "rotate", typed="n\n", status=1)
    assert "1 stored key will be sealed with it" in asked.stderr
    assert "Does every server have it?" in asked.stderr
    run("master", "rotate", status=1)  # nobody there to answer
    assert path.read_text() == before
    run("master", "rotate", typed="y\n")
    asked = run("master", "retire", old, typed="n\n", status=1)
    assert f"from before the rotation still need {old}" in asked.stderr
    assert [each for each, _, _ in master_keys(run)][1] == old
    run("master", "retire", old, typed="y\n")


def test_what_a_master_key_seals_keeps_it_and_the_exit_status_says_so(run: Run) -> None:
    ((old, _, _),) = master_keys(run)
    refused = run("master", "retire", old, "--yes", status=1)
    assert (
        refused.stderr
        == f"1 stored key is sealed with {old} (checkout-api). Rotate first. Nothing was changed.\n"
    )
    assert (
        "has no master key of that id" in run("master", "retire", "mk-000000000000", "--yes", status=1).stderr
    )


def test_for_the_environment_the_line_is_on_standard_output_and_the_order_is_told(
    run: Run, path: Path
) -> None:
    old = path.read_text().strip()
    told = run("master", "new", QODEX_MASTER_KEYS=old)
    new = told.stdout.strip()
    assert len(base64.b64decode(new, validate=True)) == 32
    assert new not in told.stderr
    assert told.stderr.index("at the END of QODEX_MASTER_KEYS") < told.stderr.index("to the FRONT")
    assert path.read_text().strip() == old
    both = f"{new},{old}"
    assert (
        f"Sealed 1 key with {id_of(Secret(new))}"
        in run("master", "rotate", "--yes", QODEX_MASTER_KEYS=both).stderr
    )
    told = run("master", "retire", str(id_of(Secret(old))), QODEX_MASTER_KEYS=both)
    assert "take entry 2 out of\nQODEX_MASTER_KEYS on every server" in told.stderr
    shown = json.loads(run("master", "status", "--json", QODEX_MASTER_KEYS=new).stdout)
    assert (shown["source"], shown["locked"]) == ("QODEX_MASTER_KEYS", [])


def test_a_key_without_its_master_key_is_named_and_makes_the_rotation_fail(run: Run) -> None:
    other = base64.b64encode(os.urandom(32)).decode()
    ((old, _, _),) = master_keys(run)
    told = run("master", "status", status=1, QODEX_MASTER_KEYS=other)
    shown = json.loads(run("master", "status", "--json", status=1, QODEX_MASTER_KEYS=other).stdout)
    assert [(each["project"], each["master_key_id"]) for each in shown["locked"]] == [("checkout-api", old)]
    assert f"{old}  NOT HERE: what it seals is locked" in told.stdout
    assert (
        f"checkout-api: The key •••• 0001 is locked: this server does not have master key {old}."
        in told.stderr
    )
    failed = run("master", "rotate", "--yes", status=1, QODEX_MASTER_KEYS=other)
    assert "Sealed 0 keys" in failed.stderr
    assert "checkout-api: left as it is. The key •••• 0001 is locked" in failed.stderr
    assert json.loads(run("keys", "show", "checkout-api", "--json").stdout)["status"] == "working"


def change(database_url: str, statement: str) -> None:
    """Do what somebody could who has the database and no master key."""
    with closing(sqlite3.connect(database_url.removeprefix("sqlite:///"))) as connection:
        connection.execute(statement)
        connection.commit()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE provider_keys SET last4 = '9999'",
        "DELETE FROM provider_keys",
        "UPDATE projects SET on_key_failure = 'platform'",
        "UPDATE projects SET seal = NULL",
    ],
)
def test_the_status_is_not_0_while_a_key_is_locked_whatever_locks_it(
    run: Run, database_url: str, statement: str
) -> None:
    change(database_url, statement)
    told = run("master", "status", status=1)
    (stopped,) = json.loads(run("master", "status", "--json", status=1).stdout)["altered"]
    assert (stopped["project"], f"checkout-api: {stopped['why']}\n" in told.stderr) == ("checkout-api", True)
    assert "broken  keys" in run("doctor", status=1).stdout
    assert json.loads(run("keys", "show", "checkout-api", "--json").stdout)["status"] == "locked"
    run("keys", "check", "--all", status=1)


def test_an_operator_is_shown_what_is_sealed_anew_and_asked(run: Run, database_url: str) -> None:
    assert "as it was sealed" in run("master", "seal").stderr
    change(database_url, "UPDATE projects SET on_key_failure = 'platform'")
    asked = run("master", "seal", typed="n\n", status=1)
    assert asked.stdout.splitlines()[1].split() == ["checkout-api", "openai", "••••", "0001", "platform"]
    assert "was changed in the database past Qodex" in asked.stderr
    run("master", "status", status=1)
    change(database_url, "UPDATE projects SET on_key_failure = 'stop'")  # put right: nothing to do
    assert "as it was sealed" in run("master", "seal").stderr
    change(database_url, "UPDATE projects SET seal = NULL")
    assert "Sealed 1 project." in run("master", "seal", "--yes").stderr
    assert json.loads(run("keys", "show", "checkout-api", "--json").stdout)["status"] == "working"
    run("master", "status")
    assert "1 project sealed as found in the database" in run("doctor").stdout


def test_what_is_left_of_a_key_whose_row_is_gone_can_be_removed(run: Run, database_url: str) -> None:
    change(database_url, "DELETE FROM provider_keys")
    asked = run("keys", "remove", "checkout-api", typed="n\n", status=1)
    assert "Remove what is left of its key?" in asked.stderr
    run("keys", "remove", "checkout-api", "--yes")
    run("master", "status")
    assert "has no key of its own" in run("keys", "remove", "checkout-api", "--yes").stderr
