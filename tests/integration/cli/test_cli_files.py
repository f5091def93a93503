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
    reader.join(300)
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


# --- what an export may not take the place of ------------------------------------------------------

OWN = "That is a file of this deployment (database, master keys, settings). Choose another name.\n"


@pytest.fixture
def key_file(environment: dict[str, str], tmp_path: Path) -> Path:
    """The master keys in a file, as most deployments have them."""
    path = tmp_path / "keys" / "master.key"
    path.parent.mkdir()
    path.touch(mode=0o600)
    path.write_text(environment.pop("QODEX_MASTER_KEYS") + "\n")
    environment["QODEX_MASTER_KEY_FILE"] = str(path)
    return path


@pytest.mark.parametrize("end", ["", "-wal", "-shm", "-journal", "-next", "-queue"])
def test_no_export_takes_the_place_of_a_file_of_the_database(run: Run, tmp_path: Path, end: str) -> None:
    """Also of one that is not there at the moment: the database would open what it finds under that name."""
    target = tmp_path / f"qodex.db{end}"
    before = target.read_bytes() if target.exists() else None
    assert run("usage", "export", "-o", str(target), status=1).stderr == OWN
    assert (target.read_bytes() if target.exists() else None) == before
    assert run("usage", "export").stdout_bytes.count(b"\n") == 2


def _symbolic(file: Path, folder: Path) -> str:
    (folder / "link.csv").symlink_to(file)
    return str(folder / "link.csv")


def _hard(file: Path, folder: Path) -> str:
    os.link(file, folder / "hard.csv")
    return str(folder / "hard.csv")


def _linked_folder(file: Path, folder: Path) -> str:
    (folder / "elsewhere").symlink_to(file.parent)
    return str(folder / "elsewhere" / file.name)


def _relative(file: Path, folder: Path) -> str:
    return os.path.relpath(file, ROOT)


def _upwards(file: Path, folder: Path) -> str:
    return f"{file.parent}/../{file.parent.name}/{file.name}"


WAYS = (_symbolic, _hard, _linked_folder, _relative, _upwards)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("which", ["database", "keys"])
def test_no_name_that_leads_to_a_file_of_the_deployment_is_written(
    run: Run,
    key_file: Path,
    environment: dict[str, str],
    tmp_path: Path,
    way: Callable[[Path, Path], str],
    which: str,
) -> None:
    file = key_file if which == "keys" else Path(environment["DATABASE_URL"].removeprefix("sqlite:///"))
    (tmp_path / "out").mkdir()
    name, before = way(file, tmp_path / "out"), file.read_bytes()
    told = program(environment, f"usage export -o {name}")
    assert (told.returncode, told.stderr.decode(), told.stdout) == (1, OWN, b"")
    assert file.read_bytes() == before


def test_no_descriptor_of_the_process_leads_an_export_into_the_database_or_the_keys(
    run: Run, key_file: Path, environment: dict[str, str]
) -> None:
    database = environment["DATABASE_URL"].removeprefix("sqlite:///")
    for file in (database, key_file):
        before = Path(file).read_bytes()
        for words in ("-o /proc/self/fd/9 9<>{0}", "-o /dev/fd/9 9<>{0}", ">> {0}", "-o /dev/stdout >> {0}"):
            told = program(environment, f"usage export {words.format(file)}")
            assert (told.returncode, told.stderr.decode()) == (1, OWN), words
            assert Path(file).read_bytes() == before


def test_a_meta_file_takes_no_place_either_and_then_nothing_is_written(
    run: Run, environment: dict[str, str], tmp_path: Path
) -> None:
    environment["QODEX_PRICES_FILE"] = prices = str(tmp_path / "usage.csv.meta.json")
    Path(prices).write_text("{}")
    told = run("usage", "export", "--meta", "-o", str(tmp_path / "usage.csv"), status=1)
    assert told.stderr == OWN
    assert Path(prices).read_text() == "{}"
    assert not (tmp_path / "usage.csv").exists()


def test_a_link_to_a_name_of_the_database_that_is_not_there_is_not_followed(run: Run, tmp_path: Path) -> None:
    (tmp_path / "link.csv").symlink_to("qodex.db-journal")
    assert run("usage", "export", "-o", str(tmp_path / "link.csv"), status=1).stderr == OWN
    assert not (tmp_path / "qodex.db-journal").exists()


def test_a_new_export_is_for_its_owner_alone(run: Run, tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        run("usage", "export", "--meta", "-o", str(tmp_path / "usage.csv"))
    finally:
        os.umask(before)
    made = [tmp_path / "usage.csv", tmp_path / "usage.csv.meta.json"]
    assert [file.stat().st_mode & 0o777 for file in made] == [0o600, 0o600]


def test_an_export_keeps_the_rights_of_the_file_that_was_there(run: Run, tmp_path: Path) -> None:
    shared = tmp_path / "usage.csv"
    shared.touch()
    shared.chmod(0o664)
    run("usage", "export", "-o", str(shared))
    assert shared.stat().st_mode & 0o777 == 0o664


# --- an end from outside ---------------------------------------------------------------------------


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
