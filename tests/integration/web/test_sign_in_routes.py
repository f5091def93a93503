"""Around the sign-in routes: the way back, cookies, and the names under which a public server answers."""

from __future__ import annotations

import base64
import http.client
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from urllib.parse import urlsplit

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from lib.ui.base import navigation
from lib.web.routes import middleware
from tests.services import ROOT, SIGN_IN, running_dashboard

HERE = "http://localhost:8501"

# --- the way back ----------------------------------------------------------------------------------


def client(*, https: bool = False, answer: str = "/") -> TestClient:
    """Streamlit's two routes, as far as they matter here, behind our middleware."""

    async def login(_: Request) -> Response:
        return RedirectResponse("https://login.example/authorize", 302)

    async def callback(_: Request) -> Response:
        redirect = RedirectResponse(answer, 302)
        redirect.set_cookie("_streamlit_user", "signed", httponly=True, samesite="lax")
        return redirect

    routes = [Route("/auth/login", login), Route("/oauth2callback", callback)]
    inside = middleware(["localhost"], pages=navigation.paths(), https=https)
    return TestClient(Starlette(routes=routes, middleware=inside), base_url=HERE, follow_redirects=False)


def arrive(referrer: str | None) -> str:
    """Where one arrives who pressed the button at that address."""
    with client() as asked:
        asked.get("/auth/login", headers={"Referer": referrer} if referrer else {})
        return asked.get("/oauth2callback").headers["location"]


@pytest.mark.parametrize(
    "address",
    ["/usage", "/usage?project=shop&period=7d", "/?project=a&project=b", "/run_logs?run=r-1&q=%C3%A9+%26"],
)
def test_one_arrives_where_one_wanted(address: str):
    assert arrive(HERE + address) == address


@pytest.mark.parametrize(
    "referrer",
    [
        None,
        "https://evil.example/usage",
        "http://localhost:9999/usage",
        "http://localhost:8501@evil.example/usage",
        f"{HERE}//evil.example/usage",
        f"{HERE}/\\evil.example",
        f"{HERE}/auth/logout",
        f"{HERE}/nowhere",
        f"{HERE}/usage?q={'x' * 2_000}",
        "http://[",
        "/usage",
    ],
)
def test_any_other_address_leads_to_the_first_page(referrer: str | None):
    assert arrive(referrer) == "/"


@pytest.mark.parametrize(
    "value",
    [
        "https%3A%2F%2Fevil.example",
        "%2F%2Fevil.example",
        "%2F%5Cevil.example",
        "%2Fauth%2Flogout",
        "%00",
        '"',
    ],
)
def test_a_forged_cookie_leads_to_the_first_page(value: str):
    with client() as asked:
        answer = asked.get("/oauth2callback", headers={"Cookie": f"qodex_wanted={value}"})
        assert answer.headers["location"] == "/"


def test_a_forged_cookie_cannot_write_headers():
    with client() as asked:
        answer = asked.get(
            "/oauth2callback", headers={"Cookie": "qodex_wanted=%2Fusage%3Fa%3Db%0D%0AX-Evil%3A1"}
        )
        assert answer.headers["location"] == "/usage?a=b%0D%0AX-Evil%3A1"
        assert "x-evil" not in answer.headers


def test_the_way_back_is_gone_once_it_was_taken_and_no_other_redirect_is_touched():
    with client() as asked:
        asked.get("/auth/login", headers={"Referer": f"{HERE}/usage"})
        assert asked.get("/oauth2callback").headers["location"] == "/usage"
        assert asked.get("/oauth2callback").headers["location"] == "/"
    with client(answer="/elsewhere") as asked:
        asked.get("/auth/login", headers={"Referer": f"{HERE}/usage"})
        assert asked.get("/oauth2callback").headers["location"] == "/elsewhere"


@pytest.mark.parametrize("https", [True, False])
def test_every_cookie_asks_for_https_where_people_come_over_https(https: bool):
    with client(https=https) as asked:
        cookies = asked.get("/auth/login", headers={"Referer": f"{HERE}/usage"}).headers.get_list(
            "set-cookie"
        )
        cookies += asked.get("/oauth2callback").headers.get_list("set-cookie")
    assert len(cookies) >= 2
    for cookie in cookies:
        assert ("Secure" in cookie) is https
        assert "HttpOnly" in cookie
        assert "samesite=lax" in cookie.lower()


