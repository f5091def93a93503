"""The table of saved views: what the filters of a page say, under a name."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, String, Table, Text, UniqueConstraint

from lib.db.rollup_tables import metadata

saved_views = Table(
    "saved_views",
    metadata,
    # The id of the project whose members see it, or - for a person's own.
    Column("scope", String(36), primary_key=True),
    Column("id", String(36), primary_key=True),
    # Whose it is; empty where it is a project's.
    Column("owner", String(320), nullable=False),
    Column("page", String(40), nullable=False),
    Column("name", String(60), nullable=False),
    Column("query", Text, nullable=False),
    Column("saved_at", BigInteger, nullable=False),
    Column("saved_by", String(320), nullable=False),
    UniqueConstraint("scope", "owner", "page", "name", name="uq_saved_views_name"),
)
