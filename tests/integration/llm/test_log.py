"""``QODEX_LOG=json``: every line a process writes is an object, and a call's names its run and its request."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.calls import on_sqlite
from tests.services import ROOT, running_dashboard
from tests.upstream import GOOD_KEY

if TYPE_CHECKING:
    from lib.platform import Platform
    from lib.settings import Settings

WORKER = """
from lib import Platform
platform = Platform.from_env()
with platform.run("checkout-api") as run:
    run.openai.responses.create(model="gpt-5", input="a prompt that nobody logs")
platform.close()
"""


def environment(settings: Settings) -> dict[str, str]:
    assert settings.master_keys
    return {
        "DATABASE_URL": settings.database_url,
        "QODEX_MASTER_KEYS": settings.master_keys.reveal(),
        "OPENAI_BASE_URL": settings.openai_base_url,
        "QODEX_LOG": "json",
    }


def objects(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


@on_sqlite
def test_a_worker_logs_each_call_with_its_run_and_request_and_without_its_prompt_and_key(
    platform: Platform, settings: Settings
) -> None:
    platform.projects.add("checkout-api", actor=platform.actor)
    platform.keys.save("checkout-api", GOOD_KEY)
    command = [sys.executable, "-c", WORKER]
    variables = os.environ | environment(settings)
    done = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, check=True)
    (call,) = [each for each in objects(done.stderr) if each["logger"] == "lib.calls"]
    assert call["run"].startswith("r-")
    assert call["request"].startswith("req_")
    assert (call["provider"], call["source"], call["status"]) == ("openai", "byok", "ok")
    assert float(call["cost_usd"]) > 0
    assert GOOD_KEY not in done.stderr
    assert "nobody logs" not in done.stderr


@on_sqlite
def test_each_line_of_a_dashboards_log_is_an_object(settings: Settings, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with running_dashboard(environment(settings), log) as address:
        urllib.request.urlopen(f"{address}/readyz", timeout=300).close()
        urllib.request.urlopen(f"{address}/", timeout=300).close()
    printed = [line for line in log.read_text().splitlines() if line.strip()]
    told = [line for line in printed if line.startswith("{")]
    assert all(json.loads(line)["message"] for line in told)
    # What Streamlit and the shell print for whoever starts it by hand is no log.
    by_hand = ("URL", "browser", "Stopping", "Terminated")
    assert [line for line in printed if line not in told and not any(word in line for word in by_hand)] == []


@on_sqlite
def test_another_form_is_refused_by_the_name_of_the_variable(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lib.errors import SettingsError
    from lib.settings import Settings

    for name, value in (environment(settings) | {"QODEX_LOG": "xml"}).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match="QODEX_LOG"):
        Settings.from_env()
