"""One HTTP attempt: what it carries, how it ends, and what may be told of it. No I/O: both transports share it.

The key is here from opening until the answer's headers are read, and is then forgotten: an attempt lives on
inside the response that the caller holds. Until the answer ends, a masked copy takes it out of what passes.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import Any

import httpx2

from lib.db.reentrancy import marked, started_by_runtime
from lib.errors import LeaseLost, QodexError
from lib.interruption import is_from_outside
from lib.ledger.attempts import AttemptResult, KeyVerdict, Status
from lib.ledger.open_attempt import OpenAttempt
from lib.ledger.settlement_queue import Hold
from lib.llm.answers import AnswerUsage, StreamParser
from lib.llm.deadline import set_deadline
from lib.llm.error_answers import ErrorAnswer
from lib.llm.metering.lease import Lease
from lib.llm.metering.reservation import Reservation
from lib.llm.metering.upstream_request import Trace, UpstreamRequest, build, strip_authorization
from lib.llm.redaction import (
    Cleaner,
    Headers,
    clean_body,
    clean_error,
    clean_headers,
    redact_text,
    without_charset,
)
from lib.secret import Secret

LARGEST_ERROR_BODY = 1024 * 1024
LONGEST_CALL = 3600.0
"""Seconds that one attempt may take in all: a time-out counts from byte to byte, which a drip outlives."""

_FORGOTTEN = Secret("[forgotten]")
_NEVER_SENT = (
    httpx2.ConnectError,
    httpx2.ConnectTimeout,
    httpx2.PoolTimeout,
    httpx2.ProxyError,
    httpx2.UnsupportedProtocol,
    httpx2.LocalProtocolError,
)
_INTERRUPTED = {
    "error_type": "connection",
    "error_code": "Interrupted",
    "error_message": "The call was interrupted before an answer came.",
}
_FRAMING = {b"content-encoding", b"content-length", b"transfer-encoding"}
_KEY_VERDICTS: dict[str, KeyVerdict] = {
    "rejected": "rejected",
    "out_of_money": "out_of_money",
    "wrong_address": "wrong_address",
}
_KEY_FAILED = {"rejected", "out_of_money"}
"""What lets the platform key take over. A key that is not for this address is one of this server's own doing."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer that is no 2xx: how to settle it, and what the caller gets."""

    outcome: AttemptResult
    response: httpx2.Response


