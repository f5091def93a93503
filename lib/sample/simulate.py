"""Plays the drafts of a sample project as the ledger would have: who paid, what it cost, what stopped it.

The rows keep every rule that live ones keep: running totals in the order of settling, no window of a cap
ever above its cap, runs whose sums are those of their calls. Pure, and the same every time.
"""

from __future__ import annotations

import uuid
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from random import Random

from lib.caps.windows import TITLES, WINDOWS
from lib.clock import DAY, SECOND, Micros, from_micros
from lib.errors import BudgetExceeded, PriceUnknown
from lib.pricing.prices import NANO, NO_TOKENS, Cost, PriceBook, Tokens, usd
from lib.runs.lifecycle import LEASE, WAITS
from lib.sample.failures import MISHAPS, OUT_OF_MONEY, REJECTED, Mishap
from lib.sample.projects import Story
from lib.sample.rows import Row, add_call, event_row, log_row, run_row
from lib.sample.traffic import SEED, DraftCall, DraftRun
from lib.usage.price_columns import price_columns, token_columns

PLATFORM_LAST4 = "demo"
_LONGEST_INPUT = 300_000
_OUTPUT_LIMIT = 4_096
_BYTES_A_TOKEN = 4
_ENOUGH_TO_SIZE = 15 * DAY
_MOST_LOOKS = 6
_BUDGET_WARNING = 80  # percent
_NEARLY_FULL = NANO // 8
_BEFORE_ITS_SUCCESSOR = 900_000


@dataclass(frozen=True)
class Cast:
    """The project that the story is told of. ``locked`` is the sentence of a key that does not open."""

    project_id: str
    slug: str
    locked: str = ""


@dataclass
class Played:
    """The rows of one project."""

    events: list[Row] = field(default_factory=list)
    runs: list[Row] = field(default_factory=list)
    log: list[Row] = field(default_factory=list)
    sequence: int = 0
    counted_nano: int = 0
    unknown_nano: int = 0
    last_settled_at: Micros = 0
    week_nano: int = 0
    """What the last seven days come to without the rush, whoever paid."""


def play(story: Story, cast: Cast, drafts: Sequence[DraftRun], prices: PriceBook, now: Micros) -> Played:
    """The rows of a project, its calls as large as its last seven days are to cost."""
    recent = [draft for draft in drafts if draft.started_at >= now - _ENOUGH_TO_SIZE]
    size = 1.0
    for _ in range(_MOST_LOOKS):  # a cap that refuses calls makes the rest cost less than their size says
        found = max(1, _Play(story, cast, prices, now, size).all(recent).week_nano)
        if abs(found - story.week_nano) * 100 <= story.week_nano:
            break
        size *= min(4.0, max(0.25, story.week_nano / found))
    return _Play(story, cast, prices, now, size).all(drafts)


@dataclass
class _Run:
    draft: DraftRun
    row: Row
    last_at: Micros
    stopped: bool = False
    never_started: bool = False


class _Window:
    """What a rolling window holds while time goes on."""

    def __init__(self, length: Micros, cap: int) -> None:
        self._length, self._cap, self._sum = length, cap, 0
        self._inside: deque[tuple[Micros, int]] = deque()

    def free(self, at: Micros) -> int:
        """Room at that time, nano-USD."""
        while self._inside and self._inside[0][0] <= at - self._length:
            self._sum -= self._inside.popleft()[1]
        return self._cap - self._sum

    def add(self, at: Micros, nano: int) -> None:
        self._inside.append((at, nano))
        self._sum += nano


