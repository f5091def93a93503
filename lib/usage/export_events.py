"""Usage events in the order of exports, in slices of time that are small enough to be sorted in memory.

Each slice comes as one text that the database itself has written, so that Python handles a few objects for
thousands of rows, or as rows; its sums come with it, from the same moment.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import Any

from sqlalchemy import Column as SqlColumn
from sqlalchemy import ColumnElement, Connection, Select, Text, cast, func, literal_column, select

from lib.clock import DAY, MINUTE, Micros
from lib.db.tables import projects, usage_daily, usage_events
from lib.usage.columns import EVENT_COLUMNS, Column, Kind
from lib.usage.figures import UsageFilter
from lib.usage.summing import matching

SLICE = 5_000
"""Events that a slice is to hold; where more come within a minute, it holds more."""

BETWEEN, NEXT = "\x1f", "\x1e"
"""Stand between the cells of a line, and between lines: characters that hardly any text holds."""

TOKENS = ("input_tokens", "cached_input_tokens", "output_tokens", "reasoning_tokens")
_CELLS = len(EVENT_COLUMNS)
_ORDER_OF_BYTES = {"postgresql": "C"}  # as SQLite does, whatever language the server speaks


@dataclass(frozen=True)
class Sums:
    """What a slice holds of one source."""

    source: str
    rows: int
    nano: int
    unpriced: int
    tokens: tuple[int, ...]


@dataclass(frozen=True)
class Lines:
    """Rows as one text of the cells of a CSV file. In no cell is what stands between them."""

    rows: int
    text: str


Rows = Sequence[Sequence[Any]]
"""Rows as stored, in the order of EVENT_COLUMNS."""


class Slice:
    """Events of one stretch of time."""

    def __init__(self, connection: Connection, wanted: UsageFilter, ids: Sequence[str]) -> None:
        self._connection, self._wanted, self._ids = connection, wanted, ids

    @cached_property
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

    def lines(self) -> Iterator[Lines | Rows]:
        """Its rows as texts; as rows from where a cell holds what stands between them."""
        done = 0
        for rows, text in self._texts():
            if text.count(BETWEEN) != rows * (_CELLS - 1) or text.count(NEXT) != rows - 1:
                yield from self.rows(skip=done)
                return
            yield Lines(rows, text)
            done += rows

    def _texts(self) -> Iterator[tuple[int, str]]:
        line = _line(self._connection.dialect.name).label("line")
        if sum(each.rows for each in self.sums) <= 2 * _most(self._connection):
            # Sorted before they are joined, because not every SQLite can say so within the joining.
            sorted_ = self._select(line).subquery()
            joined = select(func.count(), func.aggregate_strings(sorted_.c.line, NEXT))
            rows, text = self._connection.execute(joined).one()
            yield rows, text
            return
        with self._run(line) as result:
            for batch in result.partitions():
                yield len(batch), NEXT.join(text for (text,) in batch)

    def rows(self, *, skip: int = 0) -> Iterator[Rows]:
        """Its rows in batches."""
        with self._run(*(_stored(column) for column in EVENT_COLUMNS), skip=skip) as result:
            yield from result.partitions()

    def _run(self, *columns: ColumnElement[Any], skip: int = 0) -> Any:
        statement = self._select(*columns)
        if skip:
            statement = statement.offset(skip)
        return self._connection.execute(statement.execution_options(yield_per=SLICE))

    def _select(self, *columns: ColumnElement[Any]) -> Select[Any]:
        chosen = select(*columns).join_from(
            usage_events, projects, projects.c.id == usage_events.c.project_id
        )
        return matching(chosen, self._wanted, self._ids).order_by(*self._order())

    def _order(self) -> list[ColumnElement[Any]]:
        collation = _ORDER_OF_BYTES.get(self._connection.dialect.name)
        event_id: ColumnElement[Any] = usage_events.c.event_id
        ids = event_id.collate(collation) if collation else event_id
        return [usage_events.c.occurred_at, ids, projects.c.slug]


@dataclass(frozen=True)
class Part:
    """The sums of a slice, or some of its rows."""

    sums: Sequence[Sums] = ()
    batch: Lines | Rows = ()


def parts(
    connection: Connection,
    wanted: UsageFilter,
    ids: Sequence[str],
    reads: Callable[[Slice], Iterable[Lines | Rows]],
) -> Iterator[Part]:
    """All that the filter lets through in these projects, one stretch of time after the other.

    Args:
        connection: of one read.
        wanted: which usage.
        ids: of which projects.
        reads: how a slice is read.
    """
    edges = [wanted.since, *_cuts(connection, wanted, ids), wanted.until]
    for since, until in pairwise(edges):
        events = Slice(connection, replace(wanted, since=since, until=until), ids)
        if events.sums:
            yield Part(events.sums)
            for batch in reads(events):
                yield Part(batch=batch)


def _cuts(connection: Connection, wanted: UsageFilter, ids: Sequence[str]) -> Iterator[Micros]:
    """Instants within the period, so far apart that about SLICE events lie between them.

    The roll-up only says where to cut: whatever it holds, each event is in one slice.
    """
    waiting, most = 0, _most(connection)
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


def _most(connection: Connection) -> int:
    # Both sort fast what fits into their memory for it; PostgreSQL takes a while to begin.
    return SLICE if connection.dialect.name == "sqlite" else 2 * SLICE


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


def _stored(column: Column) -> SqlColumn[Any]:
    return usage_events.c.get(column.stored, projects.c.slug)


def _line(engine: str) -> ColumnElement[str]:
    if engine == "sqlite":
        form = BETWEEN.join(["%s"] * _CELLS)
        return func.printf(literal_column(f"'{form}'"), *(_cell(column, _SQLITE) for column in EVENT_COLUMNS))
    between: ColumnElement[Any] = literal_column(f"chr({ord(BETWEEN)})")
    return func.concat_ws(between, *(_never_null(column) for column in EVENT_COLUMNS))


def _cell(column: Column, forms: Mapping[Kind, str]) -> ColumnElement[Any]:
    return literal_column(forms[column.kind].format(_stored(column)))


def _never_null(column: Column) -> ColumnElement[Any]:
    # concat_ws would leave out what stands beside a NULL, too; concat leaves out nothing, but is slower.
    cell = _cell(column, _POSTGRES)
    return func.coalesce(cast(cell, Text), literal_column("''")) if _stored(column).nullable else cell
