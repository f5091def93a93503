"""Databases as earlier versions left them: the schema of a revision, and a project written with its columns."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, text

from lib.db import migrations


def begin_at(connection: Connection, revision: str, *slugs: str) -> None:
    """Give an empty database the schema of ``revision`` and projects whose ids are their slugs."""
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, revision)
    for slug in slugs:
        connection.execute(
            text(
                "INSERT INTO projects (id, slug, name, plan, created_at, created_by)"
                " VALUES (:slug, :slug, :slug, 'Starter', 1, 'somebody')"
            ),
            {"slug": slug},
        )
