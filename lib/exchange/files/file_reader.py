"""Reading a file of usage rows, CSV or Parquet, into the texts of the event's columns, row by row.

A row that cannot be read is a problem with a line number, never the end of the reading.
"""

from __future__ import annotations

import csv
import hashlib
import io
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from operator import itemgetter
from typing import IO, Any

from lib.errors import BadInput
from lib.exchange.columns import EVENT_COLUMNS, EVENT_HEADER, ColumnKind
from lib.exchange.files.file_kinds import LONGEST_START, require_needed, require_table
from lib.exchange.files.price_conditions import changes_price

_PARQUET = b"PAR1"
_COUNTS = frozenset(column.name for column in EVENT_COLUMNS if column.kind is ColumnKind.COUNT)
_LONGEST_LINE = 1_000_000
_BATCH = 10_000
_CHUNK = 128 * 1024

Line = tuple[int, Sequence[str] | str]
"""A line's number, and its texts (of ``FileHeader.picked``) or why it could not be read."""


@dataclass(frozen=True)
class FileHeader:
    """What the columns of a file are.

    ``columns`` are those of the event, by their names there; ``conditions`` are others that change a price, and
    ``unused`` are all the others, as the file writes them. ``picked`` are the places of the first two in the file.
    """

    columns: tuple[str, ...]
    conditions: tuple[str, ...]
    unused: tuple[str, ...]
    picked: tuple[int, ...]


@dataclass(frozen=True)
class Source:
    """An opened file: its header, whether its formulas are escaped, its lines; ``read`` is what was read so far."""

    header: FileHeader
    formulas_escaped: bool
    lines: Iterator[Line]
    read: Hashed


@contextmanager
def opened(file: IO[bytes]) -> Iterator[Source]:
    """Open CSV (UTF-8, with or without byte-order mark) or Parquet, told apart by its first bytes.

    Raises:
        BadInput: it is neither, it is empty, or a column that is needed is missing.
    """
    start = _first_bytes(file, LONGEST_START)
    hashed = Hashed(start, file)
    buffered = io.BufferedReader(hashed, _CHUNK)
    if start.startswith(_PARQUET):
        with tempfile.TemporaryFile() as copy:  # Parquet is read from its end, which a pipe does not have
            shutil.copyfileobj(buffered, copy)
            yield _parquet(copy, hashed)
    else:
        require_table(start)
        text = io.TextIOWrapper(buffered, encoding="utf-8-sig", errors="surrogateescape", newline="")
        try:
            yield _csv(text, hashed)
        finally:
            text.detach()


def _first_bytes(file: IO[bytes], length: int) -> bytes:
    """That many, however few of them a pipe gives at a time; fewer at the file's end."""
    start = b""
    while len(start) < length and (more := file.read(length - len(start))):
        start += more
    return start


class Hashed(io.RawIOBase):
    """A file of which the first bytes were read already; what goes by is hashed, so that it is known again."""

    def __init__(self, start: bytes, rest: IO[bytes]) -> None:
        self._start, self._rest = start, rest
        self._hash = hashlib.sha256()

    @property
    def sha256(self) -> str:
        """Of what was read so far, in hexadecimal digits."""
        return self._hash.hexdigest()

    def readable(self) -> bool:
        """Reading is all it does."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill ``buffer``; 0 at the end."""
        given = self._start or self._rest.read(len(buffer))
        self._start = b""
        buffer[: len(given)] = given
        self._hash.update(given)
        return len(given)


# --- CSV -------------------------------------------------------------------------------------------


def _csv(text: IO[str], read: Hashed) -> Source:
    lines = _Lines(text)
    reader = csv.reader(lines, strict=True)
    try:
        header = [name.strip() for name in next(filter(None, reader), [])]  # blank lines may come before it
    except csv.Error:
        raise BadInput("The first line cannot be read; it must name the columns.") from None
    found = _header(header)
    pick = itemgetter(*found.picked)
    return Source(found, formulas_escaped=True, lines=_csv_rows(reader, lines, len(header), pick), read=read)


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


def _parquet(file: IO[bytes], read: Hashed) -> Source:
    import pyarrow as pa  # noqa: PLC0415 - loaded only where it is needed
    from pyarrow import parquet  # noqa: PLC0415

    try:
        opened_file = parquet.ParquetFile(file)
        names = opened_file.schema_arrow.names
    except (pa.ArrowException, OSError, UnicodeDecodeError):
        raise BadInput("The file begins like Parquet, but is damaged or not complete.") from None
    header = _header(names)
    return Source(header, formulas_escaped=False, lines=_parquet_rows(opened_file, header, names), read=read)


def _parquet_rows(file: Any, header: FileHeader, names: Sequence[str]) -> Iterator[Line]:
    import pyarrow as pa  # noqa: PLC0415

    number, events = 0, len(header.columns)
    wanted = [names[place] for place in header.picked]
    try:
        for batch in file.iter_batches(batch_size=_BATCH, columns=wanted):
            columns = [batch.column(name) for name in wanted]
            texts: list[list[str]] = list(map(_texts, columns[:events], header.columns))
            for row in zip(*texts, *map(_said, columns[events:]), strict=True):
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


def _said(column: Any) -> list[str]:
    """A column that we do not have, as text; of a type without one (a list), whether it holds anything."""
    import pyarrow as pa  # noqa: PLC0415

    if pa.types.is_nested(column.type):
        return ["something" if each else "" for each in column.to_pylist()]
    return _texts(column, "")


# --- both ------------------------------------------------------------------------------------------


def _header(names: Sequence[str]) -> FileHeader:
    """Tell the columns of a file apart; capitals do not matter. Raises BadInput where needed ones are missing."""
    plain = [name.strip().lower() for name in names]
    require_needed(plain)
    columns = tuple(name for name in EVENT_HEADER if name in plain)
    others = [place for place, name in enumerate(plain) if name and name not in EVENT_HEADER]
    conditions = [place for place in others if changes_price(names[place])]
    _require_once([*columns, *(plain[place] for place in conditions)], plain)
    return FileHeader(
        columns=columns,
        conditions=tuple(names[place] for place in conditions),
        unused=tuple(names[place] for place in others),
        picked=(*map(plain.index, columns), *conditions),
    )


def _require_once(wanted: Iterable[str], plain: Sequence[str]) -> None:
    twice = next((name for name in wanted if plain.count(name) > 1), None)
    if twice:
        raise BadInput(f"The file has the column {twice} twice.")
