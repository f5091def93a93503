"""At a regional host newer models cost a tenth more: ceiling, cost and the row's own prices know the host."""

from __future__ import annotations

from collections.abc import Iterator

import httpx2
import pytest

from lib.ledger.attempts import AttemptResult, RequestProfile
from lib.ledger.ledger import Ledger
from lib.llm.metering.upstream_request import RequestGuard
from lib.llm.openai.provider import OpenAI
from lib.pricing.prices import PriceBook, Tokens
from lib.settings import Settings
from tests.spending import ADMIN, LEASE, Shop, open_shop

NOVEMBER = 1_795_910_400_000_000  # 2026-11-29


@pytest.fixture
def shop(database_url: str) -> Iterator[Shop]:
    with open_shop(database_url, lambda: NOVEMBER) as shop:
        shop.ledger = Ledger(shop.database, shop.keys, PriceBook(), ADMIN)
        yield shop


def asking(model: str, region: str) -> RequestProfile:
    return RequestProfile(
        endpoint="responses",
        model=model,
        input_bytes=100_000,
        output_limit=1_000,
        choices=1,
        uses_context_window=False,
        cost_unbounded=None,
        free=False,
        streaming=False,
        region=region,
    )


def settle(shop: Shop, model: str, region: str) -> tuple[int | None, ...]:
    call = shop.ledger.open(shop.start(), asking(model, region), lease=LEASE)
    shop.ledger.settle(call, AttemptResult("ok", Tokens(10_000, 0, 1_000, 0), 200, served_model=model))
    row = shop.events()[-1]
    return call.ceiling_nano, row.cost_nano, row.price_input, row.region


def test_a_newer_model_costs_a_tenth_more_at_a_regional_host(shop: Shop) -> None:
    ceiling, cost, price, region = settle(shop, "gpt-5.5", "")
    assert (cost, price, region) == (80_000_000, 5_000_000_000, None)
    assert settle(shop, "gpt-5.5", "eu") == (ceiling * 11 // 10, 88_000_000, 5_500_000_000, "eu")


def test_a_model_from_before_costs_the_same_there(shop: Shop) -> None:
    here = settle(shop, "gpt-5-mini", "")
    assert settle(shop, "gpt-5-mini", "eu") == here


def test_of_a_model_whose_date_nobody_knows_the_cost_is_unknown_and_the_ceiling_has_the_tenth(
    shop: Shop,
) -> None:
    ceiling = settle(shop, "gpt-rosalind-research", "")[0]
    assert settle(shop, "gpt-rosalind-research", "eu") == (ceiling * 11 // 10, None, None, "eu")
    assert shop.events()[-1].counted_after_nano - shop.events()[0].counted_after_nano == ceiling * 11 // 10


@pytest.mark.parametrize(
    ("base", "region"),
    [
        ("https://api.openai.com/v1", ""),
        ("https://eu.api.openai.com/v1", "eu"),
        ("http://127.0.0.1:8080/v1", ""),
    ],
)
def test_the_region_is_that_of_the_host_that_a_request_goes_to(base: str, region: str) -> None:
    request = httpx2.Request("POST", f"{base}/responses", json={"model": "gpt-5.5", "input": "Hi"})
    assert RequestGuard(OpenAI(), Settings(openai_base_url=base)).plan(request).profile.region == region
