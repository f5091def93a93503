"""What is metered is the same for every reader: whichever name it takes, whatever case and numbers mean to it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as some

from lib.llm.ambiguity import AmbiguousJSON, http_ambiguity, parse_object
from lib.llm.openai.requests import parse_request, with_output_limit, with_stream_usage
from tests.readers import casefolding, first_wins, in_doubles, last_wins

JSON_TYPE = {"content-type": "application/json"}
BODY = b'{"model":"gpt-5","input":"Hi"}'
URL = "https://example.invalid/v1/responses"


@pytest.mark.parametrize(
    "body",
    [
        b'{"model": "gpt-5-pro", "model": "gpt-5-nano"}',
        b'{"model": "gpt-5-pro", "m\\u006fdel": "gpt-5-nano"}',
        b'{"a": [{"b": {"c": 1, "c": 1}}]}',
        b'{"a": {}, "a": null}',
    ],
)
def test_a_name_that_is_said_twice_at_any_depth_is_refused(body):
    with pytest.raises(AmbiguousJSON, match="says a name twice"):
        parse_object(body)


@pytest.mark.parametrize(
    "number",
    ["9223372036854775808", "-9223372036854775809", "1" * 40, "9" * 6000, "1e400", "-1e400", "1E999999"],
)
def test_a_number_that_wraps_or_overflows_somewhere_is_refused(number):
    with pytest.raises(AmbiguousJSON, match="a number that not every reader can hold"):
        parse_object(b'{"n": %s}' % number.encode())


@pytest.mark.parametrize("number", ["9223372036854775807", "-9223372036854775808", "0", "-0", "1e308", "0.1"])
def test_other_numbers_are_read(number):
    assert parse_object(b'{"n": [%s]}' % number.encode()) == {"n": [json.loads(number)]}


@pytest.mark.parametrize("constant", ["NaN", "Infinity", "-Infinity"])
def test_what_only_some_call_a_number_is_refused(constant):
    with pytest.raises(AmbiguousJSON, match=constant):
        parse_object(b'{"n": %s}' % constant.encode())


def test_half_of_a_character_is_refused_and_a_whole_one_is_read():
    with pytest.raises(AmbiguousJSON, match="half of a character"):
        parse_object(b'{"a": "\\ud83d"}')
    with pytest.raises(AmbiguousJSON, match="half of a character"):
        parse_object(b'{"\\uDE00": 1}')
    assert parse_object(b'{"a": "\\ud83d\\ude00", "b": "\\\\ud83d"}') == {"a": "\U0001f600", "b": "\\ud83d"}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"1",
        b"\xef\xbb\xbf{}",
        b"{} {}",
        b"{},",
        b"{'a': 1}",
        b'{"a": 1,}',
        b'{"a": 1} // x',
        b'{"a": 01}',
        b'{"a": .5}',
        b'{"a": +1}',
        b'{"a": "\t"}',
        b'{"a": "\xff"}',
        b'{"a": "\xed\xa0\x80"}',
        b'{"a": "\xc0\x80"}',
        b"\x00{}",
        b"{}\x0c",
        '{"a": 1}'.encode("utf-16"),
        '{"a": 1}'.encode("utf-32"),
        b"[" * 100_000,
    ],
)
def test_what_is_no_plain_json_object_is_refused(body):
    with pytest.raises(AmbiguousJSON, match="not plain JSON"):
        parse_object(body)


@pytest.mark.parametrize(
    "more",
    [
        {"Model": "gpt-5-pro"},
        {"MAX_OUTPUT_TOKENS": None},
        {"\u017ftream": None},  # a long s: folded by readers that do not care about case
        {"too\u212as": None, "tool\u017f": []},
        {"reasoning": {"Mode": "pro"}},
        {"tools": [{"type": "function", "Type": "web_search"}]},
        {"input": [{"role": "user", "content": [{"type": "input_text", "Type": "input_audio"}]}]},
        {"input": [{"role": "user", "content": "x", "Input_Audio": {"data": "x"}}]},
        {"prompt_cache_options": {"TTL": "12h"}},
    ],
)
def test_a_known_name_in_other_letters_is_refused(more):
    body = json.dumps({"model": "gpt-5", "input": "Hi"} | more, ensure_ascii=False).encode()
    assert parse_request("POST", "responses", body, JSON_TYPE).cost_unbounded


def test_names_that_are_the_callers_own_may_be_written_in_any_letters():
    body = {
        "model": "gpt-5",
        "input": "Model: Type",
        "metadata": {"Model": "x", "model": "y"},
        "tools": [{"type": "function", "name": "f", "parameters": {"properties": {"Type": {}, "type": {}}}}],
    }
    assert parse_request("POST", "responses", json.dumps(body).encode(), JSON_TYPE).cost_unbounded is None


# --- readers that differ ---------------------------------------------------------------------------

NAMES = [
    "model",
    "Model",
    "m\\u006fdel",
    "max_output_tokens",
    "n",
    "tools",
    "type",
    "input",
    "MODEL",
    "stream",
]
NUMBERS = ["0", "1", "-0", "2", "1.0", "1e2", "1e400", "9223372036854775808", "18446744073709551617", "NaN"]
TEXTS = [
    '"gpt-5"',
    '"gpt-5-nano"',
    '"function"',
    '"web_search"',
    '"\\ud800"',
    '"default"',
    '"priority"',
    '""',
]


def _texts(inner: some.SearchStrategy[str]) -> some.SearchStrategy[str]:
    pairs = some.lists(some.tuples(some.sampled_from(NAMES), inner), max_size=4)
    objects = pairs.map(lambda told: "{" + ",".join(f'"{name}":{value}' for name, value in told) + "}")
    return objects | some.lists(inner, max_size=3).map(lambda items: f"[{','.join(items)}]")


values = some.recursive(some.sampled_from([*NUMBERS, *TEXTS, "null", "true"]), _texts, max_leaves=8)
bodies = some.lists(some.tuples(some.sampled_from(NAMES), values), max_size=5).map(
    lambda told: '{"model":"gpt-5","input":"x"' + "".join(f',"{name}":{value}' for name, value in told) + "}"
)


@settings(max_examples=5 * settings.default.max_examples)
@given(bodies)
def test_what_has_a_ceiling_is_read_alike_by_every_reader(text):
    profile = parse_request("POST", "responses", text.encode(), JSON_TYPE)
    assume(profile.cost_unbounded is None)
    read = parse_object(text.encode())
    assert read == first_wins(text) == last_wins(text)
    assert casefolding(read) == read
    limit = in_doubles(text).get("max_output_tokens")
    assert profile.output_limit == (None if limit is None else min(int(limit), 10**9))


@given(bodies)
def test_what_we_add_to_a_body_leaves_one_reading_of_it(text):
    profile = parse_request("POST", "responses", text.encode(), JSON_TYPE)
    assume(profile.cost_unbounded is None)
    if profile.output_limit is None:
        limited = with_output_limit(text.encode(), "responses", 99)
        assert first_wins(limited.decode()) == last_wins(limited.decode())
        assert parse_request("POST", "responses", limited, JSON_TYPE).output_limit == 99
    asking = with_stream_usage(text.encode()).decode()
    assert (
        first_wins(asking)["stream_options"] == last_wins(asking)["stream_options"] == {"include_usage": True}
    )


@pytest.mark.parametrize("name", ["max_output_tokens", "max_output\\u005ftokens", "\\u006dax_output_tokens"])
def test_a_limit_of_null_is_replaced_in_whatever_letters_its_name_is_written(name):
    limited = with_output_limit(b'{"model": "gpt-5", "%s": null}' % name.encode(), "responses", 99)
    assert parse_object(limited) == {"model": "gpt-5", "max_output_tokens": 99}


# --- around the body -------------------------------------------------------------------------------


def request(headers: list[tuple[str, str]], url: str = URL, body: bytes = BODY) -> httpx2.Request:
    return httpx2.Request("POST", url, headers=headers, content=body)


PLAIN = ("Content-Type", "application/json")
CLEAR = {
    "plain": [PLAIN],
    "with its charset": [("Content-Type", 'application/json; charset="UTF-8"')],
    "with its length": [PLAIN, ("Content-Length", str(len(BODY)))],
    "with headers of no meaning": [
        PLAIN,
        ("X-Request-Id", "1"),
        ("Traceparent", "00-1"),
        ("User-Agent", "x"),
    ],
}


@pytest.mark.parametrize("name", CLEAR)
def test_a_plain_request_is_clear(name):
    assert http_ambiguity(request(CLEAR[name]), BODY) is None


def _unclear() -> Iterator[Any]:
    yield "no content type", []
    yield "two content types", [PLAIN, PLAIN]
    yield "two in one", [("Content-Type", "application/json, multipart/form-data")]
    yield "another charset", [("Content-Type", "application/json; charset=utf-16")]
    yield "two charsets", [("Content-Type", "application/json; charset=utf-8; charset=utf-7")]
    yield "another type", [("Content-Type", "application/json-patch+json")]
    yield "a form", [("Content-Type", "multipart/form-data; boundary=x")]
    yield "two lengths", [PLAIN, ("Content-Length", str(len(BODY))), ("Content-Length", str(len(BODY)))]
    yield "another length", [PLAIN, ("Content-Length", "2")]
    yield "a length and chunks", [PLAIN, ("Content-Length", str(len(BODY))), ("Transfer-Encoding", "chunked")]
    for name in (
        "Content-Encoding",
        "X-HTTP-Method-Override",
        "x-method-override",
        "X-Original-URL",
        "X-Rewrite-Url",
    ):
        yield name, [PLAIN, (name, "GET")]


@pytest.mark.parametrize(("name", "headers"), list(_unclear()))
def test_a_request_that_says_two_things_about_itself_is_unclear(name, headers):
    assert http_ambiguity(request(headers), BODY), name


@pytest.mark.parametrize("query", ["?", "?model=gpt-5-pro", "?api-version=1"])
def test_an_address_with_a_query_is_unclear(query):
    assert http_ambiguity(request([PLAIN], URL + query), BODY)
