"""The permission matrix where it counts: in the functions that act, on the pages, on the command line."""

from __future__ import annotations

import contextlib
import io
import time
from collections.abc import Callable

import pytest
from click.testing import CliRunner
from streamlit.testing.v1 import AppTest
from streamlit.util import calc_hash

from lib.access.auditlog import AuditFilter
from lib.access.roles import Action, Actor, Origin, Role, allows, local_administrator
from lib.cli import cli
from lib.errors import BadInput, Forbidden, MasterKeyInUse, ProjectUnknown
from lib.exchange.export import export_usage
from lib.exchange.imports.import_usage import import_usage
from lib.platform import Platform
from lib.reports.models import UsageFilter
from lib.runs.log import RunFilter
from lib.secret import Secret
from lib.settings import Settings
from lib.ui.base.server import real_front_door
from tests.pages import PAGES, Dashboard, buttons, from_main, texts
from tests.services import SIGN_IN
from tests.upstream import GOOD_KEY

pytestmark = pytest.mark.parametrize("database_kind", ["sqlite"])

ROOT = local_administrator(Origin.COMMAND_LINE, "operator")
ROLES = (None, Role.ANALYST, Role.MANAGER, Role.LEAD, Role.ADMIN)
EVERYWHERE = (
    Action.CREATE_PROJECT,
    Action.SET_PLAN,
    Action.IMPORT_USAGE,
    Action.MANAGE_MASTER_KEYS,
    Action.SET_PLATFORM_ALERTS,
)
"""What is the organisation's: a role in one project is not enough."""

Act = Callable[[Platform, str, Actor], object]


def _retire(it: Platform, slug: str, who: Actor) -> None:
    """Allowed or not; that the key in use never goes is another test's matter."""
    with contextlib.suppress(MasterKeyInUse):
        it.masters.retire(it.keyring.first.id, actor=who)


_LATER = 4_000_000_000_000_000


def _request(it: Platform, slug: str) -> str:
    """The id of what a lead has asked for."""
    return it.cap_requests.waiting(slug=slug, actor=ROOT)[0].request_id


def _end_caps(it: Platform, slug: str, who: Actor) -> None:
    """Allowed or not; that there have to be some is another test's matter."""
    with contextlib.suppress(BadInput):
        it.plans.end_override(slug, actor=who)


