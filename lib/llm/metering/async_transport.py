"""The metered transport under an asynchronous SDK; how attempts end stands in lib/llm/metering/transport.py.

The ledger works in threads of its own, so that no event loop waits for a database and none can cancel a
settlement half-way.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import ParamSpec, TypeVar
from weakref import WeakKeyDictionary

import httpx2

from lib.errors import DatabaseUnavailable, LeaseLost
from lib.ledger.attempts import AttemptResult
from lib.ledger.ledger import Ledger
from lib.ledger.settlement_queue import SETTLE_SECONDS, Hold
from lib.llm.deadline import limit_streams
from lib.llm.http import async_inner_transport
from lib.llm.metering.attempt import LARGEST_ERROR_BODY, Attempt
from lib.llm.metering.reservation import Reservation, in_thread
from lib.llm.metering.transport import CANNOT_TAKE_OVER, ERROR_PATIENCE
from lib.llm.metering.upstream_request import RequestGuard, shorten_timeouts
from lib.llm.provider import Provider
from lib.llm.redaction import clean_error
from lib.runs.lifecycle import StartedRun
from lib.settings import Settings

P = ParamSpec("P")
T = TypeVar("T")


async def _threaded(act: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> T:
    """Wait for ``act`` in a thread. It runs to its end even if the waiting is cancelled."""
    return await asyncio.shield(asyncio.wrap_future(in_thread(act, *arguments, **options)))


class MeteredAsyncTransport(httpx2.AsyncBaseTransport):
    """One run's way to the provider, for asyncio: from any event loop, and in a process that has forked."""

    def __init__(self, provider: Provider, ledger: Ledger, settings: Settings, run: StartedRun) -> None:
        self._ledger = ledger
        self._guard = RequestGuard(provider, settings)
        self._settings = settings
        self._base_url = settings.provider(provider.facts.name).base_url
        self._run = run
        self._inners: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[int, httpx2.AsyncHTTPTransport]] = (
            WeakKeyDictionary()
        )

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send one request of the SDK's, on whoever's key the ledger says."""
        if self._guard.must_read(request):
            await request.aread()
        plan = self._guard.plan(request)
        failed: Attempt | None = None
        response: httpx2.Response | None = None
        while True:
            attempt = Attempt(plan, Reservation(self._ledger, self._run))
            hold = attempt.guard()
            if not await self._open(attempt, hold, failed) and response is not None:
                return response
            try:
                answer = await self._send(attempt, request)
                if answer.is_success:
                    return _passed_through(attempt, hold, answer)
                response = await self._refuse(attempt, answer)
            except BaseException:
                # Not while it is opened: the thread that does that has the hold, and the last word.
                attempt.leave()
                raise
            if attempt.why_failed is None:
                return response
            failed = attempt

    async def aclose(self) -> None:
        """Close this loop's connections, and wait a moment for what is still owed."""
        inners = self._inners.pop(asyncio.get_running_loop(), {})
        inner = inners.get(os.getpid())
        if inner is not None:
            await inner.aclose()
        await _threaded(self._ledger.queue.flush, SETTLE_SECONDS)

    async def _open(self, attempt: Attempt, hold: Hold, failed: Attempt | None) -> bool:
        """Open the attempt. False: it was to go on for a failed one, and may not."""
        try:
            await _threaded(_open_held, hold, attempt, failed)
        except CANNOT_TAKE_OVER:
            if failed is None:
                raise
            return False
        return True

    def _inner(self) -> httpx2.AsyncHTTPTransport:
        """Connections belong to one event loop of one process."""
        inners = self._inners.setdefault(asyncio.get_running_loop(), {})
        process = os.getpid()
        if process not in inners:
            inners[process] = async_inner_transport(self._settings, self._base_url)
            limit_streams(inners[process])
        return inners[process]

    async def _send(self, attempt: Attempt, request: httpx2.Request) -> httpx2.Response:
        try:
            attempt.limit_waiting()
            async with asyncio.timeout(attempt.time_left()):
                return await self._inner().handle_async_request(attempt.request(attempt.trace_async))
        except TimeoutError:
            end, raised = attempt.unanswered(attempt.late(), request)
        except BaseException as error:  # noqa: BLE001 - its frames hold the key: none may travel on
            end, raised = attempt.unanswered(error, request)
        await _end(attempt, end)
        raise raised

    async def _refuse(self, attempt: Attempt, answer: httpx2.Response) -> httpx2.Response:
        body, interrupted = await self._read_error(attempt, answer)
        version = answer.extensions.get("http_version", b"HTTP/1.1")
        refusal = attempt.refuse(answer.status_code, answer.headers, body, version)
        await _settle(attempt, refusal.outcome)
        if interrupted is not None:
            raise interrupted
        return refusal.response

    async def _read_error(
        self, attempt: Attempt, answer: httpx2.Response
    ) -> tuple[bytes, BaseException | None]:
        """As much of an error's body as is of interest; the status alone would do."""
        shorten_timeouts(attempt.timeouts)
        attempt.limit_waiting(ERROR_PATIENCE)
        until = time.monotonic() + ERROR_PATIENCE
        body, interrupted = bytearray(), None
        try:
            async for chunk in answer.aiter_bytes():
                body += chunk
                if len(body) > LARGEST_ERROR_BODY or time.monotonic() > until:
                    break
            await answer.aclose()
        except Exception:  # noqa: BLE001 - what has arrived has to do
            await answer.aclose()
        except BaseException as error:  # noqa: BLE001 - cancelled: settle first
            interrupted = clean_error(error, None, None)
        return bytes(body[:LARGEST_ERROR_BODY]), interrupted


