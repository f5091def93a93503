"""Numbers of pages under a long list; the page is in the address."""

from __future__ import annotations

import streamlit as st

from lib.ui.base import query_state, wrong_links

_MOST_PAGES = 10_000
_MOST_SHOWN = 9  # numbers and dots
_NUMBER, _ARROWS = 40, 120  # pixels; what the widget asks for before it shows a number


def offset(rows: int) -> int:
    """Rows before the page that the address names, ``rows`` on each."""
    if (asked := query_state.number("page")) is None and query_state.text("page", 1):
        _correct(1)
    return (min(asked or 1, _MOST_PAGES) - 1) * rows


def beyond(total: int, rows: int) -> bool:
    """Whether the address names a page behind the last one; then it names the last one from here on."""
    last = _pages(total, rows)
    if total == 0 or (query_state.number("page") or 1) <= last:
        return False
    _correct(last)
    return True


def _correct(page: int) -> None:
    wrong_links.add("page", f"page {page}")
    query_state.put_silently("page", str(page) if page > 1 else None)


def _pages(total: int, rows: int) -> int:
    return min(_MOST_PAGES, -(-total // rows))


def draw_pager(total: int, rows: int) -> None:
    """Numbers of pages, where there are several."""
    pages = _pages(total, rows)
    if pages < 2:  # noqa: PLR2004 - one needs no number
        return
    page = min(query_state.number("page") or 1, pages)
    key = f"address:page:{page}"  # the address decides: another page is another widget, with its own default

    def changed() -> None:
        query_state.put("page", str(st.session_state[key]), default="1")

    # Left to its content, it makes room for one number only.
    width = _NUMBER * min(pages, _MOST_SHOWN) + _ARROWS
    st.pagination(pages, default=page, key=key, on_change=changed, width=width)
