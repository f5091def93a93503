"""Rewraps what a project has sealed for the first master key: its keys and the seal over them, at once.

One short transaction a project: whatever kills it, the project is sealed with the old master key or the new one.
What does not open, or is not as it was sealed, is left as it is and named.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from sqlalchemy import Connection, exists, or_, select, update

from lib.access import audit
from lib.access.audit import Subject, Tag
from lib.access.roles import Actor
from lib.db import AnyRow, Database
from lib.db.tables import projects, provider_keys
from lib.errors import KeyLocked
from lib.vault.master_keys.masters import Keyring
from lib.vault.opening import RowCipher
from lib.vault.seals import SEAL, Entries, ProjectSeals, entry_of
from lib.vault.states import StoredKey

_IN_USE = provider_keys.c.ended_at.is_(None)
_PROJECTS = select(
    projects.c.id.label("project_id"), projects.c.slug, projects.c.on_key_failure, *SEAL
).order_by(projects.c.slug)


@dataclass
class Rewrapped:
    """How many keys of one project were rewrapped, and which could not be."""

    resealed: int = 0
    left: list[StoredKey] = field(default_factory=list)


class Rewrap:
    """Rewraps projects for the first master key."""

    def __init__(self, database: Database, keyring: Keyring) -> None:
        self._database = database
        self._keyring = keyring
        self._cipher = RowCipher(database, keyring)
        self._seals = ProjectSeals(database, keyring)

    def due(self, master_key_id: str) -> list[Subject]:
        """The projects of which anything is not sealed with that master key, by slug."""
        of_project = provider_keys.c.project_id == projects.c.id
        other_key = exists().where(of_project, _IN_USE, provider_keys.c.master_key_id != master_key_id)
        other_seal = projects.c.seal_master_key_id.is_distinct_from(master_key_id)
        statement = select(projects.c.id, projects.c.slug).where(or_(other_key, other_seal))
        with self._database.read() as connection:
            rows = connection.execute(statement.order_by(projects.c.slug))
            return [Subject(row.id, row.slug) for row in rows]

    def locked(self) -> list[tuple[StoredKey, KeyLocked]]:
        """All keys that do not open here, and projects that are not as they were sealed; by slug."""
        with self._database.read() as connection:
            rows = connection.execute(_PROJECTS).all()
            keys = [(row, self._keys(connection, Subject(row.project_id, row.slug))) for row in rows]
        return [found for row, mine in keys for found in self._locked(row, mine)]

    def _locked(self, project: AnyRow, keys: list[AnyRow]) -> list[tuple[StoredKey, KeyLocked]]:
        subject = Subject(project.project_id, project.slug)
        found = [(key, locked) for key in keys if (locked := self._cipher.locked(key))]
        if found:
            return [(_stored(subject, key, locked), locked) for key, locked in found]
        misfit = self._seals.misfit(project, {key.provider: entry_of(key) for key in keys})
        return [(_project(subject, misfit), misfit)] if misfit else []

    def project(self, subject: Subject, actor: Actor) -> Rewrapped:
        """Hand one project over; running it again changes nothing."""
        with self._database.write() as connection:
            try:
                entries = self._seals.verified(connection, subject.project_id)
            except KeyLocked as locked:
                return Rewrapped(left=self._left(connection, subject, locked))
            done = Rewrapped()
            for row in self._keys(connection, subject, lock=True):
                try:
                    done.resealed += self._key(connection, subject, row, entries, actor)
                except KeyLocked as locked:
                    done.left.append(_stored(subject, row, locked))
            self._seals.write(connection, subject.project_id, entries)
        return done

    def _keys(self, connection: Connection, subject: Subject, *, lock: bool = False) -> list[AnyRow]:
        of_project = provider_keys.c.project_id == subject.project_id
        statement = select(provider_keys).where(of_project, _IN_USE).order_by(provider_keys.c.provider)
        return list(connection.execute(statement.with_for_update() if lock else statement).all())

    def _key(
        self, connection: Connection, subject: Subject, row: AnyRow, entries: Entries, actor: Actor
    ) -> bool:
        """Whether it had to be rewrapped; its entry is then the new one. Raises KeyLocked."""
        to = self._keyring.first
        if row.master_key_id == to.id:
            return False
        sealed = self._cipher.reseal(row)
        if entries.get(row.provider) != entry_of(row):
            raise KeyLocked(row.last4, row.master_key_id, tampered=True)
        this_one = (
            (provider_keys.c.project_id == row.project_id)
            & (provider_keys.c.provider == row.provider)
            & (provider_keys.c.version == row.version)
        )
        values = {"sealed_data_key": sealed.data_key, "master_key_id": sealed.master_key_id}
        written = update(provider_keys).where(this_one).values(values).returning(*provider_keys.c)
        entries[row.provider] = entry_of(connection.execute(written).one())
        audit.record(
            connection,
            self._database.now(connection),
            actor,
            Tag.KEY_RESEALED,
            subject,
            before={"provider": row.provider, "master_key_id": row.master_key_id},
            after={
                "provider": row.provider,
                "master_key_id": sealed.master_key_id,
                "version": row.version,
            },
        )
        return True

    def _left(self, connection: Connection, subject: Subject, locked: KeyLocked) -> list[StoredKey]:
        """All of a project that cannot be rewrapped: by its keys, or else by itself."""
        rows = self._keys(connection, subject)
        keys = [_stored(subject, row, self._cipher.locked(row) or locked) for row in rows]
        return keys or [_project(subject, locked)]


def _stored(subject: Subject, row: AnyRow, locked: KeyLocked) -> StoredKey:
    return StoredKey(subject.slug, row.provider, row.last4, row.master_key_id, locked.sentence)


def _project(subject: Subject, locked: KeyLocked) -> StoredKey:
    return StoredKey(subject.slug, "", "", locked.master_key_id, locked.sentence)
