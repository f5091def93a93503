"""What a call costs, and the most it can cost."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal

import pytest
from genai_prices import Usage, calc_price
from genai_prices.data_snapshot import get_snapshot
from hypothesis import given
from hypothesis import strategies as some

from lib.errors import BadInput, PriceUnknown
from lib.pricing import table
from lib.pricing.amounts import parse_usd, plain_usd, usd
from lib.pricing.prices import PriceBook, Tokens
from lib.pricing.terms import Terms

BOOK = PriceBook()
NOW = datetime(2026, 11, 1, tzinfo=UTC)
LATER = datetime(2026, 11, 20, tzinfo=UTC)
MODELS = [
    model.id for provider in get_snapshot().providers if provider.id == "openai" for model in provider.models
]


@some.composite
def tokens(draw: some.DrawFn) -> Tokens:
    """Any split of any number of tokens, on both sides of the tiers that begin at 272,000."""
    whole = draw(some.integers(0, 2_000_000) | some.integers(271_990, 272_010))
    cached = draw(some.integers(0, whole))
    output = draw(some.integers(0, 300_000))
    return Tokens(
        whole, cached, output, draw(some.integers(0, output)), draw(some.integers(0, whole - cached))
    )


EARLY, LATE = datetime(2023, 1, 1), datetime(2028, 1, 1)  # noqa: DTZ001 - hypothesis adds the zone
times = some.datetimes(EARLY, LATE, timezones=some.just(UTC))


@given(some.sampled_from(MODELS), tokens(), times)
def test_cost_is_the_tables_own_arithmetic_rounded_once(model, used, at):
    try:
        cost = BOOK.cost(model, used, at=at)
    except PriceUnknown:
        return
    asked = Usage(
        input_tokens=used.input,
        cache_read_tokens=used.cached,
        cache_write_tokens=used.cache_write,
        output_tokens=used.output,
    )
    price = calc_price(asked, model, provider_id="openai", genai_request_timestamp=at).total_price
    assert int((price * 10**9).to_integral_value(ROUND_HALF_EVEN)) == cost.nano


@pytest.mark.parametrize(
    ("provider", "name", "answers"),
    [
        ("google", "gemini-flash-latest", "gemini-3.8-flash"),
        ("google", "gemini-pro-latest", "gemini-3.1-pro-preview"),
        ("google", "gemini-flash-lite-latest", "gemini-3.5-flash-lite"),
        ("openai", "gpt-chat-latest", "gpt-5.4"),
        ("openai", "chat-latest", "gpt-5.4"),
        ("anthropic", "claude-opus-latest", "claude-opus-5"),
    ],
)
def test_a_name_that_moves_has_no_price_of_its_own_but_the_model_that_answers_has(provider, name, answers):
    used, at = Tokens(1_000, 0, 10, 0), datetime(2026, 11, 20, tzinfo=UTC)
    for served in ("", name):
        with pytest.raises(PriceUnknown):
            BOOK.cost(name, used, at=at, provider=provider, terms=Terms(served_model=served, text_only=True))
    with pytest.raises(PriceUnknown):
        BOOK.ceiling(name, input_tokens=1, output_tokens=1, at=at, provider=provider)
    told = Terms(served_model=answers, text_only=True)
    plain = BOOK.cost(answers, used, at=at, provider=provider, terms=Terms(text_only=True))
    assert BOOK.cost(name, used, at=at, provider=provider, terms=told) == plain


@given(some.sampled_from(MODELS), tokens(), tokens(), times)
def test_no_call_within_a_ceiling_costs_more_than_it(model, most, used, at):
    """However its tokens split: cached, written to the cache, below a tier that costs more."""
    limits = {
        "input_tokens": max(most.input, used.input),
        "output_tokens": max(most.output, used.output),
    }
    try:
        ceiling, cost = BOOK.ceiling(model, at=at, **limits), BOOK.cost(model, used, at=at)
    except PriceUnknown:
        return
    assert cost.nano <= ceiling


@given(some.sampled_from(MODELS), tokens(), times)
def test_the_stored_unit_prices_give_the_cost_again(model, used, at):
    plain = Tokens(used.input, used.cached, used.output, used.reasoning)
    try:
        cost = BOOK.cost(model, plain, at=at)
    except PriceUnknown:
        return
    product = (
        (plain.input - plain.cached) * cost.unit.input
        + plain.cached * (cost.unit.cached_input or 0)
        + plain.output * (cost.unit.output or 0)
    )
    assert int((Decimal(product) / 1_000_000).to_integral_value(ROUND_HALF_EVEN)) == cost.nano


def test_cached_input_costs_what_the_table_says():
    cost = BOOK.cost("gpt-5", Tokens(2048, 1920, 900, 832), at=NOW)
    assert usd(cost.nano) == Decimal("0.00940")


def test_reasoning_is_part_of_the_output_and_not_priced_twice():
    assert BOOK.cost("gpt-5", Tokens(0, 0, 482, 448), at=NOW).nano == 482 * 10_000


def test_cached_tokens_leave_the_rest_at_the_full_price():
    nano = BOOK.cost("gpt-5", Tokens(20_212, 16_298, 0, 0), at=NOW).nano
    assert nano == 3_914 * 1_250 + 16_298 * 125


def test_a_long_call_pays_the_higher_tier_for_all_its_tokens():
    below = BOOK.cost("gpt-5.5", Tokens(272_000, 0, 10, 0), at=NOW)
    above = BOOK.cost("gpt-5.5", Tokens(272_001, 0, 10, 0), at=NOW)
    assert (below.unit.input, above.unit.input) == (5_000_000_000, 10_000_000_000)
    assert above.nano == 272_001 * 10_000 + 10 * 45_000


def test_a_written_cache_costs_more_where_the_table_says_so():
    assert BOOK.cost("gpt-6-sol", Tokens(1000, 0, 0, 0, 1000), at=NOW).nano == 2_500_000
    assert BOOK.cost("gpt-5", Tokens(1000, 0, 0, 0, 1000), at=NOW).nano == 1_250_000


def test_before_the_first_day_that_the_table_vouches_for_a_price_is_unknown():
    """o3 became cheaper on 10 June 2025, UTC; what the table says of the time before has no beginning."""
    one = Tokens(1_000_000, 0, 0, 0)
    assert BOOK.cost("o3", one, at=datetime(2025, 6, 10, tzinfo=UTC)).nano == 2 * 10**9
    with pytest.raises(PriceUnknown):
        BOOK.cost("o3", one, at=datetime(2025, 6, 9, 23, 59, 59, tzinfo=UTC))


@pytest.mark.parametrize(
    ("model", "day"),
    [
        ("gpt-4o", "2024-06-01"),  # $20 then, $12.50 since
        ("gpt-3.5-turbo", "2023-08-01"),
        ("o3", "2025-06-01"),
        ("gpt-4.1", "2020-01-01"),  # was not there
        ("gpt-5.6-sol", "2026-08-20"),
        ("gpt-6.1-terra", "2026-11-08"),
    ],
)
def test_todays_price_is_not_told_of_days_of_which_nobody_knows_it(model, day):
    with pytest.raises(PriceUnknown):
        BOOK.cost(
            model, Tokens(1_000_000, 0, 1_000_000, 0), at=datetime.fromisoformat(f"{day}T00:00:00+00:00")
        )


def test_the_day_of_the_installed_table_is_known():
    """Whoever takes a newer genai-prices adds its day to lib/pricing/table_gaps.py."""
    assert table.MADE is not None


@pytest.mark.parametrize(
    "model",
    [
        "",
        "gpt-5.5-preview",
        "gpt-5-nano-ultra",
        "gpt-5-nano-2025-08-07-x",
        "ft:gpt-5:acme::1",
        "gpt-4o-realtime-turbo",
        "my-moderation",
        "x" * 10_000,
    ],
)
def test_a_model_that_only_resembles_a_known_one_has_no_price(model):
    with pytest.raises(PriceUnknown):
        BOOK.cost(model, Tokens(1, 0, 1, 0), at=NOW)
    with pytest.raises(PriceUnknown):
        BOOK.ceiling(model, input_tokens=1, output_tokens=1, at=NOW)


@pytest.mark.parametrize(
    "model",
    [
        "gpt-5",
        "GPT-5",
        "gpt-5-2025-08-07",
        "gpt-5-nano-2025-08-07",
        "gpt-5.2-20251211",
        "computer-use-preview-2025-03-11",
        "ft:gpt-4o-2024-08-06:acme:tests:1",
    ],
)
def test_dated_and_fine_tuned_forms_of_a_known_model_have_a_price(model):
    assert BOOK.cost(model, Tokens(1000, 0, 0, 0), at=NOW).nano > 0


@pytest.mark.parametrize("model", ["whisper-1", "tts-1", "omni-moderation-latest"])
def test_a_model_without_a_price_for_input_tokens_is_unknown_and_not_free(model):
    with pytest.raises(PriceUnknown):
        BOOK.cost(model, Tokens(1000, 0, 0, 0), at=NOW)


@pytest.mark.parametrize(
    "model",
    [
        "gpt-realtime",
        "gpt-realtime-2",
        "gpt-audio",
        "gpt-4o-audio-preview",
        "gpt-4o-transcribe",
        "gpt-image-1.5",
        "gpt-4o-mini-tts",
        "o3-deep-research",
        "gpt-4o-search-preview",
        "gpt-4o-mini-search-preview",
        "gpt-5-search-api",
        "gpt-5-image",
    ],
)
def test_a_model_that_bills_more_than_text_has_neither_a_cost_nor_a_ceiling(model):
    with pytest.raises(PriceUnknown):
        BOOK.cost(model, Tokens(1_000_000, 0, 1_000_000, 0), at=LATER)
    with pytest.raises(PriceUnknown):
        BOOK.ceiling(model, input_tokens=1000, output_tokens=1, at=LATER)


def test_an_embedding_has_a_ceiling_without_output_only():
    assert BOOK.ceiling("text-embedding-3-small", input_tokens=1000, output_tokens=0, at=NOW) == 20_000
    with pytest.raises(PriceUnknown):
        BOOK.ceiling("text-embedding-3-small", input_tokens=1000, output_tokens=1, at=NOW)


def test_context_windows_are_known_or_none():
    assert (BOOK.context_window("gpt-5"), BOOK.context_window("gpt-image-1")) == (400_000, None)
    assert BOOK.context_window("nobody-knows") is None


@pytest.mark.parametrize("numbers", [(1, 2, 0, 0, 0), (1, 0, 1, 2, 0), (-1, 0, 0, 0, 0), (2, 1, 0, 0, 2)])
def test_tokens_that_contradict_each_other_are_refused(numbers):
    with pytest.raises(ValueError, match="tokens"):
        Tokens(*numbers)


# --- amounts ---------------------------------------------------------------------------------------


@given(some.integers(-(2**63), 2**63))
def test_amounts_are_written_as_plain_decimals_and_read_back(nano):
    text = plain_usd(nano)
    assert "e" not in text.lower()
    assert Decimal(text) == usd(nano)
    if abs(nano) <= 9 * 10**18:
        assert parse_usd(text) == nano


@pytest.mark.parametrize(
    ("text", "nano"),
    [
        ("1.8E-7", 180),
        ("0.0000000005", 0),
        ("0.0000000015", 2),
        (" 12.50 ", 12_500_000_000),
        ("-.5", -500_000_000),
    ],
)
def test_amounts_are_rounded_half_even_to_nine_places(text, nano):
    assert parse_usd(text) == nano


@pytest.mark.parametrize(
    "text", ["", "NaN", "Infinity", "1_000", "1,000", "$1", "\uff11", "1e99", "12345678901"]
)
def test_what_is_no_amount_is_refused(text):
    with pytest.raises(BadInput):
        parse_usd(text)


def test_an_unknown_amount_is_empty_and_not_zero():
    assert (plain_usd(None), plain_usd(0)) == ("", "0")
