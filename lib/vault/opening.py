"""Sealing and opening rows of ``provider_keys`` with the master keys at hand."""

from __future__ import annotations

from lib.db import AnyRow, Database
from lib.db.tables import provider_keys
from lib.errors import KeyLocked
from lib.secret import Secret
from lib.vault.master_keys.masters import Keyring
from lib.vault.sealing import SCHEME, Binding, DoesNotOpen, Sealed

SEALED_KEY = (
    provider_keys.c.provider,
    provider_keys.c.version,
    provider_keys.c.secret_id,
    provider_keys.c.last4,
    provider_keys.c.scheme,
    provider_keys.c.master_key_id,
    provider_keys.c.sealed_data_key,
    provider_keys.c.sealed_value,
)
"""What a row needs so that ``RowCipher`` can open it, besides ``project_id``."""


class RowCipher:
    """Seals keys for this deployment's rows, and opens them; nothing is ever opened by trial."""

    def __init__(self, database: Database, keyring: Keyring) -> None:
        self._database = database
        self._keyring = keyring

    def seal(self, secret: Secret, project_id: str, provider: str, secret_id: str, version: int) -> Sealed:
        """Seal a key with the first master key. Raises MasterKeyMissing."""
        binding = self._binding(project_id, provider, secret_id, version)
        return self._keyring.first.seal(secret, binding)

    def open(self, row: AnyRow) -> Secret:
        """Open the sealed key of one row. Raises KeyLocked."""
        master = self._keyring.get(row.master_key_id)
        if master is None:
            raise self._without_master(row)
        binding = self._binding(row.project_id, row.provider, row.secret_id, row.version)
        try:
            return master.open(_box(row), row.last4, binding)
        except DoesNotOpen:
            pass
        raise KeyLocked(row.last4, row.master_key_id, tampered=True)

    def reseal(self, row: AnyRow) -> Sealed:
        """The row's box for the first master key, its content untouched. Raises KeyLocked, MasterKeyMissing."""
        self.open(row)  # what does not open is not handed on
        master = self._keyring.get(row.master_key_id)
        if master is None:
            raise self._without_master(row)
        binding = self._binding(row.project_id, row.provider, row.secret_id, row.version)
        return master.rewrap(_box(row), binding, self._keyring.first)

    def locked(self, row: AnyRow) -> KeyLocked | None:
        """Why the row does not open, None if it does."""
        try:
            self.open(row)
        except KeyLocked as locked:
            return locked.with_traceback(None)
        return None

    def holds(self, row: AnyRow, secret: Secret) -> bool:
        """Whether the row holds this very key."""
        try:
            return self.open(row) == secret
        except KeyLocked:
            return False

    def _without_master(self, row: AnyRow) -> KeyLocked:
        withheld = self._keyring.withheld(row.master_key_id)
        sentence = (
            f"The key •••• {row.last4} is locked: {withheld} Nothing was changed." if withheld else None
        )
        return KeyLocked(row.last4, row.master_key_id, sentence=sentence)

    def _binding(self, project_id: str, provider: str, secret_id: str, version: int) -> Binding:
        return Binding(self._database.deployment_id, project_id, provider, secret_id, version)


def _box(row: AnyRow) -> Sealed:
    # SQLite stores what it is given: what altered the row may have left text in place of bytes.
    if row.scheme != SCHEME or not (type(row.sealed_data_key) is type(row.sealed_value) is bytes):
        raise DoesNotOpen
    return Sealed(row.scheme, row.master_key_id, row.sealed_data_key, row.sealed_value)
