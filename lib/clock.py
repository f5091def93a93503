"""Instants as the database keeps them: integer microseconds since 1970 in UTC.

Integers are the same on SQLite and PostgreSQL, compare exactly and never lose a digit.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

Micros = int
SECOND: Micros = 1_000_000
MINUTE: Micros = 60 * SECOND
HOUR: Micros = 60 * MINUTE
DAY: Micros = 24 * HOUR

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ONE = timedelta(microseconds=1)


def to_micros(moment: datetime) -> Micros:
    """Return ``moment`` (with a time zone) as microseconds since 1970 UTC, exactly."""
    if moment.tzinfo is None:
        raise ValueError("a time without a zone is ambiguous")
    return (moment - _EPOCH) // _ONE


def from_micros(micros: Micros) -> datetime:
    """Return the instant as a datetime in UTC."""
    return _EPOCH + timedelta(microseconds=micros)


def iso(micros: Micros) -> str:
    """Return ISO 8601 in UTC with ``Z``; the fraction only where there is one."""
    return from_micros(micros).isoformat().replace("+00:00", "Z")


def parse_iso(text: str) -> Micros:
    """Read ISO 8601 with a zone; more than six decimals are cut. Raises ValueError without a zone."""
    return to_micros(datetime.fromisoformat(text))


def month_of(at: Micros) -> Micros:
    """The first instant of the month, in UTC, that holds the instant."""
    moment = from_micros(at)
    return to_micros(datetime(moment.year, moment.month, 1, tzinfo=UTC))


def month_after(month_at: Micros) -> Micros:
    """The first instant of the next month."""
    moment = from_micros(month_at)
    year, month = divmod(moment.year * 12 + moment.month, 12)
    return to_micros(datetime(year, month + 1, 1, tzinfo=UTC))
