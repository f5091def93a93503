"""The seal over what points at a project's keys: its slug, its failure policy and the key row in use.

A key opens for its own row alone (lib.vault.sealing). But which project a call belongs to, which row is in
use and what happens when it fails are plain columns, which a program with write access to the database could
change: swap two slugs, put an older row back, delete one, choose the platform's money. So each project has
one record of them, authenticated with a master key, in its own row. The look-up that resolves a key reads it,
and it is checked each time; the transaction that changes what it tells of writes it.

The record covers all providers: it has an entry for each key in use, and none for a provider without one. The
failure policy of one that is newer than ``projects.on_key_failure`` has its place in the record itself, see
``policy_of``.
"""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Connection, bindparam, select, update

from lib.access import audit
from lib.access.audit import Subject, Tag
from lib.access.projects import policy_entry
from lib.access.roles import Action, Actor, allows
from lib.db import AnyRow, Database
from lib.db.tables import deployment, projects, provider_keys
from lib.errors import KeyLocked, KeyServiceFailed
from lib.providers import DEFAULT
from lib.vault.master_keys.masters import Keyring

SEAL = (projects.c.sealed_keys, projects.c.seal_master_key_id, projects.c.seal)
"""What a row needs so that the seal can be checked, besides ``project_id``, ``slug`` and ``on_key_failure``."""

_SCHEME = "seal-1"
_PROJECT = (projects.c.id.label("project_id"), projects.c.slug, projects.c.on_key_failure, *SEAL)
_ROW = select(*_PROJECT).where(projects.c.id == bindparam("project_id"))
# key_share: calls go on adding rows that refer to the project.
_ROW_LOCKED = _ROW.with_for_update(key_share=True)
_WRITE = update(projects).where(projects.c.id == bindparam("sealed_id"))
_IN_USE = select(
    provider_keys.c.provider,
    provider_keys.c.version,
    provider_keys.c.secret_id,
    provider_keys.c.master_key_id,
).where(provider_keys.c.project_id == bindparam("project_id"), provider_keys.c.ended_at.is_(None))
_DEPLOYMENT = select(deployment.c.id)
# While a transaction that seals holds this, no master key is retired: see lib.vault.master_keys.rotation.
_NO_RETIREMENT = _DEPLOYMENT.with_for_update(read=True)

Entries = dict[str, str]
"""Provider -> the key row in use, as ``entry_of`` names it; and ``policy_entry`` of a provider -> its policy."""


