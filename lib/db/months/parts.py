"""The parts of the table of usage events on PostgreSQL: each month of UTC is a table of its own.

The parts leave no gap: what is older than the first month, each month, and what is later than the last one. So there is a place
for every time that a clock or a file may name. A part's key is the project and the event; across parts who writes
looks first (lib.usage.events, lib.exchange.imports). A database of before 0019 has one table until its operator moves
it (lib.db.months.partitioning); every statement runs on both.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, text

from lib.clock import Micros, from_micros, month_after, month_of

EVENTS = "usage_events"
BEFORE, AFTER = f"{EVENTS}_before", f"{EVENTS}_after"
AHEAD = 3
"""Months that are made ahead of the one that is under way."""
_DETACHED = f"{EVENTS}_detached"
_IS_PARENT = text("SELECT relkind = 'p' FROM pg_class WHERE oid = to_regclass('usage_events')")
_PARTS = text("""
SELECT relname, pg_get_expr(relpartbound, oid) FROM pg_inherits JOIN pg_class ON oid = inhrelid
WHERE inhparent = to_regclass('usage_events')
""")
_BOUND = re.compile(r"\((?:'?(-?\d+)'?|MINVALUE|MAXVALUE)\)")
_ALONE = f"LOCK TABLE {EVENTS} IN ACCESS EXCLUSIVE MODE"
_KEEP = """
INSERT INTO {into} SELECT events.* FROM {part} AS events
JOIN unnest(CAST(:projects AS text[]), CAST(:events AS text[])) AS kept (project_id, event_id) USING (project_id, event_id)
"""


@dataclass(frozen=True)
class Part:
    """One part of the table: from when until when; None has no end."""

    name: str
    since: Micros | None
    until: Micros | None

    @property
    def bounds(self) -> str:
        """As CREATE TABLE and ATTACH PARTITION take them."""
        since = "MINVALUE" if self.since is None else self.since
        until = "MAXVALUE" if self.until is None else self.until
        return f"FOR VALUES FROM ({since}) TO ({until})"


def is_by_month(connection: Connection) -> bool:
    """Whether the events are partitioned."""
    return connection.dialect.name != "sqlite" and bool(connection.execute(_IS_PARENT).scalar())


def parts(connection: Connection) -> list[Part]:
    """All parts in the order of time; none where the events are one table."""
    found = list[Part]()
    if connection.dialect.name != "sqlite":
        for name, bound in connection.execute(_PARTS):
            since, until = (int(each) if each else None for each in _BOUND.findall(bound))
            found.append(Part(name, since, until))
    return sorted(found, key=lambda part: (part.since is not None, part.since or 0))


def part_of(month_at: Micros) -> str:
    """What the part of a month is called."""
    return f"{EVENTS}_{from_micros(month_at):%Y_%m}"


def months(since: Micros, until: Micros) -> list[Part]:
    """A part for each month between two beginnings of months."""
    found, at = list[Part](), since
    while at < until:
        found.append(Part(part_of(at), at, month_after(at)))
        at = month_after(at)
    return found


def wanted_until(now: Micros) -> Micros:
    """Until when there are to be months at that time."""
    until = month_after(month_of(now))
    for _ in range(AHEAD):
        until = month_after(until)
    return until


def make_part(connection: Connection, part: Part, *, of: str = EVENTS) -> None:
    """Make an empty part."""
    key = f"CONSTRAINT pk_{part.name} PRIMARY KEY (project_id, event_id)"
    connection.exec_driver_sql(f"CREATE TABLE {part.name} PARTITION OF {of} ({key}) {part.bounds}")


def make_next(connection: Connection, now: Micros) -> list[Part]:
    """Make the months that there are to be by now, in a moment in which nobody else uses the events; returns them.

    Events that are later than the last month until now are put into theirs, but for those of months that are over
    or under way: they stay in one part.
    """
    until = wanted_until(now)
    if not _is_due(connection, until):
        return []
    connection.exec_driver_sql(_ALONE)
    if not _is_due(connection, until):  # another process was first
        return []
    since = parts(connection)[-1].since or 0
    if connection.exec_driver_sql(f"SELECT 1 FROM {AFTER} LIMIT 1").first() is None:  # noqa: S608  # nosec B608
        connection.exec_driver_sql(f"DROP TABLE {AFTER}")
        made = months(since, until)
        for part in (*made, Part(AFTER, until, None)):
            make_part(connection, part)
        return made
    return _split(connection, since, max(since, month_after(month_of(now))), until)


def is_due(connection: Connection, now: Micros) -> bool:
    """Whether months are missing by now."""
    return _is_due(connection, wanted_until(now))


def _is_due(connection: Connection, until: Micros) -> bool:
    found = parts(connection)
    return bool(found) and (found[-1].since or 0) < until


def _split(connection: Connection, since: Micros, begun: Micros, until: Micros) -> list[Part]:
    """What came after the last month becomes a part up to ``begun``, and months up to ``until``."""
    connection.exec_driver_sql(f"ALTER TABLE {EVENTS} DETACH PARTITION {AFTER}")
    _rename(connection, AFTER, _DETACHED)
    made = months(begun, until)
    for part in (*made, Part(AFTER, until, None)):
        make_part(connection, part)
        later = f"FROM {_DETACHED} WHERE occurred_at >= {part.since}"
        ended = "" if part.until is None else f" AND occurred_at < {part.until}"
        connection.exec_driver_sql(f"INSERT INTO {part.name} SELECT * {later}{ended}")
    if begun == since:
        connection.exec_driver_sql(f"DROP TABLE {_DETACHED}")
        return made
    connection.exec_driver_sql(f"DELETE FROM {_DETACHED} WHERE occurred_at >= {begun}")  # noqa: S608  # nosec B608
    wide = Part(part_of(since), since, begun)
    _rename(connection, _DETACHED, wide.name)
    connection.exec_driver_sql(f"ALTER TABLE {EVENTS} ATTACH PARTITION {wide.name} {wide.bounds}")
    return [wide, *made]


def _rename(connection: Connection, old: str, new: str) -> None:
    connection.exec_driver_sql(f"ALTER TABLE {old} RENAME TO {new}")
    connection.exec_driver_sql(f"ALTER INDEX pk_{old} RENAME TO pk_{new}")


def take_out(connection: Connection, until: Micros, kept: Sequence[tuple[str, str]]) -> None:
    """Drop all parts that end by then, in a moment, but for these events (project, id), which go to what is older.

    Args:
        connection: of one write.
        until: where a part ends.
        kept: what stays.
    """
    connection.exec_driver_sql(_ALONE)
    connection.exec_driver_sql(f"ALTER TABLE {EVENTS} DETACH PARTITION {BEFORE}")
    which = {"projects": [project for project, _ in kept], "events": [event for _, event in kept]}
    for part in parts(connection):
        if part.until is not None and part.until <= until:
            connection.execute(text(_KEEP.format(into=BEFORE, part=part.name)), which)
            connection.exec_driver_sql(f"DROP TABLE {part.name}")
    older = Part(BEFORE, None, until)
    connection.exec_driver_sql(f"ALTER TABLE {EVENTS} ATTACH PARTITION {BEFORE} {older.bounds}")