# --- a public server -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A dashboard with sign-in for https://qodex.example; nobody has ever opened a page of it."""
    folder = tmp_path_factory.mktemp("public")
    environment = SIGN_IN | {
        "DATABASE_URL": f"sqlite:///{folder / 'qodex.db'}",
        "QODEX_MASTER_KEYS": base64.b64encode(os.urandom(32)).decode(),
    }
    with running_dashboard(environment, folder / "log") as address:
        yield address


@dataclass
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes


def ask(server: str, path: str, **headers: str) -> Answer:
    """A request under the public name, unless told; of an open web socket nothing is read."""
    given = {"Host": "qodex.example"} | {name.replace("_", "-"): value for name, value in headers.items()}
    with closing(http.client.HTTPConnection(urlsplit(server).netloc, timeout=300)) as connection:
        connection.request("GET", path, headers=given)
        with connection.getresponse() as answer:
            return Answer(answer.status, answer.headers, b"" if answer.status == 101 else answer.read())


def open_socket(server: str, **headers: str) -> int:
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec_WebSocket_Version": "13"}
    key = base64.b64encode(os.urandom(16)).decode()
    return ask(server, "/_stcore/stream", Sec_WebSocket_Key=key, **upgrade, **headers).status


def test_a_public_server_answers_under_its_public_name_only(server: str):
    assert ask(server, "/").status == 200
    assert open_socket(server, Host="qodex.example", Origin="https://qodex.example") == 101
    for host in ("evil.example", "qodex.example.evil.example", "login.example"):
        assert ask(server, "/", Host=host).status == 403
        assert open_socket(server, Host=host, Origin=f"https://{host}") == 403
    for origin in ("https://evil.example", "https://login.example", "null"):
        assert open_socket(server, Host="qodex.example", Origin=origin) == 403


def test_without_sign_in_routes_say_nothing_but_that_the_server_is_there(server: str):
    healthy = ask(server, "/healthz")
    assert (healthy.status, healthy.body) == (200, b'{"status":"ok"}')
    assert ask(server, "/_stcore/metrics").status == 404
    for path in ("/auth/login", "/auth/login?provider=forged", "/oauth2callback"):
        answer = ask(server, path)
        assert (answer.status, answer.headers["location"]) == (302, "/")


@pytest.mark.parametrize(
    ("query", "outcome"),
    [
        ("code=x&state=forged", "lost"),
        ("code=x&state=", "lost"),
        ("error=access_denied&state=x", "refused"),
        ("error=server_error", "refused"),
    ],
)
def test_a_callback_that_signs_nobody_in_says_so_and_keeps_the_wanted_address(
    server: str, query: str, outcome: str
):
    assert ask(server, f"/oauth2callback?{query}").headers["location"] == f"/?signin={outcome}"
    wanted = "qodex_wanted=%2Fusage%3Fproject%3Dshop%26signin%3Dlost"
    answer = ask(server, f"/oauth2callback?{query}", Cookie=wanted)
    assert answer.headers["location"] == f"/usage?project=shop&signin={outcome}"


def test_its_cookies_ask_for_https(server: str):
    answers = [ask(server, path) for path in ("/", "/_stcore/health", "/_stcore/host-config")]
    cookies = [cookie for answer in answers for cookie in answer.headers.get_all("set-cookie", [])]
    assert cookies
    assert all("Secure" in cookie for cookie in cookies)


@pytest.mark.parametrize("missing", ["QODEX_COOKIE_SECRET", "QODEX_OIDC_ISSUER"])
def test_half_a_sign_in_does_not_start_and_names_what_is_missing(missing: str, tmp_path):
    environment = os.environ | SIGN_IN | {"DATABASE_URL": f"sqlite:///{tmp_path / 'qodex.db'}"}
    del environment[missing]
    started = subprocess.run(
        [sys.executable, "-c", "import app"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert started.returncode != 0
    assert f"{missing}: sign-in needs it, too." in started.stderr
    assert "client-secret" not in started.stderr + started.stdout
