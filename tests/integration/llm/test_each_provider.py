"""What holds for the genuine SDK of every provider: keys, caps, ends of streams, dying workers, the environment."""

from __future__ import annotations

import copy
import gc
import os
import pickle
import subprocess
import sys
from typing import Any

import pytest
from sqlalchemy import select

from lib.db.tables import accounts, open_calls
from lib.errors import CapExceeded, KeyMissing, KeyRejected, NotMetered, QodexError, RunEnded
from lib.platform import Platform
from tests.calls import both_ways, on_sqlite, rows
from tests.environments import HOSTILE
from tests.providers import PROVIDERS, USED, ProviderCase, drive, of_each_provider
from tests.services import ROOT
from tests.upstream import REPLY, ScriptedUpstream

pytestmark = on_sqlite

# --- keys ------------------------------------------------------------------------------------------


@of_each_provider
def test_a_rejected_key_does_not_take_the_place_of_the_one_in_use(
    on_own_key: Platform, provider: ProviderCase
) -> None:
    with pytest.raises(KeyRejected):
        on_own_key.keys.save("shop", provider.wrong_key, provider=provider.name)
    assert on_own_key.keys.resolve("shop", provider=provider.name).last4 == provider.key[-4:]


@of_each_provider
def test_the_first_call_after_a_change_of_the_key_uses_the_new_one(
    on_own_key: Platform, provider: ProviderCase, upstream: ScriptedUpstream
) -> None:
    with on_own_key.run("shop") as run:
        client = run.client(provider.name)
        for key in [provider.other_key, provider.key] * 3:
            on_own_key.keys.save("shop", key, provider=provider.name)
            provider.ask(client)
            assert upstream.requests[-1].key == key
        on_own_key.keys.remove("shop", provider=provider.name)
        provider.ask(client)
        assert upstream.requests[-1].key == provider.platform_key
    assert rows(on_own_key, "source", "cost_nano") == [("byok", provider.cost)] * 6 + [
        ("platform", provider.cost)
    ]


@of_each_provider
def test_without_any_key_the_sentence_names_the_provider(
    platform: Platform, provider: ProviderCase, upstream: ScriptedUpstream
) -> None:
    platform.projects.add("shop", actor=platform.actor)
    title = {"openai": "OpenAI", "anthropic": "Anthropic", "google": "Google"}[provider.name]
    with platform.run("shop") as run, pytest.raises(KeyMissing, match=f"Add your {title} key"):
        provider.ask(run.client(provider.name), retries=2)
    assert upstream.requests == []


@of_each_provider
def test_a_failing_key_falls_back_only_where_the_project_chose_so(
    on_own_key: Platform, provider: ProviderCase, upstream: ScriptedUpstream
) -> None:
    for how in ("revoked", "out_of_money"):
        upstream.keys[provider.key] = provider.told(how)
        with on_own_key.run("shop") as run, pytest.raises(provider.error):
            provider.ask(run.client(provider.name))
    state = on_own_key.keys.describe("shop", provider=provider.name)
    assert (state.status, state.failure) == ("failing", "out_of_money")
    others = [
        on_own_key.keys.describe("shop", provider=name).status for name in PROVIDERS.keys() - {provider.name}
    ]
    assert others == ["none"] * 2
    on_own_key.projects.set_policy("shop", "platform", actor=on_own_key.actor, provider=provider.name)
    with on_own_key.run("shop") as run:
        provider.ask(run.client(provider.name))
    assert rows(on_own_key, "source", "status") == [("byok", "error")] * 3 + [("platform", "ok")]


@of_each_provider
def test_a_test_call_goes_through_the_very_client(
    on_own_key: Platform, provider: ProviderCase, upstream: ScriptedUpstream
) -> None:
    assert on_own_key.test_call("shop", provider.model, "Hi", provider=provider.name).sentence == REPLY
    upstream.keys[provider.key] = "captive_portal"
    called = on_own_key.test_call("shop", provider.model, "Hi", provider=provider.name)
    assert "not in a form that can be read" in called.sentence
    upstream.keys[provider.key] = provider.told("no_model")
    called = on_own_key.test_call("shop", provider.model, "Hi", provider=provider.name)
    assert provider.told("no_model") in {"no_model", "anthropic.no_model", "google.no_model"}
    assert any(
        words in called.sentence for words in ("model `gpt-5-mini`", "claude-0", "gemini-0 is not found")
    )


# --- money -----------------------------------------------------------------------------------------


