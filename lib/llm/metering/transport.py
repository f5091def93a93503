"""The metered transport under a provider's SDK: every HTTP attempt is opened and settled in the ledger.

What ends how (the status of the usage row):

- never sent (no connection, no free place in the pool): no row, a line in the run's log;
- sent, and no answer came: ``unknown``; so is whatever dies with its process;
- an answer that is no 2xx: ``error``, costs nothing; a failed key may let the platform's take over, as a
  second attempt with a row of its own;
- a 2xx answer: ``ok`` at its end; ``broken`` where it breaks off or reports its own failure; ``abandoned``
  where the caller leaves before the provider has told the usage.
"""

from __future__ import annotations

import atexit
import os
import time
from collections.abc import Iterator

import httpx2

from lib.db.reentrancy import marked
from lib.errors import DatabaseUnavailable, Forbidden, KeyMissing, LeaseLost, NotMetered, PriceUnknown
from lib.interruption import is_from_outside
from lib.ledger.attempts import AttemptResult
from lib.ledger.ledger import Ledger
from lib.ledger.settlement_queue import SETTLE_SECONDS, Hold
from lib.llm.http import inner_transport
from lib.llm.metering.attempt import LARGEST_ERROR_BODY, Attempt
from lib.llm.metering.reservation import Reservation
from lib.llm.metering.upstream_request import RequestGuard, shorten_timeouts
from lib.llm.provider import Provider
from lib.llm.redaction import clean_error
from lib.runs.lifecycle import StartedRun
from lib.settings import Settings

ERROR_PATIENCE = 30.0
"""Seconds that the body of an error answer is read for."""

CANNOT_TAKE_OVER = (Forbidden, KeyMissing, NotMetered, PriceUnknown)
"""Why the platform key may not take over: then the caller gets the provider's own refusal."""


_shared: dict[tuple[object, ...], httpx2.HTTPTransport] = {}


class _Connections:
    """The connections of this process to one provider, for all its runs: they hold no key, and opening them takes long.

    They do not cross a fork. Two threads at once may make one pool too many; it holds nothing.
    """

    def __init__(self, settings: Settings, base_url: str) -> None:
        self._settings = settings
        self._base_url = base_url
        self._kind = base_url.startswith("https:"), settings.https_proxy, settings.ca_file

    def pool(self) -> httpx2.HTTPTransport:
        """Where requests go."""
        which = os.getpid(), *self._kind
        if which not in _shared:
            _shared.setdefault(which, inner_transport(self._settings, self._base_url))
        return _shared[which]

    def renew(self, error: BaseException) -> None:
        """Have later calls open connections of their own, where an exception from outside came in the middle of these.

        Nobody knows what state a connection is in then, or its lock. The calls under way on the others go on.
        """
        if is_from_outside(error):
            _shared.pop((os.getpid(), *self._kind), None)


@atexit.register
def _close_connections() -> None:
    for which, pool in _shared.items():
        if which[0] == os.getpid():
            pool.close()


