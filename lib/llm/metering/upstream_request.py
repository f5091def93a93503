"""From the SDK's request to the one that leaves: where it may go, what it carries, how long it may take.

The SDK's own request keeps a placeholder key. The real one is put into a request of ours that nothing keeps:
the caller, exceptions and responses only ever see the SDK's.
"""

from __future__ import annotations

import math
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import unquote

import httpx2

from lib.clock import SECOND, Micros
from lib.errors import NotMetered
from lib.ledger.attempts import RequestProfile
from lib.ledger.open_attempt import OpenAttempt
from lib.llm.ambiguity import http_ambiguity
from lib.llm.provider import Provider, base_url_of
from lib.secret import without_variables
from lib.settings import Settings

PLACEHOLDER_KEY = "set-by-qodex-for-each-request"
"""What the SDK believes to be the key."""

_ADDED_LEASE = 60  # seconds beyond the time-outs: nobody may call a slow request lost
_LONGEST_WAIT = 3600.0
_USUAL_WAIT = {"connect": 5.0, "read": 600.0, "write": 600.0, "pool": 600.0}
_ERROR_WAIT = 30.0
_DROPPED = re.compile(
    r"authorization|host|(x-)?(goog-)?api-key|cookie|proxy-.*|connection"
    r"|accept-encoding|content-length|transfer-encoding|upgrade|te|trailer"
    r"|x-goog-fieldmask"
)
"""What is not passed on. The last one leaves parts of an answer out: those that say what it costs, for one."""


@dataclass(frozen=True, slots=True)
class UpstreamRequest:
    """One request as it would leave, without the key. It can be sent more than once if ``replayable``."""

    provider: Provider
    method: str
    url: httpx2.URL
    headers: list[tuple[bytes, bytes]]
    body: bytes | None
    stream: Any
    timeouts: dict[str, float]
    profile: RequestProfile

    @property
    def replayable(self) -> bool:
        return self.body is not None

    @property
    def lease(self) -> Micros:
        """How long the attempt may go without a heartbeat: all its time-outs, and a minute."""
        return int((sum(self.timeouts.values()) + _ADDED_LEASE) * SECOND)


class RequestGuard:
    """Looks at every request to a provider before it may leave. One for each client."""

    def __init__(self, provider: Provider, settings: Settings) -> None:
        self._provider = provider
        self._base = base_url_of(provider, settings)

    def must_read(self, request: httpx2.Request) -> bool:
        """Whether the body has to be in memory."""
        kind = request.headers.get("content-type", "application/json")
        return self._provider.must_read(self._path(request), kind)

    def plan(self, request: httpx2.Request) -> UpstreamRequest:
        """Make the plan of a request whose body is in memory (or never will be).

        Raises:
            NotMetered: the request would go elsewhere than to the configured provider, or be billed to another
                account than that of the key it gets.
        """
        path = self._path(request)
        self._require_one_account(request)
        body = request.content if self.must_read(request) else None
        profile = self._profile(request, path, body)
        headers = [pair for pair in request.headers.raw if self._is_passed_on(pair[0].decode("latin-1"))]
        if body is None:  # a stream keeps the framing that the caller's own library gave it
            framing = (b"content-length", b"transfer-encoding")
            headers += [pair for pair in request.headers.raw if pair[0].lower() in framing]
        return UpstreamRequest(
            provider=self._provider,
            method=request.method,
            url=request.url,
            headers=[*headers, (b"Accept-Encoding", b"identity")],
            body=body,
            stream=request.stream,
            timeouts=_clamped(request.extensions.get("timeout") or {}),
            profile=profile,
        )

    def _profile(self, request: httpx2.Request, path: str, body: bytes | None) -> RequestProfile:
        profile = self._provider.profile(request.method, path, body or b"", request.headers)
        told: dict[str, Any] = {
            "provider": self._provider.facts.name,
            "region": self._provider.region_of(request.url.host),
        }
        if not profile.cost_unbounded:
            told["cost_unbounded"] = http_ambiguity(request, body, self._provider.harmless_queries)
        if body is None:
            size = request.headers.get("content-length", "0")
            told["input_bytes"] = int(size) if size.isdecimal() else 0
        return replace(profile, **told)

    def _require_one_account(self, request: httpx2.Request) -> None:
        named = {name.strip("$").replace("_", "").lower() for name in request.url.params}
        if named & self._provider.account_queries:
            raise NotMetered("The request was not sent: its address names a key or an account of its own.")

    def _is_passed_on(self, header: str) -> bool:
        provider, name = self._provider, header.lower()
        return not (
            name in provider.key_headers or name in provider.account_headers or _DROPPED.fullmatch(name)
        )

    def _path(self, request: httpx2.Request) -> str:
        """The path under the base URL, without the query."""
        url, base = request.url, self._base
        same_place = (url.scheme, url.host, _port(url)) == (base.scheme, base.host, _port(base))
        path = url.raw_path.partition(b"?")[0].decode("ascii", "replace")
        root = base.raw_path.decode("ascii")
        climbs = any(part in (".", "..") for part in re.split(r"[/\\]", unquote(unquote(path))))
        if not same_place or url.userinfo or not path.startswith(root) or climbs:
            raise NotMetered(
                "The request was not sent: it would go elsewhere than to the configured provider."
            )
        return path[len(root) :]


