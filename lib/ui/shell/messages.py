"""What a browser may tell Streamlit over its web socket. Anybody who can open one can send anything.

Some of Streamlit's messages are for developers: one empties the caches of everybody, one tells about the
repository, one asks for places to upload files to, others write to the server's disk. None of them asks who
sends it, and the gate of the pages comes later. So only what our pages need gets through.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from streamlit.proto.BackMsg_pb2 import BackMsg

EXPECTED = frozenset({"rerun_script", "stop_script", "app_heartbeat"})
OPERATIONS = frozenset({"deferred_file", "dataframe_chunk"})
"""Of ``backend_operation_request``: files that are made when asked for, and the rest of a long table."""

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class ExpectedMessages:
    """Drop every other message, without an answer. Pure ASGI."""

    def __init__(self, app: Callable[[Message, Receive, Send], Awaitable[None]]) -> None:
        self.app = app

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        async def expected() -> Message:
            while not is_expected((message := await receive()).get("bytes")):
                pass
            return message

        await self.app(scope, expected if scope["type"] == "websocket" else receive, send)


def is_expected(data: bytes | None) -> bool:
    """Whether a frame may pass. What is no message at all passes: Streamlit ends its connection."""
    if not data:
        return True
    message = BackMsg()
    try:
        message.ParseFromString(data)
    except Exception:  # noqa: BLE001 - whatever a parser makes of hostile bytes
        return True
    kind = message.WhichOneof("type")
    if kind == "backend_operation_request":
        return message.backend_operation_request.WhichOneof("payload") in OPERATIONS
    return kind is None or kind in EXPECTED
