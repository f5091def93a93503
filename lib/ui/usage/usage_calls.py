"""What single calls say on Settings > Usage: how large and how slow they are, and which cost most."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import streamlit as st

from lib.access.roles import Actor
from lib.formatting import UNKNOWN, count, day_time, latency, weekday_time
from lib.reports.calls import CostlyCall, CostlyRun, LatestCalls
from lib.reports.models import Totals, UsageFilter
from lib.reports.percentiles import EXACT, Percentile, Spread, Spreads
from lib.ui.base import loaders, query_state
from lib.ui.base.badges import badge_column
from lib.ui.base.filters import Chosen
from lib.ui.base.navigation import RUN_LOGS, go
from lib.ui.base.server import front_door
from lib.ui.base.tables import (
    arrow,
    call_cost_column,
    count_column,
    dollars,
    height_of,
    row_opens,
    wide_enough,
)
from lib.ui.base.wording import payer
from lib.ui.base.wrong_links import draw_wrong_links
from lib.ui.parts import cards
from lib.ui.parts.cards import Metric

_PAYERS = {"Platform": "violet", "BYOK": "blue", "Platform and BYOK": "gray"}


def draw_costliest_calls(wanted: UsageFilter, sums: Totals, chosen: Chosen, actor: Actor) -> None:
    """How large and slow calls are, of the whole period; and the costliest of the latest, which say which they are."""
    found = _spreads(wanted, sums.calls, actor)
    cards.heading("Size and speed of calls", note=drawn_from(found, sums))
    cards.metrics(metrics(found, sums))
    latest = loaders.cached(front_door().call_reports.latest, wanted, actor=actor)
    if not latest.whole:
        cards.heading("Latest calls", note=looked_at(latest, chosen))
    if not latest.calls:
        cards.empty("None of them matches. Choose fewer filters, or a shorter period.")
        return
    with cards.card():
        _draw_costliest(latest, wanted, chosen)


@st.fragment
def _draw_costliest(latest: LatestCalls, wanted: UsageFilter, chosen: Chosen) -> None:
    """Runs or calls: beside each other they would have no room for all columns."""
    with st.container(gap="xsmall"):
        row = st.container(
            horizontal=True, vertical_alignment="bottom", horizontal_alignment="distribute", gap="xsmall"
        )
        head = row.container(width="content")
        with row:
            what = query_state.select(
                "Costliest",
                "costliest",
                ["runs", "calls"],
                default="runs",
                width=130,
                noun="list of the costliest",
                format_func=str.capitalize,
            )
        draw_wrong_links()  # of what this card takes from the address
        with head:
            cards.heading(f"Costliest {what}, USD", note="of these calls", width="content")
        if what == "runs":
            _draw_runs(latest.costliest_runs, wanted)
        else:
            _draw_calls(latest.costliest_calls, wanted, chosen)


def _spreads(wanted: UsageFilter, calls: int, actor: Actor) -> Spreads:
    """Of few calls as they are now; of many kept for a minute, while calls come in."""
    ask = front_door().percentiles.spreads
    if calls <= EXACT:
        return loaders.cached(ask, wanted, calls, actor=actor)
    thousands = -(-calls // 1000) * 1000
    return loaders.cached_for_a_minute(ask, wanted, thousands, actor=actor)


def drawn_from(found: Spreads, sums: Totals) -> str:
    """Which calls these numbers are of."""
    if found.one_in == 1:
        return f"all {count(sums.calls, 'call')} that match"
    return f"estimated from one in {found.one_in} of the {count(sums.calls, 'call')} that match"


def looked_at(latest: LatestCalls, chosen: Chosen) -> str:
    """Which calls the costliest ones are among."""
    since = weekday_time(latest.since, chosen.zone)
    return f"the costliest are those of the latest calls only: {count(latest.calls)} that match since {since}"


def metrics(found: Spreads, sums: Totals) -> list[Metric]:
    """Median and 95th percentile, of the answered calls of which they are known; an estimate with its range."""
    tokens, waits = found.tokens, found.latency
    about_tokens, about_waits = (_of(each, found, sums) for each in (tokens, waits))
    return [
        _metric("Tokens per call, median", tokens.median, count, about_tokens),
        _metric("Tokens, 95th percentile", tokens.p95, count, about_tokens),
        _metric("Latency, median", waits.median, latency, about_waits),
        _metric("Latency, 95th percentile", waits.p95, latency, about_waits),
    ]


def _metric(label: str, found: Percentile | None, write: Callable[[int], str], about: str) -> Metric:
    if found is None:
        return Metric(label, UNKNOWN, help=about)
    if found.low == found.high:
        return Metric(label, write(found.value), help=about)
    between = f"{write(found.low)} to {write(found.high)}"
    return Metric(
        label, f"≈ {write(found.value)}", between, help=f"{about} With 95% certainty it is {between}."
    )


def _of(spread: Spread, found: Spreads, sums: Totals) -> str:
    if found.one_in == 1:
        return (
            f"Of the {count(spread.calls)} of {count(sums.calls, 'call')} of which it is known and that got no error "
            "answer, by nearest rank."
        )
    return (
        f"Estimated from {count(spread.calls, 'call')}, one in {found.one_in}, spread evenly over the whole period; "
        "error answers are left out."
    )


def _draw_runs(found: list[CostlyRun], wanted: UsageFilter) -> None:
    if not found:
        st.caption("None of these calls with a known cost belongs to a run of the run log.")
        return
    columns: dict[str, list[Any]] = {
        "Run": [run.run_id for run in found],
        **_projects(found, wanted),
        "Cost": [dollars(run.platform_nano + run.byok_nano) for run in found],
        "Calls": [run.calls for run in found],
        "Paid by": [[payer_word(run.source)] for run in found],
    }
    _table(columns, "runs", [(run.project, run.run_id) for run in found])


def _draw_calls(found: list[CostlyCall], wanted: UsageFilter, chosen: Chosen) -> None:
    if not found:
        st.caption("No call with a known cost.")
        return
    columns: dict[str, list[Any]] = {
        "Run": [call.run_id for call in found],
        **_projects(found, wanted),
        "Cost": [dollars(call.cost_nano) for call in found],
        "Paid by": [[payer_word(call.source)] for call in found],
        "Model": [call.model for call in found],
        "Tokens": [call.tokens for call in found],
        f"Settled, {chosen.zone.key}": [day_time(call.occurred_at, chosen.zone) for call in found],
        "Latency": [latency(call.latency_ms) for call in found],
    }
    if not any(columns["Run"]):
        del columns["Run"]
    _table(columns, "calls", [(call.project, call.run_id) for call in found])


def _projects(found: Sequence[CostlyCall | CostlyRun], wanted: UsageFilter) -> dict[str, list[Any]]:
    """Projects of the calls, unless it is the one that the page is about."""
    one = len(wanted.projects) == 1
    return {} if one else {"Project": [each.project for each in found]}


def payer_word(source: str) -> str:
    """``Platform`` or ``BYOK``."""
    return "BYOK" if source == "byok" else payer(source, None)


def _table(columns: dict[str, list[Any]], noun: str, logs: list[tuple[str, str | None]]) -> None:
    key = f"usage:costliest-{noun}"

    def leave(row: int) -> None:
        project, run_id = logs[row]
        if run_id:
            go(RUN_LOGS, project=project, run=run_id)

    config = {
        "Run": st.column_config.TextColumn(help="A row opens its run's log", width=115),
        "Cost": call_cost_column(columns["Cost"]),
        "Paid by": badge_column(_PAYERS),
        "Calls": count_column(),
        "Tokens": count_column(),
    }
    st.dataframe(
        arrow(columns),
        hide_index=True,
        row_height=34,
        height=height_of(len(logs), row=34, most=10),
        **(row_opens(key, leave) if any(run_id for _, run_id in logs) else {"key": key}),
        placeholder="",
        alt=f"The {len(logs)} costliest {noun}",
        column_config=wide_enough(columns, config, "Project", "Cost", "Model", "Tokens"),
    )
