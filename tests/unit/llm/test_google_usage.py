"""What an answer of Google's tells is counted to the token; what it leaves open or contradicts is unknown."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from lib.errors import PriceUnknown
from lib.llm.google.requests import parse_request
from lib.llm.google.responses import parser_for
from lib.llm.redaction import Cleaner
from lib.pricing.prices import PriceBook, Tokens
from lib.pricing.terms import Terms
from lib.secret import Secret

AT = datetime(2026, 11, 30, tzinfo=UTC)
KEY = "AQ.Ab-test-planted-key-7777"
MODEL = "gemini-3.5-flash"
USAGE: dict[str, Any] = {
    "promptTokenCount": 100,
    "cachedContentTokenCount": 40,
    "candidatesTokenCount": 5,
    "thoughtsTokenCount": 7,
    "toolUsePromptTokenCount": 9,
    "totalTokenCount": 121,
}
WORKED = Tokens(109, 40, 12, 7)
PLAIN = {"promptTokenCount": 9, "candidatesTokenCount": 3, "totalTokenCount": 12}
SAID = {"content": {"parts": [{"text": "Hello"}]}, "finishReason": "STOP", "index": 0}
WHOLE = {"candidates": [SAID], "usageMetadata": USAGE, "modelVersion": MODEL, "responseId": "r_1"}


def parsed(answer: Any, endpoint: str = "generateContent", **asked: Any) -> Any:
    """What is known of a whole answer."""
    profile = parse_request("POST", f"v1beta/models/{MODEL}:{endpoint}", body_of(**asked), {})
    parser = parser_for("POST", profile, "application/json", Cleaner(Secret(KEY)))
    parser.feed(json.dumps(answer).encode())
    parser.finish()
    return parser.usage


def body_of(**asked: Any) -> bytes:
    return json.dumps({"contents": [{"parts": [{"text": "Hi"}]}]} | asked).encode()


def streamed(*told: dict[str, Any] | str, **asked: Any) -> Any:
    """What is known of a stream, cut into pieces of seven bytes on its way."""
    profile = parse_request("POST", f"v1beta/models/{MODEL}:streamGenerateContent", body_of(**asked), {})
    parser = parser_for("POST", profile, "text/event-stream", Cleaner(Secret(KEY)))
    texts = [each if isinstance(each, str) else f"data: {json.dumps(each)}\r\n\r\n" for each in told]
    raw = "".join(texts).encode()
    passed = b"".join(parser.feed(raw[at : at + 7]) for at in range(0, len(raw), 7)) + parser.finish()
    assert passed == raw
    return parser.usage


def event(text: str = "", usage: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    candidate = {"content": {"parts": [{"text": text}] if text else []}, "index": 0} | more
    return {"candidates": [candidate], "modelVersion": MODEL} | ({"usageMetadata": usage} if usage else {})


def cost(usage: Any, model: str = MODEL, *, text_only: bool = True) -> int:
    terms = Terms(tier=usage.service_tier or "", served_model=usage.model or "", text_only=text_only)
    return PriceBook().cost(model, usage.tokens, at=AT, provider="google", terms=terms).nano


def test_thoughts_tools_and_caches_are_counted_once_and_priced_to_the_nano() -> None:
    usage = parsed(WHOLE)
    assert (usage.tokens, usage.is_priceable, usage.answer_id) == (WORKED, True, "r_1")
    assert cost(usage) == 217_500  # $0.0002175


def test_in_a_stream_the_last_usage_that_counts_candidates_holds() -> None:
    usage = streamed(
        event("He", {"promptTokenCount": 100, "totalTokenCount": 100}),
        event("llo", USAGE | {"candidatesTokenCount": 3, "totalTokenCount": 119}),
        event("!", USAGE, finishReason="STOP"),
        event(usage={"promptTokenCount": 100, "totalTokenCount": 100}),
    )
    assert (usage.tokens, usage.whole, usage.final, usage.is_priceable) == (WORKED, True, True, True)


def test_a_stream_is_whole_once_each_candidate_has_said_why_it_ended() -> None:
    assert not streamed(event("Hello", PLAIN)).whole
    assert not streamed(event("Hello", PLAIN, finishReason="FINISH_REASON_UNSPECIFIED")).whole
    assert streamed(event("Hello", PLAIN, finishReason="MAX_TOKENS")).whole
    two = {"generationConfig": {"candidateCount": 2}}
    assert not streamed(event("Hello", PLAIN, finishReason="STOP"), **two).whole
    assert streamed(
        event("a", finishReason="STOP"), event("b", PLAIN, finishReason="STOP", index=1), **two
    ).final


def test_a_prompt_that_is_blocked_ends_the_stream_with_the_prompt_alone() -> None:
    blocked = {"promptFeedback": {"blockReason": "SAFETY"}}
    usage = streamed(blocked | {"usageMetadata": {"promptTokenCount": 9, "totalTokenCount": 9}})
    assert (usage.tokens, usage.final) == (Tokens(9, 0, 0, 0), True)


def test_thoughts_that_used_up_the_limit_are_all_the_output() -> None:
    told = {"promptTokenCount": 9, "thoughtsTokenCount": 50, "totalTokenCount": 59}
    assert streamed(event(usage=told, finishReason="MAX_TOKENS")).tokens == Tokens(9, 0, 50, 50)


@pytest.mark.parametrize(
    "events",
    [
        [event("Hello", {"promptTokenCount": 9, "totalTokenCount": 9}, finishReason="STOP")],
        [event("Hello", {"promptTokenCount": 9, "thoughtsTokenCount": 5, "totalTokenCount": 14})],
        [event("Hello", PLAIN), event(" there", finishReason="STOP")],
        [event("Hello", PLAIN), event("", PLAIN | {"candidatesTokenCount": 1, "totalTokenCount": 10})],
        [event("Hello", finishReason="STOP")],
        [event("Hello", PLAIN | {"totalTokenCount": 11}, finishReason="STOP")],
        [event("Hello", PLAIN | {"candidatesTokenCount": -3}, finishReason="STOP")],
        [event("Hello", {"promptTokenCount": 9, "candidatesTokenCount": 3}, finishReason="STOP")],
        [event("Hello", PLAIN | {"totalTokenCount": None}, finishReason="STOP")],
        [event("Hello", PLAIN | {"promptTokenCount": "nine"}, finishReason="STOP")],
        [event("Hello", PLAIN | {"cachedContentTokenCount": 10}, finishReason="STOP")],
        [{"usageMetadata": [1]}],
        ["data: {broken\n\n", "data: 7\n\n", ": a comment\n\n"],
    ],
    ids=str,
)
def test_what_contradicts_or_leaves_open_is_unknown(events: list[Any]) -> None:
    assert streamed(*events).tokens is None


@pytest.mark.parametrize("prefix", ["data: ", ""])
def test_an_error_in_a_stream_is_told_whichever_way_it_comes(prefix: str) -> None:
    error = {"error": {"code": 503, "status": "UNAVAILABLE", "message": "Overloaded"}}
    usage = streamed(event("Hello", PLAIN), f"{prefix}{json.dumps(error)}\n\n")
    assert (usage.failure.code, usage.failure.type, usage.failure.message) == (
        "503",
        "UNAVAILABLE",
        "Overloaded",
    )
    assert not usage.whole


@pytest.mark.parametrize(
    "told",
    [
        {"promptTokensDetails": [{"modality": "AUDIO", "tokenCount": 9}]},
        {"cacheTokensDetails": [{"modality": "AUDIO", "tokenCount": 9}]},
        {"toolUsePromptTokensDetails": [{"modality": "HOLOGRAM", "tokenCount": 9}]},
        {"candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": 3}]},
        {"promptTokensDetails": "text"},
        {"trafficType": "PROVISIONED_THROUGHPUT"},
        {"trafficType": "ON_DEMAND_FLEX", "serviceTier": "standard"},
        {"serviceTier": 7},
        {"videoSeconds": 3},
        {"searches": {"made": "3"}},
    ],
    ids=str,
)
def test_what_changes_the_price_in_a_way_that_is_not_known_has_no_price(told: dict[str, Any]) -> None:
    assert not parsed(WHOLE | {"usageMetadata": PLAIN | told}).is_priceable


@pytest.mark.parametrize(
    "told",
    [
        {
            "promptTokensDetails": [
                {"modality": "TEXT", "tokenCount": 5},
                {"modality": "IMAGE", "tokenCount": 4},
            ]
        },
        {"promptTokensDetails": [{"modality": "AUDIO", "tokenCount": 0}]},
        {"candidatesTokensDetails": [{"modality": "TEXT", "tokenCount": 3}], "trafficType": "ON_DEMAND"},
        {"serviceTier": "STANDARD"},
    ],
    ids=str,
)
def test_what_is_billed_like_text_has_the_price_of_text(told: dict[str, Any]) -> None:
    assert parsed(WHOLE | {"usageMetadata": PLAIN | told}).is_priceable


def test_media_without_their_kind_have_no_price() -> None:
    picture = {"contents": [{"parts": [{"inlineData": {"mimeType": "image/png", "data": ""}}]}]}
    assert not parsed(WHOLE, **picture).is_priceable
    kinds = {"promptTokensDetails": [{"modality": "IMAGE", "tokenCount": 9}]}
    assert parsed(WHOLE | {"usageMetadata": PLAIN | kinds}, **picture).is_priceable


def test_pictures_that_the_model_made_and_searches_have_no_price() -> None:
    made = SAID | {"content": {"parts": [{"inlineData": {"mimeType": "image/png", "data": "AA=="}}]}}
    searched = SAID | {"groundingMetadata": {"webSearchQueries": ["x"]}}
    for candidate in (made, searched):
        assert not parsed(WHOLE | {"candidates": [candidate], "usageMetadata": PLAIN}).is_priceable


def test_a_tier_that_is_asked_for_must_be_told() -> None:
    asked = {"serviceTier": "flex"}
    assert not parsed(WHOLE, **asked).is_priceable
    usage = parsed(WHOLE | {"usageMetadata": PLAIN | {"serviceTier": "FLEX"}}, **asked)
    assert (usage.is_priceable, usage.service_tier) == (True, "flex")
    with pytest.raises(PriceUnknown):
        cost(usage)
    downgraded = parsed(WHOLE | {"usageMetadata": PLAIN | {"serviceTier": "standard"}}, **asked)
    assert (downgraded.is_priceable, downgraded.service_tier) == (True, None)


def test_the_model_that_answered_has_the_price_without_its_prefix() -> None:
    usage = parsed(WHOLE | {"modelVersion": "models/gemini-2.5-flash-lite", "usageMetadata": PLAIN})
    assert usage.model == "gemini-2.5-flash-lite"
    assert cost(usage, "gemini-flash-lite-latest") == 9 * 100 + 3 * 400


def test_a_model_that_bills_sound_apart_has_a_price_only_where_all_is_known_to_be_text() -> None:
    usage = parsed(WHOLE | {"modelVersion": "gemini-2.5-flash", "usageMetadata": PLAIN})
    assert cost(usage) == 9 * 300 + 3 * 2_500
    with pytest.raises(PriceUnknown):
        cost(usage, text_only=False)


def test_an_embedding_is_billed_by_its_input_alone() -> None:
    usage = parsed({"embeddings": [], "usageMetadata": {"promptTokenCount": 9}}, "embedContent")
    assert usage.tokens == Tokens(9, 0, 0, 0)
    assert parsed({"embeddings": []}, "embedContent").tokens is None
