"""Taking usage out: events or the daily summary, complete, in one order, from one moment of the database.

Rows are read and written in batches; memory does not grow with them. What leaves is counted and hashed on
the way, so that its receiver can tell that it is whole.
"""

from __future__ import annotations

import hashlib
import io
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field, replace
from typing import IO, Any, Protocol

from sqlalchemy import Connection, select

from lib.access import audit
from lib.access.audit import Subject, Tag
from lib.access.denied_attempts import denials_logged
from lib.access.projects import visible_ids
from lib.access.roles import Action, Actor, require
from lib.clock import iso
from lib.db import Database
from lib.db.rollup_tables import TOKENS
from lib.db.tables import projects
from lib.errors import BadInput, Forbidden, ProjectUnknown, QodexError
from lib.exchange.columns import EVENT_COLUMNS, label_columns
from lib.exchange.csv_writer import EventsAsCsv
from lib.exchange.daily_summary import DaysAsCsv, single_days
from lib.exchange.event_slices import Chunk, Rows, TimeSlice, count_events, stream_chunks
from lib.exchange.prefetch import prefetch
from lib.exchange.sql_lines import Lines
from lib.pricing.amounts import plain_usd
from lib.reports.labels import values_of
from lib.reports.models import DailyRow, UsageFilter
from lib.usage.archived import require_events
from lib.usage.expiry import sweep

FORMATS = ("csv", "daily-csv", "parquet")
_BOM = b"\xef\xbb\xbf"


class ExportBroken(QodexError):
    """What was written is not what the database holds."""

    def __init__(self) -> None:
        super().__init__("The export was broken off: its rows and its sums do not agree. Tell an operator.")


@dataclass
class ExportResult:
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
    labels: tuple[str, ...] = ()
    """Names of the labels that have a column."""

    def add(self, source: str, nano: int, unpriced: int, tokens: Mapping[str, int]) -> None:
        """Count what was written of one source."""
        if source == "platform":
            self.platform_nano += nano
        else:
            self.byok_nano += nano
        self.unpriced_calls += unpriced
        for name in TOKENS:
            self.tokens[name] += tokens[name]

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
                **{name: self.tokens[name] for name in TOKENS},
            },
            "bytes": self.bytes,
            "sha256": self.sha256,
            **({"labels": list(self.labels)} if self.labels else {}),
        }


Progress = Callable[[int], object]


