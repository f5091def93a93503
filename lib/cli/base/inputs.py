"""What is typed after an option: amounts in USD and days."""

from __future__ import annotations

from datetime import date
from typing import Any

import click

from lib.errors import BadInput
from lib.pricing.amounts import parse_usd
from lib.usage.periods import FIRST_DAY, LAST_DAY, is_day


class Usd(click.ParamType[int]):
    """An amount in USD, as nano-USD."""

    name = "usd"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read it exactly."""
        if isinstance(value, int):
            return value
        try:
            nano = parse_usd(value)
        except BadInput as problem:
            self.fail(str(problem), param, ctx)
        if nano < 0:
            self.fail("It must be 0 or more.", param, ctx)
        return nano


class Day(click.ParamType[date]):
    """A day of the calendar."""

    name = "date"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> date:
        """Read it."""
        if isinstance(value, date):
            return value
        try:
            day = date.fromisoformat(value)
        except ValueError:
            self.fail("Write a day like 2026-01-31.", param, ctx)
        if not is_day(day):
            self.fail(f"It must be a day from {FIRST_DAY} to {LAST_DAY}.", param, ctx)
        return day


def require_order(since: date | None, until: date | None) -> None:
    """``--to`` is exclusive, so a period without a day is a slip. Raises click's UsageError."""
    if since and until and until <= since:
        raise click.UsageError("--to is the day after the last one, so it must be later than --from.")


USD = Usd()
DAY = Day()
