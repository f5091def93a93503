"""The first schema: projects and plans, keys, runs, calls and usage, the audit log."""

import time
import uuid

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_USD = 1_000_000_000  # nano
_PLANS = [
    {"name": "Starter", "cap_5h_nano": 5 * _USD, "cap_7d_nano": 30 * _USD, "default_output_limit": 4_096},
    {"name": "Team", "cap_5h_nano": 20 * _USD, "cap_7d_nano": 150 * _USD, "default_output_limit": 8_192},
    {"name": "Scale", "cap_5h_nano": 60 * _USD, "cap_7d_nano": 500 * _USD, "default_output_limit": 16_384},
]
_SQLITE_APPEND_ONLY = """
CREATE TRIGGER audit_log_no_{verb} BEFORE {verb} ON audit_log
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END
"""
# REPLACE deletes without asking the trigger above, unless recursive triggers are on.
_SQLITE_NO_REPLACE = """
CREATE TRIGGER audit_log_no_replace BEFORE INSERT ON audit_log
WHEN EXISTS (SELECT 1 FROM audit_log WHERE id = NEW.id)
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END
"""
_POSTGRES_APPEND_ONLY = """
CREATE FUNCTION audit_log_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'the audit log is append-only'; END $$;
CREATE TRIGGER audit_log_no_change BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_log
FOR EACH STATEMENT EXECUTE FUNCTION audit_log_append_only();
"""


