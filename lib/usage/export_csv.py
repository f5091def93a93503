"""CSV as RFC 4180 has it, in UTF-8: lines that the database wrote, or rows whose cells are made here."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol

from lib.usage.columns import EVENT_COLUMNS, EVENT_HEADER, FORMULA, Kind, cell_writers, inert
from lib.usage.export_events import BETWEEN, NEXT, Lines, Rows, Slice

_BETWEEN, _NEXT = BETWEEN.encode(), NEXT.encode()
_TEXTS = [place for place, column in enumerate(EVENT_COLUMNS) if column.kind is Kind.TEXT]
# A character that is in none of the cells costs one search; only where it is found, a closer look.
_QUOTED = [b'"', b",", b"\n", b"\r"]
_RISKY = [character.encode() for character in FORMULA]


class Writable(Protocol):
    """Takes bytes."""

    def write(self, data: bytes, /) -> object: ...


class EventsAsCsv:
    """Events as CSV; ``raw`` leaves text as it is, also where a spreadsheet would run it."""

    def __init__(self, out: Writable, *, raw: bool) -> None:
        self._out, self._raw = out, raw
        self._writers = cell_writers(raw=raw)
        write_csv(out, [EVENT_HEADER])

    @staticmethod
    def reads(events: Slice) -> Iterator[Lines | Rows]:
        """What it takes of a slice."""
        return events.lines()

    def write(self, batch: Lines | Rows) -> int:
        """Write some rows; returns how many."""
        if isinstance(batch, Lines):
            self._out.write(self._of_lines(batch.text))
            return batch.rows
        cells = ([write(value) for write, value in zip(self._writers, row, strict=True)] for row in batch)
        write_csv(self._out, cells)
        return len(batch)

    def close(self) -> None:
        """CSV has no end of its own."""

    def _of_lines(self, text: str) -> bytes:
        data = f"{text}{NEXT}".encode()
        if self._is_plain(data):
            return data.replace(_BETWEEN, b",").replace(_NEXT, b"\r\n")
        written = io.StringIO(newline="")
        csv.writer(written).writerows(self._cells(line) for line in text.split(NEXT))
        return written.getvalue().encode()

    def _is_plain(self, data: bytes) -> bool:
        """Whether no cell needs quotes, nor an apostrophe."""
        if any(character in data for character in _QUOTED):
            return False
        return self._raw or not any(
            risky in data and (_BETWEEN + risky in data or _NEXT + risky in data or data.startswith(risky))
            for risky in _RISKY
        )

    def _cells(self, line: str) -> list[str]:
        cells = line.split(BETWEEN)
        if not self._raw:
            for place in _TEXTS:
                cells[place] = inert(cells[place]) or ""
        return cells


def write_csv(out: Writable, rows: Iterable[Sequence[Any]]) -> None:
    """Write rows with quotes only where one needs them."""
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    out.write(text.getvalue().encode())
