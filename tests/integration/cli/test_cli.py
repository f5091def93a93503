"""The command line: data on standard output, messages on standard error, a truthful exit status, never a key."""

from __future__ import annotations

import json
import os
import pwd
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import func, select

from lib.cli import cli
from lib.cli.doctor import table_finding
from lib.db import Database
from lib.db.tables import audit_log, usage_events
from tests.spending import Shop
from tests.upstream import (
    CLAUDE_OTHER_KEY,
    GEMINI_KEY,
    GEMINI_OTHER_KEY,
    GOOD_KEY,
    OTHER_KEY,
    PLATFORM_KEY,
    WRONG_KEY,
    ScriptedUpstream,
)

ROOT = Path(__file__).resolve().parents[3]
HEADER = "occurred_at,project,model,input_tokens,output_tokens"
GOOD = "2026-05-01T12:00:00Z,checkout-api,gpt-5-mini,1000,100"

Run = Callable[..., Result]
on_both = pytest.mark.parametrize("database_kind", ["sqlite", "postgresql"])


@pytest.fixture
def database_kind() -> str:
    """What is behind the commands runs on both engines in tests of its own; here mostly on one."""
    return "sqlite"


@pytest.fixture
def environment(database_url: str, master_key: str, upstream: ScriptedUpstream) -> dict[str, str]:
    """What an operator sets."""
    return {
        "DATABASE_URL": database_url,
        "QODEX_MASTER_KEYS": master_key,
        "OPENAI_BASE_URL": upstream.base_url,
        "ANTHROPIC_BASE_URL": upstream.root_url,
        "GEMINI_BASE_URL": upstream.root_url,
    }


@pytest.fixture
def run(environment: dict[str, str]) -> Run:
    """Run a command in this process; by default it must succeed."""

    def run(*words: str, status: int = 0, typed: str | bytes = "", **more: str) -> Result:
        result = CliRunner().invoke(cli, words, input=typed, env=environment | more)
        assert result.exit_code == status, result.output
        assert "Traceback" not in result.output
        return result

    run("projects", "add", "checkout-api", "--name", "Checkout")
    return run


def shown(result: Result) -> Any:
    return json.loads(result.stdout)


# --- projects, plans, caps -------------------------------------------------------------------------


@on_both
def test_projects_are_added_listed_and_changed(run: Run) -> None:
    added = run("projects", "add", "search", "--plan", "Team")
    assert (added.stdout, added.stderr) == ("", "Created search on the plan Team.\n")
    run("projects", "set", "search", "--on-key-failure", "platform", "--plan", "Scale")
    listed = shown(run("projects", "list", "--json"))
    assert [(each["slug"], each["name"], each["plan"], each["on_key_failure"]) for each in listed] == [
        ("checkout-api", "Checkout", "Starter", "stop"),
        ("search", "search", "Scale", "platform"),
    ]
    assert "id" not in listed[0]
    assert "checkout-api  Checkout  Starter  stop" in run("projects", "list").stdout


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["projects", "add", "checkout-api"], "There is a project named checkout-api already."),
        (["projects", "add", "No Good"], "small letters, digits and hyphens"),
        (["projects", "add", "x", "--plan", "None"], "There is no plan of that name."),
        (["projects", "set", "nobody", "--plan", "Team"], "There is no project of that name"),
        (["keys", "show", "nobody"], "There is no project of that name"),
        (["caps", "show", "nobody"], "There is no project of that name"),
        (["runs", "show", "r-none"], "There is no run of that id"),
        (["usage", "export", "--project", "nobody"], "There is no project of that name"),
        (["usage", "export", "--tz", "Mars/Base"], "That is no time zone"),
    ],
)
def test_a_failure_is_one_sentence_on_standard_error(run: Run, words: list[str], sentence: str) -> None:
    failed = run(*words, status=1)
    assert failed.stdout == ""
    assert sentence in failed.stderr
    assert failed.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "words",
    [
        ["projects", "set", "checkout-api"],
        ["projects", "set", "checkout-api", "--on-key-failure", "panic"],
        ["keys", "check"],
        ["keys", "check", "checkout-api", "--all"],
        ["caps", "set", "checkout-api", "--5h", "-1", "--7d", "5", "--reason", "x"],
        ["caps", "set", "checkout-api", "--5h", "NaN", "--7d", "5", "--reason", "x"],
        ["usage", "import", "/nowhere/usage.csv"],
        ["usage", "export", "--from", "01.02.2026"],
        ["usage", "export", "--format", "xlsx"],
        ["usage", "export", "--format", "parquet", "--bom", "-o", "x.parquet"],
        ["usage", "export", "--meta"],
        ["usage", "export", "--from", "2026-02-02", "--to", "2026-02-02"],
        ["usage", "export", "--from", "0001-01-01", "--tz", "Asia/Tokyo"],
        ["runs", "list", "--from", "2026-02-02", "--to", "2026-02-01"],
        ["runs", "list", "--to", "9999-12-31"],
        ["nonsense"],
    ],
)
def test_a_command_that_makes_no_sense_ends_with_2(run: Run, words: list[str]) -> None:
    assert run(*words, status=2).stdout == ""


