"""Taking the key out of what a provider or the HTTP stack hands back, before anyone else holds it."""

from __future__ import annotations

import json
import re
import unicodedata
from base64 import b64encode
from collections.abc import Iterator
from contextlib import suppress
from secrets import token_bytes

import httpx2

from lib.errors import QodexError
from lib.interruption import is_from_outside
from lib.secret import HIDDEN, Secret, redact, without_variables

LONGEST_MESSAGE = 500
_SHORTEST_PIECE = 8
_LONGEST_TEXT = 4 * 1024 * 1024
_LONGER_PIECE = 16
"""How much of a key is no accident in what a model says: any may speak of ``sk-proj-…``."""

_PROBE = 5  # characters

# A letter, digit, "-" or "_" that JSON need not have escaped; after an even number of backslashes.
_ESCAPED = re.compile(
    rb"(?<!\\)((?:\\\\)*)\\u00(2d|3[0-9]|4[1-9a-f]|5[0-9a]|5f|6[1-9a-f]|7[0-9a])", re.IGNORECASE
)
_CHARSET = re.compile(r"""charset\s*=\s*["']?([^\s"';]+)""", re.IGNORECASE)
_URL_SAFE = str.maketrans("+/", "-_")
Headers = list[tuple[bytes, bytes]]


@without_variables
def redact_text(text: str, *secrets: Secret, limit: int = LONGEST_MESSAGE) -> str:
    """Return foreign text without keys, invisible characters and line breaks, at most ``limit`` long.

    Keys go before the cut, which might leave a half that no longer looks like one; and again after
    invisible characters, which may have stood inside one.
    """
    visible = "".join(_visible(character) for character in redact(text, *secrets))
    plain = redact(" ".join(visible.split()), *secrets)
    for secret in secrets:
        plain = redact_key(plain, secret.reveal())
    return plain if len(plain) <= limit else plain[: limit - 1] + "…"


def _visible(character: str) -> str:
    """Line breaks become spaces; controls, direction overrides, zero-width and lone surrogates vanish."""
    if character.isspace():
        return " "
    return "" if unicodedata.category(character).startswith("C") else character


@without_variables
def redact_key(text: str, key: str) -> str:
    """Hide all pieces of the key in a text that has no business to hold any, backwards and encoded ones too."""
    for form, stretch in _forms(key):
        text = redact_pieces(text, form, round(_SHORTEST_PIECE * stretch))
    return text


def _forms(key: str) -> Iterator[tuple[str, float]]:
    """How an upstream may write a key, and how many characters it takes there for one of the key's."""
    yield key, 1
    yield key[::-1], 1
    yield key.encode().hex(), 2
    yield key.encode().hex().upper(), 2
    for lead in range(3):  # what stands before it moves its bits, "Bearer " for one
        coded = b64encode(bytes(lead) + key.encode()).decode().rstrip("=")
        whole = coded[(0, 2, 3)[lead] : len(coded) - bool((lead + len(key)) % 3)]
        yield whole, 4 / 3
        yield whole.translate(_URL_SAFE), 4 / 3


@without_variables
def redact_pieces(text: str, key: str, shortest: int = _SHORTEST_PIECE) -> str:
    """Hide whatever ``text`` has in common with ``key``, where it is long enough to be no accident."""
    kept, at = [], 0
    for start, end in sorted(_pieces(text, key, shortest)):
        if start >= at:
            kept += [text[at:start], HIDDEN]
        at = max(at, end)
    return "".join([*kept, text[at:]])


def _pieces(text: str, key: str, shortest: int) -> set[tuple[int, int]]:
    """Where ``text`` has at least ``shortest`` characters in a row of the key.

    Whoever has so many has one of the key's blocks of half the length, which are found fast; from there both ways.
    """
    found = set()
    half = shortest // 2
    for block in range(0, len(key) - half + 1, half):
        place = text.find(key[block : block + half])
        while place >= 0:
            before = _alike(text[max(0, place - block) : place][::-1], key[:block][::-1])
            after = _alike(text[place : place + len(key) - block], key[block:])
            if before + after >= shortest:
                found.add((place - before, place + after))
            place = text.find(key[block : block + half], place + 1)
    return found


def _alike(left: str, right: str) -> int:
    """How many characters the two begin with alike."""
    differ = (at for at, (one, other) in enumerate(zip(left, right, strict=False)) if one != other)
    return next(differ, min(len(left), len(right)))


def clean_error(error: BaseException, request: httpx2.Request | None, secret: Secret | None) -> BaseException:
    """A failure with nothing of ours in it: a new error of its type, or the old one without its past."""
    if isinstance(error, httpx2.RequestError):
        return type(error)(redact_text(str(error), *_given(secret)), request=request)
    if isinstance(error, QodexError) or is_from_outside(error):
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


