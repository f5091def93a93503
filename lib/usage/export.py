"""Taking usage out: events or the daily summary, complete, in one order, from one moment of the database.

Rows are read and written in batches; memory does not grow with them. What leaves is counted and hashed on
the way, so that its receiver can tell that it is whole.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from typing import IO, Any, Protocol

from sqlalchemy import Connection, Select, select

from lib.access import audit
from lib.access.audit import Subject, Tag
from lib.access.roles import Action, Actor, require
from lib.clock import iso
from lib.db import Database
from lib.db.tables import projects, usage_events
from lib.errors import BadInput
from lib.usage.columns import DAILY_HEADER, EVENT_COLUMNS, EVENT_HEADER, cell_writers, inert
from lib.usage.events import sweep
from lib.usage.prices import plain_usd
from lib.usage.reports import DailyRow, Reports, UsageFilter
from lib.usage.summing import matching, visible_ids

FORMATS = ("csv", "daily-csv", "parquet")
_BATCH = 5_000
_BOM = b"\xef\xbb\xbf"
_TOKENS = ("input_tokens", "cached_input_tokens", "output_tokens", "reasoning_tokens")
_PLACE = {name: place for place, name in enumerate(EVENT_HEADER)}


@dataclass
class Exported:
    """What left: enough to check that it arrived whole. Sums of money in nano-USD of rows with a known cost."""

    format: str
    wanted: UsageFilter
    rows: int = 0
    bytes: int = 0
    sha256: str = ""
    platform_nano: int = 0
    byok_nano: int = 0
    unpriced_calls: int = 0
    tokens: Counter[str] = field(default_factory=Counter)

    def meta(self) -> dict[str, object]:
        """The content of the ``.meta.json`` beside an export."""
        chosen = {name: value for name, value in asdict(self.wanted).items() if name != "zone" and value}
        for name in ("since", "until"):
            moment = getattr(self.wanted, name)
            chosen[name] = None if moment is None else iso(moment)
        return {
            "format": self.format,
            "filter": chosen,
            "zone": self.wanted.zone,
            "rows": self.rows,
            "sums": {
                "platform_usd": plain_usd(self.platform_nano),
                "byok_usd": plain_usd(self.byok_nano),
                "unpriced_calls": self.unpriced_calls,
                **{name: self.tokens[name] for name in _TOKENS},
            },
            "bytes": self.bytes,
            "sha256": self.sha256,
        }


class Writable(Protocol):
    """Takes bytes."""

    def write(self, data: bytes, /) -> object: ...


class Sink(Protocol):
    """One format: takes batches of rows in the order of EVENT_COLUMNS, as stored."""

    def write(self, rows: Sequence[Sequence[Any]]) -> None: ...

    def close(self) -> None: ...


def export_usage(
    database: Database,
    wanted: UsageFilter,
    out: IO[bytes],
    *,
    actor: Actor,
    format: str = "csv",  # noqa: A002 - what the command line and the page call it
    raw: bool = False,
    bom: bool = False,
    progress: Callable[[int], None] | None = None,
) -> Exported:
    """Write the usage that ``wanted`` lets through, of the projects that ``actor`` may export.

    The caller hands ``out`` on only after this has returned; what it holds after an exception is not whole.

    Args:
        database: where it is read.
        wanted: which usage; the zone makes the days of the daily summary.
        out: a file of ours; a slow receiver would keep the database's snapshot open.
        actor: who exports.
        format: ``csv`` (events), ``daily-csv`` (a row a day, project, source, provider and model) or ``parquet``.
        raw: leave text as it is, also where a spreadsheet would run it.
        bom: begin with a byte-order mark, by which Excel knows UTF-8.
        progress: called with the number of rows written so far.

    Raises:
        ProjectUnknown, Forbidden: the actor may not export one that ``wanted`` names, or may export none.
    """
    if format not in FORMATS:
        raise BadInput(f"An export is one of {', '.join(FORMATS)}.")
    sweep(database)
    done = Exported(format, _allowed(database, wanted, actor))
    counted = Counted(out)
    if bom and format != "parquet":
        counted.write(_BOM)
    if format == "daily-csv":
        _write_days(Reports(database).daily(done.wanted, actor=actor), counted, done, raw=raw)
    else:
        sink = _sink(format, counted, raw=raw)
        with database.read() as connection, closing(_batches(connection, done.wanted, actor)) as batches:
            for rows in batches:
                sink.write(rows)
                _add_events(done, rows)
                if progress:
                    progress(done.rows)
        sink.close()
    done.bytes, done.sha256 = counted.bytes, counted.sha256
    _record(database, done, actor)
    return done


def _allowed(database: Database, wanted: UsageFilter, actor: Actor) -> UsageFilter:
    """The same filter with the projects spelled out."""
    with database.read() as connection:
        ids = visible_ids(connection, actor, wanted.projects, Action.EXPORT_USAGE, sample=wanted.sample)
        if not ids:
            require(actor, Action.EXPORT_USAGE, None)
        known = select(projects.c.slug).where(projects.c.id.in_(ids)).order_by(projects.c.slug)
        return replace(wanted, projects=tuple(connection.execute(known).scalars()))


# --- events ----------------------------------------------------------------------------------------


def _batches(connection: Connection, wanted: UsageFilter, actor: Actor) -> Generator[Sequence[Any]]:
    ids = visible_ids(connection, actor, wanted.projects, Action.EXPORT_USAGE, sample=wanted.sample)
    statement = matching(_in_order(connection), wanted, ids)
    with connection.execution_options(yield_per=_BATCH).execute(statement) as result:
        yield from result.partitions()


def _in_order(connection: Connection) -> Select[Any]:
    stored = [usage_events.c.get(column.stored, projects.c.slug) for column in EVENT_COLUMNS]
    event_id: Any = usage_events.c.event_id
    if connection.dialect.name == "postgresql":
        event_id = event_id.collate("C")  # by bytes, as SQLite does, whatever language the server speaks
    joined = select(*stored).join_from(usage_events, projects, projects.c.id == usage_events.c.project_id)
    return joined.order_by(usage_events.c.occurred_at, event_id, projects.c.slug)


def _add_events(done: Exported, rows: Sequence[Any]) -> None:
    columns = list(zip(*rows, strict=True))
    costs = list(zip(columns[_PLACE["source"]], columns[_PLACE["cost_usd"]], strict=True))
    done.rows += len(rows)
    done.platform_nano += sum(nano or 0 for source, nano in costs if source == "platform")
    done.byok_nano += sum(nano or 0 for source, nano in costs if source == "byok")
    done.unpriced_calls += sum(nano is None for _, nano in costs)
    for name in _TOKENS:
        done.tokens[name] += sum(count or 0 for count in columns[_PLACE[name]])


def _sink(format: str, out: Counted, *, raw: bool) -> Sink:  # noqa: A002
    if format == "csv":
        return CsvSink(out, raw=raw)
    from lib.usage.export_parquet import ParquetSink  # noqa: PLC0415 - loads pyarrow

    return ParquetSink(out)


class CsvSink:
    """Events as CSV: RFC 4180, UTF-8."""

    def __init__(self, out: Writable, *, raw: bool) -> None:
        self._out = out
        self._writers = cell_writers(raw=raw)
        _write_csv(out, [EVENT_HEADER])

    def write(self, rows: Sequence[Sequence[Any]]) -> None:
        """Write a batch."""
        cells = ([write(value) for write, value in zip(self._writers, row, strict=True)] for row in rows)
        _write_csv(self._out, cells)

    def close(self) -> None:
        """CSV has no end of its own."""


def _write_csv(out: Writable, rows: Iterable[Sequence[object]]) -> None:
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    out.write(text.getvalue().encode())


# --- the daily summary -----------------------------------------------------------------------------


def _write_days(rows: Iterable[DailyRow], out: Writable, done: Exported, *, raw: bool) -> None:
    safe = (lambda text: text) if raw else inert
    table: list[Sequence[object]] = [DAILY_HEADER]
    for row in rows:
        sums = row.totals
        tokens = [getattr(sums, name) for name in _TOKENS]
        names = [safe(row.project), row.source, safe(row.provider), safe(row.model)]
        known = sums.calls > sums.unpriced_calls
        cost = plain_usd(sums.total_nano if known else None)
        table.append([row.day.isoformat(), *names, sums.calls, *tokens, cost, sums.unpriced_calls])
        done.rows += 1
        done.platform_nano += sums.platform_nano
        done.byok_nano += sums.byok_nano
        done.unpriced_calls += sums.unpriced_calls
        done.tokens.update(dict(zip(_TOKENS, tokens, strict=True)))
    _write_csv(out, table)


# --- both ------------------------------------------------------------------------------------------


class Counted(io.RawIOBase):
    """Passes bytes on, counting and hashing them."""

    def __init__(self, out: IO[bytes]) -> None:
        self._out = out
        self._hash = hashlib.sha256()
        self.bytes = 0

    def writable(self) -> bool:
        """Writing is all it does."""
        return True

    def write(self, data: Any) -> int:
        """Pass ``data`` on; returns its length."""
        self._out.write(data)
        self._hash.update(data)
        written = memoryview(data).nbytes
        self.bytes += written
        return written

    @property
    def sha256(self) -> str:
        """Of all that was passed on so far, in hexadecimal digits."""
        return self._hash.hexdigest()


def _record(database: Database, done: Exported, actor: Actor) -> None:
    meta = done.meta()
    kept = {name: meta[name] for name in ("format", "filter", "zone", "rows", "sha256")}
    with database.write() as connection:
        subject = _only_project(connection, done.wanted.projects)
        audit.record(connection, database.now(connection), actor, Tag.USAGE_EXPORTED, subject, after=kept)


def _only_project(connection: Connection, slugs: Sequence[str]) -> Subject | None:
    if len(slugs) != 1:
        return None
    project_id = connection.execute(select(projects.c.id).where(projects.c.slug == slugs[0])).scalar_one()
    return Subject(project_id, slugs[0])
