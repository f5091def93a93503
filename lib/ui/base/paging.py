"""Numbers of pages under a long list; the page is in the address."""

from __future__ import annotations

import streamlit as st

from lib.ui.base import address

_MOST_PAGES = 10_000
_MOST_SHOWN = 9  # numbers and dots
_NUMBER, _ARROWS = 40, 120  # pixels; what the widget asks for before it shows a number


def offset(rows: int) -> int:
    """Rows before the page that the address names, ``rows`` on each."""
    return (address.number("page", most=_MOST_PAGES) - 1) * rows


def draw(total: int, rows: int) -> None:
    """Numbers of pages, where there are several."""
    pages = min(_MOST_PAGES, -(-total // rows))
    if pages < 2:  # noqa: PLR2004 - one needs no number
        return
    page = min(address.number("page", most=_MOST_PAGES), pages)
    key = f"address:page:{page}"  # the address decides: another page is another widget, with its own default

    def changed() -> None:
        address.put("page", str(st.session_state[key]), default="1")

    # Left to its content, it makes room for one number only.
    width = _NUMBER * min(pages, _MOST_SHOWN) + _ARROWS
    st.pagination(pages, default=page, key=key, on_change=changed, width=width)
