"""Provider keys of projects: save, replace, remove, and what checks say of them. No network here.

Each save is a new version in a row of its own; of a version that has ended only the history stays. Each change
seals anew what points at the project's keys (lib.vault.seals), in its own transaction.
"""

from __future__ import annotations

import uuid

from sqlalchemy import Connection, bindparam, case, func, insert, select, update

from lib.access import audit
from lib.access.audit import Tag
from lib.access.projects import Project, find_for
from lib.access.roles import Action, Actor
from lib.clock import Micros
from lib.db import AnyRow
from lib.db.tables import projects, provider_keys
from lib.errors import KeyChanged
from lib.providers import DEFAULT
from lib.secret import Secret
from lib.settings import Settings
from lib.vault.master_keys.masters import Keyring, load_keyring
from lib.vault.resolving import IN_USE, KeyReader
from lib.vault.seals import entry_of
from lib.vault.states import KeyState, Verdict

_KEY = (
    select(provider_keys)
    .where(
        provider_keys.c.project_id == bindparam("project_id"),
        provider_keys.c.provider == bindparam("provider"),
    )
    .where(IN_USE)
)
_NEWEST_VERSION = select(func.max(provider_keys.c.version)).where(
    provider_keys.c.project_id == bindparam("project_id"), provider_keys.c.provider == bindparam("provider")
)
_END = (
    update(provider_keys)
    .where(
        provider_keys.c.project_id == bindparam("p"),
        provider_keys.c.provider == bindparam("v"),
        IN_USE,
    )
    .values(
        ended_at=bindparam("at"),
        ended_by=bindparam("who"),
        sealed_data_key=None,
        sealed_value=None,
    )
)


class KeyStore(KeyReader):
    """The keys of this deployment's projects, in the database: read, and changed."""

    def save(
        self,
        slug: str,
        secret: Secret,
        *,
        actor: Actor,
        expected_version: int,
        verdict: Verdict,
        provider: str = DEFAULT,
    ) -> KeyState:
        """Put a checked key in use, in one transaction with its audit row.

        Args:
            slug: the project.
            secret: the key; the provider has accepted it.
            actor: for whom; needs the role lead.
            expected_version: the version that the person saw (0: none). If another is in use by now,
                nothing is overwritten.
            verdict: what the provider said.
            provider: whose key it is.

        Raises:
            KeyChanged: another person was first.
            KeyLocked: what points at the project's keys was changed past Qodex: only an administrator may go on.
            MasterKeyMissing: there is no master key to seal with.
            Forbidden: that takes the role lead.
        """
        with self._database.write() as connection:
            project = find_for(connection, slug, actor, Action.SET_KEY, lock=True)
            current = connection.execute(_KEY, {"project_id": project.id, "provider": provider}).first()
            if (current.version if current else 0) != expected_version:
                if current and current.saved_by == actor.name and self._cipher.holds(current, secret):
                    # The second click of a double click.
                    return self._describe(connection, project.id, provider)
                raise KeyChanged(_changed(current))
            self._replace(connection, project, provider, current, secret, verdict, actor)
            state = self._describe(connection, project.id, provider)
        if current:
            self._database.purge_deleted()
        return state

    def _replace(
        self,
        connection: Connection,
        project: Project,
        provider: str,
        current: AnyRow | None,
        secret: Secret,
        verdict: Verdict,
        actor: Actor,
    ) -> None:
        """End the version in use and put the next one in its place, with its seal and its audit row."""
        entries = self._seals.verified_for(connection, project.subject, actor)
        now = self._database.now(connection)
        connection.execute(_END, {"p": project.id, "v": provider, "at": now, "who": actor.name})
        version = self._insert(connection, project, provider, secret, verdict, (now, actor.name))
        saved = connection.execute(_KEY, {"project_id": project.id, "provider": provider}).one()
        self._seals.write(connection, project.id, entries | {provider: entry_of(saved)})
        audit.record(
            connection,
            now,
            actor,
            Tag.KEY_ROTATED if current else Tag.KEY_SAVED,
            project.subject,
            before=_named(current),
            after={
                "provider": provider,
                "version": version,
                "last4": secret.last4,
                "warning": verdict.code,
            },
        )

    def remove(
        self, slug: str, *, actor: Actor, expected_version: int | None = None, provider: str = DEFAULT
    ) -> KeyState:
        """Destroy the sealed key and return the project to the platform-funded key.

        Removing where there is no key changes nothing. Raises KeyChanged where ``expected_version``
        is given and another one is in use.
        """
        with self._database.write() as connection:
            project = find_for(connection, slug, actor, Action.SET_KEY, lock=True)
            current = connection.execute(_KEY, {"project_id": project.id, "provider": provider}).first()
            entries = self._seals.verified_for(connection, project.subject, actor)
            if current is None and provider not in entries:
                return self._describe(connection, project.id, provider)
            if current is not None and expected_version not in {None, current.version}:
                raise KeyChanged(_changed(current))
            entries.pop(provider, None)
            self._seals.write(connection, project.id, entries)
            now = self._database.now(connection)
            connection.execute(_END, {"p": project.id, "v": provider, "at": now, "who": actor.name})
            audit.record(
                connection,
                now,
                actor,
                Tag.KEY_REMOVED,
                project.subject,
                before=_named(current) or {"provider": provider},
            )
            state = self._describe(connection, project.id, provider)
        self._database.purge_deleted()
        return state

    def record_check(
        self,
        slug: str,
        *,
        actor: Actor,
        version: int,
        verdict: Verdict | None,
        failure: dict[str, object] | None = None,
        provider: str = DEFAULT,
    ) -> KeyState:
        """Note what a check of the saved key found: ``verdict`` where it was accepted, else ``failure``.

        A check of a version that is no longer in use says nothing about the one that is.
        """
        with self._database.write() as connection:
            project = find_for(connection, slug, actor, Action.SET_KEY, lock=True)
            now = self._database.now(connection)
            connection.execute(
                update(provider_keys)
                .where(
                    provider_keys.c.project_id == project.id,
                    provider_keys.c.provider == provider,
                    provider_keys.c.version == version,
                    IN_USE,
                )
                .values(checked_at=now, **_checked(now, verdict, failure))
            )
            audit.record(
                connection,
                now,
                actor,
                Tag.KEY_CHECKED if verdict else Tag.KEY_REFUSED,
                project.subject,
                after={
                    "provider": provider,
                    "version": version,
                    "code": verdict.code if verdict else (failure or {}).get("failure_code"),
                },
            )
            return self._describe(connection, project.id, provider)

    def record_refusal(self, slug: str, *, actor: Actor, code: str | None, provider: str = DEFAULT) -> None:
        """Note that the provider refused a key that a person wanted to save."""
        with self._database.write() as connection:
            project = find_for(connection, slug, actor, Action.SET_KEY)
            now = self._database.now(connection)
            audit.record(
                connection,
                now,
                actor,
                Tag.KEY_REFUSED,
                project.subject,
                after={"provider": provider, "code": code},
            )

    def _insert(
        self,
        connection: Connection,
        project: Project,
        provider: str,
        secret: Secret,
        verdict: Verdict,
        saved: tuple[Micros, str],
    ) -> int:
        """Seal a key into a row of its own, under the next version; returns that."""
        key: dict[str, object] = {"project_id": project.id, "provider": provider}
        version: int = (connection.execute(_NEWEST_VERSION, key).scalar() or 0) + 1
        secret_id = str(uuid.uuid4())
        sealed = self._cipher.seal(secret, project.id, provider, secret_id, version)
        row = {
            "version": version,
            "secret_id": secret_id,
            "last4": secret.last4,
            "scheme": sealed.scheme,
            "master_key_id": sealed.master_key_id,
            "sealed_data_key": sealed.data_key,
            "sealed_value": sealed.value,
            "saved_at": saved[0],
            "saved_by": saved[1],
            "checked_at": saved[0],
            "check_code": verdict.code,
            "check_message": verdict.message,
            "obstacle": verdict.obstacle,
            "workspace": verdict.workspace,
        }
        connection.execute(insert(provider_keys), key | row)
        return version


