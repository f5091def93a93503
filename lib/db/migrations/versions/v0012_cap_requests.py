"""Requests for more room: a lead asks, an administrator decides."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    op.create_table(
        "cap_requests",
        sa.Column("project_id", sa.String(length=36), nullable=False),
        sa.Column("request_id", sa.String(length=36), nullable=False),
        sa.Column("asked_by", sa.String(length=320), nullable=False),
        sa.Column("asked_at", sa.BigInteger(), nullable=False),
        sa.Column("cap_5h_nano", sa.BigInteger(), nullable=False),
        sa.Column("cap_7d_nano", sa.BigInteger(), nullable=False),
        sa.Column("wanted_until", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.String(length=500), nullable=False),
        sa.Column("status", sa.String(length=10), nullable=False),
        sa.Column("decided_by", sa.String(length=320)),
        sa.Column("decided_at", sa.BigInteger()),
        sa.Column("answer", sa.String(length=500)),
        sa.CheckConstraint("cap_5h_nano >= 0 AND cap_7d_nano >= 0", name=op.f("ck_cap_requests_caps")),
        sa.CheckConstraint(
            "status IN ('open', 'approved', 'declined', 'replaced')", name=op.f("ck_cap_requests_status")
        ),
        sa.ForeignKeyConstraint(
            ["project_id"],
            ["projects.id"],
            name=op.f("fk_cap_requests_project_id_projects"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("project_id", "request_id", name=op.f("pk_cap_requests")),
    )
    where = sa.text("status = 'open'")
    op.create_index(
        "ix_cap_requests_open",
        "cap_requests",
        ["project_id"],
        unique=True,
        sqlite_where=where,
        postgresql_where=where,
    )
