"""The calls of one run as a table: what each used, what it cost, and what changed its price."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import streamlit as st

from lib.clock import from_micros
from lib.formatting import count
from lib.providers import DEFAULT, title
from lib.ui.base.badges import badge_column
from lib.ui.base.filters import Chosen
from lib.ui.base.tables import arrow, call_cost_column, count_column, dollars
from lib.ui.base.wording import SOURCE_COLOR, escape, payer
from lib.ui.parts.cards import heading
from lib.usage.event_row import EventRow

_CALLS_SHOWN = 200
_CALL_WORDS = {
    "ok": ("ok", "gray"),
    "error": ("error", "red"),
    "broken": ("stream broke", "red"),
    "abandoned": ("stream abandoned", "orange"),
    "unknown": ("outcome unknown", "orange"),
    "running": ("running", "gray"),
}


def draw_calls(calls: Sequence[EventRow], chosen: Chosen, *, archived: int = 0) -> None:
    """The newest calls, oldest first, and which price table gave their costs; how many are archived is said."""
    if not calls:
        heading("Calls", note=f"{count(archived, 'call')}, archived" if archived else "no model calls, $0")
        return
    shown = list(enumerate(calls, 1))[-_CALLS_SHOWN:]
    cut = f"last {len(shown)} of {len(calls)}" if len(shown) < len(calls) else str(len(calls))
    heading("Calls", note=cut)
    results = [_result(call) for _, call in shown]
    columns: dict[str, list[Any]] = {
        "#": [number for number, _ in shown],
        f"At ({chosen.zone.key})": [
            f"{from_micros(call.occurred_at).astimezone(chosen.zone):%H:%M:%S}" for _, call in shown
        ],
        **_providers([call for _, call in shown]),
        "Endpoint": [call.endpoint for _, call in shown],
        "Model": [call.model for _, call in shown],
        **_price_facts([call for _, call in shown]),
        "Result": [[word] for word, _ in results],
        "Input": [call.input_tokens for _, call in shown],
        "Cached": [call.cached_input_tokens for _, call in shown],
        "Output": [call.output_tokens for _, call in shown],
        **_paid_beside([call for _, call in shown]),
        "Cost": [dollars(call.cost_nano) for _, call in shown],
        "Latency, ms": [call.latency_ms for _, call in shown],
        "Paid by": [[payer(call.source, call.key_last4)] for _, call in shown],
        "Request id": [call.upstream_request_id for _, call in shown],
    }
    payers = {payer(call.source, call.key_last4): SOURCE_COLOR[call.source] for _, call in shown}
    st.dataframe(
        arrow(columns),
        hide_index=True,
        row_height=34,
        placeholder="",
        alt="The calls of the run, oldest first",
        column_config={
            "Result": badge_column(dict(results)),
            "Paid by": badge_column(payers),
            "Provider": badge_column({title(call.provider): "gray" for _, call in shown}),
            **{name: call_cost_column(columns[name]) for name in ("Cost", "Fees") if name in columns},
            **dict.fromkeys(("Input", "Cached", "Cache written", "Output", "Latency, ms"), count_column()),
        },
    )
    if tables := sorted({call.price_table for _, call in shown if call.price_table}):
        st.caption(f"Priced by {', '.join(map(escape, tables))}.")


def _providers(calls: Sequence[EventRow]) -> dict[str, list[Any]]:
    """Which provider each call went to, where that is not the first one for all."""
    named = [[title(call.provider)] for call in calls]
    return {"Provider": named} if {call.provider for call in calls} != {DEFAULT} else {}


def _price_facts(calls: Sequence[EventRow]) -> dict[str, list[Any]]:
    """What changed a price, as columns where any of the calls has it."""
    facts: dict[str, list[Any]] = {
        "Answered by": [call.served_model if call.served_model != call.model else None for call in calls],
        "Tier": [call.service_tier for call in calls],
        "Region": [call.region for call in calls],
    }
    return {name: values for name, values in facts.items() if any(values)}


def _paid_beside(calls: Sequence[EventRow]) -> dict[str, list[Any]]:
    facts: dict[str, list[Any]] = {
        "Cache written": [_written(call) for call in calls],
        "Fees": [dollars(call.fees_nano) for call in calls],
    }
    return {name: values for name, values in facts.items() if any(values)}


def _written(call: EventRow) -> int | None:
    """For however long it is kept."""
    written = [count for count in (call.cache_write_tokens, call.cache_write_1h_tokens) if count is not None]
    return sum(written) if written else None


def _result(call: EventRow) -> tuple[str, str]:
    word, color = _CALL_WORDS.get(call.status, (call.status, "gray"))
    if call.status == "ok":
        return str(call.http_status or word), color
    codes = [str(part) for part in (call.http_status, call.error_code) if part]
    return (" ".join(codes) if call.status == "error" and codes else word), color
