"""The metered clients are the SDK's own, and every HTTP attempt has exactly one row that tells the truth."""

from __future__ import annotations

import openai
import pytest
from pydantic import BaseModel

from lib.errors import NotMetered, PriceUnknown
from tests.calls import CALLS, SAY, ask, both_ways, drive, on_sqlite, rows
from tests.upstream import GOOD_KEY, OTHER_KEY, PLATFORM_KEY, Behaviour, Usage

USAGE = Usage(input=2048, cached=1920, output=900, reasoning=832)
AT_ONCE = {"retry-after-ms": "1"}


# --- every attempt has its row ---------------------------------------------------------------------


@both_ways
@pytest.mark.parametrize("name", CALLS)
def test_a_call_on_the_projects_own_key_is_recorded(byok, run, upstream, way, name):
    upstream.usage["*"] = USAGE
    drive(run, way, CALLS[name])
    (row,) = rows(byok)
    written = 0 if name == "embeddings" else 900
    cached = 0 if name == "embeddings" else 1920
    tokens = (row["input_tokens"], row["cached_input_tokens"], row["output_tokens"], row["reasoning_tokens"])
    assert tokens == (2048, cached, written, 832 if written else 0)
    assert row["cost_nano"] == (40_960 if name == "embeddings" else 9_400_000)
    assert (row["status"], row["source"], row["key_last4"]) == ("ok", "byok", GOOD_KEY[-4:])
    assert (row["http_status"], row["run_id"], row["sequence"]) == (200, run.id, None)
    assert row["upstream_request_id"].startswith("req_")
    assert row["latency_ms"] >= 0
    assert [seen.key for seen in upstream.requests] == [GOOD_KEY]


@on_sqlite
@both_ways
@pytest.mark.parametrize("name", CALLS)
def test_a_call_on_the_platforms_key_is_recorded_and_counted(shop, upstream, way, name):
    upstream.usage["*"] = USAGE
    with shop.run("shop") as run:
        drive(run, way, CALLS[name])
    (row,) = rows(shop)
    assert (row["status"], row["source"], row["key_last4"]) == ("ok", "platform", PLATFORM_KEY[-4:])
    assert row["counted_after_nano"] == row["cost_nano"] > 0
    assert [seen.key for seen in upstream.requests] == [PLATFORM_KEY]


REFUSALS = {
    "revoked": (openai.AuthenticationError, 401, "invalid_api_key"),
    "unknown_model": (openai.NotFoundError, 404, "model_not_found"),
    "rate_limited": (openai.RateLimitError, 429, "rate_limit_exceeded"),
    "server_error": (openai.InternalServerError, 500, None),
}


@on_sqlite
@both_ways
@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("behaviour", REFUSALS)
def test_a_refusal_is_recorded_and_costs_nothing(byok, run, upstream, way, name, behaviour):
    error, status, code = REFUSALS[behaviour]
    upstream.queue(behaviour)
    with pytest.raises(error):
        drive(run, way, lambda client: CALLS[name](client.with_options(max_retries=0)))
    (row,) = rows(byok)
    assert (row["status"], row["http_status"], row["error_code"]) == ("error", status, code)
    assert (row["cost_nano"], row["input_tokens"]) == (0, 0)
    assert row["error_message"]
    assert row["upstream_request_id"]


@on_sqlite
@both_ways
def test_every_retry_has_a_row_of_its_own(byok, run, upstream, way):
    upstream.queue(
        Behaviour(
            status=503, json={"error": {"message": "Slow down.", "type": "server_error"}}, headers=AT_ONCE
        ),
        times=2,
    )
    drive(run, way, ask)
    assert rows(byok, "status") == ["error", "error", "ok"]
    assert len(upstream.requests) == 3


@on_sqlite
@both_ways
def test_an_account_out_of_money_is_not_asked_again(byok, run, upstream, way):
    upstream.keys[GOOD_KEY] = "out_of_money"
    with pytest.raises(openai.RateLimitError) as refused:
        drive(run, way, ask)
    assert (refused.value.code, len(upstream.requests)) == ("insufficient_quota", 1)
    assert byok.keys.describe("shop").status == "failing"


@on_sqlite
@both_ways
def test_a_list_of_models_is_free(shop, way):
    with shop.run("shop") as run:
        drive(run, way, lambda client: client.models.list())
    assert rows(shop, "endpoint", "status", "cost_nano") == [("models", "ok", 0)]


@on_sqlite
def test_a_web_page_instead_of_an_answer_has_unknown_tokens(byok, run, upstream):
    upstream.queue("captive_portal")
    run.openai.responses.with_raw_response.create(model="gpt-5", input="Hi")
    assert rows(byok, "status", "input_tokens", "cost_nano") == [("ok", None, None)]


