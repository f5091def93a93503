"""The seal over what points at a project's keys.

Projects that are there already are sealed in this very step, as they are, with the master key of the process
that upgrades: the only time that happens without a person's word. Later a project without a seal is locked.
"""

import sqlalchemy as sa
from alembic import context, op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.add_column("projects", sa.Column("sealed_keys", sa.Text()))
    op.add_column("projects", sa.Column("seal_master_key_id", sa.String(length=40)))
    op.add_column("projects", sa.Column("seal", sa.LargeBinary()))
    seal_projects = context.config.attributes.get("seal_projects")
    if seal_projects is not None:
        seal_projects(op.get_bind())
