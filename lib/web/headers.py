"""What every answer says to the browser, and which requests get none. Pure ASGI: nothing is buffered."""

from __future__ import annotations

import re
from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lib.environment.addresses import is_loopback

_CONTENT_POLICY = (
    "default-src 'self'; script-src 'self'{scripts}; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "font-src 'self' data:; connect-src 'self'; worker-src 'self' blob:; frame-ancestors 'none'; "
    "base-uri 'self'; form-action 'self'; object-src 'none'"
)
"""Nothing is loaded from another place, whatever Markdown or a chart may ask for."""

# The sign-in button's request says where one was (lib.web.signin); no other site is told anything.
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}

_HTTPS_ONLY = {"Strict-Transport-Security": f"max-age={180 * 24 * 3600}"}
"""For browsers that were here over https: a page over http under our name would be somebody's on the way."""

CLOSED = ("metrics", "upload_file", "agent", "script-health-check")
"""Streamlit answers these, and what is below them, to any client, before the pages' gate: numbers of the process,
memory for uploads, another way to drive the pages. No page here needs them."""


class SecurityHeaders:
    """Add our headers to every HTTP answer, also to refusals.

    Args:
        scripts: the hashes of the inline scripts that may run, as the content policy writes them.
        https: whether people come over https.
    """

    def __init__(self, app: ASGIApp, scripts: Collection[str] = (), *, https: bool = False) -> None:
        self.app = app
        allowed = "".join(f" {each}" for each in scripts)
        self.headers = {"Content-Security-Policy": _CONTENT_POLICY.format(scripts=allowed), **HEADERS}
        self.headers |= _HTTPS_ONLY if https else {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self.headers.items():
                    headers[name] = value
            await send(message)

        await self.app(scope, receive, with_headers if scope["type"] == "http" else send)


class HostOriginMiddleware:
    """Refuse, with 403, what comes from another site's page or under a name that is not ours.

    A page elsewhere could otherwise open our web socket, and a name of its own that points here (DNS
    rebinding) would make it same-site. Under a path (``root_path``) nothing is served: cookies, links and
    the list of what is closed hold for the root of a host name.

    Args:
        hosts: the names under which this server may be asked, without ports.
        https: whether people come over https. Then a page over http under our name is not ours either: whoever sits
            on the way could have made it.
    """

    def __init__(self, app: ASGIApp, hosts: Collection[str], *, https: bool = False) -> None:
        self.app = app
        self.hosts = frozenset(hosts)
        self.https = https

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in {"http", "websocket"} or (refusal := self._refusal(scope)) is None:
            await self.app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008, "reason": refusal[1]})
        else:
            await PlainTextResponse(refusal[1], refusal[0])(scope, receive, send)

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        """The status and the sentence for a request that gets no answer."""
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if _name(host) not in self.hosts or len(headers.getlist("host")) != 1:
            return 403, "This server does not go by that name."
        origin = headers.get("origin")
        if origin is not None and not self._is_ours(origin, host):
            return 403, "Requests from other sites are refused."
        if scope.get("root_path"):
            return (
                503,
                "The dashboard is served at the root of a host name only: take the server's root path away.",
            )
        return (404, "Not found.") if _is_closed(scope["path"]) else None

    def _is_ours(self, origin: str, host: str) -> bool:
        """Whether a page from there may ask. Without https the scheme may differ behind a proxy."""
        if self.https and not is_loopback(_name(host)) and not origin.lower().startswith("https://"):
            return False
        return _place(origin) == host.lower()


# Nothing else may stand in the header: ``name@localhost`` and ``localhost/path`` are read differently elsewhere.
_HOST = re.compile(r"(?:\[([0-9a-f:.]+)\]|([a-z0-9.-]+))(?::[0-9]{1,5})?", re.ASCII | re.IGNORECASE)


def _is_closed(path: str) -> bool:
    parts = [part for part in path.lower().split("/") if part not in {"", "."}]
    return parts[:1] == ["_stcore"] and parts[1:2] != [] and parts[1] in CLOSED


def _name(host: str) -> str:
    """``Name:port`` -> ``name``; empty where the header says more, or less."""
    found = _HOST.fullmatch(host)
    return (found[1] or found[2]).lower() if found else ""


def _place(origin: str) -> str:
    """``https://name:port`` -> ``name:port``. ``null`` is no place."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""
