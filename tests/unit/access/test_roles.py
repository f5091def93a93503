"""Who may do what: the whole matrix, written out apart from the code it checks."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import pytest

from lib.access.roles import Action, Actor, Origin, Role, allows, local_administrator, require
from lib.errors import Forbidden

NOBODY, ANALYST, MANAGER, LEAD, ADMIN = None, Role.ANALYST, Role.MANAGER, Role.LEAD, Role.ADMIN
ROLES = (NOBODY, ANALYST, MANAGER, LEAD, ADMIN)
OWN, OTHER, ORGANISATION = "own-id", "other-id", None

# Who may, in a project where they have the role.
MATRIX = {
    Action.SEE_SPEND: (ANALYST, MANAGER, LEAD, ADMIN),
    Action.EXPORT_USAGE: (ANALYST, MANAGER, LEAD, ADMIN),
    Action.SEE_AUDIT_LOG: (MANAGER, LEAD, ADMIN),
    Action.SET_KEY: (LEAD, ADMIN),
    Action.SET_FAILURE_POLICY: (LEAD, ADMIN),
    Action.MAKE_CALLS: (LEAD, ADMIN),
    Action.ASK_FOR_CAPS: (LEAD, ADMIN),
    Action.MANAGE_MEMBERS: (LEAD, ADMIN),
    Action.CHANGE_PROJECT: (LEAD, ADMIN),
    Action.SHARE_VIEWS: (LEAD, ADMIN),
    Action.SET_ALERTS: (LEAD, ADMIN),
    Action.SET_PLATFORM_ALERTS: (ADMIN,),
    Action.CREATE_PROJECT: (ADMIN,),
    Action.DELETE_PROJECT: (ADMIN,),
    Action.SET_PLAN: (ADMIN,),
    Action.IMPORT_USAGE: (ADMIN,),
    Action.MANAGE_MASTER_KEYS: (ADMIN,),
}
CELLS = [(action, role) for action in Action for role in ROLES]


def member(role: Role | None) -> Actor:
    """Somebody with a role in their own project and none elsewhere."""
    return Actor("ada@example.com", Origin.BROWSER, projects={OWN: role} if role else {})


def of_all(role: Role | None) -> Actor:
    """Somebody with a role in all projects."""
    return Actor("ada@example.com", Origin.BROWSER, everywhere=role)


def test_the_matrix_has_a_row_for_every_action():
    assert set(MATRIX) == set(Action)


def wrong_cells(may: Callable[[Action, Role | None], bool]) -> list[str]:
    """Where an answer is not that of the matrix."""
    return [
        f"{role.name.lower() if role else 'nobody'} may {action.value}"
        for action, role in CELLS
        if may(action, role) is not (role in MATRIX[action])
    ]


def test_in_the_own_project():
    assert wrong_cells(lambda action, role: allows(member(role), action, OWN)) == []


def test_a_role_in_one_project_is_none_anywhere_else():
    places = [OTHER, ORGANISATION, "", "OWN-ID", "own-id "]
    assert [
        (action, role, place)
        for action, role in CELLS
        for place in places
        if allows(member(role), action, place)
    ] == []


@pytest.mark.parametrize("place", [OWN, OTHER, ORGANISATION], ids=repr)
def test_a_role_in_all_projects_holds_in_each_and_in_the_organisation(place: str | None):
    assert wrong_cells(lambda action, role: allows(of_all(role), action, place)) == []


def test_of_two_roles_the_higher_one_counts():
    for everywhere, here in product(ROLES, ROLES):
        actor = Actor("ada@example.com", Origin.BROWSER, everywhere, {OWN: here} if here else {})
        assert actor.role_in(OWN) == max([everywhere, here], key=lambda role: role or 0)
        assert actor.role_in(OTHER) == everywhere


def test_what_is_not_allowed_is_refused_with_the_role_it_takes():
    for action, role in CELLS:
        if role in MATRIX[action]:
            require(member(role), action, OWN)
            continue
        with pytest.raises(Forbidden) as refusal:
            require(member(role), action, OWN)
        needed = MATRIX[action][0].name.lower()
        assert str(refusal.value).startswith(f"You may not {action.value}. That takes the role {needed};")


def test_whoever_runs_code_on_this_machine_is_an_administrator_and_the_log_says_from_where():
    actor = local_administrator(Origin.COMMAND_LINE)
    assert (actor.name, actor.origin, actor.role_in(OTHER)) == ("local", Origin.COMMAND_LINE, Role.ADMIN)


def test_a_role_cannot_be_taken_after_the_fact():
    with pytest.raises(AttributeError):
        member(ANALYST).everywhere = ADMIN
