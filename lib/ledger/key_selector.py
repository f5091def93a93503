"""Who pays for a run's next call: the project's own key, the platform's, or nobody.

Somebody who can write to the database can stop a project's calls so, and no more than that: the project is the
one that the worker started the run for, and its key and failure policy are those that were sealed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from sqlalchemy import Connection, bindparam, exists, select, update

from lib.access import audit
from lib.access.audit import Subject, Tag
from lib.access.roles import Actor
from lib.alerts import triggers
from lib.clock import HOUR, Micros
from lib.db import AnyRow
from lib.db.tables import accounts, open_calls, projects, provider_keys, runs
from lib.errors import Forbidden, KeyLocked, QodexError, RunUnknown
from lib.ledger.open_attempt import OpenAttempt
from lib.providers import title
from lib.runs.lifecycle import StartedRun
from lib.secret import Secret
from lib.usage.events import log_line
from lib.usage.expiry import is_late
from lib.vault.keys import KeyStore
from lib.vault.opening import SEALED_KEY
from lib.vault.seals import SEAL

# Each part names the project by itself, see lib.caps.cap_state.
_PROJECT_ID = bindparam("project", type_=runs.c.project_id.type)
# One row: the run, its project, the project's key of a provider, and whether calls of dead workers wait to be settled.
RUN = (
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
        *SEAL,
        *SEALED_KEY,
        provider_keys.c.locked_since,
        exists().where(open_calls.c.project_id == _PROJECT_ID, is_late()).label("late_calls"),
    )
    .select_from(runs)
    .join(projects, projects.c.id == _PROJECT_ID)
    .outerjoin(
        provider_keys,
        (provider_keys.c.project_id == _PROJECT_ID)
        & (provider_keys.c.provider == bindparam("provider"))
        & provider_keys.c.ended_at.is_(None),
    )
    .where(runs.c.project_id == _PROJECT_ID, runs.c.run_id == bindparam("run_id"))
)
_ELSEWHERE = select(runs.c.project_id).where(runs.c.run_id == bindparam("run_id"))
_LOCK_ACCOUNT = (
    select(accounts.c.project_id).where(accounts.c.project_id == bindparam("project")).with_for_update()
)
_TOLD_AGAIN: Micros = HOUR
"""While calls go on being stopped, the audit log says so once in this time."""
_REASONS = {"rejected": "{title} rejected it", "out_of_money": "its account is out of money"}


@dataclass(frozen=True)
class Payer:
    """The key that pays. ``version`` is None for the platform's."""

    source: str
    secret: Secret = field(repr=False)
    last4: str
    version: int | None = None
    falls_back: bool = False
    """The project chose to go on with the platform key if this one fails."""
    fallback_notice: str | None = None
    """For the run's log, once the call really goes on."""
    fallback_event_id: str | None = None
    """The call whose failure the notice tells of."""


