"""What single calls say on Settings > Usage: how large and how slow they are, and which cost most."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import streamlit as st

from lib.access.roles import Actor
from lib.formatting import count, day_time, latency, weekday_time
from lib.reports.calls import CostlyCall, CostlyRun, LatestCalls, Spread
from lib.reports.models import UsageFilter
from lib.ui.base import loaders
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
from lib.ui.parts import cards
from lib.ui.parts.cards import Metric

_PAYERS = {"Platform": "violet", "BYOK": "blue", "Platform and BYOK": "gray"}


def draw(wanted: UsageFilter, chosen: Chosen, actor: Actor) -> None:
    """The section; it says which calls were looked at."""
    latest = loaders.cached(front_door().call_reports.latest, wanted, actor=actor)
    cards.heading("Single calls" if latest.whole else "Latest calls", note=looked_at(latest, chosen))
    if not latest.calls:
        cards.empty("None of them matches. Choose fewer filters, or a shorter period.")
        return
    cards.metrics(metrics(latest))
    left, right = st.columns(2)
    with left, cards.card(height="stretch"):
        cards.heading("Costliest runs, USD", note="of these calls")
        _draw_runs(latest.costliest_runs, wanted)
    with right, cards.card(height="stretch"):
        cards.heading("Costliest calls, USD", note="of these calls")
        _draw_calls(latest.costliest_calls, wanted, chosen)


def looked_at(latest: LatestCalls, chosen: Chosen) -> str:
    """Which calls these numbers are of."""
    if latest.whole:
        return f"all {count(latest.calls, 'call')} that match"
    since = weekday_time(latest.since, chosen.zone)
    return f"the latest calls only: {count(latest.calls)} that match since {since}"


def metrics(latest: LatestCalls) -> list[Metric]:
    """Median and 95th percentile, of the answered calls of which they are known; each label says whose they are."""
    tokens, waits = latest.spreads["tokens"], latest.spreads["latency"]
    which = "" if latest.whole else f", latest {count(latest.calls)}"
    return [
        Metric(f"Tokens per call, median{which}", _tokens(tokens.median), help=_of(tokens, latest, "tokens")),
        Metric(f"Tokens, 95th percentile{which}", _tokens(tokens.p95), help=_of(tokens, latest, "tokens")),
        Metric(f"Latency, median{which}", latency(waits.median), help=_of(waits, latest, "latency")),
        Metric(f"Latency, 95th percentile{which}", latency(waits.p95), help=_of(waits, latest, "latency")),
    ]


def _tokens(number: int | None) -> str:
    return "unknown" if number is None else count(number)


def _of(spread: Spread, latest: LatestCalls, what: str) -> str:
    verb = "is" if what == "latency" else "are"
    return (
        f"Of the {count(spread.calls)} of {count(latest.calls, 'call')} whose {what} {verb} known and that got no "
        "error answer, by nearest rank."
    )


def _draw_runs(found: list[CostlyRun], wanted: UsageFilter) -> None:
    if not found:
        st.caption("None of these calls with a known cost belongs to a run of the run log.")
        return
    sources = [
        "both" if run.platform_nano and run.byok_nano else "byok" if run.byok_nano else "platform"
        for run in found
    ]
    columns: dict[str, list[Any]] = {
        "Run": [run.run_id for run in found],
        **_projects(found, wanted),
        "Cost": [dollars(run.platform_nano + run.byok_nano) for run in found],
        "Calls": [run.calls for run in found],
        "Paid by": [[payer_word(source)] for source in sources],
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
