"""Projects whose seal is missing or does not fit: found, and sealed as they are by an operator's word.

By itself that happens once only, inside the step that brings seals to an older database. From then on a project
without a seal is one that was changed past Qodex, and nothing but an operator's word makes it a project again.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, distinct, func, select

from lib.access.audit import Subject, Tag
from lib.access.denied_attempts import denials_logged
from lib.access.roles import Action, Actor, require
from lib.clock import Micros
from lib.db import AnyRow, Database
from lib.db.tables import audit_log, projects, provider_keys
from lib.errors import BadInput, MasterKeyMissing, SettingsError
from lib.settings import Settings
from lib.vault.keys import keyring_for
from lib.vault.master_keys.masters import Keyring
from lib.vault.seals import SEAL, ProjectSeals, hold_master_keys

log = logging.getLogger(__name__)

_FIRST = "there were no seals before"
_PROJECTS = select(
    projects.c.id.label("project_id"), projects.c.slug, projects.c.on_key_failure, *SEAL
).order_by(projects.c.slug)
_LAST4 = select(provider_keys.c.provider, provider_keys.c.last4).where(provider_keys.c.ended_at.is_(None))
_SEALED_AS_FOUND = select(audit_log.c.at, audit_log.c.actor).where(
    audit_log.c.action == Tag.PROJECT_SEALED.value
)
_COUNT = select(func.count(distinct(audit_log.c.project_id))).where(
    audit_log.c.action == Tag.PROJECT_SEALED.value
)


@dataclass(frozen=True)
class Unsealed:
    """A project that is not as it was sealed, and what the database says of it now.

    ``keys``: provider -> last four of the key in use. ``why``: one sentence.
    """

    project: str
    project_id: str
    on_key_failure: str
    keys: dict[str, str]
    why: str


@dataclass(frozen=True)
class SealedAsFound:
    """The newest time that a project was sealed as the database had it, by whom, and how many ever were."""

    at: Micros
    actor: str
    projects: int


class UnsealedProjects:
    """Finds and seals them. Each function checks the actor's rights itself: administrators only."""

    def __init__(self, database: Database, keyring: Keyring) -> None:
        self._database = database
        self._seals = ProjectSeals(database, keyring)

    def find(self, *, actor: Actor) -> list[Unsealed]:
        """All of them, by slug."""
        self._require(actor)
        with self._database.read() as connection:
            return self._find(connection)

    def seal(self, found: Sequence[Unsealed], *, actor: Actor) -> None:
        """Seal these as they are, if they are still as a person saw them; the audit log says so.

        Raises:
            BadInput: one of them has changed since it was looked at. None is sealed.
            MasterKeyMissing: there is nothing to seal with.
        """
        self._require(actor)
        with self._database.write() as connection:
            now = {each.project_id: each for each in self._find(connection)}
            for each in found:
                if now.get(each.project_id) != each:
                    raise BadInput(f"{each.project} has changed meanwhile. Nothing was sealed; look again.")
                self._seals.write_as_found(
                    connection, Subject(each.project_id, each.project), actor, each.why
                )

    def _find(self, connection: Connection) -> list[Unsealed]:
        rows = connection.execute(_PROJECTS).all()
        return [found for row in rows if (found := self._unsealed(connection, row)) is not None]

    def _unsealed(self, connection: Connection, row: AnyRow) -> Unsealed | None:
        misfit = self._seals.misfit(row, self._seals.in_use(connection, row.project_id))
        if misfit is None:
            return None
        keys = connection.execute(_LAST4.where(provider_keys.c.project_id == row.project_id)).all()
        last4s = {key.provider: key.last4 for key in keys}
        return Unsealed(row.slug, row.project_id, row.on_key_failure, last4s, misfit.sentence)

    def _require(self, actor: Actor) -> None:
        with denials_logged(self._database, actor, "seal projects"):
            require(actor, Action.MANAGE_MASTER_KEYS, None)


def last_sealed_as_found(database: Database) -> SealedAsFound | None:
    """How many projects were ever sealed as they were found, and when last; None where none was."""
    with database.read() as connection:
        newest = connection.execute(_SEALED_AS_FOUND.order_by(audit_log.c.id.desc()).limit(1)).first()
        count = connection.execute(_COUNT).scalar_one()
    return SealedAsFound(newest.at, newest.actor, count) if newest else None


def seal_existing(database: Database, settings: Settings, actor: Actor, connection: Connection) -> None:
    """Seal the projects of a database that is older than seals, within the step that upgrades it.

    Not where the audit log says that projects were sealed before: then the older schema was put back.
    """
    rows = connection.execute(_PROJECTS).all()
    if not rows:
        return
    if connection.execute(_SEALED_AS_FOUND.limit(1)).first() is not None:
        log.error("This database had seals before. Nothing was sealed. %s", _LOOK)
        return
    hold_master_keys(connection)
    keyring = keyring_for(connection, settings)
    try:
        keyring.first  # noqa: B018 - before anything is written
    except (MasterKeyMissing, SettingsError) as problem:
        log.error("No project was sealed: %s Until then no call leaves. %s", problem, _LOOK)  # noqa: TRY400
        return
    seals = ProjectSeals(database, keyring)
    for row in rows:
        seals.write_as_found(connection, Subject(row.project_id, row.slug), actor, _FIRST)
    log.warning(
        "Sealed the name, failure policy and key in use of %s projects, as they are in the database: from now on "
        "whoever changes them past Qodex stops their calls. The audit log names each.",
        len(rows),
    )


_LOOK = "An operator can look and seal them: bin/qodex master seal"
