"""Forecasts of spend, kept for 90 days and compared with what happened."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.create_table(
        "forecasts",
        sa.Column("project_id", sa.String(36), nullable=False),
        sa.Column("source", sa.String(10), nullable=False),
        sa.Column("made_at", sa.BigInteger(), nullable=False),
        sa.Column("hours_ahead", sa.Integer(), nullable=False),
        sa.Column("low_nano", sa.BigInteger(), nullable=False),
        sa.Column("middle_nano", sa.BigInteger(), nullable=False),
        sa.Column("high_nano", sa.BigInteger(), nullable=False),
        sa.Column("outcome_nano", sa.BigInteger()),
        sa.CheckConstraint("source IN ('platform', 'byok')", name=op.f("ck_forecasts_source")),
        sa.ForeignKeyConstraint(
            ["project_id"], ["projects.id"], name=op.f("fk_forecasts_project_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("project_id", "source", "made_at", "hours_ahead", name=op.f("pk_forecasts")),
    )
