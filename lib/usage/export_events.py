"""Usage events in the order of exports, in slices of time that are small enough to be sorted in memory.

Each slice comes as lines that the database itself has written, so that Python handles a text a row, or as
rows; its sums come with it, from the same moment.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, func, literal_column, select

from lib.clock import DAY, MINUTE, Micros
from lib.db.tables import projects, usage_daily, usage_events
from lib.usage.columns import EVENT_COLUMNS, Column, Kind
from lib.usage.figures import UsageFilter
from lib.usage.summing import matching

SLICE = 5_000
"""Events that a slice is to hold; where more come within a minute, it holds more."""

BETWEEN = "\x1f"
"""Stands between the cells of a line: a character that hardly any text holds."""

TOKENS = ("input_tokens", "cached_input_tokens", "output_tokens", "reasoning_tokens")
_ORDER_OF_BYTES = {"postgresql": "C"}  # as SQLite does, whatever language the server speaks


@dataclass(frozen=True)
class Sums:
    """What a slice holds of one source."""

    source: str
    rows: int
    nano: int
    unpriced: int
    tokens: tuple[int, ...]


class Slice:
    """Events of one stretch of time."""

    def __init__(self, connection: Connection, wanted: UsageFilter, ids: Sequence[str]) -> None:
        self._connection, self._wanted, self._ids = connection, wanted, ids

    def sums(self) -> list[Sums]:
        """Its sums, by source."""
        unpriced = func.count() - func.count(usage_events.c.cost_nano)
        totals = [func.coalesce(func.sum(usage_events.c[name]), 0) for name in ("cost_nano", *TOKENS)]
        source = usage_events.c.source
        found = self._connection.execute(
            matching(select(source, func.count(), unpriced, *totals), self._wanted, self._ids).group_by(
                source
            )
        )
        # PostgreSQL sums BIGINT as NUMERIC, which arrives as Decimal.
        return [
            Sums(paid_by, rows, int(nano), unknown, tuple(map(int, tokens)))
            for paid_by, rows, unknown, nano, *tokens in found
        ]

    def lines(self) -> Iterator[list[str]]:
        """Batches of rows, each row one text of the cells of a CSV file."""
        with self._run(_line(self._connection.dialect.name)) as result:
            for rows in result.partitions():
                yield [line for (line,) in rows]

    def rows(self, *, skip: int = 0) -> Iterator[Sequence[Sequence[Any]]]:
        """Batches of rows as stored, in the order of EVENT_COLUMNS."""
        with self._run(*(_stored(column) for column in EVENT_COLUMNS), skip=skip) as result:
            yield from result.partitions()

    def _run(self, *columns: ColumnElement[Any], skip: int = 0) -> Any:
        chosen = select(*columns).join_from(
            usage_events, projects, projects.c.id == usage_events.c.project_id
        )
        statement = matching(chosen, self._wanted, self._ids).order_by(*self._order())
        if skip:
            statement = statement.offset(skip)
        return self._connection.execution_options(yield_per=SLICE).execute(statement)

    def _order(self) -> list[ColumnElement[Any]]:
        collation = _ORDER_OF_BYTES.get(self._connection.dialect.name)
        event_id: ColumnElement[Any] = usage_events.c.event_id
        ids = event_id.collate(collation) if collation else event_id
        return [usage_events.c.occurred_at, ids, projects.c.slug]


def slices(connection: Connection, wanted: UsageFilter, ids: Sequence[str]) -> Iterator[Slice]:
    """All that the filter lets through in these projects, one stretch of time after the other."""
    edges = [wanted.since, *_cuts(connection, wanted, ids), wanted.until]
    for since, until in pairwise(edges):
        yield Slice(connection, replace(wanted, since=since, until=until), ids)


def _cuts(connection: Connection, wanted: UsageFilter, ids: Sequence[str]) -> Iterator[Micros]:
    """Instants within the period, so far apart that about SLICE events lie between them.

    The roll-up only says where to cut: whatever it holds, each event is in one slice.
    """
    # SQLite sorts fast what fits into its cache; PostgreSQL takes a while to begin.
    waiting, most = 0, SLICE if connection.dialect.name == "sqlite" else 20 * SLICE
    for day_at, calls in connection.execute(_busy_days(wanted, ids)):
        pieces = min(-(-int(calls) // most), DAY // MINUTE)
        starts = [day_at + DAY * piece // pieces for piece in range(pieces)]
        if waiting + calls <= most:
            starts, waiting = [], waiting + calls
        else:
            waiting = calls // pieces
        for start in starts:
            if (wanted.since is None or wanted.since < start) and (
                wanted.until is None or start < wanted.until
            ):
                yield start


def _busy_days(wanted: UsageFilter, ids: Sequence[str]) -> Select[Any]:
    day = usage_daily.c.day_at
    found = select(day, func.sum(usage_daily.c.calls)).where(usage_daily.c.project_id.in_(ids))
    if wanted.since is not None:
        found = found.where(day > wanted.since - DAY)
    if wanted.until is not None:
        found = found.where(day < wanted.until)
    return found.group_by(day).order_by(day)


# --- lines -----------------------------------------------------------------------------------------

# NULL comes out as nothing in all of them. Amounts are never below 0: the table sees to it.
_SQLITE = {
    Kind.TEXT: "{0}",
    Kind.COUNT: "{0}",
    Kind.TIME: "strftime('%Y-%m-%dT%H:%M:%S', {0} / 1000000, 'unixepoch')"
    " || CASE WHEN {0} % 1000000 = 0 THEN 'Z' ELSE printf('.%06dZ', {0} % 1000000) END",
    Kind.USD: "CASE WHEN {0} IS NULL THEN NULL WHEN {0} % 1000000000 = 0 THEN {0} / 1000000000"
    " ELSE rtrim(printf('%d.%09d', {0} / 1000000000, {0} % 1000000000), '0') END",
}
_POSTGRES = {
    Kind.TEXT: "{0}",
    Kind.COUNT: "{0}",
    Kind.TIME: """to_char(timestamp 'epoch' + {0} / 1000000 * interval '1 second', 'YYYY-MM-DD"T"HH24:MI:SS')"""
    " || CASE WHEN {0} % 1000000 = 0 THEN 'Z' ELSE '.' || lpad(({0} % 1000000)::text, 6, '0') || 'Z' END",
    Kind.USD: "trim_scale({0} * 0.000000001)",
}


def _stored(column: Column) -> ColumnElement[Any]:
    found: ColumnElement[Any] = usage_events.c.get(column.stored, projects.c.slug)
    return found


def _line(engine: str) -> ColumnElement[str]:
    forms = _SQLITE if engine == "sqlite" else _POSTGRES
    cells: list[ColumnElement[Any]] = [
        literal_column(forms[column.kind].format(_stored(column))) for column in EVENT_COLUMNS
    ]
    if engine == "sqlite":
        form = BETWEEN.join(["%s"] * len(cells))
        return func.printf(literal_column(f"'{form}'"), *cells)
    between: ColumnElement[Any] = literal_column(f"chr({ord(BETWEEN)})")
    return func.concat(*[part for cell in cells for part in (cell, between)][:-1])
