"""Members: who has which role, in a project or in all of them. Roles are read anew for every action."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, delete, func, insert, select

from lib.access import audit
from lib.access.audit import Subject, Tag
from lib.access.denied_attempts import denials_logged
from lib.access.projects import find
from lib.access.roles import Action, Actor, Origin, Role, allows, require
from lib.clock import Micros
from lib.db import AnyRow, Database
from lib.db.tables import deployment, members, projects
from lib.emails import clean_email, fold
from lib.errors import BadInput, Forbidden, ProjectUnknown

EVERYWHERE = "*"


@dataclass(frozen=True)
class Member:
    """One person's role; ``project`` is None where it holds for all projects."""

    email: str
    role: Role
    project: str | None
    added_at: Micros
    added_by: str


class Members:
    """Add, change, remove and list members. Each function checks the actor's rights itself."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def actor(self, email: str, origin: Origin, admins: Sequence[str] = ()) -> Actor:
        """The person of that e-mail with the roles they have now.

        Args:
            email: as the identity provider has verified it.
            origin: where they act from.
            admins: e-mails of the first administrators (``QODEX_ADMINS``).
        """
        name = fold(email)
        with self._database.read() as connection:
            rows = connection.execute(select(members.c.scope, members.c.role).where(members.c.email == name))
            roles = {row.scope: Role[row.role.upper()] for row in rows}
        everywhere = roles.pop(EVERYWHERE, None)
        if name in map(fold, admins):
            everywhere = Role.ADMIN
        return Actor(name, origin, everywhere, roles)

    def administrators(self, admins: Sequence[str] = ()) -> Sequence[str]:
        """Whom to ask for a role: the e-mails of all administrators, ``admins`` (``QODEX_ADMINS``) included."""
        wanted = (members.c.scope == EVERYWHERE) & (members.c.role == Role.ADMIN.name.lower())
        with self._database.read() as connection:
            found = connection.execute(select(members.c.email).where(wanted)).scalars()
            return sorted({*found, *map(fold, admins)})

    def put(self, email: str, role: str, *, slug: str | None, actor: Actor) -> Member:
        """Add a member, or change their role. ``slug`` None: in all projects.

        Raises:
            BadInput: no e-mail, or no such role.
            Forbidden: that takes a lead of the project (an administrator for administrators and for all
                projects), or the project would lose its last lead.
        """
        name, wanted = clean_email(email), _role(role)
        with (
            denials_logged(self._database, actor, f"make {name} {wanted.name.lower()}", slug),
            self._database.write() as connection,
        ):
            scope, subject = _scope(connection, slug, actor)
            _require_may_manage(actor, scope, wanted)
            before = _role_of(connection, scope, name)
            if before is not None:
                _require_may_manage(actor, scope, before)
                if wanted < _keeper(scope) <= before:
                    _require_another_keeper(connection, scope, name)
            now = self._database.now(connection)
            connection.execute(delete(members).where(members.c.scope == scope, members.c.email == name))
            row = {"scope": scope, "email": name, "role": wanted.name.lower()}
            connection.execute(insert(members), row | {"added_at": now, "added_by": actor.name})
            audit.record(
                connection,
                now,
                actor,
                Tag.MEMBER_ADDED if before is None else Tag.MEMBER_CHANGED,
                subject,
                before={"email": name, "role": before.name.lower()} if before else None,
                after={"email": name, "role": wanted.name.lower()},
            )
        return Member(name, wanted, slug, now, actor.name)

    def remove(self, email: str, *, slug: str | None, actor: Actor) -> None:
        """Remove a member, or leave oneself. A project never loses its last lead or administrator."""
        name = fold(email)
        with (
            denials_logged(self._database, actor, f"remove {name[:320]}", slug),
            self._database.write() as connection,
        ):
            scope, subject = _scope(connection, slug, actor)
            before = _role_of(connection, scope, name)
            if actor.name != name:
                _require_may_manage(actor, scope, before or Role.ANALYST)
            if before is None:
                raise BadInput("There is no such member.")
            if before >= _keeper(scope):
                _require_another_keeper(connection, scope, name)
            connection.execute(delete(members).where(members.c.scope == scope, members.c.email == name))
            now = self._database.now(connection)
            audit.record(
                connection,
                now,
                actor,
                Tag.MEMBER_REMOVED,
                subject,
                before={"email": name, "role": before.name.lower()},
            )

    def list(self, *, slug: str | None, actor: Actor) -> list[Member]:
        """The members of a project, those of all projects included; by e-mail. ``slug`` None: only these."""
        with self._database.read() as connection:
            scope, _ = _scope(connection, slug, actor, lock=False)
            require(actor, Action.MANAGE_MEMBERS, None if scope == EVERYWHERE else scope)
            rows = connection.execute(
                select(members)
                .where(members.c.scope.in_({scope, EVERYWHERE}))
                .order_by(members.c.email, members.c.scope)
            ).all()
        return [_member(row, None if row.scope == EVERYWHERE else slug) for row in rows]

    def leads(self, slug: str, *, actor: Actor) -> Sequence[str]:
        """E-mails of the project's leads, for whoever may see the project: somebody has to be asked."""
        with self._database.read() as connection:
            scope, _ = _scope(connection, slug, actor, lock=False)
            leading = members.c.role.in_([Role.LEAD.name.lower(), Role.ADMIN.name.lower()])
            found = select(members.c.email).where(members.c.scope == scope, leading).order_by(members.c.email)
            return connection.execute(found).scalars().all()

    def everybody(self, *, actor: Actor) -> Sequence[Member]:
        """Every membership, by e-mail: those of all projects, and those of each real one."""
        require(actor, Action.MANAGE_MEMBERS, None)
        everyone = (
            select(members, projects.c.slug)
            .outerjoin(projects, projects.c.id == members.c.scope)
            .order_by(members.c.email, projects.c.slug)
        )
        with self._database.read() as connection:
            return [_member(row, row.slug) for row in connection.execute(everyone)]


