"""Calls of which nothing is to be said, opened and settled in one round trip each, on PostgreSQL.

The database's own functions (migration 0017) do what the ledger else does by a dozen statements, so that the row of the
project's account is held for as long as the database works, and not for as long as this process waits for its turn.
Whatever is out of the ordinary they leave to the ledger: then None is returned here, and nothing was changed.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

from lib.clock import MINUTE, Micros, from_micros
from lib.db import Database
from lib.errors import DatabaseConflict, KeyLocked, KeyMissing, NotMetered, PriceUnknown
from lib.ledger import ceilings
from lib.ledger.attempts import AttemptResult, RequestProfile
from lib.ledger.key_selector import Payer
from lib.ledger.open_attempt import OpenAttempt
from lib.ledger.settled_event import settled_event
from lib.metrics import meters
from lib.pricing.prices import PriceBook
from lib.runs.lifecycle import StartedRun
from lib.usage.event_row import EventRow
from lib.usage.periods import day_of, midnight
from lib.usage.rollups import ZONE
from lib.usage.settled_calls import passes_ceiling
from lib.vault.keys import KeyStore
from lib.vault.states import CAN_ADMINISTER

_OPEN, _SETTLE = "qodex_open_call", "qodex_settle_call"
_BYTES = ("seal", "sealed_data_key", "sealed_value")
_LARGEST = 4 * 10**18
"""A ceiling that the database's whole numbers hold together with what is counted by then, nano-USD."""


@dataclass(frozen=True, slots=True)
class _Bound:
    """The most that a call may cost on the platform's key, as of a time that the database has yet to confirm."""

    nano: int
    output_limit: int | None
    """To write into the request; None where it has one."""
    plan_limit: int
    at: Micros
    last4: str


class OpenedInVain(Exception):
    """The call is open but may not leave: what the database told of its key, or of the time, says so."""


