"""Projects: what everything else belongs to. Their id never changes and is never shown."""

from __future__ import annotations

import re
import unicodedata
import uuid
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from sqlalchemy import Connection, Select, bindparam, insert, select, update
from sqlalchemy.exc import IntegrityError

from lib.access import audit
from lib.access.audit import Subject, Tag
from lib.access.denied_attempts import denials_logged
from lib.access.roles import Action, Actor, allows, require
from lib.clock import Micros
from lib.db import AnyRow, Database
from lib.db.raw_execute import raw_execute
from lib.db.tables import accounts, plans, projects
from lib.errors import BadInput, ProjectUnknown
from lib.providers import DEFAULT, known

_SLUG = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,58}[a-z0-9])?")
_NAME_LENGTH = 200
_BLANK = "\N{HANGUL FILLER}\N{HANGUL CHOSEONG FILLER}\N{HANGUL JUNGSEONG FILLER}\N{HALFWIDTH HANGUL FILLER}\N{BRAILLE PATTERN BLANK}"
"""Letters and symbols to Unicode, of which nothing is seen."""
POLICIES = ("stop", "platform")
DEFAULT_PLAN = "Starter"


@dataclass(frozen=True)
class Project:
    """A project as everyone who may see it sees it. Times in microseconds."""

    id: str
    slug: str
    name: str
    plan: str
    on_key_failure: str
    policy_set_at: Micros | None
    policy_set_by: str | None
    created_at: Micros
    created_by: str
    archived_at: Micros | None = None
    """Since when it is archived: no runs, and in no choice of projects; its history stays."""

    @property
    def titled(self) -> str:
        """The short name, with the title where it says more."""
        return self.slug if self.name == self.slug else f"{self.slug} · {self.name}"

    @property
    def subject(self) -> Subject:
        """For the audit log."""
        return Subject(self.id, self.slug)


_COLUMNS = (
    projects.c.id,
    projects.c.slug,
    projects.c.name,
    projects.c.plan,
    projects.c.on_key_failure,
    projects.c.policy_set_at,
    projects.c.policy_set_by,
    projects.c.created_at,
    projects.c.created_by,
    projects.c.archived_at,
)
_ALL = select(*_COLUMNS).order_by(projects.c.slug)
_ONE = select(*_COLUMNS).where(projects.c.slug == bindparam("slug"))
# key_share: others may go on adding rows that refer to the project, its calls for one.
_ONE_LOCKED = _ONE.with_for_update(key_share=True)


class Seals(Protocol):
    """Seals what points at a project's keys: its slug, its failure policies and the keys in use.

    Whatever changes one of them here seals it anew. The vault does it (lib.vault.seals), a room above this one.
    """

    def verified(self, connection: Connection, project_id: str) -> dict[str, str]:
        """The keys in use, as they were sealed. Raises KeyLocked where what was sealed was changed past Qodex."""

    def write(self, connection: Connection, project_id: str, entries: Mapping[str, str]) -> str:
        """Seal the project as it is now, with these keys in use. Raises MasterKeyMissing."""


def policy_entry(provider: str) -> str:
    """Under which name the seal has the failure policy of a provider that has no column for it."""
    return f"{provider}.on_key_failure"


class Projects:
    """Create, list and change projects. Each function checks the actor's rights itself."""

    def __init__(self, database: Database, seals: Seals) -> None:
        self._database = database
        self._seals = seals

    def add(self, slug: str, *, actor: Actor, name: str | None = None, plan: str = DEFAULT_PLAN) -> Project:
        """Create a project.

        Raises:
            BadInput: the slug or name cannot be used, the slug is taken, or there is no such plan.
            MasterKeyMissing: nothing can seal which key it uses.
            Forbidden: only administrators create projects.
        """
        with denials_logged(self._database, actor, "create a project"):
            require(actor, Action.CREATE_PROJECT, None)
        slug, name = clean_slug(slug), clean_name(name or slug)
        with self._database.write() as connection:
            now = self._database.now(connection)
            _require_plan(connection, plan)
            row = {"id": str(uuid.uuid4()), "slug": slug, "name": name, "plan": plan}
            try:
                with connection.begin_nested():
                    connection.execute(insert(projects), row | {"created_at": now, "created_by": actor.name})
            except IntegrityError:
                raise BadInput(f"There is a project named {slug} already.") from None
            connection.execute(insert(accounts), {"project_id": row["id"]})
            self._seals.write(connection, row["id"], {})
            project = find(connection, slug)
            audit.record(
                connection,
                now,
                actor,
                Tag.PROJECT_CREATED,
                project.subject,
                after={"name": name, "plan": plan},
            )
        return project

    def list(self, *, actor: Actor) -> list[Project]:
        """All projects that ``actor`` may see, by slug."""
        with self._database.read() as connection:
            found = [_project(row) for row in connection.execute(_ALL)]
        return [project for project in found if allows(actor, Action.SEE_SPEND, project.id)]

    def get(self, slug: str, *, actor: Actor) -> Project:
        """One project. Raises ProjectUnknown also where it exists and ``actor`` may not know."""
        with self._database.read() as connection:
            return find_for(connection, slug, actor, Action.SEE_SPEND)

    def set_policy(self, slug: str, on_key_failure: str, *, actor: Actor, provider: str = DEFAULT) -> Project:
        """Choose what happens when the project's key of that provider fails: ``stop`` or ``platform``.

        Raises:
            KeyLocked: the project was changed past Qodex; only an operator can seal it as it is now.
            MasterKeyMissing: nothing can seal the choice.
        """
        if on_key_failure not in POLICIES:
            raise BadInput("Choose stop or platform.")
        if provider not in known.facts:
            raise BadInput(f"Choose a provider: {', '.join(known.facts)}.")
        with (
            denials_logged(self._database, actor, "set the failure policy", slug),
            self._database.write() as connection,
        ):
            before = find_for(connection, slug, actor, Action.SET_FAILURE_POLICY, lock=True)
            keys = self._seals.verified(connection, before.id)
            now = self._database.now(connection)
            was = before.on_key_failure
            if provider == DEFAULT:
                values = {"on_key_failure": on_key_failure, "policy_set_at": now, "policy_set_by": actor.name}
                connection.execute(update(projects).where(projects.c.id == before.id).values(values))
            else:
                was = keys.get(policy_entry(provider), "stop")
                keys[policy_entry(provider)] = on_key_failure
            self._seals.write(connection, before.id, keys)
            audit.record(
                connection,
                now,
                actor,
                Tag.POLICY_SET,
                before.subject,
                before={"provider": provider, "on_key_failure": was},
                after={"provider": provider, "on_key_failure": on_key_failure},
            )
            return find(connection, slug)

    def set_plan(self, slug: str, plan: str, *, actor: Actor) -> Project:
        """Put the project on another plan. It is Qodex's money: administrators only."""
        with denials_logged(self._database, actor, "set the plan", slug):
            require(actor, Action.SET_PLAN, None)
        with self._database.write() as connection:
            before = find(connection, slug, lock=True)
            _require_plan(connection, plan)
            connection.execute(update(projects).where(projects.c.id == before.id).values(plan=plan))
            audit.record(
                connection,
                self._database.now(connection),
                actor,
                Tag.PROJECT_PLAN_SET,
                before.subject,
                before={"plan": before.plan},
                after={"plan": plan},
            )
            return find(connection, slug)


