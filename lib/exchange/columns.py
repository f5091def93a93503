"""The columns of a usage event, as exports write them and imports read them: one definition for both.

In files a time is ISO 8601 in UTC with ``Z``, money a plain decimal in USD with up to nine places, and
unknown is empty. Text that a spreadsheet would take for a formula gets a ``'`` in front and loses it again
on the way back.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from decimal import Context, Decimal
from enum import Enum
from functools import lru_cache, partial

from lib.clock import Micros, iso, to_micros
from lib.pricing.amounts import NANO, plain_usd

Cell = str | int | None
"""A stored value: text, a count, microseconds or nano-USD; None where it is not known."""


class Kind(Enum):
    """What a column holds, and with it how it is written."""

    TIME = "time"
    TEXT = "text"
    COUNT = "count"
    USD = "usd"


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its name in files, the stored column it belongs to, and the longest text it takes."""

    name: str
    kind: Kind
    stored: str
    longest: int = 0


def _text(name: str, longest: int) -> Column:
    return Column(name, Kind.TEXT, name, longest)


EVENT_COLUMNS = (
    _text("event_id", 100),
    Column("occurred_at", Kind.TIME, "occurred_at"),
    Column("project", Kind.TEXT, "slug", 60),  # stored as the project's id
    _text("run_id", 200),
    _text("source", 10),
    _text("provider", 40),
    _text("model", 200),
    _text("endpoint", 200),
    _text("status", 10),
    Column("input_tokens", Kind.COUNT, "input_tokens"),
    Column("cached_input_tokens", Kind.COUNT, "cached_input_tokens"),
    Column("output_tokens", Kind.COUNT, "output_tokens"),
    Column("reasoning_tokens", Kind.COUNT, "reasoning_tokens"),
    Column("cost_usd", Kind.USD, "cost_nano"),
    Column("price_input", Kind.USD, "price_input"),
    Column("price_cached_input", Kind.USD, "price_cached_input"),
    Column("price_output", Kind.USD, "price_output"),
    _text("key_last4", 4),
    _text("upstream_request_id", 200),
    Column("latency_ms", Kind.COUNT, "latency_ms"),
    _text("served_model", 200),
    _text("service_tier", 40),
    _text("region", 40),
    Column("cache_write_tokens", Kind.COUNT, "cache_write_tokens"),
    Column("cache_write_1h_tokens", Kind.COUNT, "cache_write_1h_tokens"),
    Column("price_cache_write", Kind.USD, "price_cache_write"),
    Column("price_cache_write_1h", Kind.USD, "price_cache_write_1h"),
    Column("fees_usd", Kind.USD, "fees_nano"),
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

# --- writing ---------------------------------------------------------------------------------------

FORMULA = "=+-@\t\r'"
"""What a cell may not begin with: a spreadsheet would run it, or hide the apostrophe."""

_RISKY = frozenset(FORMULA)
# A ``'`` counts only where a formula follows it; then it gets another one, so that reading takes off
# exactly what writing put on.
_FORMULA = re.compile(r"'*[=+\-@\t\r]")
_MADE_INERT = re.compile(r"'+[=+\-@\t\r]")


def inert(text: str | None) -> str | None:
    """Return ``text`` so that no spreadsheet runs it."""
    return f"'{text}" if text and text[0] in _RISKY and _FORMULA.match(text) else text


def restored(text: str) -> str:
    """Undo ``inert``."""
    return text[1:] if text[:1] == "'" and _MADE_INERT.match(text) else text


def _as_it_is(value: Cell) -> Cell:
    return value


_usd_text = lru_cache(maxsize=4096)(plain_usd)


def cell_writers(*, raw: bool) -> list[Callable[..., Cell]]:
    """For each event column the function from a stored value to a CSV cell; ``raw`` leaves formulas alone."""
    writers: dict[Kind, Callable[..., Cell]] = {
        Kind.TIME: iso,
        Kind.TEXT: _as_it_is if raw else inert,
        Kind.COUNT: _as_it_is,
        Kind.USD: _usd_text,
    }
    return [writers[column.kind] for column in EVENT_COLUMNS]


# --- reading ---------------------------------------------------------------------------------------

LARGEST_COUNT = 1_000_000_000_000
LARGEST_USD = 1_000_000
_EXACT = Context(prec=80)
_COUNT = re.compile(r"0*(\d{1,13})(\.0*)?", re.ASCII)  # 12.0 is how a table with gaps writes 12
_AMOUNT = re.compile(r"(\d{1,40}(\.\d{0,40})?|\.\d{1,40})([eE][-+]?\d{1,2})?", re.ASCII)
_LONGEST_DIGITS = 12


class BadCell(ValueError):
    """A cell cannot be read; ``str()`` says why, without repeating it."""


def read_time(text: str) -> Micros | None:
    """Read ISO 8601 with a zone; decimals after the sixth are cut. None where empty."""
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise BadCell("is no time in ISO 8601, such as 2026-01-31T12:00:00Z") from None
    if moment.tzinfo is None:
        raise BadCell("has no time zone; write Z or an offset such as +02:00")
    micros = to_micros(moment)
    if micros < 0:
        raise BadCell("lies before 1970")
    return micros


def read_count(text: str) -> int | None:
    """Read a whole number, zero or more. None where empty."""
    if len(text) <= _LONGEST_DIGITS and text.isascii() and text.isdigit():
        return int(text)
    stripped = text.strip()
    if not stripped:
        return None
    if stripped[0] == "-":
        raise BadCell("is negative")
    found = _COUNT.fullmatch(stripped)
    count = int(found[1]) if found else LARGEST_COUNT + 1
    if count > LARGEST_COUNT:
        raise BadCell(f"is no whole number from 0 to {LARGEST_COUNT:,}")
    return count


def read_usd(text: str) -> int | None:
    """Read an amount in USD as nano-USD, exactly. ``1e-05`` is read too: some programs write it so.

    None where empty. An amount that would have to be rounded is refused.
    """
    stripped = text.strip()
    if not stripped:
        return None
    if stripped[0] == "-":
        raise BadCell("is negative")
    if not _AMOUNT.fullmatch(stripped):
        raise BadCell("is no amount in USD, such as 0.00125")
    nano = Decimal(stripped).scaleb(9, _EXACT)
    if nano != nano.to_integral_value():
        raise BadCell("has more than nine decimals")
    if nano > LARGEST_USD * NANO:
        raise BadCell(f"is more than {LARGEST_USD:,} USD")
    return int(nano)


def read_text(text: str, *, longest: int, was_inert: bool) -> str | None:
    """Read text, without the ``'`` of an export where ``was_inert``. None where empty."""
    if not text:
        return None
    if was_inert and text[0] == "'":
        text = restored(text)
    if len(text) > longest:
        raise BadCell(f"is longer than {longest} characters")
    if "\0" in text:
        raise BadCell("holds a NUL character")
    if not text.isascii() and _is_broken(text):
        raise BadCell("is not UTF-8")
    return text


def _is_broken(text: str) -> bool:
    """Whether bytes that were no UTF-8 hide in it (they arrive as surrogates)."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


_REPEATED = {"project", "source", "provider", "model", "endpoint", "status", "key_last4"} | {
    *("served_model", "service_tier", "region", "price_table")
}


def cell_readers(*, was_inert: bool) -> list[Callable[[str], Cell]]:
    """For each event column the function from a cell's text to its value; each raises BadCell."""
    return [_reader(column, was_inert=was_inert) for column in EVENT_COLUMNS]


def _reader(column: Column, *, was_inert: bool) -> Callable[[str], Cell]:
    if column.kind is Kind.TIME:
        return read_time
    if column.kind is Kind.COUNT:
        return read_count
    if column.kind is Kind.USD:
        return lru_cache(maxsize=4096)(read_usd)
    read = partial(read_text, longest=column.longest, was_inert=was_inert)
    # Few values come again and again; remembering them is faster, and small because the cache is bounded.
    return lru_cache(maxsize=1024)(read) if column.name in _REPEATED else read
