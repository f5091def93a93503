"""Roll-ups: usage by hour of UTC and by day of the reporting zone, kept by the transaction that writes an event.

Pages read these instead of history. They are sums, so they can be made again from the events at any time:
after an import, for another zone, or because ``verify`` found a difference.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import (
    ColumnElement,
    Connection,
    Table,
    bindparam,
    delete,
    func,
    literal_column,
    select,
    update,
)

from lib.clock import HOUR, MINUTE, Micros
from lib.db import Database
from lib.db.raw_execute import raw_execute
from lib.db.rollup_tables import MEASURES
from lib.db.tables import (
    projects,
    rollup_zone,
    usage_daily,
    usage_events,
    usage_hourly,
)
from lib.db.upsert import Upsert
from lib.errors import SettingsError
from lib.usage import cache_sums, rollup_totals
from lib.usage.archived import archived_until
from lib.usage.event_row import EventRow
from lib.usage.measures import of_event, summed
from lib.usage.periods import day_of, midnight

QUARTER: Micros = 15 * MINUTE  # every zone's days are made of whole quarters of an hour
DIMENSIONS = ("source", "provider", "model", "run_kind", "status")
_MOMENT = {usage_hourly: "hour_at", usage_daily: "day_at"}
_BATCH = 1_000

Key = tuple[Any, ...]  # a moment and the dimensions
Sums = tuple[int, ...]


def event_dimensions() -> list[ColumnElement[Any]]:
    """The dimensions as columns of usage events; an import has no run kind."""
    # Constants are written into the SQL: PostgreSQL takes two parameters for two different expressions.
    kind = func.coalesce(usage_events.c.run_kind, literal_column("''")).label("run_kind")
    return [kind if name == "run_kind" else usage_events.c[name] for name in DIMENSIONS]


def _adding(table: Table) -> Upsert:
    """Add one event to its row. Its day is written only while ``zone`` is the zone of the roll-ups."""
    names = ("project_id", _MOMENT[table], *DIMENSIONS, *MEASURES)
    source = select(*(bindparam(name, type_=table.c[name].type) for name in names)).select_from(rollup_zone)
    wanted = rollup_zone.c.one == 1 if table is usage_hourly else rollup_zone.c.zone == bindparam("zone")
    return Upsert(table, MEASURES, "add", names=names, source=source.where(wanted))


_ADD_HOUR, _ADD_DAY = _adding(usage_hourly), _adding(usage_daily)
# What is summed from the events includes a live call whose row came meanwhile, so it replaces.
_SET = {table: Upsert(table, MEASURES, "set") for table in _MOMENT}
ZONE = select(rollup_zone.c.zone)
"""The name of the zone whose days the daily roll-up holds."""


def zone_of(connection: Connection) -> ZoneInfo:
    """The zone whose days the daily roll-up holds."""
    return ZoneInfo(connection.execute(ZONE).scalar_one())


def day_start(connection: Connection, at: Micros) -> Micros:
    """When the day that holds the instant began, in the zone of the daily roll-up."""
    zone = zone_of(connection)
    return midnight(day_of(at, zone), zone)


class Rollups:
    """Adds events to their hour and day. One per process; it remembers the zone, and notices a change."""

    def __init__(self) -> None:
        self._zone: ZoneInfo | None = None

    def add(self, connection: Connection, row: EventRow) -> None:
        """Add one usage event, in the transaction that writes it."""
        values: dict[str, Any] = {"project_id": row.project_id, **of_event(row)}
        values |= {name: getattr(row, name) or "" for name in DIMENSIONS}
        at = row.occurred_at
        raw_execute(connection, _ADD_HOUR.on(connection), values | {"hour_at": at - at % HOUR})
        if not self._add_day(connection, values, at):
            self._zone = None  # the reporting zone has changed since this process last looked
            self._add_day(connection, values, at)

    def _add_day(self, connection: Connection, values: Mapping[str, Any], at: Micros) -> bool:
        zone = self._zone = self._zone or zone_of(connection)
        day = {"day_at": midnight(day_of(at, zone), zone), "zone": zone.key}
        options = {"preserve_rowcount": True}
        done = connection.execute(_ADD_DAY.on(connection), {**values, **day}, execution_options=options)
        return done.rowcount > 0


def rebuild(connection: Connection, project_id: str, since: Micros, until: Micros) -> None:
    """Make a project's roll-ups again from its events: all hours and days that share an instant with the period."""
    zone = zone_of(connection)
    start = midnight(day_of(since, zone), zone)
    end = midnight(day_of(max(since, until - 1), zone) + timedelta(days=1), zone)
    _replace(connection, usage_hourly, project_id, start - start % HOUR, end + -end % HOUR, zone)
    _replace(connection, usage_daily, project_id, start, end, zone)