def _open_held(hold: Hold, attempt: Attempt, failed: Attempt | None) -> None:
    """In a thread, which keeps the hold until the opening is done, should nobody be there any more by then."""
    attempt.open(failed)
    del hold


async def _settle(attempt: Attempt, result: AttemptResult) -> None:
    await _end(attempt, partial(attempt.reservation.settle, result))


async def _end(attempt: Attempt, end: Callable[[], None]) -> None:
    """End it once, whoever else tries, and to the end, whoever cancels; return when it is done.

    Whoever was cancelled while waiting closes the answer next, and waits there.
    """
    if attempt.settling is None and not attempt.reservation.is_done:
        attempt.settling = in_thread(end)
    if attempt.settling is not None:
        await asyncio.shield(asyncio.wrap_future(attempt.settling))


def _passed_through(attempt: Attempt, hold: Hold, answer: httpx2.Response) -> httpx2.Response:
    headers = attempt.accept(answer)
    return httpx2.Response(
        answer.status_code,
        headers=headers,
        stream=_MeteredStream(attempt, hold, answer),
        extensions={"http_version": answer.extensions.get("http_version", b"HTTP/1.1")},
    )


class _MeteredStream(httpx2.AsyncByteStream):
    """Passes an answer through as it arrives, and settles its attempt exactly once.

    Forgotten without being closed, it lets go of the hold, and the attempt is left as what it is.
    """

    def __init__(self, attempt: Attempt, hold: Hold, answer: httpx2.Response) -> None:
        self._attempt = attempt
        self._hold = hold
        self._answer: httpx2.Response | None = answer
        self._chunks: AsyncIterator[bytes] | None = answer.aiter_bytes()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Goes on where it was left, as the HTTP stack's own streams do: the SDK drains what is left so."""
        while (passed := await self._next()) is not None:
            if passed:
                yield passed
        if rest := self._attempt.parser.finish():
            yield rest
        await _settle(self._attempt, self._attempt.ended())
        await self._release()

    async def aclose(self) -> None:
        """The caller has had enough; after the end this changes nothing."""
        try:
            await _settle(self._attempt, self._attempt.left())
        finally:
            await self._release()

    async def _next(self) -> bytes | None:
        """What the caller gets next; no frame that waits may hold what came, before the key is out of it."""
        try:
            self._attempt.require_time()
            self._attempt.limit_waiting()
            chunk = await anext(self._chunks, None) if self._chunks else None
            await self._keep_lease()
        except BaseException as error:  # noqa: BLE001 - its frames hold the request that left
            outcome, raised = self._attempt.cut(error, None)
        else:
            return None if chunk is None else self._attempt.parser.feed(chunk)
        await _settle(self._attempt, outcome)
        await self._release()
        raise raised

    async def _keep_lease(self) -> None:
        attempt = self._attempt
        if not attempt.lease.is_due():
            return
        try:
            await _threaded(attempt.reservation.renew, attempt.lease.length)
        except (LeaseLost, DatabaseUnavailable) as problem:
            lost = attempt.lease.loss(problem)
        else:
            attempt.lease.renewed()
            return
        if lost is not None:
            raise lost

    async def _release(self) -> None:
        answer, self._answer, self._chunks = self._answer, None, None
        if answer is not None:
            await answer.aclose()
