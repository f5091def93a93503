"""Bringing usage from elsewhere in: checked row by row, then written in one transaction, or not at all.

A file is read once, into a private temporary database, before anything of ours is touched; so a large
file keeps no transaction open while it is read, and no memory beyond one batch.

What a row may leave out: ``source`` is byok (an import never counts against a cap, as BYOK does not),
``provider`` openai, ``status`` ok, ``endpoint`` empty. A missing cost is priced as of its time where the
call is ok and its tokens are known; an error costs nothing; all else stays unknown. In a file with every
column of an export, a row with ``event_id`` and ``status`` is one of ours: its empty cost stays unknown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO, Any

from sqlalchemy import Connection, select

from lib.access import audit
from lib.access.audit import Tag
from lib.access.refusals import refusals_logged
from lib.access.roles import Action, Actor, require
from lib.db import AnyRow, Database
from lib.db.tables import projects
from lib.errors import BadInput, DatabaseConflict, DatabaseUnavailable, ImportRejected
from lib.exchange.columns import EVENT_COLUMNS
from lib.exchange.file_reader import opened
from lib.exchange.import_rollups import SUMMED, add_imported
from lib.exchange.row_reader import BadRow, RowReader
from lib.exchange.staging import Spool
from lib.pricing.prices import PriceBook

_BATCH = 2_000
_BAD_KEPT = 1_000
_STORED = ("project_id", *(column.stored for column in EVENT_COLUMNS if column.name != "project"))
_NAMES = ", ".join(_STORED)
_INTO = f"INSERT INTO usage_events ({_NAMES}, imported)"
_UNLESS_THERE = "ON CONFLICT (project_id, event_id) DO NOTHING"
_FROM_VALUES = f"{_INTO} VALUES ({', '.join('?' * len(_STORED))}, true) {_UNLESS_THERE}"
_SELECT = f"SELECT {_NAMES}"
_STAGE = f"CREATE TEMP TABLE imported_rows ON COMMIT DROP AS {_SELECT} FROM usage_events LIMIT 0"
_COPY = f"COPY imported_rows ({_NAMES}) FROM STDIN"
# In one order, so that two imports at once wait for each other instead of both.
_FROM_STAGE = f"{_INTO} {_SELECT}, true FROM imported_rows ORDER BY 1, 2 {_UNLESS_THERE}"
_SUMMED_FROM_STAGE = f"WITH added AS ({_FROM_STAGE} RETURNING *) {SUMMED.format(rows='added')}"
_SUMMED_AFTER = SUMMED.format(rows="usage_events WHERE rowid > ?")


@dataclass
class ImportResult:
    """What an import did.

    ``unpriced`` rows are good, but nobody knows their cost. ``bad`` holds (line number, reason) of the
    first thousand bad rows, ``skipped`` counts all of them.
    """

    rows: int = 0
    added: int = 0
    already_there: int = 0
    skipped: int = 0
    unpriced: int = 0
    bad: list[tuple[int, str]] = field(default_factory=list)
    projects: list[str] = field(default_factory=list)

    def note(self, line: int, reason: str) -> None:
        """Count a bad row."""
        self.skipped += 1
        if len(self.bad) < _BAD_KEPT:
            self.bad.append((line, reason))


def import_usage(
    database: Database,
    prices: PriceBook,
    file: IO[bytes],
    *,
    name: str,
    actor: Actor,
    skip_bad: bool = False,
    progress: Callable[[int], None] | None = None,
) -> ImportResult:
    """Add the rows of a CSV or Parquet file that are not there yet. Importing it again adds nothing.

    Args:
        database: where the rows go.
        prices: for rows that name no cost.
        file: opened for reading bytes; a pipe will do.
        name: what the audit log calls it.
        actor: who imports.
        skip_bad: leave bad rows out instead of refusing the whole file.
        progress: called with the number of rows read so far.

    Raises:
        ImportRejected: there are bad rows; nothing went in.
        BadInput: the file is no CSV or Parquet with the columns that are needed.
        Forbidden: only administrators import.
    """
    with refusals_logged(database, actor, "import usage"):
        require(actor, Action.IMPORT_USAGE, None)
    with database.read() as connection:
        now = database.now(connection)
        found = connection.execute(select(projects.c.slug, projects.c.id, projects.c.sample)).all()
    ids = {row.slug: row.id for row in found if not row.sample}
    samples = frozenset(row.slug for row in found if row.sample)
    with Spool() as spool:
        with opened(file) as source:
            result = _read(
                source.lines, RowReader(source, prices, ids, now, samples=samples), spool, progress
            )
        if result.skipped and not skip_bad:
            raise ImportRejected(_refusal(result), result.bad)
        slugs = {project_id: slug for slug, project_id in ids.items()}
        result.projects = sorted(slugs[project_id] for project_id in spool.project_ids)
        _write(database, spool, result, name, actor)
    return result


def _read(
    lines: Iterator[Any], reader: RowReader, spool: Spool, progress: Callable[[int], None] | None
) -> ImportResult:
    result, good = ImportResult(), list[tuple[Any, ...]]()
    from_content: list[int] = []
    for line, texts in lines:
        result.rows += 1
        if progress and result.rows % _BATCH == 0:
            progress(result.rows)
        try:
            row, is_from_content = reader.read(texts)
        except BadRow as problem:
            result.note(line, str(problem))
            continue
        if is_from_content:
            from_content.append(len(good))
        good.append(row)
        if len(good) == _BATCH:
            spool.add(good, from_content)
            good, from_content = [], []
    spool.add(good, from_content)
    result.unpriced = reader.unpriced
    if progress:
        progress(result.rows)
    return result


def _refusal(result: ImportResult) -> str:
    rows = f"{result.skipped:,} of {result.rows:,} rows {'is' if result.skipped == 1 else 'are'} bad"
    return f"{rows}, so nothing was imported. Mend the file, or leave bad rows out."


# --- writing ---------------------------------------------------------------------------------------


def _write(database: Database, spool: Spool, result: ImportResult, name: str, actor: Actor) -> None:
    try:
        with database.write() as connection:
            insert = _insert if database.is_sqlite else _copy
            result.added = add_imported(connection, insert(connection, spool.batches()))
            result.already_there = result.rows - result.skipped - result.added
            now = database.now(connection)
            audit.record(connection, now, actor, Tag.USAGE_IMPORTED, after=_audited(result, name))
    except DatabaseConflict:
        raise BadInput(
            "A project of the file was removed meanwhile. Nothing was imported; try again."
        ) from None


def _audited(result: ImportResult, name: str) -> Mapping[str, object]:
    return {
        "file": name[:200],
        "projects": result.projects,
        "rows": result.rows,
        "added": result.added,
        "already_there": result.already_there,
        "skipped": result.skipped,
    }


def _insert(connection: Connection, batches: Iterator[list[tuple[Any, ...]]]) -> Sequence[AnyRow]:
    """SQLite: new rows get row ids above all earlier ones. Returns their sums."""
    before = connection.exec_driver_sql("SELECT coalesce(max(rowid), 0) FROM usage_events").scalar_one()
    for batch in batches:
        if batch:
            connection.exec_driver_sql(_FROM_VALUES, batch)
    return connection.exec_driver_sql(_SUMMED_AFTER, (before,)).all()


def _copy(connection: Connection, batches: Iterator[list[tuple[Any, ...]]]) -> Sequence[AnyRow]:
    """PostgreSQL: COPY into a table of this transaction, then take what is not there yet. Returns its sums."""
    connection.exec_driver_sql(_STAGE)
    driver: Any = connection.connection.dbapi_connection
    try:
        with driver.cursor() as cursor, cursor.copy(_COPY) as copy:
            for batch in batches:
                for row in batch:
                    copy.write_row(row)
    except connection.dialect.loaded_dbapi.Error as problem:
        raise DatabaseUnavailable("The database did not take the rows. Nothing was imported.") from problem
    return connection.exec_driver_sql(_SUMMED_FROM_STAGE).all()
