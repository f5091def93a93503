"""Plain HTTP: who gets an answer, and what every answer says to the browser."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from sqlalchemy import text
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect

from lib.errors import DatabaseUnavailable, MasterKeyMissing, SettingsError
from lib.platform import Platform
from lib.settings import Settings
from lib.ui.base.server import real_front_door
from lib.ui.shell import startup
from lib.web.headers import HEADERS
from lib.web.health import Readiness, healthz
from lib.web.routes import middleware, routes
from tests.services import wait_until


def client(
    check: object = None, hosts: tuple[str, ...] = ("localhost", "127.0.0.1"), *, https: bool = False
) -> TestClient:
    async def page(_: object) -> PlainTextResponse:
        return PlainTextResponse("a page")

    async def socket(connection: WebSocket) -> None:
        await connection.accept()
        await connection.send_text("hello")

    def fine() -> None:
        if isinstance(check, Exception):
            raise check

    inner = [Route("/", page), Route("/_stcore/metrics", page), WebSocketRoute("/_stcore/stream", socket)]
    app = Starlette(routes=[*routes(fine), *inner], middleware=middleware(hosts, https=https))
    return TestClient(app, base_url="http://localhost:8501")


def test_every_answer_carries_the_content_policy_and_its_companions_refusals_too():
    with client() as asked:
        for answer in (
            asked.get("/"),
            asked.get("/healthz"),
            asked.get("/", headers={"Host": "evil.example"}),
        ):
            assert {name: answer.headers[name] for name in HEADERS} == HEADERS
            assert "script-src 'self';" in answer.headers["Content-Security-Policy"]


def test_the_server_is_alive_whatever_its_database_does():
    for problem in (None, DatabaseUnavailable("The disk is full.")):
        with client(problem) as asked:
            assert (asked.get("/healthz").status_code, asked.get("/healthz").json()) == (
                200,
                {"status": "ok"},
            )


def test_it_is_ready_while_it_can_do_its_work_and_the_log_says_why_where_not(
    caplog: pytest.LogCaptureFixture,
):
    with client() as asked:
        assert (asked.get("/readyz").status_code, asked.get("/readyz").json()) == (200, {"status": "ok"})
    for problem in (
        DatabaseUnavailable("The disk is full."),
        SettingsError("DATABASE_URL", "is wrong."),
        MasterKeyMissing("There is no master key."),
    ):
        with client(problem) as asked:
            answer = asked.get("/readyz")
            assert (answer.status_code, answer.json()) == (503, {"status": "unavailable"})
            assert problem.sentence in caplog.text


def test_a_check_that_hangs_is_answered_all_the_same_and_only_one_hangs():
    hang, begun = threading.Event(), list[int]()

    def check() -> None:
        begun.append(1)
        hang.wait()

    async def readyz(request: object) -> Response:
        return await ready(request)

    ready = Readiness(check, seconds=0.05)
    with TestClient(Starlette(routes=[Route("/readyz", readyz), Route("/healthz", healthz)])) as asked:
        assert [asked.get("/readyz").status_code for _ in range(3)] == [503] * 3
        assert asked.get("/healthz").status_code == 200
        hang.set()
        assert wait_until(lambda: asked.get("/readyz").status_code == 200, 600)
    assert begun[1:] == [1] * (len(begun) - 1)


@pytest.fixture
def served(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Platform]:
    """The dashboard's own front door over a new database."""
    monkeypatch.setenv("DATABASE_URL", settings.database_url)
    monkeypatch.setenv("QODEX_MASTER_KEYS", settings.master_keys.reveal())
    real_front_door.clear()
    yield real_front_door()
    real_front_door().close()
    real_front_door.clear()


def test_a_dashboard_is_ready_with_its_database_its_schema_and_its_master_keys(served: Platform):
    startup.check()
    with served.database.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '0001'"))
    with pytest.raises(DatabaseUnavailable, match="schema 0001"):
        startup.check()


def test_a_dashboard_without_a_master_key_that_a_stored_key_needs_is_not_ready(byok: Platform):
    byok.masters.require_all()
    with byok.database.write() as connection:
        connection.execute(text("UPDATE provider_keys SET master_key_id = 'mk-0123456789ab'"))
    with pytest.raises(MasterKeyMissing, match="mk-0123456789ab"):
        byok.masters.require_all()


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8501",
        "localhost.evil.example",
        "",
        "[",
        "0.0.0.0",
        "evil@localhost",
        "evil:word@localhost:8501",
        "@localhost",
        "localhost/evil",
        "localhost?evil",
        "localhost:8501:1",
        "localhost, evil.example",
        "local%68ost",
    ],
)
def test_a_name_that_is_not_ours_gets_no_answer(host: str):
    with client() as asked:
        assert asked.get("/", headers={"Host": host}).status_code == 403


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "http://localhost:9999", "http://localhost", "null", "["]
)
def test_a_page_of_another_site_can_neither_ask_nor_open_the_web_socket(origin: str):
    with client() as asked:
        assert asked.get("/", headers={"Origin": origin}).status_code == 403
        with pytest.raises(WebSocketDisconnect):
            asked.websocket_connect("/_stcore/stream", headers={"Origin": origin}).__enter__()


def test_our_own_pages_open_the_web_socket():
    with (
        client() as asked,
        asked.websocket_connect(
            "/_stcore/stream", headers={"Origin": "http://localhost:8501", "Host": "localhost:8501"}
        ) as socket,
    ):
        assert socket.receive_text() == "hello"


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("https://qodex.example", 200),
        ("HTTPS://qodex.example", 200),
        ("http://qodex.example", 403),
        ("ftp://qodex.example", 403),
    ],
)
def test_where_people_come_over_https_a_page_over_http_under_our_name_is_another_sites(
    origin: str, status: int
):
    """Whoever sits between a person and the server can make one, and would open the web socket with their cookie."""
    with client(hosts=("localhost", "qodex.example"), https=True) as asked:
        assert asked.get("/", headers={"Host": "qodex.example", "Origin": origin}).status_code == status
        own = {"Host": "localhost:8501", "Origin": "http://localhost:8501"}
        assert asked.get("/", headers=own).status_code == 200


def test_browsers_are_told_to_come_over_https_alone_where_people_do():
    for https in (True, False):
        with client(https=https) as asked:
            answers = [asked.get("/"), asked.get("/", headers={"Host": "evil.example"})]
            assert {"Strict-Transport-Security" in answer.headers for answer in answers} == {https}


@pytest.mark.parametrize("path", ["/_stcore/metrics", "/_stcore/metrics/"])
def test_streamlits_metrics_are_closed(path: str):
    with client() as asked:
        assert asked.get(path, follow_redirects=False).status_code == 404
