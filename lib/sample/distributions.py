"""The shape of the sample data's traffic: when runs start, and how large their calls are. Pure.

The figures were measured on published traces of production services; no row of them is here.
Hours and bursts: ServeGen, workload m-small (Apache-2.0). Tokens of conversations: the Mooncake trace
(Apache-2.0). Input of code reviews: Azure's LLM inference trace of 2023, code (CC-BY 4.0; Patel et al.,
"Splitwise", ISCA 2024). Office hours, weekends and the nightly schedule are ours.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from random import Random

# (share of all values, value): between two points the values lie evenly.
Quantiles = tuple[tuple[float, float], ...]

BURSTS: Quantiles = ((0, 0), (0.1, 0.2), (0.5, 0.8), (0.9, 2.01), (0.99, 3.62), (1, 5.03))
"""How busy one stretch is, of the average."""

INPUT_TOKENS: Quantiles = (
    (0, 891),
    (0.1, 964),
    (0.2, 1_662),
    (0.3, 3_263),
    (0.4, 4_993),
    (0.5, 6_909),
    (0.6, 9_570),
    (0.7, 13_196),
    (0.8, 17_869),
    (0.9, 27_367),
    (0.95, 39_550),
    (1, 85_400),
)
REVIEW_TOKENS: Quantiles = (
    (0, 75),
    (0.2, 385),
    (0.4, 1_075),
    (0.6, 1_909),
    (0.8, 3_192),
    (0.9, 5_187),
    (1, 7_436),
)
"""New text of a code review, beside the conversation that it belongs to."""

OUTPUT_TOKENS: Quantiles = ((0, 10), (0.1, 24), (0.2, 100), (0.5, 350), (0.8, 504), (0.95, 698), (1, 1_118))
CACHED_SHARE: Quantiles = ((0, 0), (0.2, 0.03), (0.5, 0.15), (0.6, 0.36), (0.8, 0.57), (0.9, 0.84), (1, 0.98))
CACHE_BLOCK = 128
"""Providers cache whole blocks of so many tokens."""

_MACHINE_HOURS = (
    *(3.88, 3.49, 3.64, 3.34, 3.34, 3.0, 3.16, 3.63, 4.16, 4.43, 4.73, 4.51),
    *(4.5, 4.37, 4.04, 4.19, 4.38, 4.61, 4.62, 4.66, 4.94, 4.85, 5.02, 4.5),
)
_OFFICE_HOURS = (0, 0, 0, 0, 0, 0, 1, 4, 9, 12, 13, 12, 8, 11, 12, 11, 8, 5, 2, 1, 1, 0, 0, 0)
_NIGHTLY = (0, 0, 1, *(0,) * 21)
_WORKING_WEEK = (1.0, 1.08, 1.12, 1.05, 0.92, 0.1, 0.06)
_MACHINE_WEEK = (1.01, 0.93, 0.95, 1.01, 1.03, 0.4, 0.35)
_EVERY_DAY = (1.0,) * 7

_WHEN = {
    "chat": (_OFFICE_HOURS, _WORKING_WEEK),
    "pr_review": (_OFFICE_HOURS, _WORKING_WEEK),
    "scan": (_MACHINE_HOURS, _MACHINE_WEEK),
    "scheduled": (_NIGHTLY, _EVERY_DAY),
}
CALLS = {"chat": (1, 6), "pr_review": (4, 12), "scan": (8, 30), "scheduled": (8, 20)}
"""Fewest and most calls of a run, by kind."""


def share_of_day(kind: str, weekday: int, hour: int) -> float:
    """Which part of an ordinary day's runs start in this hour (UTC); Monday is 0."""
    hours, week = _WHEN[kind]
    return week[weekday] * hours[hour] / sum(hours)


def draw(rng: Random, quantiles: Quantiles) -> float:
    """One value of that distribution."""
    share = rng.random()
    place = bisect_right(quantiles, share, key=lambda point: point[0])
    (low, least), (high, most) = quantiles[place - 1], quantiles[place]
    return least + (most - least) * (share - low) / (high - low)


def how_many(rng: Random, mean: float) -> int:
    """How many independent things happen where ``mean`` do on average (Poisson)."""
    limit, number, product = math.exp(-mean), 0, rng.random()
    while product > limit:
        number += 1
        product *= rng.random()
    return number
