"""Exports as files: written whole from one moment of the database, then sent with their length and hash.

A file lies in a temporary place without a name, so it is gone with its process. Whoever goes away while it is
written or sent frees it, and its database connection, at once.
"""

from __future__ import annotations

import asyncio
import logging
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import IO, Any, cast

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lib.access.refusals import refusals_logged
from lib.access.roles import Actor, Origin, local_administrator
from lib.access.sessions import Rules, Sessions
from lib.errors import (
    BadInput,
    DatabaseUnavailable,
    Forbidden,
    ProjectUnknown,
    QodexError,
    SessionEnded,
    SignInRefused,
)
from lib.platform import Platform
from lib.usage.export import Exported, export_usage
from lib.web.links import COOKIE, FILES, FOLDER, Link, LinkRefused, Signer, browser_of, file_name, new_browser

log = logging.getLogger(__name__)

MOST_AT_ONCE = 3
MOST_BYTES = 2 * 1024**3
RETRY_SECONDS = 30
STALLED_SECONDS = 60
"""How long somebody may take none of a file before the connection is closed."""

_CHUNK = 256 * 1024
_TYPES = {
    "csv": "text/csv; charset=utf-8",
    "daily-csv": "text/csv; charset=utf-8",
    "parquet": "application/vnd.apache.parquet",
}
_TRIED = "export usage by a link"
_NO_STORE = {"Cache-Control": "no-store"}


class TooLarge(QodexError):
    """The file would be larger than this server makes them."""


class Busy(QodexError):
    """As many exports as may run are running."""


class _GoneAway(Exception):
    """Nobody waits for the file any more."""


class _Unwritable(Exception):
    """The temporary file failed, for one because the disk is full."""


class NamedBrowser:
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


@dataclass
class _Made:
    """A file that is whole, open at its beginning."""

    file: IO[bytes]
    done: Exported
    name: str


class ExportDesk:
    """Answers the requests for files.

    Args:
        platform: gives the front door; raises a QodexError while there is none.
    """

    def __init__(self, platform: Callable[[], Platform]) -> None:
        self._platform = platform
        self._running = 0
        # Not the threads of everybody: whatever waits here keeps no page waiting.
        self._threads = ThreadPoolExecutor(MOST_AT_ONCE, thread_name_prefix="export")

    def routes(self) -> list[Route]:
        """One for each format; the token says the rest."""
        return [Route(f"{FOLDER}/{name}", _Door(self, kind)) for kind, name in FILES.items()]

    async def serve(self, request: Request, kind: str, send: Send) -> None:
        """Answer one request, with the file or with one sentence."""
        gone = threading.Event()
        away = asyncio.create_task(_wait_until_away(request.receive, gone))
        try:
            link, actor = await asyncio.to_thread(self._admit, request, kind)
            with self._turn():
                made = await self._make(link, actor, gone)
                # From here on nothing else can be said: a file that breaks off is an error to the browser.
                await _send_unless_away(made, send, away)
        except _GoneAway:
            log.info("An export was given up: nobody waits for it.")
        except (QodexError, _Unwritable) as problem:
            await _sentence(problem)(request.scope, request.receive, send)
        finally:
            away.cancel()

    @contextmanager
    def _turn(self) -> Iterator[None]:
        if self._running >= MOST_AT_ONCE:
            raise Busy(f"{MOST_AT_ONCE} exports are running already. Try again in a moment.")
        self._running += 1
        try:
            yield
        finally:
            self._running -= 1

    def _admit(self, request: Request, kind: str) -> tuple[Link, Actor]:
        platform = self._platform()
        link = _read(platform, request, kind)
        return link, _owner(platform, link)

    async def _make(self, link: Link, actor: Actor, gone: threading.Event) -> _Made:
        job = asyncio.get_running_loop().run_in_executor(self._threads, self._write, link, actor, gone)
        try:
            return await asyncio.shield(job)
        except asyncio.CancelledError:
            gone.set()
            job.add_done_callback(_discard)
            raise

    def _write(self, link: Link, actor: Actor, gone: threading.Event) -> _Made:
        """In a thread: the file, open at its beginning."""
        platform = self._platform()
        with ExitStack() as undo, _unwritable():
            file = undo.enter_context(tempfile.TemporaryFile(prefix="qodex-export-"))
            out = cast(IO[bytes], _Bounded(file, gone))
            done = export_usage(platform.database, link.wanted, out, actor=actor, format=link.format)
            file.seek(0)
            undo.pop_all()
        projects = done.wanted.projects
        where = projects[0] if len(projects) == 1 else len(projects)
        return _Made(file, done, file_name(link.wanted, where, link.format))


class _Door:
    """The application behind one path."""

    def __init__(self, desk: ExportDesk, kind: str) -> None:
        self._desk, self._kind = desk, kind

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] != "GET":
            refusal = PlainTextResponse("Only GET.", 405, headers={"Allow": "GET"})
            await refusal(scope, receive, send)
        else:
            await self._desk.serve(Request(scope, receive), self._kind, send)


