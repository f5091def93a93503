"""How large and how slow calls are over a whole period: exact of few calls, of many estimated with a stated range.

Percentiles of parts do not add up, and histograms by day, project and model would have two rows for every three calls
(measured at a million calls of 200 projects), so they are told from calls. Up to ``EXACT`` of them all are read. Of
more it is an even sample (lib.db.call_sample); the range is that of the ranks of the sample between which the true
percentile lies in 95 of 100 such samples, whatever the values are like.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor, sqrt
from typing import Any

from sqlalchemy import ColumnElement, select

from lib.access.projects import visible_projects
from lib.access.roles import Actor
from lib.db import Database
from lib.db.call_sample import SHARES_OF, in_sample
from lib.db.tables import usage_events
from lib.reports.labels import spans
from lib.reports.models import UsageFilter
from lib.reports.queries import matching
from lib.usage.expiry import sweep

EXACT = 30_000
"""So many calls are read whole."""

MOST = 50_000
"""And about so many at most of a sample, up to 3.2 million calls; of more the smaller sample is read."""

_DEVIATIONS = 1.96  # of the normal distribution, for 95 in 100


@dataclass(frozen=True)
class Percentile:
    """A value that occurred; ``low`` and ``high`` are the ends of its range, equal to it where it is exact."""

    value: int
    low: int
    high: int


@dataclass(frozen=True)
class Spread:
    """Median and 95th percentile by nearest rank, of ``calls`` that have a value. None where no call has one."""

    calls: int = 0
    median: Percentile | None = None
    p95: Percentile | None = None


@dataclass(frozen=True)
class Spreads:
    """Spread of tokens (input and output) and latency (milliseconds) of calls that got no error answer."""

    one_in: int
    """One call in so many was read; 1 where these are all."""
    tokens: Spread
    latency: Spread


class PercentileReports:
    """Percentiles of calls, for the projects that the actor may see."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def spreads(self, wanted: UsageFilter, calls: int, *, actor: Actor) -> Spreads:
        """The spreads of the calls that match.

        Args:
            wanted: the filter.
            calls: how many match, which the totals tell: so many decide what is read.
            actor: who asks.
        """
        sweep(self._database)
        one_in = sample_of(calls)
        tokens: list[int] = []
        latency: list[int] = []
        with self._database.read() as connection:
            ids = visible_projects(connection, actor, wanted.projects)
            for span in spans(connection, wanted) if ids != [] else ():
                statement = matching(select(*_VALUES), span, ids).where(usage_events.c.status != "error")
                if one_in > 1:
                    statement = statement.where(in_sample(usage_events.c.event_id, one_in))
                for asked, answered, waited in connection.execute(statement):
                    if asked is not None and answered is not None:
                        tokens.append(asked + answered)
                    if waited is not None:
                        latency.append(waited)
        return Spreads(one_in, *(spread(values, exact=one_in == 1) for values in (tokens, latency)))


_VALUES: Sequence[ColumnElement[Any]] = (
    usage_events.c.input_tokens,
    usage_events.c.output_tokens,
    usage_events.c.latency_ms,
)


def sample_of(calls: int) -> int:
    """One in how many of so many calls are read; 1 is all of them."""
    if calls <= EXACT:
        return 1
    return next((one_in for one_in in SHARES_OF if calls <= MOST * one_in), max(SHARES_OF))


def spread(values: Sequence[int], *, exact: bool) -> Spread:
    """The spread of these values, which are all there are or a sample."""
    if not values:
        return Spread()
    ordered = sorted(values)
    median, p95 = (_percentile(ordered, percent, exact=exact) for percent in (50, 95))
    return Spread(len(ordered), median, p95)


def _percentile(ordered: Sequence[int], percent: int, *, exact: bool) -> Percentile:
    number = len(ordered)
    value = ordered[-(-percent * number // 100) - 1]
    if exact:
        return Percentile(value, value, value)
    share = percent / 100
    middle, width = number * share, _DEVIATIONS * sqrt(number * share * (1 - share))
    low, high = max(floor(middle - width), 1), min(ceil(middle + width) + 1, number)
    return Percentile(value, ordered[low - 1], ordered[high - 1])
