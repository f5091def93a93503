"""A year of calls as arrays: bursts, nights, a few hot projects. Drawn from a seed, pure.

The figures of hours, bursts and token counts are those of lib.sample.distributions, measured on published traces.
How unequal projects are is measured on ServeGen's m-small (Apache-2.0): of 38 clients the first makes 25 % of
all calls, the first four 71 %; and calls come in bursts: the gaps between them vary 2.3 times their mean.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from lib.clock import DAY, HOUR, SECOND, Micros, from_micros, to_micros
from lib.sample import distributions
from lib.sample.distributions import CALLS, Quantiles

END: Micros = to_micros(datetime(2026, 11, 20, 15, 20, tzinfo=UTC))
DAYS, PROJECTS = 365, 200
START = END - DAYS * DAY
KINDS = ("chat", "pr_review", "scan", "scheduled")
STATUSES = ("ok", "error", "broken", "abandoned", "unknown")
# USD a million tokens: input, cached input, output. Invented, but of the usual size.
PRICES = {
    "gpt-5-mini": (0.25, 0.025, 2.0),
    "gpt-5": (1.25, 0.125, 10.0),
    "gpt-5-nano": (0.05, 0.005, 0.4),
    "gpt-4.1": (2.0, 0.5, 8.0),
    "gpt-4.1-mini": (0.4, 0.1, 1.6),
    "o4-mini": (1.1, 0.275, 4.4),
    "gpt-5.5": (5.0, 0.5, 30.0),
    "gpt-4o-mini": (0.15, 0.075, 0.6),
}
CEILING = 20_000_000  # nano-USD, of a call whose outcome is unknown
OK, ERROR, UNKNOWN = STATUSES.index("ok"), STATUSES.index("error"), STATUSES.index("unknown")

_KIND_SHARES = (0.45, 0.25, 0.2, 0.1)  # of runs
_STATUS_SHARES = (0.962, 0.025, 0.004, 0.004, 0.005)
_MODEL_SHARES = (0.6, 0.24, 0.1, 0.03, 0.02, 0.01)  # of a project's first, second … model
_UNEQUAL = 1.1  # Zipf's exponent of the projects
_FOLLOWERS = 0.5  # of runs start within minutes of another one
_IMPORTED, _UNPRICED = 0.02, 0.003

Array = np.ndarray


@dataclass(frozen=True)
class Runs:
    """Runs, in no order; ``imported`` ones are foreign: their calls have no run."""

    project: Array
    kind: Array
    started: Array
    imported: Array


@dataclass(frozen=True)
class Traffic:
    """Calls in the order of time, one array a column. Unknown cost or tokens are -1."""

    runs: Runs
    at: Array
    run: Array
    project: Array
    kind: Array
    model: Array
    status: Array
    byok: Array
    imported: Array
    input: Array
    cached: Array
    output: Array
    reasoning: Array
    cost: Array
    latency: Array

    @property
    def counted(self) -> Array:
        """Which calls count against a cap: live ones on the platform's key."""
        return ~self.byok & ~self.imported


def prices() -> Array:
    """Nano-USD per million tokens, by model: input, cached input, output."""
    return np.array([[round(usd * 1e9) for usd in each] for each in PRICES.values()], dtype=np.int64)


def draw(events: int, seed: int) -> Traffic:
    """So many calls; the same ones for the same seed."""
    rng = np.random.default_rng(seed)
    runs, calls = _runs(rng, events)
    run = np.repeat(np.arange(len(calls)), calls)
    number = np.arange(len(run)) - np.repeat(np.cumsum(calls) - calls, calls)
    at = runs.started[run] + (number + 1) * 7 * SECOND + rng.integers(0, 7 * SECOND, len(run))
    order = np.argsort(at, kind="stable")
    run, at = run[order], np.minimum(at[order], END - 1)
    project, imported = runs.project[run], runs.imported[run]
    byok = (at >= _own_key_since(rng)[project]) | imported
    model = _models(rng)[project, rng.choice(len(_MODEL_SHARES), len(run), p=_MODEL_SHARES)]
    status = rng.choice(len(STATUSES), len(run), p=_STATUS_SHARES)
    status[imported & (status != OK)] = OK
    tokens = _tokens(rng, len(run))
    cost = _costs(tokens, model)
    for silent in (*tokens, cost):
        silent[(status == ERROR) | (status == UNKNOWN)] = -1
    cost[status == ERROR] = 0
    cost[byok & (rng.random(len(run)) < _UNPRICED)] = -1
    latency = rng.lognormal(8.2, 0.7, len(run)).astype(np.int64)
    kind = runs.kind[run]
    return Traffic(runs, at, run, project, kind, model, status, byok, imported, *tokens, cost, latency)


