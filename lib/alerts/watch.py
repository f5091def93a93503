"""What no single call shows: looked for every few minutes by whoever sends alerts, and told once until it is over.

Any number of processes may look at once: which of them tells is decided by a row (lib.alerts.outbox.fire_once).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from sqlalchemy import delete, func, select, update

from lib.access.roles import Origin, local_administrator
from lib.alerts import kinds, outbox
from lib.alerts.kinds import AlertKind
from lib.caps.forecast.forecasts import CapForecast, Forecasts
from lib.caps.forecast.hourly import HourlySpend
from lib.caps.reading import CapsView
from lib.caps.windows import Headroom
from lib.clock import DAY, HOUR, Micros
from lib.db import AnyRow, Database
from lib.db.tables import alert_deliveries, alert_events, alert_states, projects, provider_keys, runs
from lib.pricing.amounts import NANO

WATCHER = local_administrator(Origin.WORKER, "alerts")
OLD_DAYS, UNUSED_DAYS = 180, 30
WAITED: Micros = HOUR
"""How long a run waits before that is told."""
LIKELY, UNLIKELY = 0.8, 0.3
"""The chance of reaching a cap within five hours from which on it is told, and below which it may be told anew."""
TIMES, LEAST_NANO = 5, 5 * NANO
"""A jump is an hour of so many times what a busy hour of the last week cost, and of so much at least."""
_BUSY = 0.9
_WEEK_HOURS, _FEWEST_HOURS = 7 * 24, 3 * 24
KEPT: Micros = 90 * DAY

_KEYS = (
    select(provider_keys, projects.c.slug)
    .join(projects, projects.c.id == provider_keys.c.project_id)
    .where(provider_keys.c.ended_at.is_(None))
)
_WAITING = (
    select(
        runs.c.project_id,
        projects.c.slug,
        func.count().label("number"),
        func.min(runs.c.started_at).label("since"),
        func.min(runs.c.resumes_at).label("returns_at"),
    )
    .join(projects, projects.c.id == runs.c.project_id)
    .where(runs.c.status == "waiting", runs.c.ended_at.is_(None))
    .group_by(runs.c.project_id, projects.c.slug)
)

_FIRED = select(alert_states.c.project_id, alert_states.c.subject, alert_states.c.since).where(
    alert_states.c.state == "fired"
)


class Watch:
    """Looks around, and writes what is to be told."""

    def __init__(self, database: Database, caps: CapsView, forecasts: Forecasts) -> None:
        self._database, self._caps, self._forecasts = database, caps, forecasts
        self._fired: dict[tuple[str, str], Micros] = {}

    def check(self) -> None:
        """Look once. Each thing that is told is written in a short transaction of its own."""
        with self._database.read() as connection:
            now = self._database.now(connection)
            ids = {row.slug: row.id for row in connection.execute(select(projects.c.slug, projects.c.id))}
            keys = connection.execute(_KEYS).all()
            waiting = connection.execute(_WAITING).all()
            self._fired = {(row.project_id, row.subject): row.since for row in connection.execute(_FIRED)}
        for key in keys:
            self._key(key, now)
        self._runs(waiting, now)
        if ids:
            self._spend(ids, now)
        self._purge(now)

    # --- keys and runs -----------------------------------------------------------------------------

    def _key(self, key: AnyRow, now: Micros) -> None:
        told: dict[str, Any] = {"project": key.slug, "provider": key.provider, "last4": key.last4}
        age = (now - key.saved_at) // DAY
        if age >= OLD_DAYS:
            data = told | {"days": age, "since": key.saved_at, "saved_by": key.saved_by}
            self._fire(key.project_id, f"key.old:{key.provider}:{key.version}", kinds.KEY_OLD, data, now)
        used = key.used_at or key.saved_at
        idle = (now - used) // DAY
        if idle >= UNUSED_DAYS:
            data = told | {"days": idle, "since": used}
            self._fire(
                key.project_id, f"key.unused:{key.provider}:{key.version}:{used}", kinds.KEY_UNUSED, data, now
            )

    def _runs(self, waiting: Sequence[AnyRow], now: Micros) -> None:
        for row in waiting:
            if now - row.since >= WAITED:
                data = {
                    "project": row.slug,
                    "runs": row.number,
                    "since": row.since,
                    "returns_at": row.returns_at,
                }
                self._fire(row.project_id, "waiting", kinds.RUNS_WAITING, data, now)
        told = {project_id for project_id, subject in self._fired if subject == "waiting"}
        for project_id in told - {row.project_id for row in waiting}:
            self._arm(project_id, "waiting", now)

    # --- spend -------------------------------------------------------------------------------------

    def _spend(self, ids: Mapping[str, str], now: Micros) -> None:
        rooms = self._caps.headroom_all(actor=WATCHER)
        slugs = [slug for slug in ids if slug in rooms]
        windows = {slug: rooms[slug].nearest.name for slug in slugs}
        for slug, found in self._forecasts.caps(slugs, windows, actor=WATCHER).items():
            self._forecast(ids[slug], rooms[slug], found, now)
        hours = self._forecasts.hourly(slugs, ("platform", "byok"), actor=WATCHER)
        for slug, spent in hours.items():
            self._jump(ids[slug], slug, spent, now)

    def _forecast(self, project_id: str, room: Headroom, found: CapForecast, now: Micros) -> None:
        """The nearest cap; nothing where it is full by now, which has been told already."""
        window = room.windows[found.window]
        about = f"forecast:{found.window}"
        if found.chance_soon < UNLIKELY:
            self._arm(project_id, about, now)
        if found.chance_soon < LIKELY or found.median is None or not window.free_nano:
            return
        data = {
            "project": room.project,
            "window": found.window,
            "cap_nano": window.cap_nano,
            "percent": window.percent,
            "earliest": found.earliest,
            "median": found.median,
            "latest": found.latest,
            "chance_percent": int(100 * found.chance_soon),
        }
        self._fire(project_id, about, kinds.CAP_FORECAST, data, now)

    def _jump(self, project_id: str, slug: str, spent: HourlySpend, now: Micros) -> None:
        """The last full hour against the busy hours of the week before it."""
        before = spent.hours[-_WEEK_HOURS - 1 : -1]
        busy = before[before > 0]
        if len(before) < _FEWEST_HOURS or not len(busy):
            return
        last, usual = float(spent.hours[-1]), float(np.quantile(busy, _BUSY))
        if last < max(TIMES * usual, usual + LEAST_NANO):
            return
        data = {
            "project": slug,
            "spent_nano": round(last),
            "usual_nano": round(usual),
            "times": int(last / usual),
        }
        self._fire(project_id, "jump", kinds.SPEND_JUMP, data, now, again_after=DAY)

    # --- writing -----------------------------------------------------------------------------------

    def _fire(
        self,
        project_id: str,
        about: str,
        kind: AlertKind,
        data: Mapping[str, Any],
        now: Micros,
        *,
        again_after: Micros | None = None,
    ) -> None:
        fired_at = self._fired.get((project_id, about))
        if fired_at is not None and (again_after is None or now < fired_at + again_after):
            return  # nearly always: no transaction for it
        with self._database.write() as connection:
            if outbox.fire_once(connection, project_id, about, now, again_after=again_after):
                outbox.record(connection, project_id, kind, now, data)

    def _arm(self, project_id: str, about: str, now: Micros) -> None:
        if (project_id, about) not in self._fired:
            return
        this = (alert_states.c.project_id == project_id) & (alert_states.c.subject == about)
        with self._database.write() as connection:
            connection.execute(update(alert_states).where(this).values(state="armed", since=now))

    def _purge(self, now: Micros) -> None:
        """What was told long ago stands in no list any more."""
        old = select(alert_events.c.event_id).where(alert_events.c.at < now - KEPT).limit(1)
        with self._database.read() as connection:
            if connection.execute(old).first() is None:
                return
        with self._database.write() as connection:
            gone = select(alert_events.c.event_id).where(alert_events.c.at < now - KEPT)
            connection.execute(delete(alert_deliveries).where(alert_deliveries.c.event_id.in_(gone)))
            connection.execute(delete(alert_events).where(alert_events.c.at < now - KEPT))
