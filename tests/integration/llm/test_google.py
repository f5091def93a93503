"""Google's genuine SDK over the meter: calls, streams, refusals and a hostile environment, against the scripted one."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import httpx2
import pytest
from google import genai
from google.genai import errors, types
from google.genai.client import AsyncClient

from lib.errors import (
    KeyRejected,
    KeyUnchecked,
    NotMetered,
    PriceUnknown,
)
from lib.llm import key_check
from lib.llm.google.provider import Google
from lib.llm.key_check import CheckResult
from lib.platform import Platform, Run
from lib.secret import Secret
from lib.settings import Settings
from tests import providers
from tests.calls import on_sqlite, rows
from tests.environments import HOSTILE
from tests.upstream import (
    GEMINI_KEY,
    GEMINI_OTHER_KEY,
    GEMINI_PLATFORM_KEY,
    Behaviour,
    ScriptedUpstream,
    Usage,
)

MODEL = "gemini-3.5-flash"
PATH = f"/models/{MODEL}:generateContent"
REPLY = "Hello from the scripted upstream."
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*(experimental|deprecated)"
)  # what the SDK says of some of its parts
both_ways = pytest.mark.parametrize("way", ["sync", "async"])
EXACT = Usage(input=109, cached=40, output=12, reasoning=7, tool_prompt=9)
EXACT_COST = 217_500
"""Nano-USD: the worked case, $0.0002175."""


@pytest.fixture
def own(funded: Platform, upstream: ScriptedUpstream) -> Platform:
    """The same, and ``shop`` has a Google key of its own."""
    funded.keys.save("shop", GEMINI_KEY, provider="google")
    upstream.requests.clear()
    return funded


@pytest.fixture
def run(own: Platform) -> Iterator[Run]:
    with own.run("shop") as run:
        yield run


def ask(client: Any, *, stream: bool = False, **more: Any) -> Any:
    """The plainest call."""
    models = client.models
    send = models.generate_content_stream if stream else models.generate_content
    return send(**({"model": MODEL, "contents": "Hi"} | more))


def drive(run: Run, way: str, what: Callable[[Any], Any]) -> Any:
    """Make one call, synchronous or not, and read all of its answer: a list where it is a stream."""
    return providers.drive(run, providers.PROVIDERS["google"], way, what)


# --- keys ------------------------------------------------------------------------------------------

check_key = partial(key_check.check_key, Google())
LIST, RUN = ("GET", "/models"), ("POST", "/models/gemini-3.5-flash-lite:generateContent")


def check(upstream: ScriptedUpstream, how: str, key: str = GEMINI_KEY) -> CheckResult:
    upstream.keys[key] = f"google.{how}" if how != "good" else how
    return check_key(Secret(key), Settings(google_base_url=upstream.root_url))


@pytest.mark.parametrize("key", [GEMINI_KEY, GEMINI_OTHER_KEY])
def test_a_key_of_either_kind_is_asked_for_the_list_and_for_the_right_to_run(
    upstream: ScriptedUpstream, key: str
) -> None:
    result = check(upstream, "good", key)
    assert (result.status, result.code, result.obstacle) == ("working", None, None)
    assert [(seen.method, seen.path) for seen in upstream.requests] == [LIST, RUN]
    assert {seen.headers["x-goog-api-key"] for seen in upstream.requests} == {key}
    assert [seen.query for seen in upstream.requests] == ["pageSize=1", ""]
    assert upstream.requests[1].body == b"{}"
    assert not any("authorization" in seen.headers for seen in upstream.requests)


@pytest.mark.parametrize(
    "row",
    [
        "revoked",
        "expired",
        "unbound",
        "unauthenticated",
        "no_right_to_run",
        "service_blocked",
        "service_disabled",
        "leaked",
        "unrestricted",
        "suspended",
    ],
)
def test_a_refused_key_is_rejected_with_the_providers_own_message(
    upstream: ScriptedUpstream, row: str
) -> None:
    with pytest.raises(KeyRejected, match="Google rejected this key") as refusal:
        check(upstream, row)
    assert refusal.value.message in str(refusal.value)


def test_a_key_whose_binding_does_not_work_is_refused_with_exactly_that(upstream: ScriptedUpstream) -> None:
    with pytest.raises(
        KeyRejected, match="The service account that this key is bound to cannot use it"
    ) as no:
        check(upstream, "unbound")
    assert (no.value.status, no.value.code) == (401, "ACCESS_TOKEN_TYPE_UNSUPPORTED")


@pytest.mark.parametrize(
    "row", ["location", "billing_off", "other_precondition", "free_day", "out_of_money", "spend_cap"]
)
def test_a_key_that_cannot_pay_is_genuine_and_cannot_be_used_now(
    upstream: ScriptedUpstream, row: str
) -> None:
    result = check(upstream, row)
    assert (result.status, result.obstacle) == ("warning", "money")


@pytest.mark.parametrize("row", ["wrong_address", "referrer"])
def test_a_key_that_is_not_for_this_server_is_a_warning(upstream: ScriptedUpstream, row: str) -> None:
    result = check(upstream, row)
    assert (result.status, result.obstacle) == ("warning", "address")


@pytest.mark.parametrize("row", ["rate_limited", "no_model", "no_list"])
def test_what_proves_a_key_is_no_refusal(upstream: ScriptedUpstream, row: str) -> None:
    assert check(upstream, row).status == "working"


@pytest.mark.parametrize("row", ["free_minute", "free_day"])
def test_the_free_tier_is_named(upstream: ScriptedUpstream, row: str) -> None:
    result = check(upstream, row)
    assert result.code == "free_tier"
    assert "Google may use prompts and answers" in result.message


@pytest.mark.parametrize(
    "row", ["server_error", "overloaded", "timeout", "gateway", "captive_portal", "redirect"]
)
def test_an_answer_that_says_nothing_of_the_key_decides_nothing(upstream: ScriptedUpstream, row: str) -> None:
    with pytest.raises(KeyUnchecked):
        check(upstream, row)
    assert [(seen.method, seen.path) for seen in upstream.requests] == [LIST], "Nothing is tried twice."


@pytest.mark.parametrize("row", ["hang", "drip_headers", "drip_body", "drop", "truncated", "not_json"])
def test_a_provider_that_misbehaves_is_given_up(upstream: ScriptedUpstream, row: str) -> None:
    upstream.keys[GEMINI_KEY] = row
    with pytest.raises(KeyUnchecked):
        check_key(Secret(GEMINI_KEY), Settings(google_base_url=upstream.root_url), deadline=0.3)


# --- calls -----------------------------------------------------------------------------------------


@both_ways
@pytest.mark.parametrize("stream", [False, True])
def test_a_call_leaves_with_the_projects_key_and_is_metered_to_the_nano(
    own: Platform, run: Run, upstream: ScriptedUpstream, way: str, stream: bool
) -> None:
    upstream.usage["*"] = EXACT
    answer = drive(run, way, lambda client: ask(client, stream=stream))
    assert "".join(part.text for part in (answer if stream else [answer])) == REPLY
    [seen] = upstream.requests
    assert (seen.key, seen.query) == (GEMINI_KEY, "alt=sse" if stream else "")
    assert GEMINI_KEY not in f"{seen.path}{seen.query}"
    [row] = rows(own)
    endpoint = "streamGenerateContent" if stream else "generateContent"
    assert (row["provider"], row["source"], row["status"]) == ("google", "byok", "ok")
    assert (row["endpoint"], row["model"]) == (endpoint, MODEL)
    counted = ("input_tokens", "cached_input_tokens", "output_tokens", "reasoning_tokens")
    assert tuple(row[name] for name in counted) == (109, 40, 12, 7)
    assert (row["cost_nano"], row["key_last4"]) == (EXACT_COST, GEMINI_KEY[-4:])
    assert row["upstream_request_id"] == "resp_00000003"


@on_sqlite
def test_no_name_in_an_answer_brings_a_piece_of_the_key_into_the_database(
    own: Platform, run: Run, upstream: ScriptedUpstream
) -> None:
    """Short ones may stand in what a model says, but no id, model or tier has any business with one."""
    pieces = [GEMINI_KEY[at : at + 14] for at in (2, 8, 14)]
    usage = {"promptTokenCount": 1, "candidatesTokenCount": 1, "totalTokenCount": 2, "serviceTier": pieces[2]}
    said = {"candidates": [{"content": {"role": "model", "parts": [{"text": "Hi"}]}, "finishReason": "STOP"}]}
    answer = said | {"responseId": pieces[0], "modelVersion": pieces[1], "usageMetadata": usage}
    upstream.queue(Behaviour(status=200, json=answer))
    drive(run, "sync", ask)
    [row] = rows(own)
    assert [piece for piece in pieces if piece in str(row)] == []


def test_the_clients_are_the_sdks_own(run: Run) -> None:
    assert isinstance(run.google, genai.Client)
    assert isinstance(run.google.aio, AsyncClient)
    assert run.async_google is run.google.aio
    assert ask(run.google).text == REPLY


@on_sqlite
def test_the_sdks_helpers_are_metered_as_well(own: Platform, run: Run) -> None:
    client = run.google
    assert client.chats.create(model=MODEL).send_message("Hi").text == REPLY
    assert client.models.count_tokens(model=MODEL, contents="Hi").total_tokens == 12
    assert next(each.name for each in client.models.list()) == "models/gemini-3.8-flash"
    vectors = client.models.embed_content(model="gemini-embedding-001", contents=["a", "b"])
    assert len(vectors.embeddings) == 2
    assert rows(own, "endpoint", "status", "cost_nano") == [
        ("generateContent", "ok", 12 * 1_500 + 5 * 9_000),
        ("countTokens", "ok", 0),
        ("models", "ok", 0),
        ("batchEmbedContents", "ok", 12 * 150),
    ]


@both_ways
@on_sqlite
def test_an_answer_that_the_sdk_has_continued_is_a_call_each_time_on_the_platforms_key(
    funded: Platform, upstream: ScriptedUpstream, way: str
) -> None:
    first = _event("Hel", finishReason="CONTINUATION", continuationToken="AA==")
    upstream.queue(Behaviour(status=200, json=first))
    with funded.run("shop") as run:
        answer = drive(run, way, ask)
    assert answer.text.startswith("Hel")
    assert len(upstream.requests) == 2
    assert b"continuationToken" in upstream.requests[1].body
    assert rows(funded, "source", "status") == [("platform", "ok")] * 2


@both_ways
@on_sqlite
def test_functions_that_the_sdk_calls_by_itself_are_a_call_each_time(
    own: Platform, run: Run, way: str
) -> None:
    def price_of(thing: str = "") -> str:
        """Tell a price."""
        return f"{thing} costs 3"

    config = types.GenerateContentConfig(tools=[price_of])
    assert drive(run, way, lambda client: ask(client, config=config)).text == REPLY
    assert rows(own, "status") == ["ok", "ok"]


def _event(text: str, **more: Any) -> dict[str, Any]:
    usage = {"promptTokenCount": 9, "candidatesTokenCount": 3, "totalTokenCount": 12}
    candidate = {"content": {"parts": [{"text": text}]}, "index": 0} | more
    return {"candidates": [candidate], "usageMetadata": usage, "modelVersion": MODEL}


@both_ways
@pytest.mark.parametrize("kept", [1, 2])
def test_a_stream_that_is_cut_before_its_last_word_is_broken_though_its_sdk_says_nothing(
    own: Platform, run: Run, upstream: ScriptedUpstream, way: str, kept: int
) -> None:
    upstream.queue(Behaviour(events=tuple([_event("Hel"), _event("lo")][:kept])))
    drive(run, way, lambda client: ask(client, stream=True))
    assert rows(own, "status", "cost_nano", "output_tokens") == [("broken", None, None)]


@both_ways
@on_sqlite
def test_a_connection_that_breaks_in_a_stream_is_broken(
    own: Platform, run: Run, upstream: ScriptedUpstream, way: str
) -> None:
    upstream.queue("broken_stream")
    with pytest.raises(httpx2.HTTPError):
        drive(run, way, lambda client: ask(client, stream=True))
    assert rows(own, "status", "cost_nano") == [("broken", None)]


@both_ways
@on_sqlite
def test_an_error_inside_a_stream_is_told_in_the_providers_words(
    own: Platform, run: Run, upstream: ScriptedUpstream, way: str
) -> None:
    told = {"error": {"code": 503, "message": "Overloaded {key}", "status": "UNAVAILABLE"}}
    upstream.queue(Behaviour(events=(_event("Hel"), told)))
    with pytest.raises(errors.ServerError):
        drive(run, way, lambda client: ask(client, stream=True))
    assert rows(own, "status", "error_type", "error_code") == [("broken", "UNAVAILABLE", "503")]


@both_ways
def test_a_call_is_one_attempt_and_each_retry_that_is_asked_for_has_a_row(
    own: Platform, run: Run, upstream: ScriptedUpstream, way: str
) -> None:
    upstream.queue("google.overloaded")
    with pytest.raises(errors.ServerError):
        drive(run, way, ask)
    upstream.queue("google.overloaded")
    again = types.HttpOptions(retry_options=types.HttpRetryOptions(attempts=2, initial_delay=0.01))
    drive(run, way, lambda client: ask(client, config={"http_options": again}))
    assert rows(own, "status", "http_status", "error_type") == [
        ("error", 503, "UNAVAILABLE"),
        ("error", 503, "UNAVAILABLE"),
        ("ok", 200, None),
    ]


@on_sqlite
def test_an_asynchronous_run_closes_its_connections(own: Platform) -> None:
    async def call() -> None:
        async with own.run("shop") as run:
            await ask(run.google.aio)

    asyncio.run(call())
    assert rows(own, "status") == ["ok"]


UNKNOWN: dict[str, Callable[[Any], Any]] = {
    "search": lambda c: ask(c, config={"tools": [{"google_search": {}}]}),
    "a tier": lambda c: ask(c, config={"service_tier": "flex"}),
    "an unknown parameter": lambda c: ask(c, config={"http_options": {"extra_body": {"turbo": True}}}),
}


@on_sqlite
@pytest.mark.parametrize("kind", UNKNOWN)
def test_what_the_table_does_not_price_is_unknown(own: Platform, run: Run, kind: str) -> None:
    UNKNOWN[kind](run.google)
    assert rows(own, "status", "cost_nano") == [("ok", None)]


ON_THE_OWN_KEY: dict[str, tuple[Any, str, Callable[[Any], Any]]] = {
    "a batch": (
        {"name": "batches/1"},
        "batchGenerateContent",
        lambda c: c.batches.create(model=MODEL, src=[]),
    ),
    "a cache": (
        {"name": "cachedContents/1"},
        "cachedContents",
        lambda c: c.caches.create(model=MODEL, config={}),
    ),
    "an interaction": (
        {"id": "i_1", "status": "completed", "outputs": []},
        "interactions",
        lambda c: c.interactions.create(model=MODEL, input="Hi"),
    ),
}


@on_sqlite
@pytest.mark.parametrize("kind", ON_THE_OWN_KEY)
def test_what_has_no_known_cost_runs_on_the_projects_own_key(
    own: Platform, run: Run, upstream: ScriptedUpstream, kind: str
) -> None:
    answer, endpoint, what = ON_THE_OWN_KEY[kind]
    upstream.queue(Behaviour(status=200, json=answer))
    what(run.google)
    assert [seen.key for seen in upstream.requests] == [GEMINI_KEY]
    assert rows(own, "endpoint", "status", "cost_nano") == [(endpoint, "ok", None)]


@on_sqlite
def test_a_file_goes_up_on_the_projects_own_key_for_free(
    own: Platform, run: Run, upstream: ScriptedUpstream
) -> None:
    _offer_upload(upstream, upstream.root_url)
    done = {"file": {"name": "files/f_1", "state": "ACTIVE"}}
    upstream.queue(Behaviour(status=200, json=done, headers={"x-goog-upload-status": "final"}))
    file = run.google.files.upload(file=io.BytesIO(b"words"), config={"mime_type": "text/plain"})
    assert file.name == "files/f_1"
    assert [(seen.path, seen.key) for seen in upstream.requests] == [("/upload/v1beta/files", GEMINI_KEY)] * 2
    assert upstream.requests[1].body == b"words"
    assert rows(own, "endpoint", "status", "cost_nano") == [("files", "ok", 0)] * 2


@on_sqlite
def test_a_file_goes_to_no_other_host_whatever_the_answer_names(run: Run, upstream: ScriptedUpstream) -> None:
    _offer_upload(upstream, "https://hostile.invalid")
    with pytest.raises(NotMetered, match="elsewhere than to the configured provider"):
        run.google.files.upload(file=io.BytesIO(b"words"), config={"mime_type": "text/plain"})
    assert len(upstream.requests) == 1


def _offer_upload(upstream: ScriptedUpstream, host: str) -> None:
    headers = {"x-goog-upload-url": f"{host}/upload/v1beta/files?upload_id=1"}
    upstream.queue(Behaviour(status=200, json={}, headers=headers))


# --- money -----------------------------------------------------------------------------------------


def test_a_platform_funded_call_reserves_settles_and_counts(
    funded: Platform, upstream: ScriptedUpstream
) -> None:
    upstream.usage[MODEL] = upstream.usage["*"] = EXACT
    with funded.run("shop") as run:
        ask(run.google)
    [seen] = upstream.requests
    assert (seen.key, seen.json["generationConfig"]) == (GEMINI_PLATFORM_KEY, {"maxOutputTokens": 4096})
    assert rows(funded, "source", "cost_nano") == [("platform", EXACT_COST)]
    headroom = funded.caps.headroom("shop", actor=funded.actor)
    assert {window.used_nano for window in headroom.windows.values()} == {EXACT_COST}


def _picture(client: Any) -> Any:
    return ask(client, contents=types.Part.from_bytes(data=b"\x89PNG", mime_type="image/png"))


REFUSED: dict[str, tuple[type[Exception], Callable[[Any], Any]]] = {
    "no price": (PriceUnknown, lambda c: ask(c, model="gemini-3-unheard-of")),
    "another provider's model": (NotMetered, lambda c: ask(c, model="gpt-5")),
    "a model that makes pictures": (PriceUnknown, lambda c: ask(c, model="gemini-2.5-flash-image")),
    "search": (NotMetered, lambda c: ask(c, config={"tools": [{"google_search": {}}]})),
    "code": (NotMetered, lambda c: ask(c, config={"tools": [{"code_execution": {}}]})),
    "a picture": (NotMetered, _picture),
    "a file": (
        NotMetered,
        lambda c: ask(c, contents=types.Part.from_uri(file_uri="files/1", mime_type="a/b")),
    ),
    "a cached content": (NotMetered, lambda c: ask(c, config={"cached_content": "cachedContents/1"})),
    "sound as output": (NotMetered, lambda c: ask(c, config={"response_modalities": ["AUDIO"]})),
    "a tier without a price": (NotMetered, lambda c: ask(c, config={"service_tier": "flex"})),
    "a batch": (NotMetered, lambda c: c.batches.create(model=MODEL, src=[])),
    "a cache": (NotMetered, lambda c: c.caches.create(model=MODEL, config={})),
    "files of others": (NotMetered, lambda c: c.files.get(name="f_1")),
    "an upload": (NotMetered, lambda c: c.files.upload(file=io.BytesIO(b"a"), config={"mime_type": "a/b"})),
    "an operation": (
        NotMetered,
        lambda c: c.operations.get(types.GenerateVideosOperation(name="operations/1")),
    ),
    "a token": (
        NotMetered,
        lambda c: c.auth_tokens.create(config={"http_options": {"api_version": "v1alpha"}}),
    ),
    "another version": (NotMetered, lambda c: ask(c, config={"http_options": {"api_version": "v1alpha"}})),
    "another host": (
        NotMetered,
        lambda c: ask(c, config={"http_options": {"base_url": "https://hostile.invalid"}}),
    ),
}
ON_EITHER_KEY = {"another host"}


@both_ways
@on_sqlite
@pytest.mark.parametrize("kind", REFUSED)
def test_a_refusal_of_ours_comes_out_as_it_is_on_one_attempt_and_nothing_is_sent(
    funded: Platform, upstream: ScriptedUpstream, way: str, kind: str
) -> None:
    error, what = REFUSED[kind]
    with funded.run("shop") as run, pytest.raises(error) as refusal:
        drive(run, way, what)
    assert refusal.value.__cause__ is None
    assert upstream.requests == []
    assert rows(funded) == []


@both_ways
@on_sqlite
def test_an_interaction_is_refused_on_the_platforms_money(
    funded: Platform, upstream: ScriptedUpstream, way: str
) -> None:
    with funded.run("shop") as run, pytest.raises(NotMetered, match="no known cost ceiling"):
        drive(run, way, lambda client: client.interactions.create(model=MODEL, input="Hi"))
    assert upstream.requests == []


@both_ways
@on_sqlite
def test_an_interaction_is_one_attempt_as_well(
    own: Platform, run: Run, upstream: ScriptedUpstream, way: str
) -> None:
    upstream.keys[GEMINI_KEY] = "google.overloaded"
    with pytest.raises(Exception, match="503"):
        drive(run, way, lambda client: client.interactions.create(model=MODEL, input="Hi"))
    assert rows(own, "endpoint", "status", "http_status") == [("interactions", "error", 503)]


@on_sqlite
def test_no_web_socket_is_opened_on_any_key(own: Platform, upstream: ScriptedUpstream) -> None:
    async def call(client: Any) -> None:
        with pytest.raises(NotMetered, match="WebSocket"):
            async with client.live.connect(model=MODEL):
                pass
        with pytest.raises(NotMetered, match="WebSocket"):
            async with client.live.music.connect(model=MODEL):
                pass
        with pytest.raises(NotMetered, match="WebSocket"):
            async with client.interactions.connect("i_1"):
                pass

    with own.run("shop") as run:
        asyncio.run(call(run.google.aio))
        asyncio.run(call(run.async_google))
    assert upstream.requests == []


# --- a hostile environment -------------------------------------------------------------------------


@on_sqlite
def test_nothing_of_the_environment_reaches_an_interaction(
    run: Run, upstream: ScriptedUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in HOSTILE.items():
        monkeypatch.setenv(name, value)
    upstream.queue(Behaviour(status=200, json={"id": "i_1", "status": "completed", "outputs": []}))
    run.google.interactions.create(model=MODEL, input="Hi")
    (seen,) = upstream.requests
    assert (seen.key, seen.path) == (GEMINI_KEY, "/interactions")
    assert "hostile" not in f"{seen.headers}".lower().replace("x-hostile", "")
    assert "authorization" not in seen.headers


@both_ways
@on_sqlite
def test_no_caller_can_have_a_part_of_the_answer_left_out(
    run: Run, upstream: ScriptedUpstream, way: str
) -> None:
    """Google's servers do so for this header, and thoughts that nobody counts are billed all the same."""
    mask = {
        "X-Goog-FieldMask": "candidates,usageMetadata.promptTokenCount,usageMetadata.candidatesTokenCount"
    }
    drive(run, way, lambda client: ask(client, config={"http_options": {"headers": mask}}))
    assert "x-goog-fieldmask" not in upstream.requests[0].headers


@on_sqlite
@pytest.mark.parametrize(
    "query", ["key=mine", "access_token=mine", "$key=mine", "quotaUser=mine", "a=1&Key=mine"]
)
def test_an_address_that_names_another_key_or_account_is_not_sent(
    run: Run, upstream: ScriptedUpstream, query: str
) -> None:
    with pytest.raises(NotMetered, match="a key or an account of its own"):
        run.google._api_client.request("post", f"models/{MODEL}:generateContent?{query}", {})
    assert upstream.requests == []
