"""The ledger of calls: one short transaction before each HTTP attempt, one after it.

Opening resolves the key, decides who pays, reserves the ceiling on the platform's money and writes
the open row; settling turns that row into exactly one usage row. No transaction is open while the
provider answers. What is shared by projects is never written.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, bindparam, case, delete, insert, select, update

from lib.access import audit
from lib.access.audit import Subject, Tag
from lib.access.roles import Actor
from lib.clock import Micros, from_micros
from lib.db import Database
from lib.db.tables import accounts, open_calls, platform_key_health, projects, provider_keys, runs
from lib.errors import (
    BudgetExceeded,
    CapExceeded,
    Forbidden,
    KeyLocked,
    LeaseLost,
    PriceUnknown,
    QodexError,
    RunEnded,
    RunUnknown,
)
from lib.secret import Secret
from lib.usage import ceilings
from lib.usage.calls import Ask, Outcome
from lib.usage.caps import account_of, admit, caps_of
from lib.usage.events import count_on_account, expire_calls, note, take_open_call, write_event
from lib.usage.prices import PriceBook
from lib.vault.keys import NO_FAILURE, KeyStore
from lib.vault.states import PROVIDER

_BUDGET_WARNING = 80  # percent


@dataclass(frozen=True)
class OpenCall:
    """One HTTP attempt that may leave now, and the key it leaves with."""

    id: str
    project_id: str
    project: str
    run_id: str
    source: str
    secret: Secret = field(repr=False)
    last4: str
    key_version: int | None
    model: str
    endpoint: str
    default_output_limit: int | None
    """Output limit to write into the request, where it sets none itself and runs on the platform key."""
    falls_back: bool
    """True where the project chose to go on with the platform key if this key fails."""
    lease_until: Micros


@dataclass(frozen=True)
class _Payer:
    source: str
    secret: Secret
    last4: str
    version: int | None


_RUN = (
    select(
        runs.c.project_id,
        runs.c.run_id,
        runs.c.kind,
        runs.c.status,
        runs.c.ended_at.label("run_ended_at"),
        runs.c.token_budget,
        runs.c.tokens,
        runs.c.stopped_by,
        projects.c.slug,
        projects.c.on_key_failure,
        provider_keys.c.provider,
        provider_keys.c.version,
        provider_keys.c.secret_id,
        provider_keys.c.last4,
        provider_keys.c.scheme,
        provider_keys.c.master_key_id,
        provider_keys.c.sealed_data_key,
        provider_keys.c.sealed_value,
        provider_keys.c.locked_since,
    )
    .select_from(runs)
    .join(projects, projects.c.id == runs.c.project_id)
    .outerjoin(
        provider_keys,
        (provider_keys.c.project_id == runs.c.project_id)
        & (provider_keys.c.provider == PROVIDER)
        & provider_keys.c.ended_at.is_(None),
    )
    .where(runs.c.run_id == bindparam("run_id"))
)
_OPEN = insert(open_calls)
_TOKEN_COLUMNS = ("input_tokens", "cached_input_tokens", "output_tokens", "reasoning_tokens")


class Ledger:
    """Opens and settles calls. ``worker`` is the actor of what happens by itself."""

    def __init__(self, database: Database, keys: KeyStore, prices: PriceBook, worker: Actor) -> None:
        self._database = database
        self._keys = keys
        self._prices = prices
        self._worker = worker

    def open(
        self,
        run_id: str,
        ask: Ask,
        *,
        lease: Micros,
        instead_of: OpenCall | None = None,
        why: str | None = None,
    ) -> OpenCall:
        """Resolve the key, reserve on the platform's money, and write the open row.

        Args:
            run_id: the run that the call belongs to.
            ask: what the request asks for.
            lease: how long the call may stay open without a sign of life, microseconds.
            instead_of: the call whose key has just failed; this one is to go on the platform key.
            why: how it failed, for the run's log: ``rejected`` or ``out_of_money``.

        Raises:
            KeyMissing, KeyLocked: nobody can pay, or the project's own key does not open.
            CapExceeded, BudgetExceeded: the run stops here and ends ``budget_exceeded``.
            NotMetered, PriceUnknown: a call on the platform key would have no ceiling.
            Forbidden: ``instead_of`` is given, but the project does not fall back (any more).
        """
        with self._database.write(durable=False) as connection:
            # A refusal is written into the run's log, so it must not undo the transaction.
            try:
                return self._open(connection, run_id, ask, lease, instead_of, why)
            except QodexError as problem:
                refusal = problem
        raise refusal

    def renew(self, call: OpenCall, lease: Micros) -> None:
        """Show a sign of life. Raises LeaseLost where the call counts as lost by now: cut it."""
        with self._database.write(durable=False) as connection:
            until = self._database.now(connection) + lease
            found = connection.execute(
                update(open_calls)
                .where(open_calls.c.project_id == call.project_id, open_calls.c.event_id == call.id)
                .values(lease_until=until)
            )
            if found.rowcount == 0:
                raise LeaseLost("The call was cut: it showed no sign of life for too long.")

    def settle(self, call: OpenCall, outcome: Outcome) -> None:
        """Turn the open row into the usage row. Doing it twice, or too late, changes nothing."""
        with self._database.write() as connection:
            now = self._database.now(connection)
            if call.source == "platform":
                account_of(connection, call.project_id, lock=True)
            opened = take_open_call(connection, call.project_id, call.id)
            if opened is None:
                return
            row = self._event(connection, call, outcome, now)
            if call.source == "platform":
                row |= count_on_account(
                    connection, call.project_id, ceiling=opened.ceiling_nano, cost=row["cost_nano"], now=now
                )
            write_event(connection, row)
            self._warn_of_budget(connection, call, now)
            self._note_failure(connection, call, outcome, now)
            self._note_health(connection, call, outcome, now)

    def void(self, call: OpenCall) -> None:
        """The request never left: free the reservation; there is no usage row."""
        with self._database.write() as connection:
            if call.source == "platform":
                account_of(connection, call.project_id, lock=True)
            opened = take_open_call(connection, call.project_id, call.id)
            if opened is not None and opened.ceiling_nano is not None:
                self._reserve(connection, call.project_id, -opened.ceiling_nano)

    def _open(
        self,
        connection: Connection,
        run_id: str,
        ask: Ask,
        lease: Micros,
        instead_of: OpenCall | None,
        why: str | None,
    ) -> OpenCall:
        run = connection.execute(_RUN, {"run_id": run_id}).first()
        if run is None:
            raise RunUnknown
        now = self._database.now(connection)
        self._require_open_run(connection, run, now)
        payer = self._payer(connection, run, now, instead_of, why)
        ceiling = None
        limit = None
        if payer.source == "platform":
            ceiling, limit = self._reserve_ceiling(connection, run, ask, now)
        call = OpenCall(
            id=str(uuid.uuid4()),
            project_id=run.project_id,
            project=run.slug,
            run_id=run_id,
            source=payer.source,
            secret=payer.secret,
            last4=payer.last4,
            key_version=payer.version,
            model=ask.model[:200],
            endpoint=ask.endpoint[:200],
            default_output_limit=limit,
            falls_back=payer.source == "byok" and self._falls_back(run),
            lease_until=now + lease,
        )
        connection.execute(_OPEN, _open_row(call, ceiling, now))
        return call

    def _require_open_run(self, connection: Connection, run: Any, now: Micros) -> None:
        if run.status == "lost":
            # Its worker was only slow: it lives.
            connection.execute(
                update(runs).where(runs.c.run_id == run.run_id).values(status="running", ended_at=None)
            )
        elif run.run_ended_at is not None or run.status != "running":
            raise RunEnded("This run has ended. Start another one for more calls.")
        if run.token_budget is not None and run.tokens >= run.token_budget:
            problem = BudgetExceeded(budget=run.token_budget, used=run.tokens)
            self._stop(connection, run, now, "budget", problem)
            raise problem

    def _payer(
        self, connection: Connection, run: Any, now: Micros, instead_of: OpenCall | None, why: str | None
    ) -> _Payer:
        if instead_of is not None:
            return self._fallback(connection, run, now, instead_of, why or "failed")
        if run.version is None:
            return self._platform(run)
        try:
            secret = self._keys.open_row(run)
        except KeyLocked as locked:
            return self._locked(connection, run, now, locked)
        if run.locked_since is not None:
            self._set_locked(connection, run, None)
        return _Payer("byok", secret, run.last4, run.version)

    def _platform(self, run: Any) -> _Payer:
        secret = self._keys.platform_key(run.slug)
        return _Payer("platform", secret, secret.last4, None)

    def _fallback(self, connection: Connection, run: Any, now: Micros, failed: OpenCall, why: str) -> _Payer:
        if not self._falls_back(run):
            raise Forbidden("The project does not let its calls fall back to the platform-funded key.")
        reason = {"rejected": "OpenAI rejected it", "out_of_money": "its account is out of money"}.get(
            why, why
        )
        self._note_fallback(connection, run, now, f"The key •••• {failed.last4} failed ({reason})", failed.id)
        return self._platform(run)

    def _locked(self, connection: Connection, run: Any, now: Micros, locked: KeyLocked) -> _Payer:
        if run.locked_since is None:
            self._set_locked(connection, run, now)
            audit.record(
                connection,
                now,
                self._worker,
                Tag.KEY_LOCKED,
                Subject(run.project_id, run.slug),
                after={
                    "version": run.version,
                    "master_key_id": run.master_key_id,
                    "altered": locked.tampered,
                },
            )
        if not self._falls_back(run):
            note(connection, run.project_id, run.run_id, now, "key:locked", locked.sentence)
            raise locked
        self._note_fallback(connection, run, now, locked.sentence.rstrip("."), None)
        return self._platform(run)

    def _falls_back(self, run: Any) -> bool:
        return run.on_key_failure == "platform" and bool(self._keys.platform_last4)

    def _note_fallback(
        self, connection: Connection, run: Any, now: Micros, what: str, event_id: str | None
    ) -> None:
        message = f"{what}. The call went on with the platform-funded key, as {run.slug} has chosen."
        note(connection, run.project_id, run.run_id, now, "key:fell_back", message, event_id=event_id)

    def _set_locked(self, connection: Connection, run: Any, since: Micros | None) -> None:
        connection.execute(
            update(provider_keys)
            .where(
                provider_keys.c.project_id == run.project_id,
                provider_keys.c.provider == run.provider,
                provider_keys.c.version == run.version,
            )
            .values(locked_since=since)
        )

    def _reserve_ceiling(
        self, connection: Connection, run: Any, ask: Ask, now: Micros
    ) -> tuple[int, int | None]:
        account_of(connection, run.project_id, lock=True)
        expire_calls(connection, now, run.project_id)
        caps = caps_of(connection, run.project_id, now)
        ceiling, limit = ceilings.ceiling(ask, caps.default_output_limit, self._prices, at=from_micros(now))
        try:
            admit(connection, account_of(connection, run.project_id), caps, ceiling, now, run.slug)
        except CapExceeded as problem:
            self._stop(connection, run, now, "cap", problem)
            raise
        self._reserve(connection, run.project_id, ceiling)
        return ceiling, limit

    def _reserve(self, connection: Connection, project_id: str, nano: int) -> None:
        connection.execute(
            update(accounts)
            .where(accounts.c.project_id == project_id)
            .values(reserved_nano=accounts.c.reserved_nano + nano)
        )

    def _stop(self, connection: Connection, run: Any, now: Micros, by: str, problem: QodexError) -> None:
        """From here on the run can only end ``budget_exceeded``; what it did is kept."""
        if run.stopped_by is None:
            connection.execute(update(runs).where(runs.c.run_id == run.run_id).values(stopped_by=by))
        note(connection, run.project_id, run.run_id, now, f"{by}:stopped", problem.sentence)

    def _event(self, connection: Connection, call: OpenCall, outcome: Outcome, now: Micros) -> dict[str, Any]:
        cost, unit = self._cost(call, outcome, now)
        kind = connection.execute(select(runs.c.kind).where(runs.c.run_id == call.run_id)).scalar()
        return {
            "project_id": call.project_id,
            "event_id": call.id,
            "occurred_at": now,
            "run_id": call.run_id,
            "run_kind": kind,
            "source": call.source,
            "provider": PROVIDER,
            "model": call.model,
            "endpoint": call.endpoint,
            "status": outcome.status,
            **_token_columns(outcome),
            "cost_nano": cost,
            "price_input": unit[0],
            "price_cached_input": unit[1],
            "price_output": unit[2],
            "key_last4": call.last4,
            "upstream_request_id": _cut(outcome.upstream_request_id, 200),
            "latency_ms": outcome.latency_ms,
            "imported": False,
            "http_status": outcome.http_status,
            "error_code": _cut(outcome.error_code, 100),
            "error_type": _cut(outcome.error_type, 100),
            "error_message": _cut(outcome.error_message, 600),
        }

    def _cost(
        self, call: OpenCall, outcome: Outcome, now: Micros
    ) -> tuple[int | None, tuple[int | None, int | None, int | None]]:
        if outcome.tokens is None:
            free = outcome.status == "error" or (outcome.status == "ok" and call.endpoint in ceilings.FREE)
            return (0 if free else None), (None, None, None)
        if not outcome.priceable:
            return None, (None, None, None)
        for model in dict.fromkeys((outcome.model or call.model, call.model)):
            try:
                cost = self._prices.cost(model, outcome.tokens, at=from_micros(now))
            except PriceUnknown:
                continue
            return cost.nano, (cost.unit.input, cost.unit.cached_input, cost.unit.output)
        return None, (None, None, None)

    def _warn_of_budget(self, connection: Connection, call: OpenCall, now: Micros) -> None:
        run = connection.execute(
            select(runs.c.tokens, runs.c.token_budget, runs.c.budget_warned_at).where(
                runs.c.run_id == call.run_id
            )
        ).one()
        if run.token_budget is None or run.budget_warned_at is not None:
            return
        if 100 * run.tokens >= _BUDGET_WARNING * run.token_budget:
            connection.execute(update(runs).where(runs.c.run_id == call.run_id).values(budget_warned_at=now))
            message = (
                f"{run.tokens:,} of the run's own {run.token_budget:,} tokens are used. "
                "The run stops when all are."
            )
            note(connection, call.project_id, call.run_id, now, "budget:warned", message)

    def _note_failure(self, connection: Connection, call: OpenCall, outcome: Outcome, now: Micros) -> None:
        if outcome.key_verdict not in {"rejected", "out_of_money"}:
            return
        whose = "platform-funded key" if call.source == "platform" else f"key •••• {call.last4}"
        what = (
            f"OpenAI rejected the {whose}"
            if outcome.key_verdict == "rejected"
            else f"The account of the {whose} is out of money"
        )
        kept = (
            "" if call.source == "platform" or call.falls_back else " Nothing was spent on the platform key."
        )
        message = f"{what}: {outcome.error_message or outcome.error_code or outcome.http_status}.{kept}"
        note(connection, call.project_id, call.run_id, now, "key:failed", message, event_id=call.id)

    def _note_health(self, connection: Connection, call: OpenCall, outcome: Outcome, now: Micros) -> None:
        if call.source == "platform":
            self._note_platform_health(connection, call, outcome, now)
            return
        values: dict[str, Any] = {"used_at": now, "used_by_run": call.run_id}
        if outcome.key_verdict == "fine":
            values |= NO_FAILURE | {"check_code": None, "check_message": None}
        elif outcome.key_verdict is not None:
            since = case((provider_keys.c.failing_since.is_(None), now), else_=provider_keys.c.failing_since)
            values |= failure_columns(outcome) | {"failing_since": since}
        connection.execute(
            update(provider_keys)
            .where(
                provider_keys.c.project_id == call.project_id,
                provider_keys.c.provider == PROVIDER,
                provider_keys.c.version == call.key_version,
            )
            .values(values)
        )

    def _note_platform_health(
        self, connection: Connection, call: OpenCall, outcome: Outcome, now: Micros
    ) -> None:
        """Write only when the state changes: all projects share this row."""
        if outcome.key_verdict is None:
            return
        known = connection.execute(
            select(platform_key_health).where(platform_key_health.c.provider == PROVIDER)
        ).first()
        fine = outcome.key_verdict == "fine"
        if fine and known is None:
            return
        if not fine and known and (known.last4, known.failure) == (call.last4, outcome.key_verdict):
            return
        connection.execute(delete(platform_key_health).where(platform_key_health.c.provider == PROVIDER))
        if not fine:
            row = {"provider": PROVIDER, "last4": call.last4, "failing_since": now}
            connection.execute(insert(platform_key_health), row | failure_columns(outcome))


def failure_columns(outcome: Outcome) -> dict[str, Any]:
    """The columns that tell how a key failed."""
    return {
        "failure": outcome.key_verdict,
        "failure_status": outcome.http_status,
        "failure_code": _cut(outcome.error_code, 100),
        "failure_message": _cut(outcome.error_message, 600),
        "failure_request_id": _cut(outcome.upstream_request_id, 200),
    }


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


def _token_columns(outcome: Outcome) -> dict[str, int | None]:
    """An error answer used none; where the provider did not say, it is not known."""
    tokens = outcome.tokens
    if tokens is None:
        return dict.fromkeys(_TOKEN_COLUMNS, 0 if outcome.status == "error" else None)
    counts = (tokens.input, tokens.cached, tokens.output, tokens.reasoning)
    return dict(zip(_TOKEN_COLUMNS, counts, strict=True))


def _cut(text: str | None, length: int) -> str | None:
    return text[:length] if text is not None else None
