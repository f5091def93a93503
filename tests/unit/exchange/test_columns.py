"""How a value becomes a cell and comes back: exactly, or with a reason."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lib.clock import iso
from lib.exchange.columns import EVENT_COLUMNS, EVENT_HEADER, cell_writers, escape_formula, unescape_formula
from lib.exchange.files.cell_reader import (
    LARGEST_COUNT,
    BadCell,
    beyond_micros,
    cell_readers,
    is_rounded,
    read_count,
    read_text,
    read_time,
    read_usd,
)
from lib.pricing.amounts import plain_usd

DESIGN = (
    "event_id, occurred_at, project, run_id, source, provider, model, endpoint, status, input_tokens, "
    "cached_input_tokens, output_tokens, reasoning_tokens, cost_usd, price_input, price_cached_input, "
    "price_output, key_last4, upstream_request_id, latency_ms, "
    "served_model, service_tier, region, cache_write_tokens, cache_write_1h_tokens, price_cache_write, "
    "price_cache_write_1h, fees_usd, price_table"
)


def test_the_columns_are_those_of_the_design_in_its_order() -> None:
    assert ", ".join(EVENT_HEADER) == DESIGN
    assert len(cell_readers(formulas_escaped=True)) == len(cell_writers(raw=False)) == len(EVENT_COLUMNS)


# --- formulas --------------------------------------------------------------------------------------


BEGINNINGS = "=+-@\t\r\n\uff1d\uff0b\uff0d\uff20"
"""Of a formula; the last four are wide forms of the first."""


@pytest.mark.parametrize("start", BEGINNINGS)
def test_text_that_a_spreadsheet_would_run_is_made_inert(start: str) -> None:
    assert escape_formula(f"{start}1+1") == f"'{start}1+1"


@pytest.mark.parametrize("text", ["gpt-5-mini", "'quoted'", "a=b", " =1", "", None])
def test_other_text_stays_as_it_is(text: str | None) -> None:
    assert escape_formula(text) == text


@given(st.text(alphabet=f"{BEGINNINGS}'a", max_size=6) | st.text())
@example("'=1")
@example("''=1")
def test_what_was_made_inert_comes_back_exactly(text: str) -> None:
    assert unescape_formula(escape_formula(text) or "") == text


@given(st.text(alphabet=f"{BEGINNINGS}'a", max_size=6))
def test_nothing_inert_begins_like_a_formula(text: str) -> None:
    assert (escape_formula(text) or "a")[0] not in BEGINNINGS


# --- times -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "micros"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("2023-11-16T18:17:03.9799600Z", 1_700_158_623_979_960),
        ("2023-11-16T18:17:03.9799609Z", 1_700_158_623_979_960),  # the seventh decimal is cut
        ("2023-11-16T20:17:03.979960+02:00", 1_700_158_623_979_960),
        ("2023-11-16 18:17:03.97996+00:00", 1_700_158_623_979_960),
        (" 2023-11-16T18:17:03Z ", 1_700_158_623_000_000),
    ],
)
def test_a_time_is_read_to_the_microsecond(text: str, micros: int) -> None:
    assert read_time(text) == micros


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("2023-11-16T18:17:03", "no time zone"),
        ("2023-11-16", "no time zone"),
        ("16.11.2023 18:17", "ISO 8601"),
        ("1700158623", "ISO 8601"),
        ("NaN", "ISO 8601"),
        ("1969-12-31T23:59:59Z", "before 1970"),
        ("0001-01-01T00:00:00+14:00", "before 1970"),
    ],
)
def test_a_time_that_says_too_little_is_refused(text: str, reason: str) -> None:
    with pytest.raises(BadCell, match=reason):
        read_time(text)


@given(st.integers(0, 253_370_764_800_000_000))
def test_a_time_comes_back_exactly(micros: int) -> None:
    assert read_time(iso(micros)) == micros


# --- numbers ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("0", 0),
        ("12", 12),
        (" 12 ", 12),
        ("12.0", 12),
        ("12.", 12),
        ("12.0000", 12),
        ("007", 7),
        ("1000000000000", 10**12),
        ("", None),
    ],
)
def test_a_count_is_a_whole_number(text: str, count: int | None) -> None:
    assert read_count(text) == count


@pytest.mark.parametrize(
    "text", ["-1", "-0.5", "1.5", "1e3", "NaN", "inf", "1_000", "1,000", "٣", "²", "x", "+5"]
)
def test_what_is_no_count_is_refused(text: str) -> None:
    with pytest.raises(BadCell, match=r"negative|whole number"):
        read_count(text)


@pytest.mark.parametrize(
    ("text", "mark"),
    [
        ("10,000", "a comma"),
        ("1,234,567", "a comma"),
        ("10.000", "a point"),  # ten, or ten thousand
        ("1.234.567", "a point"),
        ("10 000", "a mark"),
        ("10'000", "a mark"),
        ("1_000", "a mark"),
    ],
)
def test_thousands_with_a_mark_between_them_are_named_as_what_they_are(text: str, mark: str) -> None:
    with pytest.raises(BadCell, match=f"it has {mark} between its thousands"):
        read_count(text)


@pytest.mark.parametrize("text", [str(LARGEST_COUNT + 1), "9" * 5000])
def test_a_count_that_would_break_every_sum_is_refused(text: str) -> None:
    with pytest.raises(BadCell, match="whole number from 0 to 1,000,000,000,000"):
        read_count(text)


@pytest.mark.parametrize(
    ("text", "nano"),
    [
        ("0", 0),
        ("0.02", 20_000_000),
        (".5", 500_000_000),
        ("1.", 1_000_000_000),
        ("0.000000001", 1),
        ("0.0000000010", 1),
        ("1e-05", 10_000),
        ("1000000", 10**15),
        ("", None),
    ],
)
def test_an_amount_is_read_exactly(text: str, nano: int | None) -> None:
    assert read_usd(text) == nano


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("-0.02", "negative"),
        ("NaN", "no amount"),
        ("Infinity", "no amount"),
        ("$1", "no amount"),
        ("1,50", "it has a comma, write a point"),
        ("1,234.50", "it has a comma, write a point"),
        ("1000000.01", "more than 1,000,000 USD"),
        ("1e99", "more than 1,000,000 USD"),
    ],
)
def test_an_amount_that_would_have_to_be_guessed_is_refused(text: str, reason: str) -> None:
    with pytest.raises(BadCell, match=reason):
        read_usd(text)


@pytest.mark.parametrize(
    ("text", "nano"),
    [
        ("0.00012345678901", 123_457),
        ("2.7700000000000001e-04", 277_000),
        ("0.0000000005", 0),
        ("0.0000000015", 2),
        ("0.00000000050000000001", 1),
        ("1e-10", 0),
    ],
)
def test_more_decimals_than_nine_are_rounded_half_even_and_that_is_known(text: str, nano: int) -> None:
    assert (read_usd(text), is_rounded(text)) == (nano, True)


@pytest.mark.parametrize(
    "text", ["0.02", "0.0000000010", "0.00000000100000", "1e-05", "12", " 0.25          "]
)
def test_what_is_kept_whole_is_not_rounded(text: str) -> None:
    assert not is_rounded(text)


@pytest.mark.parametrize(
    ("text", "beyond"),
    [
        ("2026-11-01T10:00:00.1234561Z", "1"),
        ("20261101T100000.1234561Z", "1"),
        ("2026-11-01T10:00:00,1234567891+02:00", "7891"),
        ("2026-11-01T10:00:00.12345601Z", "01"),
        ("2026-11-01T10:00:00.1234560Z", ""),
        ("2026-11-01T10:00:00.123456000000+00:00", ""),
        ("2026-11-01T10:00:00.12Z", ""),
        ("2026-11-01T10:00:00Z", ""),
    ],
)
def test_decimals_of_a_time_beyond_the_sixth_are_told_apart_from_zeros(text: str, beyond: str) -> None:
    assert beyond_micros(text) == beyond


@given(st.integers(0, 10**15))
def test_an_amount_comes_back_exactly(nano: int) -> None:
    assert read_usd(plain_usd(nano)) == nano


# --- text ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("x" * 201, "longer than 200"),
        ("a\0b", "NUL"),
        (b"caf\xe9".decode("utf-8", "surrogateescape"), "UTF-8"),
    ],
)
def test_text_that_no_database_takes_is_refused(text: str, reason: str) -> None:
    with pytest.raises(BadCell, match=reason):
        read_text(text, longest=200, formulas_escaped=True)


def test_no_reason_repeats_what_stands_in_the_cell() -> None:
    for column, read in zip(EVENT_COLUMNS, cell_readers(formulas_escaped=True), strict=True):
        with pytest.raises(BadCell) as problem:
            read("\0sk-test-planted-0001" * 20)
        assert "planted" not in str(problem.value), column.name
