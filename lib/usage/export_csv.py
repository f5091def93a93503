"""CSV as RFC 4180 has it, in UTF-8: lines that the database wrote, or rows whose cells are made here."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from lib.usage.columns import EVENT_COLUMNS, EVENT_HEADER, FORMULA, Kind, cell_writers, inert
from lib.usage.export_events import BETWEEN, Slice

_BETWEEN = BETWEEN.encode()
_TEXTS = [place for place, column in enumerate(EVENT_COLUMNS) if column.kind is Kind.TEXT]
# A character that is in none of the cells costs one search; only where it is found, a closer look.
_QUOTED = [b'"', b","]
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

    def write(self, events: Slice) -> int:
        """Write a slice; returns its rows."""
        written = 0
        for lines in events.lines():
            data = self._of_lines(lines)
            if data is None:
                return written + self._write_rows(events, skip=written)
            self._out.write(data)
            written += len(lines)
        return written

    def close(self) -> None:
        """CSV has no end of its own."""

    def _of_lines(self, lines: Sequence[str]) -> bytes | None:
        """None where a text holds what stands between cells, so that nobody can tell where they end."""
        data = "\r\n".join(lines).encode() + b"\r\n"
        if data.count(_BETWEEN) != len(lines) * (len(EVENT_COLUMNS) - 1):
            return None
        if self._is_plain(data, len(lines)):
            return data.replace(_BETWEEN, b",")
        text = io.StringIO(newline="")
        csv.writer(text).writerows(self._cells(line) for line in lines)
        return text.getvalue().encode()

    def _is_plain(self, data: bytes, rows: int) -> bool:
        """Whether no cell needs quotes, nor an apostrophe."""
        if any(character in data for character in _QUOTED):
            return False
        if data.count(b"\n") != rows or data.count(b"\r") != rows:
            return False
        return self._raw or not any(
            risky in data and (_BETWEEN + risky in data or b"\n" + risky in data or data.startswith(risky))
            for risky in _RISKY
        )

    def _cells(self, line: str) -> list[str]:
        cells = line.split(BETWEEN)
        if not self._raw:
            for place in _TEXTS:
                cells[place] = inert(cells[place]) or ""
        return cells

    def _write_rows(self, events: Slice, *, skip: int) -> int:
        written = 0
        for rows in events.rows(skip=skip):
            cells = ([write(value) for write, value in zip(self._writers, row, strict=True)] for row in rows)
            write_csv(self._out, cells)
            written += len(rows)
        return written


def write_csv(out: Writable, rows: Iterable[Sequence[Any]]) -> None:
    """Write rows with quotes only where one needs them."""
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    out.write(text.getvalue().encode())
