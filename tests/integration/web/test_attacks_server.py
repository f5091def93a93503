"""Attacks on the real server, by somebody who speaks its protocol without a browser (see tests/visitor.py)."""

from __future__ import annotations

import base64
import http.client
import os
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.util import calc_hash
from websockets.exceptions import ConnectionClosed, InvalidStatus

from lib.access.roles import Origin, local_administrator
from lib.platform import Platform
from lib.secret import Secret
from lib.settings import Settings
from lib.ui.shell.websocket_filter import EXPECTED, OPERATIONS, is_expected
from lib.vault.states import Verdict
from tests.pages import PAGES, ROOT
from tests.services import running_dashboard
from tests.visitor import Visitor, elements, session_of, signed_in, text

OPERATOR = local_administrator(Origin.COMMAND_LINE, "operator")
ISSUER, SECRET = "https://login.example", "a-cookie-secret-of-enough-characters"
HIDDEN_TITLE, HIDDEN_LAST4 = "The planted title 7391", "h1dd"


@dataclass
class Server:
    address: str
    platform: Platform
    log: Path

    def cookie(self, email: str, secret: str = SECRET, **claims: object) -> str:
        """What the browser of ``email`` has after signing in."""
        now = int(time.time())
        token = {"iss": ISSUER, "aud": "qodex", "sub": email, "email": email, "email_verified": True}
        token |= {"iat": now - 5, "exp": now + 300, "nonce": email}
        return signed_in(secret, self.address, token | claims)

    def member(self, email: str, role: str) -> str:
        self.platform.members.put(email, role, slug="own", actor=OPERATOR)
        return self.cookie(email)

    def ask(self, path: str, method: str = "GET", body: bytes = b"", **headers: str) -> tuple[int, bytes]:
        place = urlsplit(self.address).netloc
        with closing(http.client.HTTPConnection(place, timeout=300)) as connection:
            connection.putrequest(method, path, skip_host="Host" in headers)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                connection.putheader(name.replace("_", "-"), value)
            connection.endheaders(body)
            with connection.getresponse() as answer:
                return answer.status, answer.read()

    def is_well(self) -> bool:
        return self.ask("/healthz") == (200, b'{"status":"ok"}')


def serve(folder: Path, *, sign_in: bool) -> Iterator[Server]:
    """A dashboard with the projects ``own`` and ``hidden``, each with a key, that nobody has opened yet."""
    master = base64.b64encode(os.urandom(32)).decode()
    url = f"sqlite:///{folder / 'qodex.db'}"
    platform = Platform(Settings(database_url=url, master_keys=Secret(master)))
    for slug, last4 in (("own", "mine"), ("hidden", HIDDEN_LAST4)):
        platform.projects.add(slug, actor=OPERATOR, name=HIDDEN_TITLE if slug == "hidden" else "Own")
        platform.keys._store.save(
            slug, Secret(f"sk-test-{slug}-key-{last4}"), actor=OPERATOR, expected_version=0, verdict=Verdict()
        )
        platform.members.put("keeper@example.com", "lead", slug=slug, actor=OPERATOR)
    environment = {"DATABASE_URL": url, "QODEX_MASTER_KEYS": master}
    environment |= {"OPENAI_BASE_URL": "http://127.0.0.1:9/v1"}
    if sign_in:
        environment |= {"QODEX_OIDC_ISSUER": ISSUER, "QODEX_OIDC_CLIENT_ID": "qodex"}
        environment |= {"QODEX_OIDC_CLIENT_SECRET": "client-secret", "QODEX_COOKIE_SECRET": SECRET}
    with running_dashboard(environment, folder / "log", public_url=sign_in) as address:
        yield Server(address, platform, folder / "log")
    platform.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """With sign-in."""
    yield from serve(tmp_path_factory.mktemp("guarded"), sign_in=True)


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """In the local mode."""
    yield from serve(tmp_path_factory.mktemp("local"), sign_in=False)


# --- who is not signed in --------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["by its name", "by the file's hash"])
def test_on_a_cold_server_the_very_first_request_for_any_inner_page_ends_at_the_gate(
    tmp_path: Path, how: str
):
    for server in serve(tmp_path, sign_in=True):
        for name, file in reversed(PAGES.items()):
            state = (
                {"page": name}
                if how == "by its name"
                else {"page_script_hash": calc_hash(str(ROOT / "pages" / file))}
            )
            with Visitor(server.address) as visitor:
                told = text(visitor.open(query_string="project=hidden", **state))
            assert "Sign in" in told, name
            assert HIDDEN_TITLE not in told
            assert HIDDEN_LAST4 not in told
            assert "keeper@example.com" not in told


CLAIMS = {
    "a cookie signed with another secret": ({}, "another-secret-of-enough-characters!", "Sign in"),
    "an e-mail that is not verified": ({"email_verified": False}, SECRET, "is not verified"),
    "a session that is too old": ({"iat": int(time.time()) - 13 * 3600}, SECRET, "session is over"),
    "a token that has expired": ({"exp": int(time.time()) - 60}, SECRET, "has expired"),
    "a token of another issuer": ({"iss": "https://evil.example"}, SECRET, "another application"),
}


