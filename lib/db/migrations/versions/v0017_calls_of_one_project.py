"""Calls in one round trip each (lib.db.migrations.functions_0017), and keys that have the project in them.

With the project in every key of its tables these can be distributed by it (docs/scale.md).

Runs are unique in their project, lines of a run's log are numbered in it, and a sealed key's id is unique in it. On
SQLite the log keeps its number alone for a key: only such a column counts up there, and no SQLite is distributed.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from lib.db.migrations.functions_0017 import FUNCTIONS
from lib.db.migrations.online import Online

revision = "0017"
down_revision = "0016"

_RUNS = "CREATE INDEX ix_runs_run_id ON runs (run_id)"
_OLD_UNIQUE = "CONSTRAINT uq_provider_keys_secret_id UNIQUE (secret_id)"
_NEW_UNIQUE = "CONSTRAINT uq_provider_keys_secret_id UNIQUE (project_id, secret_id)"
_PARTS = "SELECT indnatts FROM pg_index WHERE indexrelid = to_regclass(:name)"
_KEY_OF_LOG = """
ALTER TABLE run_log DROP CONSTRAINT pk_run_log, ADD CONSTRAINT pk_run_log PRIMARY KEY USING INDEX new_pk_run_log
"""
_KEY_OF_SECRETS = """
ALTER TABLE provider_keys DROP CONSTRAINT uq_provider_keys_secret_id,
ADD CONSTRAINT uq_provider_keys_secret_id UNIQUE USING INDEX new_uq_provider_keys_secret_id
"""


def ahead(online: Online) -> None:
    online.index("ix_runs_run_id", "runs", "(run_id varchar_pattern_ops)")
    online.briefly(_drop_unique_runs)
    if online.briefly(_parts_of_log) == 1:
        online.index("new_pk_run_log", "run_log", "(project_id, run_id, id)", unique=True)
        online.briefly(_key_of_log)
    if online.briefly(_parts_of_secrets) == 1:
        online.index(
            "new_uq_provider_keys_secret_id", "provider_keys", "(project_id, secret_id)", unique=True
        )
        online.briefly(_key_of_secrets)


def upgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        op.execute("DROP INDEX uq_runs_run_id")
        op.execute(_RUNS)
        _make_provider_keys_again()
        return
    _change_keys(op.get_bind())
    for function in FUNCTIONS:
        op.execute(sa.text(function))


def _change_keys(connection: sa.Connection) -> None:
    """What ``ahead`` has done, where it did not run: in an empty database."""
    if _parts_of_log(connection) == 1:
        _drop_unique_runs(connection)
        op.execute("CREATE INDEX IF NOT EXISTS ix_runs_run_id ON runs (run_id varchar_pattern_ops)")
        op.execute(
            "ALTER TABLE run_log DROP CONSTRAINT pk_run_log, ADD CONSTRAINT pk_run_log PRIMARY KEY (project_id, run_id, id)"
        )
    if _parts_of_secrets(connection) == 1:
        op.execute(f"ALTER TABLE provider_keys DROP CONSTRAINT uq_provider_keys_secret_id, ADD {_NEW_UNIQUE}")


def _drop_unique_runs(connection: sa.Connection) -> None:
    connection.execute(sa.text("DROP INDEX IF EXISTS uq_runs_run_id"))


def _parts_of_log(connection: sa.Connection) -> int:
    return int(connection.execute(sa.text(_PARTS), {"name": "pk_run_log"}).scalar_one())


def _key_of_log(connection: sa.Connection) -> None:
    connection.execute(sa.text(_KEY_OF_LOG))


def _parts_of_secrets(connection: sa.Connection) -> int:
    return int(connection.execute(sa.text(_PARTS), {"name": "uq_provider_keys_secret_id"}).scalar_one())


def _key_of_secrets(connection: sa.Connection) -> None:
    connection.execute(sa.text(_KEY_OF_SECRETS))


def _make_provider_keys_again() -> None:
    """SQLite changes no rule of a table: the table is made again, with its other rules and indexes as they were."""
    connection = op.get_bind()
    made = (
        "SELECT sql FROM sqlite_master WHERE tbl_name = 'provider_keys' AND type = :kind AND sql IS NOT NULL"
    )
    table = connection.execute(sa.text(made), {"kind": "table"}).scalar_one()
    indexes = connection.execute(sa.text(made), {"kind": "index"}).scalars().all()
    assert _OLD_UNIQUE in table  # noqa: S101 - as the first migration wrote it
    op.execute("ALTER TABLE provider_keys RENAME TO old_provider_keys")
    connection.exec_driver_sql(table.replace(_OLD_UNIQUE, _NEW_UNIQUE))
    op.execute("INSERT INTO provider_keys SELECT * FROM old_provider_keys")
    op.execute("DROP TABLE old_provider_keys")
    for index in indexes:
        connection.exec_driver_sql(index)
