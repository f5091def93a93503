"""What tables of money share: equal decimals down a column, and an empty cell for what is not known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import streamlit as st

from lib.usage.figures import Totals

_NANO = 1_000_000_000
_CENT = 0.01
_HUNDREDTH_CENT = 0.0001
_HEADER = 35  # pixels, with the border


def dollars(nano: int | None) -> float | None:
    """An amount for a column, to be drawn only; an empty cell where it is unknown."""
    return None if nano is None else nano / _NANO


def known(nano: int, calls: int, sums: Totals) -> int | None:
    """The amount of some of the calls of ``sums``; None where none of them may have a known price."""
    return None if nano == 0 and 0 < calls <= sums.unpriced_calls else nano


def cell(nano: int, calls: int, sums: Totals) -> float | None:
    """The same to be drawn in a column; an empty cell also where there was no call."""
    return dollars(known(nano, calls, sums)) if calls else None


def height_of(rows: int, *, row: int, most: int) -> int:
    """The height of a table that shows all its rows, up to ``most``; more are reached by scrolling."""
    return _HEADER + row * min(max(rows, 1), most)


def money_column(values: Sequence[float | None], label: str | None = None) -> Any:
    """Dollars and cents; four decimals in the whole column where cents would hide an amount."""
    amounts = [value for value in values if value]
    if not amounts or min(amounts) >= _CENT:
        return st.column_config.NumberColumn(label, format="$%,.2f")
    return call_cost_column(values, label)


def call_cost_column(values: Sequence[float | None], label: str | None = None) -> Any:
    """Four decimals; six where all amounts are so small that the first call would read as nothing."""
    amounts = [value for value in values if value]
    tiny = bool(amounts) and max(amounts) < _CENT and min(amounts) < _HUNDREDTH_CENT
    return st.column_config.NumberColumn(label, format="$%,.6f" if tiny else "$%,.4f")
