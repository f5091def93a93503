"""Anthropic's genuine SDK over the meter: calls, streams, refusals and a hostile environment, against the scripted one."""

from __future__ import annotations

import asyncio
import logging
import os
import pickle
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import anthropic
import pytest
from sqlalchemy import select

from lib.db.tables import accounts, open_calls
from lib.errors import (
    CapExceeded,
    KeyMissing,
    KeyRejected,
    KeyUnchecked,
    NotMetered,
    PriceUnknown,
    RunEnded,
    SdkUnsupported,
)
from lib.llm import key_check
from lib.llm.anthropic import sdk
from lib.llm.anthropic.provider import Anthropic
from lib.llm.key_check import CheckResult
from lib.platform import Platform, Run
from lib.secret import Secret
from lib.settings import Settings
from tests.calls import on_sqlite, rows
from tests.services import ROOT
from tests.upstream import (
    CLAUDE_KEY,
    CLAUDE_OTHER_KEY,
    CLAUDE_PLATFORM_KEY,
    CLAUDE_WRONG_KEY,
    GOOD_KEY,
    Behaviour,
    ScriptedUpstream,
    Usage,
)

MODEL = "claude-opus-4-6"
SAY = [{"role": "user", "content": "Hi"}]
LEAK = CLAUDE_KEY[7:]
both_ways = pytest.mark.parametrize("way", ["sync", "async"])
EXACT = Usage(input=175, cached=50, output=15, reasoning=4, cache_write=60, cache_write_1h=40, searches=2)
EXACT_COST = 21_300_000


@pytest.fixture
def claude(settings: Settings) -> Iterator[Platform]:
    """A project ``shop`` without a key of its own, and platform keys of both providers."""
    given = {"openai_api_key": Secret(GOOD_KEY), "anthropic_api_key": Secret(CLAUDE_PLATFORM_KEY)}
    platform = Platform(settings.model_copy(update=given))
    platform.projects.add("shop", actor=platform.actor)
    yield platform
    platform.close()


@pytest.fixture
def own(claude: Platform, upstream: ScriptedUpstream) -> Platform:
    """The same, and ``shop`` has an Anthropic key of its own."""
    claude.keys.save("shop", CLAUDE_KEY, provider="anthropic")
    upstream.requests.clear()
    return claude


@pytest.fixture
def run(own: Platform) -> Iterator[Run]:
    with own.run("shop") as run:
        yield run


def ask(client: Any, **more: Any) -> Any:
    """The plainest call."""
    return client.messages.create(**({"model": MODEL, "max_tokens": 100, "messages": SAY} | more))


def drive(run: Run, way: str, what: Callable[[Any], Any]) -> Any:
    """Make one call, synchronous or not, and read all of its answer: a list where it is a stream."""
    if way == "sync":
        answer = what(run.anthropic)
        return list(answer) if isinstance(answer, anthropic.Stream) else answer

    async def call() -> Any:
        client = run.async_anthropic
        del run.async_anthropic
        async with client:
            answer = await what(client)
            return [event async for event in answer] if isinstance(answer, anthropic.AsyncStream) else answer

    return asyncio.run(call())


# --- keys ------------------------------------------------------------------------------------------

check_key = partial(key_check.check_key, Anthropic())


def check(upstream: ScriptedUpstream, how: str) -> CheckResult:
    upstream.keys[CLAUDE_KEY] = f"anthropic.{how}" if how != "good" else how
    return check_key(Secret(CLAUDE_KEY), Settings(anthropic_base_url=upstream.root_url))


def test_a_real_key_works_whatever_it_may_not_administer(upstream: ScriptedUpstream) -> None:
    result = check(upstream, "good")
    assert (result.status, result.code, result.request_id) == ("working", None, "req_00000001")
    assert [seen.path for seen in upstream.requests] == ["/models", "/organizations/me"]
    assert upstream.requests[0].headers["authorization"] == f"Bearer {CLAUDE_KEY}"


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


@on_sqlite
def test_a_rejected_key_does_not_take_the_place_of_the_one_in_use(own: Platform) -> None:
    with pytest.raises(KeyRejected, match="invalid x-api-key"):
        own.keys.save("shop", CLAUDE_WRONG_KEY, provider="anthropic")
    assert own.keys.resolve("shop", provider="anthropic").last4 == CLAUDE_KEY[-4:]


