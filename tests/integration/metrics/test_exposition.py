"""Prometheus reads what a process has counted, and what stands in the database; no name or key of anybody."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from lib.errors import CapExceeded, KeyMissing
from lib.llm.formats.request_profile import profile_of
from lib.metrics import exposition
from lib.reports.models import UsageFilter
from lib.secret import Secret
from tests.calls import ask, on_sqlite
from tests.services import ROOT, _free_port, wait_until
from tests.upstream import GOOD_KEY

if TYPE_CHECKING:
    from lib.platform import Platform
    from tests.upstream import ScriptedUpstream

Found = dict[tuple[str, tuple[str, ...]], float]


@pytest.fixture
def address() -> str:
    return f"127.0.0.1:{_free_port()}"


@pytest.fixture
def served(platform: Platform, address: str) -> Platform:
    """A process with one project on its own key, whose metrics can be read."""
    platform.settings = platform.settings.model_copy(update={"metrics_address": address})
    platform.projects.add("checkout-api", actor=platform.actor)
    platform.keys.save("checkout-api", GOOD_KEY)
    platform.serve_metrics()
    return platform


def text(address: str) -> str:
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=300) as answer:
        return str(answer.read().decode())


def read(address: str) -> Found:
    """Each sample by its name and the values of its labels."""
    families = text_string_to_metric_families(text(address))
    return {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in families
        for sample in family.samples
    }


def grown(before: Found, after: Found, name: str, *labels: str) -> float:
    return after[name, labels] - before.get((name, labels), 0.0)


def test_each_settled_call_is_counted_once_by_what_became_of_it(served: Platform, address: str) -> None:
    before = read(address)
    with served.run("checkout-api") as run:
        for _ in range(3):
            ask(run.openai)
    after = read(address)
    assert grown(before, after, "qodex_calls_total", "openai", "byok", "ok") == 3
    for histogram in ("open", "settle", "resolve"):
        assert grown(before, after, f"qodex_{histogram}_seconds_count") == 3


def test_what_is_refused_is_counted_by_the_rule_and_its_window(
    served: Platform, address: str, upstream: ScriptedUpstream
) -> None:
    before, sent = read(address), len(upstream.requests)
    served.projects.add("without-a-key", actor=served.actor)
    with served.run("without-a-key") as run, pytest.raises(KeyMissing):
        ask(run.openai)
    assert grown(before, read(address), "qodex_refusals_total", "key_missing", "") == 1
    assert len(upstream.requests) == sent


def test_a_cap_is_named_by_its_window(settings: Any, address: str) -> None:
    from lib.platform import Platform

    update = {"metrics_address": address, "openai_api_key": Secret(GOOD_KEY)}
    platform = Platform(settings.model_copy(update=update))
    platform.serve_metrics()
    before = read(address)
    platform.projects.add("capped", actor=platform.actor)
    caps = {"cap_5h_nano": 1, "cap_7d_nano": 10**12}
    platform.plans.set_caps("capped", **caps, reason="a test", ends_at=None, actor=platform.actor)
    with platform.run("capped") as run, pytest.raises(CapExceeded):
        ask(run.openai)
    assert grown(before, read(address), "qodex_refusals_total", "cap_exceeded", "5h") == 1
    platform.close()


def test_gauges_tell_what_stands_now_and_an_outage_leaves_those_of_the_process(
    served: Platform, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exposition, "_KEPT", 0.0)
    found = read(address)
    for name in (
        "open_calls",
        "reserved_usd",
        "owed_settlements",
        "locked_keys",
        "due_alerts",
        "pool_in_use",
    ):
        assert found[f"qodex_{name}", ()] == 0
    assert found["qodex_database_up", ()] == 1
    served.keyring._keys.clear()  # a server without the master key
    assert read(address)["qodex_locked_keys", ()] == 1


def test_a_call_whose_worker_died_is_counted_and_logged_by_who_settles_it(
    served: Platform, address: str, caplog: pytest.LogCaptureFixture
) -> None:
    before = read(address)
    profile = profile_of("responses", b"{}", {"model": "gpt-5"}, provider="openai")
    started = served._runs.start("checkout-api", "scan", actor=served.actor)
    served.ledger.open(started, profile, lease=-1)
    with caplog.at_level(logging.INFO, logger="lib.calls"):
        served.reports.totals(UsageFilter(), actor=served.actor)
    assert grown(before, read(address), "qodex_calls_total", "openai", "byok", "unknown") == 1
    assert grown(before, read(address), "qodex_unknown_outcomes_total", "openai", "byok") == 1
    assert started.run_id in caplog.text


def test_nothing_names_a_project_or_a_key(served: Platform, address: str) -> None:
    with served.run("checkout-api") as run:
        ask(run.openai)
    names = "".join(
        line.rpartition(" ")[0] for line in text(address).splitlines()
    )  # any number may hold four digits
    assert "checkout-api" not in names
    assert GOOD_KEY[-4:] not in names


@on_sqlite
def test_an_address_that_is_taken_is_said_and_work_goes_on(
    served: Platform, address: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        served.serve_metrics()
    assert "Metrics are not served" in caplog.text
    with served.run("checkout-api") as run:
        ask(run.openai)


@on_sqlite
def test_a_worker_serves_its_metrics_where_the_environment_says(settings: Any, address: str) -> None:
    environment = {
        **os.environ,
        "DATABASE_URL": settings.database_url,
        "QODEX_MASTER_KEYS": settings.master_keys.reveal(),
        "QODEX_METRICS_ADDRESS": address,
    }
    worker = "from lib import Platform; Platform.from_env(); print('ready', flush=True); input()"
    command = [sys.executable, "-c", worker]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        assert wait_until(lambda: read(address)["qodex_database_up", ()] == 1, 30)
        process.communicate("\n")