def test_a_project_gets_a_title_and_labels(run: Run) -> None:
    told = run(
        "projects",
        "set",
        "checkout-api",
        "--name",
        "Checkout API",
        "--label",
        "owner=ann",
        "--label",
        "team=pay",
    )
    assert "checkout-api has the title Checkout API." in told.stderr
    assert "checkout-api: owner is ann from today on." in told.stderr
    assert [each["name"] for each in shown(run("projects", "list", "--json"))] == ["Checkout API"]
    assert "has no label owner any more" in run("projects", "set", "checkout-api", "--label", "owner=").stderr


def test_a_label_that_is_none_changes_nothing(run: Run) -> None:
    told = run("projects", "set", "checkout-api", "--name", "New", "--label", "owner", status=2)
    assert "A label is KEY=VALUE, not 'owner'." in told.stderr
    assert [each["name"] for each in shown(run("projects", "list", "--json"))] == ["Checkout"]


def test_an_archived_project_is_restored_and_one_that_was_used_is_not_deleted(run: Run) -> None:
    run("keys", "set", "checkout-api", typed=GOOD_KEY)
    assert run("projects", "archive", "checkout-api", "--destroy-key").stderr.endswith(
        "Its keys were destroyed.\n"
    )
    [project] = shown(run("projects", "list", "--json"))
    assert project["archived_at"]
    run("projects", "restore", "checkout-api")
    [project] = shown(run("projects", "list", "--json"))
    assert not project["archived_at"]
    assert run("projects", "delete", "checkout-api", "--yes", status=1).stderr


def test_a_project_that_was_never_used_is_deleted_after_a_confirmation(run: Run) -> None:
    run("projects", "delete", "checkout-api", typed="n\n", status=1)
    assert len(shown(run("projects", "list", "--json"))) == 1
    run("projects", "delete", "checkout-api", typed="y\n")
    assert shown(run("projects", "list", "--json")) == []


def test_members_are_listed_for_a_project_for_all_projects_and_altogether(run: Run) -> None:
    run("projects", "add", "search")
    run("members", "add", "search", "ada@example.com", "--role", "lead")
    run("members", "add", "checkout-api", "bo@example.com", "--role", "analyst")
    run("members", "add", "--all-projects", "root@example.com", "--role", "admin")
    told = [shown(run("members", "list", *where, "--json")) for where in ([], ["search"], ["--all-projects"])]
    assert [[(each["email"], each["project"]) for each in found] for found in told] == [
        [("ada@example.com", "search"), ("bo@example.com", "checkout-api"), ("root@example.com", None)],
        [("ada@example.com", "search"), ("root@example.com", None)],
        [("root@example.com", None)],
    ]
    table = run("members", "list").stdout
    assert "bo@example.com    analyst  checkout-api  " in table
    assert "root@example.com  admin    all projects  " in table


def test_a_plan_named_in_another_case_is_the_same_plan(run: Run) -> None:
    before = len(shown(run("plans", "list", "--json")))
    assert run("plans", "set", "team", "--5h", "7", "--7d", "9").stderr.startswith("Team: 7 USD")
    plans = {each["name"]: each["cap_5h_usd"] for each in shown(run("plans", "list", "--json"))}
    assert (len(plans), plans["Team"]) == (before, "7")


def test_plans_and_caps_are_set_and_shown(run: Run, environment: dict[str, str]) -> None:
    run("plans", "set", "Starter", "--5h", "1.5", "--7d", "9")
    run("plans", "set", "Trial", "--5h", "0", "--7d", "0")
    plans = {each["name"]: each for each in shown(run("plans", "list", "--json"))}
    assert (plans["Starter"]["cap_5h_usd"], plans["Starter"]["cap_7d_usd"]) == ("1.5", "9")
    assert plans["Trial"]["cap_5h_usd"] == "0"
    caps = shown(run("caps", "show", "checkout-api", "--json"))
    assert (caps["plan"], caps["windows"]["5h"]["cap_usd"], caps["windows"]["7d"]["free_usd"]) == (
        "Starter",
        "1.5",
        "9",
    )
    words = ("caps", "set", "checkout-api", "--5h", "20", "--7d", "100", "--reason", "launch week")
    said = run(*words, "--until", "2099-01-01", QODEX_TIMEZONE="Asia/Kolkata").stderr
    assert "until 2098-12-31 18:30:00Z" in said
    assert shown(run("caps", "show", "checkout-api", "--json"))["windows"]["5h"]["cap_usd"] == "20"
    assert "0 %" in run("caps", "show", "checkout-api").stdout
    assert "already" in run(*words, "--until", "2020-01-01", status=1).stderr
    assert audited(environment, "plan:set", "project:caps:set") == 3


