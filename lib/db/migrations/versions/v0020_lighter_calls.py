"""Calls cost the database less: their functions (lib.db.migrations.functions_0020), two triggers, an index.

The index of open calls by lease held an entry for each call since the last vacuum, side by side by project, and
PostgreSQL took it to find a single call where it had no statistics: the longer a project was hot, the more was read.
A condition that always holds, and that only a search for late calls names, keeps it for those.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from lib.db.migrations.functions_0020 import FUNCTIONS
from lib.db.migrations.online import Online

revision = "0020"
down_revision = "0019"

_LATE = "ix_open_calls_late"
_COLUMNS = "(project_id, lease_until) WHERE lease_until > 0"
_DROP = "DROP INDEX IF EXISTS ix_open_calls_lease"
_CACHING = "usage_daily_caching_insert"
_SOURCE = sa.text("SELECT prosrc FROM pg_proc WHERE oid = to_regproc(:name)")
_NOTHING = """BEGIN
    -- Most calls have nothing to do with a cache.
    IF NOT EXISTS (SELECT FROM added WHERE coalesce(cached_input_tokens, 0) > 0
        OR coalesce(cache_write_tokens, 0) > 0 OR coalesce(cache_write_1h_tokens, 0) > 0) THEN
        RETURN NULL;
    END IF;
"""


def ahead(online: Online) -> None:
    online.index(_LATE, "open_calls", _COLUMNS)
    online.briefly(lambda connection: connection.execute(sa.text(_DROP)))


def upgrade() -> None:
    connection = op.get_bind()
    op.execute(f"CREATE INDEX IF NOT EXISTS {_LATE} ON open_calls {_COLUMNS}")
    op.execute(_DROP)
    if connection.dialect.name == "sqlite":
        return
    for function in FUNCTIONS:
        op.execute(sa.text(function))
    former = connection.execute(_SOURCE, {"name": _CACHING}).scalar_one()
    body = former.replace("BEGIN", _NOTHING, 1)
    op.execute(
        sa.text(f"CREATE OR REPLACE FUNCTION {_CACHING}() RETURNS trigger LANGUAGE plpgsql AS $${body}$$")
    )
