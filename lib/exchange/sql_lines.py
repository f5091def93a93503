"""Events as lines that the database itself writes, cell by cell: what each engine is asked for.

Python then handles one object for thousands of rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, String, func, literal_column

from lib.db.tables import projects, usage_events
from lib.exchange.columns import EVENT_COLUMNS, Column, ColumnKind
from lib.reports.labels import value_at

BETWEEN, END = "\x1f", "\n"
"""Stand between two cells, where hardly any text holds them, and after each line."""


@dataclass(frozen=True)
class Lines:
    """Rows as CSV in UTF-8, but with BETWEEN for commas, and with quotes only where a cell needs them for that."""

    text: bytes


@dataclass(frozen=True)
class LineForm:
    """What stands in the cells: for each engine and kind the SQL that writes one.

    ``sqlite_empty`` writes a text that may be NULL, where NULL and an empty text are to be told apart: SQLite writes
    nothing for either.
    """

    sqlite: Mapping[ColumnKind, str]
    postgresql: Mapping[ColumnKind, str]
    sqlite_empty: str | None = None


# NULL comes out as nothing in all of them. Amounts are never below 0: the table sees to it.
_SQLITE = {
    ColumnKind.TEXT: "{0}",
    ColumnKind.COUNT: "{0}",
    ColumnKind.TIME: "strftime('%Y-%m-%dT%H:%M:%S', {0} / 1000000, 'unixepoch')"
    " || CASE WHEN {0} % 1000000 = 0 THEN 'Z' ELSE printf('.%06dZ', {0} % 1000000) END",
    # Most amounts end at the last of nine places, most prices at one of the first: only the rest is worth trimming.
    ColumnKind.USD: "CASE WHEN {0} IS NULL THEN NULL"
    " WHEN {0} % 10 THEN printf('%d.%09d', {0} / 1000000000, {0} % 1000000000)"
    " WHEN {0} % 1000000000 = 0 THEN {0} / 1000000000"
    " WHEN {0} % 100000000 = 0 THEN printf('%d.%d', {0} / 1000000000, {0} / 100000000 % 10)"
    " WHEN {0} % 10000000 = 0 THEN printf('%d.%02d', {0} / 1000000000, {0} / 10000000 % 100)"
    " WHEN {0} % 1000000 = 0 THEN printf('%d.%03d', {0} / 1000000000, {0} / 1000000 % 1000)"
    " ELSE rtrim(printf('%d.%09d', {0} / 1000000000, {0} % 1000000000), '0') END",
}
# to_json writes ISO 8601 whatever the session's DateStyle is, in half the time of to_char.
_POSTGRES = {
    ColumnKind.TEXT: "{0}",
    ColumnKind.COUNT: "{0}",
    ColumnKind.TIME: "btrim(to_json(timestamp 'epoch' + {0} / 1000000 * interval '1 second')::text, '\"')"
    " || CASE WHEN {0} % 1000000 = 0 THEN 'Z' ELSE '.' || lpad(({0} % 1000000)::text, 6, '0') || 'Z' END",
    # The longer a number, the longer it takes to trim, and of nine places that end in a digit there is nothing to trim.
    ColumnKind.USD: "CASE WHEN {0} % 10 <> 0 THEN {0} * 0.000000001"
    " WHEN {0} % 10000000 = 0 THEN trim_scale({0} / 10000000 * 0.01)"
    " ELSE trim_scale({0} * 0.000000001) END",
}
_AS_STORED = dict.fromkeys(ColumnKind, "{0}")
AS_IN_CSV = LineForm(_SQLITE, _POSTGRES)
"""Each cell as a CSV file has it."""
# An empty text ends the line too early, so that ``is_whole`` finds it.
AS_STORED = LineForm(_AS_STORED, _AS_STORED, "CASE WHEN {0} = '' THEN char(13) ELSE {0} END")
"""Whole numbers: microseconds and nano-USD. NULL is nothing; of PostgreSQL an empty text is ``\"\"``."""
_OFTEN_EMPTY = "endpoint"  # of imports; COPY would write "" for it, which is right, but slow to read


def stored(column: Column) -> ColumnElement[Any]:
    """The column of the table that a column of the file is made from, or the project's label on that day."""
    if column.label:
        return func.nullif(_label(column), "")
    return usage_events.c.get(column.stored, projects.c.slug)


def is_nullable(column: Column) -> bool:
    """Whether a column of the file may be unknown, and not only empty."""
    return bool(column.label) or bool(usage_events.c.get(column.stored, projects.c.slug).nullable)


def _label(column: Column) -> ColumnElement[str]:
    return value_at(usage_events.c.project_id, column.label, usage_events.c.occurred_at)


def sqlite_line(form: LineForm, columns: Sequence[Column] = EVENT_COLUMNS) -> ColumnElement[str]:
    """A whole line without its end. No cell is quoted: that is for its reader to find out."""
    plain = [column for column in columns if not column.label]
    marks = BETWEEN.join(["%s"] * len(plain))
    cells = [_sqlite_cell(column, form) for column in plain]
    line: ColumnElement[str] = func.printf(literal_column(f"'{marks}'"), *cells, type_=String)
    for column in columns[len(plain) :]:  # joined to it, because a function takes 100 arguments at most
        line = line.concat(BETWEEN).concat(_label(column))
    return line.label("line")


def _sqlite_cell(column: Column, form: LineForm) -> ColumnElement[Any]:
    if form.sqlite_empty and column.kind is ColumnKind.TEXT and is_nullable(column):
        return literal_column(form.sqlite_empty.format(stored(column)))
    return _cell(column, form.sqlite)


def postgres_cells(form: LineForm, columns: Sequence[Column] = EVENT_COLUMNS) -> list[ColumnElement[Any]]:
    """The cells of a line, for COPY."""
    cells = {
        column.name: stored(column) if column.label else _cell(column, form.postgresql) for column in columns
    }
    cells[_OFTEN_EMPTY] = func.nullif(cells[_OFTEN_EMPTY], "")
    return [cell.label(name) for name, cell in cells.items()]


def is_whole(text: str, rows: int, cells: int = len(EVENT_COLUMNS)) -> bool:
    """Whether ``text`` is ``rows`` lines of ``sqlite_line``, each of so many cells, that need no quotes."""
    return (
        text.count(BETWEEN) == rows * (cells - 1)
        and text.count(END) == rows - 1
        and '"' not in text
        and "\r" not in text
    )


def _cell(column: Column, forms: Mapping[ColumnKind, str]) -> ColumnElement[Any]:
    return literal_column(forms[column.kind].format(stored(column)))
