"""How a worker's process ends: SIGTERM, the end of its script, a fork. What it holds is given back, what it owes written."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from lib.db.tables import accounts, open_calls, runs
from lib.errors import LeaseLost
from lib.llm.metering.attempt import Attempt
from lib.platform import Platform, Run
from tests.calls import on_sqlite, rows
from tests.services import wait_until
from tests.upstream import PLATFORM_KEY, Behaviour, ScriptedUpstream

ROOT = Path(__file__).resolve().parents[3]
_WORKER = """
import asyncio, os, signal, sys, threading
from lib import Platform
platform = Platform.from_env()
def ask(client):
    return client.responses.create(model="gpt-5", input="Hi")
def stream(client):
    return client.chat.completions.create(
        model="gpt-5", messages=[{"role": "user", "content": "Hi"}], stream=True)
def say(word):
    print(word, flush=True)
"""


@pytest.fixture
def worker(shop: Platform) -> Iterator[Any]:
    """Starts a program that makes calls, in a process of its own."""
    started: list[subprocess.Popen[str]] = []
    assert shop.settings.master_keys
    environment = os.environ | {
        "DATABASE_URL": shop.settings.database_url,
        "QODEX_MASTER_KEYS": shop.settings.master_keys.reveal(),
        "QODEX_OPENAI_API_KEY": PLATFORM_KEY,
        "OPENAI_API_KEY": PLATFORM_KEY,
        "OPENAI_BASE_URL": shop.settings.openai_base_url,
        "PYTHONPATH": str(ROOT),
    }

    def start(program: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-W", "ignore", "-c", _WORKER + program]
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def reserved(shop: Platform) -> int:
    with shop.database.read() as connection:
        return int(connection.execute(select(accounts.c.reserved_nano)).scalar_one())


def statuses(shop: Platform) -> list[str]:
    with shop.database.read() as connection:
        return list(connection.execute(select(runs.c.status).order_by(runs.c.started_at)).scalars())


WAITS = {
    "sync": 'with platform.run("shop") as run:\n    ask(run.openai)\n',
    "in a stream": 'with platform.run("shop") as run:\n    list(stream(run.openai))\n',
    "async": """
async def work():
    async with platform.run("shop") as run:
        await ask(run.async_openai)
asyncio.run(work())
""",
}


@pytest.mark.parametrize("way", WAITS)
def test_a_worker_that_is_terminated_in_a_call_settles_it_and_reserves_nothing(shop, upstream, worker, way):
    upstream.queue(Behaviour(event_delay=600) if way == "in a stream" else "hang")
    process = worker(WAITS[way])
    assert wait_until(lambda: len(upstream.requests) == 1, 600)
    assert reserved(shop) > 0
    process.send_signal(signal.SIGTERM)
    assert process.wait(600) == 128 + signal.SIGTERM
    [row] = rows(shop)
    assert row["status"] in {"unknown", "abandoned"}
    assert row["cost_nano"] is None
    assert (reserved(shop), statuses(shop)) == (0, ["error"])


def test_calls_of_other_threads_may_finish_when_a_worker_is_terminated(shop, upstream, worker):
    upstream.queue(Behaviour(delay=2))
    process = worker(
        'run = platform.run("shop")\n'
        "threading.Thread(target=lambda: say(ask(run.openai).output_text)).start()\n"
        "with run:\n    signal.pause()\n"
    )
    assert wait_until(lambda: len(upstream.requests) == 1, 600)
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=600)
    assert "Hello" in said
    assert (rows(shop, "status"), reserved(shop)) == (["ok"], 0)


def test_a_handler_of_the_workers_own_stays(worker):
    process = worker(
        "signal.signal(signal.SIGTERM, lambda *_: os._exit(7))\n"
        'with platform.run("shop") as run:\n    say("ready")\n    signal.pause()\n'
    )
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGTERM)
    assert process.wait(600) == 7


@on_sqlite
def test_what_is_owed_at_the_end_of_a_process_is_tried_until_the_database_answers(shop, worker):
    """Somebody holds the write lock while the worker's script ends."""
    process = worker(
        'with platform.run("shop") as run:\n'
        "    flow = stream(run.openai)\n    next(flow)\n    say('holding')\n    sys.stdin.readline()\n"
        "    platform.ledger._settle_seconds = 0.2\n    list(flow)\n    say(platform.owed)\n"
    )
    assert process.stdout.readline() == "holding\n"
    holder = sqlite3.connect(shop.settings.database_url.removeprefix("sqlite:///"), isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    process.stdin.write("\n")
    process.stdin.flush()
    assert process.stdout.readline() == "1\n"
    holder.rollback()
    holder.close()
    assert process.wait(600) == 0
    assert (rows(shop, "status"), statuses(shop)) == (["ok"], ["passed"])


def test_a_script_that_ends_with_open_streams_leaves_none_open(shop, worker):
    process = worker(
        'run = platform.run("shop").__enter__()\nflows = [stream(run.openai) for _ in range(3)]\nnext(flows[0])\n'
    )
    assert process.wait(600) == 0
    assert (rows(shop, "status"), reserved(shop)) == (["abandoned"] * 3, 0)
    assert statuses(shop) == ["error"]


def test_a_forked_worker_leaves_none_open_and_leaves_its_parents_alone(shop, worker):
    process = worker(
        "import multiprocessing\n"
        'run = platform.run("shop").__enter__()\nmine = stream(run.openai)\nnext(mine)\n'
        "def child():\n    global theirs\n    theirs = stream(run.openai)\n    next(theirs)\n"
        "other = multiprocessing.get_context('fork').Process(target=child)\n"
        "other.start()\nother.join()\n"
        "say(other.exitcode)\nlist(mine)\nrun.finish()\n"
    )
    said, _ = process.communicate(timeout=600)
    assert json.loads(said) == 0
    assert sorted(rows(shop, "status")) == ["abandoned", "ok"]
    assert (reserved(shop), statuses(shop)) == (0, ["passed"])


def _ask(run: Run, *, is_async: bool) -> None:
    if is_async:
        asyncio.run(run.async_openai.responses.create(model="gpt-5", input="Hi"))
    else:
        run.openai.responses.create(model="gpt-5", input="Hi")


@pytest.mark.parametrize("is_async", [False, True])
def test_a_call_that_was_left_before_it_was_sent_is_never_sent(
    shop: Platform, upstream: ScriptedUpstream, monkeypatch: pytest.MonkeyPatch, is_async: bool
):
    """The end of a process leaves the calls of threads that still run: what gave its reservation back may not go on."""
    trace = Attempt.trace

    def left_meanwhile(attempt: Attempt, event: str, details: dict[str, Any]) -> None:
        if event.endswith("send_request_headers.started"):
            attempt.leave()
        trace(attempt, event, details)

    monkeypatch.setattr(Attempt, "trace", left_meanwhile)
    with pytest.raises(LeaseLost, match="was not sent"), shop.run("shop") as run:
        _ask(run, is_async=is_async)
    shop.ledger.queue.flush(10, patiently=True)
    with shop.database.read() as connection:
        account = connection.execute(select(accounts)).one()
        still_open = connection.execute(select(open_calls)).all()
    assert (upstream.requests, rows(shop), still_open, account.reserved_nano) == ([], [], [], 0)
