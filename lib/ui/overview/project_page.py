"""Which projects the table of Overview shows, in which order: chosen on the server, fifty at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import streamlit as st

from lib.formatting import count
from lib.ui.base import paging, query_state
from lib.ui.base.paging import draw_pager
from lib.ui.overview.table import ProjectStatus

PAGE_ROWS = 50
_ORDERS: Mapping[str, tuple[str, Callable[[ProjectStatus], tuple[object, ...]]]] = {
    "cap": ("Nearest to a cap first", lambda each: (-each.nearest, -each.sums.total_nano, each.project.slug)),
    "spend": ("Most spent first", lambda each: (-each.sums.total_nano, each.project.slug)),
    "platform": ("Most platform-funded first", lambda each: (-each.sums.platform_nano, each.project.slug)),
    "byok": ("Most BYOK first", lambda each: (-each.sums.byok_nano, each.project.slug)),
    "name": ("By name", lambda each: (each.project.slug,)),
}
"""What the address says -> its words, and what it sorts by."""


def choose(found: Sequence[ProjectStatus]) -> tuple[list[ProjectStatus], int]:
    """Draw search and order where there are more projects than a page holds; the page, and how many match in all."""
    if len(found) <= PAGE_ROWS:
        return list(found), len(found)
    with st.container(horizontal=True, gap="xsmall"):
        wanted = query_state.search("Find a project", "q", placeholder="Project", width=230).strip().lower()
        order = query_state.select(
            "Order",
            "sort",
            list(_ORDERS),
            default="cap",
            width=230,
            format_func=lambda name: _ORDERS[name][0],
        )
    matching = [each for each in found if wanted in each.project.slug or wanted in each.project.name.lower()]
    matching.sort(key=_ORDERS[order][1])
    paging.beyond(len(matching), PAGE_ROWS)
    first = paging.offset(PAGE_ROWS)
    return matching[first : first + PAGE_ROWS], len(matching)


def draw_pages(shown: Sequence[ProjectStatus], matching: int) -> None:
    """How many of them the table shows, and the numbers of the pages."""
    if matching > PAGE_ROWS:
        with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
            st.caption(f"{count(len(shown))} of {count(matching, 'project')}", width="content")
            draw_pager(matching, PAGE_ROWS)
