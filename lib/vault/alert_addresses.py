"""The addresses that alerts go to, sealed like keys: who has a webhook's address can write into its channel.

Each is bound to its row (``alert_channels``) and to what is shown of it. A rotation rewraps them one by one.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, func, select, update

from lib.db import AnyRow, Database
from lib.db.tables import alert_channels
from lib.errors import AddressLocked
from lib.secret import Secret
from lib.vault.master_keys.masters import Keyring
from lib.vault.sealing import SCHEME, Binding, DoesNotOpen, Sealed

_END = "\n\n\n\n"
"""Ends what is sealed: its last four characters are bound to the row as those of a key are, and an address has others."""
_ONE = select(alert_channels).with_for_update()


class AddressSafe:
    """Seals the addresses of this deployment's channels, and opens them."""

    def __init__(self, database: Database, keyring: Keyring) -> None:
        self._database, self._keyring = database, keyring

    def seal(
        self, address: Secret, project_id: str, channel_id: str, kind: str, masked: str
    ) -> dict[str, Any]:
        """Seal an address with the first master key; the columns that hold it. Raises MasterKeyMissing."""
        binding = self._binding(project_id, channel_id, kind, masked)
        return _columns(self._keyring.first.seal(Secret(f"{address.reveal()}{_END}"), binding))

    def open(self, row: AnyRow) -> Secret:
        """The address of one channel. Raises AddressLocked."""
        master = self._keyring.get(row.master_key_id)
        if master is None:
            raise AddressLocked(f"This server does not have master key {row.master_key_id}.")
        try:
            binding = self._binding(row.project_id, row.channel_id, row.kind, row.masked)
            return Secret(master.open(_sealed(row), _END, binding).reveal().removesuffix(_END))
        except DoesNotOpen:
            pass
        raise AddressLocked(
            "The address was changed in the database past Qodex. Remove it, and add it again."
        )

    def rewrap(self) -> int:
        """Seal all addresses with the first master key; how many it did not seal before. What does not open stays."""
        to = self._keyring.first
        with self._database.read() as connection:
            due = connection.execute(
                select(alert_channels.c.project_id, alert_channels.c.channel_id).where(
                    alert_channels.c.master_key_id != to.id
                )
            ).all()
        return sum(self._rewrap(project_id, channel_id) for project_id, channel_id in due)

    def _rewrap(self, project_id: str, channel_id: str) -> bool:
        this = (alert_channels.c.project_id == project_id) & (alert_channels.c.channel_id == channel_id)
        with self._database.write() as connection:
            row = connection.execute(_ONE.where(this)).first()
            master = self._keyring.get(row.master_key_id) if row else None
            if row is None or master is None:
                return False
            try:
                binding = self._binding(row.project_id, row.channel_id, row.kind, row.masked)
                sealed = master.rewrap(_sealed(row), binding, self._keyring.first)
            except DoesNotOpen:
                return False
            connection.execute(update(alert_channels).where(this).values(_columns(sealed)))
        return True

    def _binding(self, project_id: str, channel_id: str, kind: str, masked: str) -> Binding:
        deployment = self._database.deployment_id
        return Binding(deployment, project_id, f"alert {kind}", f"{channel_id} {masked}", 1)


def sealed_with(connection: Connection, master_key_id: str) -> int:
    """How many addresses are sealed with that master key."""
    statement = select(func.count()).where(alert_channels.c.master_key_id == master_key_id)
    return int(connection.execute(statement).scalar_one())


def _sealed(row: AnyRow) -> Sealed:
    if row.scheme != SCHEME or not (type(row.sealed_data_key) is type(row.sealed_value) is bytes):
        raise DoesNotOpen
    return Sealed(row.scheme, row.master_key_id, row.sealed_data_key, row.sealed_value)


def _columns(sealed: Sealed) -> dict[str, Any]:
    return {
        "scheme": sealed.scheme,
        "master_key_id": sealed.master_key_id,
        "sealed_data_key": sealed.data_key,
        "sealed_value": sealed.value,
    }
