"""Taking old months of usage events out of the database, into Parquet files that are verified first.

One month of UTC after the other, and of each: the file is written from one moment of the database and read back (rows,
sums, SHA-256); it is recorded, from when on nothing that counts events expects them here; then exactly the calls that
it holds are deleted, some thousands at a time, or dropped at once where the month is a table of its own
(lib.exchange.archived_part). Whatever interrupts this, the next run goes on from there.

Roll-ups, accounts and runs stay as they are. So does the last call of each project that counts against its caps: the
windows begin with its running total. It goes into the file of a later archive, when another one is the last.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Row, bindparam, delete, func, insert, select, update

from lib.access import audit
from lib.access.audit import Tag
from lib.access.denied_attempts import denials_logged
from lib.access.roles import Action, Actor, require
from lib.clock import DAY, Micros, from_micros, month_after, month_of
from lib.db import Database
from lib.db.tables import projects, usage_archives, usage_events
from lib.errors import BadInput, QodexError
from lib.exchange.archive_file import ROWS, Sums, alone_in, batches, open_new, sha256_of, sums_in
from lib.exchange.archived_part import drop_month
from lib.exchange.columns import EVENT_COLUMNS, Column, ColumnKind
from lib.exchange.export import HashingWriter
from lib.exchange.sql_lines import stored
from lib.usage import rollups
from lib.usage.archived import archived_until

if TYPE_CHECKING:
    pass

KEPT: Micros = 31 * DAY
"""What is younger stays: caps and pages ask for single calls of it."""

ARCHIVED_COLUMNS = (
    *EVENT_COLUMNS,
    Column("run_kind", ColumnKind.TEXT, "run_kind", 20),
    Column("http_status", ColumnKind.COUNT, "http_status"),
    Column("error_code", ColumnKind.TEXT, "error_code", 100),
    Column("error_type", ColumnKind.TEXT, "error_type", 100),
    Column("error_message", ColumnKind.TEXT, "error_message", 600),
    Column("sequence", ColumnKind.COUNT, "sequence"),
    Column("counted_after_nano", ColumnKind.COUNT, "counted_after_nano"),
    Column("unknown_after_nano", ColumnKind.COUNT, "unknown_after_nano"),
)
"""All that is stored of an event, under the names of exports where they have one."""

_DELETED_AT_ONCE = 1_000
_PLACES = {column.name: place for place, column in enumerate(ARCHIVED_COLUMNS)}
_MONTHS = select(func.min(usage_events.c.occurred_at)).where(
    usage_events.c.project_id == bindparam("project"), usage_events.c.occurred_at >= bindparam("since")
)
_OF_PROJECT = (
    select(*(stored(column) for column in ARCHIVED_COLUMNS))
    .join_from(usage_events, projects, projects.c.id == usage_events.c.project_id)
    .where(usage_events.c.project_id == bindparam("project"), usage_events.c.occurred_at < bindparam("until"))
    .order_by(usage_events.c.occurred_at, usage_events.c.event_id)
    .execution_options(yield_per=ROWS)
)
_LAST_COUNTED = (
    select(usage_events.c.event_id)
    .where(
        usage_events.c.project_id == bindparam("project"),
        usage_events.c.sequence.is_not(None),
        usage_events.c.occurred_at < bindparam("until"),
    )
    .order_by(usage_events.c.occurred_at.desc(), usage_events.c.sequence.desc())
    .limit(1)
)
_PROJECTS = select(projects.c.id, projects.c.slug).order_by(projects.c.slug)
_DELETE = delete(usage_events).where(
    usage_events.c.project_id == bindparam("project"),
    usage_events.c.event_id.in_(bindparam("events", expanding=True)),
)
_UNFINISHED = select(usage_archives).where(usage_archives.c.deleted_at.is_(None))
_DONE = update(usage_archives).where(usage_archives.c.month_at == bindparam("month"))


class ArchiveBroken(QodexError):
    """A file of an archive is not what it should be. What it was to hold, or still is to be deleted, is in the database."""


@dataclass(frozen=True)
class ArchivedMonth:
    """One month that is in a file now."""

    month: str
    file: str
    rows: int
    platform_nano: int
    byok_nano: int
    sha256: str


Progress = Callable[[ArchivedMonth], object]


class Archive:
    """Archives into one folder. Administrators only.

    Args:
        database: where the events are.
        folder: where the files are written, and are looked for where deleting was interrupted.
        actor: who archives.
    """

    def __init__(self, database: Database, folder: Path, *, actor: Actor) -> None:
        self._database, self._folder, self._actor = database, folder, actor

    def run(self, before: Micros, progress: Progress | None = None) -> list[ArchivedMonth]:
        """Archive every month that ended by ``before``; months that were archived before are left alone.

        Raises:
            BadInput: ``before`` is not the beginning of a month of UTC, or too late; or the folder cannot be used.
            ArchiveBroken: a file is not what it should be. What it was to hold is still in the database.
        """
        with denials_logged(self._database, self._actor, "archive usage"):
            require(self._actor, Action.IMPORT_USAGE, None)
        self._require_usable(before)
        done = []
        with alone_in(self._folder):
            for month in self._months(before):
                done.append(month)
                if progress:
                    progress(month)
        return done

    def _months(self, before: Micros) -> Iterator[ArchivedMonth]:
        for row in self._unfinished():
            yield self._finish(row)
        while (month_at := self._next()) is not None and month_at < before:
            self._write(month_at, before)
            for row in self._unfinished():
                yield self._finish(row)

    def _require_usable(self, before: Micros) -> None:
        with self._database.read() as connection:
            now = self._database.now(connection)
        latest = month_of(now - KEPT)
        if before != month_of(before) or before > latest:
            raise BadInput(
                f"Whole months of UTC are archived: name the first day of one, {from_micros(latest):%Y-%m-%d} at the latest. "
                "Younger calls stay, because caps and pages ask for them."
            )
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as problem:
            raise BadInput(f"The folder {self._folder} cannot be made ({problem.strerror}).") from None

    def _unfinished(self) -> list[Row[Any]]:
        with self._database.read() as connection:
            return list(connection.execute(_UNFINISHED.order_by(usage_archives.c.month_at)).all())

    def _next(self) -> Micros | None:
        """The oldest month that has events and was not archived."""
        with self._database.read(seconds=0) as connection:
            since = archived_until(connection) or 0
            found = [
                connection.execute(_MONTHS, {"project": row.id, "since": since}).scalar()
                for row in connection.execute(_PROJECTS).all()
            ]
        at = min((int(moment) for moment in found if moment is not None), default=None)
        return None if at is None else month_of(at)

    # --- the file ----------------------------------------------------------------------------------

    def _write(self, month_at: Micros, before: Micros) -> None:
        """Write a month's file, verify it, and record it."""
        path = self._folder / f"usage-{from_micros(month_at):%Y-%m}.parquet"
        part = path.with_suffix(".part")
        try:
            sent = self._written(part, month_after(month_at), before)
            sha256 = _require_same(part, sent)
            _put_in_place(part, path, sha256)
        except OSError as problem:
            raise BadInput(
                f"{path.name} cannot be written ({problem.strerror}). Nothing was deleted."
            ) from None
        finally:
            with suppress(OSError):
                part.unlink()
        self._record(month_at, path.name, sha256, sent)

    def _written(self, part: Path, until: Micros, before: Micros) -> Sums:
        from lib.exchange.parquet_writer import EventsAsParquet  # noqa: PLC0415 - loads pyarrow

        sent = Sums()
        with (
            open_new(part) as file,
            self._database.read(seconds=0) as connection,
            (out := HashingWriter(file)).cut_off_by_errors(),
        ):
            writer = EventsAsParquet(out, ARCHIVED_COLUMNS)
            for row in connection.execute(_PROJECTS).all():
                kept = connection.execute(_LAST_COUNTED, {"project": row.id, "until": before}).scalar()
                for rows in _partitions(connection, row.id, until, kept):
                    writer.write(rows)
                    sent.add({name: [each[place] for each in rows] for name, place in _PLACES.items()})
            writer.close()
            os.fsync(file.fileno())
        return sent

    def _record(self, month_at: Micros, name: str, sha256: str, sent: Sums) -> None:
        """From here on these calls are archived: exports and imports know, and what compares events leaves them out."""
        with self._database.write() as connection:
            rollups.lock(
                connection
            )  # an import that is about to end is in the file, or sees this and is refused
            now = self._database.now(connection)
            told = {
                "file": name,
                "sha256": sha256,
                "rows": sent.rows,
                "platform_nano": sent.nano["platform"],
                "byok_nano": sent.nano["byok"],
            }
            connection.execute(insert(usage_archives), {"month_at": month_at, "archived_at": now, **told})
            audit.record(connection, now, self._actor, Tag.USAGE_ARCHIVED, after=told)

    # --- deleting ----------------------------------------------------------------------------------

    def _finish(self, row: Row[Any]) -> ArchivedMonth:
        """Delete the calls that a month's file holds, as far as they are still there."""
        path = self._folder / row.file
        if not path.is_file() or sha256_of(path) != row.sha256:
            raise ArchiveBroken(
                f"{row.file} is not in {self._folder} as it was written. Its calls are being deleted, and some are still in the "
                "database: put the file back, and run this again."
            )
        with self._database.read() as connection:
            ids = {slug: project_id for project_id, slug in connection.execute(_PROJECTS)}
        dropped = drop_month(self._database, row.month_at, path, ids)
        for slug, events in _ids_in(path, before=row.month_at if dropped else None):
            with self._database.write() as connection:
                connection.execute(_DELETE, {"project": ids[slug], "events": events})
        with self._database.write() as connection:
            now = self._database.now(connection)
            connection.execute(_DONE.values(deleted_at=now), {"month": row.month_at})
        month = f"{from_micros(row.month_at):%Y-%m}"
        return ArchivedMonth(month, str(path), row.rows, row.platform_nano, row.byok_nano, row.sha256)


