"""Why a project is near its cap: which runs, models and people spent what is in a window."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import streamlit as st

from lib.access.projects import Project
from lib.caps.spenders import Spender
from lib.caps.windows import TITLES, Headroom
from lib.formatting import count, share
from lib.ui.base import loaders, query_state
from lib.ui.base.navigation import RUN_LOGS, go
from lib.ui.base.server import front_door
from lib.ui.base.tables import arrow, count_column, dollars, money_column, row_opens, wide_enough
from lib.ui.parts import cards
from lib.ui.shell.page_context import PageContext

_NOBODY = {"runs": "no run", "models": "no model", "people": "nobody known"}
_HEADINGS = {"runs": ("Run", "Runs"), "models": ("Model", "Models"), "people": ("Started by", "People")}


def draw_window_spend(visit: PageContext, project: Project, room: Headroom) -> None:
    """The section; nothing where nothing is in a window."""
    held = {name: window.used_nano for name, window in room.windows.items()}
    if not any(held.values()):
        return
    with st.container(horizontal=True, vertical_alignment="bottom", horizontal_alignment="distribute"):
        cards.heading("What is in the windows", note="platform-funded calls that count; the largest first")
        window = query_state.select(
            "Window",
            "window",
            list(TITLES),
            default=room.nearest.name,
            width=160,
            format_func=lambda name: f"{TITLES[name]} window",
        )
    if not held[window]:
        cards.empty(f"Nothing is in the {TITLES[window]} window.")
        return
    found = loaders.cached(front_door().spenders.of, project.slug, window, actor=visit.actor)
    for column, (kind, spenders) in zip(st.columns(len(found)), found.items(), strict=True):
        with column, cards.card(height="stretch"):
            cards.heading(_HEADINGS[kind][1])
            _table(kind, spenders, held[window], project)


def _table(kind: str, found: Sequence[Spender], total: int, project: Project) -> None:
    title = _HEADINGS[kind][0]
    columns: dict[str, list[Any]] = {
        title: [_name(kind, each) for each in found],
        "Counted": [dollars(each.nano) for each in found],
        "Share": [share(each.nano, total) for each in found],
        "Calls": [each.calls for each in found],
    }

    def leave(row: int) -> None:
        if found[row].name:
            go(RUN_LOGS, project=project.slug, run=found[row].name)

    opens = kind == "runs" and any(each.name for each in found)
    key = f"window_spend:{kind}"
    st.dataframe(
        arrow(columns),
        hide_index=True,
        row_height=34,
        placeholder="",
        **(row_opens(key, leave) if opens else {"key": key}),
        alt=f"{title} by what is counted, the largest first",
        column_config=wide_enough(
            columns,
            {
                "Counted": money_column(columns["Counted"]),
                "Share": st.column_config.TextColumn(alignment="right"),
                "Calls": count_column(),
            },
            title,
        ),
    )


def _name(kind: str, each: Spender) -> str:
    return each.name or (count(each.others, "other") if each.others else _NOBODY[kind])
