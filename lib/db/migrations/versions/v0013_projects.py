"""Projects are archived, and have labels, each with the instant from which on it holds."""

import sqlalchemy as sa
from alembic import op

from lib.db.migrations.online import Online, has_column

revision = "0013"
down_revision = "0012"


def ahead(online: Online) -> None:
    online.briefly(_add_column)


def upgrade() -> None:
    _add_column(op.get_bind())
    op.create_table(
        "project_labels",
        sa.Column("project_id", sa.String(length=36), nullable=False),
        sa.Column("name", sa.String(length=40), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.Column("value", sa.String(length=200)),
        sa.ForeignKeyConstraint(
            ["project_id"],
            ["projects.id"],
            name=op.f("fk_project_labels_project_id_projects"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("project_id", "name", "since", name=op.f("pk_project_labels")),
    )


def _add_column(connection: sa.Connection) -> None:
    if not has_column(connection, "projects", "archived_at"):
        connection.execute(sa.text("ALTER TABLE projects ADD COLUMN archived_at BIGINT"))
