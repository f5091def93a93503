"""What an error answer of Anthropic's means, and how its text becomes safe to show, log and store.

Sources: https://platform.claude.com/docs/en/api/errors. The type decides; money is told by a code of ``details``,
or by the words of a 400 alone.
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
from lib.llm.redaction import redact_text
from lib.secret import Secret

_REQUEST_ID = re.compile(r"[A-Za-z0-9_.:-]{1,128}")
_OUT_OF_MONEY = frozenset(
    {
        "linked_organization_spend_limit_reached",
        "enforced_spend_limit_reached",
        "contract_spend_limit_reached",
        "ramp_limit_exceeded",
    }
)
_SPEAKS_OF_MONEY = re.compile(
    r"credit balance|\bspend(?:ing)? (?:limit|cap)|\busage limits?\b", re.IGNORECASE
)
_MAY_SPEAK_OF_MONEY = (400, 403, 429)
_OWN_TYPES = re.compile(r"[a-z_]+_error|forbidden")
"""What Anthropic calls its errors; gateways write JSON too, but not with these."""

_RESTRICTED = re.compile(r"organization_on_hold|cmek_key_\w+")
_BROWSERS = "CORS requests are not allowed"
_NOT_FROM_HERE = "request not allowed"


class _Told(NamedTuple):
    """What the body of an error says."""

    type: object = None
    code: object = None
    message: object = None
    request_id: object = None


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
    return ErrorAnswer(
        kind="overloaded" if status >= 500 else "other" if web_page else _kind_of(status, told, text),  # noqa: PLR2004
        status=status,
        code=label(told.code, *secrets),
        type=label(told.type, *secrets),
        message=redact_text(text, *secrets) or no_message(status),
        request_id=request_id_of(headers, *secrets) or _plain_id(told.request_id, *secrets),
        is_web_page=web_page,
        is_outcome_unknown=hides_the_outcome(status) and not _is_providers_own(told),
    )


def request_id_of(headers: Mapping[str, str], *secrets: Secret) -> str | None:
    """Return Anthropic's id of the request, to quote to its support; None where it is no plain id."""
    return _plain_id(headers.get("request-id"), *secrets)


def _plain_id(value: object, *secrets: Secret) -> str | None:
    name = redact_text(value, *secrets) if isinstance(value, str) else ""
    return name if _REQUEST_ID.fullmatch(name) else None


def _read(body: bytes) -> _Told:
    """Whatever stands where; text that is no JSON is a message."""
    raw = body[:LARGEST_ERROR_BODY]
    data = parsed(raw)
    error = data.get("error")
    if isinstance(error, dict):
        details: Any = error.get("details")
        code = details.get("error_code") if isinstance(details, dict) else None
        return _Told(error.get("type"), code, error.get("message"), data.get("request_id"))
    if data:
        return _Told(message=error or data.get("message") or data.get("detail"))
    return _Told(message=raw.decode("utf-8", "replace"))


def _is_providers_own(told: _Told) -> bool:
    return isinstance(told.type, str) and _OWN_TYPES.fullmatch(told.type) is not None


def _kind_of(status: int, told: _Told, text: str) -> ErrorKind:
    code = told.code if isinstance(told.code, str) else ""
    speaks = status in _MAY_SPEAK_OF_MONEY and _SPEAKS_OF_MONEY.search(text)
    if status == HTTPStatus.PAYMENT_REQUIRED or code in _OUT_OF_MONEY or speaks:
        return "out_of_money"
    if code == "region_not_supported":
        return "wrong_address"
    return "restricted_account" if _RESTRICTED.fullmatch(code) else _kind_of_status(status, told, text)


def _kind_of_status(status: int, told: _Told, text: str) -> ErrorKind:
    meanings: dict[int, tuple[ErrorKind, bool]] = {
        HTTPStatus.TOO_MANY_REQUESTS: ("rate_limited", True),
        HTTPStatus.UNAUTHORIZED: ("rejected", not text.startswith(_BROWSERS)),
        HTTPStatus.FORBIDDEN: ("country", text.lower().startswith(_NOT_FROM_HERE)),
        HTTPStatus.NOT_FOUND: ("no_model", _is_about_a_model(told, text)),
    }
    kind, applies = meanings.get(status, ("other", False))
    return kind if applies else "other"


def _is_about_a_model(told: _Told, text: str) -> bool:
    return told.type == "not_found_error" and "model" in text.lower()