FUNCTIONS: dict[str, tuple[Action, Act]] = {
    "see a project": (Action.SEE_SPEND, lambda it, slug, who: it.projects.get(slug, actor=who)),
    "see its key": (Action.SEE_SPEND, lambda it, slug, who: it.keys.describe(slug, actor=who)),
    "see its caps": (Action.SEE_SPEND, lambda it, slug, who: it.caps.headroom(slug, actor=who)),
    "see its runs": (
        Action.SEE_SPEND,
        lambda it, slug, who: it.runs.list(RunFilter(projects=(slug,)), actor=who),
    ),
    "see its spend": (
        Action.SEE_SPEND,
        lambda it, slug, who: it.reports.totals(UsageFilter(projects=(slug,)), actor=who),
    ),
    "export its usage": (
        Action.EXPORT_USAGE,
        lambda it, slug, who: export_usage(
            it.database, UsageFilter(projects=(slug,)), io.BytesIO(), actor=who
        ),
    ),
    "see its audit log": (
        Action.SEE_AUDIT_LOG,
        lambda it, slug, who: it.audit.list(AuditFilter(projects=(slug,)), actor=who),
    ),
    "save its key": (Action.SET_KEY, lambda it, slug, who: it.keys.save(slug, GOOD_KEY, actor=who)),
    "check its key": (Action.SET_KEY, lambda it, slug, who: it.keys.check(slug, actor=who)),
    "remove its key": (Action.SET_KEY, lambda it, slug, who: it.keys.remove(slug, actor=who)),
    "choose the failure policy": (
        Action.SET_FAILURE_POLICY,
        lambda it, slug, who: it.projects.set_policy(slug, "platform", actor=who),
    ),
    "start a run": (Action.MAKE_CALLS, lambda it, slug, who: it.run(slug, actor=who)),
    "add a member": (
        Action.MANAGE_MEMBERS,
        lambda it, slug, who: it.members.put("new@example.com", "lead", slug=slug, actor=who),
    ),
    "remove a member": (
        Action.MANAGE_MEMBERS,
        lambda it, slug, who: it.members.remove("old@example.com", slug=slug, actor=who),
    ),
    "see the members": (Action.MANAGE_MEMBERS, lambda it, slug, who: it.members.list(slug=slug, actor=who)),
    "see what was told": (Action.SEE_SPEND, lambda it, slug, who: it.alerts.history.recent(slug, actor=who)),
    "see its channels": (Action.SET_ALERTS, lambda it, slug, who: it.alerts.channels.list(slug, actor=who)),
    "add a channel": (
        Action.SET_ALERTS,
        lambda it, slug, who: it.alerts.channels.add(slug, "email", Secret("a@example.com"), actor=who),
    ),
    "change its alerts": (
        Action.SET_ALERTS,
        lambda it, slug, who: it.alerts.preferences.set(slug, percents=[50], quiet=None, actor=who),
    ),
    "mute an alert": (
        Action.SET_ALERTS,
        lambda it, slug, who: it.alerts.preferences.mute(slug, "key.old", None, actor=who),
    ),
    "add a channel of the platform": (
        Action.SET_PLATFORM_ALERTS,
        lambda it, slug, who: it.alerts.channels.add(None, "email", Secret("a@example.com"), actor=who),
    ),
    "create a project": (Action.CREATE_PROJECT, lambda it, slug, who: it.projects.add("another", actor=who)),
    "change the title": (
        Action.CHANGE_PROJECT,
        lambda it, slug, who: it.project_changes.describe(slug, title="Another", actor=who),
    ),
    "set a label": (
        Action.CHANGE_PROJECT,
        lambda it, slug, who: it.project_changes.describe(slug, labels={"team": "a"}, actor=who),
    ),
    "share a view": (
        Action.SHARE_VIEWS,
        lambda it, slug, who: it.saved_views.save("Ours", page="usage", query="", slug=slug, actor=who),
    ),
    "archive the project": (
        Action.CHANGE_PROJECT,
        lambda it, slug, who: it.project_changes.archive(slug, actor=who),
    ),
    "delete the project": (
        Action.DELETE_PROJECT,
        lambda it, slug, who: it.project_changes.delete(slug, actor=who),
    ),
    "see the leads": (Action.SEE_SPEND, lambda it, slug, who: it.members.leads(slug, actor=who)),
    "see the labels": (Action.SEE_SPEND, lambda it, slug, who: it.project_changes.labels(slug, actor=who)),
    "choose the plan": (Action.SET_PLAN, lambda it, slug, who: it.projects.set_plan(slug, "Team", actor=who)),
    "change a plan": (
        Action.SET_PLAN,
        lambda it, slug, who: it.plans.set("Team", cap_5h_nano=1, cap_7d_nano=2, actor=who),
    ),
    "change the caps": (
        Action.SET_PLAN,
        lambda it, slug, who: it.plans.set_caps(
            slug, cap_5h_nano=1, cap_7d_nano=2, reason="A test", actor=who
        ),
    ),
    "end its own caps": (Action.SET_PLAN, _end_caps),
    "ask for more room": (
        Action.ASK_FOR_CAPS,
        lambda it, slug, who: it.cap_requests.ask(
            slug, cap_5h_nano=1, cap_7d_nano=2, until=_LATER, reason="A test", actor=who
        ),
    ),
    "approve more room": (
        Action.SET_PLAN,
        lambda it, slug, who: it.cap_requests.approve(
            slug, _request(it, slug), cap_5h_nano=1, cap_7d_nano=2, until=_LATER, actor=who
        ),
    ),
    "decline more room": (
        Action.SET_PLAN,
        lambda it, slug, who: it.cap_requests.decline(slug, _request(it, slug), answer="No", actor=who),
    ),
    "import usage": (
        Action.IMPORT_USAGE,
        lambda it, slug, who: import_usage(
            it.database, it.prices, io.BytesIO(_CSV), name="usage.csv", actor=who
        ),
    ),
    "see the master keys": (Action.MANAGE_MASTER_KEYS, lambda it, slug, who: it.masters.status(actor=who)),
    "make a master key": (Action.MANAGE_MASTER_KEYS, lambda it, slug, who: it.masters.create(actor=who)),
    "rotate the master key": (Action.MANAGE_MASTER_KEYS, lambda it, slug, who: it.masters.rotate(actor=who)),
    "retire a master key": (Action.MANAGE_MASTER_KEYS, _retire),
}
_CSV = b"occurred_at,project,model,input_tokens,output_tokens\n2026-05-01T12:00:00Z,own,gpt-5-mini,1000,100\n"


