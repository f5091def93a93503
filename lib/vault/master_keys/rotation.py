"""The life of master keys: which there are, a new one, everything re-sealed with it, the old one taken out.

A master key that some server does not know locks what it seals there. So a new one only opens at first; it
becomes the one that encrypts when ``rotate`` begins; and an old one goes only when nothing is sealed with it.

Rotation rewraps project by project (lib.vault.master_keys.rewrap): its keys' data keys, and the seal over what points at
them. Whatever happens meanwhile, each opens with the master key that its row names.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, select, union

from lib.access import audit
from lib.access.audit import Subject, Tag
from lib.access.denied_attempts import denials_logged
from lib.access.roles import Action, Actor, require
from lib.db import Database
from lib.db.tables import alert_channels, deployment, projects, provider_keys
from lib.errors import BadInput, MasterKeyInUse, MasterKeyMissing
from lib.secret import Secret
from lib.settings import Settings
from lib.vault.alert_addresses import AddressSafe, sealed_with
from lib.vault.master_keys import keyfile, masters
from lib.vault.master_keys.masters import Keyring
from lib.vault.master_keys.rewrap import Rewrap
from lib.vault.master_keys.wrapped import wrapped_in
from lib.vault.states import MasterKeys, MasterKeyState, Rotated, RotationPlan, StoredKey

_NAMED = 5


@dataclass(frozen=True)
class NewMasterKey:
    """A new master key. ``line`` is set where a person must put it somewhere, ``path`` where it was added."""

    id: str
    encrypts: bool = False
    line: Secret | None = None
    path: Path | None = None
    is_wrapped: bool = False


_SEALED = (
    select(projects.c.slug, provider_keys)
    .join(projects, projects.c.id == provider_keys.c.project_id)
    .where(provider_keys.c.sealed_data_key.is_not(None))
    .order_by(projects.c.slug, provider_keys.c.provider)
)
_SEALED_PROJECTS = (
    select(projects.c.slug, projects.c.seal_master_key_id)
    .where(projects.c.seal_master_key_id.is_not(None))
    .order_by(projects.c.slug)
)
_IDS_OF_ADDRESSES = select(alert_channels.c.master_key_id).distinct()
_IDS = union(
    select(provider_keys.c.master_key_id)
    .join(projects, projects.c.id == provider_keys.c.project_id)
    .where(provider_keys.c.sealed_data_key.is_not(None)),
    select(projects.c.seal_master_key_id).where(projects.c.seal_master_key_id.is_not(None)),
    select(alert_channels.c.master_key_id),
)


class Masters:
    """Master keys of this server. Each function checks the actor's rights itself: administrators only."""

    def __init__(self, database: Database, keyring: Keyring, settings: Settings) -> None:
        self._database = database
        self._keyring = keyring
        self._rewrap = Rewrap(database, keyring)
        self._addresses = AddressSafe(database, keyring)
        self._variable = settings.master_keys
        self._path = settings.master_key_file

    def status(self, *, actor: Actor) -> MasterKeys:
        """Which master keys this server has, how many stored keys each seals, and which keys are locked."""
        self._require(actor, "see the master keys")
        with self._database.read() as connection:
            keys = Counter(row.master_key_id for row in connection.execute(_SEALED))
            sealed = Counter(row.seal_master_key_id for row in connection.execute(_SEALED_PROJECTS))
            addresses = set(map(str, connection.execute(_IDS_OF_ADDRESSES).scalars()))
        known = dict.fromkeys([*self._ids(), *keys, *sealed, *sorted(addresses)])
        locked, altered = self._locked()
        return MasterKeys(
            source=masters.VARIABLE if self._variable else str(self._path),
            master_keys=[
                MasterKeyState(key_id, self._use(key_id), keys[key_id], sealed[key_id]) for key_id in known
            ],
            locked=locked,
            altered=altered,
        )

    def require_all(self) -> None:
        """Return if this server has a master key, and each one that a stored key or a project needs.

        Raises:
            MasterKeyMissing: names what is missing.
        """
        _ = self._keyring.first
        with self._database.read() as connection:
            needed = set(map(str, connection.execute(_IDS).scalars()))
        for key_id in sorted(needed):
            if withheld := self._keyring.withheld(key_id):
                raise withheld
        missing = sorted(key_id for key_id in needed if self._keyring.get(key_id) is None)
        if missing:
            raise MasterKeyMissing(f"This server does not have master key {', '.join(missing)}.")

    # --- a new one ---------------------------------------------------------------------------------

    def create(self, *, actor: Actor) -> NewMasterKey:
        """Make a master key. It is added to the file as the next one; for the variable it is only returned.

        Raises:
            SettingsError: the file cannot be read or written; it is as it was.
            KeyServiceFailed: it cannot be wrapped, as QODEX_KEY_SERVICE asks for.
        """
        self._require(actor, "make a master key")
        line = self._keyring.new_entry()
        key_id, is_wrapped = masters.id_of(line) or "", wrapped_in(line) is not None
        if self._variable:
            return NewMasterKey(key_id, line=line, is_wrapped=is_wrapped)
        with self._database.write() as connection:
            self._one_at_a_time(connection)
            text = keyfile.read(self._path)
            self._note(connection, actor, Tag.MASTER_KEY_CREATED, after={"master_key_id": key_id})
            # Last, so that a log that cannot be written leaves the file as it is.
            if text is None:
                keyfile.create(self._path, keyfile.text_of([line]))
            else:
                masters.parse(keyfile.VARIABLE, keyfile.lines_of(text))
                keyfile.replace(self._path, keyfile.with_next(text, line))
        return NewMasterKey(key_id, encrypts=text is None, path=self._path, is_wrapped=is_wrapped)

    # --- rotation ----------------------------------------------------------------------------------

    def plan(self, *, actor: Actor) -> RotationPlan:
        """What ``rotate`` would do now. Raises MasterKeyMissing, SettingsError."""
        self._require(actor, "rotate the master key")
        newer = self._next()
        to = newer or self._keyring.first.id
        with self._database.read() as connection:
            keys = len(connection.execute(_SEALED.where(provider_keys.c.master_key_id != to)).all())
        return RotationPlan(to, newer is not None, keys, len(self._rewrap.due(to)))

    def rotate(self, *, actor: Actor, progress: Callable[[int], None] | None = None) -> Rotated:
        """Re-seal everything that the first master key does not seal. May be killed and run again.

        A master key that ``create`` added to the file becomes the first one. Keys that do not open here are
        left as they are and named. Keys that are saved meanwhile are found too.

        Raises:
            KeyServiceFailed: the key that is to seal cannot be used; what was sealed with it by then stays so.
        """
        self._require(actor, "rotate the master key")
        self._promote(actor)
        resealed, changed, left = 0, False, dict[str, list[StoredKey]]()
        while due := [each for each in self._due() if each.project_id not in left]:
            for subject in due:
                done = self._rewrap.project(subject, actor)
                if done.left:
                    left[subject.project_id] = done.left
                resealed, changed = resealed + done.resealed, True
                if progress:
                    progress(resealed)
        changed = bool(self._addresses.rewrap()) or changed
        named = [key for keys in left.values() for key in keys]
        to = self._keyring.first.id
        if changed:
            with self._database.write() as connection:
                told: dict[str, object] = {"master_key_id": to, "resealed": resealed, "left": len(named)}
                self._note(connection, actor, Tag.MASTER_KEY_ROTATED, after=told)
            self._database.purge_deleted()
        return Rotated(to, resealed, named)

    def _due(self) -> list[Subject]:
        return self._rewrap.due(self._keyring.first.id)

    def _promote(self, actor: Actor) -> None:
        promoted = self._next()
        if promoted is None:
            return
        if self._keyring.get(promoted) is None and (withheld := self._keyring.withheld(promoted)):
            raise withheld  # nothing could be saved with it
        with self._database.write() as connection:
            self._one_at_a_time(connection)
            newer, text = self._next(), keyfile.read(self._path)
            if newer is None or text is None:
                return  # another process was first
            before = self._keyring.first.id
            self._note(
                connection,
                actor,
                Tag.MASTER_KEY_PROMOTED,
                before={"master_key_id": before},
                after={"master_key_id": newer},
            )
            keyfile.replace(self._path, keyfile.with_first(text, newer, masters.id_of))

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
            MasterKeyInUse: stored keys or projects are sealed with it, or new ones would be.
            BadInput: this server has no such master key.
        """
        self._require(actor, "retire a master key")
        ids = self._ids()
        if key_id not in ids:
            raise BadInput(f"This server has no master key of that id. It has: {', '.join(ids) or 'none'}.")
        with self._database.write() as connection:
            self._one_at_a_time(connection)
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
        _require_none("stored key", key_id, [row.slug for row in found])
        if key_id == self._keyring.first.id:
            raise MasterKeyInUse(
                f"{key_id} is the master key that encrypts. Make a new one and rotate first. Nothing was changed."
            )
        slugs = connection.execute(_SEALED_PROJECTS.where(projects.c.seal_master_key_id == key_id)).scalars()
        _require_none("project", key_id, list(slugs))
        addresses = sealed_with(connection, key_id)
        _require_none("alert address", key_id, ["Settings > Alerts"] * addresses)

    # --- what all of them need ---------------------------------------------------------------------

    def _require(self, actor: Actor, what: str) -> None:
        with denials_logged(self._database, actor, what):
            require(actor, Action.MANAGE_MASTER_KEYS, None)

    def _ids(self) -> list[str]:
        try:
            self._keyring.refresh()
        except MasterKeyMissing:
            return []
        return self._keyring.ids

    def _next(self) -> str | None:
        text = None if self._variable else keyfile.read(self._path)
        return keyfile.next_of(text, masters.id_of) if text is not None else None

    def _use(self, key_id: str) -> str:
        ids = self._keyring.ids
        if key_id not in ids:
            return "missing"
        if self._keyring.withheld(key_id):
            return "withheld"
        if key_id == ids[0]:
            return "encrypts"
        return "next" if key_id == self._next() else "opens"

    def _locked(self) -> tuple[list[StoredKey], list[StoredKey]]:
        """What is locked for want of a master key, and what was altered."""
        found = self._rewrap.locked()
        missing = [key for key, locked in found if not locked.tampered]
        return missing, [key for key, locked in found if locked.tampered]

    def _one_at_a_time(self, connection: Connection) -> None:
        """Of all servers of this database, one changes its master keys; SQLite's writes wait anyway.

        Whoever seals something right now has committed it before (lib.vault.seals holds this row, too); who
        comes later reads the file anew.
        """
        connection.execute(select(deployment.c.one).with_for_update())

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


def _require_none(what: str, key_id: str, slugs: list[str]) -> None:
    """Raises MasterKeyInUse where there are some."""
    if slugs:
        names = ", ".join(dict.fromkeys(slugs[:_NAMED])) + (", …" if len(slugs) > _NAMED else "")
        plural = f"{what}es" if what.endswith("s") else f"{what}s"
        found = f"1 {what} is" if len(slugs) == 1 else f"{len(slugs):,} {plural} are"
        raise MasterKeyInUse(f"{found} sealed with {key_id} ({names}). Rotate first. Nothing was changed.")


def _place(variable: Secret, key_id: str) -> int:
    entries = [entry for entry in masters.entries_of(variable) if not masters.is_comment(entry)]
    return 1 + [masters.id_of(entry) for entry in entries].index(key_id)
