"""Tier, model and region change what a call costs: on both ledgers that is priced and counted, or unknown."""

from __future__ import annotations

from typing import Any

import pytest

from lib.errors import CapExceeded
from lib.platform import Platform, Run
from tests.calls import both_ways, drive, on_sqlite, rows
from tests.upstream import Behaviour, ScriptedUpstream

MICRO = 1_000  # nano-USD


def answered(usage: tuple[int, int], model: str, **more: Any) -> Behaviour:
    """An answer of the Responses API that used these tokens of input and output."""
    given, made = usage
    said = {"type": "output_text", "text": "Done.", "annotations": []}
    body = {
        "id": "resp_1",
        "object": "response",
        "created_at": 1_796_000_000,
        "status": "completed",
        "model": model,
        "output": [
            {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": [said]}
        ],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": {
            "input_tokens": given,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": made,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": given + made,
        },
    }
    return Behaviour(status=200, json=body | more)


def ask(client: Any, model: str, **more: Any) -> Any:
    return client.responses.create(model=model, input="Hi", max_output_tokens=2_000, **more)


def used(shop: Platform) -> int:
    """What the project's cap of five hours counts, nano-USD."""
    return shop.caps.headroom("shop").windows["5h"].used_nano


# --- tiers -----------------------------------------------------------------------------------------


@both_ways
def test_on_the_platforms_key_a_request_that_names_no_tier_asks_for_the_standard_one(shop, upstream, way):
    for more in ({}, {"service_tier": "auto"}):
        with shop.run("shop") as run:
            drive(run, way, lambda c, more=more: ask(c, "gpt-5", **more))
    with shop.run("shop") as run:
        drive(
            run,
            way,
            lambda c: c.chat.completions.create(model="gpt-5", messages=[{"role": "user", "content": "Hi"}]),
        )
        drive(run, way, lambda c: c.embeddings.create(model="text-embedding-3-small", input="Hi"))
    assert [seen.json.get("service_tier") for seen in upstream.requests] == ["default"] * 3 + [None]


@on_sqlite
def test_a_request_on_the_projects_own_key_names_the_tier_that_it_names(byok, run, upstream):
    ask(run.openai, "gpt-5")
    ask(run.openai, "gpt-5", service_tier="auto")
    assert [seen.json.get("service_tier") for seen in upstream.requests] == [None, "auto"]


@both_ways
def test_a_project_on_flex_sees_what_it_spends(byok, run: Run, upstream: ScriptedUpstream, way):
    upstream.queue(answered((10_000, 1_000), "gpt-5-mini", service_tier="flex"))
    drive(run, way, lambda c: ask(c, "gpt-5-mini", service_tier="flex"))
    columns = ("service_tier", "cost_nano", "price_input", "price_output")
    assert rows(byok, *columns) == [("flex", 2_250 * MICRO, 125_000_000, 1_000_000_000)]


def test_the_tier_that_answers_is_priced_and_counted_where_the_account_chose_a_dearer_one(shop, upstream):
    upstream.queue(answered((40, 2_000), "gpt-5.5", service_tier="priority"))
    with shop.run("shop") as run:
        ask(run.openai, "gpt-5.5")
    assert rows(shop, "service_tier", "cost_nano") == [("priority", 150_500 * MICRO)]
    assert used(shop) == 150_500 * MICRO
    assert any(line.tag == "cap:exceeded" for line in shop.runs.show(run.id, actor=shop.actor).log)


@on_sqlite
def test_a_tier_that_is_asked_for_on_platform_money_is_reserved_at_its_own_price(shop, upstream):
    """Two thousand tokens of gpt-5.5's output cost $0.06, and $0.15 at priority."""
    shop.plans.set_caps("shop", cap_5h_nano=10**8, cap_7d_nano=10**8, reason="a test", actor=shop.actor)
    with shop.run("shop") as run, pytest.raises(CapExceeded):
        ask(run.openai, "gpt-5.5", service_tier="priority")
    with shop.run("shop") as run:
        ask(run.openai, "gpt-5.5", service_tier="flex")
    assert [seen.json["service_tier"] for seen in upstream.requests] == ["flex"]


@pytest.mark.parametrize("tier", ["scale", "Priority", "brand-new"])
def test_a_tier_without_a_price_is_unknown_and_the_ceiling_counts(shop, upstream, tier):
    upstream.queue(answered((10_000, 1_000), "gpt-5-mini", service_tier=tier))
    with shop.run("shop") as run:
        ask(run.openai, "gpt-5-mini")
    assert rows(shop, "service_tier", "cost_nano", "price_input") == [(tier, None, None)]
    assert used(shop) > 4_000 * MICRO  # 2,000 tokens of output alone


# --- the model that answers ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("served", "cost"),
    [
        ("gpt-5-2025-08-07", 22_500),
        ("gpt-5-pro", 270_000),
        ("gpt-5-nano", 900),
        ("gpt-5-ultra-max-2027", None),
    ],
)
def test_the_model_that_answers_is_kept_priced_and_counted(shop, upstream, served, cost):
    upstream.queue(answered((10_000, 1_000), served))
    with shop.run("shop") as run:
        ask(run.openai, "gpt-5")
    nano = None if cost is None else cost * MICRO
    assert rows(shop, "model", "served_model", "cost_nano") == [("gpt-5", served, nano)]
    counted = used(shop)
    assert counted == nano if nano is not None else counted > 20_000 * MICRO