def _member(row: AnyRow, project: str | None) -> Member:
    return Member(row.email, Role[row.role.upper()], project, row.added_at, row.added_by)


def _role(name: str) -> Role:
    try:
        return Role[name.strip().upper()]
    except KeyError:
        raise BadInput("A role is admin, lead, manager or analyst.") from None


def _scope(
    connection: Connection, slug: str | None, actor: Actor, *, lock: bool = True
) -> tuple[str, Subject | None]:
    """Where the roles hold. ``lock`` keeps others from changing them there at the same time."""
    if slug is None:
        if lock:
            connection.execute(select(deployment.c.one).with_for_update())
        return EVERYWHERE, None
    project = find(connection, slug, lock=lock)
    if not allows(actor, Action.SEE_SPEND, project.id):
        raise ProjectUnknown(slug)
    return project.id, project.subject


def _require_may_manage(actor: Actor, scope: str, role: Role) -> None:
    """Leads manage their project's members up to lead; administrators every member."""
    if scope == EVERYWHERE or role is Role.ADMIN:
        if actor.everywhere is not Role.ADMIN:
            raise Forbidden("Only administrators may do that. Ask one of them.")
        return
    require(actor, Action.MANAGE_MEMBERS, scope)


def _role_of(connection: Connection, scope: str, email: str) -> Role | None:
    name = connection.execute(
        select(members.c.role).where(members.c.scope == scope, members.c.email == email)
    ).scalar()
    return Role[name.upper()] if name else None


def _keeper(scope: str) -> Role:
    """The role that at least one person must always have: an administrator of all projects, a lead of each one."""
    return Role.ADMIN if scope == EVERYWHERE else Role.LEAD


def _require_another_keeper(connection: Connection, scope: str, email: str) -> None:
    keepers = [role.name.lower() for role in Role if role >= _keeper(scope)]
    others = connection.execute(
        select(func.count()).where(
            members.c.scope == scope, members.c.role.in_(keepers), members.c.email != email
        )
    ).scalar_one()
    if others == 0:
        what = "the last administrator of all projects" if scope == EVERYWHERE else "the project's last lead"
        raise Forbidden(f"This is {what}. Make somebody else one first.")
