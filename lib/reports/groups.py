"""Usage by one thing: project, model, kind of run, who started the run, key, or the value of a label.

Summed, sorted and cut into pages by the database. Projects, models, kinds and labels are answered from roll-ups; who
started a run and which key paid are only in the events, which the database reads one by one for that: exact, and as
long as there are many calls.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Select,
    Subquery,
    case,
    func,
    literal_column,
    select,
)

from lib.access.projects import visible_ids
from lib.access.roles import Actor
from lib.clock import Micros
from lib.db import AnyRow, Database
from lib.db.tables import projects, runs, usage_events
from lib.errors import BadInput
from lib.reports.labels import spans, value_at
from lib.reports.models import FIELDS, Totals, UsageFilter
from lib.reports.queries import aggregate_segment, event_sums, matching, sums_of, union_of
from lib.reports.spend import segments_of
from lib.usage.archived import require_events
from lib.usage.expiry import sweep
from lib.usage.rollups import QUARTER, zone_of

GROUPS = ("project", "model", "kind", "user", "key")
"""What usage can be grouped by, besides ``label:NAME``."""

LABEL = "label:"
_NOTHING: ColumnElement[str] = literal_column("''")
_KEYS = ("name", "project", "source", "provider", "title")
OF_EVENTS = frozenset({"user", "key"})
"""Groups that only the events know."""
_COLUMN = {"project": "project_id", "model": "model", "kind": "run_kind"}


@dataclass
class Group(Totals):
    """The sums of one group. ``name`` is empty for calls that have none.

    A key is told from others by its ``source``, its ``provider`` and, a project's own, by its ``project``; of a
    project, ``title`` is its title.
    """

    name: str = field(default="", kw_only=True)
    source: str = field(default="", kw_only=True)
    project: str = field(default="", kw_only=True)
    provider: str = field(default="", kw_only=True)
    title: str = field(default="", kw_only=True)


class PaidKey(NamedTuple):
    """A key that paid: its last four (empty if unknown), of a project's own the project, its source and provider."""

    name: str
    project: str
    source: str
    provider: str


@dataclass(frozen=True)
class GroupPage:
    """Some of the groups in order, how many there are in all, and the sums of all."""

    rows: Sequence[Group]
    groups: int
    everything: Totals


def _largest(sums: str) -> ColumnElement[Any]:
    return literal_column(sums, BigInteger).desc()


_SPEND, _CALLS = _largest("platform_nano + byok_nano"), _largest("calls")
_FAILED = _largest("error_calls + broken_calls + abandoned_calls + unknown_calls")
_TOKENS = _largest("input_tokens + output_tokens")
ORDERS: dict[str, tuple[ColumnElement[Any], ...]] = {
    "spend": (_SPEND, _CALLS),
    "calls": (_CALLS, _SPEND),
    "failed": (_FAILED, _SPEND),
    "tokens": (_TOKENS, _SPEND),
    "name": (),
}
"""What groups can be sorted by; the largest first, then by name."""


