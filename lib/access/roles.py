"""Roles and permissions: one table, pure. Each role includes what the next lower one has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum

from lib.errors import Forbidden


class Role(IntEnum):
    """What a person is in a project, or in all projects."""

    ANALYST = 1
    MANAGER = 2
    LEAD = 3
    ADMIN = 4


class Origin(StrEnum):
    """Where an action came from; every audit row says it."""

    BROWSER = "browser"
    ROUTE = "route"
    COMMAND_LINE = "command line"
    WORKER = "worker"


class Action(StrEnum):
    """Everything that is checked. The text completes "You may not …"."""

    SEE_SPEND = "see this project's spend"
    EXPORT_USAGE = "export this project's usage"
    SEE_AUDIT_LOG = "see this project's audit log"
    SET_KEY = "set this project's key"
    SET_FAILURE_POLICY = "choose what happens when this project's key fails"
    MAKE_CALLS = "make calls for this project"
    ASK_FOR_CAPS = "ask for more room for this project"
    MANAGE_MEMBERS = "change this project's members"
    CHANGE_PROJECT = "change this project's title and labels, archive or restore it"
    SHARE_VIEWS = "save views for this project's members"
    SET_ALERTS = "change this project's alerts"
    SET_PLATFORM_ALERTS = "change the platform's alerts"
    CREATE_PROJECT = "create projects"
    DELETE_PROJECT = "delete projects"
    SET_PLAN = "change plans and caps"
    IMPORT_USAGE = "import usage"
    MANAGE_MASTER_KEYS = "manage master keys"


NEEDED: Mapping[Action, Role] = {
    Action.SEE_SPEND: Role.ANALYST,
    Action.EXPORT_USAGE: Role.ANALYST,
    Action.SEE_AUDIT_LOG: Role.MANAGER,
    Action.SET_KEY: Role.LEAD,
    Action.SET_FAILURE_POLICY: Role.LEAD,
    Action.MAKE_CALLS: Role.LEAD,
    Action.ASK_FOR_CAPS: Role.LEAD,
    Action.MANAGE_MEMBERS: Role.LEAD,
    Action.CHANGE_PROJECT: Role.LEAD,
    Action.SHARE_VIEWS: Role.LEAD,
    Action.SET_ALERTS: Role.LEAD,
    Action.SET_PLATFORM_ALERTS: Role.ADMIN,
    Action.CREATE_PROJECT: Role.ADMIN,
    Action.DELETE_PROJECT: Role.ADMIN,
    Action.SET_PLAN: Role.ADMIN,
    Action.IMPORT_USAGE: Role.ADMIN,
    Action.MANAGE_MASTER_KEYS: Role.ADMIN,
}


@dataclass(frozen=True)
class Actor:
    """The person or process that acts.

    Args:
        name: an e-mail, or what stands for one: ``local``, ``worker``.
        origin: where the action came from.
        everywhere: the role in all projects, None for none.
        projects: project id -> role, for those where it is higher.
    """

    name: str
    origin: Origin
    everywhere: Role | None = None
    projects: Mapping[str, Role] = field(default_factory=dict)

    def role_in(self, project_id: str | None) -> Role | None:
        """The highest role in that project; in no particular one where ``project_id`` is None."""
        roles = [self.everywhere, self.projects.get(project_id) if project_id else None]
        return max((role for role in roles if role is not None), default=None)


def allows(actor: Actor, action: Action, project_id: str | None) -> bool:
    """Whether ``actor`` may do ``action`` in the project (None: in the organisation as a whole)."""
    role = actor.role_in(project_id)
    return role is not None and role >= NEEDED[action]


def require(actor: Actor, action: Action, project_id: str | None) -> None:
    """Raise Forbidden unless ``actor`` may do ``action`` there. Called by the function that acts."""
    if not allows(actor, action, project_id):
        raise Forbidden(
            f"You may not {action.value}. That takes the role {NEEDED[action].name.lower()}; "
            "ask a lead of the project or an administrator."
        )


def local_administrator(origin: Origin, name: str = "local") -> Actor:
    """A person or program that can run code on this machine, when no identity provider is configured."""
    return Actor(name=name, origin=origin, everywhere=Role.ADMIN)