def export_usage(  # noqa: PLR0913 - each is an option of the command
    database: Database,
    wanted: UsageFilter,
    out: IO[bytes],
    *,
    actor: Actor,
    format: str = "csv",  # noqa: A002 - what the command line and the page call it
    raw: bool = False,
    bom: bool = False,
    labels: bool = False,
    progress: Callable[[int], None] | None = None,
) -> ExportResult:
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
        labels: one more column for each label that one of these projects ever had, with its value on that day.
        progress: called with the number of rows written so far.

    Raises:
        ProjectUnknown, Forbidden: the actor may not export one that ``wanted`` names, or may export none.
        UsageArchived: some of the events are not here any more.
    """
    if format not in FORMATS:
        raise BadInput(f"An export is one of {', '.join(FORMATS)}.")
    sweep(database)
    counted, told = HashingWriter(out), progress or _tell_nobody
    if bom and format != "parquet":
        counted.write(_BOM)
    with _refusals_logged(database, actor, wanted), database.read(seconds=0) as connection:
        allowed, ids = _allowed(connection, wanted, actor)
        names = tuple(values_of(connection, ids)) if labels else ()
        if format != "daily-csv":
            require_events(connection, wanted.since, ids)
        done = ExportResult(format, allowed, labels=names)
        if format == "daily-csv":
            days = single_days(connection, allowed, ids, names)
            _write_days(DaysAsCsv(counted, raw=raw, labels=names), days, done, told)
        else:
            writer = _event_writer(format, counted, raw=raw, labels=names)
            with counted.cut_off_by_errors():
                _write_events(writer, connection, ids, done, told)
    done.bytes, done.sha256 = counted.bytes, counted.sha256
    _record(database, done, actor)
    return done


def exportable(database: Database, wanted: UsageFilter, actor: Actor) -> tuple[str, ...]:
    """The projects whose usage it would be. Raises ProjectUnknown, Forbidden, as ``export_usage``."""
    with _refusals_logged(database, actor, wanted), database.read() as connection:
        return tuple(_allowed(connection, wanted, actor)[0].projects)


def _tell_nobody(_: int) -> None:
    pass


def _allowed(connection: Connection, wanted: UsageFilter, actor: Actor) -> tuple[UsageFilter, list[str]]:
    """The filter with its projects spelled out, and their ids."""
    ids = visible_ids(connection, actor, wanted.projects, Action.EXPORT_USAGE)
    if not ids:
        require(actor, Action.EXPORT_USAGE, None)
    known = select(projects.c.slug).where(projects.c.id.in_(ids)).order_by(projects.c.slug)
    return replace(wanted, projects=tuple(connection.execute(known).scalars())), ids


@contextmanager
def _refusals_logged(database: Database, actor: Actor, wanted: UsageFilter) -> Iterator[None]:
    """Naming a project that one may not know of is a refused attempt, too; the sentence tells no more."""
    slug = wanted.projects[0] if len(wanted.projects) == 1 else None
    try:
        with denials_logged(database, actor, "export usage", slug):
            try:
                yield
            except ProjectUnknown as unknown:
                raise Forbidden(unknown.sentence) from unknown
    except Forbidden as refused:
        if isinstance(refused.__cause__, ProjectUnknown):
            raise refused.__cause__ from None
        raise


# --- what is written -------------------------------------------------------------------------------


def _write_events(
    writer: EventWriter, connection: Connection, ids: Sequence[str], done: ExportResult, told: Progress
) -> None:
    expected = 0
    # The database reads on while Python writes what it has read.
    with closing(prefetch(_chunks(writer, connection, ids, done))) as found:
        for part in found:
            for each in part.sums:
                expected += each.rows
                done.add(each.source, each.nano, each.unpriced, dict(zip(TOKENS, each.tokens, strict=True)))
            if part.batch:
                done.rows += writer.write(part.batch)
                told(done.rows)
    # Slices may agree with their own sums and yet leave something out, or hold it twice.
    if not done.rows == expected == count_events(connection, done.wanted, ids):
        raise ExportBroken
    writer.close()


def _chunks(
    writer: EventWriter, connection: Connection, ids: Sequence[str], done: ExportResult
) -> Generator[Chunk]:
    columns = (*EVENT_COLUMNS, *label_columns(done.labels))
    return stream_chunks(connection, done.wanted, ids, writer.reads, columns)


def _write_days(
    writer: DaysAsCsv, found: Iterable[list[DailyRow]], done: ExportResult, told: Progress
) -> None:
    for rows in found:
        writer.write(rows)
        for row in rows:
            sums = row.totals
            done.add(
                row.source,
                sums.total_nano,
                sums.unpriced_calls,
                {name: getattr(sums, name) for name in TOKENS},
            )
        done.rows += len(rows)
        if rows:
            told(done.rows)


class EventWriter(Protocol):
    """One format of events."""

    @staticmethod
    def reads(events: TimeSlice) -> Iterator[Lines | Rows]:
        """What it takes of a slice."""
        ...

    def write(self, batch: Any) -> int: ...

    def close(self) -> None: ...


def _event_writer(
    format: str,  # noqa: A002
    out: HashingWriter,
    *,
    raw: bool,
    labels: Sequence[str],
) -> EventWriter:
    columns = (*EVENT_COLUMNS, *label_columns(labels))
    if format == "csv":
        return EventsAsCsv(out, raw=raw, columns=columns)
    from lib.exchange.parquet_writer import EventsAsParquet  # noqa: PLC0415 - loads pyarrow

    return EventsAsParquet(out, columns)


class HashingWriter(io.RawIOBase):
    """Passes bytes on, counting and hashing them."""

    def __init__(self, out: IO[bytes]) -> None:
        self._out = out
        self._hash = hashlib.sha256()
        self._cut = False
        self.bytes = 0

    @contextmanager
    def cut_off_by_errors(self) -> Iterator[None]:
        """After an error nothing more is passed on: a Parquet writer ends its file whenever it is forgotten."""
        try:
            yield
        except BaseException:
            self._cut = True
            raise

    def writable(self) -> bool:
        """Writing is all it does."""
        return True

    def write(self, data: Any) -> int:
        """Pass ``data`` on; returns its length."""
        if not self._cut:
            self._out.write(data)
        self._hash.update(data)
        written = memoryview(data).nbytes
        self.bytes += written
        return written

    @property
    def sha256(self) -> str:
        """SHA-256 of all that was passed on so far, in hexadecimal digits."""
        return self._hash.hexdigest()


def _record(database: Database, done: ExportResult, actor: Actor) -> None:
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