def keyring_for(connection: Connection, settings: Settings) -> Keyring:
    """The master keys of this server; on SQLite the file of them is made where nothing was ever sealed.

    Raises SettingsError.
    """
    return load_keyring(settings, may_create=settings.is_sqlite and not ever_sealed(connection))


def ever_sealed(connection: Connection) -> bool:
    """Whether anything was ever sealed in this database; then a new master key must not appear by itself."""
    sealed = select(projects.c.id).where(projects.c.seal.is_not(None))
    saved = select(provider_keys.c.project_id)
    return any(connection.execute(found.limit(1)).first() is not None for found in (sealed, saved))


def _named(key: AnyRow | None) -> dict[str, object] | None:
    """A key for the audit log."""
    return {"provider": key.provider, "version": key.version, "last4": key.last4} if key else None


NO_FAILURE: dict[str, object] = {
    "failing_since": None,
    "failure": None,
    "failure_status": None,
    "failure_code": None,
    "failure_message": None,
    "failure_request_id": None,
}


def _checked(now: Micros, verdict: Verdict | None, failure: dict[str, object] | None) -> dict[str, object]:
    if verdict is None:
        return {"failing_since": func.coalesce(provider_keys.c.failing_since, now), **(failure or {})}
    found = {"check_code": verdict.code, "check_message": verdict.message, "obstacle": verdict.obstacle}
    named = {"workspace": verdict.workspace} if verdict.workspace else {}
    if verdict.code:
        # Genuine is not yet usable: with a warning, what failed goes on failing until a call has worked.
        return {**found, **named}
    # Whether there is money again no check can tell, only a call.
    broke = provider_keys.c.failure == "out_of_money"
    mended = {name: case((broke, provider_keys.c[name]), else_=value) for name, value in NO_FAILURE.items()}
    short = provider_keys.c.obstacle == "money"
    kept = {name: case((short, provider_keys.c[name]), else_=value) for name, value in found.items()}
    return {**mended, **kept, **named}


def _changed(current: AnyRow | None) -> str:
    if current is None:
        return "The key was removed in the meantime. Nothing was saved; reload the page before saving a key."
    return (
        f"{current.saved_by} saved the key •••• {current.last4} in the meantime. It is in use; nothing was "
        "overwritten. Review it before replacing it."
    )
