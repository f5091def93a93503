"""Keys of the sample data: texts that no provider would take, sealed like real ones."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from lib.clock import Micros
from lib.db import Database
from lib.errors import KeyLocked
from lib.sample.failures import REJECTED
from lib.sample.projects import OwnKey
from lib.secret import Secret
from lib.vault.masters import Keyring
from lib.vault.opening import Safe
from lib.vault.sealing import KEY_BYTES, MasterKey, Sealed
from lib.vault.states import PROVIDER

_VERSION = 1


@dataclass(frozen=True)
class FakeKey:
    """A sealed key and what became of it."""

    project_id: str
    secret_id: str
    of: OwnKey
    sealed: Sealed
    now: Micros

    @property
    def locked_sentence(self) -> str:
        """What is said where it does not open."""
        return KeyLocked(self.of.last4, self.sealed.master_key_id).sentence

    def row(self, events: Iterable[dict[str, Any]]) -> dict[str, Any]:
        """Its row, after all that the project's calls said about it."""
        used = [event for event in events if event["source"] == "byok"]
        last = max(used, key=lambda event: event["occurred_at"], default=None)
        return {
            "project_id": self.project_id,
            "provider": PROVIDER,
            "version": _VERSION,
            "secret_id": self.secret_id,
            "last4": self.of.last4,
            "scheme": self.sealed.scheme,
            "master_key_id": self.sealed.master_key_id,
            "sealed_data_key": self.sealed.data_key,
            "sealed_value": self.sealed.value,
            "saved_at": self.now - self.of.saved,
            "saved_by": self.of.saved_by,
            "checked_at": self.now - self.of.saved,
            "used_at": last["occurred_at"] if last else None,
            "used_by_run": last["run_id"] if last else None,
            "locked_since": self.now - self.of.locked if self.of.locked is not None else None,
            **self._failure(used),
        }

    def _failure(self, used: list[dict[str, Any]]) -> dict[str, Any]:
        refused = [event for event in used if event["error_code"] == REJECTED.code]
        if self.of.rejected is None or not refused:
            return {}
        newest = max(refused, key=lambda event: event["occurred_at"])
        return {
            "failing_since": min(event["occurred_at"] for event in refused),
            "failure": "rejected",
            "failure_status": REJECTED.http_status,
            "failure_code": REJECTED.code,
            "failure_message": REJECTED.message,
            "failure_request_id": newest["upstream_request_id"],
        }


class FakeKeys:
    """Seals with this deployment's master key; what is to be locked with one that is thrown away."""

    def __init__(self, database: Database, keyring: Keyring, now: Micros) -> None:
        self._safe = Safe(database, keyring)
        self._lost = Safe(database, Keyring([MasterKey(os.urandom(KEY_BYTES))]))
        self._now = now

    def seal(self, project_id: str, key: OwnKey) -> FakeKey:
        """Seal a text that ends like ``key``. Raises MasterKeyMissing."""
        secret_id = str(uuid.uuid4())
        safe = self._safe if key.locked is None else self._lost
        fake = Secret(f"sk-sample-not-a-key-{key.last4}")
        sealed = safe.seal(fake, project_id, PROVIDER, secret_id, _VERSION)
        return FakeKey(project_id, secret_id, key, sealed, self._now)
