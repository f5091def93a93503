"""Bringing usage from elsewhere in: checked row by row, then written in one transaction, or not at all.

A file is read once, into a private temporary database, before anything of ours is touched; so a large
file keeps no transaction open while it is read, and no memory beyond one batch.

What a row may leave out: ``source`` is byok (an import never counts against a cap, as BYOK does not),
``provider`` the default one (lib.providers), ``status`` ok, ``endpoint`` empty. A missing cost is priced as of its time where the
call is ok and its tokens are known; an error costs nothing; all else stays unknown. In a file with every
column of an export, a row with ``event_id`` and ``status`` is one of ours: its empty cost stays unknown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any

from sqlalchemy import select

from lib.access import audit
from lib.access.audit import Tag
from lib.access.denied_attempts import denials_logged
from lib.access.roles import Action, Actor, require
from lib.clock import Micros
from lib.db import Database
from lib.db.tables import projects
from lib.errors import BadInput, DatabaseConflict, ImportRejected
from lib.exchange.files.file_reader import Line, Source, opened
from lib.exchange.imports.import_result import ImportResult
from lib.exchange.imports.import_rollups import add_imported
from lib.exchange.imports.imported_files import has_former_ids, remember
from lib.exchange.imports.row_reader import BadRow, RowReader
from lib.exchange.imports.row_writer import write_rows
from lib.exchange.imports.staging import StagedRows
from lib.pricing.prices import PriceBook
from lib.usage.archived import archived_until

_BATCH = 2_000


@dataclass(frozen=True)
class ImportedFile:
    """A file as the audit log names it, and how its rows are stored.

    ``stored`` are the columns that they have; ``former``: rows of before schema 0007 have to be recognised;
    ``archived``: no row is of before that.
    """

    name: str
    sha256: str
    stored: Sequence[str]
    former: bool
    archived: Micros | None


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
    with denials_logged(database, actor, "import usage"):
        require(actor, Action.IMPORT_USAGE, None)
    with database.read() as connection:
        now, former = database.now(connection), has_former_ids(connection)
        archived = archived_until(connection)
        found = connection.execute(select(projects.c.slug, projects.c.id)).all()
    ids = {row.slug: row.id for row in found}
    with StagedRows(former=former) as staged:
        with opened(file) as source:
            reader = RowReader(source, prices, ids, now, former=former, earliest=archived)
            result = _read(source, reader, staged, progress)
            result.may_be_former = former
        if result.skipped and not skip_bad:
            raise ImportRejected(_refusal(result), result.bad)
        slugs = {project_id: slug for slug, project_id in ids.items()}
        result.projects = sorted(slugs[project_id] for project_id in staged.project_ids)
        whole = ImportedFile(name, source.read.sha256, reader.stored, former, archived)
        _write(database, staged, result, whole, actor)
    return result


def _read(
    source: Source, reader: RowReader, staged: StagedRows, progress: Callable[[int], None] | None
) -> ImportResult:
    result = ImportResult()
    _read_rows(source.lines, reader, staged, result, progress)
    result.unused_columns = list(source.header.unused)
    result.unpriced, result.rounded = reader.unpriced, reader.rounded
    result.cost_unknown_for = reader.unread.rows
    result.summed_rows, result.summed_requests = reader.unread.summed_rows, reader.unread.summed_requests
    result.is_certain = not staged.from_content
    result.contradictory = staged.count_contradictory()
    if progress:
        progress(result.rows)
    return result


def _read_rows(
    lines: Iterator[Line],
    reader: RowReader,
    staged: StagedRows,
    result: ImportResult,
    progress: Callable[[int], None] | None,
) -> None:
    good, from_content = list[tuple[Any, ...]](), list[int]()
    for line, texts in lines:
        result.rows += 1
        if progress and result.rows % _BATCH == 0:
            progress(result.rows)
        if reader.is_empty(texts):
            result.passed_over += 1
            continue
        try:
            row, is_from_content = reader.read(texts)
        except BadRow as problem:
            result.note(line, str(problem))
            continue
        if is_from_content:
            from_content.append(len(good))
        good.append(row)
        if len(good) == _BATCH:
            staged.add(good, from_content)
            good, from_content = [], []
    staged.add(good, from_content)


def _refusal(result: ImportResult) -> str:
    rows = f"{result.skipped:,} of {result.rows:,} rows {'is' if result.skipped == 1 else 'are'} bad"
    return f"{rows}, so nothing was imported. Mend the file, or leave bad rows out."


# --- writing ---------------------------------------------------------------------------------------


def _write(
    database: Database, staged: StagedRows, result: ImportResult, file: ImportedFile, actor: Actor
) -> None:
    try:
        with database.write(seconds=0) as connection:
            result.added = add_imported(
                connection, write_rows(connection, staged, file.stored, former=file.former)
            )
            # Here, where archiving and this wait for each other.
            if archived_until(connection) != file.archived:
                raise BadInput("Months were archived meanwhile. Nothing was imported; try again.")
            result.already_there = result.rows - result.passed_over - result.skipped - result.added
            now = database.now(connection)
            result.is_new_file = remember(connection, file.sha256, now)
            audit.record(connection, now, actor, Tag.USAGE_IMPORTED, after=_audited(result, file))
    except DatabaseConflict:
        raise BadInput(
            "A project of the file was removed meanwhile. Nothing was imported; try again."
        ) from None


def _audited(result: ImportResult, file: ImportedFile) -> Mapping[str, object]:
    return {
        "file": file.name[:200],
        "sha256": file.sha256,
        "projects": result.projects,
        "rows": result.rows,
        "added": result.added,
        "already_there": result.already_there,
        "skipped": result.skipped,
    }
