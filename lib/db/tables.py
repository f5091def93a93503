"""The tables. Rules that must hold whatever the code does stand here as constraints.

Times are microseconds since 1970 UTC (``*_at``, ``*_until``); money is nano-USD (``*_nano``);
prices are nano-USD per million tokens (``price_*``). Unknown is NULL.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    FetchedValue,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from lib.db.alert_tables import (
    alert_channels,
    alert_deliveries,
    alert_events,
    alert_mutes,
    alert_opt_outs,
    alert_settings,
    alert_states,
)
from lib.db.event_table import EVENT_STATUSES, rows_where, usage_events
from lib.db.rollup_tables import (
    SOURCES,
    metadata,
    one_of,
    rollup_zone,
    usage_archives,
    usage_daily,
    usage_daily_caching,
    usage_daily_models,
    usage_daily_totals,
    usage_hourly,
    usage_hourly_totals,
    usage_models,
)
from lib.db.view_tables import saved_views

__all__ = [
    "EVENT_STATUSES",
    "SOURCES",
    "alert_channels",
    "alert_deliveries",
    "alert_events",
    "alert_mutes",
    "alert_opt_outs",
    "alert_settings",
    "alert_states",
    "metadata",
    "rollup_zone",
    "saved_views",
    "usage_archives",
    "usage_daily",
    "usage_daily_caching",
    "usage_daily_models",
    "usage_daily_totals",
    "usage_events",
    "usage_hourly",
    "usage_hourly_totals",
    "usage_models",
]

_Serial = BigInteger().with_variant(Integer, "sqlite")  # SQLite counts up INTEGER keys only


RUN_KINDS = ("chat", "scheduled", "pr_review", "scan")
RUN_STATUSES = ("running", "waiting", "passed", "failed", "error", "budget_exceeded", "lost", "refused")

deployment = Table(
    "deployment",
    metadata,
    Column("one", Integer, primary_key=True),
    Column("id", String(36), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    CheckConstraint("one = 1", name="one_row"),
)

imported_files = Table(
    "imported_files",
    metadata,
    # Of the file's bytes; one row stands for all files of before there was this table (lib.exchange.imports.imported_files).
    Column("sha256", String(64), primary_key=True),
    Column("imported_at", BigInteger, nullable=False),
)

plans = Table(
    "plans",
    metadata,
    Column("name", String(40), primary_key=True),
    Column("cap_5h_nano", BigInteger, nullable=False),
    Column("cap_7d_nano", BigInteger, nullable=False),
    Column("default_output_limit", Integer, nullable=False),
    CheckConstraint("cap_5h_nano >= 0 AND cap_7d_nano >= 0", name="caps"),
    CheckConstraint("default_output_limit > 0", name="output_limit"),
)

projects = Table(
    "projects",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("slug", String(60), nullable=False, unique=True),
    Column("name", String(200), nullable=False),
    Column("plan", String(40), ForeignKey("plans.name"), nullable=False),
    Column("on_key_failure", String(10), nullable=False, server_default="stop"),
    Column("policy_set_at", BigInteger),
    Column("policy_set_by", String(320)),
    Column("created_at", BigInteger, nullable=False),
    Column("created_by", String(320), nullable=False),
    Column("archived_at", BigInteger),
    # Of releases that kept sample data in here; read by nothing any more, to be dropped by the next one.
    Column("sample", Boolean, nullable=False, server_default=text("false")),
    # The seal over what points at the project's keys (lib.vault.seals); sample data has none.
    Column("sealed_keys", Text),
    Column("seal_master_key_id", String(40)),
    Column("seal", LargeBinary),
    CheckConstraint(one_of("on_key_failure", "stop", "platform"), name="on_key_failure"),
)

project_labels = Table(
    "project_labels",
    metadata,
    Column("project_id", String(36), ForeignKey("projects.id", ondelete="CASCADE"), primary_key=True),
    Column("name", String(40), primary_key=True),
    Column("since", BigInteger, primary_key=True),
    # NULL: from then on the project has no such label. Older rows stay, so that old months do not move.
    Column("value", String(200)),
)

accounts = Table(
    "accounts",
    metadata,
    Column("project_id", String(36), ForeignKey("projects.id", ondelete="CASCADE"), primary_key=True),
    Column("sequence", BigInteger, nullable=False, server_default="0"),
    Column("counted_nano", BigInteger, nullable=False, server_default="0"),
    Column("unknown_nano", BigInteger, nullable=False, server_default="0"),
    Column("reserved_nano", BigInteger, nullable=False, server_default="0"),
    Column("last_settled_at", BigInteger, nullable=False, server_default="0"),
    # From which running total and reservations, or from when on, the thresholds of alerts are to be looked at,
    # and the caps for which that holds (lib.alerts.thresholds).
    Column("alert_above_nano", BigInteger, nullable=False, server_default="0"),
    Column("alert_after", BigInteger),
    Column("alert_cap_5h_nano", BigInteger),
    Column("alert_cap_7d_nano", BigInteger),
    CheckConstraint("reserved_nano >= 0", name="reserved"),
    CheckConstraint("unknown_nano <= counted_nano", name="unknown_is_part"),
)

forecasts = Table(
    "forecasts",
    metadata,
    # What the hours after ``made_at`` would cost: in four of five cases between low and high.
    Column("project_id", String(36), ForeignKey("projects.id", ondelete="CASCADE"), primary_key=True),
    Column("source", String(10), primary_key=True),
    Column("made_at", BigInteger, primary_key=True, autoincrement=False),
    Column("hours_ahead", Integer, primary_key=True, autoincrement=False),
    Column("low_nano", BigInteger, nullable=False),
    Column("middle_nano", BigInteger, nullable=False),
    Column("high_nano", BigInteger, nullable=False),
    Column("outcome_nano", BigInteger),  # when its time is over
    CheckConstraint(one_of("source", *SOURCES), name="source"),
)

cap_overrides = Table(
    "cap_overrides",
    metadata,
    Column("project_id", String(36), ForeignKey("projects.id", ondelete="CASCADE"), primary_key=True),
    Column("cap_5h_nano", BigInteger, nullable=False),
    Column("cap_7d_nano", BigInteger, nullable=False),
    Column("reason", String(500), nullable=False),
    Column("ends_at", BigInteger),
    Column("set_at", BigInteger, nullable=False),
    Column("set_by", String(320), nullable=False),
    CheckConstraint("cap_5h_nano >= 0 AND cap_7d_nano >= 0", name="caps"),
)

cap_requests = Table(
    "cap_requests",
    metadata,
    Column("project_id", String(36), ForeignKey("projects.id", ondelete="CASCADE"), primary_key=True),
    Column("request_id", String(36), primary_key=True),
    Column("asked_by", String(320), nullable=False),
    Column("asked_at", BigInteger, nullable=False),
    Column("cap_5h_nano", BigInteger, nullable=False),
    Column("cap_7d_nano", BigInteger, nullable=False),
    Column("wanted_until", BigInteger, nullable=False),
    Column("reason", String(500), nullable=False),
    Column("status", String(10), nullable=False),
    Column("decided_by", String(320)),
    Column("decided_at", BigInteger),
    Column("answer", String(500)),
    CheckConstraint("cap_5h_nano >= 0 AND cap_7d_nano >= 0", name="caps"),
    CheckConstraint(one_of("status", "open", "approved", "declined", "replaced"), name="status"),
)
# One request of a project waits at a time; and those that wait are found without the others.
Index(
    "ix_cap_requests_open",
    cap_requests.c.project_id,
    unique=True,
    **rows_where(cap_requests.c.status == "open"),
)

provider_keys = Table(
    "provider_keys",
    metadata,
    Column("project_id", String(36), ForeignKey("projects.id", ondelete="CASCADE"), primary_key=True),
    Column("provider", String(20), primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("secret_id", String(36), nullable=False),
    Column("last4", String(4), nullable=False),
    Column("scheme", String(20), nullable=False),
    Column("master_key_id", String(40), nullable=False),
    Column("sealed_data_key", LargeBinary),
    Column("sealed_value", LargeBinary),
    Column("saved_at", BigInteger, nullable=False),
    Column("saved_by", String(320), nullable=False),
    Column("ended_at", BigInteger),
    Column("ended_by", String(320)),
    Column("checked_at", BigInteger),
    Column("check_code", String(100)),
    Column("check_message", String(600)),
    Column("used_at", BigInteger),
    Column("used_by_run", String(40)),
    Column("failing_since", BigInteger),
    Column("failure", String(20)),
    Column("failure_status", Integer),
    Column("failure_code", String(100)),
    Column("failure_message", String(600)),
    Column("failure_request_id", String(200)),
    Column("locked_since", BigInteger),
    # When a call last succeeded, and what stands in the way of the next one until it does.
    Column("worked_at", BigInteger),
    Column("obstacle", String(10)),
    # When its failing was told, until its working again is.
    Column("failure_told_at", BigInteger),
    # Who pays at the provider, where the check's answer named it.
    Column("workspace", String(80)),
    CheckConstraint("version > 0", name="version"),
    CheckConstraint(one_of("obstacle", "money", "address"), name="obstacle"),
    # A key in use is sealed; of one that has ended nothing is left to open.
    CheckConstraint(
        "(ended_at IS NULL) = (sealed_value IS NOT NULL) AND (ended_at IS NULL) = (sealed_data_key IS NOT NULL)",
        name="sealed_while_in_use",
    ),
    CheckConstraint(one_of("failure", "rejected", "out_of_money"), name="failure"),
    CheckConstraint("(failing_since IS NULL) = (failure IS NULL)", name="failing"),
    UniqueConstraint("project_id", "secret_id", name="uq_provider_keys_secret_id"),
)
Index(
    "uq_provider_keys_in_use",
    provider_keys.c.project_id,
    provider_keys.c.provider,
    unique=True,
    **rows_where(provider_keys.c.ended_at.is_(None)),
)
Index("ix_provider_keys_master", provider_keys.c.master_key_id)

platform_key_health = Table(
    "platform_key_health",
    metadata,
    # Written only when the state changes: projects share this row.
    Column("provider", String(20), primary_key=True),
    Column("last4", String(4), nullable=False),
    Column("failing_since", BigInteger, nullable=False),
    Column("failure", String(20), nullable=False),
    Column("failure_status", Integer),
    Column("failure_code", String(100)),
    Column("failure_message", String(600)),
    Column("failure_request_id", String(200)),
)

runs = Table(
    "runs",
    metadata,
    Column("project_id", String(36), ForeignKey("projects.id", ondelete="CASCADE"), primary_key=True),
    Column("run_id", String(40), primary_key=True),
    Column("kind", String(20), nullable=False),
    Column("status", String(20), nullable=False),
    Column("started_at", BigInteger, nullable=False),
    Column("started_by", String(320), nullable=False),
    Column("ended_at", BigInteger),
    Column("lease_until", BigInteger),
    Column("resumes_at", BigInteger),
    Column("claimed_until", BigInteger),
    Column("token_budget", BigInteger),
    Column("budget_warned_at", BigInteger),
    Column("stopped_by", String(20)),
    Column("calls", Integer, nullable=False, server_default="0"),
    Column("failed_calls", Integer, nullable=False, server_default="0"),
    Column("unpriced_calls", Integer, nullable=False, server_default="0"),
    Column("tokens", BigInteger, nullable=False, server_default="0"),
    Column("platform_nano", BigInteger, nullable=False, server_default="0"),
    Column("byok_nano", BigInteger, nullable=False, server_default="0"),
    Column("platform_calls", Integer, nullable=False, server_default="0"),
    Column("byok_calls", Integer, nullable=False, server_default="0"),
    Column("last4", String(4)),
    CheckConstraint(one_of("kind", *RUN_KINDS), name="kind"),
    CheckConstraint(one_of("status", *RUN_STATUSES), name="status"),
    CheckConstraint("token_budget > 0", name="token_budget"),
    CheckConstraint(one_of("stopped_by", "cap", "budget"), name="stopped_by"),
)
Index("ix_runs_run_id", runs.c.run_id, postgresql_ops={"run_id": "varchar_pattern_ops"})
Index("ix_runs_started", runs.c.project_id, runs.c.started_at)
Index(
    "ix_runs_open",
    runs.c.status,
    runs.c.lease_until,
    **rows_where(runs.c.ended_at.is_(None)),
)

run_log = Table(
    "run_log",
    metadata,
    # On SQLite the number alone is the key: only such a column counts up there.
    Column("project_id", String(36), primary_key=True),
    Column("run_id", String(40), primary_key=True),
    Column("id", _Serial, FetchedValue(), primary_key=True, autoincrement=False),
    Column("at", BigInteger, nullable=False),
    Column("tag", String(40), nullable=False),
    Column("message", String(600), nullable=False),
    Column("event_id", String(100)),
    ForeignKeyConstraint(["project_id", "run_id"], ["runs.project_id", "runs.run_id"], ondelete="CASCADE"),
)
Index("ix_run_log_run", run_log.c.project_id, run_log.c.run_id, run_log.c.id)

open_calls = Table(
    "open_calls",
    metadata,
    Column("project_id", String(36), ForeignKey("projects.id", ondelete="CASCADE"), primary_key=True),
    Column("event_id", String(100), primary_key=True),
    Column("run_id", String(40), nullable=False),
    Column("source", String(10), nullable=False),
    Column("provider", String(20), nullable=False),
    Column("model", String(200), nullable=False),
    Column("endpoint", String(200), nullable=False),
    Column("key_last4", String(4), nullable=False),
    Column("key_version", Integer),
    Column("opened_at", BigInteger, nullable=False),
    Column("lease_until", BigInteger, nullable=False),
    Column("ceiling_nano", BigInteger),
    CheckConstraint(one_of("source", *SOURCES), name="source"),
    CheckConstraint("(source = 'platform') = (ceiling_nano IS NOT NULL)", name="platform_reserves"),
)
# Of a condition that always holds, and that only the search for late calls names (lib.usage.expiry.is_late).
_late = rows_where(open_calls.c.lease_until > 0)
Index("ix_open_calls_late", open_calls.c.project_id, open_calls.c.lease_until, **_late)

members = Table(
    "members",
    metadata,
    # A project's id, or * for all projects.
    Column("scope", String(36), primary_key=True),
    Column("email", String(320), primary_key=True),
    Column("role", String(10), nullable=False),
    Column("added_at", BigInteger, nullable=False),
    Column("added_by", String(320), nullable=False),
    CheckConstraint(one_of("role", "analyst", "manager", "lead", "admin"), name="role"),
)
Index("ix_members_email", members.c.email)

sessions = Table(
    "sessions",
    metadata,
    # One sign-in: a hash of the token's issuer, subject, issue time and id. It ends by age, or by signing out.
    Column("id", String(64), primary_key=True),
    Column("email", String(320), nullable=False),
    Column("started_at", BigInteger, nullable=False),
    Column("ended_at", BigInteger),
)
Index("ix_sessions_started", sessions.c.started_at)

audit_log = Table(
    "audit_log",
    metadata,
    Column("id", _Serial, primary_key=True, autoincrement=True),
    Column("at", BigInteger, nullable=False),
    Column("actor", String(320), nullable=False),
    Column("origin", String(20), nullable=False),
    Column("action", String(60), nullable=False),
    # No foreign key: the history of a project outlives it.
    Column("project_id", String(36)),
    Column("project", String(60)),
    Column("before", Text),
    Column("after", Text),
)
Index("ix_audit_log_at", audit_log.c.at)
Index("ix_audit_log_project", audit_log.c.project_id, audit_log.c.at)
