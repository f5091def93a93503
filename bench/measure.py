"""Timing pairs that are interleaved, and the tables they are printed in."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence

Work = Callable[[], object]


def interleaved(works: dict[str, Work], rounds: int, each: int) -> dict[str, list[float]]:
    """Run all works in turn, ``rounds`` times, each ``each`` times in a row; microseconds a call, by round."""
    for work in works.values():
        work()
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            start = time.perf_counter()
            for _ in range(each):
                work()
            times[name].append((time.perf_counter() - start) / each * 1e6)
    return times


def ratio(times: dict[str, list[float]], name: str, floor: str) -> float:
    """Median of the ratios round by round: what the machine did in between hits both."""
    return statistics.median(a / b for a, b in zip(times[name], times[floor], strict=True))


def median(values: Sequence[float]) -> float:
    """The middle one."""
    return statistics.median(values)


def table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a plain table."""
    widths = [max(len(str(row[i])) for row in (header, *rows)) for i in range(len(header))]
    print(f"\n{title}")
    for row in (header, ["-" * width for width in widths], *rows):
        print("  " + "  ".join(str(cell).ljust(width) for cell, width in zip(row, widths, strict=True)))


def verdict(value: float, target: float) -> str:
    """How a ratio stands to its target."""
    return f"{value:.2f}× (target ≤ {target:g}×{'' if value <= target else ', MISSED'})"
