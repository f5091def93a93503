"""Which files were imported, by their hash: an equal row of a file that was never here may be another call."""

from __future__ import annotations

from sqlalchemy import Connection, exists, select

from lib.clock import Micros
from lib.db.tables import imported_files, projects, usage_events
from lib.db.upsert import Upsert

FORMER = "before 0007"
"""Stands for all files of before schema 0007: they are unknown, and their rows have ids made another way."""

# Their ids begin with i-, those of calls are hexadecimal. By a range first: PostgreSQL's index of ids is sorted by the
# rules of a language, which says where a letter stands and not where a hyphen does.
_FORMER_ID = exists().where(
    usage_events.c.project_id == projects.c.id,
    usage_events.c.event_id >= "i",
    usage_events.c.event_id < "j",
    usage_events.c.event_id.startswith("i-"),
)
_KEEP = Upsert(imported_files, ("imported_at",), "set")


def has_former_ids(connection: Connection) -> bool:
    """Whether rows may be there whose ids were made before schema 0007, or by a program of before it that still ran."""
    if _is_there(connection, FORMER):
        return True
    return connection.execute(select(projects.c.id).where(_FORMER_ID).limit(1)).first() is not None


def remember(connection: Connection, sha256: str, now: Micros) -> bool:
    """Keep the hash of a file whose rows are being written; returns whether it is new."""
    is_new = not _is_there(connection, sha256)
    connection.execute(_KEEP.on(connection), {"sha256": sha256, "imported_at": now})
    return is_new


def _is_there(connection: Connection, sha256: str) -> bool:
    found = select(imported_files.c.sha256).where(imported_files.c.sha256 == sha256)
    return connection.execute(found).first() is not None
