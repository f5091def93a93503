"""The operator's own prices: by provider, model and day; the format of before still reads."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from lib.errors import PriceUnknown, SettingsError
from lib.pricing.amounts import usd
from lib.pricing.prices import PriceBook, Tokens
from lib.pricing.terms import Terms

NOW = datetime(2026, 11, 20, tzinfo=UTC)


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


# --- by provider, model and day --------------------------------------------------------------------

NEGOTIATED = {
    "openai": {
        "gpt-5": [
            {"from": "2026-10-01", "input": "1.00", "output": "8"},
            {"from": "2026-07-01", "input": "1.10", "cached_input": "0.11", "output": "8.80"},
        ],
        "my-model": {"input": 2, "output": 4},
    },
    "anthropic": {"my-model": {"input": 3, "output": 6}},
}


def unit_price(own: PriceBook, model: str, day: str, provider: str = "openai") -> int:
    at = datetime.fromisoformat(f"{day}T00:00:00+00:00")
    return own.cost(model, Tokens(1, 0, 1, 0), at=at, provider=provider).unit.input


def test_a_price_holds_from_its_day_on_and_before_the_first_one_the_tables_does(tmp_path):
    own = book(tmp_path, NEGOTIATED)
    days = ("2026-06-30", "2026-07-01", "2026-09-30", "2026-10-01")
    assert [unit_price(own, "gpt-5", day) for day in days] == [
        1_250_000_000,
        1_100_000_000,
        1_100_000_000,
        1_000_000_000,
    ]


def test_providers_with_a_model_of_one_name_have_prices_of_their_own(tmp_path):
    own = book(tmp_path, NEGOTIATED)
    assert unit_price(own, "my-model", "2026-11-20") == 2_000_000_000
    assert unit_price(own, "my-model", "2026-11-20", "anthropic") == 3_000_000_000
    with pytest.raises(PriceUnknown):
        unit_price(own, "my-model", "2026-11-20", "google")


def test_a_negotiated_price_holds_for_the_dated_name_that_answers(tmp_path):
    assert unit_price(book(tmp_path, NEGOTIATED), "gpt-5-2025-08-07", "2026-11-20") == 1_000_000_000


def test_a_dated_names_own_price_leaves_the_days_before_to_the_plain_ones(tmp_path):
    dated = {"gpt-5-2025-08-07": {"from": "2027-01-01", "input": 2}, "gpt-5": {"input": 3}}
    own = book(tmp_path, {"openai": dated})

    def cost(year: int) -> int:
        at = datetime(year, 11, 20, tzinfo=UTC)
        terms = Terms(served_model="gpt-5-2025-08-07")
        return own.cost("gpt-5", Tokens(1, 0, 0, 0), at=at, terms=terms).nano

    assert (cost(2026), cost(2027)) == (3000, 2000)


def test_a_byte_order_mark_before_the_file_is_no_fault(tmp_path):
    assert book(tmp_path, '\ufeff{"m": {"input": 2}}').own_source.startswith("own-prices-")


def test_a_price_of_the_file_is_that_of_the_standard_tier_at_any_host(tmp_path):
    own, tokens = book(tmp_path, NEGOTIATED), Tokens(1000, 0, 0, 0)
    here = own.cost("gpt-5", tokens, at=NOW)
    assert own.cost("gpt-5", tokens, at=NOW, terms=Terms(region="eu")) == here
    with pytest.raises(PriceUnknown):
        own.cost("gpt-5", tokens, at=NOW, terms=Terms(tier="flex"))


def test_rows_tell_one_state_of_the_file_from_another(tmp_path):
    sources = [
        book(tmp_path, {"m": {"input": price}}).cost("m", Tokens(1, 0, 0, 0), at=NOW).table for price in "112"
    ]
    assert sources[0] == sources[1] != sources[2]
    assert sources[0].startswith("own-prices-")


@pytest.mark.parametrize(
    ("entries", "named"),
    [
        ({"openai": {"m": [{"from": "yesterday", "input": 1}]}}, "m: from must be a day, such as 2026-01-01"),
        ({"openai": {"m": [{"from": 20260101, "input": 1}]}}, "m: from must be a day"),
        ({"openai": {"m": [{"input": 1}, {"input": 2}]}}, "m: each price needs a day of its own"),
        ({"openai": {"m": []}}, "m: each price needs a day of its own"),
        ({"openai": {"m": [3]}}, "m: write it as"),
        ({"openai": {"m": {"input": 1}, "M": {"input": 2}}}, "'M'"),
        ({"m": 3}, '{"openai": {"my-model": [{"from": "2026-01-01", "input": "1.25", "output": "10"}]}}'),
    ],
)
def test_a_bad_entry_is_named_and_the_format_is_shown(tmp_path, entries, named):
    with pytest.raises(SettingsError) as refused:
        book(tmp_path, entries)
    assert named in str(refused.value)
