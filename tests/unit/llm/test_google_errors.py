"""What each error answer of Google's means, and that no key is in what is kept of it."""

from __future__ import annotations

import json

import pytest

from lib.llm.google.errors import classify_error
from lib.secret import Secret, redact
from tests.upstream import GEMINI_KEY, GEMINI_OTHER_KEY
from tests.upstream_google import BEHAVIOURS, body_of_error

KINDS = {
    "revoked": "rejected",
    "expired": "rejected",
    "location": "out_of_money",
    "billing_off": "out_of_money",
    "other_precondition": "other",
    "unbound": "rejected",
    "unauthenticated": "rejected",
    "no_right_to_run": "other",
    "service_blocked": "rejected",
    "service_disabled": "rejected",
    "leaked": "rejected",
    "unrestricted": "rejected",
    "suspended": "rejected",
    "wrong_address": "wrong_address",
    "referrer": "wrong_address",
    "no_model": "no_model",
    "rate_limited": "rate_limited",
    "free_minute": "rate_limited",
    "free_day": "out_of_money",
    "out_of_money": "out_of_money",
    "spend_cap": "out_of_money",
    "server_error": "overloaded",
    "overloaded": "overloaded",
    "timeout": "overloaded",
    "gateway": "overloaded",
}
UNKNOWN = {"gateway"}


@pytest.mark.parametrize("name", KINDS)
def test_each_answer_has_its_meaning(name: str) -> None:
    how = BEHAVIOURS[name]
    found = classify_error(how["status"], json.dumps(how["json"]).encode(), {})
    assert found.kind == KINDS[name]
    assert found.is_outcome_unknown is (name in UNKNOWN)
    assert found.message


def test_the_details_decide_before_the_words() -> None:
    told = body_of_error(429, "RESOURCE_EXHAUSTED", "Check your billing.", quota="RequestsPerMinute")
    found = classify_error(429, json.dumps(told).encode(), {})
    assert (found.kind, found.code, found.type) == ("rate_limited", "RequestsPerMinute", "RESOURCE_EXHAUSTED")


def test_a_file_that_is_not_ready_says_nothing_of_the_key() -> None:
    told = body_of_error(400, "FAILED_PRECONDITION", "The File f_1 is not in an ACTIVE state.")
    assert classify_error(400, json.dumps(told).encode(), {}).kind == "other"


def test_the_errors_of_other_interfaces_are_read_as_well() -> None:
    interactions = b'{"error": {"code": "invalid_request", "message": "No input"}}'
    found = classify_error(504, interactions, {})
    assert (found.code, found.message, found.is_outcome_unknown) == ("invalid_request", "No input", False)
    listed = json.dumps([body_of_error(503, "UNAVAILABLE", "Overloaded")]).encode()
    assert classify_error(503, listed, {}).type == "UNAVAILABLE"


@pytest.mark.parametrize(
    "body", [b"", b"null", b"[]", b"\xff\xfe", b'{"error": [1]}', b'{"error": {"details": 7}}']
)
@pytest.mark.parametrize("status", [400, 403, 429, 500, 504])
def test_nothing_that_comes_back_is_an_exception(body: bytes, status: int) -> None:
    assert classify_error(status, body, {}).message


@pytest.mark.parametrize("key", [GEMINI_KEY, GEMINI_OTHER_KEY])
def test_a_key_of_either_kind_is_in_no_text_that_is_kept(key: str) -> None:
    told = body_of_error(403, "PERMISSION_DENIED", f"No: {key}", reason=key)
    found = classify_error(403, json.dumps(told).encode(), {}, Secret(key))
    assert key[8:] not in f"{found.message}{found.code}{found.type}"


@pytest.mark.parametrize(
    "text",
    [
        f"POST https://example.com/v1beta/models/x:generateContent?key={GEMINI_KEY}&alt=sse",
        f"https://example.com/?alt=sse&key={GEMINI_OTHER_KEY}",
        f"url=https%3A%2F%2Fexample.com%3Fkey%3D{GEMINI_KEY}",
        f"x-goog-api-key: {GEMINI_OTHER_KEY}",
        f"'x-goog-api-key': '{GEMINI_KEY}'",
        "Could not use AIzaSy…abcd",
        "https://example.com/?key=of-a-kind-that-nobody-knows",
    ],
)
def test_keys_are_known_by_their_shape_in_addresses_too(text: str) -> None:
    clean = redact(text)
    assert "[key hidden]" in clean
    for key in (GEMINI_KEY, GEMINI_OTHER_KEY, "abcd", "nobody-knows"):
        assert key not in clean


@pytest.mark.parametrize("text", ["See the FAQ. There", "SEQ.AQ is a name", "AQ.", "key=short"])
def test_words_that_begin_like_a_key_are_none(text: str) -> None:
    assert redact(text) == text