class OneTrip:
    """Opens and settles plain calls. It remembers what the database said last, and never relies on it unchecked."""

    def __init__(self, database: Database, keys: KeyStore, prices: PriceBook) -> None:
        self._database, self._keys, self._prices = database, keys, prices
        self._output_limits: dict[str, int] = {}
        self._ahead: Micros | None = None
        self._zone: ZoneInfo | None = None

    def note_plan(self, project_id: str, output_limit: int, now: Micros) -> None:
        """Remember what a transaction of the ledger has read: the plan's default output limit, and the time."""
        self._output_limits[project_id] = output_limit
        self._note_time(now)

    # --- opening

    def open(
        self, started: StartedRun, profile: RequestProfile, *, event_id: str, lease: Micros
    ) -> OpenAttempt | None:
        """Open a call.

        Raises:
            OpenedInVain: it is open, or may be, and has to be taken back.
            DatabaseUnavailable: as of the ledger's own way.
        """
        if self._database.is_sqlite:
            return None
        bound = self._bound(started, profile)
        asked = {
            "project": started.project_id,
            "run_id": started.run_id,
            "event_id": event_id,
            "provider": profile.provider,
            "model": profile.model[:200],
            "endpoint": profile.endpoint[:200],
            "lease": lease,
        }
        if bound is not None:
            more = {"ceiling": bound.nano, "output_limit": bound.plan_limit, "platform_last4": bound.last4}
            asked |= more
        try:
            found = self._database.call_function(_OPEN, asked, durable=False)
            return None if found is None else self._opened(_row(found), asked, profile, bound)
        except (DatabaseConflict, KeyLocked, KeyMissing, NotMetered, PriceUnknown):
            pass  # not raised from here: the ledger's own way says what it is, and notes it
        raise OpenedInVain

    def _opened(
        self, row: Any, asked: dict[str, Any], profile: RequestProfile, bound: _Bound | None
    ) -> OpenAttempt:
        if (row.project_id, row.run_id) != (asked["project"], asked["run_id"]):
            # Its seal would hold: who can write to the database can put another function in this one's place.
            raise OpenedInVain
        self.note_plan(row.project_id, row.default_output_limit, row.now)
        with meters.RESOLVE_SECONDS.time():
            payer = self._payer(row, profile.provider)
        of_platform = bound if payer.source == "platform" else None
        if payer.source == "platform" and not self._still_holds(bound, profile, row.now):
            raise OpenedInVain
        return OpenAttempt(
            id=asked["event_id"],
            project_id=row.project_id,
            project=row.slug,
            run_id=row.run_id,
            run_kind=row.kind,
            source=payer.source,
            secret=payer.secret,
            last4=payer.last4,
            key_version=payer.version,
            model=asked["model"],
            endpoint=asked["endpoint"],
            default_output_limit=of_platform.output_limit if of_platform else None,
            falls_back=payer.falls_back,
            lease_until=row.now + asked["lease"],
            opened_at=row.now,
            ceiling_nano=of_platform.nano if of_platform else None,
            provider=profile.provider,
            region=profile.region,
        )

    def _payer(self, row: Any, provider: str) -> Payer:
        secret = self._keys.open_row(row, provider)
        if secret is not None:
            return Payer("byok", secret, row.last4, row.version, self._keys.falls_back(row, provider))
        platform = self._keys.platform_key(row.slug, provider)
        return Payer("platform", platform, platform.last4)

    def _bound(self, started: StartedRun, profile: RequestProfile) -> _Bound | None:
        """None where it cannot be told yet, or the platform does not pay for such a call."""
        limit, now = self._output_limits.get(started.project_id), self._now()
        if limit is None or now is None:
            return None
        try:
            last4 = self._keys.platform_key(started.project, profile.provider).last4
            nano, output_limit = ceilings.ceiling(profile, limit, self._prices, at=from_micros(now))
        except (KeyMissing, NotMetered, PriceUnknown):
            return None
        if nano > _LARGEST:
            return None
        return _Bound(nano, output_limit, limit, now, last4)

    def _still_holds(self, bound: _Bound | None, profile: RequestProfile, now: Micros) -> bool:
        """Prices change with the time, which is the database's: this machine's was only a guess."""
        if bound is None:  # nothing can have been reserved
            return False
        if bound.at // MINUTE == now // MINUTE:
            return True
        nano, _ = ceilings.ceiling(profile, bound.plan_limit, self._prices, at=from_micros(now))
        return nano <= bound.nano

    def _now(self) -> Micros | None:
        given = self._database.given_time()
        if given is not None:
            return given
        return None if self._ahead is None else time.monotonic_ns() // 1000 + self._ahead

    def _note_time(self, now: Micros) -> None:
        self._ahead = now - time.monotonic_ns() // 1000

    # --- settling

    def settle(self, call: OpenAttempt, outcome: AttemptResult, *, seconds: float) -> EventRow | None:
        """Settle a call. Raises as the ledger does."""
        if outcome.key_verdict not in {None, "fine"} or self._database.is_sqlite:
            return None
        row = settled_event(call, outcome, self._prices, now=call.opened_at, priced_at=call.opened_at)
        if row.cost_nano is None or passes_ceiling(call.ceiling_nano, row.cost_nano):
            return None
        told = self.told(call, outcome, row)
        found = self._database.call_function(_SETTLE, told, seconds=seconds)
        if found is None:
            self._zone = None  # perhaps it is another one by now
            return None
        row.fill(found)
        return row

    def told(self, call: OpenAttempt, outcome: AttemptResult, row: EventRow) -> dict[str, Any]:
        """What the function is told of a call."""
        zone = self._zone = self._zone or self._read_zone()
        day, next_day, day_after = _days(day_of(call.opened_at, zone).toordinal(), zone)
        works = outcome.key_verdict == "fine"
        told = {
            "event": {name: value for name, value in row.values().items() if value is not None},
            "used": (row.input_tokens or 0) + (row.output_tokens or 0),
            "zone": zone.key,
            "day": day,
            "next_day": next_day,
            "day_after": day_after,
        }
        if call.key_version is not None:
            key = {"key_version": call.key_version, "key_works": works, "kept_code": CAN_ADMINISTER}
            return told | key
        return told | ({"platform_last4": call.last4} if works else {})

    def _read_zone(self) -> ZoneInfo:
        return ZoneInfo(self._database.fast_read(ZONE, {}).zone)  # type: ignore[union-attr]


def _row(found: dict[str, Any]) -> Any:
    """As a row of the statement that else reads it: bytes come as text in JSON."""
    for name in _BYTES:
        if found[name] is not None:
            found[name] = bytes.fromhex(found[name].removeprefix("\\x"))
    return SimpleNamespace(**found)


@lru_cache(maxsize=64)
def _days(ordinal: int, zone: ZoneInfo) -> tuple[Micros, ...]:
    """When a day of the zone begins, and the two after it."""
    first = date.fromordinal(ordinal)
    return tuple(midnight(first + timedelta(days=days), zone) for days in range(3))
