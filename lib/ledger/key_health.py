"""What a call's outcome says about the key it used: written where it settles."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from sqlalchemy import Connection, bindparam, case, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from lib.access.audit import Subject
from lib.alerts import triggers
from lib.clock import Micros
from lib.db import AnyRow
from lib.db.raw_execute import raw_execute
from lib.db.tables import platform_key_health, provider_keys
from lib.ledger.attempts import AttemptResult
from lib.ledger.open_attempt import OpenAttempt
from lib.vault.states import CAN_ADMINISTER

_USED: dict[str, Any] = {"used_at": bindparam("at"), "used_by_run": bindparam("run")}
_KEY = update(provider_keys).where(
    provider_keys.c.project_id == bindparam("project"),
    provider_keys.c.provider == bindparam("used_provider"),
    # The version that was used: an old key's late failure says nothing about the new one.
    provider_keys.c.version == bindparam("used_version"),
)
_WAS_USED = _KEY.values(**_USED)
_IS_NOT_FOR_HERE = _KEY.values(
    **_USED, obstacle="address", check_code=bindparam("new_code"), check_message=bindparam("new_message")
)
_TOLD = (provider_keys.c.ended_at, provider_keys.c.failure_told_at)
_SET_TOLD = _KEY.values(failure_told_at=bindparam("told"))
_KEPT = provider_keys.c.check_code == CAN_ADMINISTER
_IS_FINE = _KEY.values(
    **_USED,
    worked_at=bindparam("at"),
    obstacle=None,
    check_code=case((_KEPT, provider_keys.c.check_code), else_=None),
    check_message=case((_KEPT, provider_keys.c.check_message), else_=None),
    failing_since=None,
    failure=None,
    failure_status=None,
    failure_code=None,
    failure_message=None,
    failure_request_id=None,
).returning(*_TOLD)
_FAILS = _KEY.values(
    **_USED,
    failing_since=case(
        (provider_keys.c.failing_since.is_(None), bindparam("at")), else_=provider_keys.c.failing_since
    ),
    failure=bindparam("new_failure"),
    failure_status=bindparam("new_status"),
    failure_code=bindparam("new_code"),
    failure_message=bindparam("new_message"),
    failure_request_id=bindparam("new_request_id"),
).returning(*_TOLD)
_PLATFORM = select(platform_key_health).where(platform_key_health.c.provider == bindparam("of"))
_PLATFORM_LOCKED = _PLATFORM.with_for_update()


def note_own_key(connection: Connection, call: OpenAttempt, outcome: AttemptResult, now: Micros) -> None:
    """Note that the project's key was used, and whether it works; a change of that is told."""
    which = _key_of(call)
    parameters: dict[str, Any] = {**which, "at": now, "run": call.run_id}
    if outcome.key_verdict is None:
        raw_execute(connection, _WAS_USED, parameters)
    elif outcome.key_verdict == "fine":
        for key in raw_execute(connection, _IS_FINE, parameters):
            if key.failure_told_at is not None:
                _tell(connection, call, key, None, now)
    elif outcome.key_verdict == "wrong_address":
        told = {"new_code": cut(outcome.error_code, 100), "new_message": cut(outcome.error_message, 600)}
        connection.execute(_IS_NOT_FOR_HERE, parameters | told)
    else:
        failure = {name.replace("failure_", "new_"): value for name, value in _failure(outcome).items()}
        for key in connection.execute(_FAILS, parameters | {"new_failure": outcome.key_verdict, **failure}):
            if key.failure_told_at is None:
                _tell(connection, call, key, outcome, now)


def _key_of(call: OpenAttempt) -> dict[str, Any]:
    return {
        "project": call.project_id,
        "used_provider": call.provider,
        "used_version": call.key_version,
    }


def _tell(
    connection: Connection, call: OpenAttempt, key: AnyRow, failed: AttemptResult | None, now: Micros
) -> None:
    """The row of the key is locked by now, so each change is told once; of a key in use only."""
    told = None if failed is None else now
    connection.execute(_SET_TOLD, _key_of(call) | {"told": told})
    project = Subject(call.project_id, call.project)
    if key.ended_at is not None:
        return
    if failed is None:
        triggers.note_key_recovered(connection, project, call.provider, call.last4, key.failure_told_at, now)
    else:
        why, code = str(failed.key_verdict), cut(failed.error_code, 100)
        triggers.note_key_failing(connection, project, call.provider, call.last4, why, code, now)


def is_news_of_platform_key(connection: Connection, call: OpenAttempt, outcome: AttemptResult) -> bool:
    """Whether the outcome changes what is known of the platform key; all projects share that row."""
    if outcome.key_verdict in {None, "wrong_address"}:
        return False
    known = next(iter(raw_execute(connection, _PLATFORM, {"of": call.provider})), None)
    return _is_news(known, call.last4, outcome)


def note_platform_key(connection: Connection, call: OpenAttempt, outcome: AttemptResult, now: Micros) -> None:
    """Note a change of the platform key's health, in a transaction that does nothing else."""
    known = connection.execute(_PLATFORM_LOCKED, {"of": call.provider}).first()
    if not _is_news(known, call.last4, outcome):
        return
    connection.execute(delete(platform_key_health).where(platform_key_health.c.provider == call.provider))
    if outcome.key_verdict != "fine":
        row = {
            "provider": call.provider,
            "last4": call.last4,
            "failing_since": now,
            "failure": outcome.key_verdict,
        }
        with suppress(IntegrityError), connection.begin_nested():  # somebody else noted it first
            connection.execute(insert(platform_key_health), row | _failure(outcome))
            triggers.note_platform_key(connection, call.provider, call.last4, outcome.key_verdict, now)
    else:
        triggers.note_platform_key(connection, call.provider, call.last4, None, now)


def _is_news(known: AnyRow | None, last4: str, outcome: AttemptResult) -> bool:
    if outcome.key_verdict == "fine":
        # Another key's failure is none of this one's business: workers may have two while one is replaced.
        return known is not None and known.last4 == last4
    return known is None or (known.last4, known.failure) != (last4, outcome.key_verdict)


def _failure(outcome: AttemptResult) -> dict[str, Any]:
    return {
        "failure_status": outcome.http_status,
        "failure_code": cut(outcome.error_code, 100),
        "failure_message": cut(outcome.error_message, 600),
        "failure_request_id": cut(outcome.upstream_request_id, 200),
    }


def cut(text: str | None, length: int) -> str | None:
    """Foreign text, no longer than its column."""
    return text[:length] if text is not None else None
