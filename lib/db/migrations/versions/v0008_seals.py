"""The seal over what points at a project's keys.

Projects that are there already are sealed in this very step, as they are, with the master key of the process
that upgrades: the only time that happens without a person's word. Later a project without a seal is locked.
"""

from typing import Any

import sqlalchemy as sa
from alembic import context, op

from lib.db.migrations.online import Online, has_column

revision = "0008"
down_revision = "0007"

_COLUMNS: dict[str, Any] = {
    "sealed_keys": sa.Text(),
    "seal_master_key_id": sa.String(40),
    "seal": sa.LargeBinary(),
}


def ahead(online: Online) -> None:
    # Every call reads projects: none has to wait until all of them are sealed.
    online.briefly(add_columns)


def upgrade() -> None:
    connection = op.get_bind()
    add_columns(connection)
    seal_projects = context.config.attributes.get("seal_projects")
    if seal_projects is not None:
        seal_projects(connection)


def add_columns(connection: sa.Connection) -> None:
    if not has_column(connection, "projects", "seal"):
        for name, kind in _COLUMNS.items():
            written = kind.compile(connection.dialect)
            connection.execute(sa.text(f"ALTER TABLE projects ADD COLUMN {name} {written}"))
