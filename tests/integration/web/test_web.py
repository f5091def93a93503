"""Plain HTTP: who gets an answer, and what every answer says to the browser."""

from __future__ import annotations

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect

from lib.errors import DatabaseUnavailable, SettingsError
from lib.web.headers import HEADERS
from lib.web.routes import middleware, routes


def client(check: object = None, hosts: tuple[str, ...] = ("localhost", "127.0.0.1")) -> TestClient:
    async def page(_: object) -> PlainTextResponse:
        return PlainTextResponse("a page")

    async def socket(connection: WebSocket) -> None:
        await connection.accept()
        await connection.send_text("hello")

    def fine() -> None:
        if isinstance(check, Exception):
            raise check

    inner = [Route("/", page), Route("/_stcore/metrics", page), WebSocketRoute("/_stcore/stream", socket)]
    app = Starlette(routes=[*routes(fine), *inner], middleware=middleware(hosts))
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


def test_health_is_200_while_pages_can_be_served_and_503_without_a_reason_where_not():
    with client() as asked:
        assert (asked.get("/healthz").status_code, asked.get("/healthz").json()) == (200, {"status": "ok"})
    for problem in (DatabaseUnavailable("The disk is full."), SettingsError("DATABASE_URL", "is wrong")):
        with client(problem) as asked:
            answer = asked.get("/healthz")
            assert (answer.status_code, answer.json()) == (503, {"status": "unavailable"})


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


@pytest.mark.parametrize("path", ["/_stcore/metrics", "/_stcore/metrics/"])
def test_streamlits_metrics_are_closed(path: str):
    with client() as asked:
        assert asked.get(path, follow_redirects=False).status_code == 404
