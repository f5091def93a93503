"""The deliveries that are due, taken by one sender each: how often they are tried, and how many a channel gets an hour.

A sender takes a delivery in one short transaction, sends with none open, and writes the outcome in another one. A
sender that dies has its lease run out, and another one sends the same message again, under the same id: so each
message arrives, and who gets it twice can tell. Takings come one after the other, so that a channel is never told
by two senders at once, and never more in an hour than it should be.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, Select, exists, func, or_, select, text, update

from lib.alerts import kinds, outbox
from lib.alerts.channels.answer import Answer
from lib.alerts.delivery.addressing import MAIL
from lib.clock import DAY, HOUR, MINUTE, SECOND, Micros
from lib.db import AnyRow, Database
from lib.db.tables import alert_channels, alert_deliveries, projects

log = logging.getLogger(__name__)

RETRIES: tuple[Micros, ...] = (
    *(5 * SECOND, 5 * MINUTE, 30 * MINUTE),
    *(2 * HOUR, 5 * HOUR, 10 * HOUR, 14 * HOUR, 20 * HOUR, 24 * HOUR),
)
"""How long after each failed attempt the next one comes; after the last of them it has failed for good."""
MOST_AN_HOUR = 20
GIVES_UP_AFTER: Micros = 5 * DAY
"""A channel that has failed for so long is switched off."""
LEASE: Micros = 90 * SECOND
_LOCK = 0x616C6572  # "aler": PostgreSQL's advisory lock for taking deliveries

_d = alert_deliveries.c
_other = alert_deliveries.alias("other")


@dataclass(frozen=True)
class Taken:
    """What one sender is to send now: one event, or several together, to one target."""

    message_id: str
    target: str
    bundle: str | None
    attempts: int
    events: Sequence[tuple[str, str]]
    """(project id, event id), the oldest first."""
    channel: AnyRow | None
    """The row of the channel; None for a member's mail."""


class DeliveryQueue:
    """Takes and settles deliveries; any number of processes may."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def is_due(self) -> bool:
        """Whether there is anything to send now. It only reads: senders ask every few seconds."""
        with self._database.read() as connection:
            return connection.execute(_due(self._database.now(connection))).first() is not None

    def take(self) -> Taken | None:
        """The next message to send, None where nothing is due that nobody else sends."""
        with self._database.write() as connection:
            if not self._database.is_sqlite:
                connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
            now = self._database.now(connection)
            while (
                first := connection.execute(_due(now).with_for_update(skip_locked=True)).first()
            ) is not None:
                taken = _take(connection, first, now)
                if taken is not None:
                    return taken
        return None

    def settle(self, taken: Taken, answer: Answer) -> None:
        """Write what became of a message. Where its lease ran out meanwhile, it is another sender's by now."""
        with self._database.write() as connection:
            now = self._database.now(connection)
            values: dict[str, object] = {"lease_until": None, "answer": answer.said[:300]}
            if answer.ok:
                values |= {"state": "sent", "sent_at": now}
            elif answer.gone or taken.attempts > len(RETRIES):
                values |= {"state": "failed"}
                log.error("An alert was given up after %s attempts: %s", taken.attempts, answer.said)
            else:
                pause = max(RETRIES[taken.attempts - 1], int((answer.retry_after or 0) * SECOND))
                values |= {"next_at": now + pause}
            mine = (_d.message_id == taken.message_id) & (_d.target == taken.target) & (_d.state == "due")
            done = connection.execute(
                update(alert_deliveries).where(mine, _d.attempts == taken.attempts).values(values)
            )
            if done.rowcount and taken.channel is not None:
                _note_health(connection, taken.channel, answer, now)


def _due(now: Micros) -> Select[AnyRow]:
    """The delivery that has been due for longest, of a target that no other sender has."""
    busy = exists().where(_other.c.target == _d.target, _other.c.lease_until > now)
    statement: Select[AnyRow] = (
        select(alert_deliveries)
        .where(_d.state == "due", _d.next_at <= now, ~busy)
        .order_by(_d.next_at, _d.event_id)
        .limit(1)
    )
    return statement


