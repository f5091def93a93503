"""Spend of calls hour by hour, as the forecasts of caps look at it. Imports never count against a cap, so none are in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
from sqlalchemy import ColumnElement, Connection, Table, bindparam, func, select

from lib.caps.forecast.spend_model import HOURS_A_DAY, Floats, SpendHistory
from lib.clock import HOUR, Micros, from_micros, to_micros
from lib.db.tables import usage_hourly


def is_live(rollup: Table) -> ColumnElement[bool]:
    """Rows of a roll-up that calls wrote: an import has no kind of run."""
    return rollup.c.run_kind != ""


DAYS_BACK = 35
"""How far back these forecasts look: five weeks."""

_IDLE_HOURS = HOURS_A_DAY
_HOURS = (
    select(
        usage_hourly.c.project_id, usage_hourly.c.hour_at, func.sum(usage_hourly.c.cost_nano).label("nano")
    )
    .where(
        usage_hourly.c.project_id.in_(bindparam("projects", expanding=True)),
        usage_hourly.c.source.in_(bindparam("sources", expanding=True)),
        usage_hourly.c.hour_at >= bindparam("since"),
        is_live(usage_hourly),
    )
    .group_by(usage_hourly.c.project_id, usage_hourly.c.hour_at)
)


@dataclass(frozen=True)
class HourlySpend:
    """What one project spent hour by hour up to ``until``, the beginning of the hour that is under way; nano-USD."""

    until: Micros
    hours: Floats
    under_way: float
    """Spent since ``until``."""

    @property
    def is_idle(self) -> bool:
        """Nothing was spent for a day."""
        return not (self.under_way or self.hours[-_IDLE_HOURS:].any())

    def history(self, zone: ZoneInfo) -> SpendHistory:
        """For the models, whose days are those of the zone."""
        first = from_micros(self.until).astimezone(zone)
        return SpendHistory(self.hours, first.weekday(), day_lags(first, len(self.hours)), first.hour)


def day_lags(moment: datetime, most: int) -> tuple[int, ...]:
    """Return how many hours ago the clock showed the same, one, two, … days ago, up to ``most`` hours.

    They are multiples of 24 but for changes of the clocks. An hour that was skipped is taken as the one after.
    """
    lags, now = [], to_micros(moment)
    for days in range(1, most // HOURS_A_DAY + 2):
        earlier = datetime.combine(moment.date() - timedelta(days=days), moment.time(), moment.tzinfo)
        lag = (now - to_micros(earlier)) // HOUR
        if lag > most:
            break
        lags.append(lag)
    return tuple(lags)


def hourly_spend(
    connection: Connection, ids: Sequence[str], sources: Sequence[str], since: Micros, now: Micros
) -> dict[str, HourlySpend]:
    """Read what each project spent hour by hour on these ledgers, by project id."""
    wanted = {"projects": ids, "sources": list(sources), "since": since}
    found: dict[str, dict[Micros, float]] = {project_id: {} for project_id in ids}
    for row in connection.execute(_HOURS, wanted):
        found[row.project_id][row.hour_at] = float(row.nano)
    return {project_id: _dense(hours, now - now % HOUR) for project_id, hours in found.items()}


def _dense(nano: Mapping[Micros, float], until: Micros) -> HourlySpend:
    """Every hour from the first that has usage; those without have 0."""
    first = min((at for at in nano if at < until), default=until)
    hours = np.array([nano.get(at, 0.0) for at in range(first, until, HOUR)], dtype=np.float64)
    return HourlySpend(until, hours, nano.get(until, 0.0))