class _Play:
    def __init__(self, story: Story, cast: Cast, prices: PriceBook, now: Micros, size: float) -> None:
        self._story, self._cast, self._prices, self._now, self._size = story, cast, prices, now, size
        self._rng = Random(f"{SEED}: ids of {story.name}")  # noqa: S311  # nosec B311
        self._windows = {name: _Window(WINDOWS[name], cap) for name, cap in story.caps.items()}
        self._played = Played()
        # The table does not vouch for the prices of all days that the sample tells of.
        self._priced_at = from_micros(now)
        self._costed: tuple[DraftCall | None, Cost | None] = (None, None)

    def all(self, drafts: Iterable[DraftRun]) -> Played:
        runs = [self._begin(draft) for draft in drafts]
        calls = [(call.at, number, call) for number, run in enumerate(runs) for call in run.draft.calls]
        for _, number, call in sorted(calls, key=lambda each: each[:2]):
            if not runs[number].stopped:
                self._call(runs[number], call)
        for run in runs:
            _end(run)
        self._played.runs = [run.row for run in runs if not run.never_started]
        return self._played

    def _begin(self, draft: DraftRun) -> _Run:
        row = run_row(self._cast.project_id, draft.run_id, draft.kind, draft.ending, draft.started_at)
        return _Run(draft, row | {"token_budget": draft.token_budget}, draft.started_at)

    def _call(self, run: _Run, call: DraftCall) -> None:
        call = self._sized(call)
        if self._is_out_of_budget(run, call):
            return
        key = self._story.key
        if key is None or not self._since(key.saved, call):
            self._on_platform(run, call)
        elif self._since(key.locked, call):
            self._log(run, call.at, "key:locked", self._cast.locked)
            run.stopped, run.row["status"], run.last_at = True, "error", call.at
        elif self._since(key.rejected, call):
            event = self._fail(run, call, REJECTED, "byok")
            words = f"OpenAI rejected the key •••• {key.last4}: {REJECTED.message}"
            told = f"{words} Nothing was spent on the platform key."
            self._log(run, call.at, "key:failed", told, event["event_id"])
            run.stopped, run.row["status"] = True, "error"
        elif key.out_of_money and self._since(key.out_of_money[0], call):
            self._fall_back(run, call, key.last4, ended=self._since(key.out_of_money[1], call))
        else:
            self._settle(run, call, "byok")

    def _fall_back(self, run: _Run, call: DraftCall, last4: str, *, ended: bool) -> None:
        if ended:
            self._settle(run, call, "byok")
            return
        event = self._fail(run, replace(call, at=call.at - _BEFORE_ITS_SUCCESSOR), OUT_OF_MONEY, "byok")
        words = f"The account of the key •••• {last4} is out of money: {OUT_OF_MONEY.message}"
        self._log(run, event["occurred_at"], "key:failed", words, event["event_id"])
        went_on = f"The call went on with the platform-funded key, as {self._cast.slug} has chosen."
        told = f"The key •••• {last4} failed (its account is out of money). {went_on}"
        self._log(run, event["occurred_at"], "key:fell_back", told, event["event_id"])
        self._on_platform(run, call)

    def _on_platform(self, run: _Run, call: DraftCall) -> None:
        if call.rush and 0 < self._windows["5h"].free(call.at) < _NEARLY_FULL:
            call = replace(call, mishap="unknown")
        counted = self._counted(call)
        for name, window in self._windows.items():
            if counted > window.free(call.at):
                cap = usd(self._story.caps[name])
                told = f"{self._cast.slug} had no room left in its {TITLES[name]} cap of ${cap:.2f}."
                self._stop_at_cap(run, call.at, told)
                return
        self._settle(run, call, "platform", counted)

    def _counted(self, call: DraftCall) -> int:
        """What the call takes from the caps: its cost, or its ceiling where nobody knows that."""
        if MISHAPS[call.mishap].http_status not in {None, 200}:
            return 0
        if call.rush and call.mishap:
            # The last one that fitted: its ceiling took all that was left.
            return max(0, self._windows["5h"].free(call.at))
        if not call.mishap:
            cost = self._cost(call)
            return cost.nano if cost else 0
        return self._prices.ceiling(
            call.model,
            input_tokens=call.input * _BYTES_A_TOKEN,
            output_tokens=_OUTPUT_LIMIT if call.output else 0,
            at=self._priced_at,
        )

    def _settle(self, run: _Run, call: DraftCall, source: str, counted: int = 0) -> None:
        mishap = MISHAPS[call.mishap]
        if mishap.status == "error":
            self._fail(run, call, mishap, source)
            return
        event = self._event(run, call, mishap, source)
        if not call.mishap:
            event |= token_columns(_tokens(call)) | {"served_model": call.model}
            if cost := self._cost(call):
                event |= price_columns(cost, _tokens(call))
        self._write(run, event, counted)
        if call.at >= self._now - 7 * DAY and not call.rush:
            self._played.week_nano += counted if source == "platform" else event["cost_nano"] or 0

    def _fail(self, run: _Run, call: DraftCall, mishap: Mishap, source: str) -> Row:
        event = self._event(run, call, mishap, source) | token_columns(NO_TOKENS)
        event |= {"cost_nano": 0, "latency_ms": 120 + call.latency_ms % 400}
        self._write(run, event, 0)
        return event

    def _write(self, run: _Run, event: Row, counted: int) -> None:
        at, played, unknown = event["occurred_at"], self._played, event["cost_nano"] is None
        if event["source"] == "platform":
            for window in self._windows.values():
                window.add(at, counted)
            played.sequence += 1
            played.counted_nano += counted
            played.unknown_nano += counted if unknown else 0
            played.last_settled_at = at
            event["sequence"] = played.sequence
            event["counted_after_nano"] = played.counted_nano
            event["unknown_after_nano"] = played.unknown_nano
        played.events.append(event)
        add_call(run.row, event)
        run.last_at = max(run.last_at, at)
        self._warn_of_budget(run, at)

    def _event(self, run: _Run, call: DraftCall, mishap: Mishap, source: str) -> Row:
        key, answered = self._story.key, mishap.status != "unknown"
        event_id = str(uuid.UUID(int=self._rng.getrandbits(128), version=4))
        answer = {
            "key_last4": key.last4 if key and source == "byok" else PLATFORM_LAST4,
            "upstream_request_id": f"req_{self._rng.getrandbits(128):032x}" if answered else None,
            "latency_ms": call.latency_ms if answered else None,
        }
        return event_row(run.row, event_id, call, mishap, source) | answer

    def _sized(self, call: DraftCall) -> DraftCall:
        if call.rush:
            return call
        size = min(self._size, _LONGEST_INPUT / max(1, call.input))
        return replace(
            call,
            input=int(call.input * size),
            cached=int(call.cached * size),
            output=int(call.output * size),
            reasoning=int(call.reasoning * size),
        )

    def _cost(self, call: DraftCall) -> Cost | None:
        if call is not self._costed[0]:  # asked for twice: when it is admitted, and when it settles
            self._costed = (call, self._priced(call))
        return self._costed[1]

    def _priced(self, call: DraftCall) -> Cost | None:
        try:
            return self._prices.cost(call.model, _tokens(call), at=self._priced_at)
        except PriceUnknown:
            return None

    def _since(self, ago: Micros | None, call: DraftCall) -> bool:
        return ago is not None and call.at >= self._now - ago

    # --- runs --------------------------------------------------------------------------------------

    def _is_out_of_budget(self, run: _Run, call: DraftCall) -> bool:
        budget, used = run.draft.token_budget, run.row["tokens"]
        if budget is None or used < budget:
            return False
        self._stop(run, call.at, "budget", BudgetExceeded(budget=budget, used=used).sentence)
        return True

    def _stop(self, run: _Run, at: Micros, by: str, told: str) -> None:
        run.stopped, run.last_at = True, at
        run.row |= {"stopped_by": by, "status": "budget_exceeded"}
        self._log(run, at, f"{by}:stopped", told)

    def _stop_at_cap(self, run: _Run, at: Micros, told: str) -> None:
        if run.row["calls"]:
            self._stop(run, at, "cap", told)
        elif run.draft.kind in WAITS:
            run.stopped = run.never_started = True  # it waits, and what became of it then is not told
        else:
            run.stopped, run.last_at = True, run.draft.started_at
            run.row |= {"stopped_by": "cap", "status": "refused"}
            self._log(run, run.draft.started_at, "cap:refused", told)

    def _warn_of_budget(self, run: _Run, at: Micros) -> None:
        budget, used = run.draft.token_budget, run.row["tokens"]
        if budget is None or run.row["budget_warned_at"] is not None or 100 * used < _BUDGET_WARNING * budget:
            return
        run.row["budget_warned_at"] = at
        told = f"{used:,} of the run's own {budget:,} tokens are used. At all of them it stops."
        self._log(run, at, "budget:warned", told)

    def _log(self, run: _Run, at: Micros, tag: str, message: str, event_id: str | None = None) -> None:
        self._played.log.append(log_row(run.row, at, tag, message, event_id))


def _tokens(call: DraftCall) -> Tokens:
    return Tokens(call.input, call.cached, call.output, call.reasoning)


def _end(run: _Run) -> None:
    """A run ends right after its last call; one whose worker is gone when its sign of life ran out."""
    run.row["ended_at"] = run.last_at + SECOND // 3
    if run.row["status"] == "lost":
        run.row["lease_until"] = run.row["ended_at"] = run.last_at + LEASE
