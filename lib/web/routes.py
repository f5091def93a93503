"""Plain HTTP beside the pages."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

from starlette.middleware import Middleware
from starlette.routing import Route

from lib.web import health
from lib.web.browser_cookie import BrowserCookieMiddleware
from lib.web.downloads.exports import ExportService
from lib.web.headers import HostOriginMiddleware, SecurityHeaders
from lib.web.local_mode import ThisMachineMiddleware
from lib.web.signin import ReturnToMiddleware, SecureCookies


def routes(check: Callable[[], object], exports: ExportService | None = None) -> list[Route]:
    """The routes of this server.

    Args:
        check: raises a QodexError while this server cannot do its work; may wait.
        exports: answers the requests for files, if there are any.
    """
    return [*health.routes(check), *(exports.routes() if exports else [])]


def middleware(
    hosts: Collection[str],
    *,
    pages: Collection[str] = (),
    https: bool = False,
    local: bool = False,
    scripts: Collection[str] = (),
    inside: Sequence[Callable[[Any], Any]] = (),
) -> list[Middleware]:
    """What every request passes, outermost first.

    Args:
        hosts: as HostOriginMiddleware takes them.
        pages: as ReturnToMiddleware and BrowserCookieMiddleware take them.
        https: whether people come over https, so that cookies may ask for it, and no page over http may ask anything.
        local: whether there is no sign-in, so that only this machine may be served.
        scripts: as SecurityHeaders takes them.
        inside: more of them, as pure ASGI, innermost.
    """
    return [
        Middleware(SecurityHeaders, scripts=scripts, https=https),
        *([Middleware(ThisMachineMiddleware)] if local else []),
        *([Middleware(SecureCookies)] if https else []),
        Middleware(HostOriginMiddleware, hosts=hosts, https=https),
        Middleware(ReturnToMiddleware, pages=pages),
        Middleware(BrowserCookieMiddleware, pages=tuple(pages)),
        *map(Middleware, inside),
    ]
