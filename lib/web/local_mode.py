"""Without sign-in every client is an administrator, so only this machine may be served."""

from __future__ import annotations

import logging

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from lib.environment import addresses

log = logging.getLogger(__name__)

REFUSAL = (
    "Without sign-in this dashboard serves the machine it runs on only, and nothing that a proxy passes on. "
    "An operator can set up sign-in: QODEX_OIDC_ISSUER, see docs/operators.md."
)
_PASSED_ON = {b"forwarded", b"via", b"x-real-ip", b"x-client-ip", b"true-client-ip", b"cf-connecting-ip"}


class ThisMachineMiddleware:
    """Refuse every connection that does not begin and end at a loopback address. The outermost of all.

    The connection decides, not the server's options: ``uvicorn --host 0.0.0.0`` knows nothing of Streamlit's.
    Both its ends count. A server that trusts any client's ``X-Forwarded-For`` lets a stranger choose the client's
    address, but not the address that was connected to. What comes through a proxy on this machine has loopback at
    both ends; it is known by what proxies write down, whatever that says. A Unix socket has no addresses, and
    is what proxies use.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self._told = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in {"http", "websocket"} or _is_from_here(scope):
            await self.app(scope, receive, send)
            return
        if not self._told:
            self._told = True
            log.warning("Refused a connection from elsewhere (%s). %s", _client(scope), REFUSAL)
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008, "reason": REFUSAL[:100]})
        else:
            await PlainTextResponse(REFUSAL, 403)(scope, receive, send)


def _is_from_here(scope: Scope) -> bool:
    ends = [scope.get("client"), scope.get("server")]
    return all(end and addresses.is_loopback(end[0]) for end in ends) and not _is_passed_on(scope)


def _is_passed_on(scope: Scope) -> bool:
    names = [name.lower() for name, _ in scope["headers"]]
    return any(name in _PASSED_ON or name.startswith(b"x-forwarded") for name in names)


def _client(scope: Scope) -> str:
    client = scope.get("client")
    return "through a proxy" if _is_passed_on(scope) else str(client[0]) if client else "a Unix socket"
