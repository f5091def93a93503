"""Promise 8: every priced row gives its cost back from its own columns, stored and exported, and comes back in so."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from dataclasses import replace
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from pyarrow import parquet

from lib.exchange.export import export_usage
from lib.exchange.imports.import_usage import import_usage
from lib.ledger.attempts import AttemptResult, RequestProfile
from lib.ledger.ledger import Ledger
from lib.pricing.prices import PriceBook, Tokens
from lib.pricing.tool_calls import ToolCalls
from lib.reports.models import UsageFilter
from tests.spending import ADMIN, LEASE, Shop, open_shop

NOVEMBER = 1_795_910_400_000_000  # 2026-11-29
MODELS = (
    "gpt-5",
    "gpt-5.5",
    "gpt-5.6-sol",
    "gpt-5.6-luna",
    "gpt-6.1-terra",
    "gpt-4o",
    "o3",
    "gpt-chat-latest",
)
_QUANTITIES = {
    "cached_input_tokens": "price_cached_input",
    "cache_write_tokens": "price_cache_write",
    "cache_write_1h_tokens": "price_cache_write_1h",
    "output_tokens": "price_output",
}


@pytest.fixture
def shop(database_url: str) -> Iterator[Shop]:
    with open_shop(database_url, lambda: NOVEMBER) as shop:
        shop.ledger = Ledger(shop.database, shop.keys, PriceBook(), ADMIN)
        shop.save_key()
        yield shop


@some.composite
def outcomes(draw: some.DrawFn) -> tuple[str, AttemptResult]:
    """A call of any size, tier and region, with cache reads and writes and hosted tools."""
    given_, made = draw(some.integers(1, 400_000)), draw(some.integers(0, 50_000))
    cached = draw(some.integers(0, given_))
    written = draw(some.just(0) | some.integers(0, given_ - cached))
    outcome = AttemptResult(
        "ok",
        Tokens(given_, cached, made, draw(some.integers(0, made)), written),
        200,
        served_model=draw(some.sampled_from(MODELS)),
        service_tier=draw(some.sampled_from((None, "default", "flex", "priority", "batch", "scale"))),
        tool_calls=draw(
            some.just(ToolCalls()) | some.builds(ToolCalls, some.integers(0, 9), some.integers(0, 9))
        ),
    )
    return draw(some.sampled_from(("", "eu"))), outcome


def profile(region: str) -> RequestProfile:
    return RequestProfile("responses", "gpt-5", 1, 1, 1, False, None, False, False, region=region)


def recomputed(row: Mapping[str, Any]) -> Decimal:
    """A row's cost in USD by the documented sum (docs/exports.md), with nothing but the row."""
    number = {name: Decimal(row[name] or 0) for name in (*_QUANTITIES, *_QUANTITIES.values())}
    parts = sum(number[name] for name in _QUANTITIES if name != "output_tokens")
    product = (Decimal(row["input_tokens"]) - parts) * Decimal(row["price_input"])
    product += sum(number[name] * number[price] for name, price in _QUANTITIES.items())
    exact = product / 1_000_000 + Decimal(row["fees_usd"] or 0)
    return exact.quantize(Decimal("1e-9"), ROUND_HALF_EVEN)


def exported(shop: Shop, kind: str) -> bytes:
    out = io.BytesIO()
    export_usage(shop.database, UsageFilter(), out, actor=ADMIN, format=kind)
    return out.getvalue()


@settings(max_examples=4)
@given(calls=some.lists(outcomes(), min_size=20, max_size=30))
def test_every_priced_row_gives_its_cost_back(shop: Shop, calls: list[tuple[str, AttemptResult]]) -> None:
    run = shop.start()
    for region, outcome in calls:
        call = shop.ledger.open(run, profile(region), lease=LEASE)
        shop.ledger.settle(call, outcome)
    lines = list(csv.DictReader(io.StringIO(exported(shop, "csv").decode(), newline="")))
    rows = parquet.read_table(io.BytesIO(exported(shop, "parquet"))).to_pylist()
    for row in (*lines, *rows):
        if row["cost_usd"] not in {"", None}:
            assert recomputed(row) == Decimal(row["cost_usd"]), row
            assert row["price_table"].startswith("genai-prices-")
    assert len(lines) >= len(calls)


def test_what_was_exported_comes_back_in_to_the_same_rows(shop: Shop) -> None:
    run = shop.start()
    used = Tokens(10_000, 2_000, 1_000, 0, 3_000)
    sol = AttemptResult("ok", used, 200, served_model="gpt-5.6-sol")
    for region, outcome in (
        ("eu", replace(sol, service_tier="flex")),
        ("", replace(sol, tool_calls=ToolCalls(2, 1))),
        ("eu", replace(sol, service_tier="scale")),
    ):
        shop.ledger.settle(shop.ledger.open(run, profile(region), lease=LEASE), outcome)
    for kind in ("csv", "parquet"):
        before = exported(shop, kind)
        with shop.database.write() as connection:
            connection.exec_driver_sql("DELETE FROM usage_events")
        done = import_usage(shop.database, PriceBook(), io.BytesIO(before), name="back", actor=ADMIN)
        assert (done.added, done.unpriced) == (3, 1)
        assert exported(shop, kind) == before


def test_a_row_without_a_cost_is_priced_with_its_cache_writes(shop: Shop) -> None:
    content = (
        "occurred_at,project,model,input_tokens,cached_input_tokens,cache_write_tokens,output_tokens\n"
        "2026-11-21T00:00:00Z,shop,gpt-5.6-sol,10000,2000,3000,1000\n"
    )
    import_usage(shop.database, PriceBook(), io.BytesIO(content.encode()), name="writes.csv", actor=ADMIN)
    (row,) = csv.DictReader(io.StringIO(exported(shop, "csv").decode(), newline=""))
    assert (row["cost_usd"], row["cache_write_tokens"], row["price_cache_write"]) == ("0.0558", "3000", "5")
    assert recomputed(row) == Decimal("0.0558")
