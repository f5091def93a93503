"""Spend on Overview and Usage: its three amounts, and its card over time, where a click on a bar narrows the page."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import streamlit as st

from lib.formatting import count, decimals, money
from lib.llm import registry
from lib.reports.models import Totals
from lib.ui.base import filters
from lib.ui.base.comparing import change, money_adding_up
from lib.ui.base.tables import known
from lib.ui.base.wording import SOURCE, SOURCE_COLOR
from lib.ui.charts import over_time, theme
from lib.ui.charts.buckets import TimeSeries
from lib.ui.parts.cards import Metric, as_table, card, draw_table

_MEANING = {
    "platform": "Paid with Qodex's key, within each project's caps: [Plan](/plan) shows them.",
    "byok": f"Paid with the projects' own keys: {registry.titles()} bills them, and no cap applies. "
    "[Integrations](/integrations) tells more.",
}

WHAT_BYOK_IS = (
    "BYOK counts calls made through Qodex. Batch jobs, storage, training and other use of the same key are on the "
    "provider's bill only."
)


def draw_what_byok_is(sums: Totals) -> None:
    """Say once, below the numbers, what the BYOK figure leaves out: it is no bill. Nothing where there is none."""
    if sums.byok_calls:
        st.caption(WHAT_BYOK_IS)


def amounts(sums: Totals, previous: Totals, series: Sequence[Totals] = ()) -> list[Metric]:
    """Total, platform-funded and BYOK, with what each was in the period before."""
    unpriced = f"{count(sums.unpriced_calls, 'call')} without a known cost: in no total."
    known_parts = [known(sums, source) for source in _MEANING]
    places = decimals(known_parts)
    ledgers = money_adding_up(*known_parts, places=places)
    return [
        Metric(
            "Total spend",
            money(known(sums), places),
            change(sums.total_nano, previous.total_nano),
            series=[row.total_nano for row in series],
            help=unpriced if sums.unpriced_calls else None,
        ),
        *(
            _ledger(source, words, sums, previous, series)
            for source, words in zip(_MEANING, ledgers, strict=True)
        ),
    ]


def _ledger(source: str, words: str, sums: Totals, previous: Totals, series: Sequence[Totals]) -> Metric:
    now, before = (getattr(each, f"{source}_nano") for each in (sums, previous))
    return Metric(
        SOURCE[source],
        words,
        change(now, before),
        SOURCE_COLOR[source],
        [getattr(row, f"{source}_nano") for row in series],
        help=_MEANING[source],
    )


_TURN, _NARROWED = "spend:turn", "spend:narrowed"


def draw_spend_card(series: TimeSeries, *, title: str) -> None:
    """Draw it. ``title`` has ``{unit}`` for hour, day, week or month."""
    st.session_state.pop(_NARROWED, None)  # all of the page is drawn, for what the address says by now
    with card():
        _draw(series, title)


@st.fragment
def _draw(series: TimeSeries, title: str) -> None:
    if st.session_state.pop(_NARROWED, False):
        st.rerun()
    note = f"{series.unit}s in {series.zone}"
    if series.unit != "hour":
        note += f"; click a bar to narrow the page to that {series.unit}"
    with st.container(gap="xxsmall"):
        _chart_or_table(series, title, note)


def _chart_or_table(series: TimeSeries, title: str, note: str) -> None:
    drawn = over_time.spend(series)
    if as_table(title.format(unit=series.unit), "spend", note):
        draw_table(drawn)
    elif series.unit == "hour":
        theme.show(drawn)
    else:
        # After a click it is another chart: nothing is left of what was clicked.
        key = f"spend:{series.unit}:{st.session_state.get(_TURN, 0)}"
        theme.show_pickable(drawn, key=key, on_pick=partial(_narrow, series))


def _narrow(series: TimeSeries, clicked: str) -> None:
    for bar in series.rows:
        if bar.key == clicked:
            filters.narrow_to(bar.first, bar.last)
            st.session_state[_TURN] = st.session_state.get(_TURN, 0) + 1
            st.session_state[_NARROWED] = True
