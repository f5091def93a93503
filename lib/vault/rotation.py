"""The life of master keys: which there are, a new one, everything re-sealed with it, the old one taken out.

A master key that some server does not know locks what it seals there. So a new one only opens at first; it
becomes the one that encrypts when ``rotate`` begins; and an old one goes only when nothing is sealed with it.

Rotation hands each key's data key from one master key to the other: one short transaction a key, only where
the row is still the one that was read. Whatever happens meanwhile, each row opens with the master key it names.
Sample data is left out: its keys are made up.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, Select, select, update

from lib.access import audit
from lib.access.audit import Subject, Tag
from lib.access.refusals import refusals_logged
from lib.access.roles import Action, Actor, require
from lib.db import AnyRow, Database
from lib.db.tables import deployment, projects, provider_keys
from lib.errors import BadInput, KeyLocked, MasterKeyInUse, MasterKeyMissing
from lib.secret import Secret
from lib.settings import Settings
from lib.vault import keyfile, masters
from lib.vault.masters import Keyring
from lib.vault.opening import Safe
from lib.vault.states import MasterKeys, MasterKeyState, Plan, Rotated, StoredKey

_NAMED = 5


@dataclass(frozen=True)
class Made:
    """A new master key. ``line`` is set where a person must put it somewhere, ``path`` where it was added."""

    id: str
    encrypts: bool = False
    line: Secret | None = None
    path: Path | None = None


_SEALED = (
    select(projects.c.slug, provider_keys)
    .join(projects, projects.c.id == provider_keys.c.project_id)
    .where(projects.c.sample.is_(False), provider_keys.c.sealed_data_key.is_not(None))
    .order_by(projects.c.slug, provider_keys.c.provider)
)
_IDS = (
    select(provider_keys.c.master_key_id)
    .join(projects, projects.c.id == provider_keys.c.project_id)
    .where(projects.c.sample.is_(False), provider_keys.c.sealed_data_key.is_not(None))
    .distinct()
)


class Masters:
    """Master keys of this server. Each function checks the actor's rights itself: administrators only."""

    def __init__(self, database: Database, keyring: Keyring, settings: Settings) -> None:
        self._database = database
        self._keyring = keyring
        self._safe = Safe(database, keyring)
        self._variable = settings.master_keys
        self._path = settings.master_key_file

    def status(self, *, actor: Actor) -> MasterKeys:
        """Which master keys this server has, how many stored keys each seals, and which keys are locked."""
        self._require(actor, "see the master keys")
        rows = self._rows(_SEALED)
        sealed = dict.fromkeys(self._ids(), 0)
        for row in rows:
            sealed[row.master_key_id] = sealed.get(row.master_key_id, 0) + 1
        return MasterKeys(
            source=masters.VARIABLE if self._variable else str(self._path),
            master_keys=[
                MasterKeyState(key_id, self._use(key_id), count) for key_id, count in sealed.items()
            ],
            locked=[_stored(row) for row in rows if self._keyring.get(row.master_key_id) is None],
        )

    def require_all(self) -> None:
        """Return if this server has a master key, and each one that a stored key needs.

        Raises:
            MasterKeyMissing: names what is missing.
        """
        _ = self._keyring.first
        needed = {str(row.master_key_id) for row in self._rows(_IDS)}
        missing = sorted(key_id for key_id in needed if self._keyring.get(key_id) is None)
        if missing:
            raise MasterKeyMissing(f"This server does not have master key {', '.join(missing)}.")

    # --- a new one ---------------------------------------------------------------------------------

    def create(self, *, actor: Actor) -> Made:
        """Make a master key. It is added to the file as the next one; for the variable it is only returned.

        Raises:
            SettingsError: the file cannot be read or written; it is as it was.
        """
        self._require(actor, "make a master key")
        line = masters.new_key()
        key_id = masters.id_of(line.reveal()) or ""
        if self._variable:
            return Made(key_id, line=line)
        with self._database.write() as connection:
            self._one_at_a_time(connection)
            text = keyfile.read(self._path)
            self._note(connection, actor, Tag.MASTER_KEY_CREATED, after={"master_key_id": key_id})
            # Last, so that a log that cannot be written leaves the file as it is.
            if text is None:
                keyfile.create(self._path, f"{line.reveal()}\n")
            else:
                masters.parse(keyfile.VARIABLE, text.splitlines())
                keyfile.replace(self._path, keyfile.with_next(text, line.reveal()))
        return Made(key_id, encrypts=text is None, path=self._path)

    # --- rotation ----------------------------------------------------------------------------------

    def plan(self, *, actor: Actor) -> Plan:
        """What ``rotate`` would do now. Raises MasterKeyMissing, SettingsError."""
        self._require(actor, "rotate the master key")
        newer = self._next()
        to = newer or self._keyring.first.id
        return Plan(to, promotes=newer is not None, stored_keys=len(self._rows(_not_sealed_with(to))))

    def rotate(self, *, actor: Actor, progress: Callable[[int], None] | None = None) -> Rotated:
        """Re-seal every stored key that the first master key does not seal. May be killed and run again.

        A master key that ``create`` added to the file becomes the first one. Keys that do not open here are
        left as they are and named. Keys that are saved meanwhile are found too.
        """
        self._require(actor, "rotate the master key")
        self._promote(actor)
        resealed, left = 0, dict[str, StoredKey]()
        while rows := [row for row in self._to_reseal() if row.secret_id not in left]:
            for row in rows:
                try:
                    resealed += self._reseal(row, actor)
                except KeyLocked as locked:
                    left[row.secret_id] = _stored(row, locked.sentence)
                if progress:
                    progress(resealed)
        to = self._keyring.first.id
        if resealed:
            with self._database.write() as connection:
                done = {"master_key_id": to, "resealed": resealed, "left": len(left)}
                self._note(connection, actor, Tag.MASTER_KEY_ROTATED, after=done)
            self._database.forget_deleted()
        return Rotated(to, resealed, list(left.values()))

    def _to_reseal(self) -> list[AnyRow]:
        return self._rows(_not_sealed_with(self._keyring.first.id))

    def _promote(self, actor: Actor) -> None:
        if self._next() is None:
            return
        with self._database.write() as connection:
            self._one_at_a_time(connection)
            newer, text = self._next(), keyfile.read(self._path)
            if newer is None or text is None:
                return  # somebody else was first
            before = self._keyring.first.id
            self._note(
                connection,
                actor,
                Tag.MASTER_KEY_PROMOTED,
                before={"master_key_id": before},
                after={"master_key_id": newer},
            )
            keyfile.replace(self._path, keyfile.with_first(text, newer, masters.id_of))

    def _reseal(self, row: AnyRow, actor: Actor) -> bool:
        """Whether the row was re-sealed; not where it has changed since it was read. Raises KeyLocked."""
        this_one = (
            (provider_keys.c.project_id == row.project_id)
            & (provider_keys.c.provider == row.provider)
            & (provider_keys.c.version == row.version)
        )
        unchanged = provider_keys.c.sealed_data_key == row.sealed_data_key
        with self._database.write() as connection:
            # Locked before the first master key is looked up: see _keep_savers_out.
            found = connection.execute(
                select(provider_keys).where(this_one, unchanged).with_for_update()
            ).first()
            if found is None:
                return False
            sealed = self._safe.reseal(found)
            values = {"sealed_data_key": sealed.data_key, "master_key_id": sealed.master_key_id}
            connection.execute(update(provider_keys).where(this_one).values(values))
            audit.record(
                connection,
                self._database.now(connection),
                actor,
                Tag.KEY_RESEALED,
                Subject(row.project_id, row.slug),
                before={"master_key_id": row.master_key_id},
                after={"master_key_id": sealed.master_key_id, "version": row.version},
            )
        return True

    # --- an old one --------------------------------------------------------------------------------

    def retire(self, key_id: str, *, actor: Actor, dry: bool = False) -> int | None:
        """Take a master key out of the file, if nothing is sealed with it.

        Args:
            key_id: which one.
            actor: for whom.
            dry: only look whether it may go.

        Returns:
            The place of its entry in the variable, from 1, where a person must take it out; else None.

        Raises:
            MasterKeyInUse: stored keys are sealed with it, or new ones would be.
            BadInput: this server has no such master key.
        """
        self._require(actor, "retire a master key")
        ids = self._ids()
        if key_id not in ids:
            raise BadInput(f"This server has no master key of that id. It has: {', '.join(ids) or 'none'}.")
        with self._database.write() as connection:
            self._keep_savers_out(connection)
            self._require_unused(connection, key_id)
            if self._variable:
                return _place(self._variable, key_id)
            text = keyfile.read(self._path)
            if not dry and text is not None:
                self._note(connection, actor, Tag.MASTER_KEY_RETIRED, before={"master_key_id": key_id})
                keyfile.replace(self._path, keyfile.without(text, key_id, masters.id_of))
        return None

    def _require_unused(self, connection: Connection, key_id: str) -> None:
        found = connection.execute(_SEALED.where(provider_keys.c.master_key_id == key_id)).all()
        if found:
            names = ", ".join(row.slug for row in found[:_NAMED]) + (", …" if len(found) > _NAMED else "")
            keys = "1 stored key is" if len(found) == 1 else f"{len(found):,} stored keys are"
            raise MasterKeyInUse(f"{keys} sealed with {key_id} ({names}). Rotate first. Nothing was changed.")
        if key_id == self._keyring.first.id:
            raise MasterKeyInUse(
                f"{key_id} is the master key that encrypts. Make a new one and rotate first. Nothing was changed."
            )

    # --- what all of them need ---------------------------------------------------------------------

    def _require(self, actor: Actor, what: str) -> None:
        with refusals_logged(self._database, actor, what):
            require(actor, Action.MANAGE_MASTER_KEYS, None)

    def _ids(self) -> list[str]:
        try:
            self._keyring.refresh()
        except MasterKeyMissing:
            return []
        return self._keyring.ids

    def _next(self) -> str | None:
        text = None if self._variable else keyfile.read(self._path)
        return keyfile.next_of(text, masters.id_of) if text else None

    def _use(self, key_id: str) -> str:
        ids = self._keyring.ids
        if key_id not in ids:
            return "missing"
        if key_id == ids[0]:
            return "encrypts"
        return "next" if key_id == self._next() else "opens"

    def _rows(self, statement: Select[tuple[object, ...]]) -> list[AnyRow]:
        with self._database.read() as connection:
            return list(connection.execute(statement).all())

    def _one_at_a_time(self, connection: Connection) -> None:
        """Of all servers of this database, one changes its master keys; SQLite's writes wait anyway."""
        connection.execute(select(deployment.c.one).with_for_update())

    def _keep_savers_out(self, connection: Connection) -> None:
        """Whoever saves a key right now has committed it before we look; who comes later reads the file anew."""
        self._one_at_a_time(connection)
        if not self._database.is_sqlite:
            connection.exec_driver_sql("LOCK TABLE provider_keys IN EXCLUSIVE MODE")

    def _note(
        self,
        connection: Connection,
        actor: Actor,
        tag: Tag,
        *,
        before: dict[str, object] | None = None,
        after: dict[str, object] | None = None,
    ) -> None:
        audit.record(connection, self._database.now(connection), actor, tag, before=before, after=after)


def _not_sealed_with(key_id: str) -> Select[tuple[object, ...]]:
    return _SEALED.where(provider_keys.c.master_key_id != key_id)


def _stored(row: AnyRow, why: str | None = None) -> StoredKey:
    missing = why or KeyLocked(row.last4, row.master_key_id).sentence
    return StoredKey(row.slug, row.provider, row.last4, row.master_key_id, missing)


def _place(variable: Secret, key_id: str) -> int:
    entries = [entry for entry in variable.reveal().split(",") if entry.strip()]
    return 1 + [masters.id_of(entry) for entry in entries].index(key_id)