def test_no_call_ends_the_warning_of_a_key_that_may_administer_and_a_call_ends_the_others(
    claude: Platform, upstream: ScriptedUpstream
) -> None:
    for row, after in (("administers", "can_administer"), ("on_hold", None)):
        upstream.keys[CLAUDE_KEY] = f"anthropic.{row}"
        claude.keys.save("shop", CLAUDE_KEY, provider="anthropic")
        upstream.keys[CLAUDE_KEY] = "good"
        with claude.run("shop") as run:
            ask(run.anthropic)
        state = claude.keys.describe("shop", provider="anthropic")
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


@on_sqlite
def test_one_run_calls_two_providers_on_two_keys_and_one_budget(
    own: Platform, upstream: ScriptedUpstream
) -> None:
    own.keys.save("shop", GOOD_KEY)
    with own.run("shop") as run:
        run.openai.responses.create(model="gpt-5", input="Hi")
        ask(run.anthropic)
    assert rows(own, "provider", "key_last4") == [("openai", GOOD_KEY[-4:]), ("anthropic", CLAUDE_KEY[-4:])]
    detail = own.runs.show(run.id, actor=own.actor)
    assert detail.run.tokens == 2 * (12 + 5)


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
def test_a_stream_that_the_caller_leaves_has_an_unknown_cost(own: Platform, run: Run) -> None:
    with ask(run.anthropic, stream=True) as stream:
        next(iter(stream))
    assert rows(own, "status", "cost_nano") == [("abandoned", None)]


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
def test_after_the_run_nothing_leaves(own: Platform, upstream: ScriptedUpstream) -> None:
    with own.run("shop") as run:
        client = run.anthropic
    with pytest.raises(RunEnded):
        ask(client.with_options(timeout=5))
    assert upstream.requests == []


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
    claude: Platform, upstream: ScriptedUpstream
) -> None:
    upstream.usage[MODEL] = Usage(input=175, cached=50, output=15, cache_write=60, cache_write_1h=40)
    with claude.run("shop") as run:
        ask(run.anthropic)
    [seen] = upstream.requests
    assert (seen.key, seen.json["service_tier"]) == (CLAUDE_PLATFORM_KEY, "standard_only")
    assert rows(claude, "source", "cost_nano") == [("platform", 1_300_000)]
    headroom = claude.caps.headroom("shop", actor=claude.actor)
    assert {window.used_nano for window in headroom.windows.values()} == {1_300_000}


def _cap(platform: Platform) -> None:
    platform.plans.set_caps(
        "shop", cap_5h_nano=1, cap_7d_nano=1, reason="a test", ends_at=None, actor=platform.actor
    )


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
    claude: Platform, upstream: ScriptedUpstream, way: str, kind: str
) -> None:
    error, what = REFUSED[kind]
    with claude.run("shop") as run, pytest.raises(error) as refusal:
        drive(run, way, what)
    assert refusal.value.__cause__ is None
    assert upstream.requests == []
    assert rows(claude) == []


@both_ways
@pytest.mark.parametrize("stream", [False, True])
def test_at_the_cap_the_call_stops_before_anything_is_sent_and_is_not_tried_again(
    claude: Platform, upstream: ScriptedUpstream, way: str, stream: bool
) -> None:
    with claude.run("shop") as run:
        _cap(claude)
        with pytest.raises(CapExceeded):
            drive(run, way, lambda client: ask(client, stream=stream))
    assert upstream.requests == []
    assert run.status == "budget_exceeded"
    assert len(claude.runs.show(run.id, actor=claude.actor).log) == 1


@on_sqlite
def test_without_any_key_the_sentence_names_the_provider(settings: Settings) -> None:
    platform = Platform(settings)
    platform.projects.add("shop", actor=platform.actor)
    with platform.run("shop") as run, pytest.raises(KeyMissing, match="Add your Anthropic key"):
        ask(run.anthropic)
    platform.close()


@on_sqlite
def test_a_failing_key_falls_back_only_where_the_project_chose_so(
    own: Platform, upstream: ScriptedUpstream
) -> None:
    upstream.keys[CLAUDE_KEY] = "anthropic.revoked"
    with own.run("shop") as run, pytest.raises(anthropic.AuthenticationError):
        ask(run.anthropic)
    own.projects.set_policy("shop", "platform", actor=own.actor, provider="anthropic")
    with own.run("shop") as run:
        ask(run.anthropic)
    assert rows(own, "source", "status") == [("byok", "error"), ("byok", "error"), ("platform", "ok")]


# --- races and deaths ------------------------------------------------------------------------------


