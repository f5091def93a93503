"""What a call costs, and the most it can cost."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path

import pytest
from genai_prices import Usage, calc_price
from genai_prices.data_snapshot import get_snapshot
from hypothesis import given
from hypothesis import strategies as some

from lib.errors import BadInput, PriceUnknown, SettingsError
from lib.pricing.prices import PriceBook, Tokens, parse_usd, plain_usd, usd

BOOK = PriceBook()
NOW = datetime(2026, 11, 1, tzinfo=UTC)
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


@given(some.sampled_from(MODELS), tokens(), tokens(), times)
def test_no_call_within_a_ceiling_costs_more_than_it(model, most, used, at):
    """However its tokens split: cached, written to the cache, below a tier that costs more."""
    limits = {
        "input_tokens": max(most.input, used.input),
        "output_tokens": max(most.output, used.output),
    }
    try:
        ceiling = BOOK.ceiling(model, at=at, **limits)
    except PriceUnknown:
        return
    assert BOOK.cost(model, used, at=at).nano <= ceiling


@given(some.sampled_from(MODELS), tokens(), times)
def test_the_stored_unit_prices_give_the_cost_again(model, used, at):
    plain = Tokens(used.input, used.cached, used.output, used.reasoning)
    try:
        cost = BOOK.cost(model, plain, at=at)
    except PriceUnknown:
        return
    product = (
        (plain.input - plain.cached) * cost.unit.input
        + plain.cached * cost.unit.cached_input
        + plain.output * cost.unit.output
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


def test_a_price_is_the_one_of_its_day():
    """o3 became cheaper on 10 June 2025, UTC."""
    before = datetime(2025, 6, 9, 23, 59, 59, tzinfo=UTC)
    after = datetime(2025, 6, 10, tzinfo=UTC)
    one = Tokens(1_000_000, 0, 0, 0)
    assert [plain_usd(BOOK.cost("o3", one, at=at).nano) for at in (before, after)] == ["10", "2"]


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


def test_text_of_an_audio_model_has_a_price_but_no_ceiling():
    assert BOOK.cost("gpt-audio", Tokens(1000, 0, 0, 0), at=NOW).nano == 2_500_000
    with pytest.raises(PriceUnknown):
        BOOK.ceiling("gpt-audio", input_tokens=1000, output_tokens=1, at=NOW)


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


# --- the operator's file ---------------------------------------------------------------------------


def book(tmp_path: Path, entries: object) -> PriceBook:
    path = tmp_path / "prices.json"
    path.write_text(entries if isinstance(entries, str) else json.dumps(entries))
    return PriceBook.load(path)


def test_a_price_file_prices_what_the_table_does_not_know(tmp_path):
    own = book(
        tmp_path,
        {"Our-Model": {"input": "1.25", "cached_input": "0.125", "output": 10, "context_window": 128000}},
    )
    cost = own.cost("our-model", Tokens(2048, 1920, 900, 832), at=NOW)
    assert usd(cost.nano) == Decimal("0.00940")
    assert own.context_window("our-model") == 128_000
    assert own.ceiling("our-model", input_tokens=10, output_tokens=1, at=NOW) == 22_500


def test_a_price_file_wins_over_the_table(tmp_path):
    assert book(tmp_path, {"gpt-5": {"input": 3}}).cost("gpt-5", Tokens(1, 0, 0, 0), at=NOW).nano == 3000


def test_without_a_cached_price_the_full_price_counts(tmp_path):
    assert book(tmp_path, {"m": {"input": "2"}}).cost("m", Tokens(10, 10, 0, 0), at=NOW).nano == 20_000


def test_plain_numbers_of_a_price_file_are_read_exactly(tmp_path):
    text = '{"m": {"input": 0.1, "cached_input": 0.000000001, "output": 1e2}}'
    unit = book(tmp_path, text).cost("m", Tokens(0, 0, 1, 0), at=NOW).unit
    assert (unit.input, unit.cached_input, unit.output) == (100_000_000, 1, 100_000_000_000)


@pytest.mark.parametrize(
    ("entries", "named"),
    [
        ("no json", "JSON"),
        ("[1]", "object"),
        ('{"m": {"input": "1"}, "m": {"input": "2"}}', "m"),
        ({"m": {"input": "1"}, "M": {"input": "2"}}, "'M'"),
        ({"m": 3}, "m:"),
        ({"m": {}}, "m: input"),
        ({"m": {"input": "-1"}}, "m: input"),
        ({"m": {"input": "NaN"}}, "m: input"),
        ({"m": {"input": "1 USD"}}, "m: input"),
        ({"m": {"input": True}}, "m: input"),
        ({"m": {"input": "9999999999"}}, "m: input"),
        ({"m": {"input": "0.0000000001"}}, "m: input"),
        ({"m": {"input": "1", "output": []}}, "m: output"),
        ({"m": {"input": "1", "outptu": "2"}}, "outptu"),
        ({"m": {"input": "1", "context_window": "big"}}, "m: context_window"),
        ({"m": {"input": "1", "context_window": 0}}, "m: context_window"),
    ],
)
def test_a_bad_price_file_is_refused_naming_the_variable_and_the_entry(tmp_path, entries, named):
    with pytest.raises(SettingsError) as refused:
        book(tmp_path, entries)
    assert refused.value.variable == "QODEX_PRICES_FILE"
    assert named in str(refused.value)


def test_a_missing_price_file_is_refused(tmp_path):
    with pytest.raises(SettingsError, match="QODEX_PRICES_FILE"):
        PriceBook.load(tmp_path / "none.json")


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
