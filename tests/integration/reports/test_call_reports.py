"""What single calls say is exact over the calls that were looked at, and the answer names those."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import insert

from lib.access.roles import Actor, Origin, local_administrator
from lib.clock import DAY, HOUR, Micros
from lib.db import Database
from lib.db.tables import runs
from lib.reports import calls as call_reports
from lib.reports.calls import CallReports, LatestCalls
from lib.reports.models import UsageFilter
from tests.events import put_anew
from tests.vaults import projects_of

ADMIN = local_administrator(Origin.COMMAND_LINE)
START: Micros = 1_790_000_000_000_000 - 1_790_000_000_000_000 % DAY
LENGTH = 30 * DAY
PERIOD = UsageFilter(since=START, until=START + LENGTH)

calls = st.lists(
    st.fixed_dictionaries(
        {
            "occurred_at": st.integers(START, START + LENGTH - 1),
            "project": st.sampled_from(["one", "two"]),
            "source": st.sampled_from(["platform", "byok"]),
            "model": st.sampled_from(["gpt-5", "gpt-5-mini"]),
            "run_id": st.sampled_from(["run-a", "run-b", "elsewhere", None]),
            "status": st.sampled_from(["ok", "ok", "error", "abandoned"]),
            "cost_nano": st.one_of(st.none(), st.integers(0, 10**13)),
            "input_tokens": st.one_of(st.none(), st.integers(0, 10**6)),
            "output_tokens": st.integers(0, 10**6),
            "latency_ms": st.one_of(st.none(), st.integers(0, 10**5)),
        }
    ),
    max_size=40,
)


@pytest.fixture
def database(database_url):
    database = Database(database_url)
    ids = [projects_of(database).add(slug, actor=ADMIN).id for slug in ("one", "two")]
    with database.write() as connection:
        for project_id in ids:
            for name in ("run-a", "run-b"):
                run = {"run_id": f"{name}-{project_id[:8]}", "kind": "scan", "status": "passed"}
                run |= {"project_id": project_id, "started_at": START, "started_by": "worker"}
                connection.execute(insert(runs), run)
    yield database
    database.close()


def _fill(database: Database, drawn: list[dict[str, Any]]) -> None:
    """Write these calls; ``run-…`` becomes the run of that name of the call's own project."""
    ids = {project.slug: project.id for project in projects_of(database).list(actor=ADMIN)}
    for each in drawn:
        if (each["run_id"] or "").startswith("run-"):
            each["run_id"] = f"{each['run_id'][:5]}-{ids[each['project']][:8]}"
    put_anew(database, drawn)


def call(at: Micros = START, **more: Any) -> dict[str, Any]:
    plain = {"occurred_at": at, "project": "one", "source": "byok", "model": "gpt-5", "run_id": None}
    return (
        plain
        | {"cost_nano": 1, "input_tokens": 1, "output_tokens": 1, "latency_ms": 1, "status": "ok"}
        | more
    )


def _latest(database: Database, wanted: UsageFilter = PERIOD, actor: Actor = ADMIN) -> LatestCalls:
    return CallReports(database).latest(wanted, actor=actor)


@settings(max_examples=25)
@given(drawn=calls, models=st.sampled_from([(), ("gpt-5",)]), slugs=st.sampled_from([(), ("one",)]))
def test_of_few_calls_all_are_looked_at_and_every_number_is_that_of_the_events(
    database, drawn, models, slugs
):
    _fill(database, drawn)
    found = [
        each
        for each in drawn
        if (not models or each["model"] in models) and (not slugs or each["project"] in slugs)
    ]

    latest = _latest(database, UsageFilter(projects=slugs, models=models, since=START, until=START + LENGTH))

    assert (latest.whole, latest.since, latest.calls) == (True, START, len(found))
    costs = sorted((each["cost_nano"] for each in found if each["cost_nano"] is not None), reverse=True)
    assert [each.cost_nano for each in latest.costliest_calls] == costs[:10]
    assert {each.run_id for each in latest.costliest_calls} <= {each["run_id"] for each in found} | {None}
    assert "elsewhere" not in {each.run_id for each in latest.costliest_calls}
    by_run: dict[str, dict[str, int]] = {}
    for each in found:
        if (each["run_id"] or "").startswith("run-") and each["cost_nano"] is not None:
            sums = by_run.setdefault(each["run_id"], {"platform": 0, "byok": 0})
            sums[each["source"]] += each["cost_nano"]
    assert {run.run_id: (run.platform_nano, run.byok_nano) for run in latest.costliest_runs} == {
        run_id: (sums["platform"], sums["byok"]) for run_id, sums in by_run.items()
    }
    spent = [run.platform_nano + run.byok_nano for run in latest.costliest_runs]
    assert spent == sorted(spent, reverse=True)


@settings(max_examples=25)
@given(drawn=calls, most=st.integers(1, 20))
def test_of_many_calls_the_latest_are_looked_at_from_a_whole_hour_on(database, drawn, most):
    _fill(database, drawn)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(call_reports, "MOST", most)
        latest = _latest(database)

    moments = [each["occurred_at"] for each in drawn]
    assert latest.calls == sum(at >= latest.since for at in moments)
    if latest.whole:
        assert latest.since == START
    else:
        assert latest.since % HOUR == 0
        first = min(at for at in moments if at >= latest.since)
        one_hour = {at - at % HOUR for at in moments if at >= latest.since} == {first - first % HOUR}
        assert latest.calls <= most or one_hour
        before = max(at for at in moments if at < latest.since)
        hour = before - before % HOUR
        assert latest.calls + sum(hour <= at < hour + HOUR for at in moments) > most, "not one hour too few"


@pytest.mark.parametrize("paid", [("byok",), ("platform",), ("byok", "platform")])
def test_a_run_says_whose_key_it_used_also_where_that_cost_nothing(database, paid):
    _fill(database, [call(source=source, run_id="run-a", cost_nano=0) for source in paid])
    [run] = _latest(database).costliest_runs
    assert run.source == (paid[0] if len(paid) == 1 else "both")


def test_an_hour_of_more_calls_than_that_is_looked_at_whole(database, monkeypatch):
    monkeypatch.setattr(call_reports, "MOST", 3)
    _fill(database, [call(START + 5 * HOUR + second) for second in range(9)] + [call(START)])

    latest = _latest(database)

    assert (latest.calls, latest.since, latest.whole) == (9, START + HOUR, False)


def test_calls_of_other_models_count_for_the_bound_too(database, monkeypatch):
    """The bound is what is read, not what matches: else a rare model would read all of history."""
    monkeypatch.setattr(call_reports, "MOST", 3)
    _fill(database, [call(START, model="rare")] + [call(START + hour * HOUR) for hour in range(1, 9)])

    latest = _latest(database, UsageFilter(models=("rare",), since=START, until=START + LENGTH))

    assert (latest.calls, latest.since) == (0, START + 6 * HOUR)


def test_nothing_is_said_of_projects_that_the_actor_may_not_see(database):
    _fill(database, [call()])
    outsider = Actor(name="x", origin=Origin.BROWSER)
    latest = _latest(database, actor=outsider)
    assert (latest.calls, latest.costliest_calls, latest.costliest_runs) == (0, [], [])
