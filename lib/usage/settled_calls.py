"""What a process tells of a usage row that it has written: a count for Prometheus, a span, and a line of its log."""

from __future__ import annotations

import logging

from lib import logs
from lib.metrics import meters
from lib.metrics.spans import SPANS
from lib.pricing.amounts import plain_usd
from lib.providers import known
from lib.usage.event_row import EventRow

_log = logging.getLogger("lib.calls")
_OPERATIONS = {
    "responses": "chat",
    "chat/completions": "chat",
    "messages": "chat",
    "completions": "text_completion",
    "generateContent": "generate_content",
    "streamGenerateContent": "generate_content",
}
"""By the end of the endpoint; others are what they are called: embeddings, moderations …"""


def note_settled(row: EventRow, *, ceiling: int | None = None) -> None:
    """Count it, and log which run and which request it was; no prompt, no answer, no key.

    Args:
        row: what was written.
        ceiling: nano-USD that were reserved for it; None where the platform did not pay.
    """
    passed = passes_ceiling(ceiling, row.cost_nano)
    meters.count_call(
        row.provider, row.source, row.status, is_known=row.cost_nano is not None, passed_ceiling=passed
    )
    _add_span(row)
    if not _log.isEnabledFor(logging.INFO):
        return
    said = {
        "run": row.run_id,
        "call": row.event_id,
        "request": row.upstream_request_id,
        "provider": row.provider,
        "model": row.model,
        "source": row.source,
        "status": row.status,
        "http_status": row.http_status,
        "cost_usd": plain_usd(row.cost_nano) or None,
        "latency_ms": row.latency_ms,
    }
    _log.info("A call of run %s was settled: %s.", row.run_id, row.status, extra=logs.fields(said))


def passes_ceiling(ceiling: int | None, cost: int | None) -> bool:
    """Whether a call cost more than what was reserved for it; both in nano-USD, None where there is none."""
    return ceiling is not None and cost is not None and cost > ceiling


def _trace_name(provider: str) -> str:
    facts = known.facts.get(provider)
    return (facts.trace_name if facts else "") or provider


def _add_span(row: EventRow) -> None:
    last = row.endpoint.replace(":", "/").rpartition("/")[2]
    operation = _OPERATIONS.get(row.endpoint) or _OPERATIONS.get(last) or row.endpoint
    written = (row.cache_write_tokens or 0) + (row.cache_write_1h_tokens or 0)
    failed = None if row.status == "ok" else row.error_type or row.error_code or row.status
    told = {
        "gen_ai.operation.name": operation,
        "gen_ai.provider.name": _trace_name(row.provider),
        "gen_ai.request.model": row.model,
        "gen_ai.response.model": row.served_model,
        "gen_ai.usage.input_tokens": row.input_tokens,
        "gen_ai.usage.output_tokens": row.output_tokens,
        "gen_ai.usage.cache_read.input_tokens": row.cached_input_tokens,
        "gen_ai.usage.cache_creation.input_tokens": written or None,
        "http.response.status_code": row.http_status,
        "error.type": failed,
        "qodex.call.id": row.event_id,
        "qodex.request.id": row.upstream_request_id,
        "qodex.source": row.source,
        "qodex.status": row.status,
        "qodex.cost_usd": plain_usd(row.cost_nano) or None,
    }
    SPANS.add_call(row.run_id, f"{operation} {row.model}", told, row.latency_ms)
