"""Anthropic's genuine SDK over the meter: calls, streams, refusals and a hostile environment, against the scripted one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import anthropic
import pytest

from lib.errors import (
    KeyRejected,
    KeyUnchecked,
    NotMetered,
    PriceUnknown,
)
from lib.llm import key_check
from lib.llm.anthropic.provider import Anthropic
from lib.llm.key_check import CheckResult
from lib.platform import Platform, Run
from lib.secret import Secret
from lib.settings import Settings
from tests import providers
from tests.calls import on_sqlite, rows
from tests.upstream import (
    CLAUDE_KEY,
    CLAUDE_OTHER_KEY,
    CLAUDE_PLATFORM_KEY,
    Behaviour,
    ScriptedUpstream,
    Usage,
)

MODEL = "claude-opus-4-6"
SAY = [{"role": "user", "content": "Hi"}]
both_ways = pytest.mark.parametrize("way", ["sync", "async"])
EXACT = Usage(input=175, cached=50, output=15, reasoning=4, cache_write=60, cache_write_1h=40, searches=2)
EXACT_COST = 21_300_000


@pytest.fixture
def own(funded: Platform, upstream: ScriptedUpstream) -> Platform:
    """The same, and ``shop`` has an Anthropic key of its own."""
    funded.keys.save("shop", CLAUDE_KEY, provider="anthropic")
    upstream.requests.clear()
    return funded


@pytest.fixture
def run(own: Platform) -> Iterator[Run]:
    with own.run("shop") as run:
        yield run


def ask(client: Any, **more: Any) -> Any:
    """The plainest call."""
    return client.messages.create(**({"model": MODEL, "max_tokens": 100, "messages": SAY} | more))


def drive(run: Run, way: str, what: Callable[[Any], Any]) -> Any:
    """Make one call, synchronous or not, and read all of its answer: a list where it is a stream."""
    return providers.drive(run, providers.PROVIDERS["anthropic"], way, what)


# --- keys ------------------------------------------------------------------------------------------

check_key = partial(key_check.check_key, Anthropic())


def check(upstream: ScriptedUpstream, how: str) -> CheckResult:
    upstream.keys[CLAUDE_KEY] = f"anthropic.{how}" if how != "good" else how
    return check_key(Secret(CLAUDE_KEY), Settings(anthropic_base_url=upstream.root_url))


def test_a_real_key_works_whatever_it_may_not_administer(upstream: ScriptedUpstream) -> None:
    result = check(upstream, "good")
    assert (result.status, result.code, result.request_id) == ("working", None, "req_00000001")
    assert result.message == "Anthropic accepted the key for the workspace wrkspc_test."
    assert [seen.path for seen in upstream.requests] == ["/models", "/organizations/me"]
    assert upstream.requests[0].headers["authorization"] == f"Bearer {CLAUDE_KEY}"


def test_a_key_keeps_the_name_of_the_workspace_that_pays_for_it(
    platform: Platform, upstream: ScriptedUpstream
) -> None:
    upstream.keys[CLAUDE_KEY] = "good"
    platform.projects.add("shop", actor=platform.actor)
    assert platform.keys.save("shop", CLAUDE_KEY, provider="anthropic").workspace == "wrkspc_test"
    upstream.keys[CLAUDE_KEY] = "anthropic.revoked"
    failing = platform.keys.check("shop", provider="anthropic")
    assert (failing.status, failing.workspace) == ("failing", "wrkspc_test")
    assert platform.keys.remove("shop", provider="anthropic").workspace is None


@pytest.mark.parametrize("row", ["revoked", "workspace_access"])
def test_a_refused_key_is_rejected_with_the_providers_own_message(
    upstream: ScriptedUpstream, row: str
) -> None:
    with pytest.raises(KeyRejected, match="Anthropic rejected this key") as refusal:
        check(upstream, row)
    assert refusal.value.message in str(refusal.value)


@pytest.mark.parametrize(
    "row", ["billing", "linked_limit", "out_of_money", "usage_limit", "tier_cap", "contract_cap"]
)
def test_a_key_without_money_is_genuine_and_cannot_be_used_now(upstream: ScriptedUpstream, row: str) -> None:
    result = check(upstream, row)
    assert (result.status, result.obstacle) == ("warning", "money")


def test_what_else_stands_in_a_genuine_keys_way_is_a_warning_with_its_code(
    upstream: ScriptedUpstream,
) -> None:
    region, on_hold = check(upstream, "region"), check(upstream, "on_hold")
    assert (region.status, region.code, region.obstacle) == ("warning", "region_not_supported", "address")
    assert (on_hold.status, on_hold.code, on_hold.obstacle) == ("warning", "organization_on_hold", None)
    assert check(upstream, "no_model").status == "warning"


def test_a_rate_limit_proves_the_key(upstream: ScriptedUpstream) -> None:
    assert check(upstream, "rate_limited").status == "working"


def test_a_key_that_may_not_list_models_is_asked_whether_it_may_run_one(upstream: ScriptedUpstream) -> None:
    assert check(upstream, "no_list").status == "working"
    assert [(seen.method, seen.path) for seen in upstream.requests][:2] == [
        ("GET", "/models"),
        ("POST", "/messages"),
    ]
    assert upstream.requests[1].body == b"{}"


def test_a_key_that_may_administer_the_organization_is_warned_of(upstream: ScriptedUpstream) -> None:
    result = check(upstream, "administers")
    assert (result.status, result.code, result.obstacle) == ("warning", "can_administer", None)
    assert "scoped to a workspace" in result.message


@pytest.mark.parametrize(
    "row",
    [
        "cors",
        "not_from_here",
        "server_error",
        "timeout",
        "overloaded",
        "gateway",
        "captive_portal",
        "redirect",
    ],
)
def test_an_answer_that_says_nothing_of_the_key_decides_nothing(upstream: ScriptedUpstream, row: str) -> None:
    with pytest.raises(KeyUnchecked):
        check(upstream, row)
    assert "/stolen" not in [seen.path for seen in upstream.requests]


def test_no_call_ends_the_warning_of_a_key_that_may_administer_and_a_call_ends_the_others(
    funded: Platform, upstream: ScriptedUpstream
) -> None:
    for row, after in (("administers", "can_administer"), ("on_hold", None)):
        upstream.keys[CLAUDE_KEY] = f"anthropic.{row}"
        funded.keys.save("shop", CLAUDE_KEY, provider="anthropic")
        upstream.keys[CLAUDE_KEY] = "good"
        with funded.run("shop") as run:
            ask(run.anthropic)
        state = funded.keys.describe("shop", provider="anthropic")
        assert (state.check_code, bool(state.check_message)) == (after, after is not None)


# --- calls -----------------------------------------------------------------------------------------


@both_ways
@pytest.mark.parametrize("stream", [False, True])
def test_a_call_leaves_with_the_projects_key_and_is_metered_to_the_nano(
    own: Platform, run: Run, upstream: ScriptedUpstream, way: str, stream: bool
) -> None:
    upstream.usage[MODEL] = EXACT
    answer = drive(run, way, lambda client: ask(client, stream=stream))
    assert answer
    [seen] = upstream.requests
    assert (seen.key, seen.path, seen.headers["anthropic-version"]) == (CLAUDE_KEY, "/messages", "2026-10-21")
    assert "x-api-key" not in seen.headers
    [row] = rows(own)
    assert (row["provider"], row["source"], row["status"], row["endpoint"]) == (
        "anthropic",
        "byok",
        "ok",
        "messages",
    )
    counted = ("input_tokens", "cached_input_tokens", "output_tokens", "reasoning_tokens")
    assert tuple(row[name] for name in counted) == (175, 50, 15, 4)
    assert (row["cache_write_tokens"], row["cache_write_1h_tokens"]) == (60, 40)
    assert (row["cost_nano"], row["fees_nano"]) == (EXACT_COST, 20_000_000)
    assert (row["key_last4"], row["upstream_request_id"]) == (CLAUDE_KEY[-4:], "req_00000003")


def test_the_clients_are_the_sdks_own(run: Run) -> None:
    assert isinstance(run.anthropic, anthropic.Anthropic)
    assert isinstance(run.async_anthropic, anthropic.AsyncAnthropic)
    assert ask(run.anthropic).content[0].text == "Hello from the scripted upstream."


@on_sqlite
def test_the_sdks_helpers_are_metered_as_well(own: Platform, run: Run) -> None:
    client = run.anthropic
    with client.messages.stream(model=MODEL, max_tokens=9, messages=SAY) as stream:
        assert stream.get_final_text() == "Hello from the scripted upstream."
    raw = client.messages.with_raw_response.create(model=MODEL, max_tokens=9, messages=SAY)
    assert raw.headers["request-id"] == "req_00000004"
    assert client.messages.count_tokens(model=MODEL, messages=SAY).input_tokens == 12
    assert next(each.id for each in client.models.list()) == "claude-opus-5-5"
    told = rows(own, "endpoint", "status", "cost_nano")
    assert told[2:] == [("messages/count_tokens", "ok", 0), ("models", "ok", 0)]
    assert {row[:2] for row in told[:2]} == {("messages", "ok")}


@both_ways
@pytest.mark.parametrize("kept", [1, 3, 5])
def test_a_stream_that_is_cut_before_its_last_word_is_broken_though_its_sdk_says_nothing(
    own: Platform, run: Run, upstream: ScriptedUpstream, way: str, kept: int
) -> None:
    events = [
        {
            "type": "message_start",
            "message": {"model": MODEL, "usage": {"input_tokens": 9, "output_tokens": 1}},
        },
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hello"}},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 7}},
    ]
    upstream.queue(Behaviour(events=tuple(events[:kept]), named=True))
    drive(run, way, lambda client: ask(client, stream=True))
    assert rows(own, "status", "cost_nano", "output_tokens") == [("broken", None, None)]


@on_sqlite
def test_an_error_inside_a_stream_is_told_in_the_providers_words(
    own: Platform, run: Run, upstream: ScriptedUpstream
) -> None:
    told = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded {key}"}}
    upstream.queue(Behaviour(events=({"type": "ping"}, told), named=True))
    with pytest.raises(anthropic.APIStatusError):
        list(ask(run.anthropic, stream=True))
    assert rows(own, "status", "error_type") == [("broken", "overloaded_error")]


@both_ways
def test_each_attempt_of_the_sdk_has_a_row_and_what_is_not_retried_has_one(
    own: Platform, run: Run, upstream: ScriptedUpstream, way: str
) -> None:
    upstream.queue("anthropic.overloaded")
    drive(run, way, lambda client: ask(client.with_options(max_retries=1)))
    upstream.queue("anthropic.out_of_money")
    with pytest.raises(anthropic.BadRequestError, match="credit balance"):
        drive(run, way, ask)
    assert rows(own, "status", "http_status", "error_type") == [
        ("error", 529, "overloaded_error"),
        ("ok", 200, None),
        ("error", 400, "invalid_request_error"),
    ]
    state = own.keys.describe("shop", provider="anthropic")
    assert (state.status, state.failure) == ("failing", "out_of_money")
    assert own.keys.describe("shop").status == "none"


@on_sqlite
@pytest.mark.parametrize("asked", [{"speed": "fast"}, {"inference_geo": "us"}])
def test_what_the_table_does_not_price_is_unknown(own: Platform, run: Run, asked: dict[str, str]) -> None:
    ask(run.anthropic, **asked)
    assert rows(own, "status", "cost_nano") == [("ok", None)]


@on_sqlite
def test_a_batch_on_the_projects_own_key_has_a_row_and_no_known_cost(
    own: Platform, run: Run, upstream: ScriptedUpstream
) -> None:
    upstream.queue(Behaviour(status=200, json={"id": "msgbatch_1", "type": "message_batch"}))
    run.anthropic.messages.batches.create(requests=[])
    assert rows(own, "endpoint", "cost_nano") == [("messages/batches", None)]


# --- money -----------------------------------------------------------------------------------------


def test_a_platform_funded_call_reserves_settles_and_counts(
    funded: Platform, upstream: ScriptedUpstream
) -> None:
    upstream.usage[MODEL] = Usage(input=175, cached=50, output=15, cache_write=60, cache_write_1h=40)
    with funded.run("shop") as run:
        ask(run.anthropic)
    [seen] = upstream.requests
    assert (seen.key, seen.json["service_tier"]) == (CLAUDE_PLATFORM_KEY, "standard_only")
    assert rows(funded, "source", "cost_nano") == [("platform", 1_300_000)]
    headroom = funded.caps.headroom("shop", actor=funded.actor)
    assert {window.used_nano for window in headroom.windows.values()} == {1_300_000}


REFUSED: dict[str, tuple[type[Exception], Callable[[Any], Any]]] = {
    "no price": (PriceUnknown, lambda c: ask(c, model="claude-unheard-of")),
    "no price, stream": (PriceUnknown, lambda c: ask(c, model="claude-unheard-of", stream=True)),
    "web search": (
        NotMetered,
        lambda c: ask(c, tools=[{"type": "web_search_20250305", "name": "web_search"}]),
    ),
    "an image": (
        NotMetered,
        lambda c: ask(
            c,
            messages=[
                {
                    "role": "user",
                    "content": [
                        {"type": "image", "source": {"type": "url", "url": "https://x.invalid/a.png"}}
                    ],
                }
            ],
        ),
    ),
    "a container": (NotMetered, lambda c: ask(c, container="c_1")),
    "fast": (NotMetered, lambda c: ask(c, speed="fast")),
    "fast, of a model with a price of it": (
        NotMetered,
        lambda c: ask(c, model="claude-opus-5", speed="fast"),
    ),
    "inference in the US": (NotMetered, lambda c: ask(c, inference_geo="us")),
    "a beta": (NotMetered, lambda c: ask(c, extra_headers={"anthropic-beta": "context-1m-2025-08-07"})),
    "a beta endpoint": (
        NotMetered,
        lambda c: c.beta.messages.create(
            model=MODEL, max_tokens=9, messages=SAY, betas=["skills-2025-10-02"]
        ),
    ),
    "a batch": (NotMetered, lambda c: c.messages.batches.create(requests=[])),
    "files of others": (NotMetered, lambda c: c.files.delete("f_1")),
    "an agent": (NotMetered, lambda c: c.post("/v1/sessions", body={}, cast_to=object)),
    "the organization": (NotMetered, lambda c: c.organization.retrieve()),
    "another host": (NotMetered, lambda c: c.get("https://hostile.invalid/v1/models", cast_to=object)),
}


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


# --- a hostile environment -------------------------------------------------------------------------


@on_sqlite
@pytest.mark.parametrize(
    "options",
    [
        {"base_url": "https://hostile.invalid"},
        {"http_client": object()},
        {"credentials": lambda: "token"},
        {"config": {"authentication": {}}},
        {"profile": "hostile"},
    ],
)
def test_a_copy_goes_nowhere_else(run: Run, options: dict[str, Any]) -> None:
    with pytest.raises(NotMetered, match="cannot be changed"):
        run.anthropic.with_options(**options)


@on_sqlite
def test_a_copy_keeps_what_a_caller_has_chosen_and_ignores_other_keys(
    run: Run, upstream: ScriptedUpstream
) -> None:
    seen = []

    def look(request: Any, call_next: Any) -> Any:
        seen.append(request)
        return call_next(request)

    client = run.anthropic.with_options(api_key=CLAUDE_OTHER_KEY, timeout=7, middleware=[look])
    ask(client.with_options(max_retries=0, default_headers={"X-Mine": "1"}))
    assert len(seen) == 1
    assert (upstream.requests[0].key, upstream.requests[0].headers["x-mine"]) == (CLAUDE_KEY, "1")
