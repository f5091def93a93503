"""What becomes of a project: titles, labels that leave old months as they were, archive and restore, delete."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lib.access.auditlog import AuditFilter, AuditLog
from lib.access.project_changes import ProjectChanges
from lib.access.roles import Actor, Origin, Role
from lib.clock import DAY, HOUR
from lib.errors import BadInput, ProjectArchived, ProjectUnknown, RunWaiting
from lib.usage import rollups
from tests.spending import ADMIN, NOON, Clock, Shop, open_shop


@pytest.fixture
def shop(database_url: str, clock: Clock) -> Iterator[Shop]:
    with open_shop(database_url, clock, cap_5h=10_000, cap_7d=30_000) as shop:
        yield shop


@pytest.fixture
def changes(shop: Shop) -> ProjectChanges:
    return ProjectChanges(shop.database, rollups.day_start)


def actions(shop: Shop) -> list[str]:
    rows, _ = AuditLog(shop.database).list(AuditFilter(projects=("shop",)), actor=ADMIN)
    return [row.action for row in rows]


def test_an_archived_project_takes_no_runs_and_keeps_its_history(shop: Shop, changes: ProjectChanges) -> None:
    run = shop.start()
    shop.spend(run, 100)
    changes.archive("shop", actor=ADMIN)
    with pytest.raises(ProjectArchived, match="archived and takes no runs"):
        shop.start()
    shop.spend(run, 100)
    assert shop.headroom().windows["5h"].used_nano == 200
    assert shop.projects.get("shop", actor=ADMIN).archived_at == NOON
    changes.restore("shop", actor=ADMIN)
    shop.start()
    assert actions(shop)[:2] == ["project:restored", "project:archived"]


def test_a_waiting_run_of_an_archived_project_waits_until_it_is_restored(
    shop: Shop, changes: ProjectChanges, clock: Clock
) -> None:
    shop.spend(shop.start(), 10_000)
    with pytest.raises(RunWaiting) as waiting:
        shop.start("scheduled")
    changes.archive("shop", actor=ADMIN)
    clock.now += DAY
    assert shop.runs.due(actor=ADMIN) == []
    with pytest.raises(ProjectArchived):
        shop.runs.resume(waiting.value.run_id, actor=ADMIN)
    changes.restore("shop", actor=ADMIN)
    assert [run.run_id for run in shop.runs.due(actor=ADMIN)] == [waiting.value.run_id]


def test_what_is_archived_is_not_archived_again_and_what_is_not_is_not_restored(
    shop: Shop, changes: ProjectChanges
) -> None:
    with pytest.raises(BadInput, match="is not archived"):
        changes.restore("shop", actor=ADMIN)
    changes.archive("shop", actor=ADMIN)
    with pytest.raises(BadInput, match="archived already"):
        changes.archive("shop", actor=ADMIN)


def test_a_project_that_was_used_is_not_deleted_and_one_that_was_not_is_gone(
    shop: Shop, changes: ProjectChanges
) -> None:
    shop.add("unused")
    shop.start()
    with pytest.raises(BadInput, match="Archive it instead"):
        changes.delete("shop", actor=ADMIN)
    changes.delete("unused", actor=ADMIN)
    with pytest.raises(ProjectUnknown):
        shop.projects.get("unused", actor=ADMIN)
    shop.add("unused")


def test_a_label_holds_from_the_day_it_is_set_and_older_months_do_not_move(
    shop: Shop, changes: ProjectChanges, clock: Clock
) -> None:
    midnight = NOON - NOON % DAY
    changes.describe("shop", labels={"cost_centre": "of this morning"}, actor=ADMIN)
    clock.now += HOUR
    changes.describe("shop", labels={"cost_centre": "4711"}, actor=ADMIN)
    clock.now += DAY
    changes.describe("shop", labels={"cost_centre": "0815"}, actor=ADMIN)
    changes.describe("shop", labels={"owner": "Ada"}, actor=ADMIN)
    clock.now += DAY
    changes.describe("shop", labels={"owner": ""}, actor=ADMIN)
    assert changes.labels("shop", actor=ADMIN) == {"cost_centre": "0815"}
    assert changes.labels("shop", actor=ADMIN, at=midnight + DAY) == {"cost_centre": "0815", "owner": "Ada"}
    for at in (midnight, midnight + DAY - 1):
        assert changes.labels("shop", actor=ADMIN, at=at) == {"cost_centre": "4711"}
    assert changes.labels("shop", actor=ADMIN, at=midnight - 1) == {}


def test_the_day_of_a_label_begins_where_the_reporting_time_zone_says(
    shop: Shop, changes: ProjectChanges
) -> None:
    rollups.set_zone(shop.database, "Asia/Kolkata")
    changes.describe("shop", labels={"owner": "Ada"}, actor=ADMIN)
    midnight = NOON - NOON % DAY - 5 * HOUR - HOUR // 2
    assert changes.labels("shop", actor=ADMIN, at=midnight) == {"owner": "Ada"}
    assert changes.labels("shop", actor=ADMIN, at=midnight - 1) == {}


@pytest.mark.parametrize(
    ("name", "value"),
    [("Cost centre", "1"), ("", "1"), ("a" * 41, "1"), ("a", "x" * 201), ("a", "two\nlines")],
)
def test_what_is_no_label_is_refused(changes: ProjectChanges, name: str, value: str) -> None:
    with pytest.raises(BadInput):
        changes.describe("shop", labels={name: value}, actor=ADMIN)


@pytest.mark.parametrize(
    "labels", [{"owner": "Ada", "No label": "1"}, {f"label-{n}": "1" for n in range(21)}]
)
def test_a_title_and_labels_are_changed_together_or_not_at_all(
    shop: Shop, changes: ProjectChanges, labels: dict[str, str]
) -> None:
    before = shop.projects.get("shop", actor=ADMIN)
    with pytest.raises(BadInput):
        changes.describe("shop", title="Another", labels=labels, actor=ADMIN)
    assert shop.projects.get("shop", actor=ADMIN) == before
    assert changes.labels("shop", actor=ADMIN) == {}


def test_a_title_changes_and_the_short_name_never(shop: Shop, changes: ProjectChanges) -> None:
    changes.describe("shop", title="The *shop*", actor=ADMIN)
    project = shop.projects.get("shop", actor=ADMIN)
    assert (project.slug, project.name) == ("shop", "The *shop*")
    stranger = Actor("stranger@example.com", Origin.BROWSER, None, {"another": Role.LEAD})
    with pytest.raises(ProjectUnknown):
        changes.describe("shop", title="Mine", actor=stranger)
