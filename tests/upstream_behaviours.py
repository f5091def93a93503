"""How a scripted provider may answer: every row of the validation table, and every misbehaviour, by name."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from tests import upstream_anthropic, upstream_google
from tests.upstream_answers import Answer, error


@dataclass(frozen=True)
class Behaviour:
    """How one request is answered. Without ``status`` or ``fault``: as OpenAI answers an authorised one.

    ``only``: applies to these methods or paths (``POST``, ``/models``), the rest is answered well.
    ``{key}`` in ``json``, ``text`` and ``headers`` becomes the key the request carried, ``{base}`` this
    server's own address under another host name.
    """

    status: int | None = None
    json: Any = None
    text: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    only: tuple[str, ...] = ()
    fault: str | None = (
        None  # hang | drop | drip_… (headers, body, chunk_length) | interim | truncate | break | bad_… (chunk, header, reason)
    )
    delay: float = 0.0  # before the first byte
    event_delay: float = 0.0  # between the events of a stream
    interval: float = 0.1  # between the bytes of a drip
    break_after: int = 2  # events that still arrive before the stream breaks
    events: tuple[Any, ...] | None = None  # a stream of exactly these: objects become JSON, texts stay
    named: bool = False  # each of them says its type as its name
    stream_usage: str = "asked"  # asked | never | with_choices
    gzip: bool = False
    charset: str = "utf-8"  # of json and text
    pad: int = 0  # bytes of HTML after the text

    def streamed(self) -> Answer | None:
        """The stream of exactly ``events``."""
        if self.events is None:
            return None
        told = [event if isinstance(event, str) else json.dumps(event) for event in self.events]
        names = [
            event.get("type") if self.named and isinstance(event, dict) else None for event in self.events
        ]
        return Answer(200, events=list(zip(names, told, strict=True)))


def _error(
    status: int, code: str | None, message: str, kind: str = "invalid_request_error", **more: Any
) -> Behaviour:
    return Behaviour(status=status, json=error(status, message, kind=kind, code=code).body, **more)


_SCOPES = (
    "You have insufficient permissions for this operation. Missing scopes: {scope}. "
    "Check that you have the correct role in your organization, and if you're using a restricted API key, "
    "that it has the necessary scopes."
)
_LISTING = _SCOPES.replace("{scope}", "api.model.read")
_REQUEST = _SCOPES.replace("{scope}", "model.request")
_QUOTA = "You exceeded your current quota, please check your plan and billing details."
_VERIFY = "Your organization must be verified to use the model `gpt-5`. Please go to the settings to verify."
_HTML = "<!DOCTYPE html><html><head><title>Sign in</title></head><body><h1>Hotel Wi-Fi</h1></body></html>"
_JSON_403 = {"error": _REQUEST}

BEHAVIOURS: dict[str, Behaviour] = {
    "good": Behaviour(),
    # every row of the validation table
    "revoked": _error(
        401,
        "invalid_api_key",
        "Incorrect API key provided: {key}. You can find your API key at https://platform.openai.com/account/api-keys.",
    ),
    "account_deactivated": _error(
        401, "account_deactivated", "The OpenAI account associated with this API key has been deactivated."
    ),
    "no_organization": _error(
        401, "no_organization", "You must be a member of an organization to use the API."
    ),
    "mismatched_organization": _error(
        401, "mismatched_organization", "OpenAI-Organization header should match organization for API key"
    ),
    "ip_not_authorized": _error(
        401, "ip_not_authorized", "Your IP address is not authorized to use this API key."
    ),
    "missing_scopes": _error(403, None, _LISTING, only=("/models",)),
    "missing_scopes_401": _error(401, None, _LISTING, only=("/models",)),
    "missing_scopes_text": Behaviour(status=403, json={"error": _LISTING}, only=("/models",)),
    "only_responses": _error(403, None, _REQUEST, only=("/models", "/chat/completions")),
    "no_scopes": _error(403, None, _REQUEST),
    "no_scopes_401": _error(401, None, _REQUEST),
    "no_scopes_text": Behaviour(status=403, json=_JSON_403),
    "no_model_list": Behaviour(status=404, json={"detail": "Not Found"}, only=("/models",)),
    "country": _error(
        403,
        "unsupported_country_region_territory",
        "Country, region, or territory not supported",
        "request_forbidden",
    ),
    "forbidden": _error(403, "something_else", "You are not allowed to do this."),
    "no_model": _error(
        403, "model_not_found", "Project `proj_test` does not have access to model `gpt-5-mini`"
    ),
    "unknown_model": _error(
        404, "model_not_found", "The model `gpt-x` does not exist or you do not have access to it."
    ),
    "unverified_400": _error(400, None, _VERIFY),
    "unverified_403": _error(403, None, _VERIFY),
    "unverified_404": _error(404, None, _VERIFY),
    "out_of_money": _error(429, "insufficient_quota", _QUOTA, "insufficient_quota"),
    "insufficient_quota": _error(429, "insufficient_quota", _QUOTA, "insufficient_quota"),
    "credit_balance_exhausted": _error(429, "credit_balance_exhausted", _QUOTA, "insufficient_quota"),
    "project_spend_limit_exceeded": _error(429, "project_spend_limit_exceeded", _QUOTA, "insufficient_quota"),
    "organization_spend_limit_exceeded": _error(
        429, "organization_spend_limit_exceeded", _QUOTA, "insufficient_quota"
    ),
    "organization_usage_limit_exceeded": _error(
        429, "organization_usage_limit_exceeded", _QUOTA, "insufficient_quota"
    ),
    "rate_limited": _error(
        429,
        "rate_limit_exceeded",
        "Rate limit reached for requests per min.",
        "requests",
        headers={"retry-after": "1"},
    ),
    "tokens_limited": _error(429, "rate_limit_exceeded", "Rate limit reached for tokens per min.", "tokens"),
    "server_error": _error(
        500, None, "The server had an error while processing your request.", "server_error"
    ),
    "slow_down": _error(503, "slow_down", "Slow down.", "server_error"),
    "overloaded": _error(503, "server_is_overloaded", "The server is overloaded.", "server_error"),
    "captive_portal": Behaviour(status=200, text=_HTML, headers={"content-type": "text/html; charset=utf-8"}),
    "redirect": Behaviour(status=307, text="", headers={"location": "{base}/stolen"}),
    "bad_request": _error(400, None, "Something about the request."),
    "detail_400": Behaviour(status=400, json={"detail": "Bad API key {key}"}),
    "integer_code": Behaviour(
        status=401, json={"error": {"code": 401, "message": "Unauthorized", "type": 7}}
    ),
    # misbehaviour
    "hang": Behaviour(fault="hang"),
    "stall": Behaviour(delay=1.0),
    "drop": Behaviour(fault="drop"),
    "drip_headers": Behaviour(fault="drip_headers"),
    "drip_body": Behaviour(fault="drip_body"),
    "truncated": Behaviour(fault="truncate"),
    "not_json": Behaviour(status=200, text="{'object': list", headers={"content-type": "application/json"}),
    "huge_html": Behaviour(status=500, text=_HTML, pad=5_000_000, headers={"content-type": "text/html"}),
    "huge_html_200": Behaviour(status=200, text=_HTML, pad=5_000_000, headers={"content-type": "text/html"}),
    "echo": _error(
        401,
        "invalid_api_key",
        "No: {key} Bearer {key}",
        headers={"x-echo": "Bearer {key}", "set-cookie": "k={key}", "x-request-id": "{key}"},
    ),
    "echo_400": _error(
        400, "{key}", "No: {key}", headers={"x-echo": "Bearer {key}", "x-request-id": "{key}"}
    ),
    "echo_500": _error(
        500, "{key}", "No: {key}", headers={"x-echo": "Bearer {key}", "x-request-id": "{key}"}
    ),
    "echo_good": Behaviour(
        headers={"x-echo": "Bearer {key}", "x-request-id": "req_{key}", "set-cookie": "k={key}"}
    ),
    "broken_stream": Behaviour(fault="break"),
    "no_usage": Behaviour(stream_usage="never"),
    "usage_with_choices": Behaviour(stream_usage="with_choices"),
    "slow_stream": Behaviour(event_delay=0.1),
    "gzip": Behaviour(gzip=True),
}
BEHAVIOURS |= {f"google.{name}": Behaviour(**how) for name, how in upstream_google.BEHAVIOURS.items()}
BEHAVIOURS |= {f"anthropic.{name}": Behaviour(**how) for name, how in upstream_anthropic.BEHAVIOURS.items()}
Told = str | Behaviour | dict[str, Any]


def behaviour(told: Told) -> Behaviour:
    """Look up a name, or build one from the JSON of ``/_control``."""
    if isinstance(told, str):
        return BEHAVIOURS[told]
    if isinstance(told, dict):
        return Behaviour(**{**told, "only": tuple(told.get("only", ()))})
    return told
