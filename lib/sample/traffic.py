"""Runs and calls of a sample project as they would be if nothing stopped them. Pure, and the same every time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from lib.clock import DAY, HOUR, MINUTE, SECOND, Micros, from_micros
from lib.sample.distributions import (
    BURSTS,
    CACHE_BLOCK,
    CACHED_SHARE,
    CALLS,
    INPUT_TOKENS,
    OUTPUT_TOKENS,
    REVIEW_TOKENS,
    draw,
    how_many,
    share_of_day,
)
from lib.sample.projects import UNPRICED_MODEL, Featured, Story, provider_of

SEED = "Qodex sample data, 1"
_WINDOW = 5 * HOUR
_RUSH_EVERY = 17 * MINUTE
_RUSH_CALLS = 24
_RUSH_INPUT = 70_000
_NO_NEWER = 3 * MINUTE
_BUDGETS = (150_000, 300_000, 500_000)
_REASONING = {
    "gpt-5": 0.9,
    "gpt-5-mini": 0.6,
    "gpt-5-nano": 0.4,
    "o4-mini": 1.2,
    UNPRICED_MODEL: 0.9,
    "claude-opus-5": 0.8,
    "gemini-3.5-flash": 0.7,
    "gemini-3.5-flash-lite": 0.3,
}
"""Tokens of thought for each token of the answer."""
_ENDPOINTS = {"anthropic": "messages", "google": "generateContent"}
_MISHAPS = (
    ("rate_limited", 0.012),
    ("overloaded", 0.004),
    ("abandoned", 0.003),
    ("broken", 0.002),
)
_ENDINGS = (("failed", 0.09), ("error", 0.025), ("lost", 0.003))


@dataclass(slots=True)
class DraftCall:
    """One call: when it settles, and what it would use. ``mishap`` is how it goes wrong, empty if it does not."""

    at: Micros
    model: str
    endpoint: str
    input: int
    cached: int
    output: int
    reasoning: int
    latency_ms: int
    mishap: str = ""
    rush: bool = False

    @property
    def provider(self) -> str:
        """Whose model it is."""
        return provider_of(self.model)


@dataclass(slots=True)
class DraftRun:
    """One run and its calls, oldest first."""

    run_id: str
    kind: str
    started_at: Micros
    ending: str
    token_budget: int | None
    calls: list[DraftCall]


def draft_runs(story: Story, now: Micros, days: int) -> list[DraftRun]:
    """All runs of a project in the ``days`` before ``now``; the same arguments give the same runs."""
    rng = Random(f"{SEED}: {story.name}")  # noqa: S311  # nosec B311
    begins = now - min(days * DAY, story.age or days * DAY)
    until = now - _NO_NEWER if story.rush is None else now - _WINDOW - HOUR
    runs = [
        run
        for kind, started_at in _starts(rng, story, begins, now)
        if (run := _run(rng, story, kind, started_at, now)).calls[-1].at < until
    ]
    runs += [_featured(rng, story, each, now) for each in story.featured if each.ago < now - begins]
    if story.rush is not None:
        runs += _rush(rng, now - story.rush, now)
    return runs


def _starts(rng: Random, story: Story, begins: Micros, now: Micros) -> Iterator[tuple[str, Micros]]:
    for hour in range(begins - begins % HOUR, now, HOUR):
        moment = from_micros(hour)
        growth = 0.7 + 0.3 * (hour - begins) / (now - begins)
        busy = growth * draw(rng, BURSTS)
        for kind, number in story.runs.items():
            share = share_of_day(kind, moment.weekday(), moment.hour)
            # What is scheduled starts whether people are busy or not.
            mean = number * share * (1 if kind == "scheduled" else busy)
            for _ in range(how_many(rng, mean) if mean else 0):
                yield kind, hour + rng.randrange(HOUR // 2 if kind == "scheduled" else HOUR)


def _run(rng: Random, story: Story, kind: str, started_at: Micros, now: Micros) -> DraftRun:
    calls = _calls(rng, story, kind, started_at, rng.randint(*CALLS[kind]), now)
    ending = _one_of(rng, _ENDINGS) or "passed"
    budget = rng.choice(_BUDGETS) if kind == "scan" and rng.random() < 0.4 else None  # noqa: PLR2004
    return _ended(rng, DraftRun(_run_id(rng), kind, started_at, ending, budget, calls))


def _featured(rng: Random, story: Story, wanted: Featured, now: Micros) -> DraftRun:
    """A run of the length that fits between its start and now."""
    started_at = now - wanted.ago
    most = CALLS[wanted.kind][1]
    calls = [
        call for call in _calls(rng, story, wanted.kind, started_at, most, now) if call.at < now - _NO_NEWER
    ]
    for call in calls:
        call.mishap = ""
    run = DraftRun(_run_id(rng), wanted.kind, started_at, wanted.ending, wanted.token_budget, calls)
    return _ended(rng, run)


def _ended(rng: Random, run: DraftRun) -> DraftRun:
    if run.ending == "error":
        run.calls[-1].mishap = rng.choice(("overloaded", "rate_limited"))
    elif run.ending == "lost":
        run.calls[-1].mishap = "unknown"
    return run


def _rush(rng: Random, began: Micros, now: Micros) -> Iterator[DraftRun]:
    """Reviews one after the other, with large calls, until the cap is used."""
    for started_at in range(began, now - _RUSH_EVERY, _RUSH_EVERY):
        run_id, at = _run_id(rng), started_at
        calls = []
        for _ in range(_RUSH_CALLS):
            at += rng.randrange(8 * SECOND, 20 * SECOND)
            size = int(_RUSH_INPUT * rng.uniform(0.6, 1.4))
            cached = size // 3 // CACHE_BLOCK * CACHE_BLOCK
            output = rng.randint(900, 3_000)
            calls.append(
                DraftCall(at, "gpt-5", "responses", size, cached, output, output // 2, 7_000, rush=True)
            )
        yield DraftRun(run_id, "pr_review", started_at, "passed", None, calls)


def _calls(
    rng: Random, story: Story, kind: str, started_at: Micros, number: int, now: Micros
) -> list[DraftCall]:
    calls: list[DraftCall] = []
    at = started_at
    for place in range(number):
        call = _call(rng, story, kind, at, now)
        # A conversation grows: later calls carry more of what was said before.
        call.input = int(call.input * (0.7 + 0.6 * place / number))
        call.cached = min(call.cached, call.input) // CACHE_BLOCK * CACHE_BLOCK
        call.at = at = at + call.latency_ms * 1_000 + rng.randrange(SECOND // 2, 12 * SECOND)
        calls.append(call)
    return calls


def _call(rng: Random, story: Story, kind: str, at: Micros, now: Micros) -> DraftCall:
    model = rng.choices(list(story.models), list(story.models.values()))[0]
    if story.unpriced is not None and at >= now - story.unpriced and rng.random() < 0.01:  # noqa: PLR2004
        model = UNPRICED_MODEL
    size = draw(rng, INPUT_TOKENS) + (draw(rng, REVIEW_TOKENS) if kind == "pr_review" else 0)
    mishap = _one_of(rng, _MISHAPS)
    if model.startswith("text-embedding"):
        return DraftCall(at, model, "embeddings", int(size), 0, 0, 0, rng.randint(120, 600), mishap)
    answer = int(draw(rng, OUTPUT_TOKENS))
    thought = int(answer * _REASONING.get(model, 0) * rng.uniform(0.5, 1.5))
    latency = int(400 + size / 40 + (answer + thought) * rng.uniform(8, 16))
    endpoint = _ENDPOINTS.get(provider_of(model)) or (
        "chat/completions" if model.startswith("gpt-4") else "responses"
    )
    cached = int(size * draw(rng, CACHED_SHARE))
    return DraftCall(at, model, endpoint, int(size), cached, answer + thought, thought, latency, mishap)


def _one_of(rng: Random, chances: tuple[tuple[str, float], ...]) -> str:
    """One of these, or mostly none."""
    share = rng.random()
    for name, chance in chances:
        if share < chance:
            return name
        share -= chance
    return ""


def _run_id(rng: Random) -> str:
    return f"r-{rng.getrandbits(40):010x}"
