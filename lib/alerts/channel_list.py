"""The channels that a project (or the platform) has: added with a sealed address, tested, switched off, removed."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from urllib.parse import urlsplit

from sqlalchemy import ColumnElement, Connection, delete, func, insert, select, update

from lib.access import audit
from lib.access.audit import Tag
from lib.access.denied_attempts import denials_logged
from lib.access.roles import Actor
from lib.alerts.channels import chat, webhook
from lib.alerts.channels.guard import is_named
from lib.alerts.subjects import owner
from lib.clock import Micros
from lib.db import AnyRow, Database
from lib.db.alert_tables import CHANNEL_KINDS, SEVERITIES
from lib.db.tables import alert_channels
from lib.emails import clean_email
from lib.environment import addresses
from lib.errors import BadInput
from lib.secret import Secret
from lib.settings import Settings
from lib.vault.alert_addresses import AddressSafe
from lib.vault.master_keys.masters import Keyring

_MOST = 20
_LONGEST = 1_000
_SHOWN = 4
_IN_THE_CLEAR = (
    "Use an https address (of chats: jsons). Only to hosts that the operator has named (QODEX_NOTIFY_PRIVATE_HOSTS) "
    "alerts go over plain http."
)


@dataclass(frozen=True)
class Channel:
    """One channel as people see it; there is no field for its address."""

    id: str
    kind: str
    masked: str
    least_severity: str
    off_at: Micros | None
    off_why: str | None
    failing_since: Micros | None
    added_at: Micros
    added_by: str


_COLUMNS = (
    alert_channels.c.channel_id.label("id"),
    *(alert_channels.c[name] for name in Channel.__dataclass_fields__ if name != "id"),
)


class ChannelList:
    """Add, switch, remove and list channels. Each function checks the actor's rights; ``slug`` None is the platform."""

    def __init__(self, database: Database, keyring: Keyring, settings: Settings) -> None:
        self._database = database
        self._safe = AddressSafe(database, keyring)
        self._private_hosts = settings.notify_private_hosts

    def list(self, slug: str | None, *, actor: Actor) -> list[Channel]:
        """List the channels, the oldest first. Leads of the project; administrators for the platform's."""
        with self._database.read() as connection:
            whose = owner(connection, slug, actor)
            rows = connection.execute(
                select(*_COLUMNS)
                .where(alert_channels.c.project_id == whose.id)
                .order_by(alert_channels.c.added_at, alert_channels.c.channel_id)
            )
            return [_channel(row) for row in rows]

    def add(
        self, slug: str | None, kind: str, address: Secret, *, actor: Actor, least_severity: str = "info"
    ) -> tuple[Channel, Secret | None]:
        """Add a channel; for a webhook also the secret that signs its messages, which is shown this once.

        Args:
            slug: the project; None for the platform, whose channels get the alerts of all projects.
            kind: ``email``, ``slack``, ``chat`` (an address as apprise takes it) or ``webhook``.
            address: where it goes.
            actor: for whom; needs the role lead.
            least_severity: from which severity on: ``info``, ``warning`` or ``critical``.

        Raises:
            BadInput: no such kind, or no address that it can use.
            MasterKeyMissing: nothing can seal the address.
            Forbidden: that takes a lead of the project; the platform's take an administrator.
        """
        if kind not in CHANNEL_KINDS or least_severity not in SEVERITIES:
            raise BadInput("There is no such kind of channel.")
        with denials_logged(self._database, actor, "add a channel of alerts", slug):
            self.list(slug, actor=actor)  # before anything is done with the address
        address, masked = self._cleaned(kind, address)
        secret = webhook.new_secret() if kind == "webhook" else None
        sealed = address if secret is None else Secret(f"{address.reveal()}\n{secret.reveal()}")
        channel_id = str(uuid.uuid4())
        with self._database.write() as connection:
            whose = owner(connection, slug, actor, lock=True)
            _require_room(connection, whose.id)
            now = self._database.now(connection)
            row = {
                "project_id": whose.id,
                "channel_id": channel_id,
                "kind": kind,
                "masked": masked,
                "least_severity": least_severity,
                "added_at": now,
                "added_by": actor.name,
                **self._safe.seal(sealed, whose.id, channel_id, kind, masked),
            }
            connection.execute(insert(alert_channels), row)
            after = {"kind": kind, "address": masked, "least_severity": least_severity}
            audit.record(connection, now, actor, Tag.CHANNEL_ADDED, whose.subject, after=after)
            channel = _one(connection, whose.id, channel_id)
        return channel, secret

    def remove(self, slug: str | None, channel_id: str, *, actor: Actor) -> None:
        """Remove a channel; what is under way to it is dropped. Raises BadInput where there is none."""
        with (
            denials_logged(self._database, actor, "remove a channel of alerts", slug),
            self._database.write() as connection,
        ):
            whose = owner(connection, slug, actor, lock=True)
            before = _one(connection, whose.id, channel_id)
            connection.execute(delete(alert_channels).where(_this(whose.id, channel_id)))
            told = {"kind": before.kind, "address": before.masked}
            now = self._database.now(connection)
            audit.record(connection, now, actor, Tag.CHANNEL_REMOVED, whose.subject, before=told)
        self._database.purge_deleted()

    def switch(self, slug: str | None, channel_id: str, on: bool, *, actor: Actor) -> Channel:  # noqa: FBT001
        """Switch a channel on or off; switched on, its failures of before are forgotten."""
        with (
            denials_logged(self._database, actor, "switch a channel of alerts", slug),
            self._database.write() as connection,
        ):
            whose = owner(connection, slug, actor, lock=True)
            now = self._database.now(connection)
            before = _one(connection, whose.id, channel_id)
            off = {"off_at": now, "off_why": f"Switched off by {actor.name}."}
            values = {"off_at": None, "off_why": None, "failing_since": None} if on else off
            connection.execute(update(alert_channels).where(_this(whose.id, channel_id)).values(values))
            told = {"kind": before.kind, "address": before.masked}
            audit.record(
                connection,
                now,
                actor,
                Tag.CHANNEL_SWITCHED,
                whose.subject,
                before={**told, "on": before.off_at is None},
                after={**told, "on": on},
            )
            return _one(connection, whose.id, channel_id)

    def _cleaned(self, kind: str, address: Secret) -> tuple[Secret, str]:
        """The address as it is kept, and as it is shown. Raises BadInput."""
        text = address.reveal().strip()
        if not text or len(text) > _LONGEST:
            raise BadInput(f"An address has 1 to {_LONGEST} characters.")
        if kind == "email":
            email = clean_email(text)
            return Secret(email), _masked_email(email)
        if kind == "chat":
            self._require_encrypted(text)
            shown = chat.mask(Secret(text))
            if shown is None:
                raise BadInput(
                    "This address is not of a chat that alerts can go to. Look at the list beside it."
                )
            return Secret(text), shown[:200]
        return Secret(text), self._masked_url(text)

    def _require_encrypted(self, text: str) -> None:
        """Return unless a chat's address names a host that it would speak to in the clear, and nobody named that one."""
        try:
            parts = urlsplit(text)
            host = parts.hostname or ""
        except ValueError:
            return  # no chat takes it
        # ``ntfy://topic`` without a host is that service's own, over https.
        in_the_clear = parts.scheme == "json" or (parts.scheme == "ntfy" and parts.path.strip("/"))
        if in_the_clear and not is_named(host, self._private_hosts):
            raise BadInput(_IN_THE_CLEAR)

    def _masked_url(self, text: str) -> str:
        try:
            parts = addresses.split(text)
        except ValueError:
            raise BadInput(
                "That is no usable address. It begins with https, and has a host and a path."
            ) from None
        if parts.username is not None or parts.fragment:
            raise BadInput("Use an address without a name, a password and #.")
        host = parts.hostname or ""
        if parts.scheme == "http" and not is_named(host, self._private_hosts):
            raise BadInput(_IN_THE_CLEAR)
        return f"{host}/…{text[-_SHOWN:]}"[:200]


def _masked_email(email: str) -> str:
    name, _, domain = email.partition("@")
    return f"{name[:1]}…@{domain}"[:200]


def _require_room(connection: Connection, owner_id: str) -> None:
    statement = select(func.count()).where(alert_channels.c.project_id == owner_id)
    if connection.execute(statement).scalar_one() >= _MOST:
        raise BadInput(f"There are {_MOST} channels already. Remove one first.")


def _this(owner_id: str, channel_id: str) -> ColumnElement[bool]:
    return (alert_channels.c.project_id == owner_id) & (alert_channels.c.channel_id == channel_id)


def _one(connection: Connection, owner_id: str, channel_id: str) -> Channel:
    row = connection.execute(select(*_COLUMNS).where(_this(owner_id, channel_id))).first()
    if row is None:
        raise BadInput("There is no such channel (any more).")
    return _channel(row)


def _channel(row: AnyRow) -> Channel:
    return Channel(**row._mapping)  # noqa: SLF001 - SQLAlchemy's public name for it