def _runs(rng: np.random.Generator, events: int) -> tuple[Runs, Array]:
    """Runs and how many calls each makes, ``events`` in all."""
    least, most = (np.array([CALLS[kind][end] for kind in KINDS]) for end in (0, 1))
    mean = float(np.dot((least + most) / 2, _KIND_SHARES))
    number = int(events / mean * 1.1) + 100
    kind = rng.choice(len(KINDS), number, p=_KIND_SHARES)
    calls = rng.integers(least[kind], most[kind] + 1)
    number = int(np.searchsorted(np.cumsum(calls), events)) + 1
    kind, calls = kind[:number], calls[:number]
    calls[-1] -= calls.sum() - events
    weights = 1 / np.arange(1, PROJECTS + 1) ** _UNEQUAL
    project = rng.choice(PROJECTS, number, p=weights / weights.sum())
    started = _starts(rng, project, kind)
    return Runs(project, kind, started, rng.random(number) < _IMPORTED), calls


def _starts(rng: np.random.Generator, project: Array, kind: Array) -> Array:
    """When runs start: by the day's and week's rhythm of their kind, and many on another one's heels."""
    started = np.empty(len(kind), dtype=np.int64)
    days = [from_micros(START + day * DAY).weekday() for day in range(DAYS)]
    busy = _quantile(rng, distributions.BURSTS, DAYS)
    for number, name in enumerate(KINDS):
        shares = np.array(
            [[distributions.share_of_day(name, day, hour) for hour in range(24)] for day in days]
        )
        shares *= busy[:, None]
        chosen = kind == number
        hour = rng.choice(shares.size, int(chosen.sum()), p=shares.ravel() / shares.sum())
        started[chosen] = START - START % DAY + hour * HOUR + rng.integers(0, HOUR, len(hour))
    order = np.lexsort((rng.random(len(kind)), project))
    follows = (rng.random(len(kind)) < _FOLLOWERS) & (np.diff(project[order], prepend=-1) == 0)
    leader = np.maximum.accumulate(np.where(follows, 0, np.arange(len(kind))))
    delay = (rng.exponential(90, len(kind)) * SECOND).astype(np.int64)
    started[order] = np.where(follows, started[order][leader] + delay, started[order])
    return np.clip(started, START, END - HOUR)


def _own_key_since(rng: np.random.Generator) -> Array:
    """When each project got a key of its own; of five projects two have one, the second and the fourth."""
    moment = START + (rng.random(PROJECTS) * 0.6 * DAYS * DAY).astype(np.int64)
    return np.where(np.isin(np.arange(PROJECTS) % 5, (1, 3)), moment, END)


def _models(rng: np.random.Generator) -> Array:
    """The models of each project, its favourite first."""
    return np.array([rng.permutation(len(PRICES)) for _ in range(PROJECTS)])


def _tokens(rng: np.random.Generator, number: int) -> list[Array]:
    """Input, cached input, output, reasoning."""
    given = _quantile(rng, distributions.INPUT_TOKENS, number).astype(np.int64)
    cached = (given * _quantile(rng, distributions.CACHED_SHARE, number)).astype(np.int64)
    made = _quantile(rng, distributions.OUTPUT_TOKENS, number).astype(np.int64)
    return [given, cached - cached % distributions.CACHE_BLOCK, made, made // 3]


def _costs(tokens: list[Array], model: Array) -> Array:
    given, cached, made, _ = tokens
    unit = prices()[model]
    total = (given - cached) * unit[:, 0] + cached * unit[:, 1] + made * unit[:, 2]
    cost: Array = total // 1_000_000
    return cost


def _quantile(rng: np.random.Generator, quantiles: Quantiles, number: int) -> Array:
    shares, values = zip(*quantiles, strict=True)
    return np.interp(rng.random(number), shares, values)