class MeteredTransport(httpx2.BaseTransport):
    """One run's way to the provider. Safe for threads, and in a process that has forked."""

    def __init__(self, provider: Provider, ledger: Ledger, settings: Settings, run: StartedRun) -> None:
        self._ledger = ledger
        self._guard = RequestGuard(provider, settings)
        self._connections = _Connections(settings, settings.provider(provider.facts.name).base_url)
        self._run = run

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send one request of the SDK's, on whoever's key the ledger says."""
        if self._guard.must_read(request):
            request.read()
        plan = self._guard.plan(request)
        failed: Attempt | None = None
        response: httpx2.Response | None = None
        while True:
            attempt = Attempt(plan, Reservation(self._ledger, self._run))
            hold = attempt.guard()
            try:
                if not self._open(attempt, failed) and response is not None:
                    return response
                answer = self._send(attempt, request)
                if answer.is_success:
                    return _passed_through(attempt, hold, answer, self._connections)
                response = self._refuse(attempt, answer)
            except BaseException as error:
                self._connections.renew(error)
                attempt.leave()
                raise
            if attempt.why_failed is None:
                return response
            failed = attempt

    def close(self) -> None:
        """Wait a moment for what is still owed. The connections serve the next run."""
        self._ledger.queue.flush(SETTLE_SECONDS)

    def _open(self, attempt: Attempt, failed: Attempt | None) -> bool:
        """Open the attempt. False: it was to go on for a failed one, and may not."""
        try:
            attempt.open(failed)
        except CANNOT_TAKE_OVER:
            if failed is None:
                raise
            return False
        return True

    def _send(self, attempt: Attempt, request: httpx2.Request) -> httpx2.Response:
        try:
            # A finalizer that closed an answer in here would wait for the lock that this thread holds.
            with marked():
                pool = self._connections.pool()
                attempt.limit_waiting()
                attempt.answer = pool.handle_request(attempt.request(attempt.trace))
                return attempt.answer
        except BaseException as error:  # noqa: BLE001 - its frames hold the key: none may travel on
            self._connections.renew(error)
            end, raised = attempt.unanswered(error, request)
        end()
        raise raised

    def _refuse(self, attempt: Attempt, answer: httpx2.Response) -> httpx2.Response:
        body, interrupted = self._read_error(attempt, answer)
        version = answer.extensions.get("http_version", b"HTTP/1.1")
        refusal = attempt.refuse(answer.status_code, answer.headers, body, version)
        attempt.reservation.settle(refusal.outcome)
        if interrupted is not None:
            raise interrupted
        return refusal.response

    def _read_error(self, attempt: Attempt, answer: httpx2.Response) -> tuple[bytes, BaseException | None]:
        """As much of an error's body as is of interest; the status alone would do."""
        shorten_timeouts(attempt.timeouts)
        attempt.limit_waiting(ERROR_PATIENCE)
        until = time.monotonic() + ERROR_PATIENCE
        body, interrupted = bytearray(), None
        try:
            for chunk in answer.iter_bytes():
                body += chunk
                if len(body) > LARGEST_ERROR_BODY or time.monotonic() > until:
                    break
        except Exception:  # noqa: BLE001 - what has arrived has to do
            interrupted = None
        except BaseException as error:  # noqa: BLE001 - interrupted: settle first
            self._connections.renew(error)
            interrupted = clean_error(error, None, None)
        attempt.close_answer()
        return bytes(body[:LARGEST_ERROR_BODY]), interrupted


def _passed_through(
    attempt: Attempt, hold: Hold, answer: httpx2.Response, connections: _Connections
) -> httpx2.Response:
    headers = attempt.accept(answer)
    attempt.chunks = answer.iter_bytes()
    return httpx2.Response(
        answer.status_code,
        headers=headers,
        stream=_MeteredStream(attempt, hold, connections),
        extensions={"http_version": answer.extensions.get("http_version", b"HTTP/1.1")},
    )


class _MeteredStream(httpx2.SyncByteStream):
    """Passes an answer through as it arrives, and settles its attempt exactly once.

    Forgotten without being closed, it lets go of the hold, and the attempt is left as what it is.
    """

    def __init__(self, attempt: Attempt, hold: Hold, connections: _Connections) -> None:
        self._attempt = attempt
        self._hold = hold
        self._connections = connections

    def __iter__(self) -> Iterator[bytes]:
        """Goes on where it was left, as the HTTP stack's own streams do: the SDK drains what is left so."""
        while (passed := self._next()) is not None:
            if passed:
                yield passed
        if rest := self._attempt.parser.finish():
            yield rest
        self._end(self._attempt.ended())

    def close(self) -> None:
        """The caller has had enough; after the end this changes nothing."""
        self._end(self._attempt.left())

    def _end(self, result: AttemptResult) -> None:
        try:
            self._attempt.reservation.settle(result)
        finally:
            self._release()

    def _release(self) -> None:
        try:
            self._attempt.release_answer()
        except BaseException as error:
            self._connections.renew(error)
            raise

    def _next(self) -> bytes | None:
        """What the caller gets next; no frame that waits may hold what came, before the key is out of it."""
        try:
            self._attempt.require_time()
            self._attempt.limit_waiting()
            with marked():
                chunk = next(self._attempt.chunks, None)
            self._keep_lease()
        except BaseException as error:  # noqa: BLE001 - its frames hold the request that left
            self._connections.renew(error)
            result, raised = self._attempt.cut(error, None)
        else:
            return None if chunk is None else self._fed(chunk)
        self._end(result)
        raise raised

    def _fed(self, chunk: bytes) -> bytes:
        parser = self._attempt.parser
        passed = parser.feed(chunk)
        if parser.usage.over:
            self._end(self._attempt.ended())
        return passed

    def _keep_lease(self) -> None:
        attempt = self._attempt
        if not attempt.lease.is_due():
            return
        try:
            attempt.reservation.renew(attempt.lease.length)
        except (LeaseLost, DatabaseUnavailable) as problem:
            lost = attempt.lease.loss(problem)
        else:
            attempt.lease.renewed()
            return
        if lost is not None:
            raise lost