def _take(connection: Connection, first: AnyRow, now: Micros) -> Taken | None:
    """Take what is sent together with ``first``; None where it is put off or dropped."""
    channel = None
    if not first.target.startswith(MAIL):
        channel = connection.execute(
            select(alert_channels).where(alert_channels.c.channel_id == first.target)
        ).first()
        if channel is None or channel.off_at is not None:
            why = "The channel was removed." if channel is None else "The channel is switched off."
            _change(
                connection, (_d.target == first.target) & (_d.state == "due"), state="dropped", answer=why
            )
            return None
    if first.message_id is None and _put_off(connection, first, now):
        return None
    message_id, these = _together(first, now)
    values = {"message_id": message_id, "attempts": first.attempts + 1, "lease_until": now + LEASE}
    statement = update(alert_deliveries).where(these).values({**values, "tried_at": now})
    rows = connection.execute(statement.returning(_d.project_id, _d.event_id)).all()
    events = [(row.project_id, row.event_id) for row in rows]
    return Taken(message_id, first.target, first.bundle, first.attempts + 1, events, channel)


def _together(first: AnyRow, now: Micros) -> tuple[str, ColumnElement[bool]]:
    """The id of the message, and the deliveries that it holds; a retry holds the same ones."""
    mine = (_d.target == first.target) & (_d.state == "due")
    if first.message_id is not None:
        return str(first.message_id), mine & (_d.message_id == first.message_id)
    if first.bundle is None:
        this = (_d.project_id == first.project_id) & (_d.event_id == first.event_id)
        return str(first.event_id), mine & this
    bundle = (_d.bundle == first.bundle) & _d.message_id.is_(None) & (_d.next_at <= now)
    return f"msg_{secrets.token_hex(16)}", mine & bundle


def _put_off(connection: Connection, first: AnyRow, now: Micros) -> bool:
    """Whether the target has had as many messages as it gets in an hour; then the rest is told together, later."""
    recent = (
        select(_d.message_id, func.min(_d.tried_at).label("at"))
        .where(_d.target == first.target, _d.message_id.is_not(None), _d.tried_at > now - HOUR)
        .where(or_(_d.state == "sent", _d.lease_until > now))
        .group_by(_d.message_id)
        .subquery()
    )
    count, oldest = connection.execute(select(func.count(), func.min(recent.c.at))).one()
    if count < MOST_AN_HOUR:
        return False
    waiting = (
        (_d.target == first.target) & (_d.state == "due") & _d.message_id.is_(None) & (_d.next_at <= now)
    )
    _change(connection, waiting, bundle="rest", next_at=oldest + HOUR)
    return True


def _change(connection: Connection, which: ColumnElement[bool], **values: object) -> None:
    connection.execute(update(alert_deliveries).where(which).values(values))


def _note_health(connection: Connection, channel: AnyRow, answer: Answer, now: Micros) -> None:
    """A channel that works again is fine; one that is gone, or has failed for days, is switched off, and that is told."""
    c = alert_channels.c
    this = (c.project_id == channel.project_id) & (c.channel_id == channel.channel_id)
    if answer.ok:
        connection.execute(
            update(alert_channels).where(this, c.failing_since.is_not(None)).values(failing_since=None)
        )
        return
    since = channel.failing_since or now
    if not answer.gone and now - since < GIVES_UP_AFTER:
        connection.execute(update(alert_channels).where(this).values(failing_since=since))
        return
    why = (
        f"it will not take messages any more ({answer.said})."
        if answer.gone
        else f"it has failed for {GIVES_UP_AFTER // DAY} days, last with: {answer.said}"
    )
    off = update(alert_channels).where(this, c.off_at.is_(None))
    changed = connection.execute(
        off.values(off_at=now, off_why=f"Switched off: {why}"[:300], failing_since=since)
    )
    if changed.rowcount:
        slug = connection.execute(select(projects.c.slug).where(projects.c.id == channel.project_id)).scalar()
        data = {"project": slug, "channel": channel.masked, "why": why}
        outbox.record(connection, channel.project_id, kinds.CHANNEL_OFF, now, data)
