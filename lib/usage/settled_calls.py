"""What a process tells of a usage row that it has written: a count for Prometheus, and a line of its log."""

from __future__ import annotations

import logging

from lib import logs
from lib.metrics import meters
from lib.pricing.amounts import plain_usd
from lib.usage.event_row import EventRow

_log = logging.getLogger("lib.calls")


def note_settled(row: EventRow) -> None:
    """Count it, and log which run and which request it was; no prompt, no answer, no key."""
    meters.count_call(row.provider, row.source, row.status, is_known=row.cost_nano is not None)
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