@on_sqlite
def test_the_first_call_after_a_change_of_the_key_uses_the_new_one(
    own: Platform, upstream: ScriptedUpstream
) -> None:
    with own.run("shop") as run:
        for key in [CLAUDE_OTHER_KEY, CLAUDE_KEY] * 5:
            own.keys.save("shop", key, provider="anthropic")
            ask(run.anthropic)
            assert upstream.requests[-1].key == key
        own.keys.remove("shop", provider="anthropic")
        ask(run.anthropic)
        assert upstream.requests[-1].key == CLAUDE_PLATFORM_KEY
    assert len(rows(own)) == 11


_WORKER = """
import os, sys
from lib import Platform
with Platform.from_env().run("shop") as run:
    say = [{"role": "user", "content": "Hi"}]
    stream = run.anthropic.messages.create(model="claude-opus-4-6", max_tokens=9, messages=say, stream=True)
    for number, event in enumerate(stream):
        if number == 3:
            os.kill(os.getpid(), 9)
"""


@on_sqlite
def test_a_worker_that_is_killed_in_a_stream_leaves_its_ceiling_reserved_and_one_open_call(
    claude: Platform, upstream: ScriptedUpstream
) -> None:
    assert claude.settings.master_keys
    environment = os.environ | {
        "DATABASE_URL": claude.settings.database_url,
        "QODEX_MASTER_KEYS": claude.settings.master_keys.reveal(),
        "QODEX_ANTHROPIC_API_KEY": CLAUDE_PLATFORM_KEY,
        "ANTHROPIC_BASE_URL": upstream.root_url,
        "PYTHONPATH": str(ROOT),
    }
    upstream.queue("slow_stream")
    command = [sys.executable, "-W", "ignore", "-c", _WORKER]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, timeout=120, check=False)
    assert done.returncode == -9, done.stderr.decode()
    with claude.database.read() as connection:
        opened = connection.execute(select(open_calls)).one()
        reserved = connection.execute(select(accounts.c.reserved_nano)).scalar_one()
    assert (opened.provider, opened.model) == ("anthropic", "claude-opus-4-6")
    assert reserved == opened.ceiling_nano > 0


# --- a hostile environment -------------------------------------------------------------------------

HOSTILE = {
    "ANTHROPIC_API_KEY": CLAUDE_OTHER_KEY,
    "ANTHROPIC_AUTH_TOKEN": CLAUDE_OTHER_KEY,
    "ANTHROPIC_BASE_URL": "http://hostile.invalid",
    "ANTHROPIC_CUSTOM_HEADERS": f"Authorization: Bearer {CLAUDE_OTHER_KEY}\nX-Api-Key: {CLAUDE_OTHER_KEY}\n"
    "X-Hostile: 1\nanthropic-workspace-id: wrkspc_hostile",
    "ANTHROPIC_PROFILE": "hostile",
    "ANTHROPIC_CONFIG_DIR": "/nowhere/hostile",
    "ANTHROPIC_WORKSPACE_ID": "wrkspc_hostile",
    "ANTHROPIC_ORGANIZATION_ID": "org_hostile",
    "ANTHROPIC_SERVICE_ACCOUNT_ID": "svac_hostile",
    "ANTHROPIC_SCOPE": "hostile",
    "ANTHROPIC_IDENTITY_TOKEN": "hostile",
    "ANTHROPIC_IDENTITY_TOKEN_FILE": "/nowhere/hostile",
    "ANTHROPIC_FEDERATION_RULE_ID": "fdrl_hostile",
    "ANTHROPIC_WEBHOOK_SIGNING_KEY": "hostile",
    "ANTHROPIC_OPEN_TELEMETRY_PROPAGATION": "true",
    "ANTHROPIC_LOG": "debug",
    "HTTP_PROXY": "http://hostile.invalid:1",
    "HTTPS_PROXY": "http://hostile.invalid:1",
    "ALL_PROXY": "http://hostile.invalid:1",
    "SSL_CERT_FILE": "/nowhere",
}


@both_ways
@on_sqlite
@pytest.mark.parametrize("copied", [False, True])
def test_nothing_of_the_environment_reaches_a_request(
    run: Run, upstream: ScriptedUpstream, monkeypatch: pytest.MonkeyPatch, way: str, copied: bool
) -> None:
    for name, value in HOSTILE.items():
        monkeypatch.setenv(name, value)
    drive(run, way, lambda client: ask(client.copy() if copied else client))
    (seen,) = upstream.requests
    assert seen.key == CLAUDE_KEY
    assert "hostile" not in str(seen.headers).lower()
    assert CLAUDE_OTHER_KEY not in str(vars(run.anthropic))


