"""The ledger of calls: one short transaction before each HTTP attempt, one after it.

Opening resolves the key, decides who pays, reserves the ceiling on the platform's money and writes
the open row; settling turns that row into exactly one usage row. No transaction is open while the
provider answers. What is shared by projects is never written.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, bindparam, case, insert, or_, update

from lib.access.audit import Subject
from lib.access.roles import Actor
from lib.alerts import thresholds, triggers
from lib.caps.admission import require_headroom
from lib.caps.cap_state import cap_snapshot_to_write
from lib.clock import Micros, from_micros
from lib.db import AnyRow, Database
from lib.db.raw_execute import raw_execute
from lib.db.tables import accounts, open_calls, runs
from lib.errors import (
    CapExceeded,
    DatabaseConflict,
    LeaseLost,
    QodexError,
)
from lib.ledger import ceilings, key_health, run_limits
from lib.ledger.attempts import AttemptResult, RequestProfile
from lib.ledger.key_selector import RUN, KeySelector, Payer
from lib.ledger.one_trip import OneTrip, OpenedInVain
from lib.ledger.open_attempt import OpenAttempt
from lib.ledger.settled_event import settled_event
from lib.ledger.settlement_queue import SETTLE_SECONDS, SettlementQueue
from lib.metrics import meters
from lib.pricing.prices import PriceBook
from lib.runs.lifecycle import LEASE as RUN_LEASE
from lib.runs.lifecycle import StartedRun
from lib.usage.event_row import EventRow
from lib.usage.events import (
    count_on_account,
    event_is_there,
    lock_call,
    log_line,
    take_open_call,
    write_event,
)
from lib.usage.expiry import expire_calls
from lib.usage.settled_calls import note_settled
from lib.vault.keys import KeyStore

_OPEN = insert(open_calls)
_RENEW = (
    update(open_calls)
    .where(open_calls.c.project_id == bindparam("project"), open_calls.c.event_id == bindparam("event"))
    .values(lease_until=bindparam("until"))
)
_ACCOUNT = update(accounts).where(accounts.c.project_id == bindparam("project"))
_RESERVE = _ACCOUNT.values(
    reserved_nano=accounts.c.reserved_nano + bindparam("nano"),
)
_OTHER_CAPS = or_(
    accounts.c.alert_cap_5h_nano.is_distinct_from(bindparam("cap_5h")),
    accounts.c.alert_cap_7d_nano.is_distinct_from(bindparam("cap_7d")),
)
_RESERVE_NOW = _RESERVE.values(
    # What has left a window by now stays out of it, whatever the clock says later.
    last_settled_at=bindparam("now"),
    # The marks of its alerts hold for the caps for which they were made: else the settlement looks anew.
    alert_above_nano=case((_OTHER_CAPS, 0), else_=accounts.c.alert_above_nano),
)
_FREE = _ACCOUNT.values(reserved_nano=accounts.c.reserved_nano - bindparam("nano"))


@dataclass(frozen=True, slots=True)
class _Opening:
    """What ``Ledger.open`` was told besides the run and the request."""

    event_id: str
    lease: Micros
    instead_of: OpenAttempt | None
    why: str | None


class Ledger:
    """Opens and settles calls. ``worker`` is the actor of what happens by itself.

    Attributes:
        queue: what this process owes to it.
    """

    def __init__(self, database: Database, keys: KeyStore, prices: PriceBook, worker: Actor) -> None:
        self._database = database
        self._selector = KeySelector(keys, worker)
        self._prices = prices
        self._one_trip = OneTrip(database, keys, prices)
        self.queue = SettlementQueue()
        self._settle_seconds = min(SETTLE_SECONDS, database.limits.seconds)

    def open(
        self,
        started: StartedRun,
        profile: RequestProfile,
        *,
        lease: Micros,
        event_id: str | None = None,
        instead_of: OpenAttempt | None = None,
        why: str | None = None,
    ) -> OpenAttempt:
        """Resolve the key, reserve on the platform's money, and write the open row.

        Args:
            started: the run that the call belongs to, as its worker remembers it.
            profile: what the request asks for.
            lease: how long the call may stay open without a heartbeat, microseconds.
            event_id: what to open it as, so that who is interrupted meanwhile can release it; made here if None.
            instead_of: the call whose key has just failed; this one is to go on the platform key.
            why: how it failed, for the run's log: ``rejected`` or ``out_of_money``.

        Raises:
            KeyMissing: nobody can pay.
            KeyLocked: the project's own key does not open, or somebody changed the database past Qodex.
            CapExceeded: no room in a cap. The run stops here and ends ``budget_exceeded``.
            BudgetExceeded: the run's own tokens are used up; the same.
            NotMetered: a call on the platform key would have no ceiling.
            PriceUnknown: the same, for want of a price.
            Forbidden: ``instead_of`` is given, but the project does not fall back (any more).
            RunEnded: the run takes no more calls.
        """
        opening = _Opening(event_id or str(uuid.uuid4()), lease, instead_of, why)
        try:
            with meters.OPEN_SECONDS.time():
                return self._open(started, profile, opening)
        except QodexError as problem:
            meters.count_refusal(problem)
            raise

    def _open(self, started: StartedRun, profile: RequestProfile, opening: _Opening) -> OpenAttempt:
        in_vain = False
        try:
            if opening.instead_of is None:
                found = self._one_trip.open(started, profile, event_id=opening.event_id, lease=opening.lease)
                if found is not None:
                    return found
        except OpenedInVain:
            in_vain = True
        return self._open_by_statements(started, profile, opening, in_vain=in_vain)

    def _open_by_statements(
        self, started: StartedRun, profile: RequestProfile, opening: _Opening, *, in_vain: bool
    ) -> OpenAttempt:
        for expired in (False, True):
            with self._database.write(durable=False) as connection:
                if in_vain:
                    _take_back(connection, started.project_id, opening.event_id)
                now = self._database.now(connection)
                asked = {
                    "project": started.project_id,
                    "run_id": started.run_id,
                    "provider": profile.provider,
                    "now": now,
                }
                run = next(iter(raw_execute(connection, RUN, asked)), None)
                if expired or run is None or not run.late_calls:
                    # A refusal is written into the run's log, so it must not undo the transaction.
                    try:
                        run = self._there(connection, run, started, now)
                        with meters.RESOLVE_SECONDS.time():
                            payer = self._payer(connection, run, profile.provider, now, opening)
                        return self._write_open(connection, run, profile, payer, now, opening)
                    except QodexError as problem:
                        refusal = problem
                        break
            expire_calls(self._database, started.project_id)
        raise refusal

    def renew(self, call: OpenAttempt, lease: Micros) -> None:
        """Send a heartbeat. Raises LeaseLost where the call counts as lost by now: cut it."""
        with self._database.write(durable=False) as connection:
            now = self._database.now(connection)
            parameters = {"project": call.project_id, "event": call.id, "until": now + lease}
            if connection.execute(_RENEW, parameters).rowcount:
                return
            lock_call(connection, call.project_id, call.id)
            if event_is_there(connection, call.project_id, call.id):
                raise LeaseLost("The call was cut: it showed no sign of life for too long.")
            # A crash of the database has taken back its opening: it is written again, with its reservation.
            raw_execute(connection, _OPEN, _open_row(replace(call, lease_until=now + lease)))
            if call.ceiling_nano is not None:
                raw_execute(connection, _RESERVE, {"project": call.project_id, "nano": call.ceiling_nano})

    def settle(self, call: OpenAttempt, outcome: AttemptResult) -> None:
        """Write the usage row in place of the open row. Doing it twice, or too late, changes nothing."""
        with meters.SETTLE_SECONDS.time():
            try:
                row = self._settle(call, outcome)
            except DatabaseConflict:
                # Two settled a call at once whose open row was lost: the other one's row is there by now.
                row = self._settle(call, outcome)
        if row is not None:
            note_settled(row, ceiling=call.ceiling_nano)

    def release(self, project_id: str, event_id: str, *, why: str | None = None) -> None:
        """Take back an opening: nothing was sent, so there is no usage row and nothing stays reserved.

        Args:
            project_id: whose it is.
            event_id: what it was (or was to be) opened as; where it is not open, nothing changes.
            why: why nothing was sent, for the run's log (once a run).
        """
        with self._database.write(seconds=self._settle_seconds) as connection:
            opened = _take_back(connection, project_id, event_id)
            if opened is not None and why is not None:
                run_limits.note_unsent(connection, opened, self._database.now(connection), why)

    def _settle(self, call: OpenAttempt, outcome: AttemptResult) -> EventRow | None:
        """What was written; None where it had been settled already."""
        found = self._one_trip.settle(call, outcome, seconds=self._settle_seconds)
        if found is not None:
            return found
        with self._database.write(seconds=self._settle_seconds) as connection:
            opened = take_open_call(connection, call.project_id, call.id)
            if opened is None:
                lock_call(connection, call.project_id, call.id)
                opened = take_open_call(connection, call.project_id, call.id)
            if opened is None and event_is_there(connection, call.project_id, call.id):
                return None
            now = self._database.now(connection)
            # Priced as of its opening, as its ceiling was: a price that rises meanwhile is for later calls.
            row = settled_event(call, outcome, self._prices, now=now, priced_at=call.opened_at)
            # Looked up before the account is locked, which holds up all of the project.
            news = call.source == "platform" and key_health.is_news_of_platform_key(connection, call, outcome)
            due = False
            if call.ceiling_nano is not None:
                # A crash that took back the opening has taken the reservation as well.
                freed = opened.ceiling_nano if opened else 0
                due = count_on_account(connection, row, ceiling=call.ceiling_nano, freed=freed)
            run = write_event(connection, row)
            run_limits.warn_of_budget(connection, call, run, now)
            run_limits.note_failure(connection, call, outcome, now)
            run_limits.note_excess(connection, call, call.ceiling_nano, row.cost_nano, now)
            if due:
                counted = call.ceiling_nano if row.cost_nano is None else row.cost_nano
                thresholds.evaluate(connection, call.project_id, now, just_counted=counted or 0)
            triggers.note_unpriced(connection, Subject(call.project_id, call.project), row, now)
            if call.key_version is not None:
                key_health.note_own_key(connection, call, outcome, now)
        if news:
            # In a transaction of its own: projects share this row, and none may wait for another.
            with self._database.write(durable=False) as connection:
                key_health.note_platform_key(connection, call, outcome, now)
        return row

    def _there(self, connection: Connection, run: AnyRow | None, started: StartedRun, now: Micros) -> AnyRow:
        if run is None or run.project_id != started.project_id:
            raise self._selector.not_there(connection, started, now)
        return run

    def _payer(
        self, connection: Connection, run: AnyRow, provider: str, now: Micros, opening: _Opening
    ) -> Payer:
        run_limits.require_open(connection, run, now)
        failed = opening.instead_of
        if failed is None or failed.key_version != run.version:
            # Also after a failure, where the key has been replaced or removed meanwhile.
            return self._selector.select(connection, run, provider, now)
        why = opening.why or "failed"
        return self._selector.fall_back(connection, run, now, failed, why=why)

    def _write_open(
        self,
        connection: Connection,
        run: AnyRow,
        profile: RequestProfile,
        payer: Payer,
        now: Micros,
        opening: _Opening,
    ) -> OpenAttempt:
        ceiling, limit = None, None
        if payer.source == "platform":
            ceiling, limit = self._reserve(connection, run, profile, now)
        call = OpenAttempt(
            id=opening.event_id,
            project_id=run.project_id,
            project=run.slug,
            run_id=run.run_id,
            run_kind=run.kind,
            source=payer.source,
            secret=payer.secret,
            last4=payer.last4,
            key_version=payer.version,
            model=profile.model[:200],
            endpoint=profile.endpoint[:200],
            default_output_limit=limit,
            falls_back=payer.falls_back,
            lease_until=now + opening.lease,
            opened_at=now,
            ceiling_nano=ceiling,
            provider=profile.provider,
            region=profile.region,
        )
        raw_execute(connection, _OPEN, _open_row(call))
        if payer.fallback_notice is not None:
            log_line(
                connection,
                run.project_id,
                run.run_id,
                now,
                "key:fell_back",
                payer.fallback_notice,
                event_id=payer.fallback_event_id,
            )
        if run.status == "lost":
            # Its worker was only slow: it lives. After the account: rows are locked in one order.
            alive = {"status": "running", "ended_at": None, "lease_until": now + RUN_LEASE}
            connection.execute(
                update(runs).where(run_limits.this_run(run), runs.c.status == "lost").values(alive)
            )
        return call

    def _reserve(
        self, connection: Connection, run: AnyRow, profile: RequestProfile, now: Micros
    ) -> tuple[int, int | None]:
        at = cap_snapshot_to_write(connection, run.project_id, now, lock=True)
        self._one_trip.note_plan(run.project_id, at.caps.default_output_limit, now)
        ceiling, limit = ceilings.ceiling(
            profile, at.caps.default_output_limit, self._prices, at=from_micros(now)
        )
        try:
            require_headroom(connection, at, ceiling)
        except CapExceeded as problem:
            run_limits.stop_run(connection, run, now, "cap", problem)
            thresholds.refused(connection, Subject(run.project_id, run.slug), now, problem)
            raise
        reserved = {"project": run.project_id, "nano": ceiling, "now": at.now}
        caps = {f"cap_{name}": cap for name, cap in at.caps.nano.items()}
        raw_execute(connection, _RESERVE_NOW, {**reserved, **caps})
        return ceiling, limit


def _take_back(connection: Connection, project_id: str, event_id: str) -> AnyRow | None:
    """Take an open call and its reservation back; None where it is not open."""
    opened = take_open_call(connection, project_id, event_id)
    if opened is not None and opened.ceiling_nano is not None:
        connection.execute(_FREE, {"project": opened.project_id, "nano": opened.ceiling_nano})
    return opened


def _open_row(call: OpenAttempt) -> dict[str, Any]:
    return {
        "project_id": call.project_id,
        "event_id": call.id,
        "run_id": call.run_id,
        "source": call.source,
        "provider": call.provider,
        "model": call.model,
        "endpoint": call.endpoint,
        "key_last4": call.last4,
        "key_version": call.key_version,
        "opened_at": call.opened_at,
        "lease_until": call.lease_until,
        "ceiling_nano": call.ceiling_nano,
    }
