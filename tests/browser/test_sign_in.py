"""Signing in with a real identity provider on this machine, in a real browser."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import count
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Browser, Page

from tests.browser.visit import PATIENCE, Served, Visit, served
from tests.services import IdentityProvider, running_identity_provider

if TYPE_CHECKING:
    from lib.access.auditlog import AuditRow

ADMIN = "root@example.com"
NOW = int(time.time())
_numbers = count(1)


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[IdentityProvider]:
    with running_identity_provider(tmp_path_factory.mktemp("provider") / "provider.log") as running:
        yield running


@pytest.fixture(scope="module")
def dashboard(provider: IdentityProvider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    sign_in = {
        "QODEX_OIDC_ISSUER": provider.address,
        "QODEX_OIDC_CLIENT_ID": "qodex",
        "QODEX_OIDC_CLIENT_SECRET": "client-secret",
        "QODEX_COOKIE_SECRET": "a-cookie-secret-of-enough-characters",
        "QODEX_EMAIL_DOMAINS": "example.com",
        "QODEX_SESSION_HOURS": "2",
        "QODEX_ADMINS": ADMIN,
        # The provider of these tests speaks http.
        "AUTHLIB_INSECURE_TRANSPORT": "1",
    }
    with served(tmp_path_factory.mktemp("dashboard"), sign_in=sign_in) as running:
        running.platform.projects.add("shop", actor=running.platform.actor)
        running.platform.projects.add("search", actor=running.platform.actor)
        yield running


@pytest.fixture
def visit(dashboard: Served, page: Page) -> Visit:
    """A tab in a browser that was never here."""
    return Visit(page, dashboard.address)


@pytest.fixture
def person(provider: IdentityProvider) -> str:
    """Somebody new, whom the provider knows."""
    email = f"ada{next(_numbers)}@example.com"
    provider.add(email, email=email, email_verified=True, name="Ada Lovelace")
    return email


def lead(dashboard: Served, email: str, role: str = "lead", slug: str = "shop") -> str:
    dashboard.platform.members.put(email, role, slug=slug, actor=dashboard.platform.actor)
    return email


def sign_in(visit: Visit, email: str) -> Visit:
    """From the gate through the provider's page and back."""
    visit.sees("You sign in with your organisation's account").press("Sign in")
    visit.page.get_by_placeholder("sub").fill(email)
    visit.page.get_by_role("button", name="Authorize", exact=True).click()
    visit.page.wait_for_url(f"{visit.address}/**")
    return visit.settle()


def logged(dashboard: Served, *actions: str) -> list[AuditRow]:
    from lib.access.auditlog import AuditFilter

    return dashboard.platform.audit.list(AuditFilter(actions=actions), actor=dashboard.platform.actor)[0]


def test_one_signs_in_arrives_at_the_wanted_address_and_signs_out(
    dashboard: Served, visit: Visit, person: str
):
    lead(dashboard, person)
    visit.open("usage", project="shop", period="7d").sees_no("shop", "Overview", "Integrations")
    sign_in(visit, person).sees("Usage", "Ada Lovelace", person, "lead in 1 project")
    arrived = urlsplit(visit.page.url)
    assert arrived.path == "/usage"
    assert parse_qs(arrived.query) | {"project": ["shop"], "period": ["7d"]} == parse_qs(arrived.query)
    visit.follow("Integrations").sees("OpenAI API key")
    visit.press("Sign out")
    visit.page.get_by_role("button", name="End session").or_(
        visit.page.get_by_role("button", name="Sign in", exact=True)
    ).first.wait_for(timeout=PATIENCE)
    visit.open("usage").sees("Sign in", "may go on").sees_no("Ada Lovelace")
    assert [row.actor for row in logged(dashboard, "signin:ended")][:1] == [person]


def test_the_cookies_are_out_of_reach_for_scripts(dashboard: Served, visit: Visit, person: str):
    lead(dashboard, person)
    sign_in(visit.open(), person)
    cookies = {cookie["name"]: cookie for cookie in visit.page.context.cookies()}
    assert cookies["_streamlit_user"]["httpOnly"] is True
    assert cookies["_streamlit_user"]["sameSite"] == "Lax"
    assert "qodex_wanted" not in cookies


@pytest.mark.parametrize(
    ("claims", "sentence"),
    [
        ({"email": "eve@elsewhere.example", "email_verified": True}, "not of a domain that may sign in"),
        ({"email": "eve@example.com", "email_verified": False}, "is not verified"),
        ({"email": "eve@example.com"}, "does not say whether your e-mail address is verified"),
        ({"email": "eve@example.com", "email_verified": "true"}, "is not verified"),
        ({"email_verified": True}, "does not tell your e-mail address"),
        ({"email": ADMIN, "email_verified": False}, "is not verified"),
        ({"email": ADMIN, "email_verified": True, "exp": -30}, "has expired"),
    ],
    ids=["wrong domain", "unverified", "no word on it", "only text", "no e-mail", "administrator", "expired"],
)
def test_whom_the_providers_word_does_not_let_in_sees_why_and_nothing_else(
    dashboard: Served, provider: IdentityProvider, visit: Visit, claims: dict[str, object], sentence: str
):
    if (
        "exp" in claims
    ):  # seconds from now; much longer ago, and the library under Streamlit refuses it by itself
        claims = {**claims, "exp": int(time.time()) + int(str(claims["exp"]))}
    provider.add("eve", **claims)
    sign_in(visit.open("members"), "eve").sees(sentence, "Sign in with another account")
    visit.sees_no("shop", "Integrations", "Signed in")
    assert sentence in (logged(dashboard, "signin:refused")[0].after or "")


