"""What is typed after an option: amounts in USD and days."""

from __future__ import annotations

from datetime import date
from typing import Any

import click

from lib.errors import BadInput
from lib.usage.prices import parse_usd


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
            return date.fromisoformat(value)
        except ValueError:
            self.fail("Write a day like 2026-01-31.", param, ctx)


USD = Usd()
DAY = Day()
