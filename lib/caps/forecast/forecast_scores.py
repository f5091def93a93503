"""Forecasts are kept, and compared with what happened: so that pages can say how good they have been."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import numpy as np
from sqlalchemy import BigInteger, Connection, bindparam, case, delete, func, literal, select, update
from sqlalchemy.dialects import postgresql, sqlite

from lib.caps.forecast.hourly import DAYS_BACK, HourlySpend, hourly_spend, is_live
from lib.caps.forecast.spend_forecast import quantiles
from lib.caps.forecast.spend_model import Floats
from lib.clock import DAY, HOUR, Micros
from lib.db import Database
from lib.db.tables import SOURCES, forecasts, projects, usage_hourly

HORIZONS = (5, 24)
"""Hours ahead of the forecasts that are kept."""

KEPT: Micros = 90 * DAY
_LEVELS: Floats = np.array([0.1, 0.5, 0.9])
_INSERTS: dict[str, Any] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}

_ends_at = forecasts.c.made_at + forecasts.c.hours_ahead * literal(HOUR, BigInteger)
_happened = (
    select(func.coalesce(func.sum(usage_hourly.c.cost_nano), 0))
    .where(
        usage_hourly.c.project_id == forecasts.c.project_id,
        usage_hourly.c.source == forecasts.c.source,
        is_live(usage_hourly),
        usage_hourly.c.hour_at >= forecasts.c.made_at,
        usage_hourly.c.hour_at < _ends_at,
    )
    .scalar_subquery()
)
_SCORE = (
    update(forecasts)
    .where(
        forecasts.c.project_id == bindparam("project"),
        forecasts.c.outcome_nano.is_(None),
        _ends_at <= bindparam("until"),
    )
    .values(outcome_nano=_happened)
    .execution_options(synchronize_session=False)
)
_inside = case((forecasts.c.outcome_nano.between(forecasts.c.low_nano, forecasts.c.high_nano), 1), else_=0)
_RECORD = select(
    func.count(),
    func.coalesce(func.sum(_inside), 0),
    func.coalesce(func.sum(forecasts.c.middle_nano), 0),
    func.coalesce(func.sum(forecasts.c.outcome_nano), 0),
).where(
    forecasts.c.project_id.in_(bindparam("projects", expanding=True)),
    forecasts.c.hours_ahead == bindparam("hours"),
    forecasts.c.made_at >= bindparam("since"),
    forecasts.c.outcome_nano.is_not(None),
)


class TrackRecord(NamedTuple):
    """Forecasts whose time is over: how many, how many outcomes were in their range, and both sums in nano-USD."""

    forecasts: int
    inside: int
    forecast_nano: int
    outcome_nano: int

    @property
    def percent_inside(self) -> int:
        """Of 100 outcomes, how many lay in the range; 80 is what the range promises."""
        return round(100 * self.inside / self.forecasts) if self.forecasts else 0


def keep_forecasts(database: Database, zone: ZoneInfo) -> int:
    """Forecast every project for the hours to come, and score what is over; returns how many were made.

    To be called once an hour or so: within one hour a second call adds nothing, in any process.
    """
    with database.read() as connection:
        now = database.now(connection)
        ids = list(connection.execute(select(projects.c.id).order_by(projects.c.id)).scalars())
    return sum(_keep(database, project_id, zone, now) for project_id in ids)


def track_record(connection: Connection, ids: Sequence[str], hours_ahead: int, since: Micros) -> TrackRecord:
    """Return how good the forecasts of these projects, by id, have been since then."""
    row = connection.execute(_RECORD, {"projects": ids, "hours": hours_ahead, "since": since}).one()
    return TrackRecord(*(int(value) for value in row))


def _keep(database: Database, project_id: str, zone: ZoneInfo, now: Micros) -> int:
    with database.read() as connection:
        since = now - DAYS_BACK * DAY
        spent = {
            source: hourly_spend(connection, [project_id], (source,), since, now)[project_id]
            for source in SOURCES
        }
    rows = [row for source, each in spent.items() for row in _rows(project_id, source, each, zone)]
    until = now - now % HOUR
    with database.write(durable=False) as connection:
        made = _insert(connection, rows)
        connection.execute(_SCORE, {"project": project_id, "until": until})
        old = forecasts.c.made_at < now - KEPT
        connection.execute(delete(forecasts).where(forecasts.c.project_id == project_id, old))
    return made


def _rows(project_id: str, source: str, spent: HourlySpend, zone: ZoneInfo) -> Iterator[dict[str, Any]]:
    if spent.is_idle:
        return
    history = spent.history(zone)
    for hours in HORIZONS:
        found = quantiles(history, hours, _LEVELS)
        if found is not None:
            low, middle, high = (round(float(nano)) for nano in found)
            yield {
                "project_id": project_id,
                "source": source,
                "made_at": spent.until,
                "hours_ahead": hours,
                "low_nano": low,
                "middle_nano": middle,
                "high_nano": high,
            }


def _insert(connection: Connection, rows: Sequence[dict[str, Any]]) -> int:
    if not rows:
        return 0
    statement = (
        _INSERTS[connection.dialect.name](forecasts).on_conflict_do_nothing().returning(forecasts.c.made_at)
    )
    return sum(len(connection.execute(statement, row).all()) for row in rows)
