"""The usage event as one record: who writes a row fills this, and a column has its default here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from lib.clock import Micros


@dataclass(slots=True, kw_only=True)
class EventRow:
    """One row of ``usage_events``, column by column. None is unknown; money in nano-USD, see lib.db.tables."""

    project_id: str
    event_id: str
    occurred_at: Micros
    run_id: str | None = None
    run_kind: str | None = None
    source: str
    provider: str
    model: str
    endpoint: str
    status: str
    input_tokens: int | None = None
    cached_input_tokens: int | None = None
    output_tokens: int | None = None
    reasoning_tokens: int | None = None
    cost_nano: int | None = None
    price_input: int | None = None
    price_cached_input: int | None = None
    price_output: int | None = None
    key_last4: str | None = None
    upstream_request_id: str | None = None
    latency_ms: int | None = None
    imported: bool = False
    http_status: int | None = None
    error_code: str | None = None
    error_type: str | None = None
    error_message: str | None = None
    sequence: int | None = None
    counted_after_nano: int | None = None
    unknown_after_nano: int | None = None
    served_model: str | None = None
    service_tier: str | None = None
    region: str | None = None
    cache_write_tokens: int | None = None
    cache_write_1h_tokens: int | None = None
    price_cache_write: int | None = None
    price_cache_write_1h: int | None = None
    fees_nano: int | None = None
    price_table: str | None = None

    def fill(self, columns: Mapping[str, Any]) -> None:
        """Set these columns."""
        for name, value in columns.items():
            setattr(self, name, value)

    def values(self) -> dict[str, Any]:
        """All columns by name, for an INSERT."""
        return {name: getattr(self, name) for name in COLUMNS}


COLUMNS = tuple(column.name for column in fields(EventRow))
