"""A browser without a browser: speaks Streamlit's protocol over the web socket, and says what no browser would."""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from google.protobuf.text_format import MessageToString
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.web.server.starlette.starlette_app_utils import (
    create_signed_value,
    generate_xsrf_token_string,
)
from websockets.sync.client import connect

PATIENCE = 60
USER_COOKIE, XSRF_COOKIE = "_streamlit_user", "_streamlit_xsrf"


class Visitor:
    """One connection to a running dashboard, by default as its own pages make it.

    Args:
        address: of the dashboard.
        cookie: the sign-in cookie, as ``signed_in`` makes it.
        origin: the page that opens the connection; the dashboard's own unless told.
        host: the name under which it is asked.
        headers: more of them.
    """

    def __init__(
        self, address: str, cookie: str = "", *, origin: str = "", host: str = "", **headers: str
    ) -> None:
        self.xsrf = generate_xsrf_token_string()
        cookies = f"{XSRF_COOKIE}={self.xsrf}; {cookie}".rstrip("; ")
        self._opening = connect(
            f"ws://{host or urlsplit(address).netloc}/_stcore/stream",
            address=(urlsplit(address).hostname, urlsplit(address).port),
            origin=origin or address,  # type: ignore[arg-type]
            additional_headers={"Cookie": cookies, **headers},
            subprotocols=["streamlit", self.xsrf],  # type: ignore[list-item]
            open_timeout=PATIENCE,
            max_size=None,
            proxy=None,
        )

    def __enter__(self) -> Self:
        self._socket = self._opening.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._opening.__exit__(kind, error, trace)

    def send(self, **message: Any) -> None:
        """Send one message; the name says which."""
        self.send_raw(BackMsg(**message).SerializeToString())

    def send_raw(self, data: bytes | str) -> None:
        """Send whatever it is."""
        self._socket.send(data)

    def hear(self) -> ForwardMsg:
        """The next message of the server. Raises ConnectionClosed."""
        data = self._socket.recv(PATIENCE)
        assert isinstance(data, bytes)
        return ForwardMsg.FromString(data)

    def open(self, page: str = "", **state: Any) -> list[ForwardMsg]:
        """Run a page to its end; all that the server sent meanwhile."""
        self.send(rerun_script={"page_name": page, **state})
        return self.hear_until("script_finished")

    def hear_until(self, kind: str) -> list[ForwardMsg]:
        """Everything up to the first message of that kind."""
        told = [self.hear()]
        while told[-1].WhichOneof("type") != kind:
            told.append(self.hear())
        return told


def signed_in(secret: str, origin: str, claims: Mapping[str, object]) -> str:
    """The cookie that Streamlit sets after a sign-in with these claims."""
    content = json.dumps({"origin": origin, "is_logged_in": True, **claims})
    return f"{USER_COOKIE}={create_signed_value(secret, USER_COOKIE, content).decode()}"


def elements(told: list[ForwardMsg], kind: str) -> list[Any]:
    """The elements of that kind among what was drawn."""
    drawn = [message.delta.new_element for message in told if message.WhichOneof("type") == "delta"]
    return [getattr(element, kind) for element in drawn if element.WhichOneof("type") == kind]


def text(told: list[ForwardMsg]) -> str:
    """All of it in words, without Markdown's escapes."""
    return "".join(MessageToString(message, as_utf8=True) for message in told).replace("\\\\", "")


def session_of(told: list[ForwardMsg]) -> str:
    """The id of the session, which the server tells whoever connects."""
    return next(each.new_session.initialize.session_id for each in told if each.HasField("new_session"))
