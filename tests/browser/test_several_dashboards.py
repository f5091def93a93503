"""Several dashboards over one database: behind the proxies of ``deploy/``, and where a callback goes astray."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Response

from tests.browser.test_sign_in import sign_in
from tests.browser.visit import Visit
from tests.proxies import Example, caddy, nginx, round_robin, running_proxy
from tests.services import (
    SIGN_IN,
    IdentityProvider,
    _free_port,
    running_dashboard,
    running_identity_provider,
)

ADA = "ada@example.com"


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[IdentityProvider]:
    with running_identity_provider(tmp_path_factory.mktemp("provider") / "log") as running:
        running.add(ADA, email=ADA, email_verified=True, name="Ada Lovelace")
        yield running


def variables(folder: Path, provider: IdentityProvider, secret: str) -> dict[str, str]:
    """What several dashboards over one database have in common."""
    return SIGN_IN | {
        "DATABASE_URL": f"sqlite:///{folder / 'qodex.db'}",
        "QODEX_MASTER_KEY_FILE": str(folder / "master.key"),
        "QODEX_OIDC_ISSUER": provider.address,
        "QODEX_COOKIE_SECRET": secret,
        "QODEX_ADMINS": ADA,
        "AUTHLIB_INSECURE_TRANSPORT": "1",
    }


def _port(address: str) -> int:
    return int(address.rpartition(":")[2])


SECRET, OTHER = "a-cookie-secret-of-enough-characters", "another-secret-of-enough-characters!"


@pytest.mark.parametrize("example", [nginx, caddy, round_robin])
def test_people_sign_in_and_work_through_the_proxy_of_the_example(
    provider: IdentityProvider, browser: Browser, tmp_path: Path, example: Example
):
    port = _free_port()
    public = f"https://localhost:{port}"
    shared = variables(tmp_path, provider, SECRET) | {"QODEX_PUBLIC_URL": public}
    with (
        running_dashboard(shared, tmp_path / "log-1") as first,
        running_dashboard(shared, tmp_path / "log-2") as second,
        running_proxy(example, port, (_port(first), _port(second))),
    ):
        for _ in range(3):
            context = browser.new_context(ignore_https_errors=True)
            upstreams = Counter[str]()
            context.on("response", lambda answer, seen=upstreams: note_upstream(answer, public, seen))
            visit = Visit(context.new_page(), public)
            sign_in(visit.open("usage", period="7d"), ADA).sees("Ada Lovelace", ADA)
            assert "/usage?" in visit.page.url
            assert "period=7d" in visit.page.url
            for title in ("Members", "Integrations", "Overview"):
                visit.follow(title)
            assert {c["secure"] for c in context.cookies() if c["name"].startswith("qodex_")} == {True}
            context.close()
            assert example is round_robin or len(upstreams) == 1, upstreams


def note_upstream(answer: Response, public: str, seen: Counter[str]) -> None:
    """Which dashboard an answer came from, once the browser has a cookie; none is an error of a server."""
    if not answer.url.startswith(public):
        return
    assert answer.status < 500, answer.url
    if "qodex_browser" in answer.request.all_headers().get("cookie", "") and "x-upstream" in answer.headers:
        seen[answer.headers["x-upstream"]] += 1


def test_a_callback_that_lands_on_the_wrong_dashboard_says_so_and_offers_to_try_again(
    provider: IdentityProvider, page: Page, tmp_path: Path
):
    shared = variables(tmp_path, provider, SECRET)
    with ExitStack() as stack:
        right = stack.enter_context(running_dashboard(shared, tmp_path / "log-1", public_url=True))
        strange = shared | {"QODEX_PUBLIC_URL": right, "QODEX_COOKIE_SECRET": OTHER}
        wrong = stack.enter_context(running_dashboard(strange, tmp_path / "log-2"))
        started = Visit(page, wrong).open("usage", period="7d")
        started.sees("You sign in with your organisation's account").press("Sign in")
        page.get_by_placeholder("sub").fill(ADA)
        page.get_by_role("button", name="Authorize", exact=True).click()
        page.wait_for_url(f"{right}/**")
        landed = Visit(page, right).settle()
        landed.sees("The sign-in could not be completed", "Nothing is lost, try again")
        assert "/usage?period=7d&signin=lost" in page.url
        landed.press("Try again")
        page.get_by_placeholder("sub").fill(ADA)
        page.get_by_role("button", name="Authorize", exact=True).click()
        page.wait_for_url(f"{right}/**")
        Visit(page, right).settle().sees("Ada Lovelace")
        assert "signin" not in page.url
