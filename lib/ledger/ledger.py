"""The ledger of calls: one short transaction before each HTTP attempt, one after it.

Opening resolves the key, decides who pays, reserves the ceiling on the platform's money and writes
the open row; settling turns that row into exactly one usage row. No transaction is open while the
provider answers. What is shared by projects is never written.
"""

from __future__ import annotations

import uuid
from typing import Any

from sqlalchemy import Connection, bindparam, insert, update

from lib.access.roles import Actor
from lib.caps.windows import admit, standing
from lib.clock import Micros, from_micros
from lib.db import AnyRow, Database
from lib.db.direct import execute
from lib.db.tables import accounts, open_calls, runs
from lib.errors import (
    CapExceeded,
    LeaseLost,
    QodexError,
    RunUnknown,
)
from lib.ledger import ceilings, key_health, run_limits
from lib.ledger.attempts import AttemptResult, RequestProfile
from lib.ledger.opened import OpenCall
from lib.ledger.payer import RUN, Payer, Payers
from lib.ledger.settled_event import settled_event
from lib.pricing.prices import PriceBook
from lib.runs.lifecycle import LEASE as RUN_LEASE
from lib.usage.events import count_on_account, note, take_open_call, write_event
from lib.usage.expiry import expire_calls
from lib.vault.keys import KeyStore
from lib.vault.states import PROVIDER

_OPEN = insert(open_calls)
_RENEW = (
    update(open_calls)
    .where(open_calls.c.project_id == bindparam("project"), open_calls.c.event_id == bindparam("event"))
    .values(lease_until=bindparam("until"))
)
_ACCOUNT = update(accounts).where(accounts.c.project_id == bindparam("project"))
_RESERVE = _ACCOUNT.values(
    reserved_nano=accounts.c.reserved_nano + bindparam("nano"),
    # What has left a window by now stays out of it, whatever the clock says later.
    last_settled_at=bindparam("now"),
)
_FREE = _ACCOUNT.values(reserved_nano=accounts.c.reserved_nano - bindparam("nano"))


