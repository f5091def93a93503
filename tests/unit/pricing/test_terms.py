"""What changes a price is priced, or the cost is unknown: never the standard price in silence."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal

import pytest
from genai_prices import Usage, calc_price
from genai_prices.data_snapshot import get_snapshot

from lib.errors import PriceUnknown
from lib.pricing.prices import Cost, PriceBook, Tokens
from lib.pricing.regions import percent_more
from lib.pricing.terms import STANDARD, Terms
from lib.pricing.tool_calls import ToolCalls

BOOK = PriceBook()
AT = datetime(2026, 11, 20, tzinfo=UTC)
OPENAI = next(provider for provider in get_snapshot().providers if provider.id == "openai")
MODELS = {model.id: model for model in OPENAI.models}
DATED = (
    "gpt-5-2025-08-07",
    "gpt-4o-2024-08-06",
    "gpt-5.4-2026-03-05",
    "gpt-5.6-sol-2026-08-21",
    "o3-2025-04-16",
)
FINE_TUNED = ("ft:gpt-4o-2024-08-06:acme::1", "ft:gpt-4o-mini-2024-07-18:acme::1", "ft:gpt-3.5-turbo:acme::1")
PLAIN = Tokens(10_000, 0, 1_000, 0)
CASES = {
    "plain": (PLAIN, STANDARD, {}),
    "cached": (Tokens(10_000, 8_000, 1_000, 0), STANDARD, {}),
    "cache write": (Tokens(10_000, 2_000, 1_000, 0, 3_000), STANDARD, {}),
    "long context": (Tokens(300_000, 100_000, 1_000, 0), STANDARD, {}),
    "reasoning": (Tokens(10_000, 0, 1_000, 900), STANDARD, {}),
    "flex": (Tokens(10_000, 2_000, 1_000, 0), Terms("flex"), {"service_tier": "flex"}),
    "priority": (Tokens(10_000, 2_000, 1_000, 0), Terms("priority"), {"service_tier": "priority"}),
    "long priority": (Tokens(300_000, 2_000, 1_000, 0), Terms("priority"), {"service_tier": "priority"}),
    "batch": (Tokens(10_000, 2_000, 1_000, 0, 500), Terms("batch"), {"processing": "batch"}),
    "search": (PLAIN, Terms(tools=ToolCalls(web_searches=3)), {}),
    "file search": (PLAIN, Terms(tools=ToolCalls(file_searches=2)), {}),
}


def by_the_table(model: str, tokens: Tokens, terms: Terms, context: dict[str, str]) -> int:
    """The table's own arithmetic, which takes the standard price where it knows no better."""
    used = Usage(
        input_tokens=tokens.input,
        cache_read_tokens=tokens.cached,
        cache_write_tokens=tokens.cache_write,
        output_tokens=tokens.output,
        web_searches=terms.tools.web_searches or None,
        storage_searches=terms.tools.file_searches or None,
    )
    told = calc_price(
        used, model, provider_id="openai", genai_request_timestamp=AT, price_context=context or None
    )
    return int((told.total_price * 10**9).to_integral_value(ROUND_HALF_EVEN))


def cost(model: str, tokens: Tokens = PLAIN, terms: Terms = STANDARD) -> Cost | None:
    try:
        return BOOK.cost(model, tokens, at=AT, terms=terms)
    except PriceUnknown:
        return None


def from_its_own_columns(tokens: Tokens, told: Cost) -> int:
    plain = tokens.input - tokens.cached - tokens.cache_write
    product = plain * told.unit.input + tokens.output * told.unit.output
    product += tokens.cached * (told.unit.cached_input or 0) + tokens.cache_write * (
        told.unit.cache_write or 0
    )
    return int((Decimal(product) / 10**6 + told.fees_nano).to_integral_value(ROUND_HALF_EVEN))


@pytest.mark.parametrize("case", CASES)
def test_for_every_model_the_cost_is_the_tables_own_or_unknown(case):
    tokens, terms, context = CASES[case]
    priced = {model: told for model in (*MODELS, *DATED, *FINE_TUNED) if (told := cost(model, tokens, terms))}
    expected = {model: by_the_table(model, tokens, terms, context) for model in priced}
    assert {model: told.nano for model, told in priced.items()} == expected
    assert {model: from_its_own_columns(tokens, told) for model, told in priced.items()} == expected
    assert len(priced) >= {"flex": 15, "priority": 15, "batch": 25, "search": 20, "file search": 25}.get(
        case, 8
    )


