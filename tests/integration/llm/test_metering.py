"""What an answer was billed for is on its row, or the row says that it is unknown; it is never too little."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import openai
import pytest

from lib.errors import NotMetered
from tests.calls import SAY, both_ways, drive, on_sqlite, rows
from tests.upstream import Behaviour
from tests.upstream_behaviours import BEHAVIOURS

if TYPE_CHECKING:
    from lib.platform import Platform
    from tests.upstream import ScriptedUpstream

pytestmark = on_sqlite
on_both_ledgers = pytest.mark.parametrize("ledger", ["byok", "platform"])
Call = Callable[[Any], Any]
Row = Mapping[str, Any]
TOKENS = ("input_tokens", "cached_input_tokens", "output_tokens", "reasoning_tokens")


def chat(client: Any, **more: Any) -> Any:
    return client.chat.completions.create(model="gpt-5", messages=SAY, max_completion_tokens=2000, **more)


def stream(client: Any) -> Any:
    return chat(client, stream=True)


def respond(client: Any, **more: Any) -> Any:
    return client.responses.create(model="gpt-5-mini", input="Hi", max_output_tokens=2000, **more)


def answered(body: Any, status: int = 200, **more: Any) -> Behaviour:
    return Behaviour(status=status, json=body, **more)


def completion(usage: Any, **more: Any) -> Behaviour:
    said = {"index": 0, "message": {"role": "assistant", "content": "Done."}, "finish_reason": "stop"}
    return answered(
        {"object": "chat.completion", "model": "gpt-5", "choices": [said], "usage": usage, **more}
    )


def piece(text: str = "a ", finish: str | None = None, **more: Any) -> dict[str, Any]:
    choice = {"index": 0, "delta": {"content": text} if text else {}, "finish_reason": finish}
    return {"object": "chat.completion.chunk", "model": "gpt-5", "choices": [choice], **more}


def told(read: int, written: int) -> dict[str, int]:
    return {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}


def usage_alone(read: int, written: int) -> dict[str, Any]:
    return {"object": "chat.completion.chunk", "model": "gpt-5", "choices": [], "usage": told(read, written)}


def response(*items: Any, read: int = 4000, written: int = 200, text: Any = None, **more: Any) -> Behaviour:
    part = {"type": "output_text", "text": "Done.", "annotations": text or []}
    usage = {"input_tokens": read, "output_tokens": written, "total_tokens": read + written}
    output = [*items, {"type": "message", "role": "assistant", "content": [part]}]
    return answered({"object": "response", "model": "gpt-5-mini", "output": output, "usage": usage, **more})


@pytest.fixture
def platform(shop: Platform, ledger: str, upstream: ScriptedUpstream) -> Platform:
    """The project ``shop`` on the key that ``ledger`` names."""
    if ledger == "byok":
        shop.keys.save("shop", "sk-test-good-key-0001")
    upstream.requests.clear()
    return shop


def meter(
    platform: Platform, upstream: ScriptedUpstream, how: Behaviour, call: Call, way: str = "sync"
) -> Row:
    """The row of one call that is answered so."""
    upstream.queue(how)
    with platform.run("shop") as run, suppress(openai.OpenAIError):
        drive(run, way, lambda client: call(client.with_options(max_retries=0)))
    (row,) = rows(platform)
    return row


def assert_unknown(row: Row, status: str) -> None:
    """No tokens, no cost; on platform money the ceiling counts."""
    assert (row["status"], row["cost_nano"], [row[name] for name in TOKENS]) == (status, None, [None] * 4)
    if row["source"] == "platform":
        assert row["counted_after_nano"] == row["unknown_after_nano"] > 0


# --- between us and the provider -------------------------------------------------------------------

PAGE = "<html><body><h1>Time-out</h1></body></html>"
EDGE = {"error": {"code": 524, "message": "Gateway timeout.", "param": None, "type": "cf_gateway_timeout"}}


@on_both_ledgers
@pytest.mark.parametrize("status", [408, 499, 502, 504, 520, 522, 524, 598])
def test_a_gateway_that_gives_up_leaves_the_outcome_unknown(platform, upstream, status):
    page = Behaviour(status=status, text=PAGE, headers={"content-type": "text/html"})
    assert_unknown(meter(platform, upstream, page, chat), "unknown")


WEB_PAGE = {"headers": {"content-type": "text/html"}}
PLAIN = {"headers": {"content-type": "text/plain"}}


@both_ways
@on_both_ledgers
@pytest.mark.parametrize("call", [chat, stream, respond])
@pytest.mark.parametrize(
    "balancer",
    [
        Behaviour(status=500, text="<html><h1>Internal Server Error</h1></html>", **WEB_PAGE),
        Behaviour(status=503, text="<html><h1>Service Temporarily Unavailable</h1></html>", **WEB_PAGE),
        Behaviour(status=503, text="upstream connect error or disconnect/reset before headers", **PLAIN),
        Behaviour(status=503, text=""),
        answered({"message": "Internal server error"}, 500),
        Behaviour(status=403, text="<html>This answer was withheld by a policy.</html>", **WEB_PAGE),
    ],
    ids=["page of 500", "page of 503", "text of 503", "empty 503", "JSON of a gateway", "page of 403"],
)
def test_what_stands_in_the_providers_place_leaves_the_outcome_unknown(
    platform, upstream, way, call, balancer
):
    row = meter(platform, upstream, balancer, call, way)
    assert_unknown(row, "unknown")
    assert row["http_status"] == balancer.status


@both_ways
@on_both_ledgers
@pytest.mark.parametrize("call", [chat, stream, respond])
@pytest.mark.parametrize("own", ["server_error", "slow_down", "overloaded", "forbidden", "no_scopes_text"])
def test_errors_that_the_provider_writes_itself_cost_nothing(platform, upstream, way, call, own):
    row = meter(platform, upstream, BEHAVIOURS[own], call, way)
    assert (row["status"], row["cost_nano"], row["input_tokens"]) == ("error", 0, 0)
    assert not row["unknown_after_nano"]


@both_ways
@on_both_ledgers
@pytest.mark.parametrize("body", [EDGE, {"message": "upstream timed out"}, None])
def test_so_does_one_that_speaks_json(platform, upstream, way, body):
    row = meter(platform, upstream, answered(body, 504), chat, way)
    assert_unknown(row, "unknown")
    assert row["http_status"] == 504


@on_both_ledgers
@pytest.mark.parametrize("status", [408, 502, 504])
def test_an_error_of_the_provider_itself_costs_nothing(platform, upstream, status):
    own = {"error": {"message": "It timed out.", "type": "server_error", "code": None}}
    row = meter(platform, upstream, answered(own, status), chat)
    assert (row["status"], row["cost_nano"], row["input_tokens"]) == ("error", 0, 0)


# --- usage that cannot be --------------------------------------------------------------------------


@both_ways
@on_both_ledgers
@pytest.mark.parametrize(
    "usage",
    [
        told(0, 0),
        told(10, 0),
        told(100, 10) | {"total_tokens": 5000},
        told(100, 10) | {"prompt_tokens_details": {"cached_tokens": 101}},
        told(100, 10) | {"completion_tokens_details": {"reasoning_tokens": 11}},
        told(100, 10) | {"input_tokens": 1},
        told(10**12, 10),
        {"prompt_tokens": -5, "completion_tokens": 10},
        {"prompt_tokens": 100.5, "completion_tokens": 10},
        {"prompt_tokens": "100", "completion_tokens": True},
        "much",
    ],
)
def test_a_usage_that_contradicts_itself_or_the_answer_is_unknown(platform, upstream, way, usage):
    assert_unknown(meter(platform, upstream, completion(usage), chat, way), "ok")


EARLY = (usage_alone(10, 0), *[piece()] * 20)


@both_ways
@on_both_ledgers
@pytest.mark.parametrize("first", [usage_alone(10, 0), usage_alone(0, 0), usage_alone(10, 5)])
def test_a_usage_before_the_text_is_not_the_last_word_of_a_stream_that_breaks_off(
    platform, upstream, way, first
):
    cut = Behaviour(events=(first, *EARLY[1:]), fault="break", break_after=20)
    assert_unknown(meter(platform, upstream, cut, stream, way), "broken")


@on_both_ledgers
def test_nor_of_one_that_merely_ends(platform, upstream):
    assert_unknown(meter(platform, upstream, Behaviour(events=EARLY), stream), "broken")


@on_both_ledgers
def test_nor_of_one_that_goes_on_to_its_end(platform, upstream):
    ended = Behaviour(events=(*EARLY, piece("", "stop"), "[DONE]"))
    assert_unknown(meter(platform, upstream, ended, stream), "ok")


@on_both_ledgers
def test_nor_of_one_that_the_caller_leaves(platform, upstream):
    def leave(client: Any) -> None:
        with stream(client) as chunks:
            for _ in range(6):
                next(chunks)

    whole = Behaviour(events=(*EARLY, piece("", "stop"), usage_alone(10, 50), "[DONE]"), event_delay=0.01)
    assert_unknown(meter(platform, upstream, whole, leave), "abandoned")


@both_ways
@on_both_ledgers
def test_a_later_usage_of_nothing_does_not_undo_a_right_one(platform, upstream, way):
    events = (piece(), piece("", "stop"), usage_alone(10, 50), usage_alone(0, 0), "[DONE]")
    row = meter(platform, upstream, Behaviour(events=events), stream, way)
    assert (row["status"], row["input_tokens"], row["output_tokens"]) == ("ok", 10, 50)
    assert row["cost_nano"] == 512_500


@both_ways
@on_both_ledgers
def test_a_usage_beside_choices_is_counted_and_not_shown_to_who_did_not_ask(platform, upstream, way):
    seen: list[Any] = []

    def collect(client: Any) -> Any:
        seen.append(stream(client))
        return seen[-1]

    events = (piece(), piece("", "stop"), piece("", usage=told(10, 50)), "[DONE]")
    upstream.queue(Behaviour(events=events))
    with platform.run("shop") as run:
        chunks = drive(run, way, collect)
    assert [(bool(chunk.usage), len(chunk.choices)) for chunk in chunks] == [(False, 1)] * 3
    assert rows(platform, "status", "output_tokens", "cost_nano") == [("ok", 50, 512_500)]


# --- what is billed beside tokens ------------------------------------------------------------------

SEARCHED = {"web_search": {"num_requests": 1}, "image_gen": {"total_tokens": 0}}
CITED = [{"type": "url_citation", "url": "https://example.invalid/", "start_index": 0, "end_index": 4}]
OF_ITS_TOKENS = 1_400_000  # nano-USD of 4,000 and 200 tokens of gpt-5-mini
BESIDE_TOKENS = {
    "web search": response({"type": "web_search_call", "status": "completed"}, tool_usage=SEARCHED),
    "web search, untold": response({"type": "web_search_call", "status": "completed"}),
    "searches without an item": response(tool_usage={"web_search": {"num_requests": 3}}),
    "citation without a search": response(text=CITED),
    "file search": response({"type": "file_search_call", "status": "completed"}),
    "code interpreter": response({"type": "code_interpreter_call", "container_id": "cntr_1"}),
    "image": response({"type": "image_generation_call", "status": "completed"}),
    "image without an item": response(tool_usage={"image_gen": {"output_tokens": 100}}),
    "remote tool": response({"type": "mcp_call", "status": "completed"}),
    "more thorough reasoning": response(reasoning={"mode": "pro"}),
}


@on_both_ledgers
@pytest.mark.parametrize("name", BESIDE_TOKENS)
def test_hosted_work_is_never_priced_by_its_tokens_alone_and_they_are_kept(platform, upstream, name):
    row = meter(platform, upstream, BESIDE_TOKENS[name], respond)
    assert (row["status"], row["input_tokens"], row["output_tokens"]) == ("ok", 4000, 200)
    assert row["cost_nano"] is None or row["cost_nano"] > OF_ITS_TOKENS


@both_ways
@pytest.mark.parametrize("ledger", ["byok"])
@pytest.mark.parametrize("tool", ["code_interpreter", "file_search", "mcp", "image_generation"])
def test_a_hosted_tool_that_was_offered_and_not_used_costs_nothing(platform, upstream, way, tool):
    row = meter(platform, upstream, response(), lambda c: respond(c, tools=[{"type": tool}]), way)
    assert row["cost_nano"] == OF_ITS_TOKENS


@pytest.mark.parametrize("ledger", ["byok"])
def test_searches_that_were_offered_and_not_counted_are_unknown(platform, upstream):
    offered = [{"type": "web_search"}]
    assert meter(platform, upstream, response(), lambda c: respond(c, tools=offered))["cost_nano"] is None


@on_both_ledgers
@pytest.mark.parametrize("part", ["audio_tokens", "video_tokens"])
def test_what_was_not_text_is_not_priced_as_text(platform, upstream, part):
    usage = told(4000, 200) | {"prompt_tokens_details": {part: 3000}}
    row = meter(platform, upstream, completion(usage), chat)
    assert (row["input_tokens"], row["cost_nano"]) == (4000, None)


@pytest.mark.parametrize("ledger", ["byok"])
def test_a_tier_that_was_asked_for_and_is_not_named_is_unknown(platform, upstream):
    row = meter(platform, upstream, response(), lambda c: respond(c, service_tier="flex"))
    assert (row["input_tokens"], row["cost_nano"]) == (4000, None)


# --- what costs nothing ----------------------------------------------------------------------------

FREE: dict[str, Call] = {
    "list of files": lambda c: c.files.list(),
    "file": lambda c: c.files.retrieve("file-1"),
    "deleted file": lambda c: c.files.delete("file-1"),
    "response": lambda c: c.responses.retrieve("resp_1"),
    "its input": lambda c: c.responses.input_items.list("resp_1"),
    "cancelled response": lambda c: c.responses.cancel("resp_1"),
    "stored chats": lambda c: c.chat.completions.list(),
    "vector store": lambda c: c.vector_stores.create(name="docs"),
    "upload": lambda c: c.files.create(file=("a.txt", b"text"), purpose="assistants"),
    "conversation": lambda c: c.conversations.create(),
    "batch": lambda c: c.batches.retrieve("batch_1"),
}
NOT_FREE: dict[str, Call] = {
    "batch": lambda c: c.batches.create(
        input_file_id="file-1", endpoint="/v1/responses", completion_window="24h"
    ),
    "training": lambda c: c.fine_tuning.jobs.create(model="gpt-4o-mini", training_file="file-1"),
    "container": lambda c: c.containers.create(name="box"),
    "search": lambda c: c.vector_stores.search("vs_1", query="x"),
}
OBJECT = {"id": "x", "object": "x", "usage": {"input_tokens": 5, "output_tokens": 5}, "model": "gpt-5"}


@pytest.mark.parametrize("ledger", ["byok"])
@both_ways
@pytest.mark.parametrize("name", FREE)
def test_a_free_call_is_known_to_cost_nothing_however_it_ends(platform, upstream, way, name):
    row = meter(platform, upstream, answered(OBJECT), FREE[name], way)
    assert (row["status"], row["cost_nano"], row["input_tokens"]) == ("ok", 0, None)


@pytest.mark.parametrize("ledger", ["byok"])
@pytest.mark.parametrize("how", ["drop", "truncated"])
def test_a_free_call_that_breaks_off_costs_nothing_either(platform, upstream, how):
    upstream.queue(how)
    with platform.run("shop") as run, suppress(openai.OpenAIError):
        run.openai.with_options(max_retries=0).files.list()
    ((status, cost),) = rows(platform, "status", "cost_nano")
    assert (status != "ok", cost) == (True, 0)


@pytest.mark.parametrize("ledger", ["byok"])
@pytest.mark.parametrize("name", NOT_FREE)
def test_what_starts_work_of_its_own_has_an_unknown_cost(platform, upstream, name):
    assert meter(platform, upstream, answered(OBJECT), NOT_FREE[name])["cost_nano"] is None


@pytest.mark.parametrize("ledger", ["platform"])
@pytest.mark.parametrize("name", FREE)
def test_what_the_platforms_account_keeps_is_not_for_a_project_to_see(platform, upstream, name):
    with platform.run("shop") as run, pytest.raises(NotMetered, match="share"):
        FREE[name](run.openai)
    assert (upstream.requests, rows(platform)) == ([], [])


# --- the test call ---------------------------------------------------------------------------------

ODD = [
    '{"id": "r"}',
    '{"output": null}',
    "[]",
    '"text"',
    '{"output": "x"}',
    '{"output": [1]}',
    "",
    "[" * 100_000,
]
ODD += [
    json.dumps({"output": [{"type": "message", "content": content}]}) for content in (None, "x", [1], [{}])
]
ODD += [json.dumps({"output": [{"type": "message", "content": [{"type": "output_text", "text": 5}]}]})]


@pytest.mark.parametrize("ledger", ["byok"])
@pytest.mark.parametrize("kind", ["application/json", "text/html"])
def test_a_test_call_ends_in_a_sentence_whatever_it_is_answered(platform, upstream, kind):
    for body in ODD:
        upstream.queue(Behaviour(status=200, text=body, headers={"content-type": kind}))
        found = platform.test_call("shop", "gpt-5-mini", "Say done.")
        assert (found.answer, found.detail.run.status) == (None, "error")
        assert found.sentence == "OpenAI answered, but not in a form that can be read."


@pytest.mark.parametrize("ledger", ["byok"])
def test_a_test_call_says_what_was_answered(platform, upstream):
    assert platform.test_call("shop", "gpt-5-mini", "Hi").sentence == "Hello from the scripted upstream."
    upstream.queue("revoked")
    assert "Incorrect API key" in platform.test_call("shop", "gpt-5-mini", "Hi").sentence
    upstream.queue(answered({"output": []}))
    assert platform.test_call("shop", "gpt-5-mini", "Hi").sentence == "The answer was empty."
