"""The proof of the seam: a provider that differs in everything goes the whole way, without a change in lib.

It stands in tests/toy/, made after CONTRIBUTING.md ("Add a provider"): other header, other keys, other errors, the
model in the address, lines of JSON in place of events, other names of tokens.
"""

from __future__ import annotations

import asyncio
import base64
import csv
import io
import json
import logging
import os
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert

from lib.access.auditlog import AuditFilter
from lib.db.tables import audit_log
from lib.errors import (
    BadInput,
    CapExceeded,
    KeyLocked,
    KeyMalformed,
    KeyMissing,
    KeyRejected,
    NotMetered,
    PriceUnknown,
    TooManyChecks,
)
from lib.exchange.export import export_usage
from lib.llm import registry
from lib.platform import Platform
from lib.reports.models import UsageFilter
from lib.secret import Secret, redact
from lib.settings import Settings
from lib.vault.rate_limit import PER_PERSON
from tests.calls import rows
from tests.toy.client import ToyError
from tests.toy.facts import TOY, ToySettings
from tests.toy.provider import Toy
from tests.toy.upstream import COUNTED, OWN_KEY, PIECES, PLATFORM_KEY, SERVICE_KEY, WRONG_KEY, ToyUpstream
from tests.upstream import GOOD_KEY, ScriptedUpstream

ENGINE = "tin-soldier-1"
PRICES = {"toy": {ENGINE: {"input": "2", "cached_input": "0.5", "output": "8"}}}
COST = (40 * 2_000 + 10 * 500 + 25 * 8_000, "0.000285")
"""Nano-USD and USD: 50 tokens read, 10 of them again, 25 made, 5 of them thoughts."""


@pytest.fixture
def toyland() -> Iterator[ToyUpstream]:
    with registry.registered(Toy()), ToyUpstream() as upstream:
        yield upstream


@pytest.fixture
def front_door(toyland: ToyUpstream, settings: Settings, tmp_path: Path) -> Iterator[Platform]:
    """A project ``shop`` without any key, and platform keys of both providers."""
    prices = tmp_path / "prices.json"
    prices.write_text(json.dumps(PRICES))
    more = {
        "toy_api_key": Secret(PLATFORM_KEY),
        "toy_base_url": toyland.base_url,
        "openai_api_key": Secret(GOOD_KEY),
        "prices_file": prices,
    }
    with_toy = ToySettings.model_construct(**(dict(settings) | more))
    platform = Platform(with_toy)
    platform.projects.add("shop", actor=platform.actor)
    yield platform
    platform.close()


@pytest.fixture
def own(front_door: Platform) -> Platform:
    """The same, and ``shop`` has a key of its own."""
    front_door.keys.save("shop", OWN_KEY, provider="toy")
    return front_door


def generate(platform: Platform, **more: Any) -> bytes:
    with platform.run("shop") as run:
        return bytes(run.client("toy").generate(ENGINE, "Tell a tale", **more))


# --- keys ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", [OWN_KEY, SERVICE_KEY])
def test_a_key_of_either_kind_is_checked_with_its_own_header_and_saved(
    front_door: Platform, toyland: ToyUpstream, key: str
) -> None:
    state = front_door.keys.save("shop", f" {key}\n", provider="toy")
    assert (state.provider, state.source, state.status, state.last4) == ("toy", "byok", "working", key[-4:])
    [asked] = toyland.script.asked
    assert (asked.path, asked.key) == ("/v9/engines", key)
    assert "authorization" not in asked.headers


def test_each_provider_has_a_key_a_version_and_a_policy_of_its_own(own: Platform) -> None:
    own.keys.save("shop", GOOD_KEY)
    own.projects.set_policy("shop", "platform", actor=own.actor, provider="toy")
    toy, first = own.keys.describe("shop", provider="toy"), own.keys.describe("shop")
    assert (toy.last4, toy.version, toy.on_key_failure) == (OWN_KEY[-4:], 1, "platform")
    assert (first.last4, first.version, first.on_key_failure) == (GOOD_KEY[-4:], 1, "stop")
    own.keys.remove("shop", provider="toy")
    assert own.keys.describe("shop", provider="toy").status == "none"
    assert own.keys.resolve("shop").last4 == GOOD_KEY[-4:]
    assert own.unsealed.find(actor=own.actor) == []


