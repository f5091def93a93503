"""``bin/qodex``: the commands of the documents, typed in a shell where nobody has activated anything."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.services import ROOT

BARE = {"PATH": "/usr/bin:/bin"}


@pytest.fixture
def somewhere(tmp_path: Path) -> Path:
    """A folder of somebody's own, with a package that happens to be called lib."""
    folder = tmp_path / "elsewhere"
    (folder / "lib").mkdir(parents=True)
    (folder / "lib" / "__init__.py").write_text("raise SystemExit('the wrong lib')")
    return folder


def typed(somewhere: Path, *words: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """What a person gets who types these words there."""
    return subprocess.run(
        list(map(str, words)),
        cwd=somewhere,
        env=BARE | environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


@pytest.fixture
def database(tmp_path: Path) -> dict[str, str]:
    return {
        "DATABASE_URL": f"sqlite:///{tmp_path / 'qodex.db'}",
        "QODEX_MASTER_KEY_FILE": str(tmp_path / "master.key"),
    }


def test_a_documented_command_works_from_a_bare_shell_in_any_folder(
    somewhere: Path, database: dict[str, str]
):
    added = typed(somewhere, ROOT / "bin" / "qodex", "projects", "add", "checkout-api", **database)
    assert (added.returncode, added.stdout) == (0, ""), added.stderr
    listed = typed(somewhere, ROOT / "bin" / "qodex", "projects", "list", "--json", **database)
    assert listed.returncode == 0, listed.stderr
    assert [project["slug"] for project in json.loads(listed.stdout)] == ["checkout-api"]


def test_it_can_be_linked_to_from_a_folder_of_programs(somewhere: Path):
    (somewhere / "qodex").symlink_to(ROOT / "bin" / "qodex")
    told = typed(somewhere, "./qodex", "--help")
    assert (told.returncode, told.stderr) == (0, "")
    assert told.stdout.startswith("Usage: bin/qodex [OPTIONS] COMMAND")


def test_a_file_that_is_named_is_sought_where_one_is(somewhere: Path, database: dict[str, str]):
    done = typed(somewhere, ROOT / "bin" / "qodex", "usage", "export", "-o", "usage.csv", **database)
    assert done.returncode == 0, done.stderr
    assert (somewhere / "usage.csv").read_text().startswith("event_id,")


def test_a_wrong_command_ends_with_a_status_that_says_so(somewhere: Path):
    told = typed(somewhere, ROOT / "bin" / "qodex", "no-such-thing")
    assert (told.returncode, told.stdout) == (2, "")
    assert "No such command" in told.stderr