def test_one_run_calls_every_provider_on_keys_of_either_kind_and_one_budget(
    funded: Platform, upstream: ScriptedUpstream
) -> None:
    """A conversation: each answers what the one before it said."""
    for name in ("openai", "anthropic"):
        funded.keys.save("shop", PROVIDERS[name].key, provider=name)
    with funded.run("shop", token_budget=1_000) as run:
        first = run.openai.responses.create(model="gpt-5", input="Hi").output_text
        say = [{"role": "user", "content": first}]
        second = run.anthropic.messages.create(model="claude-opus-4-6", max_tokens=9, messages=say)
        PROVIDERS["google"].ask(run.google, contents=second.content[0].text)
    assert rows(funded, "provider", "source", "key_last4", "cost_nano") == [
        ("openai", "byok", PROVIDERS["openai"].key[-4:], PROVIDERS["openai"].cost),
        ("anthropic", "byok", PROVIDERS["anthropic"].key[-4:], PROVIDERS["anthropic"].cost),
        ("google", "platform", PROVIDERS["google"].platform_key[-4:], PROVIDERS["google"].cost),
    ]
    assert [seen.speaks for seen in upstream.requests[-3:]] == list(PROVIDERS)
    assert funded.runs.show(run.id, actor=funded.actor).run.tokens == 3 * USED
    used = funded.caps.headroom("shop", actor=funded.actor).windows.values()
    assert {window.used_nano for window in used} == {PROVIDERS["google"].cost}, (
        "Caps count the platform's alone."
    )


def test_caps_count_all_providers_together(funded: Platform, upstream: ScriptedUpstream) -> None:
    with funded.run("shop") as run:
        for provider in PROVIDERS.values():
            provider.ask(run.client(provider.name))
        spent = sum(provider.cost for provider in PROVIDERS.values())
        assert _used(funded) == {spent}
        _cap(funded, spent)
        for provider in PROVIDERS.values():
            with pytest.raises(CapExceeded):
                provider.ask(run.client(provider.name))
    assert len(upstream.requests) == 3


def _used(platform: Platform) -> set[int]:
    windows = platform.caps.headroom("shop", actor=platform.actor).windows.values()
    return {window.used_nano for window in windows}


def _cap(platform: Platform, nano: int = 1) -> None:
    platform.plans.set_caps("shop", cap_5h_nano=nano, cap_7d_nano=nano, reason="a test", actor=platform.actor)


@both_ways
@pytest.mark.parametrize("stream", [False, True])
@of_each_provider
def test_at_the_cap_the_call_stops_before_anything_is_sent_and_is_not_tried_again(
    funded: Platform, provider: ProviderCase, upstream: ScriptedUpstream, way: str, stream: bool
) -> None:
    with funded.run("shop") as run:
        _cap(funded)
        with pytest.raises(CapExceeded) as refusal:
            drive(run, provider, way, lambda client: provider.ask(client, retries=2, stream=stream))
    assert (refusal.value.__cause__, upstream.requests, rows(funded)) == (None, [], [])
    assert run.status == "budget_exceeded"
    assert len(funded.runs.show(run.id, actor=funded.actor).log) == 1


# --- ends ------------------------------------------------------------------------------------------


@of_each_provider
def test_a_stream_that_the_caller_leaves_has_an_unknown_cost(
    on_own_key: Platform, provider: ProviderCase
) -> None:
    with on_own_key.run("shop") as run:
        stream = provider.ask(run.client(provider.name), stream=True)
        next(stream)
        stream.close()
        del stream  # Google's leaves its answer to the collector
        gc.collect()
    assert rows(on_own_key, "status", "cost_nano") == [("abandoned", None)]


@of_each_provider
def test_after_the_run_nothing_leaves(
    on_own_key: Platform, provider: ProviderCase, upstream: ScriptedUpstream
) -> None:
    with on_own_key.run("shop") as run:
        client = run.client(provider.name)
    for way in ("sync", "async"):
        with pytest.raises(RunEnded):
            provider.ask(client) if way == "sync" else drive(run, provider, way, provider.ask)
    assert upstream.requests == []


@both_ways
@of_each_provider
def test_each_attempt_of_the_sdk_has_a_row(
    on_own_key: Platform, provider: ProviderCase, upstream: ScriptedUpstream, way: str
) -> None:
    answered = {
        "openai": (503, "server_error"),
        "anthropic": (529, "overloaded_error"),
        "google": (503, "UNAVAILABLE"),
    }
    upstream.queue(provider.told("overloaded"))
    with on_own_key.run("shop") as run:
        drive(run, provider, way, lambda client: provider.ask(client, retries=1))
    assert rows(on_own_key, "status", "cost_nano", "http_status", "error_type") == [
        ("error", 0, *answered[provider.name]),
        ("ok", provider.cost, 200, None),
    ]


_WORKER = """
import os, sys
from lib import Platform
from tests.environments import HOSTILE
from tests.providers import PROVIDERS
provider = PROVIDERS[sys.argv[1]]
with Platform.from_env().run("shop") as run:
    for number, event in enumerate(provider.ask(run.client(provider.name), stream=True)):
        if number == 2:
            os.kill(os.getpid(), 9)
"""


