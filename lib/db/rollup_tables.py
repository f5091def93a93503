"""The roll-ups: sums of usage events, which pages read instead of history. And what all tables are made with."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
)

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "ix": "ix_%(table_name)s_%(column_0_name)s",
    }
)

SOURCES = ("platform", "byok")
TOKENS = ("input_tokens", "cached_input_tokens", "output_tokens", "reasoning_tokens")
MEASURES = ("calls", "unpriced_calls", "cost_nano", *TOKENS)
"""What is summed of usage events; lib/usage/measures.py says how."""
CACHE_SUMS = ("calls", "unknown_calls", "read_tokens", "saved_nano", "written_tokens", "extra_nano")
"""What is summed of usage events that read from or wrote to a provider's cache; lib/usage/cache_sums.py says how."""


def one_of(column: str, *values: str) -> str:
    """A rule that a column holds one of these values; NULL passes."""
    return f"{column} IN ({', '.join(repr(value) for value in values)})"


def _keys(moment: str) -> tuple[Column[str], Column[int], Column[str]]:
    """What every sum is kept by: whose, when, and which ledger."""
    return (
        _of_project(),
        Column(moment, BigInteger, primary_key=True, autoincrement=False),
        Column("source", String(10), primary_key=True),
    )


def _dimensions() -> tuple[Column[str], ...]:
    """What every roll-up is kept by besides."""
    return (
        Column("provider", String(40), primary_key=True),
        Column("model", String(200), primary_key=True),
        Column("run_kind", String(20), primary_key=True),  # empty for imports
        Column("status", String(10), primary_key=True),
    )


def _of_project() -> Column[str]:
    return Column("project_id", String(36), ForeignKey("projects.id", ondelete="CASCADE"), primary_key=True)


def _rollup(name: str, moment: str) -> Table:
    """Sums of usage events by hour or day, per project: what pages read instead of history."""
    return Table(
        name,
        metadata,
        *_keys(moment),
        *_dimensions(),
        *(Column(name, BigInteger, nullable=False) for name in MEASURES),
        CheckConstraint(one_of("source", *SOURCES), name="source"),
        CheckConstraint("unpriced_calls <= calls", name="unpriced_is_part"),
    )


usage_hourly = _rollup("usage_hourly", "hour_at")  # hours of UTC
usage_daily = _rollup("usage_daily", "day_at")  # days of the zone in rollup_zone, by their first instant
Index(
    "ix_usage_daily_unpriced",
    usage_daily.c.project_id,
    usage_daily.c.day_at,
    sqlite_where=usage_daily.c.unpriced_calls > 0,
    postgresql_where=usage_daily.c.unpriced_calls > 0,
)


def _totals(name: str, moment: str, *texts: Column[str]) -> Table:
    """Sums of a roll-up by fewer columns: few rows, however many calls, kinds of runs and statuses there are.

    The database itself keeps them, by triggers (migrations 0002 and 0003): a statement that writes a roll-up
    writes these.
    """
    return Table(
        name,
        metadata,
        *_keys(moment),
        *texts,
        *(
            Column(name, BigInteger, nullable=False)
            for name in (
                *("calls", "error_calls", "broken_calls", "abandoned_calls", "unknown_calls"),
                *MEASURES[1:],
            )
        ),
        sqlite_with_rowid=False,
    )


usage_hourly_totals = _totals("usage_hourly_totals", "hour_at")
usage_daily_totals = _totals("usage_daily_totals", "day_at")
usage_daily_models = _totals(
    "usage_daily_models",
    "day_at",
    Column("provider", String(40), primary_key=True),
    Column("model", String(200), primary_key=True),
)
usage_models = Table(
    "usage_models",
    metadata,
    # What there is to filter by: every model that a project's days ever had.
    _of_project(),
    Column("provider", String(40), primary_key=True),
    Column("model", String(200), primary_key=True),
    sqlite_with_rowid=False,
)

usage_daily_caching = Table(
    "usage_daily_caching",
    metadata,
    # By days of UTC, so that the database can keep them by triggers on the events (migration 0014).
    *_keys("day_at"),
    *_dimensions(),
    *(Column(name, BigInteger, nullable=False) for name in CACHE_SUMS),
    sqlite_with_rowid=False,
)

usage_archives = Table(
    "usage_archives",
    metadata,
    # Months of UTC, by their first instant, whose events are in a file (lib.exchange.archive); the sums stay here.
    Column("month_at", BigInteger, primary_key=True, autoincrement=False),
    Column("file", String(200), nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("rows", BigInteger, nullable=False),
    Column("platform_nano", BigInteger, nullable=False),
    Column("byok_nano", BigInteger, nullable=False),
    Column("archived_at", BigInteger, nullable=False),
    Column("deleted_at", BigInteger),  # when the last of them had left the database
)

rollup_zone = Table(
    "rollup_zone",
    metadata,
    Column("one", Integer, primary_key=True),
    Column("zone", String(60), nullable=False),
    CheckConstraint("one = 1", name="one_row"),
)
