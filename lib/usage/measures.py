"""What is summed of usage events: the one table that roll-ups, reports, exports and imports are made of."""

from __future__ import annotations

from typing import Any, NamedTuple

from sqlalchemy import BigInteger, ColumnElement, literal_column

from lib.db.rollup_tables import MEASURES
from lib.usage.event_row import EventRow


class Measure(NamedTuple):
    """SQL for both engines over the columns of usage events: what one event adds, and the sum of all."""

    added: str
    summed: str


# Constants are written into the SQL: PostgreSQL takes two parameters for two different expressions.
_COUNTED = {
    "calls": Measure("1", "count(*)"),
    "unpriced_calls": Measure("CASE WHEN cost_nano IS NULL THEN 1 ELSE 0 END", "count(*) - count(cost_nano)"),
}
SQL: dict[str, Measure] = {
    name: _COUNTED.get(name) or Measure(f"coalesce({name}, 0)", f"coalesce(sum({name}), 0)")
    for name in MEASURES
}
"""Each measure by name, in the order of the roll-ups' columns."""


def added_by_event() -> dict[str, ColumnElement[Any]]:
    """What one usage event adds to each measure, for a SELECT over usage events."""
    return {name: literal_column(measure.added, BigInteger) for name, measure in SQL.items()}


def summed() -> list[ColumnElement[Any]]:
    """All measures over usage events, named as in the roll-ups."""
    return [literal_column(measure.summed, BigInteger).label(name) for name, measure in SQL.items()]


def of_event(row: EventRow) -> dict[str, int]:
    """What this event adds to each measure."""
    unpriced = int(row.cost_nano is None)
    plain = {name: getattr(row, name) or 0 for name in MEASURES[2:]}
    return {"calls": 1, "unpriced_calls": unpriced, **plain}
