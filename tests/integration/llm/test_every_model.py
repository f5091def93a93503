"""What each model's call costs equals a sum worked out here by hand, or is unknown; it is never less.

The sum reads the table's figures as they are published, and shares no arithmetic with the product or with the table's
own library. Calls go over real HTTP, and the cost is what the exported row says.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import ROUND_HALF_EVEN, Decimal
from typing import TYPE_CHECKING, Any

import pytest
from genai_prices.data_snapshot import get_snapshot

from lib.exchange.export import export_usage
from lib.reports.models import UsageFilter
from tests.calls import on_sqlite
from tests.upstream import Behaviour

if TYPE_CHECKING:
    from lib.platform import Platform
    from tests.upstream import ScriptedUpstream

pytestmark = on_sqlite
_NANO = Decimal("1e-9")
_TABLE = {
    model.id: model
    for provider in get_snapshot().providers
    if provider.id == "openai"
    for model in provider.models
}
_NOT_BY_TEXT = (
    "audio",
    "image",
    "realtime",
    "transcribe",
    "tts",
    "whisper",
    "search",
    "research",
    "live",
    "embedding",
)
TEXT = sorted(
    name
    for name in _TABLE
    if name[:3] in {"gpt", "o1", "o1-", "o3", "o3-", "o4-"} and not any(word in name for word in _NOT_BY_TEXT)
)
DATED = {
    f"{name}-2026-03-05": name for name in ("gpt-5", "gpt-5.4", "gpt-5.6-sol", "gpt-4o", "o3", "gpt-4.1-mini")
}
FINE_TUNED = {
    "ft:gpt-4o-2024-08-06:acme::1": "ft:gpt-4o",
    "ft:gpt-4o-mini-2024-07-18:acme::1": "ft:gpt-4o-mini",
    "ft:gpt-3.5-turbo:acme::1": "ft:gpt-3.5-turbo-",
}


@dataclass(frozen=True)
class Used:
    """What one call used, and what its answer tells besides."""

    input: int = 10_000
    cached: int = 0
    written: int = 0
    output: int = 1_000
    reasoning: int = 0
    details: dict[str, int] = field(default_factory=dict)
    answer: dict[str, Any] = field(default_factory=dict)
    items: tuple[dict[str, Any], ...] = ()
    tier: dict[str, str] = field(default_factory=dict)
    searches: int = 0
    more_than_told: bool = False
    """Something is billed that no figure of the table prices by these tokens."""


SEARCH = {
    "type": "web_search_call",
    "id": "ws_1",
    "status": "completed",
    "action": {"type": "search", "query": "x"},
}
IMAGE = {"type": "image_generation_call", "id": "ig_1", "status": "completed", "result": "aW1n"}
CASES = {
    "plain": Used(),
    "cached": Used(cached=8_000),
    "cache write": Used(cached=2_000, written=3_000),
    "long context": Used(300_000, cached=100_000),
    "reasoning": Used(reasoning=900),
    "flex": Used(cached=2_000, answer={"service_tier": "flex"}, tier={"service_tier": "flex"}),
    "priority": Used(cached=2_000, answer={"service_tier": "priority"}, tier={"service_tier": "priority"}),
    "batch": Used(cached=2_000, answer={"service_tier": "batch"}, tier={"processing": "batch"}),
    "audio": Used(details={"audio_tokens": 5_000}, more_than_told=True),
    "image": Used(items=(IMAGE,), more_than_told=True),
    "search": Used(
        items=(SEARCH,) * 3, searches=3, answer={"tool_usage": {"web_search": {"num_requests": 3}}}
    ),
}


# --- the sum by hand -----------------------------------------------------------------------------------


def price(figure: Any, input_tokens: int) -> Decimal | None:
    """USD for a million: the call's size decides where there are several."""
    if figure is None or isinstance(figure, Decimal | int):
        return None if figure is None else Decimal(figure)
    above = [tier.price for tier in figure.tiers if input_tokens > tier.start]
    return Decimal(above[-1] if above else figure.base)


def figures(model: str, tier: dict[str, str]) -> tuple[Any, Any] | None:
    """The newest figures of a model: of this tier, and of the standard one (for fees); None where none are stated."""
    info = _TABLE[model]
    newest = info.prices[-1].prices if isinstance(info.prices, list) else info.prices
    if not tier:
        return newest, newest
    stated = [each.prices for each in info.price_variants or () if each.when == tier]
    return (stated[0], newest) if stated and stated[0].input_mtok is not None else None