def test_a_rejected_key_is_not_saved_and_the_providers_words_are_shown(own: Platform) -> None:
    with pytest.raises(KeyRejected, match="Toyland rejected this key: No play with") as refused:
        own.keys.save("shop", WRONG_KEY, provider="toy")
    assert (refused.value.code, refused.value.request_id) == ("KEY_UNKNOWN", "trace-2")
    assert WRONG_KEY not in str(refused.value)
    assert own.keys.resolve("shop", provider="toy").last4 == OWN_KEY[-4:]


def test_a_key_of_another_provider_is_told_apart_without_asking(
    front_door: Platform, toyland: ToyUpstream
) -> None:
    for key in (GOOD_KEY, "toy.admin.00000000"):
        with pytest.raises(KeyMalformed):
            front_door.keys.save("shop", key, provider="toy")
    assert toyland.script.asked == []


def test_a_saved_key_that_fails_a_check_is_shown_as_failing(own: Platform, toyland: ToyUpstream) -> None:
    toyland.script.keys[OWN_KEY] = "wrong"
    state = own.keys.check("shop", provider="toy")
    assert (state.status, state.failure, state.failure_code) == ("failing", "rejected", "KEY_UNKNOWN")
    assert own.keys.describe("shop").status == "none"


def test_a_key_row_moved_to_another_provider_opens_for_neither(own: Platform) -> None:
    own.keys.save("shop", GOOD_KEY)
    with own.database.write() as connection:
        connection.exec_driver_sql("UPDATE provider_keys SET provider = 'x' WHERE provider = 'toy'")
        connection.exec_driver_sql("UPDATE provider_keys SET provider = 'toy' WHERE provider = 'openai'")
    for provider in ("toy", "openai"):
        with pytest.raises(KeyLocked):
            own.keys.resolve("shop", provider=provider)


def test_the_policy_of_a_provider_cannot_be_changed_past_the_seal(own: Platform) -> None:
    with own.database.write() as connection:
        connection.exec_driver_sql(
            "UPDATE projects SET sealed_keys = sealed_keys || ';toy.on_key_failure=platform'"
        )
    with pytest.raises(KeyLocked):
        own.keys.resolve("shop", provider="toy")
    with pytest.raises(KeyLocked):
        generate(own)
    assert rows(own) == []


def test_the_audit_log_says_whose_key_it_was(own: Platform) -> None:
    own.keys.save("shop", GOOD_KEY)
    found, _ = own.audit.list(AuditFilter(actions=("key",)), actor=own.actor)
    told = [(row.action, json.loads(row.after or "{}")["provider"]) for row in found]
    assert told == [("key:saved", "openai"), ("key:saved", "toy")]


def test_rows_of_releases_with_one_provider_are_found_and_count_as_refused_keys(own: Platform) -> None:
    row = {"actor": own.actor.name, "origin": "worker", "action": "key:openai:refused"}
    with own.database.write() as connection:
        now = own.database.now(connection)
        connection.execute(insert(audit_log), [row | {"at": now}] * PER_PERSON)
    found, total = own.audit.list(AuditFilter(actions=("key:refused",), limit=1), actor=own.actor)
    assert ([row.action for row in found], total) == (["key:openai:refused"], PER_PERSON)
    with pytest.raises(TooManyChecks):
        own.keys.save("shop", SERVICE_KEY, provider="toy")


def test_a_rotation_of_master_keys_keeps_each_providers_key_and_policy(own: Platform) -> None:
    own.keys.save("shop", GOOD_KEY)
    own.projects.set_policy("shop", "platform", actor=own.actor, provider="toy")
    both = Secret(f"{base64.b64encode(os.urandom(32)).decode()},{own.settings.master_keys.reveal()}")
    after = Platform(own.settings.model_copy(update={"master_keys": both}))
    assert after.masters.rotate(actor=after.actor).left == []
    assert after.keys.resolve("shop", provider="toy").secret == Secret(OWN_KEY)
    assert after.keys.resolve("shop").secret == Secret(GOOD_KEY)
    assert after.keys.describe("shop", provider="toy").on_key_failure == "platform"
    after.close()


# --- calls -----------------------------------------------------------------------------------------


def test_a_call_leaves_with_the_projects_key_of_that_provider_and_is_metered(
    own: Platform, toyland: ToyUpstream
) -> None:
    answer = json.loads(generate(own, most=100))
    assert answer["counted"] == COUNTED
    asked = toyland.script.asked[-1]
    assert (asked.path, asked.key) == (f"/v9/engines/{ENGINE}:generate", OWN_KEY)
    assert "authorization" not in asked.headers
    [row] = rows(own)
    assert (row["provider"], row["source"], row["model"], row["endpoint"]) == (
        "toy",
        "byok",
        ENGINE,
        "generate",
    )
    assert (row["status"], row["key_last4"], row["upstream_request_id"]) == ("ok", OWN_KEY[-4:], "trace-2")
    tokens = ("input_tokens", "cached_input_tokens", "output_tokens", "reasoning_tokens")
    assert tuple(row[name] for name in tokens) == (50, 10, 25, 5)
    assert row["cost_nano"] == COST[0]


