"""Events by months of UTC, on PostgreSQL, where there are none yet; else their operator moves them (db partition).

Moving needs room for a second copy, and a dashboard of the version before takes no import afterwards: so it does not
begin by itself. Every statement of this version runs on one table as well.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from lib.db.migrations import months_0019 as move
from lib.db.migrations.functions_0019 import FUNCTIONS
from lib.db.migrations.online import Online, is_there
from lib.db.months.parts import is_by_month

revision = "0019"
down_revision = "0018"

_NOW = sa.text("SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS bigint)")
_ANY = sa.text("SELECT 1 FROM usage_events LIMIT 1")


def ahead(online: Online) -> None:
    if not online.briefly(_may_move):
        return
    online.briefly(move.drop_former)
    online.briefly(_begin)
    online.briefly(move.carry_changes)
    while online.briefly(move.carry_batch):
        pass
    online.briefly(move.require_same)
    online.briefly(move.swap)
    online.briefly(move.drop_former)


def upgrade() -> None:
    if op.get_bind().dialect.name != "sqlite":
        for function in FUNCTIONS:
            op.execute(sa.text(function))


def _may_move(connection: sa.Connection) -> bool:
    """There are no events, or it was begun when there were none."""
    if is_by_month(connection):
        return is_there(connection, move.FORMER)
    return is_there(connection, move.NEW) or connection.execute(_ANY).first() is None


def _begin(connection: sa.Connection) -> None:
    if not is_by_month(connection):
        move.begin(connection, int(connection.execute(_NOW).scalar_one()), move.first_event(connection))
