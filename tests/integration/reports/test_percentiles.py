"""Percentiles of a whole period: exact of few calls; of many from an even sample, with the range that the truth lies in."""

from __future__ import annotations

import random
import uuid
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import insert, select, text

from lib.access.roles import Actor, Origin, local_administrator
from lib.clock import DAY
from lib.db import Database, call_sample
from lib.db.tables import usage_events
from lib.reports import percentiles
from lib.reports.models import UsageFilter
from lib.reports.percentiles import Percentile, PercentileReports, Spread, Spreads, sample_of
from tests.events import PLAIN, put_anew
from tests.integration.reports.test_call_reports import LENGTH, PERIOD, START, call, calls
from tests.vaults import projects_of

ADMIN = local_administrator(Origin.COMMAND_LINE)


@pytest.fixture
def database(database_url):
    database = Database(database_url)
    for slug in ("one", "two"):
        projects_of(database).add(slug, actor=ADMIN)
    yield database
    database.close()


def spreads(
    database: Database, wanted: UsageFilter = PERIOD, calls: int = 1, actor: Actor = ADMIN
) -> Spreads:
    return PercentileReports(database).spreads(wanted, calls, actor=actor)


def exact(values: list[int]) -> Spread:
    """The smallest value that at least half, or 95 of a hundred, do not exceed."""
    if not values:
        return Spread()
    values = sorted(values)
    found = (values[-(-share * len(values) // 100) - 1] for share in (50, 95))
    return Spread(len(values), *(Percentile(value, value, value) for value in found))


@settings(max_examples=25)
@given(drawn=calls, models=st.sampled_from([(), ("gpt-5",)]), slugs=st.sampled_from([(), ("one",)]))
def test_of_few_calls_they_are_exact_for_every_filter(database, drawn, models, slugs):
    put_anew(database, drawn)
    answered = [
        each
        for each in drawn
        if (not models or each["model"] in models)
        and (not slugs or each["project"] in slugs)
        and each["status"] != "error"
    ]
    found = spreads(database, UsageFilter(projects=slugs, models=models, since=START, until=START + LENGTH))
    tokens = [
        each["input_tokens"] + each["output_tokens"] for each in answered if each["input_tokens"] is not None
    ]
    waits = [each["latency_ms"] for each in answered if each["latency_ms"] is not None]
    assert found == Spreads(1, exact(tokens), exact(waits))


def test_an_outage_is_not_the_median_of_tokens_and_latency(database):
    answers = [call(START + number, input_tokens=900, latency_ms=2_000) for number in range(3)]
    failed = {"status": "error", "cost_nano": 0, "input_tokens": 0, "output_tokens": 0, "latency_ms": 9}
    errors = [call(START + DAY + number, **failed) for number in range(50)]
    put_anew(database, answers + errors)
    assert spreads(database) == Spreads(1, exact([901] * 3), exact([2_000] * 3))


def test_nothing_is_said_of_projects_that_the_actor_may_not_see(database):
    put_anew(database, [call()])
    assert spreads(database, actor=Actor(name="x", origin=Origin.BROWSER)) == Spreads(1, Spread(), Spread())


def test_no_more_calls_are_read_of_three_million_than_of_four_hundred_thousand():
    sizes = (0, 30_000, 30_001, 400_000, 400_001, 3_200_000, 10**7)
    assert [sample_of(calls) for calls in sizes] == [1, 1, 8, 8, 64, 64, 64]
    assert all(3_000 < calls / sample_of(calls) <= 50_000 for calls in sizes[1:-1])


def share_of(event_id: str) -> int:
    """What the database is to find, worked out in Python."""
    points = [ord(each) % 256 for each in reversed(event_id)]
    return (
        sum(weight * point for weight, point in zip(call_sample.WEIGHTS, points, strict=False)) % 4093 // 64
    )


IDS = [
    "",
    "7",
    "evt-000123",
    "日本語-é😀",
    "ab'c%d",
    *(str(uuid.UUID(int=number**9)) for number in range(1, 300)),
]


def write(database: Database, rows: list[dict[str, Any]]) -> None:
    [one, _] = projects_of(database).list(actor=ADMIN)
    plain = {**PLAIN, **call(), "project_id": one.id}
    del plain["project"]
    with database.write() as connection:
        connection.execute(insert(usage_events), [plain | row for row in rows])


def test_both_engines_find_the_same_calls_by_their_ids_whatever_these_are_like(database):
    write(database, [{"event_id": name} for name in IDS])
    event_id = usage_events.c.event_id
    with database.read() as connection:
        found = connection.execute(select(event_id, call_sample.share(event_id))).all()
        assert {row[0]: row[1] for row in found} == {name: share_of(name) for name in IDS}
        for one_in, shares in call_sample.SHARES_OF.items():
            inside = select(event_id).where(call_sample.in_sample(event_id, one_in))
            assert set(connection.execute(inside).scalars()) == {
                name for name in IDS if share_of(name) < shares
            }


def test_each_sample_has_its_share_of_ids_that_are_random_and_of_those_that_count_up():
    chance = random.Random(1)
    for ids in (
        [str(uuid.UUID(int=chance.getrandbits(128), version=4)) for _ in range(40_000)],
        [f"evt-{number:07}" for number in range(40_000)],
    ):
        found = [share_of(name) for name in ids]
        for one_in, shares in call_sample.SHARES_OF.items():
            assert 0.7 < sum(share < shares for share in found) * one_in / len(found) < 1.4


def test_a_sample_answers_from_its_index(database):
    write(database, [{"event_id": name} for name in IDS])
    table = usage_events.c
    for one_in in call_sample.SHARES_OF:
        with database.read() as connection:
            if connection.dialect.name == "postgresql":
                connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
            statement = select(table.input_tokens, table.latency_ms).where(
                call_sample.in_sample(table.event_id, one_in)
            )
            explain = "EXPLAIN QUERY PLAN" if connection.dialect.name == "sqlite" else "EXPLAIN"
            plan = connection.execute(text(f"{explain} {statement.compile(connection)}"))
            said = " ".join(str(row) for row in plan)
        # By month PostgreSQL names each part's index after its columns.
        assert "ix_usage_events_sample" in said or "usage_events_before_expr_" in said


def test_of_many_calls_the_truth_lies_within_the_range(database, monkeypatch):
    """Of a hundred percentiles of which 95 should lie within theirs, nearly all do."""
    monkeypatch.setattr(percentiles, "EXACT", 0)
    chance = random.Random(4)
    waits = [round(chance.lognormvariate(7, 1)) for _ in range(6_000)]
    write(
        database,
        [
            {
                "event_id": str(uuid.UUID(int=chance.getrandbits(128), version=4)),
                "latency_ms": wait,
                "occurred_at": START + place,
            }
            for place, wait in enumerate(waits)
        ],
    )
    inside, ranges = 0, 0
    for start in range(0, 6_000, 1_000):
        wanted = UsageFilter(since=START + start, until=START + start + 1_000)
        found = spreads(database, wanted, 1_000)
        assert found.one_in == 8
        assert 90 < found.latency.calls < 160
        truth = exact(waits[start : start + 1_000])
        for name in ("median", "p95"):
            guess, real = getattr(found.latency, name), getattr(truth, name)
            assert guess.low <= guess.value <= guess.high
            inside += guess.low <= real.value <= guess.high
            ranges += 1
    assert inside >= ranges - 2


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=300))
def test_a_range_holds_its_value_and_consists_of_values_that_occurred(values):
    found = percentiles.spread(values, exact=False)
    for each in (found.median, found.p95):
        assert each.low <= each.value <= each.high
        assert {each.low, each.value, each.high} <= set(values)
    assert percentiles.spread(values, exact=True) == exact(values)