def audited(environment: dict[str, str], *actions: str) -> int:
    database = Database(environment["DATABASE_URL"])
    with database.read() as connection:
        rows = connection.execute(select(func.count()).where(audit_log.c.action.in_(actions))).scalar_one()
    database.close()
    return int(rows)


def test_the_audit_log_names_the_person_and_the_command_line(run: Run, environment: dict[str, str]) -> None:
    database = Database(environment["DATABASE_URL"])
    with database.read() as connection:
        [row] = connection.execute(select(audit_log)).all()
    database.close()
    assert (row.origin, row.action) == ("command line", "project:created")
    assert row.actor not in {"", "worker"}


def test_no_variable_makes_another_person_of_who_runs_a_command(
    run: Run, environment: dict[str, str]
) -> None:
    names = ("LOGNAME", "USER", "LNAME", "USERNAME")
    run("projects", "add", "shop", **dict.fromkeys(names, "somebody.else@example.com"))
    database = Database(environment["DATABASE_URL"])
    with database.read() as connection:
        actors = connection.execute(select(audit_log.c.actor)).scalars().all()
    database.close()
    assert set(actors) == {pwd.getpwuid(os.getuid()).pw_name}


# --- keys ------------------------------------------------------------------------------------------

KEY_FIELDS = "project, provider, source, last4, status, saved_at, saved_by, last_checked_at, last_used_at"


def test_a_key_is_set_shown_checked_and_removed(run: Run, upstream: ScriptedUpstream) -> None:
    assert run("keys", "set", "checkout-api", typed=f"{GOOD_KEY}\n").stderr == (
        "checkout-api uses its own OpenAI key •••• 0001 from its next call on.\n"
    )
    key = shown(run("keys", "show", "checkout-api", "--json"))
    assert ", ".join(key) == KEY_FIELDS
    assert (key["source"], key["last4"], key["status"]) == ("byok", "0001", "working")
    assert key["saved_at"].endswith("Z")
    assert key["last_used_at"] is None
    assert "status           working" in run("keys", "show", "checkout-api").stdout
    assert shown(run("keys", "check", "--all", "--json"))[0]["status"] == "working"
    upstream.keys.pop(GOOD_KEY)
    failing = run("keys", "check", "checkout-api", status=1)
    assert "failing since" in failing.stdout
    assert GOOD_KEY not in failing.output
    run("keys", "remove", "checkout-api", "--yes")
    after = shown(run("keys", "show", "checkout-api", "--json"))
    assert (after["source"], after["last4"], after["status"]) == ("platform", None, "none")


def test_a_rejected_key_is_not_saved_and_the_old_one_stays(run: Run) -> None:
    run("keys", "set", "checkout-api", typed=GOOD_KEY)
    rejected = run("keys", "set", "checkout-api", typed=WRONG_KEY, status=1)
    assert "Incorrect API key provided" in rejected.stderr
    assert WRONG_KEY not in rejected.output
    assert shown(run("keys", "show", "checkout-api", "--json"))["last4"] == "0001"


@pytest.mark.parametrize("typed", [b"", b"\xff\xfe", f"{GOOD_KEY} {OTHER_KEY}".encode(), b"x" * 1_000_000])
def test_what_is_no_key_is_refused_without_repeating_it(run: Run, typed: bytes) -> None:
    refused = run("keys", "set", "checkout-api", typed=typed, status=1)
    assert refused.stdout == ""
    assert GOOD_KEY not in refused.output
    assert len(refused.stderr) < 300


def test_a_key_where_none_belongs_is_not_repeated(run: Run) -> None:
    for words in (
        ["keys", "set", "checkout-api", GOOD_KEY],
        [GOOD_KEY],
        ["keys", GOOD_KEY],
        [f"--{GOOD_KEY}"],
    ):
        assert GOOD_KEY not in run(*words, status=2).output


