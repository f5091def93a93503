"""The metered transport under ``openai.OpenAI``: every HTTP attempt is opened and settled in the ledger.

What ends how (the status of the usage row):

- never sent (no connection, no free place in the pool): ``error``, costs nothing;
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

from lib.errors import DatabaseUnavailable, Forbidden, KeyMissing, LeaseLost, NotMetered, PriceUnknown
from lib.ledger.attempts import AttemptResult
from lib.ledger.ledger import Ledger
from lib.llm.attempt import LARGEST_ERROR_BODY, Attempt, Refusal
from lib.llm.http import inner_transport
from lib.llm.redaction import clean_error
from lib.llm.settlement import Books
from lib.llm.upstream_request import Desk, Plan, forget_key, hurry
from lib.settings import Settings

ERROR_PATIENCE = 30.0
"""Seconds that the body of an error answer is read for."""

CANNOT_TAKE_OVER = (Forbidden, KeyMissing, NotMetered, PriceUnknown)
"""Why the platform key may not take over: then the caller gets the provider's own refusal."""


_shared: dict[tuple[object, ...], httpx2.HTTPTransport] = {}


def _connections(settings: Settings) -> httpx2.HTTPTransport:
    """The connections of this process, for all its runs: they hold no key, and opening them takes long.

    They do not cross a fork. Two threads at once may make one pool too many; it holds nothing.
    """
    secure = settings.openai_base_url.startswith("https:")
    which = (os.getpid(), secure, settings.https_proxy, settings.ca_file)
    if which not in _shared:
        _shared.setdefault(which, inner_transport(settings))
    return _shared[which]


@atexit.register
def _close_connections() -> None:
    for which, pool in _shared.items():
        if which[0] == os.getpid():
            pool.close()


class MeteredTransport(httpx2.BaseTransport):
    """One run's way to the provider. Safe for threads, and in a process that has forked."""

    def __init__(self, ledger: Ledger, settings: Settings, run_id: str) -> None:
        self._books = Books(ledger)
        self._desk = Desk(settings.openai_base_url)
        self._settings = settings
        self._run_id = run_id

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send one request of the SDK's, on whoever's key the ledger says."""
        if self._desk.must_read(request):
            request.read()
        plan = self._desk.plan(request)
        attempt = self._open(plan)
        while True:
            answer = self._send(attempt, request)
            if answer.is_success:
                return _passed_through(attempt, answer, self._books)
            refusal = self._refuse(attempt, answer)
            successor = self._take_over(plan, attempt, refusal)
            if successor is None:
                return refusal.response
            attempt = successor

    def close(self) -> None:
        """Try to settle what is still owed. The connections serve the next run."""
        self._books.pay()

    def _open(self, plan: Plan) -> Attempt:
        return Attempt(plan, self._books.open(self._run_id, plan.profile, plan.lease))

    def _take_over(self, plan: Plan, failed: Attempt, refusal: Refusal) -> Attempt | None:
        if refusal.why is None:
            return None
        try:
            call = self._books.open(
                self._run_id, plan.profile, plan.lease, instead_of=failed.call, why=refusal.why
            )
        except CANNOT_TAKE_OVER:
            return None
        return Attempt(plan, call)

    def _send(self, attempt: Attempt, request: httpx2.Request) -> httpx2.Response:
        try:
            return _connections(self._settings).handle_request(attempt.request(forget_key))
        except BaseException as error:  # noqa: BLE001 - its frames hold the key: none may travel on
            outcome, raised = attempt.unanswered(error, request)
        settle(self._books, attempt, outcome)
        raise raised

    def _refuse(self, attempt: Attempt, answer: httpx2.Response) -> Refusal:
        body, interrupted = self._read_error(attempt, answer)
        version = answer.extensions.get("http_version", b"HTTP/1.1")
        refusal = attempt.refuse(answer.status_code, answer.headers, body, version)
        settle(self._books, attempt, refusal.outcome)
        if interrupted is not None:
            raise interrupted
        return refusal

    def _read_error(self, attempt: Attempt, answer: httpx2.Response) -> tuple[bytes, BaseException | None]:
        """As much of an error's body as is of interest; the status alone would do."""
        hurry(attempt.timeouts)
        until = time.monotonic() + ERROR_PATIENCE
        body, interrupted = bytearray(), None
        try:
            for chunk in answer.iter_bytes():
                body += chunk
                if len(body) > LARGEST_ERROR_BODY or time.monotonic() > until:
                    break
            answer.close()
        except Exception:  # noqa: BLE001 - what has arrived has to do
            answer.close()
        except BaseException as error:  # noqa: BLE001 - interrupted: settle first
            interrupted = clean_error(error, None, None)
        return bytes(body[:LARGEST_ERROR_BODY]), interrupted


def settle(books: Books, attempt: Attempt, outcome: AttemptResult) -> None:
    """Settle once, whoever else tries."""
    if attempt.claim():
        books.settle(attempt.call, outcome)


def _passed_through(attempt: Attempt, answer: httpx2.Response, books: Books) -> httpx2.Response:
    headers = attempt.accept(answer)
    return httpx2.Response(
        answer.status_code,
        headers=headers,
        stream=_MeteredStream(attempt, answer, books),
        extensions={"http_version": answer.extensions.get("http_version", b"HTTP/1.1")},
    )


class _MeteredStream(httpx2.SyncByteStream):
    """Passes an answer through as it arrives, and settles its attempt exactly once."""

    def __init__(self, attempt: Attempt, answer: httpx2.Response, books: Books) -> None:
        self._attempt = attempt
        self._answer: httpx2.Response | None = answer
        self._chunks = answer.iter_bytes()
        self._books = books

    def __iter__(self) -> Iterator[bytes]:
        """Goes on where it was left, as the HTTP stack's own streams do: the SDK drains what is left so."""
        while (passed := self._next()) is not None:
            if passed:
                yield passed
        if rest := self._attempt.parser.finish():
            yield rest
        settle(self._books, self._attempt, self._attempt.ended())
        self._release()

    def close(self) -> None:
        """The caller has had enough; after the end this changes nothing."""
        try:
            settle(self._books, self._attempt, self._attempt.left())
        finally:
            self._release()

    def __del__(self) -> None:
        """Forgotten without being closed. No database here: collecting garbage may happen inside of it."""
        if self._attempt.claim():
            self._books.owe(self._attempt.call, self._attempt.left(), self._release)

    def _next(self) -> bytes | None:
        """What the caller gets next; no frame that waits may hold what came, before the key is out of it."""
        try:
            self._attempt.require_time()
            chunk = next(self._chunks, None)
            self._keep_lease()
        except BaseException as error:  # noqa: BLE001 - its frames hold the request that left
            outcome, raised = self._attempt.cut(error, None)
        else:
            return None if chunk is None else self._attempt.parser.feed(chunk)
        settle(self._books, self._attempt, outcome)
        self._release()
        raise raised

    def _keep_lease(self) -> None:
        attempt = self._attempt
        if not attempt.lease_is_due():
            return
        try:
            self._books.renew(attempt.call, attempt.plan.lease)
        except (LeaseLost, DatabaseUnavailable) as problem:
            lost = attempt.lease_problem(problem)
        else:
            attempt.renewed()
            return
        if lost is not None:
            raise lost

    def _release(self) -> None:
        answer, self._answer = self._answer, None
        if answer is not None:
            self._chunks = iter(())
            answer.close()
