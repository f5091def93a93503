"""An error answer of a provider, understood: one vocabulary for all of them, made by each in its own folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Literal

from lib.llm.redaction import redact_text
from lib.secret import Secret

LARGEST_ERROR_BODY = 64 * 1024
"""Bytes of an error answer that are looked at; the rest of a 5 MB page has nothing to add."""
_LONGEST_LABEL = 100

# A load balancer, gateway or filter answers with these where it gave up waiting, lost the provider's answer or
# withheld it: nobody knows whether the model went on. Other refusals come before a request is passed on.
_UNKNOWN_FROM = 500
_WITHHELD = frozenset({403, 408})
_STANDARD = frozenset(HTTPStatus)
"""What no standard names (444, 460, 499) is a gateway's word for a connection that broke."""

ErrorKind = Literal[
    "rejected",
    "out_of_money",
    "rate_limited",
    "missing_scopes",
    "no_model",
    "unverified_org",
    "restricted_account",
    "wrong_address",
    "country",
    "overloaded",
    "other",
]


@dataclass(frozen=True, slots=True)
class ErrorAnswer:
    """One error answer, understood. Every text in it is redacted and cut: safe to show, log and store."""

    kind: ErrorKind
    status: int
    code: str | None
    type: str | None
    message: str
    request_id: str | None
    is_web_page: bool = False
    """True where HTML came instead of an answer: somebody between us and the provider spoke."""
    is_outcome_unknown: bool = False
    """True where something in between spoke in the provider's place, which may go on and bill what it makes."""


def hides_the_outcome(status: int) -> bool:
    """Whether something between us and the provider says this after the request was passed on."""
    return status >= _UNKNOWN_FROM or status in _WITHHELD or status not in _STANDARD


def is_web_page(body: bytes, headers: Mapping[str, str]) -> bool:
    """Tell HTML from an answer of an API, by what it says it is and by how it begins."""
    return "html" in headers.get("content-type", "").lower() or body[:256].lstrip().startswith(b"<")


def label(value: object, *secrets: Secret) -> str | None:
    """A foreign code or type, redacted and cut; None where it is no text and no number."""
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        return None
    return redact_text(str(value), *secrets, limit=_LONGEST_LABEL) or None


def no_message(status: int) -> str:
    """What to say of an answer without a message."""
    return f"The answer had no message (HTTP {status})."