def _port(url: httpx2.URL) -> int | None:
    return url.port or {"https": 443, "http": 80}.get(url.scheme)


def _clamped(timeouts: dict[str, float | None]) -> dict[str, float]:
    """No time-out is infinite: a lease is counted from them."""
    chosen = {}
    for name, usual in _USUAL_WAIT.items():
        wait = timeouts.get(name)
        usable = wait is not None and math.isfinite(wait) and wait >= 0
        chosen[name] = min(float(wait or 0), _LONGEST_WAIT) if usable else usual
    return chosen


@without_variables
def build(
    plan: UpstreamRequest, call: OpenAttempt, timeouts: dict[str, float], trace: Trace
) -> httpx2.Request:
    """Make the request that leaves. It holds the key: keep no reference to it.

    Args:
        plan: what the caller asked for.
        call: opened by the ledger; holds the key.
        timeouts: kept by reference until the answer has ended, so that they can be shortened meanwhile.
        trace: is told what httpcore2 does.
    """
    headers = [*plan.headers, *plan.provider.authorize(call.secret)]
    extensions: dict[str, Any] = {"timeout": timeouts, "trace": trace}
    if plan.body is None:
        host = (b"Host", plan.url.netloc)
        return httpx2.Request(
            plan.method, plan.url, headers=[host, *headers], stream=plan.stream, extensions=extensions
        )
    body = plan.provider.sent_body(
        plan.method,
        plan.profile,
        plan.body,
        output_limit=call.default_output_limit,
        on_platform=call.source == "platform",
    )
    return httpx2.Request(plan.method, plan.url, headers=headers, content=body, extensions=extensions)


Trace = Callable[[str, dict[str, Any]], None] | Callable[[str, dict[str, Any]], Awaitable[None]]


@without_variables
def strip_authorization(provider: Provider, event: str, details: dict[str, Any]) -> None:
    """Take the key out of httpcore2's own request once its headers are on the wire.

    It lives on inside the response, the connection and every frame between, for as long as the answer takes.
    """
    if event.endswith("send_request_body.started"):
        request = details["request"]
        hidden = provider.key_headers
        request.headers = [
            pair for pair in request.headers if pair[0].decode("latin-1").lower() not in hidden
        ]


def shorten_timeouts(timeouts: dict[str, float]) -> None:
    """An error answer is not worth waiting for as long as an answer is."""
    timeouts["read"] = min(timeouts["read"], _ERROR_WAIT)
