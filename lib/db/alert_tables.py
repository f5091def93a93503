"""The tables of alerts: what was noticed, whom it was told, and who wants to be told what.

``project_id`` is a project's id, or ``*`` for what concerns the platform as a whole; so there is no foreign key.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, CheckConstraint, Column, Index, Integer, LargeBinary, String, Table, Text

from lib.db.event_table import rows_where
from lib.db.rollup_tables import metadata, one_of

PLATFORM = "*"
"""Stands for the platform where a project's id stands else."""
SEVERITIES = ("info", "warning", "critical")
CHANNEL_KINDS = ("email", "slack", "chat", "webhook")

alert_states = Table(
    "alert_states",
    metadata,
    # What has been told once and is not told again until it is armed; only its own transaction changes it.
    Column("project_id", String(36), primary_key=True),
    Column("subject", String(240), primary_key=True),
    Column("state", String(5), nullable=False),
    Column("since", BigInteger, nullable=False),
    Column("cap_nano", BigInteger),
    CheckConstraint(one_of("state", "armed", "fired"), name="state"),
)

alert_events = Table(
    "alert_events",
    metadata,
    # Written in the transaction of what it tells; a sender makes one delivery of it for each recipient.
    Column("project_id", String(36), primary_key=True),
    Column("event_id", String(40), primary_key=True),
    Column("kind", String(40), nullable=False),
    Column("severity", String(8), nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("data", Text, nullable=False),
    Column("addressed_at", BigInteger),
    Column("muted", Integer, nullable=False, server_default="0"),
    CheckConstraint(one_of("severity", *SEVERITIES), name="severity"),
)
Index(
    "ix_alert_events_new",
    alert_events.c.at,
    **rows_where(alert_events.c.addressed_at.is_(None)),
)
Index("ix_alert_events_at", alert_events.c.project_id, alert_events.c.at)

alert_deliveries = Table(
    "alert_deliveries",
    metadata,
    Column("project_id", String(36), primary_key=True),
    Column("event_id", String(40), primary_key=True),
    # A channel's id, or mail: and a member's address.
    Column("target", String(340), primary_key=True),
    Column("state", String(8), nullable=False),
    # Told together with others: in the daily digest, or after the most messages of an hour.
    Column("bundle", String(8)),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("next_at", BigInteger, nullable=False),
    Column("lease_until", BigInteger),
    Column("message_id", String(40)),
    Column("tried_at", BigInteger),
    Column("sent_at", BigInteger),
    Column("answer", String(300)),
    CheckConstraint(one_of("state", "due", "sent", "failed", "dropped"), name="state"),
    CheckConstraint(one_of("bundle", "digest", "rest"), name="bundle"),
)
Index(
    "ix_alert_deliveries_due",
    alert_deliveries.c.next_at,
    **rows_where(alert_deliveries.c.state == "due"),
)
Index("ix_alert_deliveries_target", alert_deliveries.c.target, alert_deliveries.c.sent_at)

alert_channels = Table(
    "alert_channels",
    metadata,
    Column("project_id", String(36), primary_key=True),
    Column("channel_id", String(36), primary_key=True),
    Column("kind", String(8), nullable=False),
    Column("masked", String(200), nullable=False),
    # Sealed like a key, bound to this row (lib.vault.sealing).
    Column("scheme", String(20), nullable=False),
    Column("master_key_id", String(40), nullable=False),
    Column("sealed_data_key", LargeBinary, nullable=False),
    Column("sealed_value", LargeBinary, nullable=False),
    Column("least_severity", String(8), nullable=False),
    Column("off_at", BigInteger),
    Column("off_why", String(300)),
    Column("failing_since", BigInteger),
    Column("added_at", BigInteger, nullable=False),
    Column("added_by", String(320), nullable=False),
    CheckConstraint(one_of("kind", *CHANNEL_KINDS), name="kind"),
    CheckConstraint(one_of("least_severity", *SEVERITIES), name="severity"),
)
Index("ix_alert_channels_master", alert_channels.c.master_key_id)

alert_settings = Table(
    "alert_settings",
    metadata,
    Column("project_id", String(36), primary_key=True),
    # Percents of a cap, with a comma between them.
    Column("thresholds", String(40), nullable=False),
    # Whole hours of the reporting zone; what is not critical waits for the end.
    Column("quiet_from", Integer),
    Column("quiet_until", Integer),
    Column("set_at", BigInteger, nullable=False),
    Column("set_by", String(320), nullable=False),
    CheckConstraint("(quiet_from IS NULL) = (quiet_until IS NULL)", name="quiet_hours"),
    CheckConstraint("quiet_from BETWEEN 0 AND 23 AND quiet_until BETWEEN 0 AND 23", name="hours"),
)

alert_mutes = Table(
    "alert_mutes",
    metadata,
    Column("project_id", String(36), primary_key=True),
    Column("kind", String(40), primary_key=True),
    Column("until", BigInteger, nullable=False),
    Column("set_at", BigInteger, nullable=False),
    Column("set_by", String(320), nullable=False),
)

alert_opt_outs = Table(
    "alert_opt_outs",
    metadata,
    # A member who wants no mail of a project that would be told to them else.
    Column("project_id", String(36), primary_key=True),
    Column("email", String(320), primary_key=True),
    Column("set_at", BigInteger, nullable=False),
)

ALERT_TABLES = (
    alert_states,
    alert_events,
    alert_deliveries,
    alert_channels,
    alert_settings,
    alert_mutes,
    alert_opt_outs,
)
