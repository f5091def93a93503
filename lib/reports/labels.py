"""Labels of projects in reports: which value was in force when, and where a period is cut so that it is one.

A label holds from its ``since`` until the next one of that name. Totals of a day or an hour have one moment for all
their calls, so a period is cut where a label changes: what lies between two cuts has one value for each project.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

from sqlalchemy import ColumnElement, Connection, func, literal_column, select

from lib.access.projects import ProjectIds
from lib.clock import Micros
from lib.db.tables import project_labels, projects
from lib.reports.models import UsageFilter


def split(label: str) -> tuple[str, str]:
    """Name and value of ``NAME=VALUE``; the value may be empty, and have a ``=`` of its own."""
    name, _, value = label.partition("=")
    return name, value


def value_at(project_id: ColumnElement[str], name: str, moment: ColumnElement[int]) -> ColumnElement[str]:
    """The value that a label of a project had then, in SQL; empty where it had none."""
    label = project_labels.alias()
    newest = (
        select(label.c.value)
        .where(label.c.project_id == project_id, label.c.name == name, label.c.since <= moment)
        .order_by(label.c.since.desc())
        .limit(1)
        .correlate_except(label)
        .scalar_subquery()
    )
    return func.coalesce(newest, literal_column("''"))


def labelled(
    project_id: ColumnElement[str], moment: ColumnElement[int], labels: Sequence[str]
) -> Iterator[ColumnElement[bool]]:
    """The conditions that a project had these labels then; ``labels`` as in ``UsageFilter``."""
    values: dict[str, list[str]] = defaultdict(list)
    for name, value in map(split, labels):
        values[name].append(value)
    for name, wanted in values.items():
        if "" not in wanted:  # few projects ever had the value, and the moment is looked up for those alone
            ever = select(project_labels.c.project_id).where(
                project_labels.c.name == name, project_labels.c.value.in_(wanted)
            )
            yield project_id.in_(ever)
        yield value_at(project_id, name, moment).in_(wanted)


def spans(connection: Connection, wanted: UsageFilter, names: Collection[str] = ()) -> list[UsageFilter]:
    """The filter over stretches of its period, in each of which every label that matters has one value.

    Args:
        connection: of one read.
        wanted: its own labels matter.
        names: and these.
    """
    names = {*names, *(name for name, _ in map(split, wanted.labels))}
    cuts = _changes(connection, names, wanted.since, wanted.until) if names else []
    return [
        replace(wanted, since=since, until=until)
        for since, until in pairwise([wanted.since, *cuts, wanted.until])
    ]


class LabelHistory:
    """All that labels of these names ever were, in memory: for many look-ups of one export.

    Args:
        connection: of one read.
        names: of the labels, in order.
    """

    def __init__(self, connection: Connection, names: Sequence[str]) -> None:
        self._names = names
        self._found: dict[tuple[str, str], tuple[list[Micros], list[str]]] = {}
        label = project_labels.c
        rows = select(projects.c.slug, label.name, label.since, label.value).join_from(
            project_labels, projects, projects.c.id == label.project_id
        )
        for row in connection.execute(rows.where(label.name.in_(names)).order_by(label.since)):
            times, values = self._found.setdefault((row.slug, row.name), ([], []))
            times.append(row.since)
            values.append(row.value or "")

    def of(self, slug: str, at: Micros) -> tuple[str, ...]:
        """The values of a project then, in the order of the names; empty where it had none."""
        return tuple(self._one(slug, name, at) for name in self._names)

    def _one(self, slug: str, name: str, at: Micros) -> str:
        times, values = self._found.get((slug, name), ([], []))
        place = bisect_right(times, at)
        return values[place - 1] if place else ""


def _changes(
    connection: Connection, names: Collection[str], since: Micros | None, until: Micros | None
) -> Sequence[Micros]:
    at = project_labels.c.since
    found = select(at).distinct().where(project_labels.c.name.in_(names)).order_by(at)
    if since is not None:
        found = found.where(at > since)
    return connection.execute(found if until is None else found.where(at < until)).scalars().all()


def values_of(connection: Connection, project_ids: ProjectIds) -> dict[str, list[str]]:
    """By name all values that these projects ever had, in order."""
    label = project_labels.c
    statement = select(label.name, label.value).distinct().where(label.value.is_not(None))
    found: dict[str, list[str]] = defaultdict(list)
    rows: Any = connection.execute(statement.where(label.project_id.in_(project_ids)))
    for name, value in sorted(rows):
        found[name].append(value)
    return dict(found)