@pytest.mark.parametrize("tier", ["flex", "priority", "fast", "batch"])
def test_a_tier_that_the_table_has_no_price_for_is_unknown(tier):
    for model, info in MODELS.items():
        stated = [variant for variant in info.price_variants or () if tier in variant.when.values()]
        if not any("input_mtok" in vars(variant.prices) for variant in stated):
            assert cost(model, terms=Terms(tier)) is None, model


@pytest.mark.parametrize("tier", ["scale", "ultrafast", "Priority", "FLEX", "standard", " flex", "on_demand"])
def test_a_word_that_is_no_tier_of_the_table_is_unknown(tier):
    assert {model for model in MODELS if cost(model, terms=Terms(tier))} == set()


def test_a_tier_has_no_price_before_the_day_on_which_it_was_read():
    for day, known in ((11, False), (12, True)):
        at = datetime(2026, 10, day, tzinfo=UTC)
        if known:
            assert BOOK.cost("gpt-5.5", PLAIN, at=at, terms=Terms("priority")).unit.input == 12_500_000_000
        else:
            with pytest.raises(PriceUnknown):
                BOOK.cost("gpt-5.5", PLAIN, at=at, terms=Terms("priority"))


@pytest.mark.parametrize(
    ("model", "tier"),
    [("gpt-5.4", "priority"), ("gpt-5.5", "priority"), ("gpt-5.5-pro", "flex"), ("gpt-5.6-cyber", "")],
)
def test_where_no_price_of_long_calls_is_published_they_are_unknown(model, tier):
    assert cost(model, Tokens(272_000, 0, 10, 0), Terms(tier))
    assert cost(model, Tokens(272_001, 0, 10, 0), Terms(tier)) is None


def test_cached_tokens_have_no_price_where_the_tier_states_none():
    """gpt-4.1's batch price names none; of fine-tuned models the table leaves it out."""
    cached = Tokens(10_000, 1, 1_000, 0)
    assert cost("gpt-4.1", PLAIN, Terms("batch"))
    assert cost("gpt-4.1", cached, Terms("batch")) is None
    assert cost(FINE_TUNED[0])
    assert cost(FINE_TUNED[0], cached) is None


@pytest.mark.parametrize(
    ("model", "tokens", "terms", "usd"),
    [
        ("gpt-5-mini", Tokens(10_000, 2_000, 1_000, 0), Terms("flex"), "0.002025"),
        ("gpt-5.5", Tokens(40, 0, 2_000, 0), Terms("priority"), "0.1505"),
        ("gpt-5.5", Tokens(40, 0, 2_000, 0), STANDARD, "0.0602"),
        ("gpt-5.6-luna", Tokens(18_014, 0, 40, 0, 18_011), STANDARD, "0.00455135"),
        ("gpt-5.6-sol", Tokens(10_000, 2_000, 1_000, 0, 3_000), STANDARD, "0.0558"),
        ("gpt-5-mini", Tokens(9_548, 0, 528, 0), Terms(tools=ToolCalls(web_searches=1)), "0.013443"),
        ("gpt-5-mini", Tokens(4_000, 0, 200, 0), Terms(tools=ToolCalls(file_searches=1)), "0.0039"),
        ("gpt-5", PLAIN, Terms(tools=ToolCalls(web_searches=3)), "0.0525"),
        ("gpt-5", PLAIN, Terms(served_model="gpt-5-pro"), "0.27"),
        ("gpt-5", PLAIN, Terms(served_model="gpt-5-2025-08-07"), "0.0225"),
        ("gpt-5.5", Tokens(40, 0, 2_000, 0), Terms("priority", "eu"), "0.16555"),
        ("gpt-5-mini", PLAIN, Terms(region="eu"), "0.0045"),
    ],
)
def test_worked_cases(model, tokens, terms, usd):
    told = cost(model, tokens, terms)
    assert told is not None
    assert Decimal(told.nano) / 10**9 == Decimal(usd)


# --- the model that answers ------------------------------------------------------------------------


def test_a_model_that_answers_without_a_price_is_unknown_however_cheap_the_asked_one_was():
    assert cost("gpt-5", terms=Terms(served_model="gpt-5-ultra-max-2027")) is None
    assert cost("gpt-5-nano", terms=Terms(served_model="llama-4")) is None


