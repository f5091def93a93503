"""The totals that the database keeps of the roll-ups by triggers: compared with them, and made again from them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Select, Table, case, delete, func, insert, literal, literal_column, select

from lib.db.tables import (
    EVENT_STATUSES,
    usage_daily,
    usage_daily_models,
    usage_daily_totals,
    usage_hourly,
    usage_hourly_totals,
)

FAILURES = tuple(status for status in EVENT_STATUSES if status != "ok")


@dataclass(frozen=True)
class _Kept:
    """One table of totals: of which roll-up, and by which columns besides the project."""

    table: Table
    of: Table
    keys: tuple[str, ...]

    @property
    def names(self) -> list[str]:
        """Columns of the table but the project."""
        return [column.name for column in self.table.c if column.name != "project_id"]

    def stored(self, project_id: str) -> Select[Any]:
        """Rows of the table."""
        columns = [self.table.c[name] for name in self.names]
        return select(*columns).where(self.table.c.project_id == project_id)

    def summed(self, project_id: str) -> Select[Any]:
        """What its rows should be."""
        keys = [self.of.c[name] for name in self.keys]
        sums = [self._sum(name) for name in self.names[len(keys) :]]
        return select(*keys, *sums).where(self.of.c.project_id == project_id).group_by(*keys)

    def _sum(self, name: str) -> Any:
        status = name.removesuffix("_calls")
        if status not in FAILURES:
            return func.sum(self.of.c[name]).label(name)
        # Constants are written into the SQL: PostgreSQL takes two parameters for two different expressions.
        of_status = case((self.of.c.status == status, self.of.c.calls), else_=literal_column("0"))
        return func.sum(of_status).label(name)


_KEPT = (
    _Kept(usage_hourly_totals, usage_hourly, ("hour_at", "source")),
    _Kept(usage_daily_totals, usage_daily, ("day_at", "source")),
    _Kept(usage_daily_models, usage_daily, ("day_at", "source", "provider", "model")),
)

Rows = dict[tuple[Any, ...], tuple[int, ...]]


def compared(connection: Connection, project_id: str) -> Iterator[tuple[Table, Rows, Rows]]:
    """For each table its rows, and what they should be, by moment and columns; sums as in the table."""
    for kept in _KEPT:
        stored, summed = (
            {
                tuple(row[: len(kept.keys)]): tuple(map(int, row[len(kept.keys) :]))
                for row in connection.execute(each)
            }
            for each in (kept.stored(project_id), kept.summed(project_id))
        )
        yield kept.table, stored, summed


def replace(connection: Connection, project_id: str) -> None:
    """Make a project's totals again from its roll-ups; else the database keeps them itself."""
    for kept in _KEPT:
        connection.execute(delete(kept.table).where(kept.table.c.project_id == project_id))
        summed = kept.summed(project_id)
        rows = summed.with_only_columns(literal(project_id), *summed.selected_columns)
        connection.execute(insert(kept.table).from_select(["project_id", *kept.names], rows))
