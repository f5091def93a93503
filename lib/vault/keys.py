"""Provider keys of projects: save, replace, remove, describe, resolve. No network here.

Each save is a new version in a row of its own; of a version that has ended only the history stays.
Reading is always from the database: no cache can serve an old key.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, func, insert, select, update

from lib.access import audit
from lib.access.audit import Tag
from lib.access.projects import Project, find_for, is_slug
from lib.access.roles import Action, Actor, allows
from lib.clock import Micros
from lib.db import AnyRow, Database
from lib.db.tables import platform_key_health, projects, provider_keys
from lib.errors import BadInput, KeyChanged, KeyMissing, ProjectUnknown, SampleProject
from lib.secret import Secret
from lib.vault.masters import Keyring
from lib.vault.opening import SEALED_KEY, Safe
from lib.vault.states import PROVIDER, KeyState, PlatformKeyState, Verdict, no_key, state_of


@dataclass(frozen=True)
class ResolvedKey:
    """The key that pays for a project's next call. ``version`` is None for the platform's."""

    project: str
    provider: str
    source: str
    secret: Secret
    last4: str
    version: int | None


_IN_USE = provider_keys.c.ended_at.is_(None)
_KEY = (
    select(provider_keys)
    .where(
        provider_keys.c.project_id == bindparam("project_id"),
        provider_keys.c.provider == bindparam("provider"),
    )
    .where(_IN_USE)
)
_RESOLVE = (
    select(
        projects.c.id.label("project_id"),
        projects.c.sample,
        *SEALED_KEY,
    )
    .select_from(projects)
    .outerjoin(
        provider_keys,
        (provider_keys.c.project_id == projects.c.id)
        & (provider_keys.c.provider == bindparam("provider"))
        & _IN_USE,
    )
    .where(projects.c.slug == bindparam("slug"))
)
_NEWEST_VERSION = select(func.max(provider_keys.c.version)).where(
    provider_keys.c.project_id == bindparam("project_id"), provider_keys.c.provider == bindparam("provider")
)
_END = (
    update(provider_keys)
    .where(
        provider_keys.c.project_id == bindparam("p"),
        provider_keys.c.provider == bindparam("v"),
        _IN_USE,
    )
    .values(
        ended_at=bindparam("at"),
        ended_by=bindparam("who"),
        sealed_data_key=None,
        sealed_value=None,
    )
)


class KeyStore:
    """The keys of this deployment's projects, in the database."""

    def __init__(self, database: Database, keyring: Keyring, platform_key: Secret | None) -> None:
        self._database = database
        self._safe = Safe(database, keyring)
        self._platform_key = platform_key

    def resolve(self, slug: str, *, provider: str = PROVIDER) -> ResolvedKey:
        """The key for the project's next call, read from the database now.

        Raises:
            ProjectUnknown: there is no such project.
            SampleProject: nobody pays for sample data.
            KeyLocked: the project's key cannot be opened here. It never turns into the platform's.
            KeyMissing: neither the project nor the platform has a key.
        """
        known = is_slug(slug)
        row = self._database.lookup(_RESOLVE, {"slug": slug, "provider": provider}) if known else None
        if row is None:
            raise ProjectUnknown(slug)
        if row.sample:
            raise SampleProject(slug)
        if row.version is not None:
            return ResolvedKey(slug, provider, "byok", self._safe.open(row), row.last4, row.version)
        return ResolvedKey(slug, provider, "platform", self.platform_key(slug), self.platform_last4, None)

    def platform_key(self, slug: str) -> Secret:
        """The platform-funded key. Raises KeyMissing where none is configured."""
        if self._platform_key is None:
            raise KeyMissing(slug)
        return self._platform_key

    @property
    def platform_last4(self) -> str:
        """Last four of the platform's key, empty where there is none."""
        return self._platform_key.last4 if self._platform_key else ""

    def platform_state(self) -> PlatformKeyState:
        """How the platform-funded key is doing; what was noted of another key says nothing about this one."""
        if self._platform_key is None:
            return PlatformKeyState("none")
        statement = select(platform_key_health).where(
            platform_key_health.c.provider == PROVIDER, platform_key_health.c.last4 == self.platform_last4
        )
        with self._database.read() as connection:
            row = connection.execute(statement).first()
        if row is None:
            return PlatformKeyState("working", self.platform_last4)
        columns = {name: value for name, value in row._mapping.items() if name != "provider"}  # noqa: SLF001
        return PlatformKeyState("failing", **columns)

    def open_row(self, row: AnyRow) -> Secret:
        """Open the sealed key of one row of ``provider_keys``, inside the caller's transaction. Raises KeyLocked."""
        return self._safe.open(row)

    def describe(self, slug: str, *, actor: Actor, provider: str = PROVIDER) -> KeyState:
        """What may be shown of the project's key, opened once to see whether it can be.

        Raises:
            ProjectUnknown: no such project, or ``actor`` may not know of it.
        """
        with self._database.read() as connection:
            project = find_for(connection, slug, actor, Action.SEE_SPEND)
            row = connection.execute(_KEY, {"project_id": project.id, "provider": provider}).first()
        return self._state(slug, provider, row)

    def describe_all(
        self, *, actor: Actor, provider: str = PROVIDER, sample: bool = False
    ) -> dict[str, KeyState]:
        """The key of every real (or every ``sample``) project that ``actor`` may see, by slug; one query."""
        statement = select(projects.c.slug, projects.c.id.label("id"), provider_keys).outerjoin(
            provider_keys,
            (provider_keys.c.project_id == projects.c.id) & (provider_keys.c.provider == provider) & _IN_USE,
        )
        statement = statement.where(projects.c.sample.is_(sample))
        with self._database.read() as connection:
            rows = connection.execute(statement).all()
        return {
            row.slug: self._state(row.slug, provider, row if row.version else None)
            for row in rows
            if allows(actor, Action.SEE_SPEND, row.id)
        }

    def save(
        self,
        slug: str,
        secret: Secret,
        *,
        actor: Actor,
        expected_version: int,
        verdict: Verdict,
        provider: str = PROVIDER,
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
            KeyChanged: somebody else was first.
            MasterKeyMissing: there is no master key to seal with.
            Forbidden: that takes the role lead.
        """
        with self._database.write() as connection:
            project = find_for(connection, slug, actor, Action.SET_KEY, lock=True)
            current = connection.execute(_KEY, {"project_id": project.id, "provider": provider}).first()
            in_use = current.version if current else 0
            if in_use != expected_version:
                if current and current.saved_by == actor.name and self._safe.holds(current, secret):
                    return self._state(slug, provider, current)  # the second click of a double click
                raise KeyChanged(_changed(current))
            now = self._database.now(connection)
            connection.execute(_END, {"p": project.id, "v": provider, "at": now, "who": actor.name})
            version = self._insert(connection, project, provider, secret, verdict, (now, actor.name))
            audit.record(
                connection,
                now,
                actor,
                Tag.KEY_ROTATED if current else Tag.KEY_SAVED,
                project.subject,
                before={"version": in_use, "last4": current.last4} if current else None,
                after={"version": version, "last4": secret.last4, "warning": verdict.code},
            )
            row = connection.execute(_KEY, {"project_id": project.id, "provider": provider}).one()
        if current:
            self._database.forget_deleted()
        return self._state(slug, provider, row)

    def remove(
        self, slug: str, *, actor: Actor, expected_version: int | None = None, provider: str = PROVIDER
    ) -> KeyState:
        """Destroy the sealed key and return the project to the platform-funded key.

        Removing where there is no key changes nothing. Raises KeyChanged where ``expected_version``
        is given and another one is in use.
        """
        with self._database.write() as connection:
            project = find_for(connection, slug, actor, Action.SET_KEY, lock=True)
            current = connection.execute(_KEY, {"project_id": project.id, "provider": provider}).first()
            if current is None:
                return self._state(slug, provider, None)
            if expected_version is not None and current.version != expected_version:
                raise KeyChanged(_changed(current))
            now = self._database.now(connection)
            connection.execute(_END, {"p": project.id, "v": provider, "at": now, "who": actor.name})
            audit.record(
                connection,
                now,
                actor,
                Tag.KEY_REMOVED,
                project.subject,
                before={"version": current.version, "last4": current.last4},
            )
        self._database.forget_deleted()
        return self._state(slug, provider, None)

    def record_check(
        self,
        slug: str,
        *,
        actor: Actor,
        version: int,
        verdict: Verdict | None,
        failure: dict[str, object] | None = None,
        provider: str = PROVIDER,
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
                    _IN_USE,
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
                    "version": version,
                    "code": verdict.code if verdict else (failure or {}).get("failure_code"),
                },
            )
            row = connection.execute(_KEY, {"project_id": project.id, "provider": provider}).first()
        return self._state(slug, provider, row)

    def record_refusal(self, slug: str, *, actor: Actor, code: str | None, provider: str = PROVIDER) -> None:
        """Note that a key somebody wanted to save was refused by the provider."""
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
        sealed = self._safe.seal(secret, project.id, provider, secret_id, version)
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
        }
        connection.execute(insert(provider_keys), key | row)
        return version

    def _state(self, slug: str, provider: str, row: AnyRow | None) -> KeyState:
        return state_of(slug, row, self._safe.locked_why(row)) if row else no_key(slug, provider)


def ever_sealed(database: Database) -> bool:
    """Whether any key was ever sealed in this database; then a new master key must not appear by itself."""
    with database.read() as connection:
        return connection.execute(select(provider_keys.c.version).limit(1)).first() is not None


def require_provider(provider: str) -> None:
    """Only OpenAI keys can be saved so far."""
    if provider != PROVIDER:
        raise BadInput("Only OpenAI keys can be saved so far; Anthropic and Google are planned.")


NO_FAILURE: dict[str, object] = {
    "failing_since": None,
    "failure": None,
    "failure_status": None,
    "failure_code": None,
    "failure_message": None,
    "failure_request_id": None,
}


def _checked(now: Micros, verdict: Verdict | None, failure: dict[str, object] | None) -> dict[str, object]:
    if verdict is not None:
        # Genuine is not yet usable: with a warning, what failed goes on failing until a call has worked.
        mended = {} if verdict.code else NO_FAILURE
        return {"check_code": verdict.code, "check_message": verdict.message, **mended}
    since = func.coalesce(provider_keys.c.failing_since, now)
    return {"failing_since": since, **(failure or {})}


def _changed(current: AnyRow | None) -> str:
    if current is None:
        return "The key was removed meanwhile. Nothing was saved; look at the page again and decide."
    return (
        f"{current.saved_by} saved the key •••• {current.last4} meanwhile. It is in use; nothing was overwritten. "
        "Look at it and decide again."
    )