@pytest.mark.parametrize("what", CLAIMS)
def test_what_is_no_good_sign_in_ends_at_the_gate_of_the_real_server(server: Server, what: str):
    claims, secret, sentence = CLAIMS[what]
    cookie = server.cookie("keeper@example.com", secret, nonce=what, **claims)
    with Visitor(server.address, cookie) as visitor:
        told = text(visitor.open("integrations", query_string="project=own"))
    assert sentence in told
    assert "calls of own" not in told
    with Visitor(server.address, server.cookie("keeper@example.com")) as visitor:
        told = text(visitor.open("integrations", query_string="project=own"))
    assert "OpenAI bills the calls of own to your account" in told


def test_headers_and_cookies_of_other_names_make_nobody_signed_in(server: Server):
    names = ("X-Forwarded-Email", "X-Auth-Request-Email", "X-Streamlit-User", "Remote-User")
    headers = dict.fromkeys(names, "keeper@example.com")
    with Visitor(server.address, "user=keeper@example.com; email=keeper@example.com", **headers) as visitor:
        told = text(visitor.open("members", query_string="project=own"))
    assert "Sign in" in told
    assert "keeper@example.com" not in told


# --- other projects, other roles -------------------------------------------------------------------


def test_neither_the_address_nor_a_forged_choice_shows_another_project(server: Server):
    cookie = server.member("lena@example.com", "lead")
    for name in PAGES:
        with Visitor(server.address, cookie) as visitor:
            told = visitor.open(name, query_string="project=own")
            forged = [
                {"id": box.id, "string_value": "hidden"} for box in elements(told, "selectbox") if box.id
            ]
            told += visitor.open(name, query_string="project=hidden", widget_states={"widgets": forged})
            told += visitor.open(name, query_string="project=own", widget_states={"widgets": forged})
        shown = text(told)
        assert "Own" in shown or "own" in shown, name
        assert HIDDEN_TITLE not in shown, name
        assert HIDDEN_LAST4 not in shown, name


def test_the_buttons_of_a_lead_do_nothing_in_the_hands_of_an_analyst(server: Server):
    leads = server.member("lena@example.com", "lead")
    with Visitor(server.address, leads) as visitor:
        pressed = [
            {"id": button.id, "trigger_value": True}
            for button in elements(visitor.open("integrations", query_string="project=own"), "button")
        ]
    assert pressed
    before = server.platform.keys.describe("own", actor=OPERATOR)
    with Visitor(server.address, server.member("ann@example.com", "analyst")) as visitor:
        visitor.open("integrations", query_string="project=own")
        for button in pressed:
            told = visitor.open(
                "integrations", query_string="project=own", widget_states={"widgets": [button]}
            )
            assert "New OpenAI API key" not in text(told)
    assert server.platform.keys.describe("own", actor=OPERATOR) == before


def test_a_manager_who_was_removed_gets_no_audit_log_from_a_tab_that_is_still_open(server: Server):
    with Visitor(server.address, server.member("mia@example.com", "manager")) as visitor:
        told = visitor.open("audit_log", query_string="project=own")
        (button,) = elements(told, "download_button")
        request = {"request_id": "r-1", "session_id": session_of(told)}
        request |= {"deferred_file": {"file_id": button.deferred_file_id}}
        visitor.send(backend_operation_request=request)
        answer = visitor.hear_until("backend_operation_response")[-1].backend_operation_response
        assert answer.deferred_file.url
        server.platform.members.remove("mia@example.com", slug="own", actor=OPERATOR)
        visitor.send(backend_operation_request=request)
        answer = visitor.hear_until("backend_operation_response")[-1].backend_operation_response
        assert (answer.deferred_file.url, bool(answer.error_msg)) == ("", True)


# --- the server itself -----------------------------------------------------------------------------

KINDS = [field.name for field in BackMsg.DESCRIPTOR.oneofs_by_name["type"].fields]
NOT_OURS: dict[str, dict[str, object]] = {
    "empty everybody's caches": {"clear_cache": True},
    "watch the files": {"set_run_on_save": True},
    "tell about the repository": {"load_git_info": True},
    "end the connection": {"debug_disconnect_websocket": True},
    "end the server": {"debug_shutdown_runtime": True},
    "give places for files": {"file_urls_request": {"request_id": "f", "file_names": ["a"]}},
    "write skills to the disk": {"backend_operation_request": {"request_id": "b", "install_skills": {}}},
    "write settings to the disk": {
        "backend_operation_request": {"request_id": "b", "dismiss_skills_nudge": {}}
    },
    "do nothing in particular": {"backend_operation_request": {"request_id": "b"}},
}


def test_every_message_that_streamlit_knows_is_either_expected_or_tried_here():
    """A new one of a later Streamlit shows up here, and is closed until somebody has looked at it."""
    tried = {name for message in NOT_OURS.values() for name in message}
    assert set(KINDS) == EXPECTED | tried
    payloads = BackMsg().backend_operation_request.DESCRIPTOR.oneofs_by_name["payload"].fields
    assert {field.name for field in payloads} == OPERATIONS | {"install_skills", "dismiss_skills_nudge"}