def _partitions(
    connection: Connection, project_id: str, until: Micros, kept: object
) -> Iterator[list[Row[Any]]]:
    place = _PLACES["event_id"]
    with connection.execute(_OF_PROJECT, {"project": project_id, "until": until}) as found:
        for rows in found.partitions():
            if left := [row for row in rows if row[place] != kept]:
                yield left


def _require_same(path: Path, sent: Sums) -> str:
    """Read the file back; its SHA-256. Raises ArchiveBroken."""
    if sums_in(path) != sent:
        raise ArchiveBroken(
            "What was written is not what the database holds. Nothing was deleted; try again."
        )
    return sha256_of(path)


def _ids_in(path: Path, *, before: Micros | None = None) -> Iterator[tuple[str, list[str]]]:
    """The calls that a file holds, or those of before: the project, and some of their ids. Its rows are in the order of projects."""
    until = None if before is None else from_micros(before)
    for batch in batches(path, ["project", "event_id", "occurred_at"]):
        columns = batch.to_pydict()
        rows = zip(columns["project"], columns["event_id"], columns["occurred_at"], strict=True)
        for slug, found in groupby(rows, itemgetter(0)):
            ids = [event_id for _, event_id, moment in found if until is None or moment < until]
            for start in range(0, len(ids), _DELETED_AT_ONCE):
                yield slug, ids[start : start + _DELETED_AT_ONCE]


def _put_in_place(part: Path, path: Path, sha256: str) -> None:
    """The file gets its name, which must survive a power cut, too: the calls will be deleted."""
    if path.exists() and sha256_of(path) != sha256:
        raise BadInput(
            f"{path} is there already, and holds something else. Move it away. Nothing was deleted."
        )
    part.replace(path)
    descriptor = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
