"""Usage events in the order of exports, in slices of time that are small enough to be sorted in memory.

Each slice comes as lines that the database itself has written, or as rows; its sums come with it, from the same
moment.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, func, select, text

from lib.clock import DAY, MINUTE, Micros
from lib.db.copying import copied
from lib.db.tables import projects, usage_daily, usage_events
from lib.exchange.columns import EVENT_COLUMNS, Column
from lib.exchange.sql_lines import (
    BETWEEN,
    END,
    LineForm,
    Lines,
    is_whole,
    postgres_cells,
    sqlite_line,
    stored,
)
from lib.reports.models import UsageFilter
from lib.reports.queries import matching
from lib.usage.measures import summed

SLICE = 5_000
"""Events that a slice is to hold; where more come within a minute, it holds more."""

_AT_ONCE = 1_000  # rows that become Python's objects; three times as many are held, as one reads ahead
_TOGETHER = 512 * 1024  # bytes of lines that are handled at once: some 2,000 rows
_SORTING = "32MB"  # of PostgreSQL's memory: a slice is sorted in it, not on disk
_ORDER_OF_BYTES = {"postgresql": "C"}  # as SQLite does, whatever language the server speaks


@dataclass(frozen=True)
class Sums:
    """What a slice holds of one source."""

    source: str
    rows: int
    nano: int
    unpriced: int
    tokens: tuple[int, ...]


Rows = Sequence[Sequence[Any]]
"""Rows as stored, in the order of the columns."""


def sums(connection: Connection, wanted: UsageFilter, ids: Sequence[str]) -> list[Sums]:
    """What the filter lets through in these projects, by source."""
    source = usage_events.c.source
    found = connection.execute(matching(select(source, *summed()), wanted, ids).group_by(source))
    # PostgreSQL sums BIGINT as NUMERIC, which arrives as Decimal.
    return [
        Sums(paid_by, rows, int(nano), unpriced, tuple(map(int, tokens)))
        for paid_by, rows, unpriced, nano, *tokens in found
    ]


class TimeSlice:
    """Events of one stretch of time."""

    def __init__(
        self,
        connection: Connection,
        wanted: UsageFilter,
        ids: Sequence[str],
        columns: Sequence[Column] = EVENT_COLUMNS,
    ) -> None:
        self._connection, self._wanted, self._ids, self._columns = connection, wanted, ids, columns

    @cached_property
    def sums(self) -> list[Sums]:
        """Sums of the slice, by source."""
        return sums(self._connection, self._wanted, self._ids)

    def lines(self, form: LineForm) -> Iterator[Lines | Rows]:
        """Rows of the slice as lines; as rows where the database cannot write them as lines."""
        if self._connection.dialect.name != "sqlite":
            query = self._select(*postgres_cells(form, self._columns))
            yield from map(Lines, copied(self._connection, query, delimiter=BETWEEN, together=_TOGETHER))
            return
        done = 0
        for rows, joined in self._texts(form):
            if not is_whole(joined, rows, len(self._columns)):
                yield from self.rows(skip=done)
                return
            yield Lines(f"{joined}{END}".encode())
            done += rows

    def _texts(self, form: LineForm) -> Iterator[tuple[int, str]]:
        if sum(each.rows for each in self.sums) <= 2 * SLICE:
            # Sorted before they are joined, because not every SQLite can say so within the joining.
            lines = self._select(sqlite_line(form, self._columns)).subquery()
            rows, text = self._connection.execute(
                select(func.count(), func.aggregate_strings(lines.c.line, END))
            ).one()
            yield rows, text
            return
        with self._run(sqlite_line(form, self._columns)) as result:
            for batch in result.partitions():
                yield len(batch), END.join(text for (text,) in batch)

    def rows(self, *, skip: int = 0) -> Iterator[Rows]:
        """Rows of the slice in batches."""
        with self._run(*(stored(column) for column in self._columns), skip=skip) as result:
            yield from result.partitions()

    def _run(self, *columns: ColumnElement[Any], skip: int = 0) -> Any:
        statement = self._select(*columns)
        if skip:
            statement = statement.offset(skip)
        return self._connection.execute(statement.execution_options(yield_per=min(SLICE, _AT_ONCE)))

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
class Chunk:
    """Sums of what comes, or some rows."""

    sums: Sequence[Sums] = ()
    batch: Lines | Rows = ()


def stream_chunks(
    connection: Connection,
    wanted: UsageFilter,
    ids: Sequence[str],
    reads: Callable[[TimeSlice], Iterable[Lines | Rows]],
    columns: Sequence[Column] = EVENT_COLUMNS,
) -> Generator[Chunk]:
    """All that the filter lets through in these projects, one stretch of time after the other.

    Args:
        connection: of one read.
        wanted: which usage.
        ids: of which projects.
        reads: how a slice is read.
        columns: what is read of each event.
    """
    # PostgreSQL looks through the table once, with several processes; SQLite sums a slice while it has it in memory.
    at_once = connection.dialect.name == "postgresql"
    if at_once:
        connection.execute(text(f"SET LOCAL work_mem = '{_SORTING}'"))
        yield Chunk(sums(connection, wanted, ids))
    for since, until in pairwise([wanted.since, *_cuts(connection, wanted, ids), wanted.until]):
        events = TimeSlice(connection, replace(wanted, since=since, until=until), ids, columns)
        if not at_once:
            yield Chunk(events.sums)
        if at_once or events.sums:
            yield from (Chunk(batch=batch) for batch in reads(events))


def count_events(connection: Connection, wanted: UsageFilter, ids: Sequence[str]) -> int:
    """How many events the filter lets through, however they are sliced."""
    return int(connection.execute(matching(select(func.count()), wanted, ids)).scalar_one())


def _cuts(connection: Connection, wanted: UsageFilter, ids: Sequence[str]) -> Iterator[Micros]:
    """Instants within the period, so far apart that about SLICE events lie between them.

    The roll-up only says where to cut: whatever it holds, each event is in one slice.
    """
    waiting, most, last = 0, _most(connection), wanted.since
    for day_at, calls in connection.execute(_busy_days(wanted, ids)):
        pieces = min(-(-int(calls) // most), DAY // MINUTE)
        starts = [day_at + DAY * piece // pieces for piece in range(pieces)]
        if waiting + calls <= most:
            starts, waiting = [], waiting + calls
        else:
            waiting = calls // pieces
        for start in starts:
            # A day of 23 hours ends before its last pieces begin: no cut may lie before another one.
            if (last is None or last < start) and (wanted.until is None or start < wanted.until):
                yield start
                last = start


def _most(connection: Connection) -> int:
    # Both sort fast what fits into their memory for it; PostgreSQL takes a while to begin.
    return SLICE if connection.dialect.name == "sqlite" else 10 * SLICE


def _busy_days(wanted: UsageFilter, ids: Sequence[str]) -> Select[Any]:
    day = usage_daily.c.day_at
    found = select(day, func.sum(usage_daily.c.calls)).where(usage_daily.c.project_id.in_(ids))
    if wanted.since is not None:
        found = found.where(day > wanted.since - DAY)
    if wanted.until is not None:
        found = found.where(day < wanted.until)
    return found.group_by(day).order_by(day)