class ProjectSeals:
    """Seals what points at the keys of this deployment's projects, and checks it."""

    def __init__(self, database: Database, keyring: Keyring) -> None:
        self._database = database
        self._keyring = keyring

    # --- checking ----------------------------------------------------------------------------------

    def require(self, row: AnyRow, provider: str) -> None:
        """Return if the row's project, policy and key are those that were sealed.

        Args:
            row: a project outer-joined to its key in use: ``SEAL``, and the columns of ``entry_of``.
            provider: whose key the row was joined to.

        Raises:
            KeyLocked: they are not, or this server lacks the master key that tells.
        """
        if self.entries(row).get(provider) != (None if row.version is None else entry_of(row)):
            raise _exchanged(row)

    def vouches(self, row: AnyRow, provider: str) -> bool:
        """Whether ``require`` would return."""
        try:
            self.require(row, provider)
        except KeyLocked:
            return False
        return True

    def entries(self, row: AnyRow) -> Entries:
        """The keys in use, as they were sealed together with the row's slug and policy. Raises KeyLocked."""
        if row.seal is None:
            raise _altered(
                row,
                f"{row.slug} is locked: nothing seals its name, its failure policy and the key it uses. "
                "Nothing was sent. An older version of Qodex that still runs may have created it. An operator can look, "
                "and seal it: bin/qodex master seal",
            )
        master = self._keyring.get(row.seal_master_key_id)
        if master is None:
            withheld = self._keyring.withheld(row.seal_master_key_id)
            raise KeyLocked("", str(row.seal_master_key_id), sentence=_missing(row, withheld))
        if not master.vouches(row.seal, *_parts(row, self._database.deployment_id, row.sealed_keys)):
            raise _altered(
                row,
                f"{row.slug} is locked: its name, its failure policy or the key it uses was changed in the "
                "database past Qodex, or by an older version of it that still runs. Nothing was sent. An operator can "
                "look, and seal it anew: bin/qodex master seal",
            )
        return _entries_in(row.sealed_keys)

    def misfit(self, row: AnyRow, in_use: Entries) -> KeyLocked | None:
        """Why a project is not as it was sealed, if all the keys that it has in use are these; None if it is."""
        try:
            sealed = self.entries(row)
        except KeyLocked as locked:
            return locked.with_traceback(None)
        keys = {name: entry for name, entry in sealed.items() if not _is_policy(name)}
        return None if keys == in_use else _exchanged(row)

    def in_use(self, connection: Connection, project_id: str) -> Entries:
        """The keys in use as the rows have them, whatever was sealed."""
        rows = connection.execute(_IN_USE, {"project_id": project_id})
        return {row.provider: entry_of(row) for row in rows}

    # --- changing ----------------------------------------------------------------------------------

    def verified(self, connection: Connection, project_id: str) -> Entries:
        """The entries of a project that is about to change; other writers wait until the transaction ends.

        Raises KeyLocked: what was changed past Qodex must not be sealed by the next change that comes along.
        """
        hold_master_keys(connection)
        return self.entries(connection.execute(_ROW_LOCKED, {"project_id": project_id}).one())

    def verified_for(self, connection: Connection, subject: Subject, actor: Actor) -> Entries:
        """``verified`` for who sets a key: an administrator may go on where the seal cannot be believed.

        The project is then taken as the database has it, but stops when its key fails: no person chose otherwise
        that could be believed.
        """
        try:
            return self.verified(connection, subject.project_id)
        except KeyLocked as locked:
            if not allows(actor, Action.MANAGE_MASTER_KEYS, None):
                raise
            why = locked.sentence
        connection.execute(_WRITE.values(on_key_failure="stop"), {"sealed_id": subject.project_id})
        return self.write_as_found(connection, subject, actor, why)

    def write(self, connection: Connection, project_id: str, entries: Mapping[str, str]) -> str:
        """Seal a project as its row is now, with these keys in use, by the first master key; returns its id.

        Raises MasterKeyMissing.
        """
        hold_master_keys(connection)
        master = self._keyring.first
        row = connection.execute(_ROW, {"project_id": project_id}).one()
        sealed_keys = ";".join(f"{name}={entries[name]}" for name in sorted(entries))
        seal = master.authenticate(*_parts(row, self._database.deployment_id, sealed_keys))
        values = {"sealed_keys": sealed_keys, "seal_master_key_id": master.id, "seal": seal}
        connection.execute(_WRITE.values(values), {"sealed_id": project_id})
        return master.id

    def write_as_found(self, connection: Connection, subject: Subject, actor: Actor, why: str) -> Entries:
        """Seal a project as the database has it, whatever was sealed; the audit log says so, and ``why``."""
        found = connection.execute(_ROW_LOCKED, {"project_id": subject.project_id}).one()
        entries = self.in_use(connection, subject.project_id)
        audit.record(
            connection,
            self._database.now(connection),
            actor,
            Tag.PROJECT_SEALED,
            subject,
            before={"why": why},
            after={
                "master_key_id": self.write(connection, subject.project_id, entries),
                "on_key_failure": found.on_key_failure,
                **{f"{provider}_version": int(entry.split("/")[0]) for provider, entry in entries.items()},
            },
        )
        return entries


def hold_master_keys(connection: Connection) -> None:
    """Let no master key be retired until the transaction ends.

    Before the first master key is looked up (it must still be there when this commits), and before projects are locked:
    that is the order in which rotation does both.
    """
    connection.execute(_NO_RETIREMENT)


def entry_of(row: AnyRow) -> str:
    """The name of one key row: the key that it holds opens under this version and id alone."""
    return f"{row.version}/{row.secret_id}/{row.master_key_id}"


def policy_of(row: AnyRow, provider: str) -> str:
    """What happens when the provider's key fails: ``stop`` or ``platform``; of a row whose seal was checked.

    ``projects.on_key_failure`` is older than the second provider, and stays what it was: no other one's choice.
    """
    if provider == DEFAULT:
        return str(row.on_key_failure)
    return _entries_in(row.sealed_keys or "").get(policy_entry(provider), "stop")


def _entries_in(sealed_keys: str) -> Entries:
    return dict(entry.split("=", 1) for entry in sealed_keys.split(";") if entry)


def _is_policy(name: str) -> bool:
    return name == policy_entry(name.partition(".")[0])


def _parts(row: AnyRow, deployment_id: str, sealed_keys: object) -> tuple[str, ...]:
    return (
        _SCHEME,
        deployment_id,
        row.project_id,
        str(row.slug),
        str(row.on_key_failure),
        str(sealed_keys),
    )


def _exchanged(row: AnyRow) -> KeyLocked:
    return _altered(
        row,
        f"The key of {row.slug} is locked: its row in the database was put there, removed or exchanged past "
        "Qodex, or by an older version of it that still runs. Nothing was sent. Replace the key, or remove it.",
    )


def _altered(row: AnyRow, sentence: str) -> KeyLocked:
    return KeyLocked("", str(row.seal_master_key_id or ""), tampered=True, sentence=sentence)


def _missing(row: AnyRow, withheld: KeyServiceFailed | None) -> str:
    if withheld:
        return f"{row.slug} is locked: {withheld} It seals what points at the project's key. Nothing was changed."
    return (
        f"{row.slug} is locked: this server does not have master key {row.seal_master_key_id}, which seals "
        "what points at its key. Nothing was changed. An operator can add that master key."
    )
