"""What an import adds to the roll-ups: sums of exactly the rows that went in, however much history there is."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from sqlalchemy import Connection, Table, func, select
from sqlalchemy.dialects import postgresql

from lib.clock import HOUR, Micros
from lib.db.rollup_tables import MEASURES
from lib.db.tables import projects, usage_daily, usage_daily_totals, usage_hourly, usage_models
from lib.db.upsert import Upsert
from lib.errors import BadInput
from lib.usage import measures
from lib.usage.periods import day_of, midnight
from lib.usage.rollups import DIMENSIONS, QUARTER, zone_of

LARGEST_SUM = 9 * 10**18
"""Of nano-USD (so 9 billion USD) or tokens, in all; a little less than 64 bits hold, which is left to live calls."""

_BATCH = 1_000
_ADD = {table: Upsert(table, MEASURES, "add") for table in (usage_hourly, usage_daily)}

SUMMED = "\n".join(
    (
        f"SELECT project_id, occurred_at / {QUARTER} * {QUARTER} AS quarter, source, provider, model, status,",
        ", ".join(measure.summed for measure in measures.SQL.values()),
        "FROM {rows} GROUP BY 1, 2, 3, 4, 5, 6",
    )
)
"""Sums the new rows by quarter of an hour, of which every zone's days are made; ``rows`` is where they are."""


def add_imported(connection: Connection, summed: Iterable[Any]) -> int:
    """Add what SUMMED found to hours and days, in the import's transaction; returns how many rows that are."""
    rows = [tuple(row) for row in summed]
    if connection.dialect.name != "sqlite":
        # Waits for a change of the reporting zone that is under way, and keeps the next one waiting.
        connection.exec_driver_sql("LOCK TABLE usage_daily IN ROW EXCLUSIVE MODE")
        _take_turns(connection, rows)
    _require_room(connection, rows)
    zone = zone_of(connection)
    days: dict[Micros, Micros] = {}
    for quarter in {row[1] for row in rows}:
        days[quarter] = midnight(day_of(quarter, zone), zone)
    _add(connection, usage_hourly, "hour_at", rows, lambda quarter: quarter - quarter % HOUR)
    _add(connection, usage_daily, "day_at", rows, days.__getitem__)
    return sum(int(row[6]) for row in rows)


def _require_room(connection: Connection, rows: list[tuple[Any, ...]]) -> None:
    """Every sum there can be fits the 64 bits of storage; SQLite would go on in floats without a word."""
    of = [usage_daily_totals.c[name] for name in MEASURES]
    before = connection.execute(select(*(func.coalesce(func.sum(column), 0) for column in of))).one()
    added = (sum(int(row[place]) for row in rows) for place in range(-len(MEASURES), 0))
    if any(int(old) + new > LARGEST_SUM for old, new in zip(before, added, strict=True)):
        raise BadInput(
            "With these rows the sums of cost or tokens would be larger than Qodex can keep. Nothing was imported."
        )


def _take_turns(connection: Connection, rows: list[tuple[Any, ...]]) -> None:
    """PostgreSQL: no ring of transactions that wait for each other's totals, which the database itself keeps.

    Of a project one import at a time gets here; live calls go on. A call that is the first of its model waits for
    the import, or the import for the call, before either holds totals.
    """
    ids = sorted({row[0] for row in rows})
    mine = select(projects.c.id).where(projects.c.id.in_(ids)).order_by(projects.c.id)
    connection.execute(mine.with_for_update(key_share=True))
    models = sorted({(project_id, provider, model) for project_id, _, _, provider, model, *_ in rows})
    names = ("project_id", "provider", "model")
    for start in range(0, len(models), _BATCH):
        some = [dict(zip(names, each, strict=True)) for each in models[start : start + _BATCH]]
        connection.execute(postgresql.insert(usage_models).on_conflict_do_nothing(), some)


def _add(
    connection: Connection,
    table: Table,
    name: str,
    rows: list[tuple[Any, ...]],
    moment: Callable[[Micros], Micros],
) -> None:
    found: dict[tuple[Any, ...], list[int]] = {}
    for project_id, quarter, source, provider, model, status, *sums in rows:
        key = (project_id, moment(quarter), source, provider, model, "", status)  # an import has no run kind
        before = found.get(key) or [0] * len(MEASURES)
        found[key] = [old + int(new) for old, new in zip(before, sums, strict=True)]
    names = ("project_id", name, *DIMENSIONS, *MEASURES)
    # In one order, so that two imports at once wait for each other instead of both.
    values = [dict(zip(names, (*key, *sums), strict=True)) for key, sums in sorted(found.items())]
    for start in range(0, len(values), _BATCH):
        connection.execute(_ADD[table].on(connection), values[start : start + _BATCH])
