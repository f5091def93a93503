"""The exports of this server: by a signed link one gets the file, or its ``.meta.json``, or one sentence.

A client that goes away while a file is written or sent frees it, and its database connection, at once.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from typing import IO

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from lib.access.roles import Actor
from lib.errors import BadInput, DatabaseUnavailable, Forbidden, ProjectUnknown, QodexError
from lib.exchange.export import exportable
from lib.platform import Platform
from lib.pricing.amounts import plain_usd
from lib.sample.deployment import visitor
from lib.web.downloads import export_files
from lib.web.downloads.export_files import ExportFile, TooLarge, Unwritable
from lib.web.downloads.export_jobs import ExportCache, ExportJob, ExportJobs
from lib.web.downloads.export_slots import MOST_SLOTS, Busy, ClientDisconnected, ExportSlots
from lib.web.downloads.link_auth import authorize
from lib.web.downloads.links import FILES, FOLDER, Link, LinkRefused, browser_of

log = logging.getLogger(__name__)

RETRY_SECONDS = 30
STALLED_SECONDS = 60
"""How long a client may take none of a file before the connection is closed."""

_CHUNK = 256 * 1024
_TYPES = {
    "csv": "text/csv; charset=utf-8",
    "daily-csv": "text/csv; charset=utf-8",
    "parquet": "application/vnd.apache.parquet",
}
_NO_STORE = {"Cache-Control": "no-store"}


class ExportService:
    """Answers the requests for files, and prepares them for pages.

    Args:
        platform: gives the front door; raises a QodexError while there is none.
        sample: gives the sample deployment; None where it is not loaded.
    """

    def __init__(
        self, platform: Callable[[], Platform], sample: Callable[[], Platform | None] = lambda: None
    ) -> None:
        self._platform, self._sample = platform, sample
        self._slots, self._cache = ExportSlots(), ExportCache()
        self._jobs = ExportJobs(self._platform_of, self._slots, self._cache)
        # Not the threads of everybody: whatever waits here keeps no page waiting.
        self._threads = ThreadPoolExecutor(MOST_SLOTS, thread_name_prefix="export")

    def routes(self) -> list[Route]:
        """One for each format; the token says the rest."""
        return [Route(f"{FOLDER}/{name}", _Door(self, kind)) for kind, name in FILES.items()]

    def prepare(self, link: Link, token: str, actor: Actor) -> ExportJob:
        """Begin to write the file of a link, for its page to watch. Raises Busy."""
        return self._jobs.prepare(link, token, actor)

    def drop(self, job: ExportJob) -> None:
        """Give up the writing, or forget the file."""
        self._jobs.drop(job)

    def close(self) -> None:
        """Forget all files."""
        self._cache.clear()

    async def serve(self, request: Request, kind: str, send: Send) -> None:
        """Answer one request, with the file or with one sentence."""
        gone = threading.Event()
        away = asyncio.create_task(_wait_until_away(request.receive, gone))
        try:
            link, actor, made = await asyncio.to_thread(self._authorize, request, kind)
            with nullcontext() if made else self._slots.hold(link.owner):
                made = made or await self._make(link, actor, gone)
                # From here on nothing else can be said: a file that breaks off is an error to the browser.
                meta = request.query_params.get("meta") == "1"
                await _send_unless_away(made, send, away, meta=meta)
        except ClientDisconnected:
            log.info("An export was given up: nobody waits for it.")
        except QodexError as problem:
            await _sentence(problem)(request.scope, request.receive, send)
        finally:
            away.cancel()

    def _authorize(self, request: Request, kind: str) -> tuple[Link, Actor, ExportFile | None]:
        platform = self._platform()
        token, browser = request.query_params.get("t", ""), browser_of(request.headers.get("cookie", ""))
        link, actor = authorize(platform, token, browser, kind)
        # Also for a file that is there already: rights may have been lost since it was written.
        actor = visitor(actor) if link.sample else actor
        allowed = exportable(self._platform_of(link).database, link.wanted, actor)
        made = self._cache.get(token)
        if made and not set(made.done.wanted.projects) <= set(allowed):
            made.file.close()
            made = None
        return link, actor, made

    def _platform_of(self, link: Link) -> Platform:
        platform = self._sample() if link.sample else self._platform()
        if platform is None:
            raise LinkRefused("The sample data was removed.", link.owner)
        return platform

    async def _make(self, link: Link, actor: Actor, gone: threading.Event) -> ExportFile:
        loop = asyncio.get_running_loop()
        job = loop.run_in_executor(
            self._threads, lambda: export_files.write(self._platform_of(link), link, actor, gone)
        )
        try:
            return await asyncio.shield(job)
        except asyncio.CancelledError:
            gone.set()
            job.add_done_callback(_discard)
            raise


class _Door:
    """The application behind one path."""

    def __init__(self, service: ExportService, kind: str) -> None:
        self._service, self._kind = service, kind

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] != "GET":
            refusal = PlainTextResponse("Only GET.", 405, headers={"Allow": "GET"})
            await refusal(scope, receive, send)
        else:
            await self._service.serve(Request(scope, receive), self._kind, send)


# --- what is answered ------------------------------------------------------------------------------


def _sentence(problem: QodexError) -> Response:
    status = 503
    if isinstance(problem, Forbidden | ProjectUnknown):
        status = 403
    elif isinstance(problem, TooLarge):
        status = 413
    elif isinstance(problem, BadInput):
        status = 400
    elif not isinstance(problem, Busy | DatabaseUnavailable | Unwritable):
        log.error("An export failed: %s", problem)
    retry = {"Retry-After": str(RETRY_SECONDS)} if status == 503 else {}  # noqa: PLR2004 - HTTP
    return PlainTextResponse(problem.sentence, status, headers=_NO_STORE | retry)


async def _wait_until_away(receive: Receive, gone: threading.Event) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    gone.set()


async def _send_unless_away(made: ExportFile, send: Send, away: asyncio.Task[None], *, meta: bool) -> None:
    sending = asyncio.create_task(_send_meta(made, send) if meta else _send(made, send))
    try:
        await asyncio.wait({sending, away}, return_when=asyncio.FIRST_COMPLETED)
        if not sending.done():
            raise ClientDisconnected
        await sending
    except TimeoutError:
        log.warning("An export was broken off: its receiver took nothing for %s seconds.", STALLED_SECONDS)
    finally:
        await asyncio.shield(_stop(sending, made.file))


async def _stop(sending: asyncio.Task[None], file: IO[bytes]) -> None:
    sending.cancel()
    await asyncio.wait({sending})
    await asyncio.to_thread(file.close)


async def _send(made: ExportFile, send: Send) -> None:
    """The whole file, or an error that the browser shows: the length is promised first."""
    length, sent = made.done.bytes, 0
    await _begin(send, made.name, _TYPES[made.done.format], length, made)
    while sent < length:
        chunk = await asyncio.to_thread(made.piece, sent, _CHUNK)
        if not chunk:
            raise OSError("an export's file is shorter than it was")
        sent += len(chunk)
        message = {"type": "http.response.body", "body": chunk, "more_body": sent < length}
        async with asyncio.timeout(STALLED_SECONDS):
            await send(message)


async def _send_meta(made: ExportFile, send: Send) -> None:
    content = made.meta()
    await _begin(send, f"{made.name}.meta.json", "application/json", len(content), made)
    await send({"type": "http.response.body", "body": content})


async def _begin(send: Send, name: str, kind: str, length: int, made: ExportFile) -> None:
    headers = _NO_STORE | {
        "Content-Type": kind,
        "Content-Length": str(length),
        "Content-Encoding": "identity",  # compressed on the way it would have no length
        "Content-Disposition": f'attachment; filename="{name}"',
        "X-Qodex-Rows": str(made.done.rows),
        "X-Qodex-SHA256": made.done.sha256,
        "X-Qodex-Platform-USD": plain_usd(made.done.platform_nano),
        "X-Qodex-BYOK-USD": plain_usd(made.done.byok_nano),
        "X-Qodex-Unpriced-Calls": str(made.done.unpriced_calls),
    }
    await send(
        {"type": "http.response.start", "status": 200, "headers": Response(headers=headers).raw_headers}
    )


def _discard(job: asyncio.Future[ExportFile]) -> None:
    if not job.cancelled() and job.exception() is None:
        job.result().file.close()
