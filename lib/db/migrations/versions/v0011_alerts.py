"""Alerts: what was noticed, whom it was told, and who wants to be told what.

The account gets the running total and the time from which on its thresholds are to be looked at; 0 is: at the next
settlement.
"""

import sqlalchemy as sa
from alembic import op

from lib.db.migrations.online import Online, has_column

revision = "0011"
down_revision = "0010"

_ACCOUNTS = ("alert_after", "alert_cap_5h_nano", "alert_cap_7d_nano")
_SEVERITY = "severity IN ('info', 'warning', 'critical')"


def ahead(online: Online) -> None:
    # In transactions of their own: calls read keys, then accounts.
    online.briefly(_change_accounts)
    online.briefly(_change_keys)


def upgrade() -> None:
    _change_accounts(op.get_bind())
    _change_keys(op.get_bind())
    _noticed()
    _told()
    _wanted()


def _change_accounts(connection: sa.Connection) -> None:
    if not has_column(connection, "accounts", _ACCOUNTS[-1]):
        above = "alert_above_nano BIGINT DEFAULT '0' NOT NULL"
        for column in (above, *(f"{name} BIGINT" for name in _ACCOUNTS)):
            connection.execute(sa.text(f"ALTER TABLE accounts ADD COLUMN {column}"))


def _change_keys(connection: sa.Connection) -> None:
    if not has_column(connection, "provider_keys", "failure_told_at"):
        connection.execute(sa.text("ALTER TABLE provider_keys ADD COLUMN failure_told_at BIGINT"))


def _noticed() -> None:
    op.create_table(
        "alert_states",
        sa.Column("project_id", sa.String(length=36), nullable=False),
        sa.Column("subject", sa.String(length=240), nullable=False),
        sa.Column("state", sa.String(length=5), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.Column("cap_nano", sa.BigInteger()),
        sa.CheckConstraint("state IN ('armed', 'fired')", name=op.f("ck_alert_states_state")),
        sa.PrimaryKeyConstraint("project_id", "subject", name=op.f("pk_alert_states")),
    )
    op.create_table(
        "alert_events",
        sa.Column("project_id", sa.String(length=36), nullable=False),
        sa.Column("event_id", sa.String(length=40), nullable=False),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("severity", sa.String(length=8), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("data", sa.Text(), nullable=False),
        sa.Column("addressed_at", sa.BigInteger()),
        sa.Column("muted", sa.Integer(), nullable=False, server_default="0"),
        sa.CheckConstraint(_SEVERITY, name=op.f("ck_alert_events_severity")),
        sa.PrimaryKeyConstraint("project_id", "event_id", name=op.f("pk_alert_events")),
    )
    new = sa.text("addressed_at IS NULL")
    op.create_index("ix_alert_events_new", "alert_events", ["at"], sqlite_where=new, postgresql_where=new)
    op.create_index("ix_alert_events_at", "alert_events", ["project_id", "at"])


def _told() -> None:
    op.create_table(
        "alert_deliveries",
        sa.Column("project_id", sa.String(length=36), nullable=False),
        sa.Column("event_id", sa.String(length=40), nullable=False),
        sa.Column("target", sa.String(length=340), nullable=False),
        sa.Column("state", sa.String(length=8), nullable=False),
        sa.Column("bundle", sa.String(length=8)),
        sa.Column("attempts", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("next_at", sa.BigInteger(), nullable=False),
        sa.Column("lease_until", sa.BigInteger()),
        sa.Column("message_id", sa.String(length=40)),
        sa.Column("tried_at", sa.BigInteger()),
        sa.Column("sent_at", sa.BigInteger()),
        sa.Column("answer", sa.String(length=300)),
        sa.CheckConstraint(
            "state IN ('due', 'sent', 'failed', 'dropped')", name=op.f("ck_alert_deliveries_state")
        ),
        sa.CheckConstraint("bundle IN ('digest', 'rest')", name=op.f("ck_alert_deliveries_bundle")),
        sa.PrimaryKeyConstraint("project_id", "event_id", "target", name=op.f("pk_alert_deliveries")),
    )
    due = sa.text("state = 'due'")
    op.create_index(
        "ix_alert_deliveries_due", "alert_deliveries", ["next_at"], sqlite_where=due, postgresql_where=due
    )
    op.create_index("ix_alert_deliveries_target", "alert_deliveries", ["target", "sent_at"])


def _wanted() -> None:
    op.create_table(
        "alert_channels",
        sa.Column("project_id", sa.String(length=36), nullable=False),
        sa.Column("channel_id", sa.String(length=36), nullable=False),
        sa.Column("kind", sa.String(length=8), nullable=False),
        sa.Column("masked", sa.String(length=200), nullable=False),
        sa.Column("scheme", sa.String(length=20), nullable=False),
        sa.Column("master_key_id", sa.String(length=40), nullable=False),
        sa.Column("sealed_data_key", sa.LargeBinary(), nullable=False),
        sa.Column("sealed_value", sa.LargeBinary(), nullable=False),
        sa.Column("least_severity", sa.String(length=8), nullable=False),
        sa.Column("off_at", sa.BigInteger()),
        sa.Column("off_why", sa.String(length=300)),
        sa.Column("failing_since", sa.BigInteger()),
        sa.Column("added_at", sa.BigInteger(), nullable=False),
        sa.Column("added_by", sa.String(length=320), nullable=False),
        sa.CheckConstraint(
            "kind IN ('email', 'slack', 'chat', 'webhook')", name=op.f("ck_alert_channels_kind")
        ),
        sa.CheckConstraint(f"least_{_SEVERITY}", name=op.f("ck_alert_channels_severity")),
        sa.PrimaryKeyConstraint("project_id", "channel_id", name=op.f("pk_alert_channels")),
    )
    op.create_index("ix_alert_channels_master", "alert_channels", ["master_key_id"])
    op.create_table(
        "alert_settings",
        sa.Column("project_id", sa.String(length=36), nullable=False),
        sa.Column("thresholds", sa.String(length=40), nullable=False),
        sa.Column("quiet_from", sa.Integer()),
        sa.Column("quiet_until", sa.Integer()),
        sa.Column("set_at", sa.BigInteger(), nullable=False),
        sa.Column("set_by", sa.String(length=320), nullable=False),
        sa.CheckConstraint(
            "(quiet_from IS NULL) = (quiet_until IS NULL)", name=op.f("ck_alert_settings_quiet_hours")
        ),
        sa.CheckConstraint(
            "quiet_from BETWEEN 0 AND 23 AND quiet_until BETWEEN 0 AND 23",
            name=op.f("ck_alert_settings_hours"),
        ),
        sa.PrimaryKeyConstraint("project_id", name=op.f("pk_alert_settings")),
    )
    op.create_table(
        "alert_mutes",
        sa.Column("project_id", sa.String(length=36), nullable=False),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=False),
        sa.Column("set_at", sa.BigInteger(), nullable=False),
        sa.Column("set_by", sa.String(length=320), nullable=False),
        sa.PrimaryKeyConstraint("project_id", "kind", name=op.f("pk_alert_mutes")),
    )
    op.create_table(
        "alert_opt_outs",
        sa.Column("project_id", sa.String(length=36), nullable=False),
        sa.Column("email", sa.String(length=320), nullable=False),
        sa.Column("set_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("project_id", "email", name=op.f("pk_alert_opt_outs")),
    )
