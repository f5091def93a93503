"""Reading a file of usage rows, CSV or Parquet, into the texts of the event's columns, row by row.

A row that cannot be read is a problem with a line number, never the end of the reading.
"""

from __future__ import annotations

import csv
import io
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from operator import itemgetter
from typing import IO, Any

from lib.errors import BadInput
from lib.exchange.columns import EVENT_COLUMNS, EVENT_HEADER, NEEDED, Kind

_PARQUET = b"PAR1"
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")
_COUNTS = frozenset(column.name for column in EVENT_COLUMNS if column.kind is Kind.COUNT)
_LONGEST_LINE = 1_000_000
_BATCH = 10_000
_CHUNK = 128 * 1024

Line = tuple[int, Sequence[str] | str]
"""A line's number, and its texts in the order of the source's columns or why it could not be read."""


@dataclass(frozen=True)
class Source:
    """An opened file: its event columns in their order, whether its texts were made inert, its lines."""

    columns: tuple[str, ...]
    was_inert: bool
    lines: Iterator[Line]


@contextmanager
def opened(file: IO[bytes]) -> Iterator[Source]:
    """Open CSV (UTF-8, with or without byte-order mark) or Parquet, told apart by its first bytes.

    Raises:
        BadInput: it is neither, it is empty, or a column that is needed is missing.
    """
    start = _first_bytes(file, len(_PARQUET))
    buffered = io.BufferedReader(_Begun(start, file), _CHUNK)
    if start == _PARQUET:
        with tempfile.TemporaryFile() as copy:  # Parquet is read from its end, which a pipe does not have
            shutil.copyfileobj(buffered, copy)
            yield _parquet(copy)
    elif start[:2] in _UTF_16:
        raise BadInput("The file is UTF-16. Save it as CSV in UTF-8.")
    else:
        text = io.TextIOWrapper(buffered, encoding="utf-8-sig", errors="surrogateescape", newline="")
        try:
            yield _csv(text)
        finally:
            text.detach()


def _first_bytes(file: IO[bytes], length: int) -> bytes:
    """That many, however few of them a pipe gives at a time; fewer at the file's end."""
    start = b""
    while len(start) < length and (more := file.read(length - len(start))):
        start += more
    return start


class _Begun(io.RawIOBase):
    """A file of which the first bytes were read already."""

    def __init__(self, start: bytes, rest: IO[bytes]) -> None:
        self._start, self._rest = start, rest

    def readable(self) -> bool:
        """Reading is all it does."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill ``buffer``; 0 at the end."""
        given = self._start or self._rest.read(len(buffer))
        self._start = b""
        buffer[: len(given)] = given
        return len(given)


# --- CSV -------------------------------------------------------------------------------------------


def _csv(text: IO[str]) -> Source:
    lines = _Lines(text)
    reader = csv.reader(lines, strict=True)
    try:
        header = [name.strip() for name in next(filter(None, reader), [])]  # blank lines may come before it
    except csv.Error:
        raise BadInput("The first line cannot be read; it must name the columns.") from None
    columns = _event_columns(header)
    pick = itemgetter(*(header.index(name) for name in columns))
    return Source(columns, was_inert=True, lines=_csv_rows(reader, lines, len(header), pick))


def _csv_rows(reader: Any, lines: _Lines, width: int, pick: itemgetter[Any]) -> Iterator[Line]:
    while True:
        first = lines.number + 1
        try:
            for row in reader:
                if len(row) == width:
                    yield first, pick(row)
                elif row:
                    yield first, f"has {len(row)} fields; the header has {width}"
                first = lines.number + 1
            return
        except csv.Error as problem:
            yield first, _unreadable(str(problem), first, lines.number)


class _Lines:
    """The lines of a file, counted. One without end does not fill the memory: it is skipped and said."""

    def __init__(self, text: IO[str]) -> None:
        self._text = text
        self.number = 0

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = self._text.readline(_LONGEST_LINE)
        if not line:
            raise StopIteration
        self.number += 1
        if len(line) == _LONGEST_LINE and line[-1] not in "\r\n":
            while (rest := self._text.readline(_LONGEST_LINE)) and rest[-1] not in "\r\n":
                pass
            raise csv.Error("line too long")
        return line


def _unreadable(problem: str, first: int, last: int) -> str:
    if problem == "line too long":
        return f"is longer than {_LONGEST_LINE:,} characters"
    if "field limit" in problem:
        reason = f"has a field of more than {csv.field_size_limit():,} characters; is a quote not closed?"
    else:
        reason = "has quotes that do not pair up"
    return reason if first >= last else f"{reason} (up to line {last} nothing was read)"


# --- Parquet ---------------------------------------------------------------------------------------


def _parquet(file: IO[bytes]) -> Source:
    import pyarrow as pa  # noqa: PLC0415 - loaded only where it is needed
    from pyarrow import parquet  # noqa: PLC0415

    try:
        opened_file = parquet.ParquetFile(file)
        header = opened_file.schema_arrow.names
    except (pa.ArrowException, OSError):
        raise BadInput("The file begins like Parquet, but is damaged or not complete.") from None
    columns = _event_columns(header)
    return Source(columns, was_inert=False, lines=_parquet_rows(opened_file, columns))


def _parquet_rows(file: Any, columns: tuple[str, ...]) -> Iterator[Line]:
    import pyarrow as pa  # noqa: PLC0415

    number = 0
    try:
        for batch in file.iter_batches(batch_size=_BATCH, columns=list(columns)):
            for row in zip(*(_texts(batch.column(name), name) for name in columns), strict=True):
                number += 1
                yield number, row
    except (pa.ArrowException, OSError):
        raise BadInput(
            "The file is damaged, or has columns of a type that is no text, number or time."
        ) from None


def _texts(column: Any, name: str) -> list[str]:
    """A column as text, whatever its type: the same readers then judge CSV and Parquet."""
    import pyarrow as pa  # noqa: PLC0415

    if name in _COUNTS and pa.types.is_floating(column.type):
        column = column.cast(pa.float64())  # the text of a shorter one has fewer digits than its number
    texts = column.cast(pa.string()).fill_null("")
    try:
        found: list[str] = texts.to_pylist()
    except UnicodeDecodeError:  # of some row, as its reader will say
        found = [text.decode(errors="surrogateescape") for text in texts.cast(pa.binary()).to_pylist()]
    return found


# --- both ------------------------------------------------------------------------------------------


def _event_columns(header: Sequence[str]) -> tuple[str, ...]:
    """Those of the event's columns that the file has. Raises BadInput where needed ones are missing."""
    if not any(header):
        raise BadInput("The file is empty. Its first line must name the columns.")
    missing = [name for name in NEEDED if name not in header]
    if missing:
        raise BadInput(
            f"The file has no column {' and no column '.join(missing)}. "
            f"Its first line must name the columns, separated by commas; needed are {', '.join(NEEDED)}."
        )
    twice = next((name for name in EVENT_HEADER if header.count(name) > 1), None)
    if twice:
        raise BadInput(f"The file has the column {twice} twice.")
    return tuple(name for name in EVENT_HEADER if name in header)
