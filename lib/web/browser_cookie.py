"""The cookie that tells one browser from another, which links to exports are bound to."""

from __future__ import annotations

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lib.web.downloads.links import COOKIE, browser_of, new_browser


class BrowserCookieMiddleware:
    """Give each browser that opens a page a cookie, which links to exports are bound to.

    Args:
        pages: the paths of our pages; other answers come many at once and would disagree on the name.
    """

    def __init__(self, app: ASGIApp, pages: tuple[str, ...]) -> None:
        self.app = app
        self.pages = frozenset(pages)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def naming(message: Message) -> None:
            if message["type"] == "http.response.start":
                cookie = f"{COOKIE}={new_browser()}; Path=/; HttpOnly; SameSite=Lax"
                MutableHeaders(scope=message).append("Set-Cookie", cookie)
            await send(message)

        new = scope["type"] == "http" and scope["path"] in self.pages
        new = new and browser_of(Headers(scope=scope).get("cookie", "")) is None
        await self.app(scope, receive, naming if new else send)
