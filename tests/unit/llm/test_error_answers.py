"""What an error answer means is told by its status first, and its text is safe to show whatever it holds."""

from __future__ import annotations

import json
import unicodedata

import httpx2
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lib.llm.openai.errors import classify_error, request_id_of
from lib.llm.redaction import redact_text
from lib.secret import Secret
from tests.upstream_behaviours import BEHAVIOURS

KEY = "sk-test-planted-key-7777"
JSON = {"content-type": "application/json"}


def told(status: int, body: object, headers: dict[str, str] | None = None, *secrets: Secret):
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return classify_error(status, raw, httpx2.Headers(JSON | (headers or {})), *secrets)


KINDS = {
    "revoked": "rejected",
    "account_deactivated": "rejected",
    "no_organization": "rejected",
    "integer_code": "rejected",
    "mismatched_organization": "other",
    "ip_not_authorized": "wrong_address",
    "no_scopes": "missing_scopes",
    "no_scopes_401": "missing_scopes",
    "no_scopes_text": "missing_scopes",
    "country": "country",
    "forbidden": "other",
    "no_model": "no_model",
    "unknown_model": "no_model",
    "unverified_400": "unverified_org",
    "unverified_403": "unverified_org",
    "unverified_404": "unverified_org",
    "insufficient_quota": "out_of_money",
    "credit_balance_exhausted": "out_of_money",
    "project_spend_limit_exceeded": "out_of_money",
    "organization_spend_limit_exceeded": "out_of_money",
    "organization_usage_limit_exceeded": "out_of_money",
    "rate_limited": "rate_limited",
    "tokens_limited": "rate_limited",
    "server_error": "overloaded",
    "slow_down": "overloaded",
    "overloaded": "overloaded",
    "bad_request": "other",
    "detail_400": "other",
}


@pytest.mark.parametrize("row", KINDS)
def test_each_row_of_the_table_is_told_apart(row):
    answer = BEHAVIOURS[row]
    assert answer.status is not None
    assert told(answer.status, answer.json).kind == KINDS[row]


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (302, "other"),
        (400, "other"),
        (401, "rejected"),
        (402, "out_of_money"),
        (403, "other"),
        (404, "other"),
        (422, "other"),
        (429, "rate_limited"),
        (500, "overloaded"),
        (502, "overloaded"),
        (599, "overloaded"),
    ],
)
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"Unauthorized",
        b"null",
        b"[1, 2]",
        b'{"detail": [{"msg": "x"}]}',
        b'{"error": null}',
        b'{"error": {"code": {"a": 1}, "message": 5, "type": []}}',
        b'{"error": 17, "message": "x"}',
        b"[" * 30_000,
        b"9" * 10_000,
        b"\xff\xfe\x00",
    ],
    ids=lambda body: body[:20].decode("latin-1") or "empty",
)
def test_the_status_decides_where_the_body_is_strange(status, kind, body):
    answer = told(status, body)
    assert answer.kind == kind
    assert answer.message
    assert len(answer.message) <= 500


@pytest.mark.parametrize("status", [200, 301, 400, 401, 403, 404])
def test_a_web_page_is_nobodys_refusal_of_a_key(status):
    for answer in (
        classify_error(status, b"<p>Missing scopes</p>", {"content-type": "text/html"}),
        classify_error(status, b"\n <!DOCTYPE html><script>1</script>", {"content-type": "application/json"}),
    ):
        assert answer.kind == "other"
        assert answer.is_web_page
        assert answer.message == f"The answer was a web page (HTTP {status})."


@pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 500])
def test_a_code_of_another_status_does_not_change_what_it_means(status):
    kinds = {
        code: told(status, {"error": {"code": code, "message": "m"}}).kind
        for code in ("insufficient_quota", 7)
    }
    assert kinds["insufficient_quota"] == ("out_of_money" if status == 429 else kinds[7])


def test_code_type_message_and_request_id_are_kept_for_the_run_log():
    answer = told(
        429,
        {"error": {"code": "insufficient_quota", "type": "insufficient_quota", "message": "No  money.\n"}},
        {"X-Request-Id": "req_0123"},
    )
    assert (answer.status, answer.code, answer.type) == (429, "insufficient_quota", "insufficient_quota")
    assert (answer.message, answer.request_id) == ("No money.", "req_0123")