def test_a_session_that_is_too_old_ends_at_the_gate(
    dashboard: Served, provider: IdentityProvider, visit: Visit, person: str
):
    lead(dashboard, person)
    provider.add(person, email=person, email_verified=True, iat=NOW - 3 * 3600)
    sign_in(visit.open("usage"), person).sees("Your session is over: it lasts 2 hours at most")
    visit.sees_no("shop", "Integrations", "Signed in")


def test_somebody_without_a_role_is_told_whom_to_ask(dashboard: Served, visit: Visit, person: str):
    sign_in(visit.open(), person).sees("No access yet", ADMIN, person, "Sign out").sees_no("shop", "Usage")
    lead(dashboard, person, "analyst")
    visit.page.reload()
    visit.sees("Spend overview", "analyst in 1 project")


def test_the_first_administrator_comes_from_the_environment(
    dashboard: Served, provider: IdentityProvider, visit: Visit
):
    provider.add("root", email="Root@Example.com", email_verified=True)
    sign_in(visit.open("members", project="search"), "root").sees("admin in all projects", "Add a member")


def test_a_member_removed_while_a_tab_is_open_is_out_at_the_next_click(
    dashboard: Served, visit: Visit, person: str
):
    lead(dashboard, person)
    sign_in(visit.open("integrations", project="shop"), person).sees("Add your key")
    dashboard.platform.members.put("other@example.com", "lead", slug="shop", actor=dashboard.platform.actor)
    dashboard.platform.members.remove(person, slug="shop", actor=dashboard.platform.actor)
    visit.press("Add your key").sees("No access yet").sees_no("New OpenAI API key", "shop")


def test_a_role_lowered_while_a_dialog_is_open_saves_no_key(dashboard: Served, visit: Visit, person: str):
    lead(dashboard, person)
    lead(dashboard, "other@example.com")
    dashboard.upstream.keys["sk-test-lowered-role-0001"] = "good"
    sign_in(visit.open("integrations", project="shop"), person).press("Add your key")
    visit.fill("New OpenAI API key", "sk-test-lowered-role-0001")
    lead(dashboard, person, "analyst")
    visit.press("Check and save").sees("You may not")
    assert dashboard.platform.keys.describe("shop").status == "none"


def test_who_signs_out_in_one_tab_is_out_in_the_other_at_the_next_click(
    dashboard: Served, visit: Visit, person: str
):
    lead(dashboard, person)
    sign_in(visit.open("usage", project="shop"), person)
    other = Visit(visit.page.context.new_page(), dashboard.address)
    other.open("integrations", project="shop").sees("Add your key")
    visit.press("Sign out").page.wait_for_url(lambda url: "/usage" not in url)
    other.follow("Usage").sees("You signed out", "Sign in").sees_no("Ada Lovelace")
    sign_in(other, person).sees("Usage", "Ada Lovelace")
    assert urlsplit(other.page.url).path == "/usage"


def test_a_cookie_kept_from_before_signing_out_opens_nothing(
    dashboard: Served, browser: Browser, visit: Visit, person: str
):
    lead(dashboard, person)
    sign_in(visit.open("usage"), person)
    stolen = visit.page.context.cookies()
    visit.press("Sign out").page.wait_for_url(lambda url: "/usage" not in url)
    context = browser.new_context()
    context.add_cookies(stolen)
    thief = Visit(context.new_page(), dashboard.address)
    thief.open("usage").sees("You signed out", "Sign in").sees_no("Ada Lovelace")
    context.close()


def test_a_forged_cookie_is_nobody(dashboard: Served, visit: Visit, person: str):
    lead(dashboard, person)
    sign_in(visit.open("usage"), person)
    cookies = visit.page.context.cookies()
    for cookie in cookies:
        if cookie["name"] == "_streamlit_user":
            cookie["value"] = cookie["value"][:-4] + "AAAA"
    visit.page.context.clear_cookies()
    visit.page.context.add_cookies(cookies)
    visit.open("usage").sees("You sign in with your organisation's account").sees_no("Ada Lovelace")


def test_a_header_that_names_somebody_is_not_believed(dashboard: Served, browser: Browser):
    names = (
        "X-Forwarded-Email",
        "X-Forwarded-User",
        "X-Auth-Request-Email",
        "Remote-User",
        "X-Streamlit-User",
    )
    context = browser.new_context(extra_http_headers=dict.fromkeys(names, ADMIN))
    visit = Visit(context.new_page(), dashboard.address)
    visit.open("members").sees("You sign in with your organisation's account").sees_no(ADMIN, "Integrations")
    context.close()


def test_a_denial_at_the_provider_comes_back_to_the_gate(dashboard: Served, page: Page):
    visit = Visit(page, dashboard.address)
    visit.open("usage").press("Sign in")
    page.get_by_role("button", name="Deny").click()
    page.wait_for_url(f"{dashboard.address}/**")
    visit.sees("You sign in with your organisation's account")
