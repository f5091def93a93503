"""What an error answer of Google's means, and how its text becomes safe to show, log and store.

Sources: https://ai.google.dev/gemini-api/docs/troubleshooting, https://cloud.google.com/apis/design/errors. The reason
among the details decides, then the status; words alone where neither says more.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, NamedTuple

from lib.llm.answers import parsed
from lib.llm.error_answers import (
    LARGEST_ERROR_BODY,
    ErrorAnswer,
    ErrorKind,
    hides_the_outcome,
    is_web_page,
    label,
    no_message,
)
from lib.llm.google.usage import reason_in
from lib.llm.redaction import redact_text
from lib.secret import Secret

NO_BINDING = "ACCESS_TOKEN_TYPE_UNSUPPORTED"
"""The reason where a key is bound to a service account, and the binding does not work."""

FREE_TIER = "free_tier"
"""What a quota of Google's free tier is called here, where it is the one that is used up."""

_REASONS: dict[str, ErrorKind] = {
    "API_KEY_INVALID": "rejected",
    NO_BINDING: "rejected",
    "API_KEY_SERVICE_BLOCKED": "rejected",
    "SERVICE_DISABLED": "rejected",
    "CONSUMER_SUSPENDED": "rejected",
    "CONSUMER_INVALID": "rejected",
    "API_KEY_IP_ADDRESS_BLOCKED": "wrong_address",
    "API_KEY_HTTP_REFERRER_BLOCKED": "wrong_address",
    "API_KEY_ANDROID_APP_BLOCKED": "wrong_address",
    "API_KEY_IOS_APP_BLOCKED": "wrong_address",
    "BILLING_DISABLED": "out_of_money",
}
_KEY_IS_REFUSED = re.compile(
    r"reported as leaked|\bunrestricted\b|api key (?:not valid|expired|was)", re.IGNORECASE
)
_CANNOT_PAY = re.compile(
    r"prepa(?:id|yment)|\bcredits?\b|spend(?:ing)? (?:cap|limit)|billing|free tier|user location",
    re.IGNORECASE,
)
_OWN_STATUS = re.compile(r"[A-Z_]{2,40}", re.ASCII)
_OWN_CODE = re.compile(r"[a-z_]{2,60}", re.ASCII)
"""What Google calls its errors: ``INVALID_ARGUMENT``, and ``invalid_request`` of its Interactions interface."""


class _Told(NamedTuple):
    """What the body of an error says."""

    status: object = None
    code: object = None
    message: object = None
    reason: str | None = None
    quotas: tuple[str, ...] = ()


def classify_error(status: int, body: bytes, headers: Mapping[str, str], *secrets: Secret) -> ErrorAnswer:
    """Understand an answer whose status is not 2xx.

    Args:
        status: the HTTP status.
        body: the decoded body, or its beginning.
        headers: the response's headers.
        *secrets: the keys that the request carried, to take out of every text.
    """
    web_page = is_web_page(body, headers)
    told = _Told() if web_page else _read(body)
    text = told.message if isinstance(told.message, str) else ""
    if web_page:
        text = f"The answer was a web page (HTTP {status})."
    kind: ErrorKind = "overloaded" if status >= 500 else "other" if web_page else _kind_of(status, told, text)  # noqa: PLR2004
    return ErrorAnswer(
        kind=kind,
        status=status,
        code=label(_code_of(told), *secrets),
        type=label(told.status, *secrets),
        message=redact_text(text, *secrets) or no_message(status),
        request_id=None,  # no header has one
        is_web_page=web_page,
        is_outcome_unknown=hides_the_outcome(status) and not _is_providers_own(status, told),
    )


def _read(body: bytes) -> _Told:
    """Whatever stands where; text that is no JSON is a message."""
    raw = body[:LARGEST_ERROR_BODY]
    data = parsed(raw) or parsed(raw.strip().removeprefix(b"[").removesuffix(b"]"))  # a stream that is a list
    error = data.get("error")
    if isinstance(error, dict):
        return _Told(
            error.get("status"), error.get("code"), error.get("message"), reason_in(error), _quotas(error)
        )
    if data:
        return _Told(message=error or data.get("message") or data.get("detail"))
    return _Told(message=raw.decode("utf-8", "replace"))


def _quotas(error: dict[str, Any]) -> tuple[str, ...]:
    """Ids of the quotas that are used up."""
    details = error.get("details")
    found = [each for each in details if isinstance(each, dict)] if isinstance(details, list) else []
    listed = [each.get("violations") for each in found if str(each.get("@type")).endswith("QuotaFailure")]
    violations = [
        each for some in listed if isinstance(some, list) for each in some if isinstance(each, dict)
    ]
    return tuple(str(each["quotaId"]) for each in violations if isinstance(each.get("quotaId"), str))


def _code_of(told: _Told) -> object:
    if told.reason:
        return told.reason
    if any("FreeTier" in quota for quota in told.quotas):
        return FREE_TIER
    return told.quotas[0] if told.quotas else told.code if isinstance(told.code, str) else None


def _is_providers_own(status: int, told: _Told) -> bool:
    if isinstance(told.code, str):
        return _OWN_CODE.fullmatch(told.code) is not None
    return told.code == status and isinstance(told.status, str) and bool(_OWN_STATUS.fullmatch(told.status))


def _kind_of(status: int, told: _Told, text: str) -> ErrorKind:
    if told.reason in _REASONS:
        return _REASONS[told.reason]
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return "out_of_money" if _is_spent(told, text) else "rate_limited"
    if status == HTTPStatus.BAD_REQUEST:
        cannot_pay = told.status == "FAILED_PRECONDITION" and _CANNOT_PAY.search(text)
        return "out_of_money" if cannot_pay else "rejected" if _KEY_IS_REFUSED.search(text) else "other"
    meanings: dict[int, tuple[ErrorKind, bool]] = {
        HTTPStatus.UNAUTHORIZED: ("rejected", True),
        HTTPStatus.PAYMENT_REQUIRED: ("out_of_money", True),
        HTTPStatus.FORBIDDEN: ("rejected", _KEY_IS_REFUSED.search(text) is not None),
        HTTPStatus.NOT_FOUND: ("no_model", told.status == "NOT_FOUND" and "model" in text.lower()),
    }
    kind, applies = meanings.get(status, ("other", False))
    return kind if applies else "other"


def _is_spent(told: _Told, text: str) -> bool:
    """Whether it is money, or a day's free quota, that is used up, and no minute's."""
    if any("FreeTier" in quota and "PerDay" in quota for quota in told.quotas):
        return True
    return not told.quotas and _CANNOT_PAY.search(text) is not None
