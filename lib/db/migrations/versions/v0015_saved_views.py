"""Views of pages, saved under a name by a person for themselves, or for the members of a project."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    op.create_table(
        "saved_views",
        sa.Column("scope", sa.String(length=36), nullable=False),
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("owner", sa.String(length=320), nullable=False),
        sa.Column("page", sa.String(length=40), nullable=False),
        sa.Column("name", sa.String(length=60), nullable=False),
        sa.Column("query", sa.Text(), nullable=False),
        sa.Column("saved_at", sa.BigInteger(), nullable=False),
        sa.Column("saved_by", sa.String(length=320), nullable=False),
        sa.PrimaryKeyConstraint("scope", "id", name=op.f("pk_saved_views")),
        sa.UniqueConstraint("scope", "owner", "page", "name", name="uq_saved_views_name"),
    )
