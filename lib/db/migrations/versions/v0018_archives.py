"""Months of usage events that were written to Parquet and taken out of the database: file by file, with what it holds."""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"


def upgrade() -> None:
    op.create_table(
        "usage_archives",
        sa.Column("month_at", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("file", sa.String(length=200), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("platform_nano", sa.BigInteger(), nullable=False),
        sa.Column("byok_nano", sa.BigInteger(), nullable=False),
        sa.Column("archived_at", sa.BigInteger(), nullable=False),
        sa.Column("deleted_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("month_at", name=op.f("pk_usage_archives")),
    )