class GroupReports:
    """Usage by group, of the projects that the actor may see."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def page(
        self,
        wanted: UsageFilter,
        group: str,
        *,
        actor: Actor,
        order: str = "spend",
        limit: int = 50,
        offset: int = 0,
    ) -> GroupPage:
        """Some groups of the usage that matches.

        Args:
            wanted: which usage.
            group: one of ``GROUPS``, or ``label:NAME``.
            actor: who asks.
            order: one of ``ORDERS``.
            limit: how many at most.
            offset: how many are before them.

        Raises:
            BadInput: there is no such group or order.
            UsageArchived: by user or key takes single calls, some of which are not here any more.
            ProjectUnknown: a project that is named does not exist, or the actor may not know of it.
        """
        if (group not in GROUPS and not group.startswith(LABEL)) or order not in ORDERS:
            raise BadInput(f"Usage is grouped by {', '.join(GROUPS)} or label:NAME.")
        sweep(self._database)
        with self._database.read() as connection:
            ids = visible_ids(connection, actor, wanted.projects)
            if not ids or _is_empty(wanted):
                return GroupPage([], 0, Totals())
            if group in OF_EVENTS:
                require_events(connection, wanted.since, ids)
            rows = _grouped(connection, wanted, ids, group)
            return _page(connection, _together(rows), order, limit, offset)

    def keys_over_time(self, wanted: UsageFilter, *, actor: Actor) -> Mapping[PaidKey, Mapping[Micros, int]]:
        """What each key paid, in nano-USD by quarter of an hour; of calls with a known price.

        Raises:
            ProjectUnknown: a project that is named does not exist, or the actor may not know of it.
            UsageArchived: some of the single calls are not here any more.
        """
        sweep(self._database)
        with self._database.read() as connection:
            ids = visible_ids(connection, actor, wanted.projects)
            require_events(connection, wanted.since, ids)
            at = usage_events.c.occurred_at
            quarter = (at - at % literal_column(str(QUARTER))).label("at")
            inner = _of_keys(wanted, ids, quarter).subquery()
            by = [inner.c[name] for name in (*PaidKey._fields, "at")]
            spent = func.sum(inner.c.platform_nano + inner.c.byok_nano)
            found: dict[PaidKey, dict[Micros, int]] = {}
            for *key, moment, nano in connection.execute(select(*by, spent).group_by(*by)):
                found.setdefault(PaidKey(*key), {})[int(moment)] = int(nano)
            return found


def _is_empty(wanted: UsageFilter) -> bool:
    return wanted.since is not None and wanted.until is not None and wanted.since >= wanted.until


def _page(connection: Connection, found: Subquery, order: str, limit: int, offset: int) -> GroupPage:
    keys = [found.c[name] for name in _KEYS]
    sums = [found.c[name] for name in FIELDS]
    # By bytes, as SQLite does, whatever language the server speaks.
    last = [key.collate("C") if connection.dialect.name == "postgresql" else key for key in keys]
    in_all = [func.count().over().label("groups"), *(func.sum(column).over() for column in sums)]
    statement = select(*keys, *in_all, *sums).order_by(*ORDERS[order], *last).limit(limit).offset(offset)
    rows = connection.execute(statement).all()
    if rows:
        groups, *every = rows[0][len(keys) : -len(sums)]
    else:
        groups, *every = connection.execute(select(func.count(), *map(func.sum, sums))).one()
    everything = Totals(**dict(zip(FIELDS, (int(value or 0) for value in every), strict=True)))
    return GroupPage([_group(row) for row in rows], groups, everything)


def _group(row: AnyRow) -> Group:
    return Group(
        name=row.name,
        project=row.project,
        source=row.source,
        provider=row.provider,
        title=row.title,
        **sums_of(row),
    )


def _grouped(connection: Connection, wanted: UsageFilter, ids: Sequence[str], group: str) -> Select[Any]:
    """Rows to be summed up by group: ``project``, ``source`` and ``name`` tell one from another."""
    if group == "user":
        return _of_users(wanted, ids)
    if group == "key":
        return _of_keys(wanted, ids)
    if group.startswith(LABEL):
        return _of_labels(connection, wanted, ids, group.removeprefix(LABEL))
    by = _COLUMN[group]
    inner = union_of(_parts(connection, wanted, ids, by)).subquery()
    if group != "project":
        return select(*_keys(inner.c[by]), *(inner.c[name] for name in FIELDS))
    slugs = select(*_keys(projects.c.slug, title=projects.c.name), *(inner.c[name] for name in FIELDS))
    return slugs.join_from(inner, projects, projects.c.id == inner.c.project_id)


def _of_labels(connection: Connection, wanted: UsageFilter, ids: Sequence[str], name: str) -> Select[Any]:
    """Sums of each project over each stretch in which the label stays as it is."""
    inner = union_of(_parts(connection, wanted, ids, "project_id", name)).subquery()
    value = value_at(inner.c.project_id, name, inner.c.moment)
    return select(*_keys(value), *(inner.c[each] for each in FIELDS))


def _parts(
    connection: Connection, wanted: UsageFilter, ids: Sequence[str], by: str, *labels: str
) -> list[Select[Any]]:
    """Sums of each segment by this column; ``moment`` is an instant of it, at which these labels are what they are."""
    days = zone_of(connection)
    return [
        aggregate_segment(segment, wanted, ids, (by,)).add_columns(
            literal_column(str(span.since or 0), BigInteger).label("moment")
        )
        for span in spans(connection, wanted, labels)
        for segment in segments_of(connection, span, ids, days)
    ]


def _of_users(wanted: UsageFilter, ids: Sequence[str]) -> Select[Any]:
    event = usage_events.c
    # Not the column itself: to have it in order SQLite would read the events of all times by the index of runs.
    run_id = func.coalesce(event.run_id, _NOTHING).label("run_id")
    inner = _of_events(wanted, ids, event.project_id, run_id).subquery()
    of_run = (runs.c.project_id == inner.c.project_id) & (runs.c.run_id == inner.c.run_id)
    rows = select(*_keys(func.coalesce(runs.c.started_by, _NOTHING)), *(inner.c[name] for name in FIELDS))
    return rows.join_from(inner, runs, of_run, isouter=True)


def _of_keys(wanted: UsageFilter, ids: Sequence[str], *by: ColumnElement[Any]) -> Select[Any]:
    """By key, and by these columns."""
    event = usage_events.c
    inner = _of_events(
        wanted, ids, event.project_id, event.source, event.provider, event.key_last4, *by
    ).subquery()
    owner = case((inner.c.source == literal_column("'byok'"), projects.c.slug), else_=_NOTHING)
    last4 = func.coalesce(inner.c.key_last4, _NOTHING)
    told = _keys(last4, project=owner, source=inner.c.source, provider=inner.c.provider)
    keys = [*told, *(inner.c[str(each.key)] for each in by)]
    rows = select(*keys, *(inner.c[name] for name in FIELDS))
    return rows.join_from(inner, projects, projects.c.id == inner.c.project_id)


def _of_events(wanted: UsageFilter, ids: Sequence[str], *by: ColumnElement[Any]) -> Select[Any]:
    """Summed before anything is looked up for them: there are fewer runs and keys than calls."""
    return matching(select(*by, *event_sums()), wanted, ids).group_by(*by)


def _keys(name: ColumnElement[Any], **others: ColumnElement[Any]) -> list[ColumnElement[Any]]:
    return [({"name": name} | others).get(key, _NOTHING).label(key) for key in _KEYS]


def _together(rows: Select[Any]) -> Subquery:
    """The sums of all rows of a group."""
    inner = rows.subquery()
    keys = [inner.c[name] for name in _KEYS]
    sums = [func.sum(inner.c[name]).label(name) for name in FIELDS]
    return select(*keys, *sums).group_by(*keys).subquery()
