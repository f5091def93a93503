"""Sample data is a deployment of its own from here on: what was loaded into this database goes.

It was made up, and no sum of real projects counted it. The column that marked it stays until the next release, as
workers of the version before still read it.
"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"

_projects = sa.table("projects", sa.column("id"), sa.column("sample", sa.Boolean))
_members = sa.table("members", sa.column("scope"))


def upgrade() -> None:
    made_up = sa.select(_projects.c.id).where(_projects.c.sample.is_(True))
    op.execute(sa.delete(_members).where(_members.c.scope.in_(made_up)))
    op.execute(
        sa.delete(_projects).where(_projects.c.sample.is_(True))
    )  # and, by cascade, what refers to them