def test_only_a_dated_form_of_the_same_name_has_the_asked_models_price():
    """The table knows neither of these dates, but the name."""
    assert cost("gpt-5", terms=Terms(served_model="gpt-5-2099-01-01")) == cost("gpt-5")
    assert cost("gpt-5-2099-01-01", terms=Terms(served_model="gpt-5")) == cost("gpt-5")
    assert cost("gpt-5", terms=Terms(served_model="gpt-5-2099-13-01")) is None


# --- tools -----------------------------------------------------------------------------------------


def test_a_fee_that_the_table_does_not_state_or_that_varies_is_unknown():
    assert cost("gpt-5.3", terms=Terms(tools=ToolCalls(web_searches=1))) is None
    assert cost("gpt-4.1", terms=Terms(tools=ToolCalls(web_searches=1))) is None
    assert cost("gpt-4.1", terms=Terms(tools=ToolCalls(file_searches=1)))


def test_a_model_that_searches_by_itself_is_priced_only_where_its_searches_are_told():
    assert cost("o3-deep-research") is None
    told = cost("o3-deep-research", terms=Terms(tools=ToolCalls(web_searches=5)))
    assert told
    assert told.fees_nano == 50_000_000


# --- regions ---------------------------------------------------------------------------------------


def test_at_a_regional_host_newer_models_cost_a_tenth_more_and_others_are_known_or_unknown():
    for model in MODELS:
        here, there = cost(model, PLAIN), cost(model, PLAIN, Terms(region="eu"))
        newer = re.match(r"gpt-(5\.[4-9]|6)", model)
        if there is None:
            assert here is None or not newer, model
            continue
        assert here is not None
        assert there.nano * 10 == here.nano * (11 if newer else 10), model
        assert there.region == ("eu" if newer else ""), model
        assert from_its_own_columns(PLAIN, there) == there.nano


@pytest.mark.parametrize(
    ("model", "percent"),
    [
        ("gpt-5.4-mini", 10),
        ("gpt-5-4-mini-2026-03-17", 10),
        ("gpt-6.1-sol", 10),
        ("gpt-7", 10),
        ("gpt-5-2025-08-07", 0),
        ("gpt-5.3-codex", 0),
        ("gpt-4.1-nano", 0),
        ("ft:gpt-4o-2024-08-06:acme::1", 0),
        ("o4-mini", 0),
        ("text-embedding-3-small", 0),
        ("gpt-chat-latest", None),
        ("gpt-oss-120b", None),
        ("gpt-5.10", None),
        ("my-model", None),
    ],
)
def test_by_name_a_model_costs_more_in_a_region_or_not_or_nobody_says(model, percent):
    assert percent_more("openai", model, "eu") == percent
    assert percent_more("openai", model, "") == 0
    assert percent_more("anthropic", model, "eu") is None


# --- Anthropic -------------------------------------------------------------------------------------

CLAUDE = {
    "all kinds of input": (
        "claude-opus-4-6",
        Tokens(175, 50, 15, 0, 60, 40),
        Terms(tools=ToolCalls(web_searches=2)),
        "0.0213",
    ),
    "the same without searches": (
        "claude-opus-4-6-20260205",
        Tokens(175, 50, 15, 0, 60, 40),
        STANDARD,
        "0.0013",
    ),
    "long": ("claude-sonnet-4-5", Tokens(300_000, 0, 1_000, 0), STANDARD, "1.8225"),
    "fast": ("claude-opus-5", Tokens(10_000, 2_000, 1_000, 0), Terms("fast"), "0.132"),
    "batch": ("claude-opus-5", Tokens(10_000, 2_000, 1_000, 0), Terms("batch"), "0.033"),
}


@pytest.mark.parametrize("case", CLAUDE)
def test_worked_cases_of_anthropic(case):
    model, tokens, terms, usd = CLAUDE[case]
    cost = BOOK.cost(model, tokens, at=AT, provider="anthropic", terms=terms)
    assert Decimal(cost.nano).scaleb(-9) == Decimal(usd)


@pytest.mark.parametrize(
    ("model", "tokens", "terms"),
    [
        ("claude-opus-4-6", PLAIN, Terms("fast")),
        ("claude-opus-5", PLAIN, Terms("priority")),
        ("claude-opus-5", PLAIN, Terms(region="us")),
        ("claude-sonnet-4-0", Tokens(200_001, 0, 1, 0), STANDARD),
        ("claude-sonnet-4-20250514", Tokens(200_001, 0, 1, 0), STANDARD),
        ("claude-opus-99", PLAIN, STANDARD),
        ("gpt-5", PLAIN, STANDARD),
    ],
)
def test_what_no_table_states_of_anthropic_is_unknown(model, tokens, terms):
    with pytest.raises(PriceUnknown):
        BOOK.cost(model, tokens, at=AT, provider="anthropic", terms=terms)


