"""The usage event: one row for each HTTP attempt that was sent to a provider, or that was imported."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ColumnElement,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
    text,
)

from lib.db.call_sample import indexed, share
from lib.db.rollup_tables import SOURCES, metadata, one_of

EVENT_STATUSES = ("ok", "error", "broken", "abandoned", "unknown")


def rows_where(condition: ColumnElement[bool]) -> dict[str, Any]:
    """For an index of only those rows, on both engines."""
    return {"sqlite_where": condition, "postgresql_where": condition}


usage_events = Table(
    "usage_events",
    metadata,
    Column("project_id", String(36), ForeignKey("projects.id", ondelete="CASCADE"), primary_key=True),
    Column("event_id", String(100), primary_key=True),
    Column("occurred_at", BigInteger, nullable=False),
    Column("run_id", String(200)),
    Column("run_kind", String(20)),
    Column("source", String(10), nullable=False),
    Column("provider", String(40), nullable=False),
    Column("model", String(200), nullable=False),
    Column("endpoint", String(200), nullable=False),
    Column("status", String(10), nullable=False),
    Column("input_tokens", BigInteger),
    Column("cached_input_tokens", BigInteger),
    Column("output_tokens", BigInteger),
    Column("reasoning_tokens", BigInteger),
    Column("cost_nano", BigInteger),
    Column("price_input", BigInteger),
    Column("price_cached_input", BigInteger),
    Column("price_output", BigInteger),
    Column("key_last4", String(4)),
    Column("upstream_request_id", String(200)),
    Column("latency_ms", BigInteger),
    Column("imported", Boolean, nullable=False, server_default=text("false")),
    Column("http_status", Integer),
    Column("error_code", String(100)),
    Column("error_type", String(100)),
    Column("error_message", String(600)),
    # Live platform calls only: the project's account right after this call (see lib.caps.cap_state).
    Column("sequence", BigInteger),
    Column("counted_after_nano", BigInteger),
    Column("unknown_after_nano", BigInteger),
    # What changed the price, and what was paid beside plain input, cached input and output (0006).
    Column("served_model", String(200)),
    Column("service_tier", String(40)),
    Column("region", String(40)),
    Column("cache_write_tokens", BigInteger),
    Column("cache_write_1h_tokens", BigInteger),
    Column("price_cache_write", BigInteger),
    Column("price_cache_write_1h", BigInteger),
    Column("fees_nano", BigInteger),
    Column("price_table", String(60)),
    CheckConstraint(one_of("source", *SOURCES), name="source"),
    CheckConstraint(one_of("status", *EVENT_STATUSES), name="status"),
    CheckConstraint(
        "input_tokens >= 0 AND output_tokens >= 0 AND cached_input_tokens >= 0 AND reasoning_tokens >= 0",
        name="tokens",
    ),
    CheckConstraint("cached_input_tokens <= input_tokens", name="cached_is_part"),
    CheckConstraint("reasoning_tokens <= output_tokens", name="reasoning_is_part"),
    CheckConstraint("cost_nano >= 0", name="cost"),
    CheckConstraint("cache_write_tokens >= 0 AND cache_write_1h_tokens >= 0", name="written"),
    CheckConstraint(
        "coalesce(cached_input_tokens, 0) + coalesce(cache_write_tokens, 0) + "
        "coalesce(cache_write_1h_tokens, 0) <= input_tokens",
        name="written_is_part",
    ),
    CheckConstraint("fees_nano >= 0", name="fees"),
    CheckConstraint(
        "(source = 'platform' AND NOT imported) = (sequence IS NOT NULL)", name="counted_on_the_platform"
    ),
)
Index("ix_usage_events_time", usage_events.c.project_id, usage_events.c.occurred_at, usage_events.c.event_id)
Index("ix_usage_events_run", usage_events.c.project_id, usage_events.c.run_id)
Index(
    "ix_usage_events_request",
    usage_events.c.project_id,
    usage_events.c.upstream_request_id,
    **rows_where(usage_events.c.upstream_request_id.is_not(None)),
    postgresql_ops={"upstream_request_id": "varchar_pattern_ops"},
)
_counted = rows_where(usage_events.c.sequence.is_not(None))
Index(
    "ix_usage_events_window",
    usage_events.c.project_id,
    usage_events.c.occurred_at,
    usage_events.c.sequence,
    **_counted,
)
Index(
    "ix_usage_events_running_total",
    usage_events.c.project_id,
    usage_events.c.counted_after_nano,
    usage_events.c.sequence,
    **_counted,
)
Index(
    "ix_usage_events_sample",
    share(usage_events.c.event_id),
    *(
        usage_events.c[name]
        for name in (
            *("project_id", "occurred_at", "status", "source", "provider", "model", "run_kind"),
            *("input_tokens", "output_tokens", "latency_ms", "event_id"),
        )
    ),
    **rows_where(indexed(usage_events.c.event_id)),
)
