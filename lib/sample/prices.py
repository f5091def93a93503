"""Prices of the sample data: those of today, as the table does not vouch for all days that it tells of."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from lib.pricing.prices import Cost, PriceBook, Tokens


class PricesOfToday(PriceBook):
    """The price table as of one moment, whenever a call was."""

    def __init__(self, today: datetime) -> None:
        super().__init__()
        self._today = today

    def cost(self, model: str, tokens: Tokens, *, at: datetime, **more: Any) -> Cost:  # noqa: ARG002
        """Price one call as of today."""
        return super().cost(model, tokens, at=self._today, **more)

    def ceiling(self, model: str, *, at: datetime, **more: Any) -> int:  # noqa: ARG002
        """What no such call can pass, at the prices of today."""
        return super().ceiling(model, at=self._today, **more)
