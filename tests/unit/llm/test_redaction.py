"""Texts of an upstream lose the key, however it is written; other texts stay as they are."""

from __future__ import annotations

import json
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as some

from lib.llm.redaction import Cleaner, clean_body, clean_headers, redact_text
from lib.secret import HIDDEN, Secret, redact

KEY = "sk-test-Abc123_def-GHI456jkl789MNO0"
WAYS: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "backwards": lambda text: text[::-1],
    "hex": lambda text: text.encode().hex(),
    "HEX": lambda text: text.encode().hex().upper(),
    "base64": lambda text: b64encode(text.encode()).decode(),
    "base64 of the header": lambda text: b64encode(f"Bearer {text}".encode()).decode(),
    "base64 between others": lambda text: b64encode(f"key={text}; more".encode()).decode(),
    "base64 for addresses": lambda text: urlsafe_b64encode(f"key: {text}".encode()).decode(),
}


def longest_shared(text: str, written: str) -> int:
    """Length of the longest piece of ``written`` that is in ``text``."""
    pieces = (
        size
        for size in range(len(written), 0, -1)
        if any(written[at : at + size] in text for at in range(len(written) - size + 1))
    )
    return next(pieces, 0)


@pytest.mark.parametrize("way", WAYS)
def test_an_error_says_no_piece_of_the_key_however_it_is_written(way):
    written = WAYS[way](KEY)
    assert HIDDEN in redact_text(f"No: {written}!", Secret(KEY))
    assert longest_shared(redact_text(f"No: {written}!", Secret(KEY)), written) < 12
    body = clean_body(json.dumps({"error": {"message": written}}).encode(), "application/json", Secret(KEY))
    assert HIDDEN.encode() in body
    ((_, value),) = clean_headers([(b"x-echo", written.encode())], Secret(KEY))
    assert HIDDEN.encode() in value


@pytest.mark.parametrize("way", ["as it is", "backwards"])
def test_an_answer_says_no_longer_piece_of_the_key_forwards_or_backwards(way):
    written = WAYS[way](KEY)
    passed = Cleaner(Secret(KEY)).clean(f"Your key: {written}".encode()).decode()
    assert longest_shared(passed, written) < 16
    assert HIDDEN in passed


def test_a_log_line_says_no_half_of_the_key_backwards():
    assert redact(f"got {KEY[::-1]}", Secret(KEY)) == f"got {HIDDEN}"


@given(some.text(alphabet="abcdefghijkl 0123456789\n", max_size=200))
def test_other_text_is_left_alone(text):
    raw = text.encode()
    assert Cleaner(Secret(KEY)).clean(raw) is raw
    assert Cleaner(Secret(KEY)).clean(raw, error=True) is raw
