"""A soak: workers that call, forget, cancel, are interrupted, terminated and killed, on a database in trouble.

PostgreSQL crashes and is locked, the disk under SQLite is full. ``python -m tests.soak --seconds 180`` (``make soak``).
At the end the upstream's own log is compared with the usage rows, run by run, reservations with open calls and the
account with the sum of its events; nothing may hang.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import gc
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import openai
import psycopg
from sqlalchemy import func, select, update

from lib.db.tables import accounts, open_calls, runs, usage_events
from lib.platform import Platform, Run
from lib.secret import Secret
from lib.settings import Settings
from tests.calls import SAY
from tests.disks import NoSmallDisk, fill, small_disk
from tests.postgres_crash import MortalServer, mortal_postgres, new_database
from tests.providers import PROVIDERS
from tests.services import wait_until
from tests.upstream import PLATFORM_KEY, ScriptedUpstream

ROOT = Path(__file__).resolve().parents[1]
WORKERS = 3
RUN_HEADER = "x-run"
_DISK = 128  # MB
_OTHERS = 0.3
"""The share of calls that go to other providers than the first."""
PROJECTS = ("shop", "till")


class TimeLimit(Exception):
    """A signal's, at any line."""


# --- a worker ----------------------------------------------------------------------------------------


def work(seed: int) -> None:
    """Make calls of all kinds until told to stop, in two threads; in the main one a signal comes at any line."""
    luck, platform = random.Random(seed), Platform.from_env()
    ends = time.monotonic() + float(os.environ["SOAK_SECONDS"])
    other = threading.Thread(target=_other_calls, args=(platform, random.Random(seed + 1), ends))
    other.start()
    signal.signal(signal.SIGALRM, _interrupt)
    while time.monotonic() < ends:
        signal.setitimer(signal.ITIMER_REAL, luck.uniform(0.01, 0.5))
        with suppress(Exception):
            _calls(platform, luck, min(ends, time.monotonic() + 1))
        signal.setitimer(signal.ITIMER_REAL, 0)
    other.join()


def _interrupt(*_: object) -> None:
    raise TimeLimit


def _other_calls(platform: Platform, luck: random.Random, ends: float) -> None:
    """By turns synchronous, and asynchronous ones that are cancelled at any moment."""
    while time.monotonic() < ends:
        _calls(platform, luck, min(ends, time.monotonic() + 1))
        with suppress(Exception):
            asyncio.run(_cancelled_calls(platform, luck))


async def _cancelled_calls(platform: Platform, luck: random.Random) -> None:
    async with platform.run(luck.choice(PROJECTS)) as run:
        client = _marked(run.async_openai, run.id)
        for _ in range(4):
            with suppress(TimeoutError, openai.APIError):
                async with asyncio.timeout(luck.uniform(0.0, 0.1)):
                    stream = await client.chat.completions.create(
                        model="gpt-5-mini", messages=SAY, stream=True
                    )
                    async for _chunk in stream:
                        pass


def _marked(client: Any, run_id: str) -> Any:
    """The run's client, whose requests name the run to the upstream."""
    return client.with_options(max_retries=0, default_headers={RUN_HEADER: run_id})


def _calls(platform: Platform, luck: random.Random, ends: float) -> None:
    while time.monotonic() < ends:
        try:
            with platform.run(luck.choice(PROJECTS)) as run:
                client = _marked(run.openai, run.id)
                for _ in range(luck.randint(1, 4)):
                    if luck.random() < _OTHERS:
                        _call_of_another(run, luck)
                    else:
                        _one_call(client, luck)
        except TimeLimit:
            raise
        except Exception:  # noqa: BLE001 - the database is away, the upstream refuses
            time.sleep(0.05)


def _call_of_another(run: Run, luck: random.Random) -> None:
    """A call by the SDK of another provider: plain, a whole stream, or one that is forgotten after its first event."""
    provider = PROVIDERS[luck.choice(["anthropic", "google"])]
    ask = partial(provider.ask, run.client(provider.name), headers={RUN_HEADER: run.id})
    kind = luck.randrange(3)
    if kind == 0:
        ask()
    elif kind == 1:
        list(ask(stream=True))
    else:
        next(ask(stream=True))


def _one_call(client: Any, luck: random.Random) -> None:
    kind = luck.randrange(4)
    if kind == 0:
        client.responses.create(model="gpt-5-mini", input="Hi")
        return
    stream = client.chat.completions.create(model="gpt-5-mini", messages=SAY, stream=True)
    if kind == 1:
        for _ in stream:
            pass
    elif kind == 2:
        next(stream)  # and forget it
    else:
        next(stream)
        stream.close()
    if luck.random() < 0.2:
        gc.collect()


