"""What was noticed lately and whom it was told: for the page and the command line; and sending it once more."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, insert, select, update

from lib.access import audit
from lib.access.audit import Tag
from lib.access.denied_attempts import denials_logged
from lib.access.roles import Action, Actor, allows
from lib.alerts import kinds, outbox
from lib.alerts.channels.answer import Answer
from lib.alerts.delivery.addressing import MAIL
from lib.alerts.delivery.sender import Sender
from lib.alerts.subjects import Owner, owner
from lib.clock import Micros
from lib.db import AnyRow, Database
from lib.db.alert_tables import PLATFORM
from lib.db.tables import alert_channels, alert_deliveries, alert_events
from lib.errors import BadInput


@dataclass(frozen=True)
class Delivery:
    """One event on its way to one recipient. ``to`` is a member's address, or a channel's as it may be shown."""

    event_id: str
    target: str
    to: str
    kind: str
    state: str
    bundle: str | None
    attempts: int
    next_at: Micros
    tried_at: Micros | None
    sent_at: Micros | None
    answer: str | None


@dataclass(frozen=True)
class SentAlert:
    """One event: what happened, and its deliveries where the actor may see them."""

    event_id: str
    kind: str
    severity: str
    at: Micros
    title: str
    text: str
    muted: bool
    deliveries: Sequence[Delivery]


class AlertHistory:
    """Each function checks the actor's rights itself; ``slug`` None is the platform."""

    def __init__(self, database: Database, sender: Sender) -> None:
        self._database, self._sender = database, sender

    def recent(self, slug: str | None, *, actor: Actor, limit: int = 20) -> list[SentAlert]:
        """The last events, the newest first; whoever sees the project's spend may see them, leads whom they went to."""
        with self._database.read() as connection:
            whose = owner(connection, slug, actor, Action.SEE_SPEND)
            rows = connection.execute(
                select(alert_events)
                .where(alert_events.c.project_id == whose.id)
                .order_by(alert_events.c.at.desc(), alert_events.c.event_id)
                .limit(limit)
            ).all()
            may_see = whose.id == PLATFORM or allows(actor, Action.SET_ALERTS, whose.id)
            deliveries = _deliveries(connection, whose, rows) if may_see else {}
            now = self._database.now(connection)
        return [self._sent_alert(row, deliveries.get(row.event_id, ()), now) for row in rows]

    def send_again(self, slug: str | None, event_id: str, target: str, *, actor: Actor) -> None:
        """Send an event once more to one recipient, under the same id. Raises BadInput where it never went there."""
        with (
            denials_logged(self._database, actor, "send an alert again", slug),
            self._database.write() as connection,
        ):
            whose = owner(connection, slug, actor, lock=True)
            now = self._database.now(connection)
            again = {"state": "due", "bundle": None, "attempts": 0, "next_at": now, "message_id": None}
            again |= {"lease_until": None, "sent_at": None, "answer": None}
            changed = connection.execute(
                update(alert_deliveries)
                .where(
                    alert_deliveries.c.project_id == whose.id,
                    alert_deliveries.c.event_id == event_id,
                    alert_deliveries.c.target == target,
                    alert_deliveries.c.state != "due",
                )
                .values(again)
            )
            if not changed.rowcount:
                raise BadInput("That is on its way already, or it never went there.")
            audit.record(
                connection, now, actor, Tag.ALERT_SENT_AGAIN, whose.subject, after={"event_id": event_id}
            )

    def send_test(self, slug: str | None, channel_id: str, *, actor: Actor) -> Answer:
        """Send a test to one channel now, and say what it answered. It stands among the deliveries afterwards."""
        with (
            denials_logged(self._database, actor, "send a test", slug),
            self._database.write() as connection,
        ):
            whose = owner(connection, slug, actor, lock=True)
            c = alert_channels.c
            this = (c.project_id == whose.id) & (c.channel_id == channel_id)
            channel = connection.execute(select(alert_channels).where(this)).first()
            if channel is None:
                raise BadInput("There is no such channel (any more).")
            now = self._database.now(connection)
            data = {"project": whose.slug, "who": actor.name}
            event_id = outbox.record(connection, whose.id, kinds.TEST, now, data)
            mine = (alert_events.c.project_id == whose.id) & (alert_events.c.event_id == event_id)
            connection.execute(update(alert_events).where(mine).values(addressed_at=now))
            event = connection.execute(select(alert_events).where(mine)).one()
        answer = self._sender.send_to(channel, self._sender.message_of(event, now))
        with self._database.write() as connection:
            done = self._database.now(connection)
            row = {
                "project_id": whose.id,
                "event_id": event_id,
                "target": channel_id,
                "state": "sent" if answer.ok else "failed",
                "attempts": 1,
                "next_at": now,
                "tried_at": now,
                "sent_at": done if answer.ok else None,
                "answer": answer.said,
            }
            connection.execute(insert(alert_deliveries), row)
        return answer

    def _sent_alert(self, row: AnyRow, deliveries: Sequence[Delivery], now: Micros) -> SentAlert:
        message = self._sender.message_of(row, now)
        return SentAlert(
            row.event_id,
            row.kind,
            row.severity,
            row.at,
            message.title,
            message.text,
            bool(row.muted),
            deliveries,
        )


def _deliveries(connection: Connection, whose: Owner, events: Sequence[AnyRow]) -> dict[str, list[Delivery]]:
    """By event. Of a project's events, those to the platform's channels are the platform's business."""
    d, c = alert_deliveries.c, alert_channels.c
    rows = connection.execute(
        select(alert_deliveries, c.masked, c.kind, c.project_id.label("whose"))
        .outerjoin(alert_channels, c.channel_id == d.target)
        .where(d.project_id == whose.id, d.event_id.in_([event.event_id for event in events]))
        .order_by(d.target)
    ).all()
    found = defaultdict(list)
    for row in rows:
        if row.whose == PLATFORM != whose.id:
            continue
        found[row.event_id].append(_delivery(row))
    return found


def _delivery(row: AnyRow) -> Delivery:
    is_mail = row.target.startswith(MAIL)
    return Delivery(
        row.event_id,
        row.target,
        row.target.removeprefix(MAIL) if is_mail else row.masked or "a channel that was removed",
        "email" if is_mail else row.kind or "",
        row.state,
        row.bundle,
        row.attempts,
        row.next_at,
        row.tried_at,
        row.sent_at,
        row.answer,
    )
