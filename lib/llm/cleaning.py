"""Taking the key out of what a provider or the HTTP stack hands back, before anyone else holds it."""

from __future__ import annotations

import json

import httpx2

from lib.errors import QodexError
from lib.llm.wire import scrub
from lib.secret import Secret, redact

_LONGEST_TEXT = 4 * 1024 * 1024
_PIECE = 8
Headers = list[tuple[bytes, bytes]]


def clean_error(error: BaseException, request: httpx2.Request | None, secret: Secret | None) -> BaseException:
    """The same failure with nothing of ours in it: a new error of its type, or the old one without its past."""
    if isinstance(error, httpx2.RequestError):
        return type(error)(scrub(str(error), *_given(secret)), request=request)
    if isinstance(error, QodexError) or not isinstance(error, Exception):
        error.__cause__ = error.__context__ = None
        return error.with_traceback(None)
    return httpx2.TransportError(f"The request failed ({type(error).__name__}).", request=request)


def _given(secret: Secret | None) -> tuple[Secret, ...]:
    return (secret,) if secret else ()


def clean_headers(headers: Headers, secret: Secret) -> Headers:
    """The headers without the key; the same where it is not in there."""
    everything = b"\n".join(part for pair in headers for part in pair)
    if _clean_bytes(everything, secret) is everything:
        return headers
    return [(_clean_bytes(name, secret), _clean_bytes(value, secret)) for name, value in headers]


def _clean_bytes(raw: bytes, secret: Secret) -> bytes:
    text = raw.decode("latin-1")
    clean = _clean_text(text, secret)
    return raw if clean == text else clean.encode("latin-1", "replace")


def clean_body(body: bytes, secret: Secret) -> bytes:
    """The body without the key, also where JSON escapes hide it; the same bytes where it is not in there."""
    text = body.decode("utf-8", "replace")
    try:
        plain = json.dumps(json.loads(text), ensure_ascii=False)
    except (ValueError, RecursionError):
        plain = text
    if _clean_text(plain, secret) == plain and _clean_text(text, secret) == text:
        return body
    return _clean_text(plain, secret).encode("utf-8", "replace")


def _clean_text(text: str, secret: Secret) -> str:
    """The same text, unless the key or a piece of it is in there."""
    if redact(text, secret) == text and not _has_piece(text, secret.reveal()):
        return text
    return scrub(text, secret, limit=_LONGEST_TEXT)


def _has_piece(text: str, key: str) -> bool:
    """Whether ``text`` has ``_PIECE`` characters in a row of the key: then it has one of its halves too."""
    half = _PIECE // 2
    halves = range(0, len(key) - half + 1, half)
    if not any(key[at : at + half] in text for at in halves):
        return False
    return any(key[at : at + _PIECE] in text for at in range(max(1, len(key) - _PIECE + 1)))
