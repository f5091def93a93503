"""What a browser may tell Streamlit over its web socket. Anybody who can open one can send anything.

Some of Streamlit's messages are for developers: one empties the caches of everybody, one tells about the
repository, one asks for places to upload files to, others write to the server's disk. None of them asks who
sends it, and the gate of the pages comes later. So only what our pages need gets through.

And a browser that comes back to a restarted server goes on as if nothing had happened: a button of a dialog asks for
the part of a page that only the old process knew, and Streamlit answers nothing at all. Such a request becomes one for
the whole page here, and the page says what happened.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.WidgetStates_pb2 import WidgetState

EXPECTED = frozenset({"rerun_script", "stop_script", "app_heartbeat"})
OPERATIONS = frozenset({"deferred_file", "dataframe_chunk"})
"""Of ``backend_operation_request``: files that are made when asked for, and the rest of a long table."""

CAME_BACK = "came_back"
"""In the address of a page that was asked for in place of one of its parts, after the connection had been lost; how, is its value."""
BY_ITSELF, PRESSED = "by_itself", "pressed"

OLD_PAGE_SECONDS = 15.0
"""How long a browser that came back may still show parts of the old page, which go on asking for themselves."""

_TOKENS = 2  # that a new page brings: the protocol and the XSRF token; one that comes back adds its session

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class ExpectedMessages:
    """Drop every other message, without an answer; after a lost connection begin with a whole page. Pure ASGI."""

    def __init__(self, app: Callable[[Message, Receive, Send], Awaitable[None]]) -> None:
        self.app = app

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        comes_back, forgets_at = len(scope.get("subprotocols", ())) > _TOKENS, 0.0

        async def expected() -> Message:
            nonlocal comes_back, forgets_at
            while not is_expected((message := await receive()).get("bytes")):
                pass
            if not (comes_back or time.monotonic() < forgets_at):
                return message
            if (asked := _parsed(message.get("bytes"))) and asked.HasField("rerun_script"):
                if comes_back:
                    message["bytes"] = whole_page(asked)
                    comes_back, forgets_at = False, time.monotonic() + OLD_PAGE_SECONDS
                elif asked.rerun_script.is_auto_rerun:
                    message["bytes"] = without_part(asked)
            return message

        await self.app(scope, expected if scope["type"] == "websocket" else receive, send)


def is_expected(data: bytes | None) -> bool:
    """Whether a frame may pass. What is no message at all passes: Streamlit ends its connection."""
    message = _parsed(data)
    if message is None:
        return True
    kind = message.WhichOneof("type")
    if kind == "backend_operation_request":
        return message.backend_operation_request.WhichOneof("payload") in OPERATIONS
    return kind is None or kind in EXPECTED


def _parsed(data: bytes | None) -> BackMsg | None:
    if not data:
        return None
    message = BackMsg()
    try:
        message.ParseFromString(data)
    except Exception:  # noqa: BLE001 - whatever a parser makes of hostile bytes
        return None
    return message


def whole_page(message: BackMsg) -> bytes:
    """The request that a browser begins anew with, for a whole page and marked as ``CAME_BACK``.

    What was pressed in a part of the page is taken out: Streamlit would keep it for the next part of that name, and
    do then what nobody asks for any more. What was pressed on the page itself is there to be done: then nothing is lost.
    """
    asked = message.rerun_script
    pressed = [state for state in asked.widget_states.widgets if _is_pressed(state)]
    if pressed and not asked.fragment_id:
        return bytes(message.SerializeToString())
    how = PRESSED if asked.fragment_id and not asked.is_auto_rerun else BY_ITSELF
    asked.fragment_id, asked.is_auto_rerun = "", False
    asked.query_string = "&".join(filter(None, (asked.query_string, f"{CAME_BACK}={how}")))
    for state in pressed:
        asked.widget_states.widgets.remove(state)
    return bytes(message.SerializeToString())


def without_part(message: BackMsg) -> bytes:
    """The request for a part of a page, as one for the whole of it."""
    message.rerun_script.fragment_id, message.rerun_script.is_auto_rerun = "", False
    return bytes(message.SerializeToString())


def _is_pressed(state: WidgetState) -> bool:
    return (state.WhichOneof("value") or "").endswith("trigger_value")