def test_removing_a_key_asks_first(run: Run) -> None:
    run("keys", "set", "checkout-api", typed=GOOD_KEY)
    asked = run("keys", "remove", "checkout-api", typed="n\n", status=1)
    assert "platform-funded key, and its caps apply. Remove the key •••• 0001?" in asked.stderr
    assert asked.stdout == ""
    run("keys", "remove", "checkout-api", status=1)  # nobody there to answer
    assert shown(run("keys", "show", "checkout-api", "--json"))["status"] == "working"
    run("keys", "remove", "checkout-api", typed="y\n")
    assert "nothing was changed" in run("keys", "remove", "checkout-api").stderr


def test_a_key_that_cannot_be_opened_is_shown_as_locked(run: Run, master_key: str) -> None:
    run("keys", "set", "checkout-api", typed=GOOD_KEY)
    import base64

    other = base64.b64encode(os.urandom(32)).decode()
    assert shown(run("keys", "show", "checkout-api", "--json", QODEX_MASTER_KEYS=other))["status"] == "locked"
    assert "locked" in run("keys", "check", "--all", status=1, QODEX_MASTER_KEYS=other).stderr
    examined = shown(run("doctor", "--json", status=1, QODEX_MASTER_KEYS=other))
    broken = [each for each in examined if each["status"] == "broken"]
    assert "does not have master key" in broken[0]["message"]
    assert shown(run("keys", "show", "checkout-api", "--json"))["status"] == "working"


# --- runs ------------------------------------------------------------------------------------------


def test_runs_are_listed_and_shown_with_calls_and_failures(run: Run, environment: dict[str, str]) -> None:
    run("keys", "set", "checkout-api", typed=GOOD_KEY)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        from lib import Platform

        platform = Platform.from_env()
        with platform.run("checkout-api", kind="chat") as work:
            work.openai.responses.create(model="gpt-5-mini", input="Hi")
        platform.close()
    [listed] = shown(run("runs", "list", "--json", "--project", "checkout-api", "--kind", "chat"))
    assert (listed["run_id"], listed["status"], listed["source"], listed["calls"]) == (
        work.id,
        "passed",
        "byok",
        1,
    )
    detail = shown(run("runs", "show", work.id, "--json"))
    assert [call["model"] for call in detail["call_list"]] == ["gpt-5-mini"]
    assert detail["byok_usd"] == detail["call_list"][0]["cost_usd"] != "0"
    assert work.id in run("runs", "list").stdout
    assert "byok •••• 0001" in run("runs", "show", work.id).stdout
    assert shown(run("runs", "list", "--json", "--source", "platform")) == []
    assert shown(run("runs", "list", "--json", "--to", "2020-01-01")) == []


# --- usage -----------------------------------------------------------------------------------------


