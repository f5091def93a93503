"""Which key pays for a project's next call, and what may be shown of it. Nothing is changed here.

Reading is always from the database: no cache can serve an old key. What the database says is believed only
where it is what was sealed (lib.vault.seals): a key whose row was exchanged, or whose project was, is locked.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, select

from lib.access.projects import find_for, is_slug
from lib.access.roles import Action, Actor, allows
from lib.db import AnyRow, Database
from lib.db.tables import platform_key_health, projects, provider_keys
from lib.errors import KeyLocked, KeyMissing, ProjectUnknown
from lib.providers import DEFAULT
from lib.secret import Secret
from lib.vault.master_keys.masters import Keyring
from lib.vault.opening import SEALED_KEY, RowCipher
from lib.vault.seals import SEAL, ProjectSeals, policy_of
from lib.vault.states import KeyState, PlatformKeyState, state_of


@dataclass(frozen=True)
class ResolvedKey:
    """The key that pays for a project's next call. ``version`` is None for the platform's."""

    project: str
    provider: str
    source: str
    secret: Secret
    last4: str
    version: int | None


IN_USE = provider_keys.c.ended_at.is_(None)
_PROJECT = (
    projects.c.id.label("project_id"),
    projects.c.slug,
    projects.c.on_key_failure,
    *SEAL,
)
_WITH_ITS_KEY = projects.outerjoin(
    provider_keys,
    (provider_keys.c.project_id == projects.c.id)
    & (provider_keys.c.provider == bindparam("provider"))
    & IN_USE,
)
_RESOLVE = (
    select(*_PROJECT, *SEALED_KEY).select_from(_WITH_ITS_KEY).where(projects.c.slug == bindparam("slug"))
)
_SHOWN = select(
    *_PROJECT, *(column for column in provider_keys.c if column.name != "project_id")
).select_from(_WITH_ITS_KEY)
_SHOW = _SHOWN.where(projects.c.id == bindparam("project_id"))
_OWN = _SHOWN.where(provider_keys.c.version.is_not(None))


class KeyReader:
    """The keys of this deployment's projects, as they are in the database.

    ``platform_keys`` are the platform-funded ones of this process, by provider.
    """

    def __init__(self, database: Database, keyring: Keyring, platform_keys: Mapping[str, Secret]) -> None:
        self._database = database
        self._cipher = RowCipher(database, keyring)
        self._seals = ProjectSeals(database, keyring)
        self._platform_keys = dict(platform_keys)

    def resolve(self, slug: str, *, provider: str = DEFAULT) -> ResolvedKey:
        """The key for the project's next call, read from the database now.

        Raises:
            ProjectUnknown: there is no such project.
            KeyLocked: the project's key cannot be opened here, or what points at it was changed past Qodex.
                It never turns into the platform's.
            KeyMissing: neither the project nor the platform has a key.
        """
        known = is_slug(slug)
        row = self._database.fast_read(_RESOLVE, {"slug": slug, "provider": provider}) if known else None
        if row is None:
            raise ProjectUnknown(slug)
        secret = self.open_row(row, provider)
        if secret is not None:
            return ResolvedKey(slug, provider, "byok", secret, row.last4, row.version)
        secret = self.platform_key(slug, provider)
        return ResolvedKey(slug, provider, "platform", secret, secret.last4, None)

    def open_row(self, row: AnyRow, provider: str) -> Secret | None:
        """The project's own key, None where it has none: as it was sealed, or not at all.

        Args:
            row: one project, outer-joined to its key in use for ``provider``: ``SEAL``, ``SEALED_KEY``, the
                project's id, slug and failure policy.
            provider: whose key it is.

        Raises:
            KeyLocked: it does not open, or its row, slug or policy are not those that were sealed.
        """
        secret = None
        if row.version is not None:
            try:
                secret = self._cipher.open(row)
            except KeyLocked as locked:
                locked.genuine = not locked.tampered and self._seals.vouches(row, provider)
                raise
        self._seals.require(row, provider)
        return secret

    # --- the platform's ----------------------------------------------------------------------------

    def platform_key(self, slug: str, provider: str) -> Secret:
        """The platform-funded key. Raises KeyMissing where none is configured."""
        if provider not in self._platform_keys:
            raise KeyMissing(slug, provider)
        return self._platform_keys[provider]

    def falls_back(self, row: AnyRow, provider: str) -> bool:
        """Whether the project chose to go on with the platform's key if its own fails, and there is one.

        Args:
            row: as for ``open_row``, and checked by it.
            provider: whose key it is.
        """
        return policy_of(row, provider) == "platform" and provider in self._platform_keys

    def platform_state(self, provider: str = DEFAULT) -> PlatformKeyState:
        """How the platform-funded key is doing; what was noted of another key says nothing about this one."""
        if provider not in self._platform_keys:
            return PlatformKeyState(provider, "none")
        last4 = self._platform_keys[provider].last4
        statement = select(platform_key_health).where(
            platform_key_health.c.provider == provider, platform_key_health.c.last4 == last4
        )
        with self._database.read() as connection:
            row = connection.execute(statement).first()
        if row is None:
            return PlatformKeyState(provider, "working", last4)
        columns = {name: value for name, value in row._mapping.items() if name != "provider"}  # noqa: SLF001
        return PlatformKeyState(provider, "failing", **columns)

    # --- what may be shown -------------------------------------------------------------------------

    def describe(self, slug: str, *, actor: Actor, provider: str = DEFAULT) -> KeyState:
        """What may be shown of the project's key, opened once to see whether it can be.

        Raises:
            ProjectUnknown: no such project, or ``actor`` may not know of it.
        """
        with self._database.read() as connection:
            project = find_for(connection, slug, actor, Action.SEE_SPEND)
            return self._describe(connection, project.id, provider)

    def describe_all(self, *, actor: Actor, provider: str = DEFAULT) -> dict[str, KeyState]:
        """The key of every project that ``actor`` may see, by slug; one query."""
        with self._database.read() as connection:
            rows = connection.execute(_SHOWN, {"provider": provider}).all()
        return {
            row.slug: self._state(row, provider)
            for row in rows
            if allows(actor, Action.SEE_SPEND, row.project_id)
        }

    def describe_own(self, *, actor: Actor, providers: Collection[str]) -> dict[str, list[KeyState]]:
        """The keys of these providers that are in use, by the slug of each project that ``actor`` may see."""
        found: dict[str, list[KeyState]] = {}
        for provider in providers:
            with self._database.read() as connection:
                rows = connection.execute(_OWN, {"provider": provider}).all()
            for row in rows:
                if allows(actor, Action.SEE_SPEND, row.project_id):
                    found.setdefault(row.slug, []).append(self._state(row, provider))
        return found

    def _describe(self, connection: Connection, project_id: str, provider: str) -> KeyState:
        row = connection.execute(_SHOW, {"project_id": project_id, "provider": provider}).one()
        return self._state(row, provider)

    def _state(self, row: AnyRow, provider: str) -> KeyState:
        lock_reason = self._lock_reason(row, provider)
        return state_of(row, provider, policy_of(row, provider), lock_reason)

    def _lock_reason(self, row: AnyRow, provider: str) -> str | None:
        try:
            self.open_row(row, provider)
        except KeyLocked as locked:
            return locked.sentence
        return None
