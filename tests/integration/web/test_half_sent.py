"""A request that is sent by half is limited in time and number; answers and web sockets are not.

Real sockets, and real servers: uvicorn with short limits in this process, and each of the dashboard's own.
"""

from __future__ import annotations

import asyncio
import base64
import os
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from lib.web.half_sent import MOST, SECONDS, HalfSentRequests, limit_half_sent_requests
from tests.machines import SOCKET
from tests.services import ROOT, running_program, wait_until

HEAD = b"GET /%s HTTP/1.1\r\nHost: localhost\r\n"
WHOLE = HEAD + b"\r\n"
LONG = 30  # seconds, longer than anything here may take


class App:
    """Answers at once, when the body is whole, piece by piece as it is told, or opens a web socket."""

    def __init__(self) -> None:
        self.go_on = threading.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.accept"})
            await self._released()
            await send({"type": "websocket.send", "text": "still here"})
            return
        if scope["type"] != "http":
            return
        if scope["path"] == "/body":
            while (await receive()).get("more_body"):
                pass
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"10")]})
        await send({"type": "http.response.body", "body": b"begun", "more_body": True})
        if scope["path"] == "/slow":
            await self._released()
        await send({"type": "http.response.body", "body": b"ended"})

    async def _released(self) -> None:
        await asyncio.to_thread(self.go_on.wait)


@contextmanager
def serving(app: App, *, seconds: float = 0.3, most: int = MOST) -> Iterator[int]:
    """A real uvicorn with these limits; gives its port."""

    class Watched(H11Protocol):
        pass

    limit_half_sent_requests(Watched, HalfSentRequests(seconds, most))
    how: dict[str, Any] = {"lifespan": "off", "log_config": None, "timeout_keep_alive": 1}
    server = uvicorn.Server(uvicorn.Config(app, http=Watched, **how))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            assert wait_until(lambda: server.started, LONG)
            yield listening.getsockname()[1]
        finally:
            app.go_on.set()
            server.should_exit = True
            thread.join()


@contextmanager
def connected(port: int, sent: bytes = b"") -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port), timeout=LONG) as client:
        client.sendall(sent)
        yield client


def read_to_end(client: socket.socket) -> bytes:
    """What came until the server closed; fails where it does not."""
    said = b""
    with suppress(ConnectionResetError):
        while part := client.recv(65536):
            said += part
    return said


HALVES = {
    "nothing": b"",
    "half a line": b"GET /",
    "a head without its end": HEAD % b"",
    "a body that does not come": b"POST /body HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nhalf",
    "a chunk that does not end": b"POST /body HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nha",
    "half a second request": WHOLE % b"" + b"GET /again HTTP/1.1\r\nHost:",
}


@pytest.mark.parametrize("half", HALVES.values(), ids=HALVES)
def test_a_request_that_is_sent_by_half_is_closed(half: bytes):
    with serving(App()) as port, connected(port, half) as client:
        assert read_to_end(client).count(b"HTTP/1.1 200") == half.count(b"\r\n\r\nGET")


def test_bytes_that_drip_do_not_put_it_off():
    with serving(App()) as port, connected(port, HEAD % b"") as client:
        client.settimeout(0.02)
        for _ in range(LONG * 50):
            with suppress(TimeoutError):
                assert client.recv(1) == b""
                return
            try:
                client.sendall(b"X: y\r\n")
            except OSError:
                return
    pytest.fail("it was held")


def test_an_answer_and_a_web_socket_outlive_the_limit_however_slow_they_are():
    app = App()
    opening = HEAD % b"socket" + "".join(f"{name}: {value}\r\n" for name, value in SOCKET.items()).encode()
    with (
        serving(app) as port,
        connected(port, WHOLE % b"slow") as slow,
        connected(port, opening + b"\r\n") as ws,
    ):
        assert b"101 Switching" in ws.recv(65536)
        with connected(port) as idle:
            assert read_to_end(idle) == b""  # so both of them have lasted for longer than the limit
        app.go_on.set()
        assert b"still here" in ws.recv(65536)
        answer = slow.recv(65536)
        while not answer.endswith(b"begunended"):
            answer += slow.recv(65536)
    assert answer.startswith(b"HTTP/1.1 200")


def test_a_whole_request_is_served_while_as_many_as_may_be_are_half_sent():
    with serving(App(), seconds=LONG, most=5) as port, ExitStack() as open_:
        held = [open_.enter_context(connected(port, b"GET /")) for _ in range(5)]
        with connected(port, WHOLE % b"") as client:
            assert client.recv(65536).startswith(b"HTTP/1.1 200")
        assert read_to_end(held[0]) == b""  # the oldest has made room
        held[4].sendall((WHOLE % b"")[5:])
        assert held[4].recv(65536).startswith(b"HTTP/1.1 200")


# --- the dashboard itself ------------------------------------------------------------------------------

SERVERS: dict[str, tuple[str, ...]] = {
    "streamlit run": ("streamlit", "run", f"{ROOT}/app.py", "--server.port={port}"),
    "uvicorn": ("uvicorn", "app:app", f"--app-dir={ROOT}", "--port={port}"),
    "gunicorn": (
        *("gunicorn", "app:app", f"--pythonpath={ROOT}", "--worker-class=uvicorn_worker.UvicornWorker"),
        "--bind=127.0.0.1:{port}",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("words", SERVERS.values(), ids=SERVERS)
def test_the_dashboard_holds_a_limited_number_of_half_sent_requests_for_a_limited_time(
    tmp_path: Path, words: tuple[str, ...]
):
    environment = {
        "DATABASE_URL": f"sqlite:///{tmp_path / 'qodex.db'}",
        "QODEX_MASTER_KEYS": base64.b64encode(os.urandom(32)).decode(),
    }
    started = [sys.executable, "-m", *words]
    with running_program(started, environment, tmp_path / "log") as port, ExitStack() as open_:
        held = [open_.enter_context(connected(port, HEAD % b"")) for _ in range(MOST + 44)]
        for oldest in held[:44]:
            assert read_to_end(oldest) == b""
        with connected(port, WHOLE % b"healthz") as client:
            assert client.recv(65536).startswith(b"HTTP/1.1 200")
        for rest in held[44:]:  # one after another, each within its ten seconds
            assert read_to_end(rest) == b""
    assert SECONDS < LONG