def test_every_text_of_an_answer_that_repeats_the_key_is_scrubbed():
    body = {"error": {"code": KEY, "type": KEY, "message": f"Bearer {KEY} and {KEY[3:]}"}}
    answer = told(401, body, {"x-request-id": KEY[3:]}, Secret(KEY))
    assert "planted" not in repr(answer)
    assert answer.request_id is None


@pytest.mark.parametrize("name", ["", "req 1", "req\n1", "<b>", "x" * 200, "[key hidden]"])
def test_a_request_id_that_is_no_plain_id_is_dropped(name):
    assert request_id_of({"x-request-id": name}) is None


# --- scrubbing ------------------------------------------------------------------------------------


def test_the_key_is_hidden_before_the_text_is_cut():
    for before in range(440, 500):
        cut = redact_text("x" * before + KEY * 3, Secret(KEY))
        assert len(cut) <= 500
        assert "sk-" not in cut
        assert "test" not in cut


def test_a_key_broken_up_by_invisible_characters_is_hidden():
    for invisible in ("\u200b", "\x00", "\u202e", "\u00ad", "\ufeff"):
        assert "planted" not in redact_text(invisible.join(KEY), Secret(KEY))


@given(
    key=st.from_regex(r"\Ask-[A-Za-z0-9_-]{16,80}\Z"),
    at=st.integers(0, 70),
    length=st.integers(8, 83),
    around=st.text(max_size=10),
)
@example(key=KEY, at=3, length=100, around="")
def test_no_piece_of_eight_characters_of_the_key_survives(key, at, length, around):
    piece = key[at : at + length]
    shown = redact_text(around + piece + around, Secret(key))
    shown = shown.replace("[key hidden]", "\n")
    assert not any(key[i : i + 8] in shown for i in range(len(key) - 7))


@given(st.text(max_size=2000))
@example("a\u202eb\u2066c\x1b[31m\x00\r\n\u2028\ud800")
def test_foreign_text_becomes_one_visible_line_of_limited_length(text):
    shown = redact_text(text)
    assert len(shown) <= 500
    assert shown == shown.strip()
    assert not {unicodedata.category(character) for character in shown} & {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}


def test_plain_text_is_left_alone():
    plain = "Rate limit reached for gpt-5 in organization on requests per min. Größe: 3 µs — ok 👍"
    assert redact_text(plain, Secret(KEY)) == plain


GATEWAY = [408, 444, 460, 499, 500, 501, 502, 503, 504, 507, 520, 522, 524, 529, 598]
NO_ANSWERS_OF_THE_PROVIDER = [
    b"",
    b"<html><h1>504 Gateway Time-out</h1></html>",
    b"upstream request timeout",
    b'{"message": "The upstream server is timing out"}',
    b'{"detail": "Bad gateway"}',
    b'{"error": "timed out"}',
    b'{"error": {"message": "no type"}}',
    b'{"error": {"code": 524, "message": "Gateway timeout.", "param": null, "type": "cf_gateway_timeout"}}',
    b'{"error": {"message": "x", "type": "timeout"}}',
    b'{"type": "about:blank", "title": "A timeout occurred", "status": 524}',
    b'{"error": {"type": "server_error", "mess',
]


@pytest.mark.parametrize("status", GATEWAY)
@pytest.mark.parametrize("body", NO_ANSWERS_OF_THE_PROVIDER)
def test_what_a_gateway_says_for_the_provider_leaves_the_outcome_unknown(status, body):
    assert told(status, body).is_outcome_unknown


@pytest.mark.parametrize("status", GATEWAY)
def test_an_error_of_the_provider_itself_is_known_to_cost_nothing(status):
    assert not told(status, b'{"error": {"message": "x", "type": "server_error"}}').is_outcome_unknown


@pytest.mark.parametrize("body", [b"", b"<h1>Blocked by policy</h1>", b"Access denied", b'"no"'])
def test_a_filter_that_forbids_may_have_withheld_an_answer_that_is_billed(body):
    assert told(403, body).is_outcome_unknown


@pytest.mark.parametrize("error", ["Missing scopes", {"message": "no type"}, {"type": "request_forbidden"}])
def test_a_provider_that_forbids_has_done_no_work(error):
    assert not told(403, json.dumps({"error": error}).encode()).is_outcome_unknown


@pytest.mark.parametrize("status", [302, 400, 401, 404, 405, 407, 409, 413, 421, 429, 431])
@pytest.mark.parametrize("body", NO_ANSWERS_OF_THE_PROVIDER)
def test_a_refusal_before_any_work_is_no_unknown_outcome(status, body):
    assert not told(status, body).is_outcome_unknown
