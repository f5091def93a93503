"""Columns that every table shares: badges in the colours of their meaning, and money with equal decimals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

_NANO = 1_000_000_000
_CENT = 0.01


def badge_column(colors: Mapping[str, str], label: str | None = None, width: int | None = None) -> Any:
    """Read-only badges: word -> theme colour."""
    words = list(colors)
    shades: Any = [colors[word] for word in words]
    return st.column_config.MultiselectColumn(label, options=words, color=shades, width=width)  # type: ignore[arg-type,unused-ignore]


def dollars(nano: int | None, calls: int = 1) -> float | None:
    """An amount for a column, to be drawn only; an empty cell where nothing was called or it is unknown."""
    return None if nano is None or not calls else nano / _NANO


def money_column(values: Sequence[float | None], label: str | None = None) -> Any:
    """Dollars and cents; four decimals in the whole column where cents would hide an amount."""
    amounts = [value for value in values if value]
    small = bool(amounts) and min(amounts) < _CENT and max(amounts) < 100  # noqa: PLR2004 - dollars
    return st.column_config.NumberColumn(label, format="$%.4f" if small else "dollar")