@pytest.fixture
def org(platform: Platform) -> Platform:
    """The projects ``own`` and ``other``, each with a member to remove."""
    for slug in ("own", "other"):
        platform.projects.add(slug, actor=ROOT)
        platform.members.put("old@example.com", "analyst", slug=slug, actor=ROOT)
        platform.members.put("stays@example.com", "lead", slug=slug, actor=ROOT)
        platform.plans.set_caps(slug, cap_5h_nano=1, cap_7d_nano=2, reason="A test", actor=ROOT)
        platform.cap_requests.ask(
            slug, cap_5h_nano=1, cap_7d_nano=2, until=_LATER, reason="A test", actor=ROOT
        )
    return platform


def member(org: Platform, role: Role | None, *, everywhere: bool = False) -> Actor:
    """Somebody new with that role in ``own``, or in all projects."""
    email = f"{role.name.lower() if role else 'nobody'}@example.com"
    if role:
        org.members.put(email, role.name, slug=None if everywhere else "own", actor=ROOT)
    return org.members.actor(email, Origin.BROWSER)


def changes(org: Platform) -> int:
    """How many rows the audit log has, apart from refused attempts."""
    rows, total = org.audit.list(AuditFilter(limit=1_000), actor=ROOT)
    return total - sum(row.action == "access:refused" for row in rows)


# --- functions -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FUNCTIONS)
def test_in_the_own_project_each_role_can_do_exactly_its_part(org: Platform, name: str):
    action, act = FUNCTIONS[name]
    for role in ROLES:
        who = member(org, role)
        before = changes(org)
        project = None if action in EVERYWHERE else org.projects.get("own", actor=ROOT).id
        if allows(who, action, project):
            act(org, "own", who)
            return  # higher roles include it; the pure matrix says so
        with pytest.raises((Forbidden, ProjectUnknown)):
            act(org, "own", who)
        assert changes(org) == before
    assert action in EVERYWHERE


@pytest.mark.parametrize("name", FUNCTIONS)
def test_in_another_project_the_highest_role_of_ones_own_does_nothing(org: Platform, name: str):
    action, act = FUNCTIONS[name]
    who = member(org, Role.ADMIN)
    before = changes(org)
    with pytest.raises(Forbidden if action in EVERYWHERE else ProjectUnknown):
        act(org, "other", who)
    assert changes(org) == before


@pytest.mark.parametrize("name", FUNCTIONS)
def test_an_administrator_of_all_projects_does_everything_everywhere(org: Platform, name: str):
    FUNCTIONS[name][1](org, "other", member(org, Role.ADMIN, everywhere=True))


