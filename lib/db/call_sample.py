"""A sample of calls spread evenly over all of history, for what no sum can tell: percentiles.

Whether a call belongs to it is told by its id alone: the last characters as a number, taken modulo a prime. Ids are
random, or hashes, or count up, so that this says nothing about what the call is like. There are two samples, one
within the other, with an index of each (migration 0016): so of a million calls no more are read than of a hundred
thousand, nothing is written that could be wrong, and every filter applies. Each index costs every event an evaluation
of its condition, a microsecond on SQLite.
"""

from __future__ import annotations

MODULUS = 4093
WEIGHTS = (1, 31, 961, 1140, 2596, 2709)  # powers of 31, modulo the prime
BELOW = {8: 512, 64: 64}
"""One call in how many: those whose number is below this."""

_CHARACTER = {
    "sqlite": "coalesce(unicode(substr(event_id, -{place}, 1)), 0)",
    "postgresql": "ascii(substr(event_id, length(event_id) - {place} + 1, 1))",
}


def number_of(dialect: str) -> str:
    """SQL of a call's number, from 0 to 4,092."""
    terms = (
        f"{weight} * ({_CHARACTER[dialect].format(place=place)} % 256)"
        for place, weight in enumerate(WEIGHTS, start=1)
    )
    return f"({' + '.join(terms)}) % {MODULUS}"


def condition(dialect: str, one_in: int) -> str:
    """SQL of whether a usage event is in a sample: in the index and, in the same words, in what is to use it."""
    return f"{number_of(dialect)} < {BELOW[one_in]}"
