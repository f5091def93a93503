"""Around Streamlit's sign-in routes: cookies for https only, and back to the address one came from."""

from __future__ import annotations

from collections.abc import Collection
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOGIN, CALLBACK = "/auth/login", "/oauth2callback"
COOKIE = "qodex_wanted"
OUTCOME = "signin"
"""In the address that a sign-in ends at without success: ``lost`` or ``refused``. The gate says what that means."""
_SESSION = b"_streamlit_user="
_LONGEST_QUERY = 1_500
_MINUTES = 10


class SecureCookies:
    """Mark every cookie ``Secure``; Streamlit leaves that to its operator. Only where people come over https."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [_marked(name, value) for name, value in message["headers"]]
            await send(message)

        await self.app(scope, receive, marked if scope["type"] == "http" else send)


def _marked(name: bytes, value: bytes) -> tuple[bytes, bytes]:
    if name.lower() != b"set-cookie" or b"; secure" in value.lower():
        return name, value
    return name, value + b"; Secure"


class ReturnToMiddleware:
    """After sign-in one arrives at the page that one wanted; Streamlit would lead to the first one.

    Also where it did not succeed, and then the address says so: Streamlit would lead back to the gate without a
    word. A callback is lost where another server began the sign-in, or began it too long ago. The address is kept in a cookie from the sign-in button's request to the provider's answer. It is only
    ever the path of one of our pages with a query, whatever the cookie or the referrer says.

    Args:
        pages: the paths of our pages: ``/``, ``/usage``, …
    """

    def __init__(self, app: ASGIApp, pages: Collection[str]) -> None:
        self.app = app
        self.pages = frozenset(pages)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"] if scope["type"] == "http" else None
        if path == LOGIN:
            await self.app(scope, receive, self._remembering(Headers(scope=scope), send))
        elif path == CALLBACK:
            await self.app(scope, receive, self._leading_back(scope, send))
        else:
            await self.app(scope, receive, send)

    def _remembering(self, headers: Headers, send: Send) -> Send:
        wanted = self._of_referrer(headers)

        async def remembering(message: Message) -> None:
            if message["type"] == "http.response.start" and wanted:
                MutableHeaders(scope=message).append("Set-Cookie", _cookie(wanted, 60 * _MINUTES))
            await send(message)

        return remembering

    def _leading_back(self, scope: Scope, send: Send) -> Send:
        headers, outcome = Headers(scope=scope), _outcome(scope["query_string"])
        wanted = self._ours(_kept(headers.get("cookie", "")))

        async def leading_back(message: Message) -> None:
            if message["type"] == "http.response.start":
                answer = MutableHeaders(scope=message)
                if answer.get("location") == "/":
                    failed = None if _signs_in(message) else outcome
                    answer["location"] = _with_outcome(wanted or "/", failed)
                if wanted:
                    answer.append("Set-Cookie", _cookie("", 0))
            await send(message)

        return leading_back

    def _of_referrer(self, headers: Headers) -> str | None:
        try:
            parts = urlsplit(headers.get("referer", ""))
        except ValueError:
            return None
        if parts.netloc.lower() != headers.get("host", "").lower():
            return None
        return self._ours(f"{parts.path}?{parts.query}")

    def _ours(self, address: str) -> str | None:
        """The address with its query written anew, if it is one of our pages."""
        path, _, query = address.partition("?")
        if path not in self.pages or len(query) > _LONGEST_QUERY:
            return None
        pairs = [pair for pair in parse_qsl(query, keep_blank_values=True) if pair[0] != OUTCOME]
        return f"{path}?{urlencode(pairs)}" if pairs else path


def _outcome(query: bytes) -> str | None:
    """What to say where this callback signs no person in; None where none was meant to: it follows a sign-out, too."""
    asked = dict(parse_qsl(query.decode("latin-1"), keep_blank_values=True))
    if "error" in asked:
        return "refused"
    return "lost" if "state" in asked else None


def _signs_in(message: Message) -> bool:
    return any(
        name.lower() == b"set-cookie" and value.startswith(_SESSION) and b"max-age=0" not in value.lower()
        for name, value in message["headers"]
    )


def _with_outcome(address: str, outcome: str | None) -> str:
    return f"{address}{'&' if '?' in address else '?'}{OUTCOME}={outcome}" if outcome else address


def _cookie(value: str, seconds: int) -> str:
    # Lax: the provider's answer is a navigation that comes from another site.
    return f"{COOKIE}={quote(value, safe='')}; Path={CALLBACK}; Max-Age={seconds}; HttpOnly; SameSite=Lax"


def _kept(header: str) -> str:
    try:
        found = SimpleCookie(header).get(COOKIE)
    except CookieError:
        return ""
    return unquote(found.value) if found else ""