@pytest.mark.parametrize(
    "name", [name for name, (action, _) in FUNCTIONS.items() if action is not Action.SEE_SPEND]
)
def test_what_an_analyst_tries_and_may_not_is_in_the_audit_log(org: Platform, name: str):
    action, act = FUNCTIONS[name]
    who = member(org, Role.ANALYST)
    if allows(who, action, org.projects.get("own", actor=ROOT).id):
        return
    with pytest.raises((Forbidden, ProjectUnknown)):
        act(org, "own", who)
    rows, total = org.audit.list(AuditFilter(actions=("access:refused",)), actor=ROOT)
    reading = action is Action.SEE_AUDIT_LOG or name in {"see the members", "see its channels"}
    assert [row.actor for row in rows] == ([] if reading else [who.name]), total


# --- pages -----------------------------------------------------------------------------------------

NEEDED = {
    "overview": Role.ANALYST,
    "run_logs": Role.ANALYST,
    "integrations": Role.ANALYST,
    "usage": Role.ANALYST,
    "plan": Role.ANALYST,
    "project": Role.ANALYST,
    "guide": Role.ANALYST,
    "alerts": Role.ANALYST,
    "members": Role.LEAD,
    "audit_log": Role.MANAGER,
}


@pytest.fixture
def signed_in(dashboard: Dashboard, org: Platform, monkeypatch: pytest.MonkeyPatch) -> Platform:
    """The pages as somebody sees them who came through the identity provider."""
    for name, value in SIGN_IN.items():
        monkeypatch.setenv(name, value)
    real_front_door.clear()
    return org


def visit(email: str | None, name: str, **address: str) -> AppTest:
    """Open a page with the token of ``email``, or of nobody."""
    page = from_main()
    page._page_hash = calc_hash(name)
    page.user = claims(email) if email else {"is_logged_in": False}
    for parameter, value in address.items():
        page.query_params[parameter] = value
    return page.run()


def claims(email: str, **more: object) -> dict[str, object]:
    now = int(time.time())
    return {
        "is_logged_in": True,
        "iss": SIGN_IN["QODEX_OIDC_ISSUER"],
        "aud": SIGN_IN["QODEX_OIDC_CLIENT_ID"],
        "sub": email,
        "email": email,
        "email_verified": True,
        "iat": now - 10,
        "exp": now + 300,
        "nonce": "n",
    } | more


def said(page: AppTest) -> str:
    assert not page.exception
    return texts(page)


@pytest.mark.parametrize("name", PAGES)
def test_on_a_cold_server_a_page_shows_the_gate_to_whoever_has_not_signed_in(signed_in: Platform, name: str):
    page = visit(None, name, project="own")
    assert "Sign in" in buttons(page)
    assert [title.value for title in page.title] == ["Sign in"]
    assert "own" not in said(page).replace("your own", "")


@pytest.mark.parametrize("name", PAGES)
def test_each_page_opens_for_the_roles_it_is_for_and_for_no_other(signed_in: Platform, name: str):
    for role in ROLES:
        who = member(signed_in, role)
        page = visit(who.name, name, project="own")
        shown = said(page)
        if role is None:
            assert "No access yet" in shown
        elif role < NEEDED[name]:
            assert "You may not" in shown
        else:
            assert "You may not" not in shown
            assert not page.error
            return


@pytest.mark.parametrize("name", PAGES)
def test_another_project_is_not_shown_whatever_the_address_says(signed_in: Platform, name: str):
    signed_in.projects.add("hidden-one", actor=ROOT)
    who = member(signed_in, Role.LEAD)
    shown = said(visit(who.name, name, project="hidden-one"))
    assert "hidden-one" not in shown
    assert f"{who.name}" in shown


def test_who_may_look_is_offered_nothing_to_change(signed_in: Platform):
    who = member(signed_in, Role.MANAGER)
    for name in ("integrations", "plan", "alerts", "overview"):
        page = visit(who.name, name, project="own")
        offered = {button.label for button in page.button if not button.disabled}
        assert not offered & {
            "Add your key",
            "Replace",
            "Check again",
            "Create a project",
            "Add a member",
            "Add a channel",
            "Save",
            "Send again",
        }
        assert name == "overview" or "Send a test call" not in offered