# --- who asks --------------------------------------------------------------------------------------


def _read(platform: Platform, request: Request, kind: str) -> Link:
    token, browser = request.query_params.get("t", ""), browser_of(request.headers.get("cookie", ""))
    with platform.database.read() as connection:
        now = platform.database.now(connection)
    try:
        return Signer(platform.settings).read(token, browser, kind, now)
    except LinkRefused as refusal:
        with refusals_logged(platform.database, Actor(refusal.owner, Origin.ROUTE), _TRIED):
            raise


def _owner(platform: Platform, link: Link) -> Actor:
    """Whoever the link was made for, with the roles they have now."""
    settings = platform.settings
    if settings.oidc_issuer is None:
        return local_administrator(Origin.ROUTE, link.owner)
    with refusals_logged(platform.database, Actor(link.owner, Origin.ROUTE), _TRIED):
        try:
            Sessions(platform.database).require_open(
                link.session, link.owner, link.signed_in_at, Rules.of(settings)
            )
        except (SessionEnded, SignInRefused) as ended:
            raise LinkRefused(f"This link's session is over: {ended.sentence}", link.owner) from ended
    return platform.members.actor(link.owner, Origin.ROUTE, settings.admins)


@contextmanager
def _unwritable() -> Iterator[None]:
    try:
        yield
    except OSError as problem:
        raise _Unwritable from problem


def _sentence(problem: QodexError | _Unwritable) -> Response:
    if isinstance(problem, _Unwritable):
        log.error("An export could not be written: %s", problem.__cause__)
        return _refusal("The file could not be written on the server. Tell an operator.", 503)
    status = 403
    if isinstance(problem, Busy | DatabaseUnavailable):
        status = 503
    elif isinstance(problem, TooLarge):
        status = 413
    elif isinstance(problem, BadInput):
        status = 400
    elif not isinstance(problem, Forbidden | ProjectUnknown):
        log.error("An export failed: %s", problem)
        status = 503
    return _refusal(problem.sentence, status)


def _refusal(sentence: str, status: int) -> Response:
    retry = {"Retry-After": str(RETRY_SECONDS)} if status == 503 else {}  # noqa: PLR2004 - HTTP
    return PlainTextResponse(sentence, status, headers=_NO_STORE | retry)


# --- the file --------------------------------------------------------------------------------------


class _Bounded:
    """Passes bytes on to a file until they are too many, or nobody waits for them."""

    def __init__(self, file: IO[bytes], gone: threading.Event) -> None:
        self._file, self._gone, self._bytes = file, gone, 0

    def write(self, data: Any) -> int:
        if self._gone.is_set():
            raise _GoneAway
        self._bytes += memoryview(data).nbytes
        if self._bytes > MOST_BYTES:
            raise TooLarge(
                f"This export is larger than {MOST_BYTES // 1024**2:,} MiB, the most that the page makes. Choose "
                "a shorter period, or export on the server: python -m lib usage export"
            )
        return self._file.write(data)


async def _wait_until_away(receive: Receive, gone: threading.Event) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    gone.set()


async def _send_unless_away(made: _Made, send: Send, away: asyncio.Task[None]) -> None:
    sending = asyncio.create_task(_send(made, send))
    try:
        await asyncio.wait({sending, away}, return_when=asyncio.FIRST_COMPLETED)
        if not sending.done():
            raise _GoneAway
        await sending
    except TimeoutError:
        log.warning("An export was broken off: its receiver took nothing for %s seconds.", STALLED_SECONDS)
    finally:
        await asyncio.shield(_stop(sending, made.file))


async def _stop(sending: asyncio.Task[None], file: IO[bytes]) -> None:
    sending.cancel()
    await asyncio.wait({sending})
    await asyncio.to_thread(file.close)


async def _send(made: _Made, send: Send) -> None:
    """The whole file, or an error that the browser shows: the length is promised first."""
    start = Response(headers=_headers(made))
    await send({"type": "http.response.start", "status": 200, "headers": start.raw_headers})
    left = made.done.bytes
    while left:
        chunk = await asyncio.to_thread(made.file.read, _CHUNK)
        left -= len(chunk)
        message = {"type": "http.response.body", "body": chunk, "more_body": bool(left)}
        async with asyncio.timeout(STALLED_SECONDS):
            await send(message)


def _headers(made: _Made) -> dict[str, str]:
    return _NO_STORE | {
        "Content-Type": _TYPES[made.done.format],
        "Content-Length": str(made.done.bytes),
        "Content-Encoding": "identity",  # compressed on the way it would have no length
        "Content-Disposition": f'attachment; filename="{made.name}"',
        "X-Qodex-Rows": str(made.done.rows),
        "X-Qodex-SHA256": made.done.sha256,
    }


def _discard(job: asyncio.Future[_Made]) -> None:
    if not job.cancelled() and job.exception() is None:
        job.result().file.close()
