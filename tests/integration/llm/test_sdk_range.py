"""The versions of OpenAI's SDK that pyproject.toml allows: the tests of the client hold at both ends, others are named.

Each version is installed by pip into a folder of its own, which comes first on a process's path; where pip
reaches no index, nothing can be said and the tests are skipped.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from lib.llm.openai import sdk
from tests.services import ROOT
from tests.whole import whole_or

pytestmark = pytest.mark.slow

_HOSTILE = "client_hostile.py::test_"
RULES = (
    "client.py",
    "client_streams.py",
    f"{_HOSTILE}no_websocket_is_opened",
    f"{_HOSTILE}no_resource_of_the_sdk_keeps_a_way_to_connect",
    f"{_HOSTILE}a_request_to_another_address_is_not_sent",
    "each_provider.py::test_nothing_of_the_environment_reaches_a_request",
    "hostile_upstream.py::test_no_failure_carries_the_key",
)
"""Of the client's tests those that an SDK could break."""

_MAKE_A_CLIENT = """
import sys
from types import SimpleNamespace
from lib.errors import SdkUnsupported
from lib.llm.openai.provider import OpenAI
for make in (OpenAI().client, OpenAI().async_client):
    try:
        make(None, SimpleNamespace(), "run")
    except SdkUnsupported as problem:
        print(problem)
"""


def _requirement() -> str:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return next(each for each in project["dependencies"] if re.match(r"openai\b", each))


def _installed(folder: Path, requirement: str) -> dict[str, str]:
    """The environment of a process that has this version; the rest is what the tests have."""
    wanted = [requirement, "distro", "tqdm"]  # what older ones needed besides
    done = subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder), *wanted],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    if done.returncode != 0:
        pytest.skip(f"pip could not install {requirement}: {done.stderr.strip()[-200:]}")
    return os.environ | {"PYTHONPATH": f"{folder}:{ROOT}"}


# The pinned one, which all other tests have, is mostly the newest.
@pytest.mark.parametrize("end", whole_or(["oldest"], ["oldest", "newest"]))
def test_the_clients_rules_hold_with_the_oldest_and_the_newest_sdk(tmp_path: Path, end: str):
    oldest = f"openai=={'.'.join(map(str, sdk.OLDEST))}.*"
    environment = _installed(tmp_path / "sdk", oldest if end == "oldest" else _requirement())
    files = [f"tests/integration/llm/test_{name}" for name in RULES]
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-n",
            "0",
            "-p",
            "no:cacheprovider",
            "-k",
            "not postgresql and not anthropic and not google",
            *files,
        ],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=1_800,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4_000:]


@pytest.mark.parametrize("version", ["1.109.1", "2.54.0"])
def test_an_sdk_that_does_not_fit_is_named_where_a_client_is_made(tmp_path: Path, version: str):
    environment = _installed(tmp_path / "sdk", f"openai=={version}")
    done = subprocess.run(
        [sys.executable, "-c", _MAKE_A_CLIENT],
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    said = (
        f"The installed openai {version} does not fit. Install one that does: pip install '{_requirement()}'."
    )
    assert (done.stdout.splitlines(), done.stderr) == ([said, said], "")