def test_a_removed_member_is_out_at_the_next_click_and_a_lower_role_counts_at_once(signed_in: Platform):
    who = member(signed_in, Role.LEAD)
    page = visit(who.name, "members", project="own")
    assert "Add a member" in buttons(page)
    signed_in.members.put(who.name, "analyst", slug="own", actor=ROOT)
    assert "You may not" in said(page.run())
    signed_in.members.remove(who.name, slug="own", actor=ROOT)
    assert "No access yet" in said(page.run())


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({"iat": 1_700_000_000}, "Your session is over"),
        ({"exp": 1_700_000_000}, "expired"),
        ({"email_verified": False}, "not verified"),
        ({"iss": "https://evil.example"}, "another application"),
        ({"aud": "wiki"}, "another application"),
        ({"is_logged_in": "yes"}, "You sign in with your organisation's account"),
    ],
)
def test_a_token_that_is_not_good_enough_ends_at_the_gate(
    signed_in: Platform, more: dict[str, object], sentence: str
):
    who = member(signed_in, Role.LEAD)
    page = from_main()
    page.user = claims(who.name, **more)
    page.run()
    assert sentence in said(page)
    assert "Sign in" in buttons(page)
    assert "own" not in [each.label for each in page.selectbox]


def test_the_sidebar_offers_the_pages_of_the_role(signed_in: Platform):
    common = {"Overview", "Run logs", "Integrations", "Usage", "Plan", "Project", "Alerts", "Guide"}
    more: set[str] = set()
    for role, page in ((Role.ANALYST, None), (Role.MANAGER, "Audit log"), (Role.LEAD, "Members")):
        more |= {page} if page else set()
        links = visit(member(signed_in, role).name, "overview").sidebar.get("page_link")
        assert {link.proto.label for link in links} == common | more


def test_the_sidebar_says_who_is_signed_in_as_what(signed_in: Platform):
    who = member(signed_in, Role.LEAD)
    signed_in.members.put(who.name, "analyst", slug="other", actor=ROOT)
    page = visit(who.name, "overview")
    assert "lead in 1 project, analyst in 1 project" in said(page)
    assert "Local mode" not in said(page)
    assert "Sign out" in buttons(page)


def test_signing_out_ends_the_session_of_every_tab(signed_in: Platform):
    who = member(signed_in, Role.LEAD)
    token = claims(who.name)
    tabs = []
    for name in ("usage", "members"):
        tab = from_main()
        tab._page_hash = calc_hash(name)
        tab.user = dict(token)
        tabs.append(tab.run())
    tabs[0].button(key="sign_out").click().run()
    assert "Sign in" in buttons(tabs[0])
    assert "You signed out" in said(tabs[1].run())


# --- the command line ------------------------------------------------------------------------------


def test_whoever_runs_code_on_the_server_is_an_administrator_and_the_log_says_from_where(
    org: Platform, settings: Settings
):
    assert settings.master_keys
    environment = SIGN_IN | {
        "DATABASE_URL": settings.database_url,
        "QODEX_MASTER_KEYS": settings.master_keys.reveal(),
    }
    words = ("members", "add", "--all-projects", "root@example.com", "--role", "admin")
    result = CliRunner().invoke(cli, words, env=environment)
    assert result.exit_code == 0, result.output
    rows, _ = org.audit.list(AuditFilter(actions=("member",), limit=1), actor=ROOT)
    assert (rows[0].origin, rows[0].after) == (
        "command line",
        '{"email": "root@example.com", "role": "admin"}',
    )


def test_with_sign_in_what_names_no_actor_is_done_by_nobody(signed_in: Platform):
    with pytest.raises(ProjectUnknown):
        real_front_door().keys.save("own", GOOD_KEY)
    with pytest.raises(ProjectUnknown):
        real_front_door().run("own")
