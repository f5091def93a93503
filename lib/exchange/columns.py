"""The columns of a usage event, as exports write them and imports read them (lib.exchange.files.cell_reader).

In files a time is ISO 8601 in UTC with ``Z``, money a plain decimal in USD with up to nine places, and
unknown is empty. Text that a spreadsheet would take for a formula gets a ``'`` in front and loses it again
on the way back.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache

from lib.clock import iso
from lib.pricing.amounts import plain_usd

Cell = str | int | None
"""A stored value: text, a count, microseconds or nano-USD; None where it is not known."""


class ColumnKind(Enum):
    """What a column holds, and with it how it is written."""

    TIME = "time"
    TEXT = "text"
    COUNT = "count"
    USD = "usd"


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its name in files, the stored column it belongs to, and the longest text it takes.

    ``label`` is the name of the project's label that it holds instead, on the day of the call.
    """

    name: str
    kind: ColumnKind
    stored: str
    longest: int = 0
    label: str = ""


def _text(name: str, longest: int) -> Column:
    return Column(name, ColumnKind.TEXT, name, longest)


EVENT_COLUMNS = (
    _text("event_id", 100),
    Column("occurred_at", ColumnKind.TIME, "occurred_at"),
    Column("project", ColumnKind.TEXT, "slug", 60),  # stored as the project's id
    _text("run_id", 200),
    _text("source", 10),
    _text("provider", 40),
    _text("model", 200),
    _text("endpoint", 200),
    _text("status", 10),
    Column("input_tokens", ColumnKind.COUNT, "input_tokens"),
    Column("cached_input_tokens", ColumnKind.COUNT, "cached_input_tokens"),
    Column("output_tokens", ColumnKind.COUNT, "output_tokens"),
    Column("reasoning_tokens", ColumnKind.COUNT, "reasoning_tokens"),
    Column("cost_usd", ColumnKind.USD, "cost_nano"),
    Column("price_input", ColumnKind.USD, "price_input"),
    Column("price_cached_input", ColumnKind.USD, "price_cached_input"),
    Column("price_output", ColumnKind.USD, "price_output"),
    _text("key_last4", 4),
    _text("upstream_request_id", 200),
    Column("latency_ms", ColumnKind.COUNT, "latency_ms"),
    _text("served_model", 200),
    _text("service_tier", 40),
    _text("region", 40),
    Column("cache_write_tokens", ColumnKind.COUNT, "cache_write_tokens"),
    Column("cache_write_1h_tokens", ColumnKind.COUNT, "cache_write_1h_tokens"),
    Column("price_cache_write", ColumnKind.USD, "price_cache_write"),
    Column("price_cache_write_1h", ColumnKind.USD, "price_cache_write_1h"),
    Column("fees_usd", ColumnKind.USD, "fees_nano"),
    _text("price_table", 60),
)
EVENT_HEADER = tuple(column.name for column in EVENT_COLUMNS)
FIRST_HEADER = EVENT_HEADER[: EVENT_HEADER.index("served_model")]
"""The columns of exports that were made before there were more."""

NEEDED = ("occurred_at", "project", "model", "input_tokens", "output_tokens")
DAILY_HEADER = (
    "date",
    "project",
    "source",
    "provider",
    "model",
    "calls",
    "input_tokens",
    "cached_input_tokens",
    "output_tokens",
    "reasoning_tokens",
    "cost_usd",
    "unpriced_calls",
)


def label_columns(names: Iterable[str]) -> tuple[Column, ...]:
    """The columns for these labels of projects, which exports have behind all others where they are asked for."""
    return tuple(Column(f"label:{name}", ColumnKind.TEXT, "", 200, name) for name in names)


# --- writing ---------------------------------------------------------------------------------------

_BEGINS = "=+-@\t\r\n\uff1d\uff0b\uff0d\uff20"
"""What begins a formula: the last four are the wide forms of the first, which some spreadsheets take for them."""

FORMULA = f"{_BEGINS}'"
"""What a cell may not begin with: a spreadsheet would run it, or hide the apostrophe."""

_RISKY = frozenset(FORMULA)
# A ``'`` counts only where a formula follows it; then it gets another one, so that reading takes off
# exactly what writing put on.
_FORMULA = re.compile(rf"'*[{re.escape(_BEGINS)}]")
_ESCAPED = re.compile(rf"'+[{re.escape(_BEGINS)}]")


def escape_formula(text: str | None) -> str | None:
    """Return ``text`` so that no spreadsheet runs it."""
    return f"'{text}" if text and text[0] in _RISKY and _FORMULA.match(text) else text


def unescape_formula(text: str) -> str:
    """Undo ``escape_formula``."""
    return text[1:] if text[:1] == "'" and _ESCAPED.match(text) else text


def _as_it_is(value: Cell) -> Cell:
    return value


_usd_text = lru_cache(maxsize=4096)(plain_usd)


def cell_writers(*, raw: bool, columns: Sequence[Column] = EVENT_COLUMNS) -> list[Callable[..., Cell]]:
    """For each column the function from a stored value to a CSV cell; ``raw`` leaves formulas alone."""
    writers: dict[ColumnKind, Callable[..., Cell]] = {
        ColumnKind.TIME: iso,
        ColumnKind.TEXT: _as_it_is if raw else escape_formula,
        ColumnKind.COUNT: _as_it_is,
        ColumnKind.USD: _usd_text,
    }
    return [writers[column.kind] for column in columns]