@both_ways
@on_sqlite
def test_headers_of_the_caller_cannot_replace_the_key_or_name_another_account(
    run: Run, upstream: ScriptedUpstream, way: str
) -> None:
    theirs = {
        "Authorization": f"Bearer {CLAUDE_OTHER_KEY}",
        "X-Api-Key": CLAUDE_OTHER_KEY,
        "anthropic-workspace-id": "wrkspc_mine",
        "anthropic-organization-id": "org_mine",
        "anthropic-user-profile-id": "user_mine",
        "Cookie": "a=b",
        "X-Mine": "1",
    }
    drive(run, way, lambda client: ask(client, extra_headers=theirs))
    headers = upstream.requests[0].headers
    assert (headers["authorization"], headers["x-mine"]) == (f"Bearer {CLAUDE_KEY}", "1")
    assert CLAUDE_OTHER_KEY not in str(headers)
    named = {
        "x-api-key",
        "cookie",
        "anthropic-workspace-id",
        "anthropic-organization-id",
        "anthropic-user-profile-id",
    }
    assert not named & set(headers)


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


# --- no key gets out -------------------------------------------------------------------------------


@both_ways
@on_sqlite
@pytest.mark.parametrize("row", ["echo", "echo_400", "echo_500", "redirect"])
@pytest.mark.parametrize("stream", [False, True])
def test_no_failure_carries_the_key(
    run: Run, upstream: ScriptedUpstream, caplog: pytest.LogCaptureFixture, way: str, row: str, stream: bool
) -> None:
    upstream.keys[CLAUDE_KEY] = f"anthropic.{row}"
    with caplog.at_level(logging.DEBUG), pytest.raises(anthropic.APIError) as failure:
        drive(run, way, lambda client: ask(client.with_options(max_retries=0), stream=stream))
    error: Any = failure.value
    told = [str(error), repr(error), repr(error.body), str(error.request.headers), caplog.text]
    told += [str(error.response.headers), error.response.text, repr(pickle.dumps(error.response.headers))]
    assert not [text for text in told if LEAK in text]


@both_ways
@on_sqlite
def test_a_good_answer_gives_the_key_back_neither_in_headers_nor_in_logs(
    run: Run, upstream: ScriptedUpstream, caplog: pytest.LogCaptureFixture, way: str
) -> None:
    upstream.queue(Behaviour(headers={"x-echo": "Bearer {key}", "request-id": "req_{key}"}))
    upstream.reply(f"Your key is {CLAUDE_KEY}")
    with caplog.at_level(logging.DEBUG):
        answer = drive(run, way, ask)
    assert LEAK not in str(answer)
    assert LEAK not in caplog.text
    assert "send_request_headers" in caplog.text


@on_sqlite
@pytest.mark.parametrize("way", ["hang", "drop", "truncated", "captive_portal"])
def test_an_answer_that_is_none_is_no_success(
    own: Platform, run: Run, upstream: ScriptedUpstream, way: str
) -> None:
    upstream.keys[CLAUDE_KEY] = way
    client = run.anthropic.with_options(max_retries=0, timeout=0.5)
    if way == "captive_portal":
        assert isinstance(ask(client), str), "This SDK hands the page over."
    else:
        with pytest.raises(anthropic.APIConnectionError):
            ask(client)
    [(status, cost)] = rows(own, "status", "cost_nano")
    assert status in {"unknown", "broken", "ok"}
    assert cost is None


@on_sqlite
def test_a_test_call_goes_through_the_very_client(own: Platform, upstream: ScriptedUpstream) -> None:
    called = own.test_call("shop", MODEL, "Hi", provider="anthropic")
    assert called.sentence == "Hello from the scripted upstream."
    upstream.keys[CLAUDE_KEY] = "anthropic.no_model"
    assert "model: claude-0" in own.test_call("shop", MODEL, "Hi", provider="anthropic").sentence


def test_an_sdk_that_does_not_fit_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for version in ("1.99.0", "2.13.9", "3.0.0"):
        monkeypatch.setattr("anthropic.__version__", version)
        with pytest.raises(SdkUnsupported, match=rf"anthropic {version} does not fit.*anthropic>=2.14,<3"):
            sdk.require_supported()


def test_the_range_that_is_checked_is_the_range_that_is_required() -> None:
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    oldest, below = (".".join(map(str, end)) for end in (sdk.OLDEST, sdk.BELOW))
    assert f"anthropic>={oldest},<{below}" in wanted
