"""Receivers of alerts on this machine: a real HTTP server that answers as it is told, and a real mail server."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from aiosmtpd.controller import Controller


@dataclass
class Post:
    """One request that came."""

    path: str
    headers: dict[str, str]
    body: str


@dataclass
class Receiver:
    """An HTTP server. ``behaviour``: a status to answer with, ``hang``, ``drip`` or ``redirect``."""

    behaviour: int | str = 200
    headers: dict[str, str] = field(default_factory=dict)
    posts: list[Post] = field(default_factory=list)
    accepted: list[str] = field(default_factory=list)
    """The webhook ids that were answered with 2xx, in order."""
    over: threading.Event = field(default_factory=threading.Event)
    port: int = 0
    elsewhere: str = "/elsewhere"
    """Where a redirect leads."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"


@contextmanager
def receiving() -> Iterator[Receiver]:
    """A receiver that runs inside the block."""
    receiver = Receiver()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(receiver))
    receiver.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield receiver
    finally:
        receiver.over.set()
        server.shutdown()
        server.server_close()
        thread.join()


def _hang(receiver: Receiver, handler: BaseHTTPRequestHandler) -> None:
    receiver.over.wait(30)


def _drip(receiver: Receiver, handler: BaseHTTPRequestHandler) -> None:
    while not receiver.over.wait(0.05):
        handler.wfile.write(b"H")


def _answer(receiver: Receiver, handler: BaseHTTPRequestHandler) -> None:
    redirects = receiver.behaviour == "redirect"
    status = 302 if redirects else int(receiver.behaviour)
    handler.send_response(status)
    if redirects:
        handler.send_header("Location", f"http://127.0.0.1:{receiver.port}{receiver.elsewhere}")
    if status < 300:
        receiver.accepted.append(handler.headers.get("webhook-id", ""))
    for name, value in receiver.headers.items():
        handler.send_header(name, value)
    handler.send_header("content-length", "2")
    handler.end_headers()
    handler.wfile.write(b"ok")


def _handler(receiver: Receiver) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers.get("content-length", 0))
            body = self.rfile.read(length).decode()
            if len(body.encode()) < length:
                return  # its sender was killed: half a request is none
            headers = {name.lower(): value for name, value in self.headers.items()}
            receiver.posts.append(Post(self.path, headers, body))
            with suppress(OSError):
                {"hang": _hang, "drip": _drip}.get(str(receiver.behaviour), _answer)(receiver, self)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    return Handler


class Mailbox:
    """What a mail server does with what it gets: it keeps it, or refuses the recipient with ``refuses``."""

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []
        self.refuses: str | None = None

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self, server: Any, session: Any, envelope: Any, address: str, rcpt_options: list[str]
    ) -> str:
        if self.refuses:
            return self.refuses
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        mail = message_from_bytes(envelope.content, policy=default)
        assert isinstance(mail, EmailMessage)
        self.mails.append(mail)
        return "250 OK"


@contextmanager
def mail_server() -> Iterator[tuple[Mailbox, str]]:
    """A mail server on this machine, and the address that the settings take."""
    mailbox = Mailbox()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    controller = Controller(mailbox, hostname="127.0.0.1", port=port)
    controller.start()
    try:
        yield mailbox, f"smtp://127.0.0.1:{port}"
    finally:
        controller.stop()