# --- what happens to them ------------------------------------------------------------------------------


@dataclass
class Result:
    """What was found at the end."""

    requests: int
    rows: int
    unknown: int
    wrong_runs: list[str]
    cut_before_leaving: int
    """Calls of workers that died, or were interrupted, between their opening and the last byte of their request."""
    open_calls: int
    reserved: int
    wrong_accounts: int
    unfinished: int
    events: dict[str, int]


class Soak:
    """Workers on one database, and what is done to them."""

    def __init__(
        self,
        settings: Settings,
        upstream: ScriptedUpstream,
        *,
        server: MortalServer | None = None,
        disk: Path | None = None,
    ) -> None:
        self._server, self._settings, self._upstream = server, settings, upstream
        self._disk = disk
        self._workers: list[subprocess.Popen[bytes]] = []
        self._luck = random.Random(7)
        self._happened: dict[str, int] = {}
        self._seed = 0

    def run(self, seconds: float) -> Result:
        """Let it all happen for so long, then add up."""
        platform = Platform(self._settings)
        for slug in PROJECTS:
            platform.projects.add(slug, actor=platform.actor)
            plenty = {"cap_5h_nano": 10**15, "cap_7d_nano": 10**15}
            platform.plans.set_caps(slug, **plenty, reason="a soak", ends_at=None, actor=platform.actor)
        ends = time.monotonic() + seconds
        acts = [self._kill, self._terminate]
        acts += [self._crash, self._lock] if self._server else []
        acts += [self._fill] if self._disk else []
        while (left := ends - time.monotonic()) > 0:
            self._see_to_workers(left)
            time.sleep(min(left, self._luck.uniform(1.0, 3.0)))
            act = acts[sum(self._happened.values()) % len(acts)]
            self._happened[act.__name__] = self._happened.get(act.__name__, 0) + 1
            act()
        unfinished = sum(
            not wait_until(lambda each=each: each.poll() is not None, 120) for each in self._workers
        )
        for each in self._workers:
            each.kill()
        found = self._add_up(platform, unfinished)
        platform.close()
        return found

    def _see_to_workers(self, seconds: float) -> None:
        self._workers = [each for each in self._workers if each.poll() is None]
        while len(self._workers) < WORKERS:
            self._seed += 10
            assert self._settings.master_keys
            environment = os.environ | {
                "DATABASE_URL": self._settings.database_url,
                "QODEX_MASTER_KEYS": self._settings.master_keys.reveal(),
                **{case.variables[0]: case.platform_key for case in PROVIDERS.values()},
                **{
                    case.variables[1]: self._settings.provider(case.name).base_url
                    for case in PROVIDERS.values()
                },
                "QODEX_DB_TIMEOUT": "5",
                "SOAK_SECONDS": str(seconds),
            }
            command = [sys.executable, "-W", "ignore", "-m", "tests.soak", "--worker", str(self._seed)]
            self._workers.append(
                subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.DEVNULL)
            )

    def _kill(self) -> None:
        self._luck.choice(self._workers).kill()
        time.sleep(1)  # what it has opened is on the disk by now, also where the next thing is a crash

    def _terminate(self) -> None:
        self._luck.choice(self._workers).terminate()

    def _crash(self) -> None:
        assert self._server
        self._server.crash()

    def _lock(self) -> None:
        assert self._server
        # The stranger takes its locks in an order of its own; where PostgreSQL ends a deadlock by its fall, all goes on.
        with (
            suppress(psycopg.errors.DeadlockDetected),
            self._server.connect(self._settings.database_url) as connection,
        ):
            connection.execute("LOCK TABLE usage_events, accounts IN EXCLUSIVE MODE")
            time.sleep(self._luck.uniform(0.5, 2.0))

    def _fill(self) -> None:
        assert self._disk
        filler = self._disk / "filler"
        fill(filler)
        time.sleep(self._luck.uniform(0.5, 2.0))
        filler.unlink()

    def _add_up(self, platform: Platform, unfinished: int) -> Result:
        """After the leases of those that were killed have run out."""
        with platform.database.write() as connection:
            connection.execute(update(open_calls).values(lease_until=open_calls.c.opened_at - 1))
            connection.execute(update(runs).where(runs.c.status == "running").values(lease_until=0))
        for slug in PROJECTS:
            platform.caps.headroom(slug)
        platform.ledger.queue.flush(60, patiently=True)
        wrong = 0
        with platform.database.read() as connection:
            rows = connection.execute(select(usage_events)).all()
            still_open = connection.execute(select(func.count()).select_from(open_calls)).scalar_one()
            books = connection.execute(select(accounts)).all()
            endings = {row.run_id: row.status for row in connection.execute(select(runs))}
        for account in books:
            mine = [row for row in rows if row.project_id == account.project_id]
            newest = max(mine, key=lambda row: row.sequence, default=None)
            wrong += newest is not None and newest.counted_after_nano != account.counted_nano
            known = sum(row.cost_nano for row in mine if row.cost_nano is not None)
            wrong += known != account.counted_nano - account.unknown_nano
        wrong_runs, cut = self._compare(rows, endings)
        return Result(
            requests=len(self._upstream.requests),
            rows=len(rows),
            wrong_runs=wrong_runs,
            cut_before_leaving=cut,
            unknown=sum(row.status == "unknown" for row in rows),
            open_calls=still_open,
            reserved=sum(account.reserved_nano for account in books),
            wrong_accounts=wrong,
            unfinished=unfinished,
            events=self._happened,
        )

    def _compare(self, rows: Sequence[Any], endings: dict[str, str]) -> tuple[list[str], int]:
        """Runs whose rows are not their requests, and rows of calls that never left; see ``Result``.

        A thread makes one call after the other. So a run that was interrupted, or whose worker died, can have one row
        beside those of its requests, of which nobody knows how it ended; so can each call that was cancelled before
        an answer came. Any other run has none.
        """
        sent = Counter(seen.headers.get(RUN_HEADER) for seen in self._upstream.requests)
        written = Counter(row.run_id for row in rows)
        unknown = [row for row in rows if row.status == "unknown"]
        cancelled = [row for row in unknown if row.error_code == "CancelledError"]
        interrupted = [row for row in unknown if endings[row.run_id] in {"error", "lost"}]
        may_be_cut = Counter(row.run_id for row in cancelled)
        may_be_cut.update({row.run_id for row in interrupted if row not in cancelled})
        extra = {run_id: written[run_id] - sent[run_id] for run_id in sent.keys() | written.keys()}
        wrong = [
            f"{endings.get(run_id)}: {number} rows too many, of {[(row.status, row.error_code) for row in rows if row.run_id == run_id]}"
            for run_id, number in extra.items()
            if not 0 <= number <= may_be_cut[run_id]
        ]
        cut = sum(extra.values())
        return wrong, cut


