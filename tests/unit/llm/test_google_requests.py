"""Which requests to Google have a ceiling, which have none and why, and what is written into them."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from lib.errors import NotMetered
from lib.ledger.ceilings import ceiling
from lib.llm.google.requests import parse_request, with_output_limit
from lib.pricing.prices import PriceBook

AT = datetime(2026, 11, 30, tzinfo=UTC)
MODEL = "gemini-3.5-flash"
CONTENTS = [{"role": "user", "parts": [{"text": "Hi"}]}]


def parsed(path: str | None = None, method: str = "POST", body: bytes | None = None, **asked: Any) -> Any:
    raw = json.dumps({"contents": CONTENTS} | asked).encode() if body is None else body
    found = parse_request(method, path or f"v1beta/models/{MODEL}:generateContent", raw, {})
    return replace(found, provider="google")


def limited(**config: Any) -> Any:
    return parsed(generationConfig=config)


def test_the_model_stands_in_the_address_and_the_stream_too() -> None:
    profile = parsed("v1beta/models/gemini-3.8-flash:streamGenerateContent")
    assert (profile.endpoint, profile.model) == ("streamGenerateContent", "gemini-3.8-flash")
    assert (profile.streaming, profile.cost_unbounded, profile.output_limit) == (True, None, None)
    assert parsed("v1/models/gemini-3.8-flash:generateContent").cost_unbounded is None


def test_the_ceiling_is_every_byte_and_every_token_that_may_be_written() -> None:
    profile = limited(maxOutputTokens=100, candidateCount=2)
    nano, limit = ceiling(profile, 4_096, PriceBook(), at=AT)
    assert (nano, limit) == ((profile.input_bytes + 256) * 1_500 + 200 * 9_000, None)


def test_a_thinking_budget_is_reserved_besides_the_limit_and_none_is_no_obstacle_where_thoughts_end_at_it() -> (
    None
):
    assert limited(maxOutputTokens=100, thinkingConfig={"thinkingBudget": 50}).output_limit == 150
    assert limited(maxOutputTokens=100, thinkingConfig={"thinking_budget": 50}).output_limit == 150
    for thinking in ({"thinkingBudget": -1}, {"thinkingLevel": "HIGH"}, {"includeThoughts": True}, {}):
        profile = limited(maxOutputTokens=100, thinkingConfig=thinking)
        assert (profile.output_limit, profile.cost_unbounded) == (100, None)


@pytest.mark.parametrize(
    "model", ["gemini-5-carbon", "gemini-30-flash", "gemma-4-31b-it", "tunedModels/ours"]
)
def test_a_model_of_which_nobody_measured_where_thoughts_end_has_to_name_a_budget(model: str) -> None:
    path = f"v1beta/{model if '/' in model else f'models/{model}'}:generateContent"
    for thinking in ({}, {"thinkingBudget": -1}, {"thinkingLevel": "LOW"}):
        profile = parsed(path, generationConfig={"maxOutputTokens": 100, "thinkingConfig": thinking})
        assert "thinking_config.thinking_budget" in str(profile.cost_unbounded)
        assert profile.answer_tells_cost
    for budget, most in ((0, 100), (50, 150)):
        named = {"maxOutputTokens": 100, "thinkingConfig": {"thinking_budget": budget}}
        profile = parsed(path, generationConfig=named)
        assert (profile.output_limit, profile.cost_unbounded) == (most, None)


def test_both_spellings_of_a_name_are_read_as_google_reads_them() -> None:
    raw = {"generation_config": {"max_output_tokens": 7, "candidate_count": 3}}
    assert (parsed(**raw).output_limit, parsed(**raw).choices, parsed(**raw).cost_unbounded) == (7, 3, None)


@pytest.mark.parametrize(
    "asked",
    [
        {"generationConfig": {"maxOutputTokens": 1}, "generation_config": {"maxOutputTokens": 9}},
        {"generationConfig": {"maxOutputTokens": 1, "max_output_tokens": 9}},
        {"generationConfig": {"thinkingConfig": {"thinkingBudget": 1, "thinking_budget": 9}}},
        {"contents": [{"parts": [{"inlineData": {}, "inline_data": {}}]}]},
        {"contents": [{"parts": [], "parts_": []}]},
    ],
)
def test_one_thing_said_in_two_spellings_has_no_ceiling(asked: dict[str, Any]) -> None:
    assert parsed(**asked).cost_unbounded


TELLS = {
    "a cached content": ({"cachedContent": "cachedContents/1"}, True),
    "a file": ({"contents": [{"parts": [{"fileData": {"fileUri": "x"}}]}]}, True),
    "a picture": ({"contents": [{"parts": [{"inlineData": {"mimeType": "image/png"}}]}]}, True),
    "a picture, other spelling": ({"contents": [{"parts": [{"inline_data": {}}]}]}, True),
    "a picture in a system instruction": ({"systemInstruction": {"parts": [{"inlineData": {}}]}}, True),
    "a picture that a function gave": (
        {"contents": [{"parts": [{"functionResponse": {"name": "f", "parts": [{"inlineData": {}}]}}]}]},
        True,
    ),
    "a part of a kind to come": ({"contents": [{"parts": [{"hologram": {}}]}]}, True),
    "code of Google's": ({"tools": [{"codeExecution": {}}]}, True),
    "addresses": ({"tools": [{"url_context": {}}]}, True),
    "Google's search": ({"tools": [{"googleSearch": {}}]}, False),
    "search among functions": ({"tools": [{"functionDeclarations": [], "googleSearch": {}}]}, False),
    "maps": ({"tools": [{"googleMaps": {}}]}, False),
    "pictures as output": ({"generationConfig": {"responseModalities": ["TEXT", "IMAGE"]}}, True),
    "speech": ({"generationConfig": {"speechConfig": {}}}, False),
    "an unknown parameter": ({"turbo": True}, False),
    "an unknown part of the configuration": ({"generationConfig": {"turbo": 1}}, False),
    "a limit that is text": ({"generationConfig": {"maxOutputTokens": "100"}}, True),
    "no limit at all": ({"generationConfig": {"maxOutputTokens": 0}}, True),
    "no candidates": ({"generationConfig": {"candidateCount": 0}}, True),
    "half a budget": ({"generationConfig": {"thinkingConfig": {"thinkingBudget": 1.5}}}, False),
    "a configuration that is none": ({"generationConfig": [1]}, False),
    "contents that are none": ({"contents": "Hi"}, False),
    "tools that are none": ({"tools": {"googleSearch": {}}}, False),
}


@pytest.mark.parametrize("name", TELLS)
def test_what_no_byte_bounds_has_no_ceiling_and_says_whether_its_answer_tells_the_cost(name: str) -> None:
    asked, tells = TELLS[name]
    profile = parsed(**asked)
    assert (bool(profile.cost_unbounded), profile.answer_tells_cost) == (True, tells)
    with pytest.raises(NotMetered):
        ceiling(profile, 4_096, PriceBook(), at=AT)


def test_functions_of_the_callers_own_are_plain_text_with_a_hidden_prompt() -> None:
    call = {"functionCall": {"name": "f", "args": {"google_search": 1}}, "thoughtSignature": "AA=="}
    contents = [{"parts": [call]}, {"parts": [{"functionResponse": {"name": "f", "response": {}}}]}]
    profile = parsed(contents=contents, tools=[{"functionDeclarations": [{"name": "f"}]}])
    assert (profile.cost_unbounded, profile.framing_tokens, profile.hosted_tools) == (
        None,
        2_048,
        frozenset(),
    )


def test_what_continues_an_answer_is_bounded_by_the_context_window() -> None:
    beside = parsed(continuationToken="AA==", generationConfig={"maxOutputTokens": 10})
    assert (beside.uses_context_window, beside.cost_unbounded) == (True, None)
    profile = limited(maxOutputTokens=10, continuationToken="AA==")
    assert (profile.uses_context_window, profile.cost_unbounded) == (True, None)
    assert ceiling(profile, 4_096, PriceBook(), at=AT)[0] == 1_000_000 * 1_500 + 10 * 9_000


@pytest.mark.parametrize(("word", "asked"), [("flex", "flex"), ("PRIORITY", "priority"), (7, "?")])
def test_a_tier_without_a_published_price_has_no_ceiling(word: object, asked: str) -> None:
    profile = parsed(serviceTier=word, generationConfig={"maxOutputTokens": 5})
    assert profile.service_tier == asked
    with pytest.raises(NotMetered, match="service tier"):
        ceiling(profile, 4_096, PriceBook(), at=AT)


@pytest.mark.parametrize("word", [None, "standard", "STANDARD", "unspecified", "SERVICE_TIER_STANDARD"])
def test_the_standard_tier_is_none_however_it_is_called(word: str | None) -> None:
    assert parsed(serviceTier=word).service_tier is None


FREE = [
    ("GET", "v1beta/models", None),
    ("GET", f"v1beta/models/{MODEL}", None),
    ("POST", f"v1beta/models/{MODEL}:countTokens", None),
    ("GET", "v1beta/files/f_1", "shares"),
    ("GET", "v1beta/files/f_1:download", "shares"),
    ("POST", "upload/v1beta/files", "shares"),
    ("DELETE", "v1beta/cachedContents/c_1", "shares"),
    ("POST", "v1beta/batches/b_1:cancel", "shares"),
]


@pytest.mark.parametrize(("method", "path", "why_not"), FREE)
def test_what_is_free_is_known_and_what_reaches_the_account_stays_off_the_platforms(
    method: str, path: str, why_not: str | None
) -> None:
    profile = parsed(path, method)
    assert profile.free
    assert (profile.cost_unbounded is None) is (why_not is None)


@pytest.mark.parametrize(
    "path",
    [
        "v1beta/cachedContents",
        "v1beta/interactions",
        f"v1beta/models/{MODEL}:batchGenerateContent",
        "v1beta/models/veo-4:predictLongRunning",
        f"v1alpha/models/{MODEL}:generateContent",
        f"upload/v1beta/models/{MODEL}:generateContent",
        f"v1beta/models/{MODEL}%3AgenerateContent",
        "v1beta/openai/chat/completions",
        "v1beta/auth_tokens",
        "v1beta/../models/x:generateContent",
    ],
)
def test_every_other_endpoint_has_no_ceiling_and_no_known_cost(path: str) -> None:
    profile = parsed(path)
    assert profile.cost_unbounded
    assert not profile.free
    assert not profile.answer_tells_cost


def test_an_embedding_is_bounded_by_its_bytes_and_names_one_model() -> None:
    body = {"requests": [{"model": "models/gemini-embedding-001", "content": {"parts": [{"text": "a"}]}}]}
    path = "v1beta/models/gemini-embedding-001:batchEmbedContents"
    profile = parsed(path, body=json.dumps(body).encode())
    assert ceiling(profile, 4_096, PriceBook(), at=AT) == ((profile.input_bytes + 256) * 150, None)
    for wrong in (
        {"requests": [{"model": "models/gemini-embedding-2", "content": {}}]},
        {"requests": [{"content": {"parts": [{"inlineData": {}}]}}]},
        {"requests": "all"},
        {"requests": [], "more": 1},
    ):
        assert parsed(path, body=json.dumps(wrong).encode()).cost_unbounded


def test_a_limit_is_written_into_a_request_that_has_none() -> None:
    for config in (None, {}, {"temperature": 1}, {"max_output_tokens": None}):
        for name in ("generationConfig", "generation_config"):
            raw = json.dumps({"contents": CONTENTS, name: config}).encode()
            told = json.loads(with_output_limit(raw, 50))
            assert parsed(body=json.dumps(told).encode()).output_limit == 50
            assert "max_output_tokens" not in json.dumps(told)
    assert json.loads(with_output_limit(b'{"contents":[]}', 5))["generationConfig"] == {"maxOutputTokens": 5}


@pytest.mark.parametrize("other", ["generation_config", "generation__config"])
def test_a_limit_is_never_written_beside_another_configuration(other: str) -> None:
    for asked in (
        {other: None, "generationConfig": {"topK": 1}},
        {other: {"topK": 1}, "generationConfig": None},
    ):
        raw = json.dumps({"contents": CONTENTS, **asked}).encode()
        assert parsed(body=raw).cost_unbounded is None
        profile = parsed(body=with_output_limit(raw, 50))
        assert (profile.cost_unbounded, profile.output_limit) == (None, 50)
