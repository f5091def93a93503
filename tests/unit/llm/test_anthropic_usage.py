"""What an answer of Anthropic's tells is counted to the token; what it leaves open or contradicts is unknown."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from lib.llm.anthropic.requests import parse_request
from lib.llm.anthropic.responses import parser_for
from lib.llm.redaction import Cleaner
from lib.pricing.prices import PriceBook, Tokens
from lib.pricing.terms import Terms
from lib.secret import Secret
from tests.upstream_answers import Usage
from tests.upstream_anthropic import events, usage_of

AT = datetime(2026, 11, 30, tzinfo=UTC)
KEY = "sk-ant-test-planted-key-7777"
USAGE: dict[str, Any] = {
    "input_tokens": 25,
    "cache_creation_input_tokens": 100,
    "cache_creation": {"ephemeral_5m_input_tokens": 60, "ephemeral_1h_input_tokens": 40},
    "cache_read_input_tokens": 50,
    "output_tokens": 15,
    "output_tokens_details": {"thinking_tokens": 4},
    "server_tool_use": {"web_search_requests": 2, "web_fetch_requests": 3},
    "service_tier": "standard",
    "inference_geo": "global",
}
TEXT = [{"type": "text", "text": "Hello"}]
WHOLE = {"type": "message", "model": "claude-opus-4-6-20260205", "content": TEXT, "usage": USAGE}


def profile(**more: Any) -> Any:
    asked = {"model": "claude-opus-4-6", "max_tokens": 9, "messages": []} | more
    return parse_request("POST", "v1/messages", json.dumps(asked).encode(), {})


def parsed(answer: Any, **asked: Any) -> Any:
    """What is known of a whole answer."""
    parser = parser_for("POST", profile(**asked), "application/json", Cleaner(Secret(KEY)))
    parser.feed(json.dumps(answer).encode())
    parser.finish()
    return parser.usage


def streamed(told: list[dict[str, Any]], **asked: Any) -> Any:
    """What is known of a stream, cut into pieces of seven bytes on its way."""
    asked_for = profile(stream=True, **asked)
    parser = parser_for("POST", asked_for, "text/event-stream; charset=utf-8", Cleaner(Secret(KEY)))
    raw = "".join(f"event: {each['type']}\ndata: {json.dumps(each)}\n\n" for each in told).encode()
    passed = b"".join(parser.feed(raw[at : at + 7]) for at in range(0, len(raw), 7)) + parser.finish()
    assert passed == raw
    return parser.usage


def cost(usage: Any, model: str = "claude-opus-4-6") -> int:
    terms = Terms(tier=usage.service_tier or "", tools=usage.tool_calls, served_model=usage.model or "")
    return PriceBook().cost(model, usage.tokens, at=AT, provider="anthropic", terms=terms).nano


def test_caches_are_counted_into_the_input_once_and_priced_by_their_lifetime() -> None:
    usage = parsed(WHOLE)
    assert usage.tokens == Tokens(175, 50, 15, 4, 60, 40)
    assert usage.is_priceable
    assert cost(usage) == 21_300_000  # $0.0213: 0.0013 for tokens, 0.02 for two searches
    assert cost(parsed(WHOLE | {"usage": USAGE | {"server_tool_use": None}})) == 1_300_000


def test_a_stream_tells_the_input_at_its_beginning_and_the_output_at_its_end() -> None:
    usage = streamed(list(events(WHOLE | {"stop_reason": "end_turn"}, "Hello there")))
    assert usage.tokens == Tokens(175, 50, 15, 4, 60, 40)
    assert (usage.whole, usage.final, usage.is_priceable) == (True, True, True)
    assert cost(usage) == 21_300_000


@pytest.mark.parametrize("kept", range(8))
def test_a_stream_that_is_cut_before_its_last_word_is_not_whole(kept: int) -> None:
    told = list(events(WHOLE | {"stop_reason": "end_turn"}, "Hello there"))
    assert told[-1]["type"] == "message_stop"
    usage = streamed(told[:kept])
    assert not usage.whole
    assert not usage.final


def test_what_was_written_after_the_last_usage_is_not_counted() -> None:
    told = list(events(WHOLE | {"stop_reason": "end_turn"}, "Hello there"))
    said = [each for each in told if each["type"] not in {"message_delta", "message_stop"}]
    assert streamed(said).tokens is None, "The beginning tells one token of output, whatever follows."


def test_an_error_inside_a_stream_is_told() -> None:
    told = list(events(WHOLE | {"stop_reason": "end_turn"}, "Hello"))[:3]
    usage = streamed(
        [*told, {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}]
    )
    assert (usage.failure.type, usage.failure.message, usage.whole) == (
        "overloaded_error",
        "Overloaded",
        False,
    )


def test_a_later_usage_takes_nothing_back() -> None:
    usage = streamed(
        [
            {
                "type": "message_start",
                "message": {"model": "m", "usage": {"input_tokens": 9, "output_tokens": 1}},
            },
            {"type": "message_delta", "delta": {}, "usage": {"output_tokens": 7}},
            {"type": "message_delta", "delta": {}, "usage": {"output_tokens": 3, "input_tokens": 9}},
            {"type": "message_stop"},
        ]
    )
    assert usage.tokens is None


@pytest.mark.parametrize(
    "odd",
    [
        {"input_tokens": -1},
        {"input_tokens": "25"},
        {"input_tokens": True},
        {"input_tokens": None},
        {"output_tokens": 10**12},
        {"output_tokens_details": {"thinking_tokens": 16}},
        {"output_tokens_details": [4]},
        {"cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 101}},
        {"cache_creation": 100},
    ],
)
def test_a_usage_that_cannot_be_is_unknown(odd: dict[str, Any]) -> None:
    assert parsed(WHOLE | {"usage": USAGE | odd}).tokens is None


UNPRICED: dict[str, dict[str, Any]] = {
    "lifetimes are not told": {"usage": USAGE | {"cache_creation": None}},
    "lifetimes do not sum up": {
        "usage": USAGE | {"cache_creation": {"ephemeral_5m_input_tokens": 60, "ephemeral_1h_input_tokens": 39}}
    },
    "a lifetime is new": {
        "usage": USAGE
        | {"cache_creation": USAGE["cache_creation"] | {"ephemeral_24h_input_tokens": 1}}
    },
    "it was in the US": {"usage": USAGE | {"inference_geo": "us"}},
    "something else is counted": {"usage": USAGE | {"iterations": [{"input_tokens": 5}]}},
    "another server tool was used": {"usage": USAGE | {"server_tool_use": {"code_execution_requests": 1}}},
    "searches are no number": {"usage": USAGE | {"server_tool_use": {"web_search_requests": "2"}}},
    "fast and priority at once": {"usage": USAGE | {"service_tier": "priority", "speed": "fast"}},
    "a tier is no text": {"usage": USAGE | {"service_tier": 5}},
    "code was run": {"content": [{"type": "server_tool_use", "name": "code_execution", "input": {}}]},
    "a block is unheard of": {"content": [{"type": "advisor_result"}]},
    "a container was used": {"container": {"id": "c_1"}},
    "searches were not counted": {
        "content": [{"type": "server_tool_use", "name": "web_search", "input": {"query": "x"}}],
        "usage": USAGE | {"server_tool_use": None},
    },
}  # fmt: skip


@pytest.mark.parametrize("kind", UNPRICED)
def test_what_is_billed_and_not_told_has_no_price(kind: str) -> None:
    assert not parsed(WHOLE | UNPRICED[kind]).is_priceable


def test_code_that_runs_in_a_stream_has_no_price_either() -> None:
    told = list(events(WHOLE | {"stop_reason": "end_turn"}, "Hello"))
    block = {
        "type": "content_block_start",
        "index": 1,
        "content_block": {"type": "bash_code_execution_tool_result"},
    }
    assert not streamed([*told[:-2], block, *told[-2:]]).is_priceable


def test_fast_has_its_own_price_where_the_table_has_one_and_none_elsewhere() -> None:
    usage = parsed(WHOLE | {"model": "claude-opus-5", "usage": USAGE | {"speed": "fast"}}, speed="fast")
    assert (usage.service_tier, usage.is_priceable) == ("fast", True)
    slow = parsed(WHOLE | {"model": "claude-opus-5"})
    assert cost(usage, "claude-opus-5") - 20_000_000 == 2 * (cost(slow, "claude-opus-5") - 20_000_000)
    assert not parsed(WHOLE, speed="fast").is_priceable, "It was asked for, and the answer does not say so."


def test_a_token_of_any_answer_is_told_the_way_the_scripted_upstream_tells_it() -> None:
    told = usage_of(Usage(input=100, cached=30, output=20, reasoning=5, cache_write=10, cache_write_1h=20))
    assert parsed(WHOLE | {"usage": told}).tokens == Tokens(100, 30, 20, 5, 10, 20)


@pytest.mark.parametrize("answer", [[], "text", {}, {"usage": []}, {"usage": {"input_tokens": {}}}, None])
def test_no_answer_however_odd_is_an_exception(answer: Any) -> None:
    usage = parsed(answer)
    assert usage.tokens is None