@dataclass(frozen=True)
class Difference:
    """One roll-up row that is not the sum of its events; None where there is no such row, or no such event.

    ``columns`` names what is in ``key``, ``sums`` what is in ``stored`` and ``events``.
    """

    project: str
    table: str
    columns: tuple[str, ...]
    key: Key
    sums: tuple[str, ...]
    stored: Sums | None
    events: Sums | None


def verify(database: Database) -> Iterator[Difference]:
    """Compare both roll-ups with the events, each project in one view of the data; archived months have sums alone."""
    for project_id, slug in _all_projects(database).items():
        with database.read(seconds=0) as connection:
            zone = zone_of(connection)
            for table, since in _first_whole(connection, zone).items():
                stored = _stored(connection, table, project_id, since)
                events = _summed(connection, table, project_id, since, None, zone)
                yield from _compare(slug, table, stored, events)
            # Where a roll-up differs, that is said already; its totals have to be its own.
            for totals in rollup_totals.compared(connection, project_id):
                yield from _compare(slug, *totals)
            yield from _compare(slug, *cache_sums.compared(connection, project_id))


def _compare(
    project: str, table: Table, stored: Mapping[Key, Sums], events: Mapping[Key, Sums]
) -> Iterator[Difference]:
    names = tuple(column.name for column in table.c if column.name != "project_id")
    for key in sorted({*stored, *events}):
        if stored.get(key) != events.get(key):
            columns, sums = names[: len(key)], names[len(key) :]
            yield Difference(project, table.name, columns, key, sums, stored.get(key), events.get(key))


def repair(database: Database, progress: Callable[[int, int], None] | None = None) -> None:
    """Make the roll-ups again from the events, but those of archived months. ``progress`` gets (projects done, projects in all)."""
    ids = _all_projects(database)
    for done, project_id in enumerate(ids, start=1):
        with database.write(seconds=0) as connection:
            zone = zone_of(connection)
            for table, since in _first_whole(connection, zone).items():
                _replace(connection, table, project_id, since, None, zone)
            rollup_totals.replace(connection, project_id)
            cache_sums.replace(connection, project_id)
        if progress:
            progress(done, len(ids))


def set_zone(database: Database, name: str, progress: Callable[[int, int], None] | None = None) -> bool:
    """Make the daily roll-up again for another reporting zone; False where it is in that zone already.

    One transaction: readers see the old days until all new ones are there. Days of archived months are put together
    from hours.

    Raises:
        SettingsError: such days do not begin with an hour of UTC.
    """
    with database.read() as connection:
        if connection.execute(ZONE).scalar_one() == name:
            return False
    ids = _all_projects(database)
    with database.write(seconds=0) as connection:
        # A call that settles meanwhile waits, sees that the zone has changed, and uses the new one.
        lock(connection)
        archived = archived_until(connection)
        connection.execute(update(rollup_zone).values(zone=name))
        for done, project_id in enumerate(ids, start=1):
            days = _days_of_hours(connection, project_id, archived, ZoneInfo(name)) if archived else {}
            _replace(connection, usage_daily, project_id, None, None, ZoneInfo(name), before=(archived, days))
            if progress:
                progress(done, len(ids))
    return True


def _first_whole(connection: Connection, zone: ZoneInfo) -> dict[Table, Micros | None]:
    """From where on each roll-up can be compared with events: days in part archived, too, are sums alone."""
    archived = archived_until(connection)
    if archived is None:
        return dict.fromkeys(_MOMENT)
    day = day_of(archived, zone)
    if midnight(day, zone) < archived:
        day += timedelta(days=1)
    return {usage_hourly: archived, usage_daily: midnight(day, zone)}


