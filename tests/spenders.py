"""Workers of tests that spend in many processes at once, or are killed while they do.

``python -m tests.spenders WHAT JSON`` is a process of its own, which has no threads yet and may fork; see
``in_processes``.
"""

from __future__ import annotations

import gc
import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import threading
import time
from dataclasses import asdict, dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

from sqlalchemy import event

from lib.clock import Micros
from lib.db import raw_execute
from lib.errors import CapExceeded
from lib.ledger.attempts import RequestProfile
from lib.providers import known
from lib.runs.lifecycle import StartedRun
from tests.spending import FRAMING, LEASE, UNKNOWN, Shop, answer, asking

ROOT = Path(__file__).resolve().parents[1]
_GIVES_UP_AFTER = 5  # refusals
_STATEMENTS = 26  # of one call, and a few more


def in_processes(what: str, **told: Any) -> Any:
    """Run ``race`` or ``crash`` in another process, which forks its workers; returns what it tells."""
    command = [sys.executable, "-m", "tests.spenders", what, json.dumps(told)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@dataclass
class Worker:
    """One that calls until nothing fits any more, and what it has to tell."""

    slug: str
    calls: int = 0
    refused: int = 0
    longest_wait: float = 0.0

    def work(self, shop: Shop, luck: random.Random, highest: int, start: Any) -> None:
        run = shop.start(slug=self.slug)
        start.wait()
        while self.refused < _GIVES_UP_AFTER:
            ceiling, begun = luck.randint(FRAMING, highest), time.monotonic()
            try:
                call = shop.open(run, ceiling)
            except CapExceeded:
                self.refused += 1
                time.sleep(0.002)
                continue
            self.longest_wait = max(self.longest_wait, time.monotonic() - begun)
            self._end(shop, call, luck.randint(0, ceiling), luck.random())
            self.calls += 1

    def _end(self, shop: Shop, call: Any, cost: int, fate: float) -> None:
        if fate < 0.1:
            shop.release(call)
        else:
            shop.ledger.settle(call, UNKNOWN if fate < 0.2 else answer(cost))


def race(url: str, slugs: list[str], processes: int, threads: int, highest: int) -> list[dict[str, Any]]:
    """Spend until nothing fits: all workers at once, each with a run of its own."""
    context = multiprocessing.get_context("fork")
    start, told = context.Barrier(processes * threads), context.SimpleQueue()

    def process(number: int) -> None:
        shop = Shop(url)
        numbers = range(number * threads, number * threads + threads)
        workers = {each: Worker(slugs[each % len(slugs)]) for each in numbers}
        busy = [
            threading.Thread(target=worker.work, args=(shop, random.Random(each), highest, start))
            for each, worker in workers.items()
        ]
        for thread in busy:
            thread.start()
        for thread in busy:
            thread.join()
        told.put([asdict(worker) for worker in workers.values()])

    children = [context.Process(target=process, args=(number,)) for number in range(processes)]
    for child in children:
        child.start()
    results = [told.get() for _ in children]
    for child in children:
        child.join()
    return [result for some in results for result in some]


def crash(url: str, runs: list[dict[str, Any]], times: int, ceiling: int, now: Micros) -> dict[str, Any]:
    """Make ``times`` calls, to each provider in turn, each in a new process that is killed at a random statement, or lives."""
    tally: dict[str, Any] = {"opened": [], "settled": [], "refused": [], "killed": 0}
    luck, shop, provider = random.Random(7), _warm(url, now), cycle(known.facts)
    for number in range(times):
        reading, writing = os.pipe()
        fate, cost = luck.randint(1, _STATEMENTS), luck.randint(0, ceiling)
        child = os.fork()
        if child == 0:
            run, asked = StartedRun(**runs[number % len(runs)]), asking(ceiling, provider=next(provider))
            _call_and_die(shop, run, asked, cost, fate, writing)
            os._exit(0)
        os.close(writing)
        with os.fdopen(reading) as lines:
            for line in lines:
                word, event_id = line.split()
                tally[word].append(event_id)
        _, status = os.waitpid(child, 0)
        tally["killed"] += os.WIFSIGNALED(status)
        assert os.WIFSIGNALED(status) or os.waitstatus_to_exitcode(status) == 0
    return tally


def _warm(url: str, now: Micros) -> Shop:
    """What no child needs to do again: every statement built once, in a project of its own."""
    shop = Shop(url, lambda: now)
    shop.add("warm")
    shop.spend(shop.start(slug="warm"), 1)
    shop.close()
    gc.freeze()
    return shop


def _call_and_die(
    shop: Shop, run: StartedRun, asked: RequestProfile, cost: int, fate: int, writing: int
) -> None:
    left = [fate]

    def die(*_: Any) -> None:
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    ready = raw_execute._ready

    def dying(*arguments: Any) -> Any:
        die()
        return ready(*arguments)

    raw_execute._ready = dying  # the statements that go past SQLAlchemy's events
    trip = shop.database.call_function

    def dying_trip(*arguments: Any, **more: Any) -> Any:
        die()
        found = trip(*arguments, **more)
        die()
        return found

    shop.database.call_function = dying_trip  # type: ignore[method-assign]
    for moment in ("before_cursor_execute", "commit"):
        event.listen(shop.database.engine, moment, die)
    try:
        call = shop.ledger.open(run, asked, lease=LEASE)
    except CapExceeded:
        os.write(writing, b"refused -\n")
        return
    os.write(writing, f"opened {call.id}\n".encode())
    shop.ledger.settle(call, answer(cost))
    os.write(writing, f"settled {call.id}\n".encode())


if __name__ == "__main__":
    print(json.dumps({"race": race, "crash": crash}[sys.argv[1]](**json.loads(sys.argv[2]))))
