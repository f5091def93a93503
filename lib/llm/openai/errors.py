"""What an error answer of OpenAI's means, and how its text becomes safe to show, log and store.

The status decides first and the body refines: servers that speak the same protocol answer with integer
codes, a plain string or no JSON at all.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from http import HTTPStatus

from lib.llm.error_answers import (
    LARGEST_ERROR_BODY,
    ErrorAnswer,
    ErrorKind,
    hides_the_outcome,
    is_web_page,
    label,
    no_message,
)
from lib.llm.redaction import redact_text
from lib.secret import Secret

_REQUEST_ID = re.compile(r"[A-Za-z0-9_.:-]{1,128}")

_OUT_OF_MONEY = {
    "insufficient_quota",
    "credit_balance_exhausted",
    "project_spend_limit_exceeded",
    "organization_spend_limit_exceeded",
    "organization_usage_limit_exceeded",
    "billing_not_active",
}
_GATEWAY_TYPES = re.compile(r"cf_.*|.*(gateway|time_?-?out).*", re.IGNORECASE)
"""OpenAI's edge dresses Cloudflare's errors up as its own: ``cf_gateway_timeout``, ``cf_bad_gateway``."""

# Codes that mean the same under whichever of 401, 403 and 404 they come.
_BY_CODE: dict[str, ErrorKind] = {
    "ip_not_authorized": "wrong_address",
    "unsupported_country_region_territory": "country",
    "model_not_found": "no_model",
    # About a header that we never send, so it says nothing about the key.
    "mismatched_organization": "other",
}


def classify_error(status: int, body: bytes, headers: Mapping[str, str], *secrets: Secret) -> ErrorAnswer:
    """Understand an answer whose status is not 2xx.

    Args:
        status: the HTTP status.
        body: the decoded body, or its beginning.
        headers: the response's headers.
        *secrets: the keys that the request carried, to take out of every text.
    """
    web_page = is_web_page(body, headers)
    code, kind, message = _no_fields(status) if web_page else _fields(status, body)
    return ErrorAnswer(
        kind=_kind_of(status, code, kind, message, web_page=web_page),
        status=status,
        code=label(code, *secrets),
        type=label(kind, *secrets),
        message=redact_text(message, *secrets) or no_message(status),
        request_id=request_id_of(headers, *secrets),
        is_web_page=web_page,
        is_outcome_unknown=hides_the_outcome(status) and not _is_providers_own(status, kind, body),
    )


def _is_providers_own(status: int, kind: object, body: bytes) -> bool:
    """Whether the provider itself speaks: gateways write JSON too, but not with a type of the provider's.

    A refusal for want of rights has had no type in servers that only look like OpenAI: there any JSON will do.
    """
    if status == HTTPStatus.FORBIDDEN and _is_object(body):
        return True
    return isinstance(kind, str) and bool(kind) and not _GATEWAY_TYPES.fullmatch(kind)


def _is_object(body: bytes) -> bool:
    try:
        return isinstance(json.loads(body[:LARGEST_ERROR_BODY]), dict)
    except (ValueError, RecursionError):
        return False


def request_id_of(headers: Mapping[str, str], *secrets: Secret) -> str | None:
    """Return the provider's id of the request, to quote to its support; None where it is no plain id."""
    name = redact_text(headers.get("x-request-id", ""), *secrets)
    return name if _REQUEST_ID.fullmatch(name) else None


def _fields(status: int, body: bytes) -> tuple[object, object, str]:
    """Return code, type and message, wherever this server puts them."""
    text = body[:LARGEST_ERROR_BODY].decode("utf-8", "replace")
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        return None, None, text or no_message(status)
    if not isinstance(data, dict):
        return None, None, data if isinstance(data, str) else no_message(status)
    error = data.get("error")
    if isinstance(error, dict):
        return error.get("code"), error.get("type"), _first_text(status, error.get("message"))
    return data.get("code"), None, _first_text(status, error, data.get("message"), data.get("detail"))


def _first_text(status: int, *candidates: object) -> str:
    return next((text for text in candidates if isinstance(text, str) and text), no_message(status))


def _no_fields(status: int) -> tuple[None, None, str]:
    return None, None, f"The answer was a web page (HTTP {status})."


def _kind_of(status: int, code: object, kind: object, message: str, *, web_page: bool) -> ErrorKind:
    if status >= 500:  # noqa: PLR2004 - the class of statuses
        return "overloaded"
    no_money = isinstance(code, str) and code in _OUT_OF_MONEY
    if status == 402 or (status == 429 and (no_money or kind == "insufficient_quota")):  # noqa: PLR2004
        return "out_of_money"
    if status == 429:  # noqa: PLR2004
        return "rate_limited"
    if web_page or status not in {400, 401, 403, 404}:
        return "other"
    return _kind_of_refusal(status, code, message.lower())


def _kind_of_refusal(status: int, code: object, message: str) -> ErrorKind:
    if "must be verified" in message:
        return "unverified_org"
    if status in {401, 403} and "missing scopes" in message:
        return "missing_scopes"
    if status != 400 and isinstance(code, str) and code in _BY_CODE:  # noqa: PLR2004
        return _BY_CODE[code]
    return "rejected" if status == 401 else "other"  # noqa: PLR2004
