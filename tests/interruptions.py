"""Exceptions from outside at chosen lines of what calls run, and what must hold after each.

A signal handler that raises (a time limit, Ctrl-C) can come between any two lines, the cancellation of a task at
any moment. Which lines an act runs is found by running it once; then it is run again for each of them, and the
interruption comes there.
"""

from __future__ import annotations

import contextlib
import gc
import os
import subprocess
import sys
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, NamedTuple

import h11
import httpcore2
import httpx2
from sqlalchemy import func, select

from lib.db.blocks.checkout import Checkout
from lib.db.tables import accounts, open_calls, runs, usage_events
from lib.llm.metering.reservation import Reservation
from lib.platform import Platform
from tests.calls import ask
from tests.services import wait_until
from tests.upstream import GOOD_KEY, OTHER_KEY
from tests.whole import whole_or

if TYPE_CHECKING:
    from tests.upstream import ScriptedUpstream

ROOT = Path(__file__).resolve().parents[1]
_OURS = str(ROOT / "lib") + os.sep
_BLOCKS = _OURS + "db" + os.sep
_HTTP_STACK = tuple(str(Path(package.__file__).parent) + os.sep for package in (httpx2, httpcore2, h11))
_BEGINS_BLOCK = Checkout._take.__code__
_SETTLES = Reservation.settle.__code__
_DIFFERENT = 2
"""How many blocks of one kind are told apart: a call that falls back opens twice, a long stream is renewed for ever."""

EVERY = int(os.environ.get("QODEX_INTERRUPT_EVERY", whole_or("79", "47")))
"""Of the lines of an act each so-manieth is taken; 1 takes them all (half an hour an engine)."""


class TimeLimit(Exception):
    """As Celery's SoftTimeLimitExceeded: an ordinary exception that comes anywhere."""


class Place(NamedTuple):
    """A line of ours, or the beginning of a function of the HTTP stack, and the block on the database that began last.

    Those of lib.db itself are told apart by nothing more: tests/integration/db/test_interrupted.py has them all.
    """

    file: str
    line: int
    block: str

    def __str__(self) -> str:
        return f"{self.file.removeprefix(_OURS)}:{self.line} ({self.block})"


class Interrupter:
    """Follows what one act runs, of ours each line; calls ``interrupt`` where it comes to one of them first.

    Attributes:
        places: the lines that were run, in order.
        has_come: whether the act was interrupted.
        cost_was_known: whether a settlement with a known cost had begun by then.
        was_dropped: whether it came in a finalizer (``__del__``), whose exceptions Python prints and drops.
    """

    def __init__(self, at: Place | None = None, interrupt: Callable[[], object] = lambda: None) -> None:
        self.places: dict[Place, None] = {}
        self.has_come = self.cost_was_known = self.was_dropped = False
        self.interrupt = interrupt
        self._at = at
        self._blocks: Counter[str] = Counter()
        self._block = "no block"

    @contextmanager
    def following(self) -> Iterator[None]:
        """Follow what this thread runs in the block."""
        sys.settrace(self._call)
        try:
            yield
        finally:
            sys.settrace(None)

    def require_left_by(self, problem: BaseException, kind: type[BaseException]) -> None:
        """Nothing else than the interruption left the act; the SDK wraps whatever is an ``Exception``."""
        came = self.has_come and not self.was_dropped
        assert isinstance(problem, kind) or kind is TimeLimit or not came, repr(problem)

    def _call(self, frame: FrameType, _event: str, _: object) -> Any:
        code = frame.f_code
        if not code.co_filename.startswith(_OURS):
            if code.co_filename.startswith(_HTTP_STACK):
                self._come_to(Place(code.co_filename, code.co_firstlineno, self._block), frame)
            return None
        if code is _BEGINS_BLOCK:
            self._begin_block(frame)
        elif code is _SETTLES:
            result = frame.f_locals["result"]
            self.cost_was_known = result.tokens is not None or result.status == "error"
        return self._line

    def _begin_block(self, frame: FrameType | None) -> None:
        while frame is not None and frame.f_code.co_filename.startswith((_BLOCKS, contextlib.__file__)):
            frame = frame.f_back
        name = frame.f_code.co_name if frame is not None else ""
        self._blocks[name] += 1
        self._block = f"{name} {min(self._blocks[name], _DIFFERENT)}"

    def _line(self, frame: FrameType, event: str, _: object) -> Any:
        if event == "line":
            file = frame.f_code.co_filename
            place = Place(file, frame.f_lineno, "" if file.startswith(_BLOCKS) else self._block)
            self._come_to(place, frame)
        return self._line

    def _come_to(self, place: Place, frame: FrameType) -> None:
        self.places.setdefault(place)
        if place == self._at and not self.has_come:
            self.has_come = True
            self.was_dropped = any(caller.f_code.co_name == "__del__" for caller in _stack(frame))
            self.interrupt()


