"""A ceiling is never below what the call can cost, and there is none where nothing bounds it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.errors import NotMetered, PriceUnknown
from lib.ledger.attempts import RequestProfile
from lib.ledger.ceilings import ceiling
from lib.pricing.price_file import FilePrice, PriceFile
from lib.pricing.prices import PriceBook, Tokens

AT = datetime(2026, 9, 21, tzinfo=UTC)
PRICES = PriceBook()
DEFAULT = 4_096
PLAIN = RequestProfile(
    endpoint="responses",
    model="gpt-5-mini",
    input_bytes=1_000,
    output_limit=500,
    choices=1,
    uses_context_window=False,
    cost_unbounded=None,
    free=False,
    streaming=False,
)
MODELS = ("gpt-5", "gpt-5-mini", "gpt-5-nano", "gpt-4o", "gpt-4o-mini", "o4-mini")


def nano(ask: RequestProfile) -> int:
    return ceiling(ask, DEFAULT, PRICES, at=AT)[0]


@given(
    model=st.sampled_from(MODELS),
    input_bytes=st.integers(0, 2_000_000),
    output_limit=st.none() | st.integers(0, 200_000),
    choices=st.integers(1, 8),
    shares=st.tuples(*[st.floats(0, 1)] * 4),
)
def test_no_call_within_its_limits_costs_more_than_its_ceiling(
    model: str, input_bytes: int, output_limit: int | None, choices: int, shares: tuple[float, ...]
) -> None:
    """However many tokens the bytes make, and however many of them are cached or reasoning."""
    ask = replace(PLAIN, model=model, input_bytes=input_bytes, output_limit=output_limit, choices=choices)
    most, written = ceiling(ask, DEFAULT, PRICES, at=AT)
    limit = output_limit if written is None else written
    assert limit is not None
    read, said = int(input_bytes * shares[0]), int(limit * choices * shares[1])
    tokens = Tokens(read, int(read * shares[2]), said, int(said * shares[3]))
    assert PRICES.cost(model, tokens, at=AT).nano <= most
    whole = Tokens(input_bytes, 0, limit * choices, 0)
    assert PRICES.cost(model, whole, at=AT).nano <= most


def test_a_request_with_a_limit_keeps_it_and_one_without_gets_the_plans() -> None:
    assert ceiling(PLAIN, DEFAULT, PRICES, at=AT)[1] is None
    assert ceiling(replace(PLAIN, output_limit=0), DEFAULT, PRICES, at=AT)[1] is None
    assert ceiling(replace(PLAIN, output_limit=None), DEFAULT, PRICES, at=AT)[1] == DEFAULT
    assert nano(replace(PLAIN, output_limit=None)) == nano(replace(PLAIN, output_limit=DEFAULT))


def test_each_choice_may_be_as_long_as_the_limit() -> None:
    assert nano(replace(PLAIN, choices=4)) == nano(replace(PLAIN, output_limit=4 * 500))


def test_where_bytes_bound_nothing_the_context_window_does() -> None:
    window = PRICES.context_window("gpt-5-mini")
    assert window is not None
    seen = nano(replace(PLAIN, uses_context_window=True))
    assert seen >= PRICES.cost("gpt-5-mini", Tokens(window, 0, 500, 0), at=AT).nano
    assert seen == nano(replace(PLAIN, uses_context_window=True, input_bytes=10))


def test_an_unknown_context_window_is_no_ceiling() -> None:
    ours = FilePrice(1_000_000, None, None, 1_000_000, None)
    prices = PriceBook(PriceFile({("openai", "ours"): [ours]}))
    with pytest.raises(NotMetered, match="how much ours reads at most is unknown"):
        ceiling(replace(PLAIN, model="ours", uses_context_window=True), DEFAULT, prices, at=AT)


@pytest.mark.parametrize("starts", [None, date(2030, 1, 1)])
def test_a_negotiated_price_leaves_the_context_window_as_it_is(starts: date | None) -> None:
    negotiated = FilePrice(1_000_000, None, None, 1_000_000, None, starts)
    prices = PriceBook(PriceFile({("openai", "gpt-5-mini"): [negotiated]}))
    assert prices.context_window("gpt-5-mini") == PRICES.context_window("gpt-5-mini") is not None
    assert ceiling(replace(PLAIN, uses_context_window=True), DEFAULT, prices, at=AT)[0] > 0


def test_an_unknown_price_is_no_ceiling_and_never_zero() -> None:
    with pytest.raises(PriceUnknown):
        nano(replace(PLAIN, model="no-such-model"))


def test_another_tier_is_reserved_at_its_own_price_where_that_is_dearer() -> None:
    at = datetime(2026, 11, 20, tzinfo=UTC)

    def most(tier: str | None) -> int:
        return ceiling(replace(PLAIN, model="gpt-5.5", service_tier=tier), DEFAULT, PRICES, at=at)[0]

    assert most("priority") * 2 == most(None) * 5  # 2.5 times the standard price
    # Half the price, but the provider may have no room and answer at the standard tier.
    assert most("flex") == most(None)


@pytest.mark.parametrize("tier", ["scale", "ultrafast", "Priority", "['default']"])
def test_a_tier_without_a_price_is_refused_and_not_reserved_at_the_standard_one(tier: str) -> None:
    with pytest.raises(NotMetered, match="costs at the service tier that it asks for is unknown"):
        nano(replace(PLAIN, service_tier=tier))


@pytest.mark.parametrize(("model", "times"), [("gpt-5.5", 11), ("gpt-5-mini", 10), ("gpt-5.4", 11)])
def test_a_regional_host_reserves_a_tenth_more_where_it_may_cost_that(model: str, times: int) -> None:
    at = datetime(2026, 11, 20, tzinfo=UTC)
    plain = replace(PLAIN, model=model, input_bytes=10**6, output_limit=10**4)
    here, there = (ceiling(replace(plain, region=region), DEFAULT, PRICES, at=at)[0] for region in ("", "eu"))
    assert there * 10 == here * times


def test_what_nothing_bounds_says_why() -> None:
    with pytest.raises(NotMetered, match="it uses a hosted tool"):
        nano(replace(PLAIN, cost_unbounded="it uses a hosted tool"))


def test_what_is_free_has_a_ceiling_of_nothing() -> None:
    assert ceiling(replace(PLAIN, free=True, model=""), DEFAULT, PRICES, at=AT) == (0, None)


def test_embeddings_make_no_output() -> None:
    ask = replace(PLAIN, endpoint="embeddings", model="text-embedding-3-small", output_limit=0)
    assert nano(ask) >= PRICES.cost("text-embedding-3-small", Tokens(1_000, 0, 0, 0), at=AT).nano


def test_a_ceiling_is_at_least_one_nano_dollar_where_anything_is_charged() -> None:
    """An empty request still has framing around it."""
    assert nano(replace(PLAIN, input_bytes=0, output_limit=0)) > 0


def test_what_a_provider_adds_and_what_its_account_may_ask_for_are_in_the_ceiling() -> None:
    asked = replace(PLAIN, provider="anthropic", model="claude-opus-5", input_bytes=0, output_limit=0)
    at = datetime(2026, 11, 20, tzinfo=UTC)
    plain = ceiling(replace(asked, framing_tokens=2_000), DEFAULT, PRICES, at=at)[0]
    assert plain == 2_000 * 10_000  # nano-USD: the dearest token is one that is kept for an hour
    more = ceiling(replace(asked, framing_tokens=2_000, surcharge_percent=10), DEFAULT, PRICES, at=at)[0]
    assert more == plain * 11 // 10
