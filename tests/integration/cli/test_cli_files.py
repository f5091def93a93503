"""What the command line reads and writes: whole or not at all, into whatever is named, never in place of it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import update

from lib.cli import cli
from lib.db import Database
from lib.db.tables import usage_daily_totals, usage_events

pytestmark = pytest.mark.parametrize("database_kind", ["sqlite"])
ROOT = Path(__file__).resolve().parents[3]
USAGE = (
    "occurred_at,project,model,input_tokens,output_tokens\n"
    "2026-05-01T12:00:00Z,checkout-api,gpt-5-mini,1000,100\n"
)
Run = Callable[..., Result]


@pytest.fixture
def environment(database_url: str, master_key: str) -> dict[str, str]:
    return {"DATABASE_URL": database_url, "QODEX_MASTER_KEYS": master_key}


@pytest.fixture
def run(environment: dict[str, str]) -> Run:
    """Run a command in this process; one row of usage is there."""

    def run(*words: str, status: int = 0, typed: str = "") -> Result:
        result = CliRunner().invoke(cli, words, input=typed, env=environment)
        assert result.exit_code == status, result.output
        return result

    run("projects", "add", "checkout-api", "--name", "Caffè 🧪")
    run("usage", "import", "-", typed=USAGE)
    return run


def program(environment: dict[str, str], words: str, **more: str) -> subprocess.CompletedProcess[bytes]:
    """A command as a shell runs it."""
    line = f"exec {sys.executable} -m lib {words}"
    everything = os.environ | environment | more
    return subprocess.run(["/bin/sh", "-c", line], cwd=ROOT, env=everything, capture_output=True, check=False)


# --- a file ----------------------------------------------------------------------------------------


def test_an_export_into_a_pipe_leaves_it_a_pipe(run: Run, tmp_path: Path) -> None:
    pipe, got = tmp_path / "pipe", list[bytes]()
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: got.append(pipe.read_bytes()), daemon=True)
    reader.start()
    run("usage", "export", "-o", str(pipe))
    assert pipe.is_fifo()
    reader.join(10)
    assert got == [run("usage", "export").stdout_bytes]
    run("usage", "export", "--meta", "-o", str(pipe), status=2)


def test_an_export_into_a_link_changes_the_file_behind_it_and_keeps_its_rights(
    run: Run, tmp_path: Path
) -> None:
    private, link = tmp_path / "private.csv", tmp_path / "link.csv"
    private.touch(mode=0o600)
    private.write_text("the old one")
    link.symlink_to(private.name)
    run("usage", "export", "-o", str(link))
    assert link.is_symlink()
    assert private.read_bytes() == run("usage", "export").stdout_bytes
    assert private.stat().st_mode & 0o777 == 0o600


def test_an_export_into_a_name_of_standard_output_keeps_what_stands_there_already(
    run: Run, environment: dict[str, str], tmp_path: Path
) -> None:
    log, link = tmp_path / "log", tmp_path / "link"
    log.write_text("before\n")
    link.symlink_to("/proc/self/fd/1")
    assert program(environment, f"usage export -o {link} >> {log}").returncode == 0
    assert log.read_bytes() == b"before\n" + run("usage", "export").stdout_bytes


@pytest.mark.parametrize("name", [".", "/", ""])
def test_a_folder_is_no_file(run: Run, name: str) -> None:
    told = run("usage", "export", "-o", name, status=1)
    assert told.stderr == "That is a folder. Write the name of a file after -o.\n"


def test_a_file_may_have_as_long_a_name_as_the_system_takes(run: Run, tmp_path: Path) -> None:
    target = tmp_path / ("x" * 255)
    run("usage", "export", "-o", str(target))
    assert target.read_bytes() == run("usage", "export").stdout_bytes


def test_an_export_that_is_told_to_end_leaves_no_piece_of_a_file(
    run: Run, environment: dict[str, str], tmp_path: Path
) -> None:
    target = tmp_path / "out" / "usage.csv"
    target.parent.mkdir()
    code = (
        "import os, signal, sys\n"
        "from lib.exchange.csv_writer import EventsAsCsv\n"
        "EventsAsCsv.write = lambda *_: os.kill(os.getpid(), signal.SIGTERM)\n"
        "from lib.cli import main\n"
        f"sys.argv = ['lib', 'usage', 'export', '-o', {str(target)!r}]\n"
        "main()\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=os.environ | environment, check=False)
    assert ended.returncode == 128 + signal.SIGTERM
    assert list(target.parent.iterdir()) == []


# --- standard streams ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("usage import - <&-", b"The file is empty."),
        ("usage export >&-", b"Standard output is closed."),
        ("projects list >&-", b"Standard output is closed."),
    ],
)
def test_a_closed_stream_is_a_sentence(environment: dict[str, str], words: str, sentence: bytes) -> None:
    told = program(environment, words)
    assert told.returncode == 1
    assert told.stderr.startswith(sentence)
    assert told.stderr.count(b"\n") == 1


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_json_is_whole_in_any_encoding(run: Run, environment: dict[str, str], encoding: str) -> None:
    told = program(environment, "projects list --json", PYTHONIOENCODING=encoding)
    assert json.loads(told.stdout.decode(encoding))[0]["name"] == "Caffè 🧪"


# --- what differs ----------------------------------------------------------------------------------


def test_verify_writes_differences_to_standard_output_with_the_names_of_all_json(
    run: Run, environment: dict[str, str]
) -> None:
    assert json.loads(run("usage", "verify", "--json").stdout) == []
    database = Database(environment["DATABASE_URL"])
    with database.write() as connection:
        connection.execute(update(usage_events).values(cost_nano=None, status="broken"))
        connection.execute(usage_daily_totals.delete())
    database.close()
    told = run("usage", "verify", status=1)
    said = "checkout-api, usage_daily_totals 2026-05-01T00:00:00Z, byok: missing; the events say 0.00045 USD in 1 call"
    assert said in told.stdout.splitlines()
    assert told.stderr == "5 sums differ from the events.\n"
    found = json.loads(run("usage", "verify", "--json", status=1).stdout)
    hour = next(each for each in found if each["table"] == "usage_hourly" and each["status"] == "ok")
    assert hour["hour_at"] == "2026-05-01T12:00:00Z"
    assert hour["stored"]["cost_usd"] == "0.00045"
    assert hour["events"] is None
    assert json.loads(run("usage", "verify", "--repair", "--json").stdout) == found
    assert run("usage", "verify").stdout == ""
