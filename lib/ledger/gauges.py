"""What stands now, for Prometheus: calls under way, what is reserved and owed, keys that do not open."""

from __future__ import annotations

from sqlalchemy import func, select

from lib.db import Database
from lib.db.migrate import HEAD
from lib.db.tables import alert_deliveries, provider_keys
from lib.errors import DatabaseUnavailable
from lib.ledger.open_calls import count_open_calls
from lib.ledger.settlement_queue import SettlementQueue
from lib.metrics.exposition import Gauges
from lib.pricing.amounts import usd
from lib.vault.master_keys.masters import Keyring

_DUE_ALERTS = select(func.count()).select_from(alert_deliveries).where(alert_deliveries.c.state == "due")
_LIVE_KEYS = select(provider_keys.c.master_key_id, provider_keys.c.locked_since).where(
    provider_keys.c.ended_at.is_(None), provider_keys.c.sealed_data_key.is_not(None)
)


class LedgerGauges:
    """Reads the gauges of this process and of the database that it shares with others."""

    def __init__(self, database: Database, queue: SettlementQueue, keyring: Keyring) -> None:
        self._database, self._queue, self._keyring = database, queue, keyring

    def read(self) -> Gauges:
        """The gauges; without an answer of the database only those of the process."""
        found = {
            "owed_settlements": (
                "Ended calls and runs that this process has yet to write.",
                self._queue.owed,
            ),
            "pool_in_use": ("Database connections that this process uses now.", self._database.in_use),
            "schema_version": ("The schema that this program needs.", int(HEAD)),
        }
        try:
            shared = self._of_database()
        except DatabaseUnavailable:  # which has said why in the log
            shared = {}
        is_up = ("1 while the database answers.", int(bool(shared)))
        return {**found, "database_up": is_up, **shared}

    def _of_database(self) -> Gauges:
        opened = count_open_calls(self._database)
        with self._database.read() as connection:
            due = connection.execute(_DUE_ALERTS).scalar_one()
            keys = connection.execute(_LIVE_KEYS).all()
        here = {key_id for key_id in self._keyring.ids if self._keyring.get(key_id)}
        locked = sum(row.master_key_id not in here or row.locked_since is not None for row in keys)
        return {
            "open_calls": ("Calls under way, of all processes.", opened.count),
            "reserved_usd": ("What they reserve on the platform's money.", float(usd(opened.reserved_nano))),
            "locked_keys": ("Keys in use that do not open here.", locked),
            "due_alerts": ("Deliveries of alerts that wait to be sent.", due),
        }
