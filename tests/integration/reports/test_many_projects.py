"""Reports about all projects where there are more of them than a statement can name."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from sqlalchemy import insert

from lib.access.roles import Actor, Origin, Role
from lib.clock import DAY, HOUR
from lib.db.tables import projects
from lib.errors import ProjectUnknown
from lib.reports.models import UsageFilter
from lib.reports.spend import Reports
from tests.spending import ADMIN, NOON, Clock, Shop, open_shop

MANY = 20_000  # PostgreSQL takes 65,535 values in one statement, and a report has several parts
WANTED = UsageFilter(since=NOON - 3 * DAY + HOUR // 3, until=NOON + HOUR // 3, zone="Asia/Kolkata")


@pytest.fixture
def shop(database_url: str, clock: Clock) -> Iterator[Shop]:
    """The project ``shop`` with two calls, among so many others that are not used."""
    with open_shop(database_url, clock, cap_5h=10_000, cap_7d=30_000) as shop:
        row = {"plan": "Starter", "on_key_failure": "stop", "created_at": NOON, "created_by": "somebody"}
        with shop.database.write() as connection:
            rows = [
                {"id": f"id-{each}", "slug": f"many-{each}", "name": "Many"} | row for each in range(MANY)
            ]
            connection.execute(insert(projects), rows)
        run = shop.start()
        for cost in (100, 200):
            shop.spend(run, cost)
        yield shop


def test_whoever_sees_all_of_thousands_of_projects_gets_every_report_of_them(shop: Shop):
    reports = Reports(shop.database)
    assert reports.totals(WANTED, actor=ADMIN).platform_nano == 300
    assert list(reports.by_project(WANTED, actor=ADMIN)) == ["shop"]
    assert sum(day.total_nano for day in reports.by_day(WANTED, actor=ADMIN)) == 300
    assert reports.any_call(actor=ADMIN) is True
    assert reports.filter_options(actor=ADMIN).models == ["unit"]
    with pytest.raises(ProjectUnknown):
        reports.totals(replace(WANTED, projects=("shop", "nobody")), actor=ADMIN)


def test_whoever_sees_some_of_them_gets_those_alone(shop: Shop):
    reports = Reports(shop.database)
    stranger = Actor("ada@example.com", Origin.BROWSER, projects={"id-7": Role.LEAD})
    assert reports.totals(WANTED, actor=stranger).calls == 0
    assert not reports.any_call(actor=stranger)
    assert reports.by_project(WANTED, actor=Actor("nobody@example.com", Origin.BROWSER)) == {}
    with pytest.raises(ProjectUnknown):
        reports.totals(replace(WANTED, projects=("shop",)), actor=stranger)
