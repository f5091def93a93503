"""The export card: the same filter as the page, as a file. What is too large for it belongs to the command line."""

from __future__ import annotations

import io

import streamlit as st

from lib.access.roles import Actor
from lib.ui import loaders
from lib.ui.cards import card, card_title, facts
from lib.ui.filters import Chosen
from lib.ui.guards import acting
from lib.ui.server import front_door
from lib.ui.wording import SOURCE, count, escape, money
from lib.usage.export import export_usage
from lib.usage.reports import Totals, UsageFilter

MOST_ROWS = 100_000
"""A file is made in memory here, so only so many rows."""

_FORMATS = {
    "csv": ("Calls, one row each (CSV)", "Can be imported again to the same numbers"),
    "daily-csv": ("Days (CSV)", "One row per day, project, source, provider and model"),
}


def draw(wanted: UsageFilter, sums: Totals, chosen: Chosen, *, projects: int) -> None:
    """Format on the left; on the right what the file will hold, and the button that makes it."""
    actor = acting()
    with card():
        card_title("Export", note="exactly what the filters above select")
        left, right = st.columns(2, gap="large")
        with left:
            kind = _choose_format()
        with right:
            rows = sums.calls if kind == "csv" else len(loaders.daily(wanted, actor))
            _describe(wanted, sums, chosen, projects=projects, rows=rows)
            if rows > MOST_ROWS:
                _refuse(kind)
            else:
                _button(wanted, chosen, kind, actor)


def _choose_format() -> str:
    kind = st.radio(
        "Format",
        list(_FORMATS),
        key="export:format",
        format_func=lambda name: _FORMATS[name][0],
        captions=[caption for _, caption in _FORMATS.values()],
        label_visibility="collapsed",
    )
    return str(kind)


def _describe(wanted: UsageFilter, sums: Totals, chosen: Chosen, *, projects: int, rows: int) -> None:
    some = f"{len(wanted.projects) or projects} of {count(projects, 'project')}"
    sources = " and ".join(SOURCE[name] for name in wanted.sources) or "both sources"
    content = {
        "Period": escape(chosen.label),
        "Filter": f"{some}, {sources}",
        "Rows": count(rows),
        "Cost": escape(money(sums.total_nano)),
    }
    facts(content, alt="What the export holds")


def _refuse(kind: str) -> None:
    st.caption(
        f"This page exports at most {count(MOST_ROWS, 'row')}. Narrow the filters, or export on the server: "
        f"`python -m lib usage export --format {kind} -o usage.csv`"
    )


def _button(wanted: UsageFilter, chosen: Chosen, kind: str, actor: Actor) -> None:
    def content() -> bytes:
        out = io.BytesIO()
        export_usage(front_door().database, wanted, out, actor=actor, format=kind)
        return out.getvalue()

    name = "calls" if kind == "csv" else "days"
    # ``content`` runs when the button is pressed, not on each look: an export is in the audit log.
    st.download_button(
        "Download CSV",
        data=content,
        file_name=f"qodex-{name}-{chosen.period.first_day}-to-{chosen.period.last_day}.csv",
        mime="text/csv",
        key="usage:download",
        type="primary",
        icon=":material/download:",
        on_click="ignore",
    )