def test_the_dearest_way_to_read_a_token_is_to_write_it_for_an_hour():
    most = BOOK.ceiling(
        "claude-opus-5", input_tokens=1_000_000, output_tokens=0, at=AT, provider="anthropic", terms=STANDARD
    )
    assert most == 10 * 10**9


@pytest.mark.parametrize(
    ("model", "first"),
    [
        ("claude-sonnet-4-5-20250929", datetime(2025, 9, 29, tzinfo=UTC)),
        ("claude-opus-5", datetime(2026, 7, 24, tzinfo=UTC)),
        ("claude-opus-5-5", datetime(2026, 10, 14, tzinfo=UTC)),
    ],
)
def test_a_claude_has_a_price_from_the_day_on_which_the_table_is_known_to_have_had_it(model, first):
    assert BOOK.cost(model, PLAIN, at=first, provider="anthropic").nano > 0
    with pytest.raises(PriceUnknown):
        BOOK.cost(model, PLAIN, at=first - timedelta(seconds=1), provider="anthropic")


# --- Google ----------------------------------------------------------------------------------------

TEXT = Terms(text_only=True)
GEMINI = {
    "caches, thoughts and tools": ("gemini-3.5-flash", Tokens(109, 40, 12, 7), STANDARD, "0.0002175"),
    "text where sound has a price of its own": (
        "gemini-2.5-flash",
        Tokens(1_000, 0, 100, 0),
        TEXT,
        "0.00055",
    ),
    "short": ("gemini-2.5-pro", Tokens(200_000, 100_000, 1_000, 0), STANDARD, "0.1475"),
    "long": ("gemini-2.5-pro", Tokens(200_001, 100_000, 1_000, 0), STANDARD, "0.2900025"),
    "batch": ("gemini-3.5-flash-lite", Tokens(10_000, 0, 1_000, 0), Terms("batch"), "0.00275"),
    "an embedding": ("gemini-embedding-001", Tokens(10_000, 0, 0, 0), STANDARD, "0.0015"),
}


@pytest.mark.parametrize("case", GEMINI)
def test_worked_cases_of_google(case):
    model, tokens, terms, usd = GEMINI[case]
    cost = BOOK.cost(model, tokens, at=AT, provider="google", terms=terms)
    assert Decimal(cost.nano).scaleb(-9) == Decimal(usd)


@pytest.mark.parametrize(
    ("model", "terms"),
    [
        ("gemini-2.5-flash", STANDARD),
        ("gemini-3.5-flash", Terms("flex")),
        ("gemini-3.5-flash", Terms("priority")),
        ("gemini-3.5-flash", Terms("batch")),
        ("gemini-3.5-flash", Terms(region="eu")),
        ("gemini-2.5-flash-image", TEXT),
        ("gemini-3.8-flash-tts", TEXT),
        ("gemini-3.8-live", TEXT),
        ("gemini-99-flash", STANDARD),
        ("gpt-5", STANDARD),
    ],
)
def test_what_no_table_states_of_google_is_unknown(model, terms):
    with pytest.raises(PriceUnknown):
        BOOK.cost(model, PLAIN, at=AT, provider="google", terms=terms)


def test_a_price_that_changes_on_a_day_is_that_of_the_call():
    before, after = (
        BOOK.cost("gemini-4-argon", PLAIN, at=day, provider="google").nano
        for day in (datetime(2026, 11, 30, 23, 59, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC))
    )
    assert after == 2 * before


@pytest.mark.parametrize(
    ("model", "first"),
    [
        ("gemini-2.5-pro", datetime(2025, 11, 7, tzinfo=UTC)),
        ("gemini-3.5-flash", datetime(2026, 5, 19, tzinfo=UTC)),
    ],
)
def test_a_gemini_has_a_price_from_the_day_on_which_the_table_is_known_to_have_had_it(model, first):
    assert BOOK.cost(model, PLAIN, at=first, provider="google").nano > 0
    with pytest.raises(PriceUnknown):
        BOOK.cost(model, PLAIN, at=first - timedelta(seconds=1), provider="google")
