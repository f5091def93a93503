"""Tokens are read from an answer while it passes through, wherever the network cuts it."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some
from openai._streaming import SSEDecoder

from lib.ledger.attempts import RequestProfile
from lib.llm.answers import StreamParser
from lib.llm.openai.responses import parser_for
from lib.llm.openai.usage import ParsedUsage, read_usage
from lib.llm.redaction import Cleaner
from lib.pricing.prices import Tokens
from lib.secret import Secret

CHAT_USAGE = {
    "prompt_tokens": 20,
    "completion_tokens": 9,
    "total_tokens": 29,
    "prompt_tokens_details": {"cached_tokens": 8, "audio_tokens": 0, "cache_write_tokens": 4},
    "completion_tokens_details": {"reasoning_tokens": 5, "audio_tokens": 0},
}
RESPONSES_USAGE = {
    "input_tokens": 20,
    "output_tokens": 9,
    "total_tokens": 29,
    "input_tokens_details": {"cached_tokens": 8, "cache_write_tokens": 4},
    "output_tokens_details": {"reasoning_tokens": 5},
}
TOKENS = Tokens(20, 8, 9, 5, 4)
KEY = "sk-test-Abc123_def-GHI456jkl789MNO0"
MODEL = "gpt-5-mini-2025-08-07"


def reader(
    endpoint: str,
    *,
    stream: bool = False,
    drop_usage: bool = False,
    method: str = "POST",
    choices: int = 1,
) -> StreamParser:
    asked = RequestProfile(endpoint, "gpt-5-mini", 10, None, choices, False, None, False, stream)
    kind = "text/event-stream; charset=utf-8" if stream else "application/json"
    return parser_for(method, asked, kind, Cleaner(Secret(KEY)), drop_usage=drop_usage)


def read(endpoint: str, body: object) -> ParsedUsage:
    one = reader(endpoint)
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    assert one.feed(raw) + one.finish() == raw
    return one.usage


def chunk(**more: Any) -> dict[str, Any]:
    return {"id": "c", "object": "chat.completion.chunk", "model": MODEL, "choices": []} | more


def says(text: str, finish: str | None = None, **more: Any) -> dict[str, Any]:
    return chunk(choices=[{"index": 0, "delta": {"content": text}, "finish_reason": finish}], **more)


def events(*items: Any, end: str = "\n", done: bool = True) -> bytes:
    lines = [f"data: {json.dumps(item, ensure_ascii=False)}{end}{end}" for item in items]
    return "".join([*lines, f"data: [DONE]{end}{end}"] if done else lines).encode()


def stream(
    raw: bytes, endpoint: str = "chat/completions", *, drop_usage: bool = False, cuts: Any = ()
) -> Any:
    """Feed ``raw`` in pieces; return what was passed on and the reading."""
    one = reader(endpoint, stream=True, drop_usage=drop_usage)
    places = sorted({0, len(raw), *(cut % (len(raw) + 1) for cut in cuts)})
    passed = [one.feed(raw[start:end]) for start, end in pairwise(places)]
    return b"".join(passed) + one.finish(), one.usage


def heard(raw: bytes) -> list[str]:
    """What the SDK makes of it."""
    return [event.data for event in SSEDecoder().iter_bytes(iter([raw]))]


TALK = [says("Hé"), says("llo 🌍", usage=None), says("", "stop"), chunk(usage=CHAT_USAGE)]


# --- whole answers ---------------------------------------------------------------------------------


def test_a_chat_completion_tells_its_tokens_and_model():
    reading = read("chat/completions", {"model": MODEL, "choices": [], "usage": CHAT_USAGE})
    assert (reading.tokens, reading.model, reading.priceable) == (TOKENS, MODEL, True)


def test_a_response_tells_its_tokens():
    output = [{"type": "reasoning"}, {"type": "message"}, {"type": "function_call"}]
    body = {
        "model": MODEL,
        "output": output,
        "usage": RESPONSES_USAGE,
        "service_tier": "default",
        "error": None,
    }
    reading = read("responses", body)
    assert (reading.tokens, reading.priceable, reading.failure) == (TOKENS, True, None)


def test_an_embedding_has_no_output():
    reading = read("embeddings", {"model": "m", "usage": {"prompt_tokens": 7, "total_tokens": 7}})
    assert reading.tokens == Tokens(7, 0, 0, 0)


@pytest.mark.parametrize(
    "body", [b"", b"<html>Sign in</html>", b"[]", b"{}", b'{"usage": 5}', b"\xff", b"[" * 100_000]
)
def test_an_answer_without_usage_has_unknown_tokens_and_raises_nothing(body):
    reading = read("responses", body)
    assert (reading.tokens, reading.whole) == (None, True)


def test_a_web_page_does_not_speak_for_the_provider():
    assert not read("responses", b"<html>Sign in</html>").spoken
    assert read("responses", {"object": "response"}).spoken


@pytest.mark.parametrize(
    "more",
    [
        {"service_tier": ["flex"]},
        {"output": [{"type": "web_search_call"}]},
        {"output": [{"type": "image_generation_call"}]},
        {"output": ["?"]},
        {"choices": [{"message": {"annotations": [{"type": "url_citation"}]}}]},
        {"choices": [{"message": {"audio": {"id": "a"}}}]},
        {"usage": CHAT_USAGE | {"prompt_tokens_details": {"audio_tokens": 3}}},
        {"usage": CHAT_USAGE | {"completion_tokens_details": {"audio_tokens": 3}}},
        {
            "usage": RESPONSES_USAGE
            | {"input_tokens_details": {"cache_write_tokens_details": {"ttl_12h_tokens": 1}}}
        },
    ],
)
def test_what_is_billed_beside_tokens_cannot_be_priced_from_them(more):
    reading = read("responses", {"model": MODEL, "usage": CHAT_USAGE} | more)
    assert not reading.priceable
    assert reading.tokens is not None


@pytest.mark.parametrize(
    ("told", "tier"), [("flex", "flex"), ("default", None), ("auto", None), (None, None)]
)
def test_an_answer_tells_the_tier_that_served_it_unless_it_is_the_standard_one(told, tier):
    reading = read("responses", {"model": MODEL, "usage": RESPONSES_USAGE, "service_tier": told})
    assert (reading.service_tier, reading.priceable) == (tier, True)


@pytest.mark.parametrize(
    "wrong",
    [
        {"prompt_tokens": -1},
        {"prompt_tokens": 1.5},
        {"prompt_tokens": "20"},
        {"prompt_tokens": True},
        {"prompt_tokens": None},
        {"prompt_tokens": 10**12},
        {"completion_tokens": None},
        {"completion_tokens": []},
        {"prompt_tokens_details": {"cached_tokens": 21}},
        {"prompt_tokens_details": {"cached_tokens": 15, "cache_write_tokens": 6}},
        {"prompt_tokens_details": {"cached_tokens": -1}},
        {"completion_tokens_details": {"reasoning_tokens": 10}},
    ],
)
def test_numbers_that_cannot_be_make_the_tokens_unknown(wrong):
    assert read_usage(CHAT_USAGE | wrong, "chat/completions") is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"total_tokens": 30},
        {"total_tokens": -1},
        {"total_tokens": "29"},
        {"input_tokens": 21},
        {"output_tokens": 10},
        {"input_tokens": True},
        {"prompt_tokens_details": [8]},
        {"completion_tokens_details": "none"},
        {"input_tokens_details": {"cached_tokens": 12}},
        {"input_tokens_details": [8]},
        {"output_tokens_details": {"reasoning_tokens": 4}},
    ],
)
def test_a_usage_that_contradicts_itself_makes_the_tokens_unknown(wrong):
    assert read_usage(CHAT_USAGE | wrong, "chat/completions") is None


def test_parts_count_under_whichever_name_they_are_told():
    usage = {"prompt_tokens": 20, "completion_tokens": 9, "prompt_tokens_details": {"cached_tokens": None}}
    usage["input_tokens_details"] = {"cached_tokens": 8, "cache_write_tokens": 4}
    usage |= {"completion_tokens_details": {}, "output_token_details": {"reasoning_tokens": 5}}
    assert read_usage(usage, "chat/completions") == TOKENS
    sound = usage | {"input_tokens_details": {"audio_tokens": 3}}
    assert not read("chat/completions", {"model": MODEL, "usage": sound}).is_priceable


def test_a_total_below_its_parts_is_some_servers_habit():
    assert read_usage(CHAT_USAGE | {"total_tokens": 0}, "chat/completions") == TOKENS


SAID = {"choices": [{"index": 0, "message": {"content": "Done."}, "finish_reason": "stop"}]}


@pytest.mark.parametrize(
    ("usage", "said"),
    [
        ({"prompt_tokens": 0, "completion_tokens": 0}, SAID),
        ({"prompt_tokens": 10, "completion_tokens": 0}, SAID),
        ({"prompt_tokens": 0, "completion_tokens": 5}, SAID),
        ({"prompt_tokens": 0, "completion_tokens": 0}, {"choices": []}),
        ({"prompt_tokens": 10, "completion_tokens": 0}, {"output": [{"type": "function_call"}]}),
        ({"prompt_tokens": 10, "completion_tokens": 0}, {"choices": [{"text": "Done."}]}),
        ([20, 9], SAID),
        ("29", SAID),
    ],
)
def test_a_usage_of_nothing_beside_an_answer_is_no_usage(usage, said):
    assert read("chat/completions", {"model": MODEL, "usage": usage} | said).tokens is None


def test_an_answer_without_a_word_may_have_used_input_alone():
    usage = {"prompt_tokens": 10, "completion_tokens": 0}
    assert read("chat/completions", {"model": MODEL, "usage": usage}).tokens == Tokens(10, 0, 0, 0)


@pytest.mark.parametrize("name", ["audio_tokens", "video_tokens", "citation_tokens", "made_up"])
@pytest.mark.parametrize(
    "where", ["prompt_tokens_details", "completion_tokens_details", "input_token_details"]
)
def test_a_part_that_text_prices_do_not_cover_cannot_be_priced(name, where):
    usage = {"prompt_tokens": 20, "completion_tokens": 9, where: {name: 3}}
    assert not read("chat/completions", {"model": MODEL, "usage": usage}).is_priceable


def test_parts_that_are_not_mentioned_count_as_none():
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "prompt_tokens_details": None}
    assert read_usage(usage, "chat/completions") == Tokens(3, 0, 2, 0)


@given(
    some.dictionaries(
        some.sampled_from(list(CHAT_USAGE)), some.none() | some.integers() | some.text() | some.just({})
    )
)
def test_no_usage_of_any_shape_raises(usage):
    found = read_usage(usage, "chat/completions")
    assert found is None or found.input >= 0


@pytest.mark.parametrize(
    ("method", "endpoint"), [("GET", "responses"), ("POST", "responses/resp_1/cancel"), ("GET", "models")]
)
def test_what_is_only_looked_up_again_is_not_counted_again(method, endpoint):
    one = reader(endpoint, method=method)
    one.feed(json.dumps({"usage": RESPONSES_USAGE}).encode())
    one.finish()
    assert one.usage.tokens is None


# --- streams ---------------------------------------------------------------------------------------


@given(some.lists(some.integers(0)), some.sampled_from(["\n", "\r\n", "\r"]), some.booleans())
def test_a_stream_is_read_the_same_wherever_it_is_cut(cuts, end, drop_usage):
    raw = events(*TALK, end=end)
    passed, reading = stream(raw, drop_usage=drop_usage, cuts=cuts)
    assert (reading.tokens, reading.model, reading.final, reading.whole) == (TOKENS, MODEL, True, True)
    if drop_usage:
        assert heard(passed) == heard(events(*TALK[:-1]))
    else:
        assert passed == raw


@given(some.lists(some.binary(max_size=30), max_size=20))
def test_any_bytes_pass_through_unchanged_and_raise_nothing(parts):
    one = reader("chat/completions", stream=True)
    assert b"".join(one.feed(part) for part in parts) + one.finish() == b"".join(parts)
    one = reader("chat/completions", stream=True, drop_usage=True)
    assert b"".join(one.feed(part) for part in parts) + one.finish() == b"".join(parts)


def test_an_event_is_passed_on_as_soon_as_it_is_whole():
    one = reader("chat/completions", stream=True, drop_usage=True)
    first, second = events(TALK[0], done=False), events(TALK[1], done=False)
    assert one.feed(first + second[:10]) == first
    assert one.feed(second[10:]) == second


def test_the_usage_event_that_only_we_asked_for_is_dropped_and_no_other():
    empty = chunk(prompt_filter_results=[{}])
    raw = events(empty, *TALK)
    assert stream(raw, drop_usage=True)[0] == events(empty, *TALK[:-1])
    assert stream(raw, drop_usage=False)[0] == raw


def test_usage_beside_choices_is_taken_out_where_only_we_asked_for_it():
    raw = events(says("Hi"), says("", "stop", usage=CHAT_USAGE))
    assert stream(raw)[0] == raw
    passed, reading = stream(raw, drop_usage=True)
    assert (reading.tokens, reading.final) == (TOKENS, True)
    told = [json.loads(data) for data in heard(passed) if data != "[DONE]"]
    assert told == [says("Hi"), says("", "stop")]


def test_the_last_usage_counts():
    early = {"prompt_tokens": 20, "completion_tokens": 1, "total_tokens": 21}
    raw = events(says("Hi", usage=early), says("", "stop", usage=CHAT_USAGE))
    assert stream(raw)[1].tokens == TOKENS


def test_usage_before_the_end_is_not_final():
    """Some servers count along; who leaves then has not seen the real number."""
    assert not stream(events(says("Hi", usage=CHAT_USAGE), done=False))[1].final


EARLY = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
RIGHT = {"prompt_tokens": 10, "completion_tokens": 50, "total_tokens": 60}
NOTHING = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}


@pytest.mark.parametrize("first", [NOTHING, EARLY, EARLY | {"completion_tokens": 0}])
def test_a_usage_before_the_text_is_not_the_last_word(first):
    reading = stream(events(chunk(usage=first), says("a "), says("b "), says("c", "stop")))[1]
    assert (reading.tokens, reading.final) == (None, True)
    reading = stream(events(chunk(usage=first), says("a "), done=False))[1]
    assert (reading.tokens, reading.final, reading.whole) == (None, False, False)


@pytest.mark.parametrize("later", [NOTHING, None, {}])
def test_a_later_usage_of_nothing_does_not_undo_a_right_one(later):
    reading = stream(events(says("a "), says("", "stop"), chunk(usage=RIGHT), chunk(usage=later)))[1]
    assert reading.tokens == Tokens(10, 0, 50, 0)


@pytest.mark.parametrize(
    "later",
    [EARLY, RIGHT | {"prompt_tokens": 9}, RIGHT | {"total_tokens": 5000}, {"prompt_tokens": "10"}],
)
def test_a_later_usage_that_takes_something_back_makes_the_tokens_unknown(later):
    reading = stream(events(says("a "), says("", "stop"), chunk(usage=RIGHT), chunk(usage=later)))[1]
    assert reading.tokens is None


def test_two_models_in_one_answer_have_no_one_price():
    reading = stream(events(says("a "), says("", "stop"), chunk(usage=RIGHT, model="gpt-5-pro")))[1]
    assert (reading.model, reading.priceable) == ("gpt-5-pro", False)


def counting(pieces: int, finish: int | None = None, index: int = 0) -> list[dict[str, Any]]:
    """Chunks that each tell the usage so far; the one numbered ``finish`` ends its choice."""
    told = [{"prompt_tokens": 20, "completion_tokens": at + 1} for at in range(pieces)]
    ends = ["stop" if at == finish else None for at in range(pieces)]
    delta = {"content": "a"}
    return [
        chunk(choices=[{"index": index, "delta": delta, "finish_reason": end}], usage=usage)
        for usage, end in zip(told, ends, strict=True)
    ]


@given(some.integers(1, 20), some.booleans())
def test_a_usage_that_counts_along_ends_nothing(pieces, drop_usage):
    reading = stream(events(*counting(pieces), done=False), drop_usage=drop_usage)[1]
    assert (reading.tokens, reading.final, reading.whole) == (Tokens(20, 0, pieces, 0), False, False)


@pytest.mark.parametrize(
    "end",
    [
        events(*counting(5, finish=4), done=False),
        events(
            *counting(4, finish=2), says("", usage={"prompt_tokens": 20, "completion_tokens": 5}), done=False
        ),
        events(*counting(5), done=True),
        events(
            *counting(3, finish=2), chunk(usage={"prompt_tokens": 20, "completion_tokens": 5}), done=False
        ),
    ],
    ids=["with the reason", "after the reason", "[DONE]", "of its own"],
)
def test_the_usage_told_with_or_after_the_end_is_the_last(end):
    reading = stream(end)[1]
    assert (reading.tokens, reading.final, reading.whole) == (Tokens(20, 0, 5, 0), True, True)


def test_the_reason_for_the_end_alone_does_not_make_an_earlier_usage_the_last():
    reading = stream(events(*counting(5), says("", "stop"), done=False))[1]
    assert (reading.final, reading.whole) == (False, True)


def test_several_choices_are_at_their_end_when_each_of_them_is():
    one = reader("chat/completions", stream=True, choices=2)
    one.feed(events(*counting(2, finish=1), *counting(3, finish=1), *counting(3, index=1), done=False))
    assert (one.usage.final, one.usage.whole) == (False, False)
    one.feed(events(*counting(4, finish=3, index=1), done=False))
    assert (one.usage.tokens, one.usage.final) == (Tokens(20, 0, 4, 0), True)


@pytest.mark.parametrize(
    "choices",
    [{"finish_reason": "stop"}, ["stop"], [{"finish_reason": ""}], [{"finish_reason": None}], "stop"],
)
def test_what_is_no_reason_for_an_end_ends_nothing(choices):
    usage = {"prompt_tokens": 20, "completion_tokens": 5}
    reading = stream(events(chunk(choices=choices, usage=usage), done=False))[1]
    assert (reading.tokens, reading.final, reading.whole) == (Tokens(20, 0, 5, 0), False, False)


def test_a_first_event_without_choices_ends_nothing():
    filtered = chunk(prompt_filter_results=[{"prompt_index": 0}], usage=None)
    reading = stream(events(filtered, *counting(2), done=False))[1]
    assert (reading.final, reading.whole) == (False, False)


def test_a_stream_that_ends_without_any_mark_was_cut_off():
    assert not stream(events(says("Hi"), done=False))[1].whole
    assert stream(events(says("Hi", "stop"), done=False))[1].whole
    assert stream(events(says("Hi")))[1].whole


def test_data_over_several_lines_is_one_event():
    lines = json.dumps(chunk(usage=CHAT_USAGE), indent=1).splitlines()
    raw = "".join(f"data: {line}\n" for line in lines).encode() + b"\n"
    passed, reading = stream(raw, drop_usage=True)
    assert (passed, reading.tokens, reading.model) == (b"", TOKENS, MODEL)


def test_comments_and_other_fields_pass():
    raw = b": ping\n\nevent: x\nid: 1\nretry: 3\n\n" + events(*TALK)
    passed, reading = stream(raw)
    assert (passed, reading.tokens) == (raw, TOKENS)


def test_the_last_event_may_lack_its_empty_line():
    raw = events(*TALK, done=False).rstrip()
    assert stream(raw)[1].tokens == TOKENS
    assert stream(raw, drop_usage=True)[0] == events(*TALK[:-1], done=False)


def test_a_model_cannot_write_usage_by_saying_it():
    text = '"usage": {"prompt_tokens": 1, "completion_tokens": 1}\n\ndata: [DONE]\n\n'
    reading = stream(events(says("Hi"), says(text), done=False))[1]
    assert (reading.tokens, reading.reported, reading.final, reading.whole) == (None, None, False, False)


@pytest.mark.parametrize("kind", ["response.completed", "response.incomplete"])
def test_a_response_tells_its_tokens_with_its_last_event(kind):
    begun = {"model": MODEL, "usage": None, "output": []}
    raw = events(
        {"type": "response.created", "response": begun},
        {"type": "response.output_text.delta", "delta": "Hi"},
        {"type": kind, "response": begun | {"usage": RESPONSES_USAGE, "output": [{"type": "message"}]}},
        done=False,
    )
    reading = stream(raw, "responses")[1]
    assert (reading.tokens, reading.final, reading.priceable, reading.failure) == (TOKENS, True, True, None)


def test_what_a_streamed_response_did_besides_is_told_by_its_last_event():
    whole = {"model": MODEL, "usage": RESPONSES_USAGE, "output": [{"type": "image_generation_call"}]}
    begun = {"type": "response.created", "response": whole | {"output": [], "usage": None}}
    assert not stream(events(begun, {"type": "response.completed", "response": whole}), "responses")[
        1
    ].is_priceable


def test_a_failed_response_tells_its_error():
    error = {"code": "server_error", "message": "It broke."}
    body = {"model": MODEL, "usage": None, "error": error, "status": "failed"}
    reading = stream(events({"type": "response.failed", "response": body}, done=False), "responses")[1]
    assert (reading.failure.code, reading.failure.message, reading.tokens) == (
        "server_error",
        "It broke.",
        None,
    )


@pytest.mark.parametrize(
    "event",
    [
        {"error": {"message": "It broke.", "type": "server_error", "code": None}},
        {"type": "error", "code": "x", "message": "It broke."},
        {"error": "It broke."},
    ],
)
def test_an_error_in_the_middle_of_a_stream_is_noted(event):
    reading = stream(events(says("Hi"), event, done=False))[1]
    assert (reading.failure.message, reading.whole) == ("It broke.", False)


def test_foreign_names_can_be_stored():
    reading = read(
        "responses", {"model": "a\u0000b\ud800" + "x" * 1000, "error": {"message": "a\nb", "code": 5}}
    )
    assert reading.model == "a b " + "x" * 496
    assert (reading.failure.message, reading.failure.code) == ("a b", None)


# --- the key -----------------------------------------------------------------------------------------


def pieces(text: bytes, length: int) -> list[str]:
    """What ``text`` has of the key, ``length`` characters in a row."""
    return [
        KEY[at : at + length] for at in range(len(KEY) - length + 1) if KEY[at : at + length].encode() in text
    ]


@given(some.lists(some.integers(0)), some.integers(0, len(KEY) - 8), some.integers(8, len(KEY)))
def test_an_error_inside_a_stream_has_no_piece_of_the_key_wherever_it_is_cut(cuts, start, length):
    piece = KEY[start : start + length]
    error = {"error": {"message": f"bad key {piece}, sorry", "code": piece, "type": "x"}}
    passed, reading = stream(events(says("Hi"), error), cuts=cuts)
    assert (pieces(passed, 8), reading.failure.message) == ([], "bad key [key hidden], sorry")
    assert json.loads(heard(passed)[1])["error"]["code"] == "[key hidden]"


@given(
    some.lists(some.integers(0)),
    some.integers(0, len(KEY) - 16),
    some.integers(16, len(KEY)),
    some.booleans(),
)
def test_no_event_passes_on_a_long_piece_of_the_key(cuts, start, length, drop_usage):
    raw = events(says("Hi"), says(f"It is {KEY[start : start + length]}."), says("Bye"))
    passed = stream(raw, cuts=cuts, drop_usage=drop_usage)[0]
    assert passed == events(says("Hi"), says("It is [key hidden]."), says("Bye"))


def test_what_a_model_says_of_keys_in_general_passes():
    raw = events(says("A key begins with sk-test-Abc or sk-proj-abcdefgh."))
    assert stream(raw)[0] == raw


@pytest.mark.parametrize("letters", [KEY, KEY[:1], KEY[3:6]])
def test_escapes_do_not_hide_the_key(letters):
    escaped = "".join(f"\\u{ord(letter):04X}" if letter in letters else letter for letter in KEY)
    for raw in (f'{{"error":"\\\\{escaped}"}}', f'{{"text":"\\u00e4{escaped}"}}'):
        one = reader("responses")
        one.feed(raw.encode())
        assert set(json.loads(one.finish()).values()) <= {"\\[key hidden]", "ä[key hidden]"}


@pytest.mark.parametrize(
    ("body", "length"),
    [
        ({"error": {"message": f"bad {KEY[5:20]}"}}, 8),
        ({"model": MODEL, "text": KEY}, 16),
        ([KEY], 16),
        (KEY, 16),
    ],
)
@given(cuts=some.lists(some.integers(0)))
def test_no_body_passes_on_the_key(body, length, cuts):
    one, raw = reader("responses"), json.dumps(body).encode()
    places = sorted({0, len(raw), *(cut % len(raw) for cut in cuts)})
    passed = b"".join(one.feed(raw[start:end]) for start, end in pairwise(places)) + one.finish()
    assert pieces(passed, length) == []
    assert "[key hidden]" in str(json.loads(passed))


@pytest.mark.parametrize("charset", ["utf-16", "utf-16-le", "utf-32", "cp037"])
def test_no_charset_hides_the_key_in_a_body(charset):
    asked = RequestProfile("responses", "gpt-5-mini", 10, None, 1, False, None, False, False)
    kind = f"application/json; charset={charset}"
    one = parser_for("POST", asked, kind, Cleaner(Secret(KEY)), drop_usage=False)
    one.feed(json.dumps({"error": {"message": f"bad {KEY}"}}).encode(charset))
    assert json.loads(one.finish()) == {"error": {"message": "bad [key hidden]"}}
    assert one.usage.failure.message == "bad [key hidden]"


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(
    "kind", ["application/json", "text/event-stream", "application/octet-stream", "text/plain"]
)
def test_what_counts_nothing_does_not_pass_on_the_key_either(method, kind):
    asked = RequestProfile("files/f/content", "", 10, None, 1, False, None, False, False)
    one = parser_for(method, asked, kind, Cleaner(Secret(KEY)), drop_usage=False)
    assert pieces(one.feed(f"data: {KEY}\n\n".encode()) + one.finish(), 16) == []
    assert (one.usage.whole, one.usage.tokens, one.usage.failure) == (True, None, None)


def test_sound_passes_as_it_comes():
    asked = RequestProfile("audio/speech", "gpt-4o-mini-tts", 10, None, 1, False, None, False, False)
    one = parser_for("POST", asked, "audio/mpeg", Cleaner(Secret(KEY)), drop_usage=False)
    assert one.feed(b"\xff\x00\xfb") == b"\xff\x00\xfb"


def test_a_cleaner_shows_no_key_and_passes_nothing_once_it_has_forgotten_it():
    cleaner = Cleaner(Secret(KEY))
    assert pieces(repr(vars(cleaner)).encode(), 4) == []
    cleaner.forget()
    assert (cleaner.clean(KEY.encode()), cleaner.clean(b"x"), cleaner.secret) == (b"", b"", None)


def test_an_event_without_end_is_not_kept_for_ever(monkeypatch):
    monkeypatch.setattr("lib.llm.answers._LONGEST_BODY", 1000)
    one = reader("chat/completions", stream=True, drop_usage=True)
    raw = b"data: " + b"x" * 2000
    assert one.feed(raw) == raw
    assert one.feed(events(*TALK)) == events(*TALK)
    assert one.usage.tokens is None
