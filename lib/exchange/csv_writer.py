"""CSV as RFC 4180 has it, in UTF-8: lines that the database wrote, or rows whose cells are made here."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol

from lib.exchange.columns import (
    EVENT_COLUMNS,
    FORMULA,
    Cell,
    Column,
    ColumnKind,
    cell_writers,
    escape_formula,
)
from lib.exchange.event_slices import Rows, TimeSlice
from lib.exchange.sql_lines import AS_IN_CSV, BETWEEN, END, Lines

_BETWEEN, _END = BETWEEN.encode(), END.encode()
# A character that is in none of the cells costs one search; only where it is found, a closer look.
_QUOTED = [b'"', b",", b"\r"]
# A line end is always there, and a cell that begins with one has quotes.
_RISKY = [character.encode() for character in FORMULA if character != END]


class Writable(Protocol):
    """Takes bytes."""

    def write(self, data: bytes, /) -> object: ...


class EventsAsCsv:
    """Events as CSV; ``raw`` leaves text as it is, also where a spreadsheet would run it."""

    def __init__(self, out: Writable, *, raw: bool, columns: Sequence[Column] = EVENT_COLUMNS) -> None:
        self._out, self._raw = out, raw
        self._writers = cell_writers(raw=raw, columns=columns)
        self._texts = [place for place, column in enumerate(columns) if column.kind is ColumnKind.TEXT]
        write_csv(out, [[column.name for column in columns]])

    @staticmethod
    def reads(events: TimeSlice) -> Iterator[Lines | Rows]:
        """What it takes of a slice."""
        return events.lines(AS_IN_CSV)

    def write(self, batch: Lines | Rows) -> int:
        """Write some rows; returns how many."""
        if isinstance(batch, Lines) and self._is_plain(batch.text):
            self._out.write(batch.text.replace(_BETWEEN, b",").replace(_END, b"\r\n"))
            return batch.text.count(_END)
        rows = self._of_lines(batch) if isinstance(batch, Lines) else self._of_rows(batch)
        write_csv(self._out, rows)
        return len(rows)

    def close(self) -> None:
        """CSV has no end of its own."""

    def _is_plain(self, text: bytes) -> bool:
        """Whether no cell needs quotes, nor an apostrophe."""
        if any(character in text for character in _QUOTED):
            return False
        return self._raw or not any(
            risky in text and (_BETWEEN + risky in text or _END + risky in text or text.startswith(risky))
            for risky in _RISKY
        )

    def _of_lines(self, lines: Lines) -> list[list[str]]:
        text = io.StringIO(lines.text.decode(), newline="")
        rows = list(csv.reader(text, delimiter=BETWEEN, strict=True))
        for cells in rows if not self._raw else ():
            for place in self._texts:
                cells[place] = escape_formula(cells[place]) or ""
        return rows

    def _of_rows(self, rows: Rows) -> list[list[Cell]]:
        return [[write(value) for write, value in zip(self._writers, row, strict=True)] for row in rows]


def write_csv(out: Writable, rows: Iterable[Sequence[Any]]) -> None:
    """Write rows with quotes only where one needs them."""
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    out.write(text.getvalue().encode())