class Ledger:
    """Opens and settles calls. ``worker`` is the actor of what happens by itself."""

    def __init__(self, database: Database, keys: KeyStore, prices: PriceBook, worker: Actor) -> None:
        self._database = database
        self._payers = Payers(keys, worker)
        self._prices = prices

    def open(
        self,
        run_id: str,
        profile: RequestProfile,
        *,
        lease: Micros,
        instead_of: OpenCall | None = None,
        why: str | None = None,
    ) -> OpenCall:
        """Resolve the key, reserve on the platform's money, and write the open row.

        Args:
            run_id: the run that the call belongs to.
            profile: what the request asks for.
            lease: how long the call may stay open without a sign of life, microseconds.
            instead_of: the call whose key has just failed; this one is to go on the platform key.
            why: how it failed, for the run's log: ``rejected`` or ``out_of_money``.

        Raises:
            KeyMissing: nobody can pay.
            KeyLocked: the project's own key does not open.
            CapExceeded: no room in a cap. The run stops here and ends ``budget_exceeded``.
            BudgetExceeded: the run's own tokens are used up; the same.
            NotMetered: a call on the platform key would have no ceiling.
            PriceUnknown: the same, for want of a price.
            Forbidden: ``instead_of`` is given, but the project does not fall back (any more).
            RunEnded: the run takes no more calls.
        """
        for expired in (False, True):
            with self._database.write(durable=False) as connection:
                now = self._database.now(connection)
                run = next(iter(execute(connection, RUN, {"run_id": run_id, "now": now})), None)
                if run is None:
                    raise RunUnknown
                if expired or not run.late_calls:
                    # A refusal is written into the run's log, so it must not undo the transaction.
                    try:
                        payer = self._payer(connection, run, now, instead_of, why)
                        return self._write_open(connection, run, profile, payer, now, lease)
                    except QodexError as problem:
                        refusal = problem
                        break
            expire_calls(self._database, run.project_id)
        raise refusal

    def renew(self, call: OpenCall, lease: Micros) -> None:
        """Show a sign of life. Raises LeaseLost where the call counts as lost by now: cut it."""
        with self._database.write(durable=False) as connection:
            until = self._database.now(connection) + lease
            parameters = {"project": call.project_id, "event": call.id, "until": until}
            if connection.execute(_RENEW, parameters).rowcount == 0:
                raise LeaseLost("The call was cut: it showed no sign of life for too long.")

    def settle(self, call: OpenCall, outcome: AttemptResult) -> None:
        """Turn the open row into the usage row. Doing it twice, or too late, changes nothing."""
        with self._database.write() as connection:
            opened = take_open_call(connection, call.project_id, call.id)
            if opened is None:
                return
            now = self._database.now(connection)
            # Priced as of its opening, as its ceiling was: a price that rises meanwhile is for later calls.
            row = settled_event(call, outcome, self._prices, now=now, priced_at=opened.opened_at)
            # Looked up before the account is locked, which holds up all of the project.
            news = call.source == "platform" and key_health.is_news_of_platform_key(
                connection, call.last4, outcome
            )
            if call.source == "platform":
                count_on_account(connection, row, ceiling=opened.ceiling_nano)
            run = write_event(connection, row)
            run_limits.warn_of_budget(connection, call, run, now)
            run_limits.note_failure(connection, call, outcome, now)
            run_limits.note_excess(connection, call, opened.ceiling_nano, row.cost_nano, now)
            if call.key_version is not None:
                key_health.note_own_key(
                    connection, call.project_id, call.key_version, call.run_id, outcome, now
                )
        if news:
            # In a transaction of its own: projects share this row, and none may wait for another.
            with self._database.write(durable=False) as connection:
                key_health.note_platform_key(connection, call.last4, outcome, now)

    def void(self, call: OpenCall) -> None:
        """The request never left: free the reservation; there is no usage row."""
        with self._database.write() as connection:
            opened = take_open_call(connection, call.project_id, call.id)
            if opened is not None and opened.ceiling_nano is not None:
                connection.execute(_FREE, {"project": call.project_id, "nano": opened.ceiling_nano})

    def _payer(
        self, connection: Connection, run: AnyRow, now: Micros, instead_of: OpenCall | None, why: str | None
    ) -> Payer:
        run_limits.require_open(connection, run, now)
        if instead_of is None or instead_of.key_version != run.version:
            # Also after a failure, where the key has been replaced or removed meanwhile.
            return self._payers.choose(connection, run, now)
        return self._payers.fall_back(
            run, last4=instead_of.last4, why=why or "failed", event_id=instead_of.id
        )

    def _write_open(
        self,
        connection: Connection,
        run: AnyRow,
        profile: RequestProfile,
        payer: Payer,
        now: Micros,
        lease: Micros,
    ) -> OpenCall:
        ceiling, limit = None, None
        if payer.source == "platform":
            ceiling, limit = self._reserve(connection, run, profile, now)
        call = OpenCall(
            id=str(uuid.uuid4()),
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
            lease_until=now + lease,
        )
        execute(connection, _OPEN, _open_row(call, ceiling, now))
        if payer.news is not None:
            note(
                connection,
                run.project_id,
                run.run_id,
                now,
                "key:fell_back",
                payer.news,
                event_id=payer.news_of,
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
        at = standing(connection, run.project_id, now, lock=True)
        ceiling, limit = ceilings.ceiling(
            profile, at.caps.default_output_limit, self._prices, at=from_micros(now)
        )
        try:
            admit(connection, at, ceiling)
        except CapExceeded as problem:
            run_limits.stop(connection, run, now, "cap", problem)
            raise
        execute(connection, _RESERVE, {"project": run.project_id, "nano": ceiling, "now": at.now})
        return ceiling, limit


def _open_row(call: OpenCall, ceiling: int | None, now: Micros) -> dict[str, Any]:
    return {
        "project_id": call.project_id,
        "event_id": call.id,
        "run_id": call.run_id,
        "source": call.source,
        "provider": PROVIDER,
        "model": call.model,
        "endpoint": call.endpoint,
        "key_last4": call.last4,
        "key_version": call.key_version,
        "opened_at": now,
        "lease_until": call.lease_until,
        "ceiling_nano": ceiling,
    }
