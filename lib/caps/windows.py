"""The rolling windows of caps as people see them: what is used, reserved and free, and when room returns."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from lib.clock import DAY, HOUR, Micros
from lib.pricing.amounts import usd

WINDOWS: dict[str, Micros] = {"5h": 5 * HOUR, "7d": 7 * DAY}
TITLES = {"5h": "5-hour", "7d": "7-day"}
NEAR_CAP = 80
"""Percent of a cap from which a person is told that it is near."""


@dataclass(frozen=True, slots=True)
class Window:
    """One rolling window at one moment; all amounts in nano-USD.

    ``used`` counts settled calls and includes ``unknown``, the ceilings of calls whose outcome is not
    known. ``rolls_off_nano`` leave the window at ``rolls_off_at``. ``returns_at`` is set while there is
    no room.
    """

    name: str
    cap_nano: int
    used_nano: int
    unknown_nano: int
    reserved_nano: int
    returns_at: Micros | None
    rolls_off_at: Micros | None
    rolls_off_nano: int

    @property
    def free_nano(self) -> int:
        """Room for new calls; never below zero."""
        return max(0, self.cap_nano - self.used_nano - self.reserved_nano)

    @property
    def percent(self) -> int:
        """Used and reserved of the cap, rounded down: 100 only when nothing fits any more."""
        taken = self.used_nano + self.reserved_nano
        return 100 if self.free_nano == 0 else 100 * taken // self.cap_nano

    @property
    def is_near(self) -> bool:
        """Whether so much is taken that the project is told; at the cap, too."""
        return self.percent >= NEAR_CAP

    @property
    def free(self) -> Decimal:
        """Room in USD."""
        return usd(self.free_nano)

    @property
    def used(self) -> Decimal:
        """Counted in the window, in USD."""
        return usd(self.used_nano)

    @property
    def reserved(self) -> Decimal:
        """Held by running calls, in USD."""
        return usd(self.reserved_nano)

    @property
    def cap(self) -> Decimal:
        """The cap in USD."""
        return usd(self.cap_nano)


@dataclass(frozen=True, slots=True)
class Headroom:
    """Both windows of a project at ``at`` (microseconds)."""

    project: str
    plan: str
    at: Micros
    windows: dict[str, Window]

    @property
    def free_nano(self) -> int:
        """What a call may cost now: the smaller room of the two windows."""
        return min(window.free_nano for window in self.windows.values())

    @property
    def free(self) -> Decimal:
        """What is free in the window, in USD."""
        return usd(self.free_nano)

    @property
    def nearest(self) -> Window:
        """The window nearest to its cap."""
        return max(self.windows.values(), key=lambda window: window.percent)