def upgrade() -> None:
    _create_tables()
    op.bulk_insert(sa.table("plans", *(sa.column(name) for name in _PLANS[0])), _PLANS)
    op.bulk_insert(
        sa.table("deployment", sa.column("one"), sa.column("id"), sa.column("created_at")),
        [{"one": 1, "id": str(uuid.uuid4()), "created_at": time.time_ns() // 1000}],
    )
    op.bulk_insert(sa.table("rollup_zone", sa.column("one"), sa.column("zone")), [{"one": 1, "zone": "UTC"}])
    if op.get_bind().dialect.name == "sqlite":
        for verb in ("UPDATE", "DELETE"):
            op.execute(_SQLITE_APPEND_ONLY.format(verb=verb))
        op.execute(_SQLITE_NO_REPLACE)
    else:
        op.execute(_POSTGRES_APPEND_ONLY)


def _create_tables() -> None:
    op.create_table(
        "audit_log",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False
        ),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.String(length=320), nullable=False),
        sa.Column("origin", sa.String(length=20), nullable=False),
        sa.Column("action", sa.String(length=60), nullable=False),
        sa.Column("project_id", sa.String(length=36), nullable=True),
        sa.Column("project", sa.String(length=60), nullable=True),
        sa.Column("before", sa.Text(), nullable=True),
        sa.Column("after", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_log")),
    )
    op.create_index("ix_audit_log_at", "audit_log", ["at"], unique=False)
    op.create_index("ix_audit_log_project", "audit_log", ["project_id", "at"], unique=False)
    op.create_table(
        "deployment",
        sa.Column("one", sa.Integer(), nullable=False),
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("one = 1", name=op.f("ck_deployment_one_row")),
        sa.PrimaryKeyConstraint("one", name=op.f("pk_deployment")),
    )
    op.create_table(
        "members",
        sa.Column("scope", sa.String(length=36), nullable=False),
        sa.Column("email", sa.String(length=320), nullable=False),
        sa.Column("role", sa.String(length=10), nullable=False),
        sa.Column("added_at", sa.BigInteger(), nullable=False),
        sa.Column("added_by", sa.String(length=320), nullable=False),
        sa.CheckConstraint("role IN ('analyst', 'manager', 'lead', 'admin')", name=op.f("ck_members_role")),
        sa.PrimaryKeyConstraint("scope", "email", name=op.f("pk_members")),
    )
    op.create_index("ix_members_email", "members", ["email"], unique=False)
    op.create_table(
        "plans",
        sa.Column("name", sa.String(length=40), nullable=False),
        sa.Column("cap_5h_nano", sa.BigInteger(), nullable=False),
        sa.Column("cap_7d_nano", sa.BigInteger(), nullable=False),
        sa.Column("default_output_limit", sa.Integer(), nullable=False),
        sa.CheckConstraint("cap_5h_nano >= 0 AND cap_7d_nano >= 0", name=op.f("ck_plans_caps")),
        sa.CheckConstraint("default_output_limit > 0", name=op.f("ck_plans_output_limit")),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_plans")),
    )
    op.create_table(
        "platform_key_health",
        sa.Column("provider", sa.String(length=20), nullable=False),
        sa.Column("last4", sa.String(length=4), nullable=False),
        sa.Column("failing_since", sa.BigInteger(), nullable=False),
        sa.Column("failure", sa.String(length=20), nullable=False),
        sa.Column("failure_status", sa.Integer(), nullable=True),
        sa.Column("failure_code", sa.String(length=100), nullable=True),
        sa.Column("failure_message", sa.String(length=600), nullable=True),
        sa.Column("failure_request_id", sa.String(length=200), nullable=True),
        sa.PrimaryKeyConstraint("provider", name=op.f("pk_platform_key_health")),
    )
    op.create_table(
        "rollup_zone",
        sa.Column("one", sa.Integer(), nullable=False),
        sa.Column("zone", sa.String(length=60), nullable=False),
        sa.CheckConstraint("one = 1", name=op.f("ck_rollup_zone_one_row")),
        sa.PrimaryKeyConstraint("one", name=op.f("pk_rollup_zone")),
    )
    op.create_table(
        "sessions",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("email", sa.String(length=320), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sessions")),
    )
    op.create_index("ix_sessions_started", "sessions", ["started_at"], unique=False)
    op.create_table(
        "projects",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("slug", sa.String(length=60), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("plan", sa.String(length=40), nullable=False),
        sa.Column("on_key_failure", sa.String(length=10), server_default="stop", nullable=False),
        sa.Column("policy_set_at", sa.BigInteger(), nullable=True),
        sa.Column("policy_set_by", sa.String(length=320), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("created_by", sa.String(length=320), nullable=False),
        sa.Column("sample", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.CheckConstraint("on_key_failure IN ('stop', 'platform')", name=op.f("ck_projects_on_key_failure")),
        sa.ForeignKeyConstraint(["plan"], ["plans.name"], name=op.f("fk_projects_plan")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_projects")),
        sa.UniqueConstraint("slug", name=op.f("uq_projects_slug")),
    )
    op.create_table(
        "accounts",
        sa.Column("project_id", sa.String(length=36), nullable=False),
        sa.Column("sequence", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("counted_nano", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("unknown_nano", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("reserved_nano", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("last_settled_at", sa.BigInteger(), server_default="0", nullable=False),
        sa.CheckConstraint("reserved_nano >= 0", name=op.f("ck_accounts_reserved")),
        sa.CheckConstraint("unknown_nano <= counted_nano", name=op.f("ck_accounts_unknown_is_part")),
        sa.ForeignKeyConstraint(
            ["project_id"], ["projects.id"], name=op.f("fk_accounts_project_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("project_id", name=op.f("pk_accounts")),
    )
    op.create_table(
        "cap_overrides",
        sa.Column("project_id", sa.String(length=36), nullable=False),
        sa.Column("cap_5h_nano", sa.BigInteger(), nullable=False),
        sa.Column("cap_7d_nano", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.String(length=500), nullable=False),
        sa.Column("ends_at", sa.BigInteger(), nullable=True),
        sa.Column("set_at", sa.BigInteger(), nullable=False),
        sa.Column("set_by", sa.String(length=320), nullable=False),
        sa.CheckConstraint("cap_5h_nano >= 0 AND cap_7d_nano >= 0", name=op.f("ck_cap_overrides_caps")),
        sa.ForeignKeyConstraint(
            ["project_id"], ["projects.id"], name=op.f("fk_cap_overrides_project_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("project_id", name=op.f("pk_cap_overrides")),
    )
    op.create_table(
        "open_calls",
        sa.Column("project_id", sa.String(length=36), nullable=False),
        sa.Column("event_id", sa.String(length=100), nullable=False),
        sa.Column("run_id", sa.String(length=40), nullable=False),
        sa.Column("source", sa.String(length=10), nullable=False),
        sa.Column("provider", sa.String(length=20), nullable=False),
        sa.Column("model", sa.String(length=200), nullable=False),
        sa.Column("endpoint", sa.String(length=200), nullable=False),
        sa.Column("key_last4", sa.String(length=4), nullable=False),
        sa.Column("key_version", sa.Integer(), nullable=True),
        sa.Column("opened_at", sa.BigInteger(), nullable=False),
        sa.Column("lease_until", sa.BigInteger(), nullable=False),
        sa.Column("ceiling_nano", sa.BigInteger(), nullable=True),
        sa.CheckConstraint(
            "(source = 'platform') = (ceiling_nano IS NOT NULL)", name=op.f("ck_open_calls_platform_reserves")
        ),
        sa.CheckConstraint("source IN ('platform', 'byok')", name=op.f("ck_open_calls_source")),
        sa.ForeignKeyConstraint(
            ["project_id"], ["projects.id"], name=op.f("fk_open_calls_project_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("project_id", "event_id", name=op.f("pk_open_calls")),
    )
    op.create_index("ix_open_calls_lease", "open_calls", ["project_id", "lease_until"], unique=False)
    op.create_table(
        "provider_keys",
        sa.Column("project_id", sa.String(length=36), nullable=False),
        sa.Column("provider", sa.String(length=20), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("secret_id", sa.String(length=36), nullable=False),
        sa.Column("last4", sa.String(length=4), nullable=False),
        sa.Column("scheme", sa.String(length=20), nullable=False),
        sa.Column("master_key_id", sa.String(length=40), nullable=False),
        sa.Column("sealed_data_key", sa.LargeBinary(), nullable=True),
        sa.Column("sealed_value", sa.LargeBinary(), nullable=True),
        sa.Column("saved_at", sa.BigInteger(), nullable=False),
        sa.Column("saved_by", sa.String(length=320), nullable=False),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.Column("ended_by", sa.String(length=320), nullable=True),
        sa.Column("checked_at", sa.BigInteger(), nullable=True),
        sa.Column("check_code", sa.String(length=100), nullable=True),
        sa.Column("check_message", sa.String(length=600), nullable=True),
        sa.Column("used_at", sa.BigInteger(), nullable=True),
        sa.Column("used_by_run", sa.String(length=40), nullable=True),
        sa.Column("failing_since", sa.BigInteger(), nullable=True),
        sa.Column("failure", sa.String(length=20), nullable=True),
        sa.Column("failure_status", sa.Integer(), nullable=True),
        sa.Column("failure_code", sa.String(length=100), nullable=True),
        sa.Column("failure_message", sa.String(length=600), nullable=True),
        sa.Column("failure_request_id", sa.String(length=200), nullable=True),
        sa.Column("locked_since", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("failure IN ('rejected', 'out_of_money')", name=op.f("ck_provider_keys_failure")),
        sa.CheckConstraint(
            "(ended_at IS NULL) = (sealed_value IS NOT NULL) AND (ended_at IS NULL) = (sealed_data_key IS NOT NULL)",
            name=op.f("ck_provider_keys_sealed_while_in_use"),
        ),
        sa.CheckConstraint(
            "(failing_since IS NULL) = (failure IS NULL)", name=op.f("ck_provider_keys_failing")
        ),
        sa.CheckConstraint("version > 0", name=op.f("ck_provider_keys_version")),
        sa.ForeignKeyConstraint(
            ["project_id"], ["projects.id"], name=op.f("fk_provider_keys_project_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("project_id", "provider", "version", name=op.f("pk_provider_keys")),
        sa.UniqueConstraint("secret_id", name=op.f("uq_provider_keys_secret_id")),
    )
    op.create_index("ix_provider_keys_master", "provider_keys", ["master_key_id"], unique=False)
    op.create_index(
        "uq_provider_keys_in_use",
        "provider_keys",
        ["project_id", "provider"],
        unique=True,
        sqlite_where=sa.text("ended_at IS NULL"),
        postgresql_where=sa.text("ended_at IS NULL"),
    )
    op.create_table(
        "runs",
        sa.Column("project_id", sa.String(length=36), nullable=False),
        sa.Column("run_id", sa.String(length=40), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("status", sa.String(length=20), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        sa.Column("started_by", sa.String(length=320), nullable=False),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.Column("lease_until", sa.BigInteger(), nullable=True),
        sa.Column("resumes_at", sa.BigInteger(), nullable=True),
        sa.Column("claimed_until", sa.BigInteger(), nullable=True),
        sa.Column("token_budget", sa.BigInteger(), nullable=True),
        sa.Column("budget_warned_at", sa.BigInteger(), nullable=True),
        sa.Column("stopped_by", sa.String(length=20), nullable=True),
        sa.Column("calls", sa.Integer(), server_default="0", nullable=False),
        sa.Column("failed_calls", sa.Integer(), server_default="0", nullable=False),
        sa.Column("unpriced_calls", sa.Integer(), server_default="0", nullable=False),
        sa.Column("tokens", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("platform_nano", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("byok_nano", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("platform_calls", sa.Integer(), server_default="0", nullable=False),
        sa.Column("byok_calls", sa.Integer(), server_default="0", nullable=False),
        sa.Column("last4", sa.String(length=4), nullable=True),
        sa.CheckConstraint("kind IN ('chat', 'scheduled', 'pr_review', 'scan')", name=op.f("ck_runs_kind")),
        sa.CheckConstraint(
            "status IN ('running', 'waiting', 'passed', 'failed', 'error', 'budget_exceeded', 'lost', 'refused')",
            name=op.f("ck_runs_status"),
        ),
        sa.CheckConstraint("stopped_by IN ('cap', 'budget')", name=op.f("ck_runs_stopped_by")),
        sa.CheckConstraint("token_budget > 0", name=op.f("ck_runs_token_budget")),
        sa.ForeignKeyConstraint(
            ["project_id"], ["projects.id"], name=op.f("fk_runs_project_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("project_id", "run_id", name=op.f("pk_runs")),
    )
    op.create_index(
        "ix_runs_open",
        "runs",
        ["status", "lease_until"],
        unique=False,
        sqlite_where=sa.text("ended_at IS NULL"),
        postgresql_where=sa.text("ended_at IS NULL"),
    )
    op.create_index("ix_runs_started", "runs", ["project_id", "started_at"], unique=False)
    op.create_index("uq_runs_run_id", "runs", ["run_id"], unique=True)
    op.create_table(
        "usage_daily",
        sa.Column("project_id", sa.String(length=36), nullable=False),
        sa.Column("day_at", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("source", sa.String(length=10), nullable=False),
        sa.Column("provider", sa.String(length=40), nullable=False),
        sa.Column("model", sa.String(length=200), nullable=False),
        sa.Column("run_kind", sa.String(length=20), nullable=False),
        sa.Column("status", sa.String(length=10), nullable=False),
        sa.Column("calls", sa.BigInteger(), nullable=False),
        sa.Column("unpriced_calls", sa.BigInteger(), nullable=False),
        sa.Column("cost_nano", sa.BigInteger(), nullable=False),
        sa.Column("input_tokens", sa.BigInteger(), nullable=False),
        sa.Column("cached_input_tokens", sa.BigInteger(), nullable=False),
        sa.Column("output_tokens", sa.BigInteger(), nullable=False),
        sa.Column("reasoning_tokens", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("source IN ('platform', 'byok')", name=op.f("ck_usage_daily_source")),
        sa.CheckConstraint("unpriced_calls <= calls", name=op.f("ck_usage_daily_unpriced_is_part")),
        sa.ForeignKeyConstraint(
            ["project_id"], ["projects.id"], name=op.f("fk_usage_daily_project_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint(
            "project_id",
            "day_at",
            "source",
            "provider",
            "model",
            "run_kind",
            "status",
            name=op.f("pk_usage_daily"),
        ),
    )
    op.create_table(
        "usage_events",
        sa.Column("project_id", sa.String(length=36), nullable=False),
        sa.Column("event_id", sa.String(length=100), nullable=False),
        sa.Column("occurred_at", sa.BigInteger(), nullable=False),
        sa.Column("run_id", sa.String(length=200), nullable=True),
        sa.Column("run_kind", sa.String(length=20), nullable=True),
        sa.Column("source", sa.String(length=10), nullable=False),
        sa.Column("provider", sa.String(length=40), nullable=False),
        sa.Column("model", sa.String(length=200), nullable=False),
        sa.Column("endpoint", sa.String(length=200), nullable=False),
        sa.Column("status", sa.String(length=10), nullable=False),
        sa.Column("input_tokens", sa.BigInteger(), nullable=True),
        sa.Column("cached_input_tokens", sa.BigInteger(), nullable=True),
        sa.Column("output_tokens", sa.BigInteger(), nullable=True),
        sa.Column("reasoning_tokens", sa.BigInteger(), nullable=True),
        sa.Column("cost_nano", sa.BigInteger(), nullable=True),
        sa.Column("price_input", sa.BigInteger(), nullable=True),
        sa.Column("price_cached_input", sa.BigInteger(), nullable=True),
        sa.Column("price_output", sa.BigInteger(), nullable=True),
        sa.Column("key_last4", sa.String(length=4), nullable=True),
        sa.Column("upstream_request_id", sa.String(length=200), nullable=True),
        sa.Column("latency_ms", sa.BigInteger(), nullable=True),
        sa.Column("imported", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("http_status", sa.Integer(), nullable=True),
        sa.Column("error_code", sa.String(length=100), nullable=True),
        sa.Column("error_type", sa.String(length=100), nullable=True),
        sa.Column("error_message", sa.String(length=600), nullable=True),
        sa.Column("sequence", sa.BigInteger(), nullable=True),
        sa.Column("counted_after_nano", sa.BigInteger(), nullable=True),
        sa.Column("unknown_after_nano", sa.BigInteger(), nullable=True),
        sa.CheckConstraint(
            "(source = 'platform' AND NOT imported) = (sequence IS NOT NULL)",
            name=op.f("ck_usage_events_counted_on_the_platform"),
        ),
        sa.CheckConstraint("source IN ('platform', 'byok')", name=op.f("ck_usage_events_source")),
        sa.CheckConstraint(
            "status IN ('ok', 'error', 'broken', 'abandoned', 'unknown')", name=op.f("ck_usage_events_status")
        ),
        sa.CheckConstraint(
            "cached_input_tokens <= input_tokens", name=op.f("ck_usage_events_cached_is_part")
        ),
        sa.CheckConstraint("cost_nano >= 0", name=op.f("ck_usage_events_cost")),
        sa.CheckConstraint(
            "input_tokens >= 0 AND output_tokens >= 0 AND cached_input_tokens >= 0 AND reasoning_tokens >= 0",
            name=op.f("ck_usage_events_tokens"),
        ),
        sa.CheckConstraint(
            "reasoning_tokens <= output_tokens", name=op.f("ck_usage_events_reasoning_is_part")
        ),
        sa.ForeignKeyConstraint(
            ["project_id"], ["projects.id"], name=op.f("fk_usage_events_project_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("project_id", "event_id", name=op.f("pk_usage_events")),
    )
    op.create_index("ix_usage_events_run", "usage_events", ["project_id", "run_id"], unique=False)
    op.create_index(
        "ix_usage_events_running_total",
        "usage_events",
        ["project_id", "counted_after_nano", "sequence"],
        unique=False,
        sqlite_where=sa.text("sequence IS NOT NULL"),
        postgresql_where=sa.text("sequence IS NOT NULL"),
    )
    op.create_index(
        "ix_usage_events_time", "usage_events", ["project_id", "occurred_at", "event_id"], unique=False
    )
    op.create_index(
        "ix_usage_events_window",
        "usage_events",
        ["project_id", "occurred_at", "sequence"],
        unique=False,
        sqlite_where=sa.text("sequence IS NOT NULL"),
        postgresql_where=sa.text("sequence IS NOT NULL"),
    )
    op.create_table(
        "usage_hourly",
        sa.Column("project_id", sa.String(length=36), nullable=False),
        sa.Column("hour_at", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("source", sa.String(length=10), nullable=False),
        sa.Column("provider", sa.String(length=40), nullable=False),
        sa.Column("model", sa.String(length=200), nullable=False),
        sa.Column("run_kind", sa.String(length=20), nullable=False),
        sa.Column("status", sa.String(length=10), nullable=False),
        sa.Column("calls", sa.BigInteger(), nullable=False),
        sa.Column("unpriced_calls", sa.BigInteger(), nullable=False),
        sa.Column("cost_nano", sa.BigInteger(), nullable=False),
        sa.Column("input_tokens", sa.BigInteger(), nullable=False),
        sa.Column("cached_input_tokens", sa.BigInteger(), nullable=False),
        sa.Column("output_tokens", sa.BigInteger(), nullable=False),
        sa.Column("reasoning_tokens", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("source IN ('platform', 'byok')", name=op.f("ck_usage_hourly_source")),
        sa.CheckConstraint("unpriced_calls <= calls", name=op.f("ck_usage_hourly_unpriced_is_part")),
        sa.ForeignKeyConstraint(
            ["project_id"], ["projects.id"], name=op.f("fk_usage_hourly_project_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint(
            "project_id",
            "hour_at",
            "source",
            "provider",
            "model",
            "run_kind",
            "status",
            name=op.f("pk_usage_hourly"),
        ),
    )
    op.create_table(
        "run_log",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False
        ),
        sa.Column("project_id", sa.String(length=36), nullable=False),
        sa.Column("run_id", sa.String(length=40), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("tag", sa.String(length=40), nullable=False),
        sa.Column("message", sa.String(length=600), nullable=False),
        sa.Column("event_id", sa.String(length=100), nullable=True),
        sa.ForeignKeyConstraint(
            ["project_id", "run_id"],
            ["runs.project_id", "runs.run_id"],
            name=op.f("fk_run_log_project_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_run_log")),
    )
    op.create_index("ix_run_log_run", "run_log", ["project_id", "run_id", "id"], unique=False)