def by_hand(model: str, used: Used) -> Decimal | None:
    """What a call costs in USD; None where the table does not say."""
    found = figures(model, used.tier)
    if found is None or used.more_than_told:
        return None
    told, standard = found
    dollars = {
        name: price(getattr(told, f"{name}_mtok"), used.input)
        for name in ("input", "cache_read", "cache_write", "output")
    }
    if dollars["cache_write"] is None:
        dollars["cache_write"] = dollars["input"]  # older models write for free: the input alone is billed
    if standard.cache_read_mtok is None:
        dollars["cache_read"] = dollars[
            "input"
        ]  # without a discount anywhere, what is read again is plain input
    amounts = {
        "input": used.input - used.cached - used.written,
        "cache_read": used.cached,
        "cache_write": used.written,
        "output": used.output,
    }
    if any(dollars[name] is None for name, tokens in amounts.items() if tokens):
        return None
    total = sum((Decimal(amounts[name]) * (dollars[name] or 0) for name in amounts), Decimal()) / 1_000_000
    if used.searches:
        fee = price(standard.web_searches_kcount, used.input)
        if fee is None:
            return None
        total += fee * used.searches / 1000
    return total.quantize(_NANO, ROUND_HALF_EVEN)


def at_least(model: str, used: Used) -> Decimal:
    """What no honest sum goes below, whatever else is billed: the cheapest figures for these tokens."""
    found = figures(model, used.tier) or figures(model, {})
    assert found is not None
    read = price(found[0].cache_read_mtok, used.input)
    whole, made = (
        price(getattr(found[0], name), used.input) or Decimal() for name in ("input_mtok", "output_mtok")
    )
    cached = used.cached * min(whole, whole if read is None else read)
    return ((used.input - used.cached) * whole + cached + used.output * made) / 1_000_000


# --- the calls -----------------------------------------------------------------------------------------


def answered(model: str, used: Used) -> Behaviour:
    text = {"type": "output_text", "text": "Done.", "annotations": []}
    said = {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": [text]}
    details = {"cached_tokens": used.cached, "cache_write_tokens": used.written, **used.details}
    usage = {
        "input_tokens": used.input,
        "input_tokens_details": details,
        "output_tokens": used.output,
        "output_tokens_details": {"reasoning_tokens": used.reasoning},
        "total_tokens": used.input + used.output,
    }
    body = {
        "id": "resp_1",
        "object": "response",
        "created_at": 1_796_000_000,
        "status": "completed",
        "model": model,
    }
    return Behaviour(status=200, json={**body, "output": [*used.items, said], "usage": usage, **used.answer})


def costs(
    platform: Platform, upstream: ScriptedUpstream, models: dict[str, str], used: Used
) -> Iterator[tuple[str, str]]:
    """Each model and what its exported row says that its call costs, empty where unknown."""
    with platform.run("shop") as run:
        client = run.openai.with_options(max_retries=0)
        asked: dict[str, Any] = {"tools": [{"type": "web_search"}]} if used.searches else {}
        for model in models:
            upstream.queue(answered(model, used))
            client.responses.create(model=model, input="Say done.", max_output_tokens=2_000, **asked)
    out = io.BytesIO()
    export_usage(platform.database, UsageFilter(), out, actor=platform.actor, format="csv")
    for row in csv.DictReader(io.StringIO(out.getvalue().decode())):
        yield row["model"], row["cost_usd"]


@pytest.mark.parametrize("case", CASES)
def test_the_cost_of_every_model_is_the_sum_by_hand_or_unknown_and_never_less(
    byok: Platform, upstream: ScriptedUpstream, case: str
):
    used = CASES[case]
    models = {name: name for name in TEXT} | DATED | FINE_TUNED
    found = dict(costs(byok, upstream, models, used))
    assert found.keys() == models.keys()
    assert len(found) >= 60
    known = {model: Decimal(cost) for model, cost in found.items() if cost}
    by_table = {model: by_hand(models[model], used) for model in known}
    assert {model: (known[model], sum_) for model, sum_ in by_table.items() if sum_ != known[model]} == {}
    assert [
        model for model, cost in known.items() if cost < at_least(models[model], used).quantize(_NANO)
    ] == []
    assert bool(known) != used.more_than_told
