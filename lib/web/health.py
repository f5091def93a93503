"""Whether this server is alive, and whether it is of use: for load balancers and orchestrators.

Alive is this process alone: to restart it because the database is away would only make things worse.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from lib.errors import QodexError

log = logging.getLogger(__name__)

NO_STORE = {"Cache-Control": "no-store"}
READY_SECONDS = 3.0
"""How long ``/readyz`` takes at most, whatever the database does."""


async def healthz(_: Request) -> Response:
    """200: this process answers. It waits for nothing."""
    return JSONResponse({"status": "ok"}, headers=NO_STORE)


class Readiness:
    """``/readyz``: 200 where pages can be served and calls be made, 503 where not. Why stands in the log only.

    Args:
        check: raises a QodexError while this server cannot do its work; may wait.
        seconds: after which the answer is 503 without it. The next request asks for the result of the same check.
    """

    def __init__(self, check: Callable[[], object], seconds: float = READY_SECONDS) -> None:
        self._check, self._seconds = check, seconds
        self._running: Future[str] | None = None
        self._told = ""

    async def __call__(self, _: Request) -> Response:
        """Answer one request."""
        if self._running is None or self._running.done():
            self._running = self._start()
        waited = asyncio.wrap_future(self._running)
        await asyncio.wait({waited}, timeout=self._seconds)
        self._tell(waited.result() if waited.done() else "The check of the database takes too long.")
        if self._told:
            return JSONResponse({"status": "unavailable"}, 503, headers=NO_STORE)
        return JSONResponse({"status": "ok"}, headers=NO_STORE)

    def _start(self) -> Future[str]:
        """In a thread of its own: one that hangs takes no place from pages, and does not hold up the process's end."""
        found: Future[str] = Future()
        threading.Thread(target=self._look, args=(found,), daemon=True, name="qodex-ready").start()
        return found

    def _look(self, found: Future[str]) -> None:
        try:
            self._check()
        except QodexError as problem:
            found.set_result(problem.sentence)
        except Exception:
            log.exception("The check of readiness failed")
            found.set_result("The check of readiness failed.")
        else:
            found.set_result("")

    def _tell(self, reason: str) -> None:
        """A change is news for the log; the same again each few seconds is not."""
        if reason != self._told:
            log.warning("Not ready: %s", reason) if reason else log.info("Ready again.")
        self._told = reason


def routes(check: Callable[[], object]) -> list[Route]:
    """Both routes. ``check`` as Readiness takes it."""
    ready = Readiness(check)

    async def readyz(request: Request) -> Response:
        return await ready(request)

    return [Route("/healthz", healthz, methods=["GET"]), Route("/readyz", readyz, methods=["GET"])]