def without_charset(headers: Headers) -> Headers:
    """The headers of an answer that is UTF-8 by now."""
    return [
        (name, value.partition(b";")[0]) if name.lower() == b"content-type" else (name, value)
        for name, value in headers
    ]


def clean_body(body: bytes, content_type: str, secret: Secret) -> bytes:
    """The body in UTF-8 without the key; the same bytes where they are that already.

    Read as UTF-8 first: a wrong charset would make letters of it that give the key back when they are encoded.
    """
    return _clean_utf8(in_utf8(_clean_utf8(body, secret), content_type), secret)


def _clean_utf8(body: bytes, secret: Secret) -> bytes:
    """Also where JSON escapes hide the key."""
    text = body.decode("utf-8", "replace")
    try:
        plain = json.dumps(json.loads(text), ensure_ascii=False)
    except (ValueError, RecursionError):
        plain = text
    if _clean_text(plain, secret) == plain and _clean_text(text, secret) == text:
        return body
    return _clean_text(plain, secret).encode("utf-8", "replace")


def in_utf8(body: bytes, content_type: str) -> bytes:
    """The body as UTF-8 without NUL, whatever it came in: a key that nobody can read cannot be taken out.

    The same bytes where they are that already. What cannot be decoded is lost.
    """
    with suppress(UnicodeDecodeError):
        if "\0" not in body.decode():
            return body
    declared = _CHARSET.search(content_type)
    found = json.detect_encoding(body)  # told from where its NULs are
    charsets = [found if found != "utf-8" else None, declared and declared[1], "utf-8"]
    text = next(filter(None, (_decoded(body, charset) for charset in charsets if charset)), "")
    return text.replace("\0", "").encode("utf-8", "replace")


def _decoded(body: bytes, charset: str) -> str | None:
    try:
        return body.decode(charset, "replace")
    except (LookupError, ValueError):
        return None


def _clean_text(text: str, secret: Secret) -> str:
    """``text`` as it is, unless the key or a piece of it is in there."""
    if redact(text, secret) == text and redact_key(text, secret.reveal()) == text:
        return text
    return redact_text(text, secret, limit=_LONGEST_TEXT)


class Cleaner:
    """Takes the key out of one answer while it passes through.

    It has to know the key until the answer ends, but hangs on the response that the caller holds: so it keeps
    the key masked, and forgets it at the end.
    """

    @without_variables
    def __init__(self, secret: Secret) -> None:
        key = secret.reveal().encode()
        mask = token_bytes(len(key))
        self._masked: tuple[bytes, bytes] | None = (mask, _xor(mask, key))

    @property
    @without_variables
    def secret(self) -> Secret | None:
        """None once the answer has ended."""
        return Secret(_xor(*self._masked).decode()) if self._masked else None

    def forget(self) -> None:
        """The answer has ended."""
        self._masked = None

    @without_variables
    def clean(self, raw: bytes, *, error: bool = False) -> bytes:
        """What may be passed on: the same bytes, without any longer piece of the key.

        Args:
            raw: a whole event or body; nobody gets anything after the end.
            error: it tells an error, where short pieces and other keys have no place either.
        """
        secret = self.secret
        if secret is None:
            return b""
        key = secret.reveal()
        plain = _ESCAPED.sub(_unescaped, raw) if b"\\u00" in raw else raw
        if not error and not _may_hold(plain, key.encode()):
            return raw
        text = plain.decode("utf-8", "surrogateescape")
        if error:
            clean = redact(redact_key(text, key), secret)
        else:
            clean = redact_pieces(redact_pieces(text, key, _LONGER_PIECE), key[::-1], _LONGER_PIECE)
        return raw if clean == text else clean.encode("utf-8", "surrogateescape")


def _xor(left: bytes, right: bytes) -> bytes:
    return (int.from_bytes(left) ^ int.from_bytes(right)).to_bytes(len(left))


def _unescaped(found: re.Match[bytes]) -> bytes:
    return found[1] + bytes([int(found[2], 16)])


def _may_hold(raw: bytes, key: bytes) -> bool:
    """Whether a longer piece may be in there, forwards or backwards: fast, for every event of every stream."""
    backwards = raw[::-1]
    for at in range(
        0, len(key) - _PROBE + 1, _LONGER_PIECE - _PROBE + 1
    ):  # each longer piece has one of them
        probe = key[at : at + _PROBE]
        if probe in raw or probe in backwards:
            return True
    return False