@on_sqlite
@pytest.mark.parametrize("name", ["chat stream", "responses stream", "chat", "responses"])
def test_a_provider_that_tells_no_usage_leaves_the_tokens_unknown(byok, run, upstream, name):
    upstream.queue("no_usage")
    drive(run, "sync", CALLS[name])
    assert rows(byok, "status", "input_tokens", "cost_nano") == [("ok", None, None)]


@on_sqlite
@both_ways
def test_compressed_answers_are_read_too(byok, run, upstream, way):
    """We ask for plain text; some servers compress all the same."""
    upstream.keys[GOOD_KEY] = "gzip"
    drive(run, way, CALLS["chat stream"])
    assert drive(run, "sync", CALLS["chat"]).choices[0].message.content
    assert [status for status, tokens in rows(byok, "status", "input_tokens") if tokens] == ["ok", "ok"]


# --- whose key -------------------------------------------------------------------------------------


@on_sqlite
@both_ways
@pytest.mark.parametrize("failure", ["revoked", "out_of_money"])
def test_a_failed_key_stops_the_call_unless_the_project_chose_otherwise(byok, run, upstream, way, failure):
    upstream.keys[GOOD_KEY] = failure
    with pytest.raises(openai.APIStatusError):
        drive(run, way, ask)
    assert rows(byok, "source") == ["byok"]
    assert [seen.key for seen in upstream.requests] == [GOOD_KEY]


@on_sqlite
@both_ways
@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("failure", ["revoked", "out_of_money"])
def test_a_failed_key_falls_back_to_the_platforms_where_the_project_chose_so(
    byok, run, upstream, way, name, failure
):
    byok.projects.set_policy("shop", "platform", actor=byok.actor)
    upstream.keys[GOOD_KEY] = failure
    drive(run, way, CALLS[name])
    assert rows(byok, "source", "status") == [("byok", "error"), ("platform", "ok")]
    assert [seen.key for seen in upstream.requests] == [GOOD_KEY, PLATFORM_KEY]


@on_sqlite
@pytest.mark.parametrize("failure", ["rate_limited", "server_error", "no_model", "country"])
def test_what_is_no_failure_of_the_key_never_falls_back(byok, run, upstream, failure):
    byok.projects.set_policy("shop", "platform", actor=byok.actor)
    upstream.queue(failure)
    with pytest.raises(openai.APIStatusError):
        run.openai.with_options(max_retries=0).responses.create(model="gpt-5", input="Hi")
    assert rows(byok, "source") == ["byok"]


@on_sqlite
@both_ways
def test_what_cannot_run_on_the_platforms_key_gets_the_providers_refusal(byok, run, upstream, way):
    byok.projects.set_policy("shop", "platform", actor=byok.actor)
    upstream.keys[GOOD_KEY] = "revoked"
    with pytest.raises(openai.AuthenticationError):
        drive(
            run, way, lambda c: c.responses.create(model="gpt-5", input="Hi", tools=[{"type": "web_search"}])
        )
    assert rows(byok, "source") == ["byok"]


@both_ways
def test_the_next_call_after_a_change_uses_the_new_key(byok, run, upstream, way):
    drive(run, way, ask)
    byok.keys.save("shop", OTHER_KEY)
    upstream.requests.clear()
    drive(run, way, ask)
    byok.keys.remove("shop")
    drive(run, way, ask)
    assert [seen.key for seen in upstream.requests] == [OTHER_KEY, PLATFORM_KEY]


# --- what leaves -----------------------------------------------------------------------------------


@on_sqlite
@pytest.mark.parametrize("name", ["chat", "responses", "embeddings"])
def test_a_request_on_the_projects_own_key_is_sent_untouched(run, upstream, name):
    drive(run, "sync", CALLS[name])
    sent = set(upstream.requests[-1].json)
    assert sent <= {"model", "messages", "input", "encoding_format"}


@on_sqlite
@pytest.mark.parametrize(
    ("name", "field"), [("chat", "max_completion_tokens"), ("responses", "max_output_tokens")]
)
def test_a_request_on_the_platforms_key_is_sent_with_an_output_limit(shop, upstream, name, field):
    with shop.run("shop") as run:
        drive(run, "sync", CALLS[name])
        run.openai.responses.create(model="gpt-5", input="Hi", max_output_tokens=77)
    assert upstream.requests[0].json[field] > 0
    assert upstream.requests[1].json["max_output_tokens"] == 77


WITHOUT_CEILING = {
    "hosted tool": (lambda c: ask(c, tools=[{"type": "web_search"}]), NotMetered),
    "tier without a price": (lambda c: ask(c, service_tier="scale"), NotMetered),
    "background": (lambda c: ask(c, background=True), NotMetered),
    "image": (lambda c: c.images.generate(model="gpt-image-1", prompt="A cat"), NotMetered),
    "upload": (lambda c: c.audio.transcriptions.create(model="whisper-1", file=b"x"), NotMetered),
    "other endpoint": (lambda c: c.files.list(), NotMetered),
    "unknown price": (lambda c: c.responses.create(model="gpt-unheard-of", input="Hi"), PriceUnknown),
}


