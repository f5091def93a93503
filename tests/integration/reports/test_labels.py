"""Reports by the labels of projects: an event belongs to the value that was in force when it settled."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import insert, select

from lib.access.projects import visible_ids
from lib.access.roles import Actor, Origin, Role, local_administrator
from lib.clock import DAY, HOUR, Micros, to_micros
from lib.db import Database
from lib.db.tables import project_labels, projects
from lib.exchange.daily_summary import single_days
from lib.reports.calls import CallReports
from lib.reports.models import Totals, UsageFilter
from lib.reports.spend import Reports
from lib.usage import rollups
from tests.events import put_anew
from tests.vaults import projects_of

ADMIN = local_administrator(Origin.COMMAND_LINE)
START = to_micros(datetime(2026, 10, 20, tzinfo=UTC))
DAYS = 10
ZONES = ["UTC", "Asia/Kolkata", "Europe/Berlin", "America/Los_Angeles"]
BEGINNING, END = START, START + DAYS * DAY

moments = st.one_of(
    st.integers(BEGINNING, END - 1),
    st.integers(0, DAYS - 1).map(lambda day: START + day * DAY),
    st.integers(0, 24 * DAYS - 1).map(lambda hour: START + hour * HOUR - 1),
)
Labels = Mapping[tuple[str, str, Micros], str | None]
labels = st.dictionaries(
    st.tuples(st.sampled_from(["one", "two"]), st.sampled_from(["centre", "owner"]), moments),
    st.sampled_from(["a", "b=c", None]),
    max_size=8,
)
wanted_labels = st.lists(
    st.sampled_from(["centre=a", "centre=b=c", "centre=", "owner=a", "owner=", "centre=never"]),
    min_size=1,
    max_size=3,
    unique=True,
)
events = st.lists(
    st.fixed_dictionaries(
        {
            "occurred_at": moments,
            "project": st.sampled_from(["one", "two", "three"]),
            "source": st.sampled_from(["platform", "byok"]),
            "model": st.sampled_from(["gpt-5", "gpt-5-mini"]),
            "run_kind": st.sampled_from(["scan", None]),
            "cost_nano": st.one_of(st.none(), st.integers(0, 10**13)),
            "input_tokens": st.integers(0, 10**6),
            "output_tokens": st.integers(0, 10**6),
        }
    ),
    max_size=20,
)
filters = st.fixed_dictionaries(
    {"labels": wanted_labels},
    optional={
        "projects": st.just(("one",)),
        "sources": st.just(("byok",)),
        "models": st.just(("gpt-5",)),
        "kinds": st.just(("scan",)),
        "since": moments,
        "until": moments,
        "zone": st.sampled_from(ZONES),
    },
)


def three_projects(database_url: str) -> Iterator[Database]:
    """For a fixture: a database with the projects that these events and labels are of."""
    database = Database(database_url)
    for slug in ("one", "two", "three"):
        projects_of(database).add(slug, actor=ADMIN)
    yield database
    database.close()


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    yield from three_projects(database_url)


def label(database: Database, found: Labels) -> None:
    """Write these labels in place of all that were there."""
    with database.write() as connection:
        connection.execute(project_labels.delete())
        ids = {row.slug: row.id for row in connection.execute(select(projects.c.slug, projects.c.id))}
        for (slug, name, since), value in found.items():
            row = {"project_id": ids[slug], "name": name, "since": since, "value": value}
            connection.execute(insert(project_labels), row)


def in_force(found: Labels, slug: object, name: str, at: Micros) -> str:
    """The plain rule: the newest one until then, empty where there is none."""
    mine = {since: value for (owner, named, since), value in found.items() if (owner, named) == (slug, name)}
    reached = [since for since in mine if since <= at]
    return (mine[max(reached)] or "") if reached else ""


def matches(event: Mapping[str, Any], wanted: UsageFilter, found: Labels) -> bool:
    values: dict[str, list[str]] = {}
    for each in wanted.labels:
        name, value = each.split("=", 1)
        values.setdefault(name, []).append(value)
    at = event["occurred_at"]
    return (
        (not wanted.projects or event["project"] in wanted.projects)
        and (not wanted.sources or event["source"] in wanted.sources)
        and (not wanted.models or event["model"] in wanted.models)
        and (not wanted.kinds or event["run_kind"] in wanted.kinds)
        and (wanted.since is None or at >= wanted.since)
        and (wanted.until is None or at < wanted.until)
        and all(in_force(found, event["project"], name, at) in some for name, some in values.items())
    )


def sums(rows: Sequence[Totals]) -> tuple[int, int, int]:
    return (
        sum(row.calls for row in rows),
        sum(row.platform_nano for row in rows),
        sum(row.byok_nano for row in rows),
    )


def plain(found: Sequence[Mapping[str, Any]]) -> tuple[int, int, int]:
    costs = {
        source: sum(e["cost_nano"] or 0 for e in found if e["source"] == source)
        for source in ("platform", "byok")
    }
    return len(found), costs["platform"], costs["byok"]


@settings(max_examples=40)
@given(drawn=events, found=labels, asked=filters, kept=st.sampled_from(["UTC", "Asia/Kolkata"]))
def test_a_label_filter_lets_through_exactly_the_events_whose_project_had_it_then(
    database: Database, drawn: list[dict[str, Any]], found: Labels, asked: dict[str, Any], kept: str
) -> None:
    rollups.set_zone(database, kept)
    put_anew(database, drawn)
    label(database, found)
    wanted, reports = UsageFilter(**asked), Reports(database)
    expected = plain([event for event in drawn if matches(event, wanted, found)])

    with database.read() as connection:
        ids = visible_ids(connection, ADMIN, wanted.projects)
        daily = [row.totals for rows in single_days(connection, wanted, ids) for row in rows]
    assert sums([reports.totals(wanted, actor=ADMIN)]) == expected
    assert sums(reports.by_day(wanted, actor=ADMIN)) == expected
    assert sums(reports.by_model(wanted, actor=ADMIN)) == expected
    assert sums(daily) == expected
    if wanted.since is not None and wanted.until is not None:
        hours = reports.by_utc_hour(wanted, actor=ADMIN).values()
        assert (sum(hour.platform_nano for hour in hours), sum(hour.byok_nano for hour in hours)) == expected[
            1:
        ]
        assert sums(reports.by_hour(wanted, actor=ADMIN)) == expected
        assert CallReports(database).latest(wanted, actor=ADMIN).calls == expected[0]


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_labels_that_change_each_hour_of_months_are_summed_as_exactly(database: Database) -> None:
    """More stretches than SQLite puts together in one statement."""
    hours = 700
    found = {("one", "centre", START + hour * HOUR): "ab"[hour % 2] for hour in range(hours)}
    event = {
        "project": "one",
        "source": "byok",
        "model": "m",
        "cost_nano": 1,
        "input_tokens": 1,
        "output_tokens": 1,
    }
    put_anew(database, [event | {"occurred_at": START + hour * HOUR} for hour in range(hours)])
    label(database, found)
    reports = Reports(database)
    assert reports.totals(UsageFilter(labels=["centre=a"]), actor=ADMIN).byok_nano == hours // 2
    assert reports.totals(UsageFilter(labels=["centre=a", "centre=b"]), actor=ADMIN).byok_nano == hours


def test_labels_to_choose_from_are_those_of_projects_that_one_may_see(database: Database) -> None:
    label(
        database,
        {("one", "owner", START): "Ada", ("two", "owner", START): "Bob", ("two", "team", START): None},
    )
    with database.read() as connection:
        [own] = visible_ids(connection, ADMIN, ("one",))
    ann = Actor("ann@example.com", Origin.BROWSER, None, {own: Role.ANALYST})
    assert Reports(database).filter_options(actor=ann).labels == {"owner": ["Ada"]}
    assert Reports(database).filter_options(actor=ADMIN).labels == {"owner": ["Ada", "Bob"]}