def _stack(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def apart(act: Callable[[], object]) -> None:
    """Do it in a generator, which has a state of exceptions of its own.

    What a tracing hook raises in the last line of an ``except`` block leaves the block's exception behind as the one
    that is being handled, for good: the hook comes where no signal is handled.
    """

    def generator() -> Iterator[None]:
        act()
        yield

    next(generator())


def raising(kind: type[BaseException]) -> Callable[[], object]:
    """What a signal handler does that ends a piece of work."""

    def handle() -> None:
        raise kind

    return handle


def sampled(places: dict[Place, None], offset: int) -> list[Place]:
    """Each ``EVERY``-th of them; the offsets of several acts differ, so that together they reach more."""
    return list(places)[offset % EVERY :: EVERY]


# --- what must hold afterwards -------------------------------------------------------------------------

BAD_KEY = "sk-test-bad-request-key-0005"
_ROOM = {"shop": 10**15, "own": 0, "falling": 10**15, "capped": 1, "bad": 0}
_KEYS = {"own": GOOD_KEY, "falling": OTHER_KEY, "bad": BAD_KEY}

_WRITER = """
import sys
from sqlalchemy import text
from lib.db import Database
database = Database(sys.argv[1])
print("ready", flush=True)
for _ in sys.stdin:
    with database.write() as connection:
        connection.execute(text("UPDATE accounts SET reserved_nano = reserved_nano"))
        connection.execute(text(
            "UPDATE runs SET calls = calls"
            " WHERE run_id IN (SELECT run_id FROM runs ORDER BY started_at DESC LIMIT 20)"
        ))
    print("written", flush=True)
"""


@contextmanager
def other_process(url: str) -> Iterator[Callable[[], None]]:
    """Another process, which writes to accounts and the newest runs when told: it waits for whatever lock is held here."""
    command = [sys.executable, "-c", _WRITER, url]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdin
        assert process.stdout
        asked, told = process.stdin, process.stdout
        assert told.readline() == "ready\n"

        def write() -> None:
            asked.write("\n")
            asked.flush()
            assert told.readline() == "written\n"

        yield write
        asked.close()


class Scene:
    """Projects of all kinds on one database, and what must hold there after each call that was interrupted.

    ``shop`` is on the platform's key and ``own`` on its own; ``falling`` falls back from a key that is rejected,
    ``capped`` has no room for a call, and the key of ``bad`` gets an error for an answer.
    """

    def __init__(self, platform: Platform, upstream: ScriptedUpstream, other: Callable[[], None]) -> None:
        self.platform = platform
        self._upstream, self._other = upstream, other
        self._rows: dict[str, list[Any]] = {}
        upstream.keys[BAD_KEY] = "good"
        for slug, room in _ROOM.items():
            self._add(slug, room)
        platform.projects.set_policy("falling", "platform", actor=platform.actor)
        upstream.keys.update({OTHER_KEY: "revoked", BAD_KEY: "bad_request"})
        self._later = platform.run("shop")

    def _add(self, slug: str, room: int) -> None:
        platform, actor = self.platform, self.platform.actor
        platform.projects.add(slug, actor=actor)
        caps = {"cap_5h_nano": room, "cap_7d_nano": room}
        platform.plans.set_caps(slug, **caps, reason="a test", ends_at=None, actor=actor)
        if slug in _KEYS:
            platform.keys.save(slug, _KEYS[slug])

    def require_works(self) -> None:
        """Other threads and processes go on, also while the exception is handled: its traceback holds our frames."""
        assert wait_until(lambda: self.platform.database.in_use == 0, 120)
        answers: list[object] = []
        thread = threading.Thread(target=lambda: answers.append(self._ask_later()))
        thread.start()
        thread.join(120)
        assert answers
        self._other()

    def _ask_later(self) -> object:
        return ask(self._later.openai.with_options(max_retries=0))

    def require_clean(self, run_id: str, *, cost_is_known: bool) -> None:
        """Nothing is open, reserved, owed or kept alive, and the calls of that run are written."""
        queue = self.platform.ledger.queue
        assert wait_until(self._is_let_go_of, 120), "something is guarded still"
        assert queue.flush(120, patiently=True)
        assert {run.run_id for run in self.platform._heartbeat._alive} == {self._later.id}
        with self.platform.database.read() as connection:
            assert connection.execute(select(func.count()).select_from(open_calls)).scalar_one() == 0
            assert connection.execute(select(func.sum(accounts.c.reserved_nano))).scalar_one() == 0
            rows = connection.execute(select(usage_events).where(usage_events.c.run_id == run_id)).all()
            assert (
                connection.execute(select(runs.c.status).where(runs.c.run_id == run_id)).scalar() != "running"
            )
        assert not cost_is_known or all(row.cost_nano is not None for row in rows if row.status == "ok")
        assert not cost_is_known or any(row.cost_nano is not None for row in rows)
        self._rows[run_id] = list(rows)

    def _is_let_go_of(self) -> bool:
        """Nothing but the other run is under way; a traceback may be in a cycle, which the collector finds."""
        guards = self.platform.ledger.queue._guards
        if len(guards) > 1:
            gc.collect()
        return len(guards) == 1

    def end(self) -> None:
        """No run goes on."""
        self._later.finish()

    def require_all_written(self) -> None:
        """Each request has one row; beside these, one unknown where a call was interrupted while it was leaving."""
        seen = defaultdict(list)
        for request in self._upstream.requests:
            seen[request.headers.get("x-run")].append(request)
        for run_id, rows in self._rows.items():
            sent = seen[run_id]
            doubtful = [row for row in rows if row.status == "unknown"]
            extra = len(rows) - len(sent)
            assert 0 <= extra <= min(1, len(doubtful)), (sent, [(row.status, row.error_code) for row in rows])
