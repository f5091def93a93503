"""What each error answer of Anthropic's means, and that no key is in what is kept of it."""

from __future__ import annotations

import json

import pytest

from lib.llm.anthropic.errors import classify_error
from lib.secret import Secret
from tests.upstream_anthropic import BEHAVIOURS, body_of_error

KEY = "sk-ant-test-planted-key-7777"
KINDS = {
    "revoked": "rejected",
    "cors": "other",
    "billing": "out_of_money",
    "linked_limit": "out_of_money",
    "out_of_money": "out_of_money",
    "usage_limit": "out_of_money",
    "workspace_access": "other",
    "not_from_here": "country",
    "region": "wrong_address",
    "on_hold": "restricted_account",
    "tier_cap": "out_of_money",
    "contract_cap": "out_of_money",
    "rate_limited": "rate_limited",
    "no_model": "no_model",
    "server_error": "overloaded",
    "timeout": "overloaded",
    "overloaded": "overloaded",
    "gateway": "overloaded",
}
UNKNOWN = {"gateway"}


@pytest.mark.parametrize("name", KINDS)
def test_each_answer_has_its_meaning(name: str) -> None:
    how = BEHAVIOURS[name]
    found = classify_error(how["status"], json.dumps(how["json"]).encode(), {"request-id": "req_1"})
    assert (found.kind, found.request_id) == (KINDS[name], "req_1")
    assert found.is_outcome_unknown is (name in UNKNOWN)
    assert found.message


def test_the_request_id_of_the_body_stands_in_for_that_of_the_headers() -> None:
    body = json.dumps(body_of_error("api_error", "No")).encode()
    assert classify_error(500, body, {}).request_id == "req_of_the_body"


def test_a_code_of_the_details_is_shown() -> None:
    body = json.dumps(body_of_error("permission_error", "No", "cmek_key_disabled")).encode()
    found = classify_error(403, body, {})
    assert (found.kind, found.code, found.type) == (
        "restricted_account",
        "cmek_key_disabled",
        "permission_error",
    )


@pytest.mark.parametrize(
    "body",
    [
        b"<html>no</html>",
        b"plain text",
        b"[]",
        b'{"error": "plain"}',
        b'{"error": {"type": 5, "message": ["x"]}}',
        b"\xff\xfe",
        b"",
    ],
)
@pytest.mark.parametrize("status", [400, 403, 429, 502, 529])
def test_whatever_stands_there_is_no_exception(status: int, body: bytes) -> None:
    found = classify_error(status, body, {})
    assert found.status == status
    assert found.message


@pytest.mark.parametrize("status", [502, 504, 520, 524, 408])
def test_what_something_between_says_hides_the_outcome(status: int) -> None:
    assert classify_error(status, b'{"message": "bad gateway"}', {}).is_outcome_unknown


def test_the_key_is_in_nothing_that_is_kept() -> None:
    body = json.dumps(body_of_error(KEY, f"No {KEY}", KEY)).encode()
    found = classify_error(401, body, {"request-id": KEY}, Secret(KEY))
    assert KEY not in repr(found)
    assert KEY[7:] not in repr(found)
