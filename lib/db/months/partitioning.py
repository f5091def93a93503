"""The events of a database of before moved into months, on an operator's word, while calls go on (lib.db.months.parts)."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from sqlalchemy import Connection, text

from lib.db.engine import Database
from lib.db.migrate import upgrade_turn
from lib.db.migrations import months_0019 as move
from lib.db.migrations.online import Online, is_there
from lib.db.months.parts import EVENTS, Part, is_by_month, is_due, make_next
from lib.errors import BadInput, DatabaseUnavailable

T = TypeVar("T")

_MOST_TRIES = 60
_PAUSE = 0.5
_PASSING = {"busy", "deadlock"}
_SIZE = text(f"SELECT pg_total_relation_size('{EVENTS}')")
_ANALYZE = f"ANALYZE {move.NEW}"


def is_moving(connection: Connection) -> bool:
    """Whether a move was begun and is not done."""
    return is_there(connection, move.NEW) or is_there(connection, move.FORMER)


def size(database: Database) -> int | None:
    """Bytes that a move needs besides; None where there is nothing to move."""
    with database.read() as connection:
        if database.is_sqlite or (is_by_month(connection) and not is_moving(connection)):
            return None
        return int(connection.execute(_SIZE).scalar_one())


def partition(database: Database, progress: Callable[[int], None] | None = None) -> None:
    """Move all events into parts by months. Whatever interrupts it, the next one goes on from there.

    Args:
        database: of the newest schema; workers and dashboards go on.
        progress: called with the number of events that were carried over, now and then.

    Raises:
        BadInput: it is no PostgreSQL database; or another process moves or upgrades it just now.
        DatabaseUnavailable: it does not answer, or a lock was not to be had for minutes. Run it again.
    """
    if database.is_sqlite:
        raise BadInput("A SQLite database keeps its events in one table.")
    with upgrade_turn(database) as is_ours:
        if not is_ours:
            raise BadInput(
                "Another process upgrades this database, or moves its events. Try again when it is done."
            )
        move_events(database, progress)


def move_events(database: Database, progress: Callable[[int], None] | None = None) -> None:
    """As ``partition``, for one whose turn it is."""
    patiently(database, move.drop_former)
    with database.read() as connection:
        if is_by_month(connection):
            return
    with database.read(seconds=0) as connection:
        now, first = database.now(connection), move.first_event(connection)
    patiently(database, lambda connection: move.begin(connection, now, first))
    patiently(database, move.carry_changes)
    carried = 0
    while patiently(database, move.carry_batch):
        carried += move.BATCH
        if progress:
            progress(carried)
    _require_same(database)
    patiently(database, move.swap)
    patiently(database, move.drop_former)


def _require_same(database: Database) -> None:
    with database.write(seconds=0) as connection:
        connection.exec_driver_sql(_ANALYZE)
    try:
        with database.read(seconds=0) as connection:
            move.require_same(connection)
    except move.NotTheSame:
        move.give_up(Online(database))
        raise DatabaseUnavailable(
            "What was carried over is not what the table holds. Nothing was changed; run this again.",
            cause="copy",
        ) from None


def make_next_months(database: Database) -> list[Part]:
    """Make the months that there are to be by now. Cheap where there is nothing to do."""
    if database.is_sqlite:
        return []
    with database.read() as connection:
        now = database.now(connection)
        if not is_due(connection, now):
            return []
    return patiently(database, lambda connection: make_next(connection, now))


def patiently(database: Database, act: Callable[[Connection], T]) -> T:
    """Do it in one short transaction; where calls are in the way they go first, some minutes long."""
    online = Online(database)
    for tries in range(1, _MOST_TRIES + 1):
        try:
            return online.briefly(act)
        except DatabaseUnavailable as problem:
            if problem.cause not in _PASSING or tries == _MOST_TRIES:
                raise
        time.sleep(_PAUSE)
    raise AssertionError
