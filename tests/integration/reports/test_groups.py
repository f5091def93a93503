"""Usage by group: each group is the plain sum over its events, all of them together are the total."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import reduce
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import insert

from lib.access.projects import visible_ids
from lib.access.roles import Actor, Origin, Role
from lib.clock import HOUR
from lib.db import Database
from lib.db.tables import runs
from lib.errors import BadInput, ProjectUnknown
from lib.exchange.event_slices import count_events
from lib.reports.caching import CachingReports
from lib.reports.groups import GROUPS, OF_EVENTS, ORDERS, Group, GroupReports
from lib.reports.models import Totals, UsageFilter
from lib.reports.spend import Reports
from tests.events import put_anew
from tests.integration.reports.test_labels import (
    ADMIN,
    START,
    Labels,
    events,
    filters,
    in_force,
    label,
    labels,
    matches,
    three_projects,
)

EVENT = {
    "project": "one",
    "source": "byok",
    "model": "m",
    "cost_nano": 1,
    "input_tokens": 1,
    "output_tokens": 1,
}
STARTED_BY = {"r1": "ann@example.com", "r2": "bob@example.com"}


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    for database in three_projects(database_url):
        with database.write() as connection:
            for slug in ("one", "two"):
                [project_id] = visible_ids(connection, ADMIN, (slug,))
                for run, email in STARTED_BY.items():
                    row = {"run_id": f"{slug}-{run}", "kind": "scan", "status": "passed", "started_at": START}
                    connection.execute(insert(runs), row | {"project_id": project_id, "started_by": email})
        yield database


def reports_of(database: Database) -> GroupReports:
    return GroupReports(database)


Key = tuple[str, str, str, str]
NAMES: dict[str, Callable[[Mapping[str, Any]], Key]] = {
    "project": lambda event: (event["project"], "", "", ""),
    "model": lambda event: (event["model"], "", "", ""),
    "kind": lambda event: (event["run_kind"] or "", "", "", ""),
    "user": lambda event: (STARTED_BY.get(str(event["run_id"])[4:], ""), "", "", ""),
    "key": lambda event: (
        event["key_last4"] or "",
        event["project"] if event["source"] == "byok" else "",
        event["source"],
        event["provider"],
    ),
}
paid = st.tuples(
    st.sampled_from(["aaaa", "bbbb", None]),
    st.sampled_from(["r1", "r2", None]),
    st.sampled_from(["openai", "anthropic"]),
)


def plain(found: Sequence[Mapping[str, Any]]) -> tuple[int, ...]:
    costs = (sum(e["cost_nano"] or 0 for e in found if e["source"] == name) for name in ("platform", "byok"))
    return (
        len(found),
        *costs,
        sum(e["cost_nano"] is None for e in found),
        sum(e["output_tokens"] for e in found),
    )


def said(sums: Totals) -> tuple[int, ...]:
    return sums.calls, sums.platform_nano, sums.byok_nano, sums.unpriced_calls, sums.output_tokens


@settings(max_examples=40)
@given(
    drawn=events,
    more=st.lists(paid, min_size=20, max_size=20),
    found=labels,
    asked=filters,
    with_labels=st.booleans(),
    group=st.sampled_from([*GROUPS, "label:centre", "label:owner"]),
)
def test_each_group_is_the_plain_sum_over_its_events(
    database: Database,
    drawn: list[dict[str, Any]],
    more: list[tuple[str | None, str | None, str]],
    found: Labels,
    asked: dict[str, Any],
    *,
    with_labels: bool,
    group: str,
) -> None:
    for event, (last4, run, provider) in zip(drawn, more, strict=False):
        event["provider"] = provider
        event |= {"key_last4": last4, "run_id": f"{event['project']}-{run}" if run else None}
        if event["project"] == "three":
            event["run_id"] = "foreign"
    put_anew(database, drawn)
    label(database, found)
    wanted = UsageFilter(**(asked if with_labels else asked | {"labels": ()}))
    expected: dict[Key, list[dict[str, Any]]] = defaultdict(list)
    for event in drawn:
        if matches(event, wanted, found):
            name = group.partition(":")[2]
            value = (in_force(found, event["project"], name, event["occurred_at"]), "", "", "")
            expected[value if name else NAMES[group](event)].append(event)

    page = reports_of(database).page(wanted, group, actor=ADMIN)
    assert {
        (row.name, row.project, row.source, row.provider): said(row) for row in page.rows if row.calls
    } == {key: plain(rows) for key, rows in expected.items()}
    assert page.groups == len(page.rows)
    assert said(page.everything) == said(Reports(database).totals(wanted, actor=ADMIN))
    assert [row.total_nano for row in page.rows] == sorted(
        (row.total_nano for row in page.rows), reverse=True
    )
    if group in OF_EVENTS:
        for row in page.rows:
            assert_alone(database, row, narrowed_to(row, wanted, group))


def narrowed_to(row: Group, wanted: UsageFilter, group: str) -> UsageFilter:
    """The filter that lets only this user or key through."""
    if group == "user":
        return replace(wanted, users=(row.name,))
    whose = (row.project,) if row.project else wanted.projects
    return replace(wanted, keys=(row.name,), sources=(row.source,), providers=(row.provider,), projects=whose)


def assert_alone(database: Database, row: Group, alone: UsageFilter) -> None:
    """Each report of this user or key alone has what the group has."""
    reports = Reports(database)
    assert said(reports.totals(alone, actor=ADMIN)) == said(row)
    for parts in (
        reports.by_day(alone, actor=ADMIN),
        reports.by_project(alone, actor=ADMIN).values(),
        reports.by_model(alone, actor=ADMIN),
    ):
        assert said(reduce(Totals.add, parts, Totals())) == said(row)
    found = reports_of(database).page(alone, "model", actor=ADMIN)
    assert said(found.everything) == said(row)
    assert sum(each.calls for each in CachingReports(database).by_model(alone, actor=ADMIN)) == 0
    with database.read() as connection:
        ids = visible_ids(connection, ADMIN, alone.projects)
        assert count_events(connection, alone, ids) == row.calls


@pytest.fixture
def many(database: Database) -> Database:
    """A hundred and twenty models, of which the last one cost most."""
    put_anew(
        database,
        [
            EVENT
            | {
                "occurred_at": START + n * HOUR,
                "model": f"m{n:03}",
                "cost_nano": n,
                "status": "error" if n == 7 else "ok",
            }
            for n in range(120)
        ],
    )
    return database


@pytest.mark.parametrize("order", ORDERS)
def test_pages_hold_each_group_once_in_one_order(many: Database, order: str) -> None:
    found: list[Group] = []
    for offset in (0, 50, 100):
        page = reports_of(many).page(UsageFilter(), "model", actor=ADMIN, order=order, offset=offset)
        assert page.groups == 120
        assert page.everything.byok_nano == sum(range(120))
        found += page.rows
    assert len({row.name for row in found}) == len(found) == 120
    first = {"spend": "m119", "calls": "m119", "failed": "m007", "tokens": "m119", "name": "m000"}
    assert found[0].name == first[order]


def test_a_page_behind_the_last_one_is_empty_and_says_how_many_there_are(many: Database) -> None:
    page = reports_of(many).page(UsageFilter(), "model", actor=ADMIN, offset=500)
    assert (page.rows, page.groups) == ([], 120)
    nothing = reports_of(many).page(UsageFilter(projects=("two",)), "model", actor=ADMIN)
    assert (nothing.rows, nothing.groups, nothing.everything) == ([], 0, Totals())


@pytest.mark.parametrize("group", [*GROUPS, "label:centre"])
def test_groups_are_made_of_projects_that_one_may_see(database: Database, group: str) -> None:
    put_anew(
        database,
        [
            EVENT
            | {
                "project": slug,
                "occurred_at": START,
                "model": f"of-{slug}",
                "key_last4": slug,
                "run_id": f"{slug}-r1",
            }
            for slug in ("one", "two")
        ],
    )
    label(database, {("one", "centre", START): "of-one", ("two", "centre", START): "of-two"})
    with database.read() as connection:
        [own] = visible_ids(connection, ADMIN, ("one",))
    ann = Actor("ann@example.com", Origin.BROWSER, None, {own: Role.ANALYST})
    page = reports_of(database).page(UsageFilter(), group, actor=ann)
    assert page.groups == 1
    assert page.everything.calls == 1
    assert "two" not in repr(page)
    stranger = Actor("eve@example.com", Origin.BROWSER)
    assert reports_of(database).page(UsageFilter(), group, actor=stranger).groups == 0
    with pytest.raises(ProjectUnknown):
        reports_of(database).page(UsageFilter(projects=("two",)), group, actor=ann)


@pytest.mark.parametrize(("group", "order"), [("colour", "spend"), ("model", "colour"), ("", "spend")])
def test_what_is_no_group_or_order_is_refused(database: Database, group: str, order: str) -> None:
    with pytest.raises(BadInput):
        reports_of(database).page(UsageFilter(), group, actor=ADMIN, order=order)
