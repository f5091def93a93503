"""A key keeps the name of the workspace that pays for it, where its provider's check names one."""

import sqlalchemy as sa
from alembic import op

from lib.db.migrations.online import Online, has_column

revision = "0021"
down_revision = "0020"


def ahead(online: Online) -> None:
    online.briefly(_add_column)


def upgrade() -> None:
    _add_column(op.get_bind())


def _add_column(connection: sa.Connection) -> None:
    if not has_column(connection, "provider_keys", "workspace"):
        connection.execute(sa.text("ALTER TABLE provider_keys ADD COLUMN workspace VARCHAR(80)"))