def test_one_run_calls_two_providers_on_two_keys(own: Platform, upstream: ScriptedUpstream) -> None:
    own.keys.save("shop", GOOD_KEY)
    with own.run("shop") as run:
        run.openai.responses.create(model="gpt-5", input="Hi")
        run.client("toy").generate(ENGINE, "Hi")
    assert rows(own, "provider", "key_last4") == [("openai", GOOD_KEY[-4:]), ("toy", OWN_KEY[-4:])]
    assert upstream.requests[-1].key == GOOD_KEY


@pytest.mark.parametrize(
    ("ends", "status", "output"), [("over", "ok", 25), ("cut", "broken", None), ("fault", "broken", None)]
)
def test_a_stream_in_another_format_is_metered_to_its_last_word(
    own: Platform, toyland: ToyUpstream, ends: str, status: str, output: int | None
) -> None:
    toyland.script.ends = ends
    answer = generate(own, lines=True)
    lines = [json.loads(line) for line in answer.splitlines()]
    assert "".join(line.get("piece", "") for line in lines) == "".join(PIECES)
    assert rows(own, "status", "output_tokens") == [(status, output)]
    assert OWN_KEY not in answer.decode()


def test_a_stream_that_the_caller_leaves_has_an_unknown_cost(own: Platform, toyland: ToyUpstream) -> None:
    toyland.script.ends = "waits"
    with own.run("shop") as run, run.client("toy").stream(ENGINE, "Hi", lines=True) as lines:
        next(lines)
    assert rows(own, "status", "cost_nano") == [("abandoned", None)]


def test_the_asynchronous_client_is_metered_the_same_way(own: Platform) -> None:
    async def call() -> None:
        async with own.run("shop") as run:
            await run.async_client("toy").generate(ENGINE, "Hi", lines=True)

    asyncio.run(call())
    assert rows(own, "provider", "status", "cost_nano") == [("toy", "ok", COST[0])]


def test_a_query_that_changes_no_cost_may_stand_in_an_address_and_another_may_not(
    front_door: Platform,
) -> None:
    with front_door.run("shop") as run:
        http = run.client("toy")._http
        body = {"prompt": "Hi", "most": 10}
        assert http.post(f"engines/{ENGINE}:generate?as=lines", json=body).status_code == 200
        for query in ("as=gold", "as=lines&$Purse=mine"):
            with pytest.raises(NotMetered):
                http.post(f"engines/{ENGINE}:generate?{query}", json=body)


# --- money -----------------------------------------------------------------------------------------


def test_a_platform_funded_call_reserves_a_ceiling_at_the_providers_price(
    front_door: Platform, toyland: ToyUpstream
) -> None:
    generate(front_door)
    asked = toyland.script.asked[-1]
    assert asked.key == PLATFORM_KEY
    assert asked.body["most"] > 0, "A request without a limit gets the plan's."
    [row] = rows(front_door)
    assert (row["source"], row["cost_nano"], row["key_last4"]) == ("platform", COST[0], PLATFORM_KEY[-4:])
    headroom = front_door.caps.headroom("shop", actor=front_door.actor)
    assert {window.used_nano for window in headroom.windows.values()} == {COST[0]}


def test_caps_count_all_providers_together_and_refuse_before_anything_is_sent(
    front_door: Platform, toyland: ToyUpstream
) -> None:
    with front_door.run("shop") as run:
        front_door.plans.set_caps(
            "shop", cap_5h_nano=1, cap_7d_nano=1, reason="a test", ends_at=None, actor=front_door.actor
        )
        with pytest.raises(CapExceeded):
            run.client("toy").generate(ENGINE, "Hi", most=1_000)
    assert toyland.script.asked == []
    assert run.status == "budget_exceeded"


def test_without_a_price_or_a_ceiling_nothing_is_sent_on_platform_money(
    front_door: Platform, toyland: ToyUpstream
) -> None:
    with front_door.run("shop") as run:
        with pytest.raises(PriceUnknown):
            run.client("toy").generate("gpt-5", "A model of another provider has no price here")
        with pytest.raises(NotMetered):
            run.client("toy").generate(ENGINE, "Hi", picture="…")
        with pytest.raises(NotMetered):
            run.client("toy")._http.post("engines", json={})
    assert toyland.script.asked == []


