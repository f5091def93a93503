"""Tables of money: numbers that sort, in the same places down the column."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import streamlit as st

from lib.ui.vega import usd
from lib.usage.reports import DayRow

_CENT = 10_000_000


def money_column(title: str, amounts: Iterable[int | None], *, width: int | None = None) -> Any:
    """A column of dollars: two places, or four in the whole column where an amount is below a cent."""
    small = any(amount is not None and 0 < abs(amount) < _CENT for amount in amounts)
    return st.column_config.NumberColumn(title, format="$%,.4f" if small else "$%,.2f", width=width)


def show_days(rows: Sequence[DayRow], *, zone: str) -> None:
    """The days of a report, the newest first."""
    newest = list(reversed(rows))
    money = {
        "Total": [row.total_nano for row in newest],
        "Platform-funded": [row.platform_nano for row in newest],
        "BYOK": [row.byok_nano for row in newest],
    }
    columns: dict[str, list[object]] = {
        "Day": [row.day for row in newest],
        **{title: [usd(nano) for nano in amounts] for title, amounts in money.items()},
        "Calls": [row.calls for row in newest],
        "Failed": [row.failed_calls for row in newest],
        "No price": [row.unpriced_calls for row in newest],
        "Input tokens": [row.input_tokens for row in newest],
        "Input cached": [_share(row.cached_input_tokens, row.input_tokens) for row in newest],
        "Output tokens": [row.output_tokens for row in newest],
    }
    whole = st.column_config.NumberColumn(format="%,d")
    st.dataframe(
        columns,
        hide_index=True,
        row_height=34,
        height=36 + 34 * min(max(len(newest), 1), 14),
        alt=f"Spend, calls and tokens by day, days in {zone}, newest first",
        column_config={
            "Day": st.column_config.DateColumn(format="ddd D MMM YYYY"),
            **{title: money_column(title, amounts) for title, amounts in money.items()},
            **dict.fromkeys(("Calls", "Failed", "No price", "Input tokens", "Output tokens"), whole),
            "Input cached": st.column_config.NumberColumn(format="%d%%"),
        },
    )


def _share(part: int, whole: int) -> int | None:
    return round(100 * part / whole) if whole else None
