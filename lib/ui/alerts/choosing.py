"""A table of which one row can be chosen."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from lib.ui.base.tables import arrow, height_of, row_opens

_ROW, _MOST = 34, 20


def choose(
    columns: Mapping[str, Sequence[Any]], *, ids: Sequence[str], alt: str, config: Mapping[str, Any]
) -> int | None:
    """Draw the table; the place of the chosen row, None where none is.

    Args:
        columns: the words in each column.
        ids: what the rows are. For other rows it is another table: a choice must never become another thing.
        alt: what it is, for who cannot see it.
        config: the settings of columns.
    """
    key = hashlib.sha256("\n".join(ids).encode()).hexdigest()[:12]
    event = st.dataframe(
        arrow(columns),
        hide_index=True,
        row_height=_ROW,
        height=height_of(len(ids), row=_ROW, most=_MOST),
        placeholder="",
        **row_opens(f"choose:{key}"),
        alt=alt,
        column_config=dict(config),
    )
    picked = event.selection.rows
    return picked[0] if picked and picked[0] < len(ids) else None
