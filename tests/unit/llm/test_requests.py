"""What a request asks for: which have a cost ceiling, which do not, and what may be added to them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from lib.ledger.attempts import RequestProfile
from lib.llm.openai.requests import parse_request, with_output_limit, with_standard_tier, with_stream_usage

CHAT: dict[str, Any] = {"model": "gpt-5-mini", "messages": [{"role": "user", "content": "Hi"}]}
RESPONSES: dict[str, Any] = {"model": "gpt-5-mini", "input": "Hi"}


def ask(
    path: str, body: object, content_type: str | None = "application/json", method: str = "POST"
) -> RequestProfile:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {} if content_type is None else {"content-type": content_type}
    return parse_request(method, path, raw, headers)


def chat(**more: Any) -> RequestProfile:
    return ask("chat/completions", CHAT | more)


def responses(**more: Any) -> RequestProfile:
    return ask("responses", RESPONSES | more)


def said(*parts: Any) -> RequestProfile:
    return chat(messages=[{"role": "user", "content": list(parts)}])


# --- what has a ceiling ----------------------------------------------------------------------------


def test_a_chat_completion_is_bounded_by_its_bytes():
    body = json.dumps(CHAT).encode()
    expected = RequestProfile("chat/completions", "gpt-5-mini", len(body), None, 1, False, None, False, False)
    assert ask("chat/completions", body) == expected


def test_a_response_with_everything_harmless_is_metered():
    found = responses(
        instructions="Be brief.",
        tools=[
            {"type": "function", "name": "f", "parameters": {"type": "object"}},
            {"type": "custom", "name": "g"},
        ],
        text={"format": {"type": "json_schema", "name": "x", "schema": {"type": "object"}}},
        reasoning={"effort": "low", "summary": "auto"},
        metadata={"type": "image"},
        service_tier="auto",
        store=False,
        stream=True,
        max_output_tokens=50,
        background=False,
        truncation="disabled",
    )
    assert (found.cost_unbounded, found.uses_context_window, found.output_limit, found.streaming) == (
        None,
        False,
        50,
        True,
    )


def test_a_tools_conversation_is_plain_text():
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    messages = [
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c", "content": [{"type": "text", "text": "1"}]},
    ]
    assert (chat(messages=messages).cost_unbounded, chat(messages=messages).uses_context_window) == (
        None,
        False,
    )
    items = [
        {"role": "user", "content": [{"type": "input_text", "text": "x"}]},
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}", "id": "fc_1"},
        {"type": "function_call_output", "call_id": "c", "output": "1"},
    ]
    assert (responses(input=items).cost_unbounded, responses(input=items).uses_context_window) == (
        None,
        False,
    )


def test_functions_in_a_namespace_are_the_callers_own():
    tools = [{"type": "namespace", "name": "n", "tools": [{"type": "function", "name": "f"}]}]
    assert responses(tools=tools).cost_unbounded is None
    assert responses(tools=[{"type": "namespace", "name": "n", "tools": [{"type": "mcp"}]}]).cost_unbounded


@pytest.mark.parametrize("texts", ["x", ["x", "y"], [1, 2, 3], [[1, 2], [3]]])
def test_an_embedding_writes_nothing(texts):
    found = ask("embeddings", {"model": "text-embedding-3-small", "input": texts, "dimensions": 8})
    assert (found.cost_unbounded, found.output_limit, found.choices) == (None, 0, 1)


@pytest.mark.parametrize("tier", [None, "auto", "default"])
def test_the_default_tier_is_metered(tier):
    assert chat(service_tier=tier).cost_unbounded is None


def test_the_output_limit_is_the_largest_that_the_request_names():
    assert chat(max_tokens=5).output_limit == 5
    assert chat(max_completion_tokens=7, max_tokens=None).output_limit == 7
    assert chat(max_completion_tokens=7, max_tokens=9).output_limit == 9
    assert responses(max_output_tokens=None).output_limit is None
    assert chat(max_tokens=10**12).output_limit == 10**9


def test_choices_are_counted():
    assert (chat(n=3).choices, chat(n=None).choices) == (3, 1)


@pytest.mark.parametrize("path", ["models", "models/gpt-5-mini", "models/ft:gpt-4o:acme::1"])
def test_lists_of_models_are_free(path):
    found = parse_request("GET", path, b"", {})
    assert (found.endpoint, found.free, found.cost_unbounded) == ("models", True, None)


def test_a_moderation_is_free():
    found = ask("moderations", {"model": "omni-moderation-latest", "input": "x"})
    assert (found.free, found.cost_unbounded, found.model) == (True, None, "omni-moderation-latest")


# --- what reads more than its bytes ----------------------------------------------------------------


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
        {"type": "file", "file": {"file_id": "file-1"}},
        {"type": "text", "text": "x", "image_url": "https://example.invalid/x.png"},
        {"type": "something_new", "text": "x"},
        {"type": ["text"], "text": "x"},
    ],
)
def test_what_a_chat_message_shows_may_fill_the_whole_context(part):
    assert (said(part).uses_context_window, said(part).cost_unbounded) == (True, None)


@pytest.mark.parametrize(
    "item",
    [
        {"role": "user", "content": [{"type": "input_image", "image_url": "https://example.invalid/x.png"}]},
        {"role": "user", "content": [{"type": "input_file", "file_id": "file-1"}]},
        {"type": "function_call_output", "output": [{"type": "input_image", "file_id": "file-1"}]},
        {"type": "item_reference", "id": "msg_1"},
        {"id": "msg_1"},
        {"type": "reasoning", "id": "rs_1", "summary": []},
        {"type": "web_search_call", "id": "ws_1"},
        [[{"type": "input_image"}]],
    ],
)
def test_what_an_input_item_shows_or_refers_to_may_fill_the_whole_context(item):
    assert responses(input=[item]).uses_context_window


@pytest.mark.parametrize("state", [{"previous_response_id": "resp_1"}, {"conversation": "conv_1"}])
def test_stored_state_may_fill_the_whole_context(state):
    assert (responses(**state).uses_context_window, responses(**state).cost_unbounded) == (True, None)


# --- what has no ceiling ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "more",
    [
        {"service_tier": ["default"]},
        {"tools": [{"type": "web_search"}]},
        {"tools": [{"type": "file_search", "vector_store_ids": []}]},
        {"tools": [{"type": "mcp", "server_url": "https://example.invalid"}]},
        {"tools": [{"type": "function"}, {"type": "code_interpreter"}]},
        {"tools": [{"name": "typeless"}]},
        {"tools": ["function"]},
        {"tools": {"type": "function"}},
        {"tools": [{"type": {"type": "function"}}]},
        {"prompt": {"id": "pmpt_1"}},
        {"tool_choice": {"type": "web_search"}},
        {"stream": "true"},
        {"stream": 1},
        {"background": True},
        {"background": "true"},
        {"reasoning": {"mode": "pro"}},
        {"context_management": [{"type": "compaction"}]},
        {"multi_agent": {"enabled": True}},
        {"access_programs": {"cyber": "daybreak_red"}},
        {"prompt_cache_options": {"ttl": "12h"}},
        {"moderation": {"model": "gpt-5"}},
        {"input": [{"type": "additional_tools", "tools": [{"type": "web_search"}]}]},
        {"input": [{"type": "compaction_trigger"}]},
        {"input": [{"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "x"}}]}]},
        {"input": [{"type": "input_text", "prompt_cache_breakpoint": {"mode": "explicit", "ttl": "12h"}}]},
        {"something_from_next_year": 1},
        {"model": "o4-mini-deep-research"},
        {"model": ""},
        {"model": None},
        {"model": 5},
        {"model": "gpt-5\u0000"},
        {"model": "m" * 201},
        {"max_output_tokens": -1},
        {"max_output_tokens": 1.5},
        {"max_output_tokens": "100"},
        {"max_output_tokens": True},
    ],
)
def test_a_response_that_is_billed_beyond_its_tokens_has_no_ceiling(more):
    assert responses(**more).cost_unbounded


@pytest.mark.parametrize(
    "more",
    [
        {"web_search_options": {}},
        {"modalities": ["text", "audio"]},
        {"modalities": "audio"},
        {"audio": {"voice": "alloy"}},
        {"model": "gpt-4o-search-preview"},
        {"model": "gpt-5-search-api"},
        {"n": 0},
        {"n": 2.0},
        {"n": "2"},
        {"messages": [{"role": "assistant", "audio": {"id": "audio_1"}}]},
        {"messages": [{"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}]},
    ],
)
def test_a_chat_that_is_billed_beyond_its_tokens_has_no_ceiling(more):
    assert chat(**more).cost_unbounded


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "images/generations"),
        ("POST", "audio/speech"),
        ("POST", "batches"),
        ("POST", "completions"),
        ("POST", "fine_tuning/jobs"),
        ("POST", "fine_tuning/jobs/job_1/resume"),
        ("POST", "containers"),
        ("POST", "videos"),
        ("POST", "vector_stores/vs_1/search"),
        ("POST", "threads/runs"),
        ("POST", "threads/thread_1/runs"),
        ("POST", "chat/completions/"),
        ("POST", "chat//completions"),
        ("POST", "/chat/completions"),
        ("POST", "chat/completion%73"),
        ("POST", "chat/completions;x=1"),
        ("POST", "Responses"),
        ("POST", "models"),
        ("POST", "files/../responses"),
        ("GET", "models/.."),
        ("GET", "files//file-1"),
        ("GET", "realtime"),
        ("PUT", "responses"),
        ("PATCH", "files/file-1"),
    ],
)
def test_every_other_endpoint_has_no_ceiling_and_is_not_called_free(method, path):
    found = parse_request(method, path, json.dumps(RESPONSES).encode(), {"content-type": "application/json"})
    assert found.cost_unbounded
    assert (found.free, found.answer_tells_cost) == (False, False)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "responses/resp_1"),
        ("GET", "responses/resp_1/input_items"),
        ("GET", "chat/completions"),
        ("GET", "files"),
        ("GET", "files/file-1/content"),
        ("GET", "batches/batch_1"),
        ("HEAD", "files/file-1"),
        ("DELETE", "models/ft:gpt-4o:acme::1"),
        ("DELETE", "vector_stores/vs_1"),
        ("POST", "files"),
        ("POST", "uploads/upload_1/parts"),
        ("POST", "vector_stores"),
        ("POST", "vector_stores/vs_1/file_batches/b_1/cancel"),
        ("POST", "conversations/conv_1/items"),
        ("POST", "responses/resp_1/cancel"),
        ("POST", "batches/batch_1/cancel"),
        ("POST", "chat/completions/chatcmpl-1"),
    ],
)
def test_what_is_only_looked_up_made_or_cancelled_is_free_on_the_projects_own_key_alone(method, path):
    found = parse_request(method, path, b"{}", {"content-type": "application/json"})
    assert found.free
    assert "which projects on the platform key share" in (found.cost_unbounded or "")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no json",
        b"[]",
        b'"text"',
        b'\xef\xbb\xbf{"model": "m"}',
        json.dumps(RESPONSES).encode("utf-16"),
        b'{"a":' * 100_000,
        b'{"model": "m", "input": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"model": "m"} {}',
        b'{"model": "m", "max_output_tokens": 01}',
        b'{"model": "m", "input": "\xed\xa0\x80"}',
        b'{"model": "m", "input": "a\tb"}',
    ],
)
def test_a_body_that_cannot_be_read_has_no_ceiling_and_raises_nothing(body):
    assert ask("responses", body).cost_unbounded == "its body is not plain JSON"
    assert not ask("responses", body).answer_tells_cost


def test_a_body_of_another_type_is_not_read():
    assert ask("responses", RESPONSES, "multipart/form-data; boundary=x").cost_unbounded
    assert ask("responses", RESPONSES, "application/json; charset=utf-8").cost_unbounded is None
    assert ask("responses", RESPONSES, None).cost_unbounded is None


def test_reasons_repeat_nothing_of_the_request_but_plain_names():
    assert responses(**{"<script>": 1}).cost_unbounded == "nothing is known about the cost of its parameter"


json_values = some.recursive(
    some.none()
    | some.booleans()
    | some.integers()
    | some.floats(allow_nan=False, allow_infinity=False)
    | some.text(),
    lambda inner: some.lists(inner, max_size=4) | some.dictionaries(some.text(), inner, max_size=4),
    max_leaves=12,
)
names = some.sampled_from(
    "model messages input tools service_tier modalities audio n max_tokens stream reasoning prompt type".split()  # noqa: SIM905
)


@given(
    some.sampled_from(["chat/completions", "responses", "embeddings"]), some.dictionaries(names, json_values)
)
def test_no_body_of_any_shape_raises(path, fields):
    found = ask(path, fields)
    assert found.input_bytes == len(json.dumps(fields).encode())
    assert found.choices >= 1


# --- what may be added -----------------------------------------------------------------------------


@given(some.dictionaries(some.text(), json_values))
def test_an_output_limit_is_added_and_nothing_else_changes(fields):
    fields.pop("max_output_tokens", None)
    body = json.dumps(fields, ensure_ascii=False).encode("utf-8", "surrogatepass")
    changed = with_output_limit(body, "responses", 4096)
    assert json.loads(changed) == fields | {"max_output_tokens": 4096}
    assert b"\\u" in body or changed.startswith(body.rstrip()[:-1])


@pytest.mark.parametrize(
    ("endpoint", "name"), [("responses", "max_output_tokens"), ("chat/completions", "max_completion_tokens")]
)
def test_a_limit_that_is_null_is_replaced(endpoint, name):
    body = b'{"model": "m", "%s": null, "temperature": 0.1}' % name.encode()
    assert json.loads(with_output_limit(body, endpoint, 9)) == {"model": "m", name: 9, "temperature": 0.1}


def test_a_limited_request_reads_as_limited():
    changed = with_output_limit(json.dumps(CHAT).encode(), "chat/completions", 99)
    assert ask("chat/completions", changed).output_limit == 99


def test_embeddings_get_no_limit():
    assert with_output_limit(b"{}", "embeddings", 9) == b"{}"


@pytest.mark.parametrize("options", [None, {}, {"include_usage": False}, {"include_obfuscation": False}])
def test_a_stream_that_did_not_ask_for_its_usage_does_so_now(options):
    body = json.dumps(CHAT | {"stream": True, "stream_options": options}).encode()
    assert json.loads(with_stream_usage(body))["stream_options"] == {**(options or {}), "include_usage": True}
    body = json.dumps(CHAT).encode()
    assert json.loads(with_stream_usage(body)) == CHAT | {"stream_options": {"include_usage": True}}


def test_a_stream_that_asked_for_its_usage_is_left_alone():
    body = json.dumps(CHAT | {"stream_options": {"include_usage": True}}).encode()
    assert with_stream_usage(body) is body


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"gpt-5","input":"x"}',
        b'{"model":"gpt-5","input":"x","service_tier":null}',
        b'{"model":"gpt-5","input":"x","service_tier":"auto"}',
        b'{"model":"gpt-5","input":"the \\"service_tier\\" of a call"}',
        b'{"model":"gpt-5","input":"x","service\\u005ftier":"auto"}',
    ],
)
def test_a_body_that_names_no_tier_is_given_the_standard_one(body):
    sent = json.loads(with_standard_tier(body, "responses"))
    before = json.loads(body)
    assert sent == {**before, "service_tier": "default"}


def test_a_body_that_names_the_standard_tier_and_embeddings_stay_as_they_are():
    body = b'{"model": "gpt-5", "input": "x", "service_tier": "default"}'
    assert with_standard_tier(body, "responses") is body
    body = b'{"model": "text-embedding-3-small", "input": "x"}'
    assert with_standard_tier(body, "embeddings") is body