def soak(kind: str, seconds: float) -> Result:
    """One soak on ``sqlite`` or ``postgresql``."""
    key = base64.b64encode(os.urandom(32)).decode()
    with ScriptedUpstream() as upstream, ExitStack() as stack:

        def settings(url: str) -> Settings:
            secrets = {"master_keys": Secret(key), "openai_api_key": Secret(PLATFORM_KEY)}
            addresses = {
                "openai_base_url": upstream.base_url,
                "anthropic_base_url": upstream.root_url,
                "google_base_url": upstream.root_url,
            }
            return Settings(database_url=url, db_timeout=20, **addresses, **secrets)

        if kind == "sqlite":
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            disk = None
            try:
                disk = stack.enter_context(small_disk(folder, _DISK))
            except NoSmallDisk as problem:
                print(f"sqlite: its disk is never full. {problem}")
            return Soak(settings(f"sqlite:///{folder}/qodex.db"), upstream, disk=disk).run(seconds)
        server = stack.enter_context(mortal_postgres(flush="200ms"))
        return Soak(settings(new_database(server)), upstream, server=server).run(seconds)


def faults(found: Result) -> list[str]:
    """What must not be."""
    return [
        fault
        for fault, is_there in {
            "the rows of a run are not its requests": bool(found.wrong_runs),
            "calls are open": found.open_calls > 0,
            "something is reserved": found.reserved > 0,
            "an account is not the sum of its events": found.wrong_accounts > 0,
            "a worker hangs": found.unfinished > 0,
            "nothing was called": found.requests < 10,
        }.items()
        if is_there
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description="Run workers against all that can happen, and add up.")
    parser.add_argument("--seconds", type=float, default=180)
    parser.add_argument("--worker", type=int)
    asked = parser.parse_args()
    if asked.worker is not None:
        work(asked.worker)
        return 0
    worst = 0
    for kind in ("sqlite", "postgresql"):
        found = soak(kind, asked.seconds)
        wrong = faults(found)
        print(kind, json.dumps(found.__dict__), *(wrong or ["all agrees"]), flush=True)
        worst = max(worst, len(wrong))
    return min(1, worst)


if __name__ == "__main__":
    sys.exit(main())
