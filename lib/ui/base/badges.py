"""Badges in tables, in the colours of their meaning."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st


def badge_column(colors: Mapping[str, str], label: str | None = None, width: int | None = None) -> Any:
    """Read-only badges: word -> theme colour. A cell is a list of words."""
    shades: Any = list(colors.values())
    return st.column_config.MultiselectColumn(label, options=list(colors), color=shades, width=width)
