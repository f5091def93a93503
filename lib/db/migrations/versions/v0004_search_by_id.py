"""Indexes for the search in the run log: by a provider's request id, and by the beginning of a run's id.

PostgreSQL sorts texts by the rules of a language; an index of beginnings compares them byte by byte, as
SQLite does anyway. It keeps run ids unique all the same.
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

_BY_BYTES = "varchar_pattern_ops"


def upgrade() -> None:
    known = sa.text("upstream_request_id IS NOT NULL")
    op.create_index(
        "ix_usage_events_request",
        "usage_events",
        ["project_id", "upstream_request_id"],
        sqlite_where=known,
        postgresql_where=known,
        postgresql_ops={"upstream_request_id": _BY_BYTES},
    )
    if op.get_bind().dialect.name != "sqlite":
        op.drop_index("uq_runs_run_id", "runs")
        op.create_index(
            "uq_runs_run_id", "runs", ["run_id"], unique=True, postgresql_ops={"run_id": _BY_BYTES}
        )
