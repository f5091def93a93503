"""What caching of input saves, by model: from each call's own prices, exact at the edges of a period."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, Select, func, literal_column, select, union_all

from lib.access.projects import ProjectIds, visible_projects
from lib.access.roles import Actor
from lib.db import AnyRow, Database
from lib.db.rollup_tables import CACHE_SUMS
from lib.db.tables import projects, usage_daily_caching, usage_events
from lib.reports.changes import FEW
from lib.reports.labels import spans
from lib.reports.models import UsageFilter
from lib.reports.queries import narrowed
from lib.reports.segments import Segment, plan
from lib.usage import cache_sums
from lib.usage.archived import require_events
from lib.usage.expiry import sweep

_UTC = ZoneInfo("UTC")


@dataclass(frozen=True)
class ModelCaching:
    """What calls of one model read from a provider's cache and wrote to it; nano-USD by the prices of their own rows.

    Calls without all of these prices are counted in ``unknown_calls``, and in nothing else.
    """

    model: str
    source: str
    calls: int = 0
    unknown_calls: int = 0
    read_tokens: int = 0
    saved_nano: int = 0
    """What the tokens that were read would have cost more as plain input."""
    written_tokens: int = 0
    extra_nano: int = 0
    """What the tokens that were written cost beyond plain input."""

    @property
    def net_nano(self) -> int:
        """What caching saved in all; less than nothing where writes cost more than reads saved."""
        return self.saved_nano - self.extra_nano

    @property
    def known_net_nano(self) -> int | None:
        """What caching saved in all; None where it is not known of more than one call in ``FEW``."""
        return None if FEW * self.unknown_calls > self.calls else self.net_nano


def break_even(each: ModelCaching) -> Fraction | None:
    """How often a written token has to be read for its write to pay; None where nothing was written or read."""
    if not each.written_tokens or each.saved_nano <= 0:
        return None
    return Fraction(each.extra_nano * each.read_tokens, each.written_tokens * each.saved_nano)


def add_up(found: Iterable[ModelCaching], model: str = "") -> ModelCaching:
    """All of these together, of whichever ledger they are."""
    rows = list(found)
    return ModelCaching(model, "", **{name: sum(getattr(row, name) for row in rows) for name in CACHE_SUMS})


def both_ledgers(found: Iterable[ModelCaching]) -> list[ModelCaching]:
    """One row for each model, what saved or cost most first."""
    models: dict[str, list[ModelCaching]] = defaultdict(list)
    for row in found:
        models[row.model].append(row)
    every = [add_up(rows, model) for model, rows in models.items()]
    return sorted(every, key=lambda each: (-abs(each.net_nano), -each.calls, each.model))


class CachingReports:
    """What caching saves, for the projects that the actor may see."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def by_model(self, wanted: UsageFilter, *, actor: Actor) -> list[ModelCaching]:
        """The sums of each model in each ledger that read from a cache or wrote to one."""
        rows = self._sums(wanted, actor, ("model", "source"))
        return [ModelCaching(row.model, row.source, *_sums_of(row)) for row in rows]

    def by_project_and_model(
        self, wanted: UsageFilter, *, actor: Actor
    ) -> dict[tuple[str, tuple[str, str]], ModelCaching]:
        """The sums of each model in each project, of both ledgers: by its slug, and by provider and model."""
        rows = self._sums(wanted, actor, ("project_id", "provider", "model"))
        return {
            (row.slug, (row.provider, row.model)): ModelCaching(row.model, "", *_sums_of(row)) for row in rows
        }

    def _sums(self, wanted: UsageFilter, actor: Actor, by: Sequence[str]) -> Sequence[AnyRow]:
        """The sums by these columns, by a project's slug in place of its id."""
        sweep(self._database)
        with self._database.read() as connection:
            ids = visible_projects(connection, actor, wanted.projects)
            if wanted.by_call:
                require_events(connection, wanted.since, ids)
            parts = [
                part
                for span in (spans(connection, wanted) if ids != [] else ())
                for part in _parts(span, ids, by)
            ]
            if not parts:
                return []
            every = union_all(*parts).subquery()
            keys = [projects.c.slug if name == "project_id" else every.c[name] for name in by]
            sums = (func.sum(every.c[name]).label(name) for name in CACHE_SUMS)
            statement = select(*keys, *sums).select_from(every)
            if "project_id" in by:
                statement = statement.join(projects, projects.c.id == every.c.project_id)
            return connection.execute(statement.group_by(*keys).order_by(*keys)).all()


def _sums_of(row: AnyRow) -> list[int]:
    # PostgreSQL sums BIGINT as NUMERIC, which arrives as Decimal; every sum is a whole number.
    return [int(value) for value in row[-len(CACHE_SUMS) :]]


def _parts(wanted: UsageFilter, ids: ProjectIds, by: Sequence[str]) -> Iterator[Select[Any]]:
    """The sums of whole days of UTC, and of the events beside them."""
    by_call = [Segment("event", wanted.since, wanted.until)]
    for segment in by_call if wanted.by_call else plan(wanted.since, wanted.until, _UTC):
        table = usage_daily_caching if segment.grain == "day" else usage_events
        keys = [table.c[name] for name in by]
        edges = (segment.since, segment.until)
        if table is usage_daily_caching:
            sums = [func.sum(table.c[name]).label(name) for name in CACHE_SUMS]
            yield narrowed(select(*keys, *sums), table, "day_at", wanted, ids, *edges).group_by(*keys)
        else:
            sums = [func.sum(value).label(name) for name, value in cache_sums.added_by_event().items()]
            involved: ColumnElement[bool] = literal_column(cache_sums.INVOLVED)
            statement = select(*keys, *sums).where(involved)
            yield narrowed(statement, table, "occurred_at", wanted, ids, *edges).group_by(*keys)
