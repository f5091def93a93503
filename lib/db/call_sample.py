"""A sample of calls spread evenly over all of history, for what no sum can tell: percentiles.

Whether a call belongs to it is told by its id alone: its last characters as a number, taken modulo a prime, give one
of 64 shares. Ids are random, or hashes, or count up, so that this says nothing about what the call is like. One index
(migration 0016) holds the first eight shares, by share: so one call in 8 or in 64 can be read and no other, nothing is
written that could be wrong, and every filter applies. The index costs every event one evaluation of its condition.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Integer, and_, literal_column
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.expression import FunctionElement

MODULUS = 4093
WEIGHTS = (1, 31, 961, 1140)  # powers of 31, modulo the prime
SHARES_OF = {8: 8, 64: 1}
"""How many of the 64 shares make a sample of one call in so many."""

_INDEXED = 8
_CHARACTER = {
    "sqlite": "(ifnull(unicode(substr({id}, -{place}, 1)), 0) & 255)",
    "postgresql": "(ascii(substr({id}, length({id}) - {place} + 1, 1)) & 255)",
}
_REMAINDER = {"sqlite": "(({number}) % {modulus})", "postgresql": "mod({number}, {modulus})"}


class share(FunctionElement[int]):  # noqa: N801 - used like a function of SQL
    """The share of a call, from 0 to 63, told by the column of its id."""

    type = Integer()
    inherit_cache = True


@compiles(share)
def _written(element: share, compiler: Any, **how: Any) -> str:
    column, dialect = compiler.process(element.clauses, **how), compiler.dialect.name
    number = " + ".join(
        f"{weight} * {_CHARACTER[dialect].format(id=column, place=place)}"
        for place, weight in enumerate(WEIGHTS, start=1)
    )
    return f"({_REMAINDER[dialect].format(number=number, modulus=MODULUS)} / 64)"


def indexed(event_id: ColumnElement[str]) -> ColumnElement[bool]:
    """Whether a usage event is in the index."""
    return share(event_id) < literal_column(str(_INDEXED))


def in_sample(event_id: ColumnElement[str], one_in: int) -> ColumnElement[bool]:
    """Whether a usage event is in a sample, in the words of the index, so that it is used."""
    shares: list[ColumnElement[int]] = [literal_column(str(number)) for number in range(SHARES_OF[one_in])]
    return and_(share(event_id).in_(shares), indexed(event_id))