def test_usage_comes_in_and_goes_out(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "given.csv"
    path.write_text(f"{HEADER}\n{GOOD}\n{GOOD.replace('05-01', '05-02')}\n")
    came = run("usage", "import", str(path))
    assert (came.stdout, came.stderr) == ("", "2 rows read: 2 added, 0 already there, 0 bad.\n")
    again = shown(run("usage", "import", "-", "--json", typed=path.read_bytes()))
    assert (again["added"], again["already_there"]) == (0, 2)
    out = run("usage", "export")
    assert out.stderr == ""
    assert len(out.stdout_bytes.splitlines()) == 3
    one_day = run("usage", "export", "--from", "2026-05-02", "--to", "2026-05-03", "--source", "byok")
    assert len(one_day.stdout_bytes.splitlines()) == 2
    target = tmp_path / "out.csv"
    written = run("usage", "export", "--meta", "-o", str(target))
    assert (written.stdout, written.stderr) == ("", "2 rows in out.csv.\n")
    assert target.read_bytes() == out.stdout_bytes
    meta = json.loads((tmp_path / "out.csv.meta.json").read_text())
    assert (meta["rows"], meta["sums"]["byok_usd"], meta["file"]) == (2, "0.0009", "out.csv")
    daily = run("usage", "export", "--format", "daily-csv", "--tz", "Asia/Kolkata").stdout_bytes
    assert daily.splitlines()[1].startswith(
        b"2026-05-01,checkout-api,byok,openai,gpt-5-mini,1,1000,0,100,0,0.00045,0"
    )
    assert sorted(path.name for path in tmp_path.glob("*out*")) == ["out.csv", "out.csv.meta.json"]


def test_from_and_to_are_midnights_of_the_time_zone(run: Run) -> None:
    run("usage", "import", "-", typed=f"{HEADER}\n{GOOD.replace('12:00:00Z', '20:00:00Z')}\n")
    words = ("usage", "export", "--from", "2026-05-02", "--to", "2026-05-03")
    assert len(run(*words).stdout_bytes.splitlines()) == 1
    assert len(run(*words, "--tz", "Asia/Kolkata").stdout_bytes.splitlines()) == 2
    assert len(run(*words, QODEX_TIMEZONE="Asia/Kolkata").stdout_bytes.splitlines()) == 2


def test_bad_rows_are_told_and_left_out_only_if_the_person_says_so(run: Run) -> None:
    bad = f"{HEADER}\n{GOOD}\n" + "bad\n" * 30
    refused = run("usage", "import", "-", typed=bad, status=1)
    assert refused.stdout == ""
    assert refused.stderr.splitlines()[0] == "line 3: has 1 fields; the header has 5"
    assert "30 of 31 rows are bad, so nothing was imported." in refused.stderr
    assert len(refused.stderr.splitlines()) == 22
    assert len(run("usage", "export").stdout_bytes.splitlines()) == 1
    taken = run("usage", "import", "-", "--skip-bad", typed=bad)
    assert taken.stderr.splitlines()[-1] == "31 rows read: 1 added, 0 already there, 30 bad."


def test_every_filter_of_the_page_can_be_repeated_by_a_script(run: Run, tmp_path: Path) -> None:
    rows = [
        GOOD + ",ok,openai,x4Tz",
        GOOD.replace("mini", "nano") + ",error,openai,",
        GOOD.replace("mini", "nano") + ",ok,google,",
    ]
    run("usage", "import", "-", typed="\n".join([f"{HEADER},status,provider,key_last4", *rows]))
    words = ("--model", "gpt-5-nano", "--status", "ok", "--provider", "google", "--source", "byok")
    run("usage", "export", *words, "--meta", "-o", str(tmp_path / "usage.csv"))
    [_, row] = (tmp_path / "usage.csv").read_text().splitlines()
    assert ",google,gpt-5-nano,,ok," in row
    meta = json.loads((tmp_path / "usage.csv.meta.json").read_text())
    kept = {name: meta["filter"][name] for name in ("models", "statuses", "providers", "sources")}
    assert kept == {
        "models": ["gpt-5-nano"],
        "statuses": ["ok"],
        "providers": ["google"],
        "sources": ["byok"],
    }
    assert len(run("usage", "export", "--model", "gpt-5-nano", "--model", "gpt-5-mini").stdout.split()) == 4
    assert len(run("usage", "export", "--kind", "chat").stdout.split()) == 1  # an import names no run's kind
    found = {words: run("usage", "export", *words).stdout.split()[1:] for words in _WHOSE}
    assert {words: len(rows) for words, rows in found.items()} == _WHOSE
    assert ",x4Tz," in found["--key", "x4Tz"][0]


_WHOSE = {
    ("--key", "x4Tz"): 1,
    ("--key", ""): 2,
    ("--key", "x4Tz", "--key", ""): 3,
    ("--key", "nope"): 0,
    ("--user", ""): 3,  # nor who started it
    ("--user", "ann@example.com"): 0,
}


def test_a_model_that_no_call_names_is_said_beside_the_empty_export(run: Run) -> None:
    run("usage", "import", "-", typed=f"{HEADER}\n{GOOD}")
    slip = run("usage", "export", "--model", "gpt-5-mimi", "--provider", "openai")
    assert slip.stderr == "No call of any project names the model gpt-5-mimi.\n"
    assert len(slip.stdout.split()) == 1
    run("usage", "export", "--status", "fine", status=2)
    run("usage", "export", "--kind", "dinner", status=2)


def test_an_export_by_label_has_the_calls_of_the_days_on_which_the_project_had_it(run: Run) -> None:
    run("usage", "import", "-", typed=f"{HEADER}\n{GOOD}")  # long before today
    run("projects", "set", "checkout-api", "--label", "cost_centre=4711")
    assert len(run("usage", "export", "--label", "cost_centre=4711").stdout.split()) == 1
    assert len(run("usage", "export", "--label", "cost_centre=").stdout.split()) == 2
    slip = run("usage", "export", "--label", "cost_centre=4712")
    assert slip.stderr == "No project ever had the label cost_centre=4712.\n"
    run("usage", "export", "--label", "4711", status=2)


def test_an_export_that_fails_leaves_no_file_and_no_piece_of_one(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("usage", "import", "-", typed=f"{HEADER}\n{GOOD}\n")
    target = tmp_path / "out" / "usage.csv"
    missing = run("usage", "export", "-o", str(target), status=1)
    assert "usage.csv cannot be written: No such file or directory." in missing.stderr
    target.parent.mkdir()
    target.write_text("the old one")

    def fail(*_: object) -> None:
        raise RuntimeError(f"planted {GOOD_KEY}")

    monkeypatch.setattr("lib.exchange.csv_writer.EventsAsCsv.write", fail)
    broken = run("usage", "export", "-o", str(target), status=1)
    assert "Something went wrong inside Qodex (error " in broken.stderr
    assert run("usage", "export", status=1).stdout == ""
    assert [path.name for path in target.parent.iterdir()] == ["usage.csv"]
    assert target.read_text() == "the old one"


def test_the_details_of_an_error_of_our_own_show_no_key(
    environment: dict[str, str], run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError(f"planted {GOOD_KEY} and plain-platform-key-text")

    monkeypatch.setattr("lib.access.projects.Projects.list", fail)
    told = CliRunner().invoke(
        cli, ["--debug", "projects", "list"], env=environment | {"OPENAI_API_KEY": "plain-platform-key-text"}
    )
    assert told.exit_code == 1
    assert "RuntimeError: planted [key hidden]" in told.stderr
    assert GOOD_KEY not in told.output
    assert "plain-platform-key-text" not in told.output


# --- doctor ----------------------------------------------------------------------------------------


def findings(result: Result) -> dict[str, tuple[str, str]]:
    listed = json.loads(result.stdout)
    return {each["check"]: (each["status"], each["message"]) for each in listed}


@on_both
def test_the_doctor_finds_a_healthy_deployment_healthy(run: Run) -> None:
    found = findings(run("doctor", "--json", QODEX_OPENAI_API_KEY=PLATFORM_KEY))
    assert {status for status, _ in found.values()} == {"ok"}
    assert found["platform key •••• 0003"] == ("ok", "OpenAI accepted the key.")
    assert "can be written" in found["database"][1]
    assert found["ceilings"][1] == "no call has passed its ceiling in 30 days"
    assert PLATFORM_KEY not in str(found)


@on_both
def test_the_doctor_says_what_is_open_and_what_is_owed(run: Run, database_url: str) -> None:
    assert findings(run("doctor", "--json"))["calls"] == ("ok", "0 open, $0.00 reserved")
    shop = Shop(database_url)
    shop.add("owing")
    for ends in (False, True):
        started = shop.start(slug="owing")
        shop.open(started, 2_000_000_000)
        if ends:
            shop.runs.finish(started, "passed")
    # Not 0: the shop's project was sealed by another master key than the command's.
    status, message = findings(run("doctor", "--json", status=1))["calls"]
    shop.close()
    assert status == "note"
    assert message.startswith("2 open, $4.00 reserved; 1 of ended runs: ")


@on_both
def test_the_doctor_counts_by_provider_the_calls_that_passed_their_ceilings(
    run: Run, database_url: str
) -> None:
    shop = Shop(database_url)
    shop.add("passing")
    for _ in range(2):
        shop.spend(shop.start(slug="passing"), 900, ceiling=500)
    shop.close()
    status, message = findings(run("doctor", "--json", status=1))["ceilings"]
    assert status == "note"
    assert message.startswith("in 30 days 2 calls to OpenAI cost more than what was reserved, the last on 20")


def test_the_doctor_warns_of_a_key_that_any_library_would_find(run: Run) -> None:
    found = findings(run("doctor", "--json", OPENAI_API_KEY=PLATFORM_KEY))
    status, message = found["environment"]
    assert (status, message.endswith("Rename it QODEX_OPENAI_API_KEY.")) == ("note", True)
    assert found["platform key •••• 0003"][0] == "ok"
    assert PLATFORM_KEY not in str(found)


@pytest.mark.parametrize(
    ("how", "said"),
    [
        (None, "rejected"),
        ("out_of_money", "out of money"),
        ("server_error", "could not be asked"),
    ],
)
def test_the_doctor_says_how_the_platform_key_fails(
    run: Run, upstream: ScriptedUpstream, how: str | None, said: str
) -> None:
    if how is None:
        upstream.keys.pop(PLATFORM_KEY)
    else:
        upstream.keys[PLATFORM_KEY] = how
    found = findings(run("doctor", "--json", status=1, QODEX_OPENAI_API_KEY=PLATFORM_KEY))
    status, message = found["platform key •••• 0003"]
    assert status == "broken"
    assert said in message
    assert PLATFORM_KEY not in message


def test_the_doctor_names_what_is_wrong_with_settings_and_files(
    run: Run, environment: dict[str, str], tmp_path: Path
) -> None:
    assert findings(run("doctor", "--json"))["platform key"][0] == "note"
    wrong = findings(run("doctor", "--json", status=1, QODEX_TIMEZONE="Mars/Base"))
    assert wrong == {
        "settings": ("broken", "QODEX_TIMEZONE: not a known time zone; write it like Europe/Berlin")
    }
    prices = tmp_path / "prices.json"
    prices.write_text("{")
    assert findings(run("doctor", "--json", status=1, QODEX_PRICES_FILE=str(prices)))["prices"][0] == "broken"
    path = Path(environment["DATABASE_URL"].removeprefix("sqlite:///"))
    for mode in (0o644, 0o640, 0o602):
        path.chmod(mode)
        told = findings(run("doctor", "--json", status=1))["files"]
        assert told == ("broken", f"others can read {path.name}. Run: chmod 600 {path}")
    path.chmod(0o600)
    assert findings(run("doctor", "--json"))["files"][0] == "ok"
    path.write_bytes(b"no database" * 500)
    assert "broken  database" in run("doctor", status=1).stdout


def test_the_doctor_makes_no_database(environment: dict[str, str], tmp_path: Path) -> None:
    nowhere = tmp_path / "new" / "qodex.db"
    told = CliRunner().invoke(
        cli, ["doctor", "--json"], env=environment | {"DATABASE_URL": f"sqlite:///{nowhere}"}
    )
    assert told.exit_code == 0
    assert findings(told)["database"][0] == "note"
    assert not nowhere.parent.exists()


# --- as a program ----------------------------------------------------------------------------------


def program(
    environment: dict[str, str], *words: str, **options: object
) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "lib", *words]
    return subprocess.run(
        command, cwd=ROOT, env=os.environ | environment, capture_output=True, check=False, **options
    )


def test_it_is_a_program_with_a_truthful_exit_status(run: Run, environment: dict[str, str]) -> None:
    listed = program(environment, "projects", "list", "--json")
    assert (listed.returncode, json.loads(listed.stdout)[0]["slug"], listed.stderr) == (
        0,
        "checkout-api",
        b"",
    )
    saved = program(environment, "keys", "set", "checkout-api", input=b"sk-test-wrong-key-0009\n")
    assert (saved.returncode, saved.stdout) == (1, b"")
    assert b"Incorrect API key" in saved.stderr
    assert b"wrong-key" not in saved.stderr


def test_names_cannot_command_the_terminal(run: Run) -> None:
    run("usage", "import", "-", typed=f'{HEADER},run_id\n{GOOD},"\x1b[31mred"\n')
    from lib.cli.base.output import visible

    assert visible("\x1b[31mred\u202e\n") == "\\x1b[31mred\\u202e\\n"


KILLED_AT = {
    "while rows are read": "lib.exchange.imports.staging.StagedRows.add",
    "before the first row is written": "lib.exchange.imports.staging.StagedRows.batches",
    "when all rows are written": "lib.exchange.imports.import_usage.add_imported",
    "before it is committed": "lib.access.audit.record",
}


@on_both
@pytest.mark.parametrize("when", KILLED_AT)
def test_an_import_that_is_killed_leaves_nothing_and_goes_in_the_next_time(
    run: Run, environment: dict[str, str], tmp_path: Path, when: str
) -> None:
    path = tmp_path / "usage.csv"
    path.write_text("\n".join([HEADER, *(GOOD.replace("1000", str(number)) for number in range(3000))]))
    name, _, function = KILLED_AT[when].rpartition(".")
    code = (
        "import os, signal, sys, pkgutil\n"
        f"place = pkgutil.resolve_name({name!r})\n"
        f"setattr(place, {function!r}, lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL))\n"
        "from lib.cli import main\n"
        f"sys.argv = ['lib', 'usage', 'import', {str(path)!r}]\n"
        "main()\n"
    )
    killed = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=os.environ | environment, check=False)
    assert killed.returncode == -signal.SIGKILL
    database = Database(environment["DATABASE_URL"])
    with database.read() as connection:
        assert connection.execute(select(func.count()).select_from(usage_events)).scalar_one() == 0
    database.close()
    assert (
        run("usage", "import", str(path)).stderr == "3,000 rows read: 3,000 added, 0 already there, 0 bad.\n"
    )


def test_doctor_says_which_table_prices_and_notes_an_old_one(tmp_path: Path, run: Run) -> None:
    prices = tmp_path / "prices.json"
    prices.write_text('{"openai": {"m": {"input": 1}}}')
    told = findings(run("doctor", "--json", QODEX_PRICES_FILE=str(prices)))["prices"][1]
    assert re.match(r"own-prices-[0-9a-f]{8} \(prices\.json\) before genai-prices-\d+\.\d+\.\d+; ", told)
    made = date(2026, 11, 9)
    assert [table_finding("t", made, made + timedelta(days)).status for days in (0, 60, 61)] == [
        "ok",
        "ok",
        "note",
    ]
    assert table_finding("t", None, made).status == "note"


@pytest.mark.parametrize("behaviour", ["out_of_money", "ip_not_authorized"])
def test_a_key_that_cannot_be_used_replaces_one_that_works_only_where_that_is_said(
    run: Run, upstream: ScriptedUpstream, behaviour: str
) -> None:
    run("keys", "set", "checkout-api", typed=GOOD_KEY)
    upstream.keys[OTHER_KEY] = behaviour
    refused = run("keys", "set", "checkout-api", typed=OTHER_KEY, status=1)
    assert "Nothing was saved: the key in use, •••• 0001, works." in refused.stderr
    assert "say --yes" in refused.stderr
    assert json.loads(run("keys", "show", "checkout-api", "--json").stdout)["last4"] == "0001"
    assert (
        "Warning: The key is genuine, but"
        in run("keys", "set", "checkout-api", "--yes", typed=OTHER_KEY).stderr
    )
    shown = json.loads(run("keys", "show", "checkout-api", "--json").stdout)
    assert (shown["last4"], shown["status"]) == ("0002", "warning")
    # One that cannot be used is no loss: the next one needs no word.
    upstream.keys[GOOD_KEY] = behaviour
    run("keys", "set", "checkout-api", typed=GOOD_KEY)


@pytest.mark.parametrize(
    ("name", "title", "key", "begins"),
    [
        (
            "anthropic",
            "Anthropic",
            CLAUDE_OTHER_KEY,
            "This is not an Anthropic key: those begin with sk-ant-.",
        ),
        ("google", "Google", GEMINI_OTHER_KEY, "This is an OpenAI key, not a Google one."),
    ],
)
def test_the_keys_of_each_provider_are_told_apart_by_an_option(
    run: Run, upstream: ScriptedUpstream, name: str, title: str, key: str, begins: str
) -> None:
    theirs = ("--provider", name)
    run("keys", "set", "checkout-api", typed=f"{GOOD_KEY}\n")
    assert run("keys", "set", "checkout-api", *theirs, typed=f"{key}\n").stderr == (
        f"checkout-api uses its own {title} key •••• 0002 from its next call on.\n"
    )
    saved = shown(run("keys", "show", "checkout-api", *theirs, "--json"))
    assert (saved["provider"], saved["last4"], saved["status"]) == (name, "0002", "working")
    every = shown(run("keys", "check", "--all", "--json"))
    assert [(each["provider"], each["last4"]) for each in every] == [("openai", "0001"), (name, "0002")]
    upstream.keys[key] = f"{name}.revoked"
    assert "failing since" in run("keys", "check", "checkout-api", *theirs, status=1).stdout
    assert run("projects", "set", "checkout-api", *theirs, "--on-key-failure", "platform").stderr == (
        f"When the {title} key of checkout-api fails, its calls go on with the platform-funded key.\n"
    )
    run("keys", "remove", "checkout-api", *theirs, "--yes")
    assert shown(run("keys", "show", "checkout-api", *theirs, "--json"))["status"] == "none"
    assert shown(run("keys", "show", "checkout-api", "--json"))["last4"] == "0001"
    wrong = run("keys", "set", "checkout-api", *theirs, typed=f"{GOOD_KEY}\n", status=1)
    assert begins in wrong.stderr


def test_the_doctor_checks_the_platform_key_of_each_provider(run: Run) -> None:
    keys = {
        "QODEX_OPENAI_API_KEY": PLATFORM_KEY,
        "QODEX_ANTHROPIC_API_KEY": CLAUDE_OTHER_KEY,
        "QODEX_GEMINI_API_KEY": GEMINI_KEY,
    }
    found = findings(run("doctor", "--json", **keys))
    assert found["platform key •••• 0001"] == ("ok", "Google accepted the key for running models.")
    assert found["platform key •••• 0002"] == (
        "ok",
        "Anthropic accepted the key for the workspace wrkspc_test.",
    )
    assert found["platform key •••• 0003"] == ("ok", "OpenAI accepted the key.")
    assert CLAUDE_OTHER_KEY not in str(found)
    assert GEMINI_KEY not in str(found)


def test_the_doctor_notes_a_platform_key_that_could_administer_the_organization(
    run: Run, upstream: ScriptedUpstream
) -> None:
    upstream.keys[CLAUDE_OTHER_KEY] = "anthropic.administers"
    found = findings(run("doctor", "--json", QODEX_ANTHROPIC_API_KEY=CLAUDE_OTHER_KEY))
    status, message = found["platform key •••• 0002"]
    assert (status, "administer the organization" in message) == ("note", True)
