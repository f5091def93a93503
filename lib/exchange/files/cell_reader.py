"""From a cell's text to the value of an event's column, or the reason why not."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from decimal import ROUND_HALF_EVEN, Context, Decimal
from functools import lru_cache, partial

from lib.clock import Micros, to_micros
from lib.exchange.columns import EVENT_COLUMNS, Cell, Column, ColumnKind, unescape_formula
from lib.pricing.amounts import NANO

LARGEST_COUNT = 1_000_000_000_000
LARGEST_USD = 1_000_000
_EXACT = Context(prec=80)
_COUNT = re.compile(r"0*(\d{1,13})(\.(?!000$)0*)?", re.ASCII)  # 12.0 is how a table with gaps writes 12
_GROUPED = re.compile(r"\d{1,3}(?P<mark>[,.'_\u2019\s])\d{3}((?P=mark)\d{3})*")
_MARKS = {",": "a comma", ".": "a point"}
_AMOUNT = re.compile(r"(\d{1,40}(\.\d{0,40})?|\.\d{1,40})([eE][-+]?\d{1,2})?", re.ASCII)
_LONGEST_DIGITS = 12
_PLACES = 9
_BEYOND_MICROS = re.compile(r"[.,]\d{6}(\d*[1-9])", re.ASCII)
_SHORTEST_BEYOND = 23  # characters of a time with seven decimals, in ISO 8601's basic form


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


def beyond_micros(text: str) -> str:
    """The decimals of a time that are not kept, without zeros at their end: with them two calls are told apart."""
    found = _BEYOND_MICROS.search(text) if len(text) >= _SHORTEST_BEYOND else None
    return found[1] if found else ""


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
        raise BadCell(f"is no whole number from 0 to {LARGEST_COUNT:,}{_why_grouped(stripped)}")
    return count


def _why_grouped(text: str) -> str:
    found = _GROUPED.fullmatch(text)
    if not found:
        return ""
    return f"; it has {_MARKS.get(found['mark'], 'a mark')} between its thousands, write 1234567"


def read_usd(text: str) -> int | None:
    """Read an amount in USD as nano-USD; more than nine decimals are rounded half-even, see ``is_rounded``.

    ``1e-05`` is read too: some programs write it so. None where empty.
    """
    stripped = text.strip()
    if not stripped:
        return None
    if stripped[0] == "-":
        raise BadCell("is negative")
    if not _AMOUNT.fullmatch(stripped):
        comma = "; it has a comma, write a point" if "," in stripped else ""
        raise BadCell(f"is no amount in USD, such as 0.00125{comma}")
    nano = Decimal(stripped).scaleb(_PLACES, _EXACT)
    if nano > LARGEST_USD * NANO:
        raise BadCell(f"is more than {LARGEST_USD:,} USD")
    return int(nano.to_integral_value(ROUND_HALF_EVEN))


def is_rounded(text: str) -> bool:
    """Whether an amount that ``read_usd`` takes has more decimals than are kept."""
    if len(text) <= _PLACES + 1 and "e" not in text.lower():
        return False
    nano = Decimal(text.strip()).scaleb(_PLACES, _EXACT)
    return nano != nano.to_integral_value()


def read_text(text: str, *, longest: int, formulas_escaped: bool) -> str | None:
    """Read text, without the ``'`` of an export where ``formulas_escaped``. None where empty."""
    if not text:
        return None
    if formulas_escaped and text[0] == "'":
        text = unescape_formula(text)
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


def cell_readers(*, formulas_escaped: bool) -> list[Callable[[str], Cell]]:
    """For each event column the function from a cell's text to its value; each raises BadCell."""
    return [_reader(column, formulas_escaped=formulas_escaped) for column in EVENT_COLUMNS]


def _reader(column: Column, *, formulas_escaped: bool) -> Callable[[str], Cell]:
    if column.kind is ColumnKind.TIME:
        return read_time
    if column.kind is ColumnKind.COUNT:
        return read_count
    if column.kind is ColumnKind.USD:
        return lru_cache(maxsize=4096)(read_usd)
    read = partial(read_text, longest=column.longest, formulas_escaped=formulas_escaped)
    # Few values come again and again; remembering them is faster, and small because the cache is bounded.
    return lru_cache(maxsize=1024)(read) if column.name in _REPEATED else read
