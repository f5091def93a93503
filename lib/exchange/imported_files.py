"""Which files were imported, by their hash: an equal row of a file that was never here may be another call."""

from __future__ import annotations

from sqlalchemy import Connection, select

from lib.clock import Micros
from lib.db.tables import imported_files
from lib.db.upsert import Upsert

FORMER = "before 0007"
"""Stands for all files of before schema 0007: nobody knows them, and their rows have ids made another way."""

_KEEP = Upsert(imported_files, ("imported_at",), "set")


def has_former_ids(connection: Connection) -> bool:
    """Whether rows may be there whose ids were made before schema 0007."""
    return _is_there(connection, FORMER)


def remember(connection: Connection, sha256: str, now: Micros) -> bool:
    """Keep the hash of a file whose rows are being written; returns whether it is new."""
    is_new = not _is_there(connection, sha256)
    connection.execute(_KEEP.on(connection), {"sha256": sha256, "imported_at": now})
    return is_new


def _is_there(connection: Connection, sha256: str) -> bool:
    found = select(imported_files.c.sha256).where(imported_files.c.sha256 == sha256)
    return connection.execute(found).first() is not None
