"""The databases that benchmarks run on are such as the product makes: roll-ups and running totals are right."""

from __future__ import annotations

import pytest
from sqlalchemy import func, select

from bench.generator import ACTOR, fill, opened
from bench.traffic import END, PROJECTS, draw
from lib.clock import DAY
from lib.db.tables import accounts, runs, usage_events
from lib.platform import Platform
from lib.reports.models import UsageFilter
from lib.usage import rollups

EVENTS = 10_000


@pytest.mark.slow
def test_a_generated_database_stands_up_to_verification(database_url: str) -> None:
    """Roll-ups = events; each account stands where its last call left it; runs add up to their calls."""
    fill(database_url, EVENTS, seed=1)
    with opened(database_url) as platform:
        assert list(rollups.verify(platform.database)) == []
        assert platform.reports.totals(UsageFilter(), actor=ACTOR).calls == EVENTS
        assert len(platform.projects.list(actor=ACTOR)) == PROJECTS
        _assert_accounts_end_where_their_calls_do(platform)
        _assert_runs_add_up(platform)
        assert 0 < platform.caps.headroom("project-001", actor=ACTOR).nearest.percent <= 100


def _assert_accounts_end_where_their_calls_do(platform: Platform) -> None:
    event = usage_events.c
    last = select(
        event.project_id,
        func.max(event.sequence).label("sequence"),
        func.max(event.counted_after_nano).label("counted"),
        func.sum(event.cost_nano).label("cost"),
        func.max(event.unknown_after_nano).label("unknown"),
        func.max(event.occurred_at).label("at"),
    ).where(event.sequence.is_not(None))
    account = accounts.c
    columns = account.sequence, account.counted_nano, account.unknown_nano, account.last_settled_at
    with platform.database.read() as connection:
        found = {row[0]: tuple(row[1:]) for row in connection.execute(select(account.project_id, *columns))}
        for row in connection.execute(last.group_by(event.project_id)):
            assert found[row.project_id] == (row.sequence, row.counted, row.unknown, row.at)
            assert row.cost + row.unknown == row.counted


def _assert_runs_add_up(platform: Platform) -> None:
    of_runs = select(func.sum(runs.c.calls), func.sum(runs.c.platform_nano), func.sum(runs.c.tokens))
    tokens = func.sum(usage_events.c.input_tokens + usage_events.c.output_tokens)
    platform_nano = func.sum(usage_events.c.cost_nano).filter(usage_events.c.source == "platform")
    of_calls = select(func.count(), platform_nano, tokens).where(usage_events.c.run_id.is_not(None))
    with platform.database.read() as connection:
        assert connection.execute(of_runs).one() == connection.execute(of_calls).one()


def test_the_same_seed_draws_the_same_year() -> None:
    """A kept database is as good as a new one."""
    once, again, other = (draw(1_000, seed) for seed in (7, 7, 8))
    assert (once.at == again.at).all()
    assert (once.cost == again.cost).all()
    assert (once.at[:100] != other.at[:100]).any()
    assert len(once.at) == 1_000
    assert END - 366 * DAY < once.at[0] <= once.at[-1] < END