def find(connection: Connection, slug: str, *, lock: bool = False) -> Project:
    """The project of that slug, inside the caller's transaction; ``lock`` keeps other writers out of it."""
    if not is_slug(slug):
        raise ProjectUnknown(slug)
    row = connection.execute(_ONE_LOCKED if lock else _ONE, {"slug": slug}).first()
    if row is None:
        raise ProjectUnknown(slug)
    return _project(row)


def find_for(
    connection: Connection, slug: str, actor: Actor, action: Action, *, lock: bool = False
) -> Project:
    """The project of that slug, for an actor.

    Raises:
        ProjectUnknown: there is none, or ``actor`` may not know of it.
        Forbidden: ``actor`` may know of it, but not do ``action`` there.
    """
    project = find(connection, slug, lock=lock)
    if not allows(actor, Action.SEE_SPEND, project.id):
        raise ProjectUnknown(slug)
    require(actor, action, project.id)
    return project


def is_slug(text: str) -> bool:
    """Whether a project can have that short name. Not every text may be asked of every database."""
    return _SLUG.fullmatch(text) is not None


def clean_slug(text: str) -> str:
    """Check a project's short name. Raises BadInput."""
    slug = text.strip()
    if not is_slug(slug):
        raise BadInput(
            "A project's short name has 1 to 60 characters: small letters, digits and hyphens, "
            "with a letter or digit at both ends."
        )
    return slug


def clean_name(text: str) -> str:
    """Check a project's title: one line of at most 200 visible characters. Raises BadInput."""
    name = unicodedata.normalize("NFC", text.strip())
    # C: control and direction-changing characters make a name look like another. Zl, Zp: line ends.
    if not name or len(name) > _NAME_LENGTH or any(_is_invisible(character) for character in name):
        raise BadInput(f"A name has 1 to {_NAME_LENGTH} visible characters on one line.")
    return name


def _is_invisible(character: str) -> bool:
    category = unicodedata.category(character)
    return category[0] == "C" or category in {"Zl", "Zp"} or character in _BLANK


def _require_plan(connection: Connection, plan: str) -> None:
    names = [row.name for row in connection.execute(select(plans.c.name).order_by(plans.c.cap_7d_nano))]
    if plan not in names:
        raise BadInput(f"There is no plan of that name. There are: {', '.join(names)}.")


def _project(row: AnyRow) -> Project:
    return Project(**row._mapping)  # noqa: SLF001 - SQLAlchemy's public name for it


ProjectIds: TypeAlias = Sequence[str] | Select[tuple[str]]
"""Ids of projects, or the SELECT of all of them: ids of ten thousand are slow to pass, and more than a statement takes."""

_PROJECTS = select(projects.c.slug, projects.c.id)
_EVERY_ID: Select[tuple[str]] = select(projects.c.id)


def visible_projects(connection: Connection, actor: Actor, slugs: Collection[str]) -> ProjectIds:
    """Which projects a report is about, for its WHERE: those named, or else all whose spend the actor may see.

    Raises:
        ProjectUnknown: one that is named does not exist, or the actor may not know of it.
    """
    if not slugs and allows(actor, Action.SEE_SPEND, None):
        return _EVERY_ID
    return visible_ids(connection, actor, slugs)


def visible_ids(
    connection: Connection,
    actor: Actor,
    slugs: Iterable[str],
    action: Action = Action.SEE_SPEND,
) -> list[str]:
    """Ids of the projects named, or else of all that the actor may see.

    Raises:
        ProjectUnknown: one that is named does not exist, or the actor may not know of it.
    """
    rows = raw_execute(connection, _PROJECTS, {})
    everywhere = allows(actor, action, None)
    visible = {row.slug: row for row in rows if everywhere or allows(actor, action, row.id)}
    named = dict.fromkeys(slugs)
    for slug in named:
        if slug not in visible:
            raise ProjectUnknown(slug)
    chosen = [visible[slug] for slug in named] or visible.values()
    return [row.id for row in chosen]