@of_each_provider
def test_a_worker_that_is_killed_in_a_stream_leaves_its_ceiling_reserved_and_one_open_call(
    funded: Platform, provider: ProviderCase, upstream: ScriptedUpstream
) -> None:
    assert funded.settings.master_keys
    key, address = provider.variables
    environment = os.environ | {
        "DATABASE_URL": funded.settings.database_url,
        "QODEX_MASTER_KEYS": funded.settings.master_keys.reveal(),
        key: provider.platform_key,
        address: funded.settings.provider(provider.name).base_url,
        "PYTHONPATH": str(ROOT),
    }
    upstream.queue("slow_stream")
    command = [sys.executable, "-W", "ignore", "-c", _WORKER, provider.name]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, timeout=120, check=False)
    assert done.returncode == -9, done.stderr.decode()
    with funded.database.read() as connection:
        opened = connection.execute(select(open_calls)).one()
        reserved = connection.execute(select(accounts.c.reserved_nano)).scalar_one()
    assert (opened.provider, opened.model) == (provider.name, provider.model)
    assert reserved == opened.ceiling_nano > 0


# --- copies ----------------------------------------------------------------------------------------


@of_each_provider
def test_what_copies_a_client_gives_a_metered_one_or_none(
    on_own_key: Platform, provider: ProviderCase, upstream: ScriptedUpstream
) -> None:
    with on_own_key.run("shop") as run:
        clients = run.client(provider.name), getattr(run, f"async_{provider.name}")
        provider.ask(copy.copy(clients[0]))
        for client in clients:
            for way in (copy.deepcopy, pickle.dumps):
                with pytest.raises(TypeError):
                    way(client)
    with pytest.raises(QodexError):
        provider.ask(copy.copy(clients[0]))
    assert ([seen.key for seen in upstream.requests], rows(on_own_key, "status")) == ([provider.key], ["ok"])


# --- a hostile environment -------------------------------------------------------------------------


@pytest.fixture
def hostile_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every variable that any of the SDKs reads, in large letters and small."""
    for name, value in HOSTILE.items():
        monkeypatch.setenv(name, value)
        monkeypatch.setenv(name.lower(), value)


@both_ways
@of_each_provider
@pytest.mark.usefixtures("hostile_environment")
def test_nothing_of_the_environment_reaches_a_request(
    on_own_key: Platform, provider: ProviderCase, upstream: ScriptedUpstream, way: str
) -> None:
    with on_own_key.run("shop") as run:
        drive(run, provider, way, provider.plainest)
        for stream in (False, True):  # by a copy, where the SDK makes one for other options
            drive(run, provider, way, lambda client, stream=stream: provider.ask(client, stream=stream))
        client = run.client(provider.name)
        inside = f"{vars(client)}{vars(getattr(client, '_api_client', client))}"
    assert [(seen.key, seen.speaks) for seen in upstream.requests] == [(provider.key, provider.name)] * 3
    assert (
        "hostile"
        not in "".join(f"{seen.headers}{seen.path}{seen.query}" for seen in upstream.requests).lower()
    )
    assert provider.other_key not in inside


_THEIRS = {
    "openai": {"OpenAI-Organization": "org-mine", "OpenAI-Project": "proj-mine", "api-key": "mine"},
    "anthropic": {
        "anthropic-workspace-id": "wrkspc_mine",
        "anthropic-organization-id": "org_mine",
        "anthropic-user-profile-id": "user_mine",
    },
    "google": {"x-goog-user-project": "mine", "X-Goog-Iam-Authorization-Token": "mine"},
}


@both_ways
@of_each_provider
def test_headers_of_the_caller_cannot_replace_the_key_or_name_another_account(
    on_own_key: Platform, provider: ProviderCase, upstream: ScriptedUpstream, way: str
) -> None:
    theirs = {
        "Authorization": f"Bearer {provider.other_key}",
        "X-Api-Key": provider.other_key,
        "X-Goog-Api-Key": provider.other_key,
        "Cookie": "a=b",
        "Proxy-Authorization": "Basic x",
        "Host": "hostile.invalid",
        "Accept-Encoding": "br",
        "X-Mine": "1",
    } | _THEIRS[provider.name]
    with on_own_key.run("shop") as run:
        drive(run, provider, way, lambda client: provider.ask(client, headers=theirs))
    [seen] = upstream.requests
    assert (seen.key, seen.headers["x-mine"]) == (provider.key, "1")
    assert (seen.headers["host"], seen.headers["accept-encoding"]) == (
        f"127.0.0.1:{upstream.port}",
        "identity",
    )
    assert provider.other_key not in str(seen.headers)
    named = {name.lower() for name in _THEIRS[provider.name]} | {"cookie", "proxy-authorization"}
    assert not named & set(seen.headers)
    carriers = {"authorization", "x-api-key", "x-goog-api-key"} & set(seen.headers)
    assert carriers == {"x-goog-api-key" if provider.name == "google" else "authorization"}


@of_each_provider
def test_a_client_whose_address_was_changed_sends_nothing(
    on_own_key: Platform, provider: ProviderCase, upstream: ScriptedUpstream
) -> None:
    with on_own_key.run("shop") as run:
        client: Any = run.client(provider.name)
        if provider.name == "google":
            client._api_client._http_options.base_url = "http://127.0.0.1:1"
        else:
            client.base_url = "http://127.0.0.1:1/v1"
        with pytest.raises(NotMetered):
            provider.plainest(client)
    assert (upstream.requests, rows(on_own_key)) == ([], [])
