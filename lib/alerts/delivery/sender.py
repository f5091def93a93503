"""Sends what is due: makes deliveries of new events, takes them one by one, and hands each to its channel."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from sqlalchemy import select

from lib.alerts.channels import chat, slack, webhook
from lib.alerts.channels.answer import Answer
from lib.alerts.channels.http import Poster
from lib.alerts.channels.mail import Mailer
from lib.alerts.delivery.addressing import MAIL, Addressing
from lib.alerts.delivery.queue import DeliveryQueue, Taken
from lib.alerts.messages import Message, message_of, together
from lib.alerts.sentences import LOCAL_URL, Site
from lib.clock import Micros
from lib.db import AnyRow, Database
from lib.db.tables import alert_events
from lib.environment import certificates
from lib.errors import AddressLocked, QodexError
from lib.secret import Secret
from lib.settings import Settings
from lib.vault.alert_addresses import AddressSafe
from lib.vault.master_keys.masters import Keyring

log = logging.getLogger(__name__)

EVERY_SECONDS = 5.0
WATCH_SECONDS = 600.0
_AT_ONCE = 4
"""Messages that one process sends at the same time: a receiver that hangs holds up its own channel alone."""


class Sender:
    """Sends alerts; any number of them may, in any number of processes."""

    def __init__(self, database: Database, keyring: Keyring, settings: Settings) -> None:
        self._database = database
        self._silent = settings.is_sample
        self._safe = AddressSafe(database, keyring)
        self._queue = DeliveryQueue(database)
        trusted = certificates.read(settings.ca_file) if settings.ca_file else None
        self._mailer = Mailer(settings.smtp_url, settings.mail_from, trusted)
        self._poster = Poster(tuple(settings.notify_private_hosts), trusted)
        self._site = Site(settings.public_url or LOCAL_URL, settings.zone)
        self._addressing = Addressing(
            database, settings.zone, tuple(settings.admins), mails=self._mailer.is_set_up
        )

    @property
    def mails(self) -> bool:
        """Whether mail can be sent at all."""
        return self._mailer.is_set_up

    def once(self) -> tuple[int, int]:
        """Send all that is due now; returns how many messages were accepted, and how many were not."""
        if self._silent:
            return 0, 0
        while self._addressing.address_new():
            pass
        if not self._queue.is_due():
            return 0, 0
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            counts = [each.result() for each in [pool.submit(self._drain) for _ in range(_AT_ONCE)]]
        return sum(sent for sent, _ in counts), sum(failed for _, failed in counts)

    def run(
        self,
        stop: threading.Event,
        *,
        check: Callable[[], None],
        told: Callable[[int, int], None] | None = None,
    ) -> None:
        """Go on sending until ``stop`` is set, and ``check`` every few minutes; an outage is waited for."""
        checked = -WATCH_SECONDS
        while not stop.is_set():
            try:
                if time.monotonic() - checked >= WATCH_SECONDS:
                    checked = time.monotonic()
                    check()
                counts = self.once()
            except QodexError as problem:
                log.warning("No alerts were sent this time: %s", problem)
            else:
                if told is not None and any(counts):
                    told(*counts)
            stop.wait(EVERY_SECONDS)

    def send_to(self, channel: AnyRow, message: Message) -> Answer:
        """Send one message to one channel now; raises nothing."""
        if self._silent:
            return Answer(ok=False, said="Nothing of the sample data leaves this machine.")
        try:
            address = self._safe.open(channel)
        except AddressLocked as locked:
            return Answer(ok=False, said=str(locked))
        if channel.kind == "email":
            return self._mailer.send(address.reveal(), message)
        if channel.kind == "slack":
            return slack.send(self._poster, address, message)
        if channel.kind == "chat":
            return chat.send(address, message, self._poster.private_hosts)
        url, _, secret = address.reveal().partition("\n")
        return webhook.send(self._poster, Secret(url), Secret(secret), message)

    def _drain(self) -> tuple[int, int]:
        sent = failed = 0
        while (taken := self._queue.take()) is not None:
            answer = self._send(taken)
            self._queue.settle(taken, answer)
            sent, failed = sent + answer.ok, failed + (not answer.ok)
        return sent, failed

    def _send(self, taken: Taken) -> Answer:
        message = self.message(taken)
        if taken.channel is None:
            return self._mailer.send(taken.target.removeprefix(MAIL), message)
        return self.send_to(taken.channel, message)

    def message(self, taken: Taken) -> Message:
        """What is sent: the event's own message, or several in one."""
        with self._database.read() as connection:
            now = self._database.now(connection)
            ids = [event_id for _, event_id in taken.events]
            owners = {project_id for project_id, _ in taken.events}
            rows = connection.execute(
                select(alert_events)
                .where(alert_events.c.project_id.in_(owners), alert_events.c.event_id.in_(ids))
                .order_by(alert_events.c.at)
            ).all()
        messages = [self.message_of(row, now) for row in rows]
        if taken.bundle is None:
            return messages[0]
        return together(taken.message_id, messages, self._site, now, digest=taken.bundle == "digest")

    def message_of(self, event: AnyRow, now: Micros) -> Message:
        """The message of one event."""
        return message_of(event, json.loads(event.data), self._site, now)