@pytest.mark.parametrize("what", NOT_OURS)
def test_nobody_can_make_the_server_do_what_only_a_developer_should(server: Server, what: str):
    assert not is_expected(BackMsg(**NOT_OURS[what]).SerializeToString())
    with Visitor(server.address) as visitor:
        visitor.open()
        visitor.send(**NOT_OURS[what])
        visitor.send(app_heartbeat=True)
        told = {message.WhichOneof("type") for message in visitor.hear_until("heartbeat_ack")}
    assert told <= {"session_status_changed", "heartbeat_ack"}
    assert server.is_well()


def test_nobody_can_fill_the_servers_memory_with_uploads(server: Server):
    with Visitor(server.address) as visitor:
        told = visitor.open()
        session = session_of(told)
        xsrf = {"X_Xsrftoken": visitor.xsrf, "Cookie": f"_streamlit_xsrf={visitor.xsrf}"}
        body = b'--b\r\nContent-Disposition: form-data; name="f"; filename="f"\r\n\r\nx\r\n--b--\r\n'
        kind = {"Content_Type": "multipart/form-data; boundary=b"}
        status, _ = server.ask(f"/_stcore/upload_file/{session}/f", "PUT", body, **kind, **xsrf)
    assert status == 404


@pytest.mark.parametrize(
    ("frame", "code"),
    [(b"\0" * 13_000_000, 1009), (b"\0" * 21_000_000, None), (b"\xff" * 100, 1002), ("text", None)],
    ids=["13 MB", "21 MB", "no message", "text"],
)
def test_a_frame_that_is_too_large_or_no_message_ends_the_connection_and_nothing_else(
    server: Server, frame: bytes | str, code: int | None
):
    with Visitor(server.address) as visitor:
        visitor.open()
        with pytest.raises(ConnectionClosed) as closed:
            _say(visitor, frame)
    if code is not None:
        assert closed.value.rcvd
        assert closed.value.rcvd.code == code
    assert server.is_well()


def _say(visitor: Visitor, frame: bytes | str) -> None:
    visitor.send_raw(frame)
    while True:
        visitor.hear()


CLOSED = [
    "/_stcore/metrics",
    "/_stcore/metrics/",
    "//_stcore//metrics",
    "/_STCORE/metrics",
    "/_stcore/%6detrics",
    "/_stcore/./metrics",
    "/_stcore/script-health-check",
    "/_stcore/agent/interact",
    "/_stcore/agent/openapi.json",
    "/_stcore/agent/mcp",
    "/_stcore/upload_file/a/b",
]


@pytest.mark.parametrize("path", CLOSED)
def test_what_streamlit_answers_to_anybody_is_closed(local: Server, path: str):
    for method in ("GET", "POST", "PUT", "OPTIONS"):
        status, body = local.ask(path, method)
        assert status in {403, 404, 405}, (method, status)
        assert b"cache_memory_bytes" not in body


@pytest.mark.parametrize(
    "path",
    [
        "/../../../../etc/passwd",
        "/static/../../../../../etc/passwd",
        "/static/..%2f..%2f..%2f..%2fetc/passwd",
        "/media/../../var/keys/master.key",
        "/app/static/../app.py",
        "/component/..%2f..%2f/app.py",
        "/_stcore/bidi-components/../../app.py",
        "/pages/settings/members.py",
        "/.streamlit/config.toml",
        "/.git/config",
        "//etc/passwd",
        "/\\\\evil.example\\share",
    ],
)
def test_no_path_leads_to_a_file_of_the_server(local: Server, path: str):
    _, body = local.ask(path)
    for planted in (b"root:", b"import streamlit", b"[server]", b"[core]"):
        assert planted not in body


FOREIGN = {
    "another name": ("Host", "evil.example"),
    "a name that begins like ours": ("Host", "localhost.evil.example"),
    "another site": ("Origin", "https://evil.example"),
    "another port of this machine": ("Origin", "http://localhost:1"),
    "a page without a site": ("Origin", "null"),
}


@pytest.mark.parametrize("what", FOREIGN)
@pytest.mark.parametrize("mode", ["local", "sign-in"])
def test_a_foreign_name_or_site_gets_403_from_every_route_and_the_web_socket(
    server: Server, local: Server, what: str, mode: str
):
    asked = local if mode == "local" else server
    name, value = FOREIGN[what]
    for path in ("/", "/usage", "/healthz", "/export/usage.csv?t=x", "/_stcore/health", "/auth/login"):
        assert asked.ask(path, **{name: value})[0] == 403, path
    with pytest.raises(InvalidStatus) as refused, Visitor(asked.address, **{name.lower(): value}):
        pass
    assert refused.value.response.status_code == 403


def test_nothing_of_all_this_left_a_key_or_a_traceback_of_ours_in_the_log(server: Server):
    log = server.log.read_text()
    assert "sk-test-" not in log
    assert "client-secret" not in log
    assert SECRET not in log
