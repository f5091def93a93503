"""What every answer says to the browser, and which requests get none. Pure ASGI: nothing is buffered."""

from __future__ import annotations

from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

CONTENT_POLICY = (
    "default-src 'self'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "font-src 'self' data:; connect-src 'self'; worker-src 'self' blob:; frame-ancestors 'none'; "
    "base-uri 'self'; form-action 'self'; object-src 'none'"
)
"""Nothing is loaded from another place, whatever Markdown or a chart may ask for."""

# The sign-in button's request says where one was (lib.web.signin); no other site is told anything.
HEADERS = {
    "Content-Security-Policy": CONTENT_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}

CLOSED = ("metrics", "upload_file", "agent", "script-health-check")
"""Streamlit answers these, and what is below them, to anybody, before the pages' gate: numbers of the process,
memory for uploads, another way to drive the pages. Nobody here needs them."""


class SecurityHeaders:
    """Add our headers to every HTTP answer, also to refusals."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
            await send(message)

        await self.app(scope, receive, with_headers if scope["type"] == "http" else send)


class HostOriginMiddleware:
    """Refuse, with 403, what comes from another site's page or under a name that is not ours.

    A page elsewhere could otherwise open our web socket, and a name of its own that points here (DNS
    rebinding) would make it same-site.

    Args:
        hosts: the names under which this server may be asked, without ports.
    """

    def __init__(self, app: ASGIApp, hosts: Collection[str]) -> None:
        self.app = app
        self.hosts = frozenset(hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in {"http", "websocket"} or (refusal := self._refusal(scope)) is None:
            await self.app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008, "reason": refusal})
        else:
            status = 404 if refusal == _NOTHING_HERE else 403
            await PlainTextResponse(refusal, status)(scope, receive, send)

    def _refusal(self, scope: Scope) -> str | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if _name(host) not in self.hosts or len(headers.getlist("host")) != 1:
            return "This server does not go by that name."
        origin = headers.get("origin")
        if origin is not None and _place(origin) != host.lower():
            return "Requests from other sites are refused."
        return _NOTHING_HERE if _is_closed(scope["path"]) else None


_NOTHING_HERE = "Not found."


def _is_closed(path: str) -> bool:
    parts = [part for part in path.lower().split("/") if part not in {"", "."}]
    return parts[:1] == ["_stcore"] and parts[1:2] != [] and parts[1] in CLOSED


def _name(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _place(origin: str) -> str:
    """``https://name:port`` -> ``name:port``; the scheme may differ behind a proxy. ``null`` is no place."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""