class Attempt:
    """One attempt from its opening to its settlement."""

    def __init__(self, plan: UpstreamRequest, reservation: Reservation) -> None:
        self.reservation = reservation
        self.plan = plan
        self.timeouts = dict(plan.timeouts)
        self._begun = time.monotonic()
        self.lease = Lease(plan.lease)
        self.settling: Future[None] | None = None
        """The settlement in its thread, which no cancellation ends, where there is one to wait for."""
        self.why_failed: KeyVerdict | None = None
        """Set where the key failed and the project wants the platform key to take over."""
        self._sent = self._left = False
        self._parser: StreamParser | None = None
        self._cleaner = Cleaner(_FORGOTTEN)
        self._answered: dict[str, Any] = {}
        self.answer: httpx2.Response | None = None
        """The provider's, while it may have to be closed; what reads it is kept with it (see ``guard``)."""
        self.chunks: Iterator[bytes] = iter(())

    @property
    def call(self) -> OpenAttempt:
        """What the ledger has opened."""
        return self.reservation.call

    def guard(self) -> Hold:
        """Have this attempt end as what it is as soon as nobody has the hold any more.

        Meanwhile the collector gets nothing of it: the end of an HTTP answer waits for locks of its own.
        """
        return self.reservation.queue.guard(self.reservation.id, self)

    def open(self, failed: Attempt | None = None) -> None:
        """Have the ledger open it. Blocks while the database works; see ``Ledger.open`` for what it raises.

        Args:
            failed: the attempt whose key was refused, where this one is to go on with the platform's.
        """
        instead_of, why = (failed.call, failed.why_failed) if failed else (None, None)
        self.reservation.open(self.plan.profile, self.lease.length, instead_of, why)

    def request(self, trace: Trace) -> httpx2.Request:
        """The request that leaves, with the key. Keep no reference to it."""
        return build(self.plan, self.call, self.timeouts, trace)

    def trace(self, event: str, details: dict[str, Any]) -> None:
        """What httpcore2 tells of the request on its way out.

        Raises:
            LeaseLost: the attempt was left before its request was sent, by the end of the process for one.
        """
        request = details.get("request")
        # A proxy is asked first, by a request of its own that holds nothing of this one.
        if event.endswith("send_request_headers.started") and getattr(request, "method", b"") != b"CONNECT":
            # In this order, and ``leave`` in the other: whatever comes in between, one of the two sees the other.
            self._sent = True
            if self._left:
                raise LeaseLost("The call was not sent: its worker is ending.")
        strip_authorization(self.plan.provider, event, details)

    async def trace_async(self, event: str, details: dict[str, Any]) -> None:
        """``trace`` for clients on asyncio."""
        self.trace(event, details)

    def leave(self) -> None:
        """Owe the ledger what is known by now, unless it has ended. Waits for nothing."""
        self._left = True
        if self.answer is not None:
            self.reservation.queue.later(self.close_answer)
        if self.reservation.is_done or (self.settling is not None and not self.settling.done()):
            return
        if self._parser is not None:
            self.reservation.leave(self.left())
        else:
            self.reservation.leave(self._outcome("unknown", **_INTERRUPTED) if self._sent else None)

    def release_answer(self) -> None:
        """Give the connection back; later, where the runtime may have started this inside of anything."""
        if self.answer is None:
            return
        if started_by_runtime():
            self.reservation.queue.later(self.close_answer)
        else:
            self.close_answer()

    def close_answer(self) -> None:
        """Give the connection back, synchronously. Doing it twice changes nothing."""
        if self.answer is not None:
            with marked():  # as in a transaction, a finalizer would wait for this thread's own lock
                self.answer.close()
        self.answer, self.chunks = None, iter(())

    # --- the deadline

    def time_left(self) -> float:
        """Seconds until the attempt has taken too long."""
        return self._begun + LONGEST_CALL - time.monotonic()

    def late(self) -> httpx2.ReadTimeout:
        """What it ends with then."""
        return httpx2.ReadTimeout(_late())

    def limit_waiting(self, seconds: float = math.inf) -> None:
        """Let nothing that this thread or task now waits for take longer than is left, or than ``seconds``."""
        set_deadline(time.monotonic() + min(seconds, self.time_left()), _late())

    def require_time(self) -> None:
        """Raises ``late()`` where there is none left."""
        if self.time_left() < 0:
            raise self.late()

    # --- ends without an answer

    def unanswered(
        self, error: BaseException, request: httpx2.Request
    ) -> tuple[Callable[[], None], BaseException]:
        """No answer came. Returns what settles it, or releases it where it was never sent, and what to raise."""
        told = _told_of(error, self.call.secret)
        raised = clean_error(error, request, self.call.secret)
        self._forget()
        if self._sent and not isinstance(error, _NEVER_SENT):
            return partial(self.reservation.settle, self._outcome("unknown", **told)), raised
        self._sent = False
        why = told["error_message"] if isinstance(error, httpx2.HTTPError) else None
        return partial(self.reservation.release, why), raised

    # --- ends with a refusal

    def refuse(self, status: int, headers: httpx2.Headers, body: bytes, version: Any) -> Refusal:
        """An answer that is no 2xx, read as far as it is of interest."""
        secret = self.call.secret
        body = clean_body(body, headers.get("content-type", ""), secret)
        error = self.plan.provider.classify_error(status, body, headers, secret)
        verdict = _KEY_VERDICTS.get(error.kind)
        kept = without_charset(self._clean_headers(headers))
        if error.kind == "out_of_money":
            kept = [pair for pair in kept if pair[0].lower() != b"x-should-retry"]
            kept.append((b"x-should-retry", b"false"))
        response = httpx2.Response(status, headers=kept, content=body, extensions={"http_version": version})
        falls_back = self.call.falls_back and self.plan.replayable
        self._forget()
        self.why_failed = verdict if falls_back and verdict in _KEY_FAILED else None
        self.reservation.result = self._refused(error, verdict)
        return Refusal(self.reservation.result, response)

    def _refused(self, error: ErrorAnswer, verdict: KeyVerdict | None) -> AttemptResult:
        return self._outcome(
            "unknown" if error.is_outcome_unknown else "error",
            http_status=error.status,
            error_code=error.code,
            error_type=error.type,
            error_message=error.message,
            upstream_request_id=error.request_id,
            key_verdict=verdict,
        )

    # --- ends with an answer

    def accept(self, answer: httpx2.Response) -> Headers:
        """A 2xx answer begins. Returns the headers for the caller; the answer itself keeps none of interest."""
        headers, plan = answer.headers, self.plan
        self._cleaner = Cleaner(self.call.secret)
        self._parser = plan.provider.parser(
            plan.method, plan.profile, plan.body or b"", headers.get("content-type", ""), self._cleaner
        )
        self._answered = {
            "http_status": answer.status_code,
            "upstream_request_id": plan.provider.request_id_of(headers, self.call.secret),
        }
        kept = self._clean_headers(headers)
        encoding = headers.get("content-encoding")
        answer.headers = httpx2.Headers({"content-encoding": encoding} if encoding else None)
        self._forget()
        return kept

    @property
    def parser(self) -> StreamParser:
        if self._parser is None:
            raise RuntimeError("the answer has not begun")
        return self._parser

    def ended(self) -> AttemptResult:
        """The answer came to its end."""
        usage = self.parser.usage
        return self._read("ok" if usage.whole else "broken", usage)

    def left(self) -> AttemptResult:
        """The caller closed the answer, or forgot it."""
        usage = self.parser.usage
        return self._read("ok" if usage.final else "abandoned", usage)

    def cut(
        self, error: BaseException, request: httpx2.Request | None
    ) -> tuple[AttemptResult, BaseException]:
        """The answer broke off. Returns how to settle, and what to raise."""
        usage, secret = self.parser.usage, self._cleaner.secret
        outside = is_from_outside(error)  # before its frames, which tell that, are taken off
        raised = clean_error(error, request, secret)
        if usage.final:
            return self._read("ok", usage), raised
        if outside:  # the caller's own: cancelled, interrupted
            return self._read("abandoned", usage), raised
        return self._read("broken", usage, **_told_of(error, secret)), raised

    def _read(self, status: Status, usage: AnswerUsage, **told: Any) -> AttemptResult:
        secret, asked = self._cleaner.secret, self.plan.profile.model
        self._cleaner.forget()
        known = status == "ok" or usage.final
        if usage.failure is not None:
            status = "broken"
            told = {
                "error_code": _safe(usage.failure.code),
                "error_type": _safe(usage.failure.type),
                "error_message": _safe(usage.failure.message),
            }
        if usage.answer_id is not None:
            told["upstream_request_id"] = _without_key(usage.answer_id, secret)
        return self._outcome(
            status,
            tokens=usage.tokens if known else None,
            priceable=usage.is_priceable,
            served_model=_without_key(usage.model, secret, usual=asked),
            service_tier=_without_key(usage.service_tier, secret),
            tool_calls=usage.tool_calls,
            key_verdict="fine" if usage.spoken else None,
            **(self._answered | told),
        )

    # --- shared

    def _outcome(self, status: Status, *, tokens: Any = None, **told: Any) -> AttemptResult:
        passed = round((time.monotonic() - self._begun) * 1000)
        return AttemptResult(
            status=status, tokens=tokens, latency_ms=passed, free=self.plan.profile.free, **told
        )

    def _forget(self) -> None:
        self.reservation.forget_key()

    def _clean_headers(self, headers: httpx2.Headers) -> Headers:
        """Without the key, should the provider repeat it, and without what no longer fits the body."""
        encoded = "content-encoding" in headers
        kept = [
            pair
            for pair in headers.raw
            if pair[0].lower() != b"content-encoding" and not (encoded and pair[0].lower() in _FRAMING)
        ]
        return clean_headers(kept, self.call.secret)


def _late() -> str:
    return f"The answer was not complete after {LONGEST_CALL:g} seconds."


def _safe(text: str | None) -> str | None:
    """Foreign text that the parser has cleaned."""
    return None if text is None else redact_text(text)


def _without_key(text: str | None, secret: Secret | None, *, usual: str = "") -> str | None:
    """A name in an answer, which may be a piece of the key too short to be taken out of what a model says.

    ``usual``: what it begins with where there is nothing to look for.
    """
    if text is None or secret is None or (usual and text.startswith(usual)):
        return text
    return redact_text(text, secret)


def _told_of(error: BaseException, secret: Secret | None) -> dict[str, str]:
    """What the run log says about a failure of the connection."""
    said = str(error) if isinstance(error, httpx2.HTTPError | QodexError) else ""
    message = redact_text(said, *([secret] if secret else [])) or f"No answer ({type(error).__name__})."
    return {"error_type": "connection", "error_code": type(error).__name__, "error_message": message}
