"""Plays the last week of the sample projects through the real ledger, with a clock that is moved along.

Every rule is the ledger's own: what is reserved, what a cap refuses, what a failing key does, and each sentence
of a run's log. Runs are generators that say when they go on; the one whose time comes next is taken each time.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from random import Random

from lib.access.roles import Actor
from lib.clock import MINUTE, SECOND, Micros
from lib.errors import BudgetExceeded, CapExceeded, KeyLocked, RunWaiting
from lib.ledger.attempts import AttemptResult, RequestProfile
from lib.ledger.ledger import Ledger
from lib.ledger.open_attempt import OpenAttempt
from lib.providers import DEFAULT
from lib.runs.lifecycle import RunStore, StartedRun
from lib.sample.outcomes import OUT_OF_MONEY, REJECTED, outcome_of
from lib.sample.projects import Story
from lib.sample.traffic import SEED, DraftCall, DraftRun

CALL_LEASE: Micros = 5 * MINUTE
_BYTES_A_TOKEN = 4
_OUTPUT_LIMIT = 4_096
_REST = 15 * MINUTE
_FILLER, _FILLER_NANO = "gpt-5-nano", 50
"""A model of fifty nano-USD an input token; the rush's costs are multiples of that."""

_AT_CAP = (("scheduled", 11 * MINUTE), ("pr_review", 9 * MINUTE), ("chat", 6 * MINUTE))
"""Runs that come when the cap is used: kind, and how long ago."""

Turn = Iterator[Micros]
"""A run under way: it yields when it goes on."""


class Clock:
    """The time of the sample deployment while it is made; it only goes forward."""

    def __init__(self, now: Micros) -> None:
        self.now = now

    def __call__(self) -> Micros:
        return self.now

    def move_to(self, at: Micros) -> None:
        """Go on to that time."""
        self.now = max(self.now, at)


@dataclass
class Stage:
    """The parts of the sample deployment that are played with. ``locked`` cannot open the keys that are locked by now."""

    ledger: Ledger
    locked: Ledger
    runs: RunStore
    worker: Actor
    clock: Clock
    now: Micros
    room: Callable[[str], int]
    """What is free in a project's 5-hour window, nano-USD."""
    chance: Random = field(default_factory=lambda: Random(f"{SEED}: requests"))  # noqa: S311  # nosec B311


def play(stage: Stage, stories: Sequence[tuple[Story, Sequence[DraftRun]]]) -> None:
    """Play all runs of all projects side by side, up to now."""
    turns = [_Turn(stage, story, draft).play() for story, drafts in stories for draft in drafts]
    turns += [_take_the_rest(stage, story) for story, _ in stories if story.rush]
    turns += [_late(stage, story, kind, ago) for story, _ in stories if story.rush for kind, ago in _AT_CAP]
    waiting = [(next(turn), number, turn) for number, turn in enumerate(turns)]
    heapq.heapify(waiting)
    while waiting:
        at, number, turn = heapq.heappop(waiting)
        if at >= stage.now:
            continue
        stage.clock.move_to(at)
        later = next(turn, None)
        if later is not None:
            heapq.heappush(waiting, (later, number, turn))
    stage.clock.move_to(stage.now)


def _take_the_rest(stage: Stage, story: Story) -> Turn:
    """A call whose worker dies while it runs: what it reserved was all that was left of the cap, and counts."""
    yield stage.now - _REST
    run = _start(stage, story, "pr_review", None)
    if run is not None:
        stage.ledger.open(run, _filling(stage.room(story.name)), lease=CALL_LEASE)


def _filling(nano: int) -> RequestProfile:
    """A request whose ceiling is just this: a cap is used when nothing is left, not when little is."""
    whole = _profile(DraftCall(0, _FILLER, "embeddings", 0, 0, 0, 0, 0))
    return replace(whole, input_bytes=max(0, nano // _FILLER_NANO - whole.framing_tokens))


def _late(stage: Stage, story: Story, kind: str, ago: Micros) -> Turn:
    """A run that comes when the cap is used: it waits or is refused, by the caps' own rules."""
    yield stage.now - ago
    _start(stage, story, kind, None)


def _start(stage: Stage, story: Story, kind: str, budget: int | None) -> StartedRun | None:
    try:
        return stage.runs.start(story.name, kind, actor=stage.worker, token_budget=budget)
    except (CapExceeded, RunWaiting):
        return None


class _Turn:
    """One run: started, its calls one after the other, ended."""

    def __init__(self, stage: Stage, story: Story, draft: DraftRun) -> None:
        self._stage, self._story, self._draft = stage, story, draft
        self._ending = draft.ending

    def play(self) -> Turn:
        """The run, until it ends or its worker is gone."""
        yield self._draft.started_at
        run = _start(self._stage, self._story, self._draft.kind, self._draft.token_budget)
        if run is None:
            return
        for call in self._draft.calls:
            yield max(self._stage.clock.now, call.at - call.latency_ms * 1_000)
            opened = self._open(run, call)
            if opened is None:
                break
            if call.mishap == "unknown":
                continue
            yield call.at
            if not self._settle(run, call, opened):
                break
        yield self._stage.clock.now + SECOND // 3
        if self._ending != "lost":
            self._stage.runs.finish(run, self._ending)

    def _open(self, run: StartedRun, call: DraftCall) -> OpenAttempt | None:
        ledger = self._stage.locked if self._since(self._locked) else self._stage.ledger
        try:
            return ledger.open(run, _profile(call), lease=CALL_LEASE)
        except (CapExceeded, BudgetExceeded):
            self._ending = "passed"  # what stopped it decides
        except KeyLocked:
            self._ending = "error"
        return None

    def _settle(self, run: StartedRun, call: DraftCall, opened: OpenAttempt) -> bool:
        """Whether the run goes on."""
        own = opened.source == "byok" and opened.provider == DEFAULT
        if own and self._since(self._rejected):
            return self._fail(call, opened, REJECTED)
        if own and self._is_out_of_money() and not self._fail(call, opened, OUT_OF_MONEY):
            opened = self._stage.ledger.open(
                run, _profile(call), lease=CALL_LEASE, instead_of=opened, why="out_of_money"
            )
        self._stage.ledger.settle(opened, outcome_of(call, self._stage.chance))
        return True

    def _fail(self, call: DraftCall, opened: OpenAttempt, outcome: AttemptResult) -> bool:
        self._stage.ledger.settle(opened, replace(outcome, latency_ms=120 + call.latency_ms % 400))
        if not opened.falls_back:
            self._ending = "error"
        return False

    @property
    def _rejected(self) -> Micros | None:
        return self._story.key.rejected if self._story.key else None

    @property
    def _locked(self) -> Micros | None:
        return self._story.key.locked if self._story.key else None

    def _is_out_of_money(self) -> bool:
        span = self._story.key.out_of_money if self._story.key else None
        return span is not None and self._since(span[0]) and not self._since(span[1])

    def _since(self, ago: Micros | None) -> bool:
        return ago is not None and self._stage.clock.now >= self._stage.now - ago


def _profile(call: DraftCall) -> RequestProfile:
    return RequestProfile(
        endpoint=call.endpoint,
        model=call.model,
        input_bytes=call.input * _BYTES_A_TOKEN,
        output_limit=_OUTPUT_LIMIT if call.output else 0,
        choices=1,
        uses_context_window=False,
        cost_unbounded=None,
        free=False,
        streaming=False,
        provider=call.provider,
    )
