"""What caching of input saved and cost, summed by day: the one list of these sums, compared with the events and made again.

A call's prices are those of its own row. Tokens read from the provider's cache saved what they would have cost as plain
input; tokens written to it cost so much more than plain input. Each is rounded to a nano-USD once a call. Where a row
does not have all of these prices, both are unknown: the call is counted, and is in no sum of money or tokens.

Days are days of UTC, so that the database itself keeps them, by triggers on the events (migration 0014): a worker of
the version before keeps them too.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Select,
    Table,
    delete,
    func,
    insert,
    literal,
    literal_column,
    select,
)

from lib.clock import DAY, Micros
from lib.db.rollup_tables import CACHE_SUMS
from lib.db.tables import usage_daily_caching, usage_events
from lib.usage.archived import archived_until

DIMENSIONS = ("source", "provider", "model", "run_kind", "status")
_READ, _WRITTEN, _WRITTEN_1H = (
    f"coalesce({name}, 0)" for name in ("cached_input_tokens", "cache_write_tokens", "cache_write_1h_tokens")
)
INVOLVED = f"({_READ} > 0 OR {_WRITTEN} > 0 OR {_WRITTEN_1H} > 0)"
"""Whether a usage event read from a cache or wrote to one."""

_MOST_TOKENS, _HIGHEST_PRICE = 10**9, 10**12
"""No call has more, and no model costs more (nano-USD per million tokens); beyond it 64 bits do not hold the products."""


def _known() -> str:
    priced = (
        (_READ, "price_cached_input"),
        (_WRITTEN, "price_cache_write"),
        (_WRITTEN_1H, "price_cache_write_1h"),
    )
    fits = f"BETWEEN 0 AND {_HIGHEST_PRICE}"
    found = [f"coalesce(price_input {fits}, false)"]
    found += [
        f"({tokens} = 0 OR ({tokens} <= {_MOST_TOKENS} AND coalesce({price} {fits}, false)))"
        for tokens, price in priced
    ]
    return " AND ".join(found)


def _product(tokens: str, price: str) -> str:
    """Tokens at a price per million: by whole millions and the rest, because 64 bits do not hold the product."""
    return f"{tokens} * (({price}) / 1000000) + ({tokens} * (({price}) % 1000000) + 500000) / 1000000"


def _if_known(value: str) -> str:
    return f"CASE WHEN {_known()} THEN {value} ELSE 0 END"


ADDED = {
    "calls": "1",
    "unknown_calls": f"CASE WHEN {_known()} THEN 0 ELSE 1 END",
    "read_tokens": _if_known(_READ),
    "saved_nano": _if_known(_product(_READ, "price_input - coalesce(price_cached_input, 0)")),
    "written_tokens": _if_known(f"{_WRITTEN} + {_WRITTEN_1H}"),
    "extra_nano": _if_known(
        f"{_product(_WRITTEN, 'coalesce(price_cache_write, 0) - price_input')} + "
        f"{_product(_WRITTEN_1H, 'coalesce(price_cache_write_1h, 0) - price_input')}"
    ),
}
"""SQL for both engines over the columns of a usage event that ``INVOLVED`` lets through: what it adds to each sum."""


def added_by_event() -> dict[str, ColumnElement[Any]]:
    """What one usage event adds to each sum, for a SELECT over usage events."""
    return {name: literal_column(f"({ADDED[name]})", BigInteger) for name in CACHE_SUMS}


def compared(connection: Connection, project_id: str) -> tuple[Table, dict[Any, Any], dict[Any, Any]]:
    """The table, its rows of a project, and what they should be, by moment and dimensions."""
    table = usage_daily_caching
    names = ("day_at", *DIMENSIONS, *CACHE_SUMS)
    stored = select(*(table.c[name] for name in names)).where(
        table.c.project_id == project_id, table.c.day_at >= (since := archived_until(connection) or 0)
    )
    return table, _rows(connection, stored), _rows(connection, _summed(project_id, since))


def replace(connection: Connection, project_id: str) -> None:
    """Make a project's sums again from its events, while no call adds to them."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("LOCK TABLE usage_daily_caching IN SHARE ROW EXCLUSIVE MODE")
    since = archived_until(connection) or 0  # days of UTC, as archived months are
    mine = usage_daily_caching.c.project_id == project_id
    connection.execute(delete(usage_daily_caching).where(mine, usage_daily_caching.c.day_at >= since))
    summed = _summed(project_id, since)
    rows = summed.with_only_columns(literal(project_id), *summed.selected_columns)
    names = ["project_id", "day_at", *DIMENSIONS, *CACHE_SUMS]
    connection.execute(insert(usage_daily_caching).from_select(names, rows))


def _summed(project_id: str, since: Micros) -> Select[Any]:
    at = usage_events.c.occurred_at
    # Constants are written into the SQL: PostgreSQL takes two parameters for two different expressions.
    day = (at - at % literal_column(str(DAY))).label("day_at")
    kind = func.coalesce(usage_events.c.run_kind, literal_column("''")).label("run_kind")
    keys = [day, *(kind if name == "run_kind" else usage_events.c[name] for name in DIMENSIONS)]
    sums = [func.sum(value).label(name) for name, value in added_by_event().items()]
    involved: ColumnElement[bool] = literal_column(INVOLVED)
    mine = (usage_events.c.project_id == project_id, at >= since)
    return select(*keys, *sums).where(*mine, involved).group_by(*keys)


def _rows(connection: Connection, statement: Select[Any]) -> dict[tuple[Any, ...], tuple[int, ...]]:
    keys = 1 + len(DIMENSIONS)
    return {tuple(row[:keys]): tuple(map(int, row[keys:])) for row in connection.execute(statement)}