def _days_of_hours(
    connection: Connection, project_id: str, archived: Micros, zone: ZoneInfo
) -> dict[Key, Sums]:
    """Sums of days, as far as they were archived, from those of hours. Raises SettingsError."""
    found: dict[Key, Sums] = {}
    for (hour, *dimensions), sums in _stored(connection, usage_hourly, project_id, None).items():
        if hour >= archived:
            continue
        start = midnight(day_of(hour, zone), zone)
        if start % HOUR:
            raise SettingsError(
                "QODEX_TIMEZONE",
                f"cannot become {zone.key} any more: archived months are kept by hours of UTC, with which its days do not begin.",
            )
        _add(found, (start, *dimensions), sums)
    return found


def _add(found: dict[Key, Sums], key: Key, sums: Sums) -> None:
    found[key] = tuple(map(sum, zip(sums, found.get(key, (0,) * len(MEASURES)), strict=True)))


def lock(connection: Connection) -> None:
    """Keep live calls from changing the roll-ups while they are summed anew; SQLite's writer is alone anyway.

    A call that had written its event, but not committed it, would be in neither sum.
    """
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("LOCK TABLE usage_hourly, usage_daily IN SHARE ROW EXCLUSIVE MODE")


def _all_projects(database: Database) -> dict[str, str]:
    with database.read() as connection:
        return {row.id: row.slug for row in connection.execute(select(projects.c.id, projects.c.slug))}


def _replace(
    connection: Connection,
    table: Table,
    project_id: str,
    since: Micros | None,
    until: Micros | None,
    zone: ZoneInfo,
    *,
    before: tuple[Micros | None, Mapping[Key, Sums]] = (None, {}),
) -> None:
    """Make a stretch of a roll-up again. ``before``: up to when sums are given in place of events, and these."""
    lock(connection)
    moment = table.c[_MOMENT[table]]
    statement = delete(table).where(table.c.project_id == project_id, *_within(moment, since, until))
    connection.execute(statement)
    names = (_MOMENT[table], *DIMENSIONS, *MEASURES)
    archived, given = before
    found = _summed(connection, table, project_id, archived if since is None else since, until, zone)
    for key, sums in given.items():
        _add(found, key, sums)
    rows = [
        {"project_id": project_id, **dict(zip(names, (*key, *sums), strict=True))}
        for key, sums in sorted(found.items())
    ]
    for start in range(0, len(rows), _BATCH):
        connection.execute(_SET[table].on(connection), rows[start : start + _BATCH])


def _within(
    moment: ColumnElement[int], since: Micros | None, until: Micros | None
) -> list[ColumnElement[bool]]:
    edges = (None if since is None else moment >= since, None if until is None else moment < until)
    return [edge for edge in edges if edge is not None]


def _stored(connection: Connection, table: Table, project_id: str, since: Micros | None) -> dict[Key, Sums]:
    columns = [table.c[name] for name in (_MOMENT[table], *DIMENSIONS, *MEASURES)]
    stretch = _within(table.c[_MOMENT[table]], since, None)
    rows = connection.execute(select(*columns).where(table.c.project_id == project_id, *stretch))
    return {tuple(row[: 1 + len(DIMENSIONS)]): tuple(row[1 + len(DIMENSIONS) :]) for row in rows}


def _summed(
    connection: Connection,
    table: Table,
    project_id: str,
    since: Micros | None,
    until: Micros | None,
    zone: ZoneInfo,
) -> dict[Key, Sums]:
    """What the table should hold: SQL sums quarters (or hours), which are put together to days here."""
    at = usage_events.c.occurred_at
    step = HOUR if table is usage_hourly else QUARTER
    bucket = (at - at % literal_column(str(step))).label("bucket")
    statement = select(bucket, *event_dimensions(), *summed()).where(usage_events.c.project_id == project_id)
    statement = statement.where(*_within(at, since, until))
    found: dict[Key, Sums] = {}
    moments: dict[Micros, Micros] = {}
    for row in connection.execute(statement.group_by(bucket, *event_dimensions())):
        quarter = int(row.bucket)
        if quarter not in moments:
            whole = table is usage_hourly
            moments[quarter] = quarter if whole else midnight(day_of(quarter, zone), zone)
        key = (moments[quarter], *row[1 : 1 + len(DIMENSIONS)])
        _add(found, key, tuple(int(value) for value in row[1 + len(DIMENSIONS) :]))
    return found
