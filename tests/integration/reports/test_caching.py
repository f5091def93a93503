"""What caching saves: from each row's own prices, for any filter; kept by the database, verified, made again."""

from __future__ import annotations

from collections import defaultdict
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select, update

from lib.access.roles import Origin, local_administrator
from lib.clock import DAY
from lib.db import Database
from lib.db.tables import usage_daily_caching, usage_events
from lib.reports.caching import CachingReports, ModelCaching, both_ledgers, break_even
from lib.reports.models import UsageFilter
from lib.usage import rollups
from tests.events import put_anew
from tests.integration.reports.test_reports import START, _matches, filters, moments
from tests.vaults import projects_of

ADMIN = local_administrator(Origin.COMMAND_LINE)
PRICE = st.one_of(st.none(), st.integers(0, 10**12), st.just(10**12 + 1))
TOKENS = st.one_of(st.just(0), st.none(), st.integers(0, 10**6), st.just(10**9 + 1))


@st.composite
def any_event(draw: st.DrawFn) -> dict[str, Any]:
    parts = {
        name: draw(TOKENS) for name in ("cached_input_tokens", "cache_write_tokens", "cache_write_1h_tokens")
    }
    return {
        "occurred_at": draw(moments),
        "project": draw(st.sampled_from(["one", "two"])),
        "source": draw(st.sampled_from(["platform", "byok"])),
        "model": draw(st.sampled_from(["gpt-5", "gpt-5-mini"])),
        "status": draw(st.sampled_from(["ok", "broken"])),
        "run_kind": draw(st.sampled_from(["scan", None])),
        "cost_nano": 1,
        "input_tokens": sum(tokens or 0 for tokens in parts.values()) + draw(st.integers(0, 100)),
        "output_tokens": 0,
        **parts,
        **{
            name: draw(PRICE)
            for name in ("price_input", "price_cached_input", "price_cache_write", "price_cache_write_1h")
        },
    }


@pytest.fixture
def database(database_url):
    database = Database(database_url)
    for slug in ("one", "two"):
        projects_of(database).add(slug, actor=ADMIN)
    yield database
    database.close()


def rounded(tokens: int, price: int) -> int:
    """Half up, away from zero from the whole million below: as the rule in SQL has it."""
    millions, rest = divmod(abs(price), 10**6)
    sign = 1 if price >= 0 else -1
    part = tokens * rest * sign + 500_000
    return sign * tokens * millions + (part // 10**6 if part >= 0 else -(-part // 10**6))


def of_event(event: dict[str, Any]) -> tuple[int, ...] | None:
    """What one event adds, worked out in Python; None where no cache was used."""
    read, written, hour = (
        event[name] or 0 for name in ("cached_input_tokens", "cache_write_tokens", "cache_write_1h_tokens")
    )
    if not (read or written or hour):
        return None
    names = ("price_cached_input", "price_cache_write", "price_cache_write_1h")
    plain, *prices = (event[name] for name in ("price_input", *names))
    needed = [plain, *(price for price, tokens in zip(prices, (read, written, hour), strict=True) if tokens)]
    if max(read, written, hour) > 10**9 or any(price is None or price > 10**12 for price in needed):
        return 1, 1, 0, 0, 0, 0
    saved = rounded(read, plain - (prices[0] or 0))
    extra = rounded(written, (prices[1] or 0) - plain) + rounded(hour, (prices[2] or 0) - plain)
    return 1, 0, read, saved, written + hour, extra


@settings(max_examples=40)
@given(drawn=st.lists(any_event(), max_size=20), wanted=filters)
def test_every_filter_is_the_sum_over_the_events_from_their_own_prices(database, drawn, wanted):
    put_anew(database, drawn)
    wanted = UsageFilter(**wanted)
    expected: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0] * 6)
    for event in drawn:
        sums = of_event(event)
        if sums and _matches(event, wanted):
            key = (event["model"], event["source"])
            expected[key] = [old + new for old, new in zip(expected[key], sums, strict=True)]
    found = CachingReports(database).by_model(wanted, actor=ADMIN)
    assert [(row.model, row.source) for row in found] == sorted(expected)
    assert found == [ModelCaching(*key, *sums) for key, sums in sorted(expected.items())]
    assert list(rollups.verify(database)) == []
    models: dict[str, int] = defaultdict(int)
    for (_, (_, model)), row in CachingReports(database).by_project_and_model(wanted, actor=ADMIN).items():
        models[model] += row.net_nano
    assert models == {row.model: row.net_nano for row in both_ledgers(found)}


def event(at: int = START, **more: Any) -> dict[str, Any]:
    plain = {"project": "one", "source": "byok", "model": "gpt-5", "cost_nano": 1, "input_tokens": 2_000_000}
    prices = {"price_input": 2000, "price_cached_input": 200, "price_cache_write": 2500}
    cached = {"output_tokens": 0, "cached_input_tokens": 1_000_000}
    return {"occurred_at": at, **plain, **prices, **cached, **more}


def test_a_sum_that_differs_is_found_and_repaired(database):
    put_anew(database, [event(), event(START + DAY, project="two")])
    with database.write() as connection:
        connection.execute(update(usage_daily_caching).values(saved_nano=1))
    found = list(rollups.verify(database))
    assert {each.table for each in found} == {"usage_daily_caching"}
    assert len(found) == 2
    rollups.repair(database)
    assert list(rollups.verify(database)) == []
    [row] = CachingReports(database).by_model(UsageFilter(), actor=ADMIN)
    assert row.saved_nano == 2 * 1800


def test_calls_that_are_dated_anew_take_their_sums_along(database):
    put_anew(database, [event(), event(START + 1), event(START + 40 * DAY)])
    with database.write() as connection:
        connection.execute(update(usage_events).values(occurred_at=START + 3 * DAY))
        days = connection.execute(select(usage_daily_caching.c.day_at, usage_daily_caching.c.calls)).all()
        assert days == [(START + 3 * DAY - START % DAY, 3)]


def test_a_written_token_has_to_be_read_so_often_that_what_it_saves_pays_for_the_write():
    row = ModelCaching(
        "m", "byok", 5, 0, read_tokens=1000, saved_nano=1800, written_tokens=400, extra_nano=200
    )
    assert break_even(row) == Fraction(200 * 1000, 400 * 1800)
    assert row.net_nano == 1600
    assert break_even(ModelCaching("m", "byok", 1, 0, 1000, 1800, 0, 0)) is None
    assert break_even(ModelCaching("m", "byok", 1, 0, 0, 0, 400, 200)) is None