def test_without_any_key_the_sentence_names_the_provider_and_its_variable(front_door: Platform) -> None:
    front_door.settings.__dict__["toy_api_key"] = None
    poor = Platform(front_door.settings)
    with poor.run("shop") as run, pytest.raises(KeyMissing, match="Add your Toyland key") as missing:
        run.client("toy").generate(ENGINE, "Hi")
    assert "QODEX_TOY_API_KEY" in missing.value.for_operator
    poor.close()


# --- failing keys ----------------------------------------------------------------------------------


def test_a_failing_key_stops_by_default_whatever_another_provider_may_do(
    own: Platform, toyland: ToyUpstream
) -> None:
    own.projects.set_policy("shop", "platform", actor=own.actor)  # of the other provider
    toyland.script.keys[OWN_KEY] = "wrong"
    with pytest.raises(ToyError) as refused:
        generate(own)
    assert OWN_KEY not in str(refused.value)
    assert rows(own, "status", "error_code", "cost_nano", "source") == [("error", "KEY_UNKNOWN", 0, "byok")]
    assert own.keys.describe("shop", provider="toy").status == "failing"
    assert own.keys.describe("shop").status == "none"


def test_a_failing_key_falls_back_where_the_project_chose_so_and_the_run_log_says_it(
    own: Platform, toyland: ToyUpstream
) -> None:
    own.projects.set_policy("shop", "platform", actor=own.actor, provider="toy")
    toyland.script.keys[OWN_KEY] = "poor"
    with own.run("shop") as run:
        run.client("toy").generate(ENGINE, "Hi", most=100)
    assert rows(own, "source", "status") == [("byok", "error"), ("platform", "ok")]
    said = " ".join(line.message for line in own.runs.show(run.id, actor=own.actor).log)
    assert f"The key •••• {OWN_KEY[-4:]} failed (its account is out of money)" in said


def test_the_run_log_names_the_provider_that_rejected_the_key(own: Platform, toyland: ToyUpstream) -> None:
    toyland.script.keys[OWN_KEY] = "wrong"
    with own.run("shop") as run, pytest.raises(ToyError):
        run.client("toy").generate(ENGINE, "Hi")
    detail = own.runs.show(run.id, actor=own.actor)
    assert [call.provider for call in detail.calls] == ["toy"]
    assert detail.log[0].message.startswith(f"Toyland rejected the key •••• {OWN_KEY[-4:]}: No play with")


def test_the_health_of_the_platform_key_is_the_providers_own(
    front_door: Platform, toyland: ToyUpstream
) -> None:
    toyland.script.keys[PLATFORM_KEY] = "poor"
    with pytest.raises(ToyError):
        generate(front_door, most=10)
    assert front_door.keys.platform_state("toy").status == "failing"
    assert front_door.keys.platform_state().status == "working"


# --- after it --------------------------------------------------------------------------------------


def test_an_export_has_the_provider_its_prices_and_the_cost(own: Platform) -> None:
    generate(own, lines=True)
    out = io.BytesIO()
    export_usage(own.database, UsageFilter(providers=("toy",)), out, actor=own.actor, format="csv")
    [row] = csv.DictReader(io.StringIO(out.getvalue().decode(), newline=""))
    assert (row["provider"], row["cost_usd"], row["price_cached_input"]) == ("toy", COST[1], "0.5")
    assert own.reports.totals(UsageFilter(providers=("toy",)), actor=own.actor).total_nano == COST[0]
    assert Decimal(row["cost_usd"]) * 10**9 == COST[0]


def test_a_test_call_goes_through_the_same_client(own: Platform) -> None:
    called = own.test_call("shop", ENGINE, "Hi", provider="toy")
    assert called.sentence == "".join(PIECES)
    assert own.test_call("shop", ENGINE, "Hi", provider="toy").detail.calls[0].provider == "toy"


def test_no_log_line_at_debug_and_no_text_from_outside_holds_a_key_of_its_form(
    own: Platform, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        generate(own)
    assert "send_request_headers" in caplog.text
    assert OWN_KEY not in caplog.text
    assert redact(f"said {SERVICE_KEY}!") == "said [key hidden]!"


def test_a_provider_that_nobody_registered_takes_no_key(platform: Platform) -> None:
    platform.projects.add("shop", actor=platform.actor)
    with pytest.raises(BadInput, match="Only OpenAI, Anthropic or Google keys can be saved"):
        platform.keys.save("shop", OWN_KEY, provider="toy")
    assert TOY.name not in [each.facts.name for each in registry.live()]
