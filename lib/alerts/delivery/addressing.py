"""Who is told of an event, and when: each event becomes one delivery for each recipient, once."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, insert, select, update

from lib.alerts.kinds import CRITICAL, INFO, RANKS
from lib.alerts.preferences import Preferences, preferences_of
from lib.clock import Micros, from_micros, to_micros
from lib.db import AnyRow, Database
from lib.db.alert_tables import PLATFORM
from lib.db.tables import alert_channels, alert_deliveries, alert_events, members
from lib.emails import fold

DIGEST_HOUR = 8
"""Of the reporting zone: when what is not urgent is told, in one message a recipient and day."""
MAIL = "mail:"
"""What the target of a member's mail begins with."""
_AT_ONCE = 100
_IS_NEW = alert_events.c.addressed_at.is_(None)
_ANY_NEW = select(alert_events.c.event_id).where(_IS_NEW).limit(1)
_NEW = (
    select(alert_events)
    .where(_IS_NEW)
    .order_by(alert_events.c.at)
    .limit(_AT_ONCE)
    .with_for_update(skip_locked=True)
)
_EVERYWHERE = "*"


@dataclass(frozen=True)
class Addressing:
    """Makes deliveries of events.

    Args:
        database: where they are.
        zone: the reporting zone.
        admins: administrators by the environment.
        mails: whether mail can be sent, so that members are told by it.
    """

    database: Database
    zone: ZoneInfo
    admins: Sequence[str] = ()
    mails: bool = False

    def address_new(self) -> int:
        """Make the deliveries of events that have none yet; how many events. Safe side by side."""
        if self.database.fast_read(_ANY_NEW, {}) is None:
            return 0  # nearly always: senders ask every few seconds, and a write would take the writers' turn
        with self.database.write() as connection:
            events = connection.execute(_NEW).all()
            now = self.database.now(connection)
            for event in events:
                self._address(connection, event, now)
        return len(events)

    def _address(self, connection: Connection, event: AnyRow, now: Micros) -> None:
        preferences = {each: preferences_of(connection, each, now) for each in (event.project_id, PLATFORM)}
        rows = [
            {
                "project_id": event.project_id,
                "event_id": event.event_id,
                "target": target,
                "state": "due",
                **self._when(event, preferences[whose], now, machine=machine),
            }
            for target, whose, machine in self._recipients(connection, event, preferences[event.project_id])
            if event.kind not in preferences[whose].muted
        ]
        if rows:
            connection.execute(insert(alert_deliveries), rows)
        muted = int(event.kind in preferences[event.project_id].muted)
        this = (alert_events.c.project_id == event.project_id) & (alert_events.c.event_id == event.event_id)
        connection.execute(update(alert_events).where(this).values(addressed_at=now, muted=muted))

    def _recipients(
        self, connection: Connection, event: AnyRow, preferences: Preferences
    ) -> Iterator[tuple[str, str, bool]]:
        """Each target, whose preferences count for it, and whether it is a machine. The platform's channels get all."""
        channels = connection.execute(
            select(alert_channels)
            .where(alert_channels.c.project_id.in_({event.project_id, PLATFORM}))
            .where(alert_channels.c.off_at.is_(None))
        ).all()
        for channel in channels:
            if RANKS[event.severity] >= RANKS[channel.least_severity]:
                yield channel.channel_id, channel.project_id, channel.kind == "webhook"
        if self.mails:
            for email in sorted(self._people(connection, event) - preferences.without_mail):
                yield f"{MAIL}{email}", event.project_id, False

    def _people(self, connection: Connection, event: AnyRow) -> set[str]:
        """The leads of a project, or who stands in for them: who leads all projects, and administrators.

        And the lead who asked, of whichever projects, where the event is the answer.
        """
        project_id = event.project_id
        rows = connection.execute(
            select(members.c.scope, members.c.email, members.c.role).where(
                members.c.scope.in_({project_id, _EVERYWHERE}), members.c.role.in_(("lead", "admin"))
            )
        ).all()
        admins = {row.email for row in rows if row.scope == _EVERYWHERE and row.role == "admin"}
        admins |= {fold(email) for email in self.admins}
        if project_id == PLATFORM:
            return admins
        leads = {row.email for row in rows if row.role == "lead"}
        own = {row.email for row in rows if row.scope == project_id}
        return (own or leads or admins) | (leads & {fold(json.loads(event.data).get("asked_by") or "")})

    def _when(
        self, event: AnyRow, preferences: Preferences, now: Micros, *, machine: bool
    ) -> dict[str, object]:
        """At once, at the end of the quiet hours, or with the next digest; machines want each at once.

        What is due at once is due since it happened, so that what happened first is told first.
        """
        at_once = min(event.at, now)
        if machine or event.severity == CRITICAL:
            return {"next_at": at_once, "bundle": None}
        if event.severity == INFO:
            return {"next_at": _next(now, DIGEST_HOUR, self.zone), "bundle": "digest"}
        after = _after_quiet(now, (preferences.quiet_from, preferences.quiet_until), self.zone)
        return {"next_at": at_once if after == now else after, "bundle": None}


def _after_quiet(now: Micros, quiet: tuple[int | None, int | None], zone: ZoneInfo) -> Micros:
    """Now, or the end of the quiet hours that now lies in."""
    begin, end = quiet
    if begin is None or end is None:
        return now
    hour = from_micros(now).astimezone(zone).hour
    inside = begin <= hour < end if begin < end else hour >= begin or hour < end
    return _next(now, end, zone) if inside else now


def _next(now: Micros, hour: int, zone: ZoneInfo) -> Micros:
    """The next time that the clocks of the zone show that hour."""
    local = from_micros(now).astimezone(zone)
    at: Callable[[int], datetime] = lambda days: datetime.combine(  # noqa: E731
        local.date() + timedelta(days=days), time(hour), tzinfo=zone
    )
    return to_micros(at(0)) if to_micros(at(0)) > now else to_micros(at(1))
