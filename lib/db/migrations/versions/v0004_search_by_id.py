"""Indexes for the search in the run log: by a provider's request id, and by the beginning of a run's id.

PostgreSQL sorts texts by the rules of a language; an index of beginnings compares them byte by byte, as
SQLite does anyway. It keeps run ids unique all the same.
"""

import sqlalchemy as sa
from alembic import op

from lib.db.migrations.online import Online, is_there

revision = "0004"
down_revision = "0003"

_REQUEST = "ix_usage_events_request"
_COLUMNS = "(project_id, upstream_request_id varchar_pattern_ops) WHERE upstream_request_id IS NOT NULL"
_RUNS = "uq_runs_run_id"
_RUNS_BY_BYTES = "uq_runs_run_id_by_bytes"
_RUN_ID = "(run_id varchar_pattern_ops)"


def ahead(online: Online) -> None:
    online.index(_REQUEST, "usage_events", _COLUMNS)
    online.index(_RUNS_BY_BYTES, "runs", _RUN_ID, unique=True)


def upgrade() -> None:
    connection = op.get_bind()
    if connection.dialect.name == "sqlite":
        known = sa.text("upstream_request_id IS NOT NULL")
        op.create_index(_REQUEST, "usage_events", ["project_id", "upstream_request_id"], sqlite_where=known)
        return
    if not is_there(connection, _REQUEST):
        op.execute(f"CREATE INDEX {_REQUEST} ON usage_events {_COLUMNS}")
    if not is_there(connection, _RUNS_BY_BYTES):
        op.execute(f"CREATE UNIQUE INDEX {_RUNS_BY_BYTES} ON runs {_RUN_ID}")
    op.execute(f"DROP INDEX {_RUNS}")
    op.execute(f"ALTER INDEX {_RUNS_BY_BYTES} RENAME TO {_RUNS}")
