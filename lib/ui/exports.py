"""The export card: the same filter as the page, as a file. What is too large for it belongs to the command line."""

from __future__ import annotations

import io

import streamlit as st

from lib.ui import cards, wording
from lib.ui.guards import Visit
from lib.usage.export import export_usage
from lib.usage.reports import Totals, UsageFilter

MOST_ROWS = 100_000
"""A file is made in memory here, so only so many rows."""

_FORMATS = {
    "csv": ("Calls, one row each (CSV)", "Can be imported again to the same numbers."),
    "daily-csv": ("Days (CSV)", "One row a day, project, source, provider and model."),
}


def export_card(visit: Visit, wanted: UsageFilter, totals: Totals, *, period: str, projects: str) -> None:
    """Format on the left; what the file will hold, and the button, on the right."""
    with cards.card():
        cards.card_title("Export", note="exactly what the filters above select")
        left, right = st.columns(2, gap="large")
        with left:
            kind = st.radio(
                "Format",
                list(_FORMATS),
                format_func=lambda name: _FORMATS[name][0],
                captions=[caption for _, caption in _FORMATS.values()],
                label_visibility="collapsed",
            )
        with right:
            cards.facts(
                {
                    "Period": wording.escape(period),
                    "Projects": wording.escape(projects),
                    "Calls": wording.count(totals.calls),
                    "Cost": wording.escape(wording.money(totals.total_nano)),
                },
                alt="What the export will hold",
            )
            _button(visit, wanted, totals, str(kind))


def _button(visit: Visit, wanted: UsageFilter, totals: Totals, kind: str) -> None:
    if kind == "csv" and totals.calls > MOST_ROWS:
        limit = wording.count(MOST_ROWS, "row")
        st.caption(
            f"This page exports at most {limit}. Narrow the filters, or export on the server: "
            "`python -m lib usage export -o usage.csv`"
        )
        return
    st.download_button(
        "Download CSV",
        # Made when it is clicked, not on each look: an export is in the audit log.
        lambda: _file(visit, wanted, kind),
        file_name="usage.csv" if kind == "csv" else "usage-daily.csv",
        mime="text/csv",
        type="primary",
        icon=":material/download:",
        on_click="ignore",
    )


def _file(visit: Visit, wanted: UsageFilter, kind: str) -> bytes:
    out = io.BytesIO()
    export_usage(visit.platform.database, wanted, out, actor=visit.actor, format=kind)
    return out.getvalue()
