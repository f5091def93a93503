"""What the reports take and give: the filter, and sums by source, day, hour, model and project. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import date
from decimal import Decimal
from typing import NamedTuple, Self

from lib.clock import Micros
from lib.pricing.amounts import usd


@dataclass(frozen=True)
class UsageFilter:
    """Which usage counts. Empty means all. ``since`` is inclusive, ``until`` exclusive, in microseconds."""

    projects: Sequence[str] = ()
    sources: Sequence[str] = ()
    providers: Sequence[str] = ()
    models: Sequence[str] = ()
    kinds: Sequence[str] = ()
    statuses: Sequence[str] = ()
    since: Micros | None = None
    until: Micros | None = None
    zone: str = "UTC"
    labels: Sequence[str] = ()
    """Each ``NAME=VALUE``, of the call's project on the day of the call; ``NAME=`` is without that label.

    Values of one name are alternatives, several names have to match at once.
    """
    users: Sequence[str] = ()
    """Who started the calls' runs; an empty one is nobody known."""
    keys: Sequence[str] = ()
    """The last four characters of the keys that paid; an empty one is a key that is not known."""

    @property
    def by_call(self) -> bool:
        """Whether only the events know what matches, and no sum of days or hours."""
        return bool(self.users or self.keys)


class SpendTotals(NamedTuple):
    """Money alone, in nano-USD of calls with a known price."""

    platform_nano: int = 0
    byok_nano: int = 0

    @property
    def total_nano(self) -> int:
        """Both ledgers together."""
        return self.platform_nano + self.byok_nano

    def plus(self, platform_nano: int, byok_nano: int) -> SpendTotals:
        """The sum of both. PostgreSQL's sums arrive as Decimal; they are whole numbers."""
        return SpendTotals(self.platform_nano + int(platform_nano), self.byok_nano + int(byok_nano))


@dataclass
class Totals:
    """Sums of usage. Money in nano-USD of calls with a known price; unpriced calls are in no sum of money."""

    calls: int = 0
    platform_calls: int = 0
    byok_calls: int = 0
    error_calls: int = 0
    broken_calls: int = 0
    abandoned_calls: int = 0
    unknown_calls: int = 0
    platform_unpriced_calls: int = 0
    byok_unpriced_calls: int = 0
    platform_nano: int = 0
    byok_nano: int = 0
    input_tokens: int = 0
    cached_input_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0

    @property
    def total_nano(self) -> int:
        """Both ledgers together."""
        return self.platform_nano + self.byok_nano

    @property
    def total(self) -> Decimal:
        """Both ledgers together, in USD."""
        return usd(self.total_nano)

    @property
    def failed_calls(self) -> int:
        """Calls that were not answered in full, whatever became of them."""
        return self.error_calls + self.broken_calls + self.abandoned_calls + self.unknown_calls

    @property
    def ok_calls(self) -> int:
        """Calls that were answered in full."""
        return self.calls - self.failed_calls

    @property
    def unpriced_calls(self) -> int:
        """Calls without a known cost, of both sources."""
        return self.platform_unpriced_calls + self.byok_unpriced_calls

    def add(self, other: Totals) -> Self:
        """Add another sum to this one."""
        theirs = vars(other)
        return self.add_sums({name: theirs[name] for name in FIELDS})

    def add_sums(self, sums: Mapping[str, int]) -> Self:
        """Add these, by name, to this sum."""
        own = vars(self)
        for name, value in sums.items():
            own[name] += value
        return self


FIELDS = tuple(column.name for column in fields(Totals))


@dataclass
class DayRow(Totals):
    """The sums of one day of the filter's zone."""

    day: date = field(default=date.min, kw_only=True)


@dataclass
class HourRow(Totals):
    """The sums of one hour, which begins at ``at``."""

    at: Micros = field(default=0, kw_only=True)


@dataclass
class ModelRow(Totals):
    """The sums of one model."""

    model: str = field(default="", kw_only=True)


@dataclass
class ProjectRow(Totals):
    """The sums of one project."""

    project: str = field(default="", kw_only=True)


@dataclass(frozen=True)
class DailyRow:
    """One row of the daily summary: a day, project, source, provider and model."""

    day: date
    project: str
    source: str
    provider: str
    model: str
    totals: Totals
    labels: tuple[str, ...] = ()
    """Values of the labels that were asked for, on that day."""


@dataclass(frozen=True)
class FilterOptions:
    """What there is to filter by, in the projects that the actor may see."""

    models: list[str]
    providers: list[str]
    labels: dict[str, list[str]]
    """By name all values that a project ever had."""