@on_sqlite
@both_ways
@pytest.mark.parametrize("name", WITHOUT_CEILING)
def test_what_has_no_ceiling_is_not_sent_on_the_platforms_key(shop, upstream, way, name):
    what, error = WITHOUT_CEILING[name]
    with shop.run("shop") as run, pytest.raises(error):
        drive(run, way, what)
    assert (upstream.requests, rows(shop)) == ([], [])


@on_sqlite
@both_ways
@pytest.mark.parametrize("more", [{"tools": [{"type": "web_search"}]}, {"service_tier": "scale"}])
def test_what_has_no_ceiling_passes_on_the_projects_own_key_at_unknown_cost(byok, run, way, more):
    drive(run, way, lambda c: c.responses.create(model="gpt-5", input="Hi", **more))
    ((status, tokens, cost),) = rows(byok, "status", "input_tokens", "cost_nano")
    assert (status, cost) == ("ok", None)
    assert tokens > 0


@on_sqlite
@both_ways
def test_an_upload_passes_on_the_projects_own_key(byok, run, upstream, way):
    upstream.queue(Behaviour(status=200, json={"text": "Hello"}))
    drive(
        run, way, lambda c: c.audio.transcriptions.create(model="whisper-1", file=("a.wav", b"RIFF" * 1000))
    )
    assert b"RIFF" * 1000 in upstream.requests[0].body
    assert rows(byok, "endpoint", "status", "cost_nano") == [("audio/transcriptions", "ok", None)]


# --- the SDK's own features ------------------------------------------------------------------------


@on_sqlite
@pytest.mark.parametrize("wanted", [False, True])
@both_ways
def test_the_usage_of_a_chat_stream_is_shown_only_to_who_asked_for_it(byok, run, way, wanted):
    options = {"stream_options": {"include_usage": True}} if wanted else {}
    chunks = drive(
        run, way, lambda c: c.chat.completions.create(model="gpt-5", messages=SAY, stream=True, **options)
    )
    assert [bool(chunk.usage) for chunk in chunks].count(True) == wanted
    assert all(chunk.choices for chunk in chunks) is not wanted
    assert rows(byok, "status", "input_tokens") == [("ok", 12)]


@on_sqlite
@pytest.mark.parametrize("wanted", [False, True])
@both_ways
def test_usage_beside_choices_is_shown_only_to_who_asked_for_it(byok, run, upstream, way, wanted):
    upstream.queue("usage_with_choices")
    options = {"stream_options": {"include_usage": True}} if wanted else {}
    chunks = drive(
        run, way, lambda c: c.chat.completions.create(model="gpt-5", messages=SAY, stream=True, **options)
    )
    assert [bool(chunk.usage) for chunk in chunks].count(True) == wanted
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert rows(byok, "status", "input_tokens") == [("ok", 12)]


class Colour(BaseModel):
    name: str


@on_sqlite
def test_the_sdks_helpers_work(byok, run, upstream):
    client = run.openai
    upstream.reply('{"name": "red"}')
    parsed = client.chat.completions.parse(model="gpt-5", messages=SAY, response_format=Colour)
    assert parsed.choices[0].message.parsed == Colour(name="red")
    assert client.responses.parse(model="gpt-5", input="Hi", text_format=Colour).output_parsed == Colour(
        name="red"
    )
    with client.responses.stream(model="gpt-5", input="Hi") as stream:
        assert stream.get_final_response().output_text == '{"name": "red"}'
    with client.chat.completions.stream(model="gpt-5", messages=SAY) as stream:
        assert stream.get_final_completion().choices[0].message.content == '{"name": "red"}'
    raw = client.responses.with_raw_response.create(model="gpt-5", input="Hi")
    assert (raw.http_response.status_code, raw.parse().output_text) == (200, '{"name": "red"}')
    assert raw.headers["x-request-id"]
    with client.responses.with_streaming_response.create(model="gpt-5", input="Hi") as response:
        assert b"".join(response.iter_bytes()).startswith(b"{")
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
    called = client.chat.completions.create(model="gpt-5", messages=SAY, tools=[tool], tool_choice="required")
    assert called.choices[0].message is not None
    assert set(rows(byok, "status", "input_tokens")) == {("ok", 12)}
    assert len(rows(byok)) == len(upstream.requests) == 7


@on_sqlite
def test_copies_of_the_client_are_metered_too(byok, run):
    client = run.openai.with_options(timeout=5, max_retries=0, default_headers={"x-mine": "1"}).copy()
    client.responses.create(model="gpt-5", input="Hi")
    assert (type(client), client.max_retries, client.timeout) == (type(run.openai), 0, 5)
    assert rows(byok, "status") == ["ok"]