class KeySelector:
    """Selects the key of a call from one row of ``RUN``, and logs where a call is stopped or falls back."""

    def __init__(self, keys: KeyStore, worker: Actor) -> None:
        self._keys = keys
        self._worker = worker

    def select(self, connection: Connection, run: AnyRow, provider: str, now: Micros) -> Payer:
        """The project's own key of that provider if it has one; else the platform's.

        Raises:
            KeyMissing: there is neither.
            KeyLocked: the project's key does not open, and the project did not choose to fall back; or what
                points at it was changed past Qodex.
        """
        try:
            secret = self._keys.open_row(run, provider)
        except KeyLocked as locked:
            return self._locked(connection, run, provider, now, locked)
        if secret is None:
            return self._platform(run, provider)
        if run.locked_since is not None:
            _set_locked(connection, run, None)
        return Payer("byok", secret, run.last4, run.version, self._keys.falls_back(run, provider))

    def fall_back(
        self, connection: Connection, run: AnyRow, now: Micros, failed: OpenAttempt, *, why: str
    ) -> Payer:
        """The platform's key, after the project's own has just failed with the provider.

        Raises:
            Forbidden: the project does not fall back (any more).
            KeyLocked: as in ``select``.
        """
        provider = failed.provider
        try:
            self._keys.open_row(run, provider)
        except KeyLocked as locked:
            return self._locked(connection, run, provider, now, locked)
        if not self._keys.falls_back(run, provider):
            raise Forbidden("The project does not let its calls fall back to the platform-funded key.")
        reason = _REASONS.get(why, why).format(title=title(provider))
        notice = _fallback_notice(run, f"The key •••• {failed.last4} failed ({reason})")
        return replace(self._platform(run, provider), fallback_notice=notice, fallback_event_id=failed.id)

    def not_there(self, connection: Connection, started: StartedRun, now: Micros) -> QodexError:
        """Why the project has no such run (any more)."""
        if connection.execute(_ELSEWHERE, {"run_id": started.run_id}).first() is None:
            return RunUnknown()
        sentence = (
            f"Run {started.run_id} was started for {started.project}, and the database has it under another "
            "project: it was moved past Qodex. Nothing was sent."
        )
        locked = KeyLocked("", "", tampered=True, sentence=sentence)
        self._record(connection, Subject(started.project_id, started.project), now, locked, {})
        return locked

    def _platform(self, run: AnyRow, provider: str) -> Payer:
        secret = self._keys.platform_key(run.slug, provider)
        return Payer("platform", secret, secret.last4)

    def _locked(
        self, connection: Connection, run: AnyRow, provider: str, now: Micros, locked: KeyLocked
    ) -> Payer:
        subject = Subject(run.project_id, run.slug)
        first = run.version is not None and run.locked_since is None
        if first:
            # The account first, as everywhere (lib.usage.events): where this falls back, it reserves next.
            connection.execute(_LOCK_ACCOUNT, {"project": run.project_id})
            first = _set_locked(connection, run, now)
        if first or run.version is None:
            triggers.note_key_locked(connection, subject, provider, run.last4, locked, now)
        key = {"provider": provider, "version": run.version}
        self._record(connection, subject, now, locked, key, first=first)
        if not (locked.genuine and self._keys.falls_back(run, provider)):
            log_line(connection, run.project_id, run.run_id, now, "key:locked", locked.sentence)
            raise locked
        notice = _fallback_notice(run, locked.sentence.rstrip("."))
        return replace(self._platform(run, provider), fallback_notice=notice)

    def _record(
        self,
        connection: Connection,
        subject: Subject,
        now: Micros,
        locked: KeyLocked,
        key: Mapping[str, object],
        *,
        first: bool = False,
    ) -> None:
        """The audit log has each stop, whatever the row says of having been locked before."""
        told = [Tag.KEY_LOCKED]
        if (
            not first
            and audit.count_recent(connection, now - _TOLD_AGAIN, told, project_id=subject.project_id)[0]
        ):
            return
        found = {"master_key_id": locked.master_key_id, "altered": locked.tampered, "why": locked.sentence}
        audit.record(connection, now, self._worker, Tag.KEY_LOCKED, subject, after={**key, **found})


def _fallback_notice(run: AnyRow, what: str) -> str:
    return f"{what}. The call went on with the platform-funded key, as {run.slug} has chosen."


def _set_locked(connection: Connection, run: AnyRow, since: Micros | None) -> bool:
    """Whether it was not so before."""
    was = (
        provider_keys.c.locked_since.is_not(None) if since is None else provider_keys.c.locked_since.is_(None)
    )
    changed = connection.execute(
        update(provider_keys)
        .where(
            provider_keys.c.project_id == run.project_id,
            provider_keys.c.provider == run.provider,
            provider_keys.c.version == run.version,
            was,
        )
        .values(locked_since=since)
    )
    return bool(changed.rowcount)
