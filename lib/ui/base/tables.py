"""What tables of money share: equal decimals down a column, and an empty cell for what is not known."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, overload

import pyarrow as pa
import streamlit as st

from lib.formatting import decimals
from lib.pricing.amounts import NANO
from lib.reports.models import Totals

_HEADER = 35  # pixels, with the border
_PAD, _CHARACTER = 18, 6.9  # pixels, of a cell


@overload
def dollars(nano: int) -> float: ...
@overload
def dollars(nano: int | None) -> float | None: ...
def dollars(nano: int | None) -> float | None:
    """Nano-USD as USD to be drawn only, in charts and tables; None, an empty cell, where it is unknown."""
    return None if nano is None else nano / NANO


def known(sums: Totals, source: str = "") -> int | None:
    """The amount of one source, or of both together; None where none of its calls has a known price."""
    nano, calls, unpriced = {
        "platform": (sums.platform_nano, sums.platform_calls, sums.platform_unpriced_calls),
        "byok": (sums.byok_nano, sums.byok_calls, sums.byok_unpriced_calls),
        "": (sums.total_nano, sums.calls, sums.unpriced_calls),
    }[source]
    return None if 0 < calls == unpriced else nano


def cell(sums: Totals, source: str = "") -> float | None:
    """Spend in USD for a column of a table: $0.00 where there was no call, an empty cell where it is unknown."""
    return dollars(known(sums, source))


def height_of(rows: int, *, row: int, most: int) -> int:
    """The height of a table that shows all its rows, up to ``most``; more are reached by scrolling."""
    return _HEADER + row * min(max(rows, 1), most)


def money_column(values: Sequence[float | None], label: str | None = None) -> Any:
    """Dollars and cents; more decimals in the whole column where cents would hide an amount."""
    return _money_column(_decimals(values), label)


def in_cents(values: Sequence[float | None]) -> bool:
    """Whether a column of these amounts has two decimals: none of them is less than a cent."""
    return _decimals(values) == 2  # noqa: PLR2004 - cents


def call_cost_column(values: Sequence[float | None], label: str | None = None) -> Any:
    """Four decimals; six where all amounts are so small that the first call would read as nothing."""
    return _money_column(max(_decimals(values), 4), label)


def _money_column(places: int, label: str | None) -> Any:
    return st.column_config.NumberColumn(label, format=f"$%,.{places}f")


def _decimals(values: Sequence[float | None]) -> int:
    return decimals(None if value is None else round(value * NANO) for value in values)


def count_column() -> Any:
    """Whole numbers as ``formatting.count`` writes them, in every browser; and drawn faster than ``localized``."""
    return st.column_config.NumberColumn(format="%,d")


def wide_enough(columns: Mapping[str, Sequence[Any]], config: dict[str, Any], *names: str) -> dict[str, Any]:
    """Column settings, with widths for these columns: left to itself, a table keeps those of its first rows."""
    widths = {name: width_of(name, *columns[name]) for name in names if name in columns}
    return config | {name: {**config.get(name, {}), "width": width} for name, width in widths.items()}


def width_of(*cells: Any) -> int:
    """The pixels that the longest of these cells takes: a name that is cut can be neither read nor told from others."""
    return _PAD + round(_CHARACTER * max(map(_length, cells)))


_ROOM = 230  # pixels


def in_room(columns: Mapping[str, Sequence[Any]], name: str) -> list[str]:
    """The columns in order, but this one behind all others where it is wide: there it is whole and hides none."""
    others = [each for each in columns if each != name]
    wide = name in columns and width_of(name, *columns[name]) > _ROOM
    return [*others, name] if wide else list(columns)


def titles_of(slugs: Sequence[str], titles: Mapping[str, str]) -> list[str]:
    """The titles of these projects, empty where a title says no more than the short name."""
    return ["" if titles.get(slug) == slug else titles.get(slug, "") for slug in slugs]


def _length(value: object) -> int:
    """The most characters that a cell can have; of an amount, those with six decimals."""
    if isinstance(value, float):
        return len(f"${value:,.6f}")
    return len(f"{value:,}" if isinstance(value, int) else str(value))


def arrow(columns: Mapping[str, Sequence[Any]]) -> pa.Table:
    """Columns as the browser takes them. Given as lists, they would take a detour through pandas, ten times as long."""
    return pa.table(dict(columns))


def row_opens(
    key: str, opened: Callable[[int], None] | None = None, *, closed: Callable[[], None] | None = None
) -> dict[str, Any]:
    """Arguments of ``st.dataframe`` for a table whose rows open: by a click anywhere in them and by Enter.

    What makes it so is in ``lib/web/static/page_shell.js``, for tables of such a key.

    Args:
        key: of the table.
        opened: called with the row's place before the page runs again; without it the table returns the selection.
        closed: called when the row that is open is chosen once more.
    """
    name = f"opens:{key}"

    def selected() -> None:
        rows = st.session_state[name].selection.rows
        if rows and opened:
            opened(rows[0])
        elif closed:
            closed()

    return {"key": name, "on_select": selected if opened else "rerun", "selection_mode": "single-row"}


def draw_dataframe(columns: Mapping[str, Sequence[Any]], *, height: int, alt: str) -> None:
    """A table of what a chart shows: floats are USD, whole numbers are counts."""
    money = [name for name, values in columns.items() if any(isinstance(value, float) for value in values)]
    amounts = [value for name in money for value in columns[name]]
    counts = [name for name, values in columns.items() if all(isinstance(value, int) for value in values)]
    st.dataframe(
        arrow(columns),
        hide_index=True,
        row_height=34,
        height=height,
        placeholder="",
        alt=alt,
        column_config={
            **{name: money_column(amounts) for name in money},
            **dict.fromkeys(counts, count_column()),
        },
    )
