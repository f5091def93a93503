"""Forecasts scored on real traces, and what they cost: against the pace of six hours, and an empty forecast."""

from __future__ import annotations

import csv
import gzip
import time
from collections import defaultdict
from random import Random

import numpy as np

from bench.measure import table, verdict
from lib.caps.forecast.backtest import Score, alarms, score
from lib.caps.forecast.spend_model import Floats, SpendHistory
from lib.caps.forecast.time_to_cap import spend_paths, time_to_cap
from lib.clock import HOUR, parse_iso
from lib.settings import ROOT

TRACE = ROOT.parent / "shared" / "traces" / "servegen_msmall_14d.csv.gz"
HORIZONS = (1, 5, 24)
_INPUT, _OUTPUT = 0.25, 2.0  # USD per million tokens
_SAMPLES, _SHARE, _CLIENTS = 3, 0.05, 6
_PROJECTS = 500
_FEWEST_HELD, _MOST_HELD = 73, 87


def main() -> None:
    """Print the tables."""
    if TRACE.exists():
        _print_scores(_series())
    else:
        print("\nForecast: no scores, the trace is not here.")
    _print_cost()


def _print_scores(series: dict[str, Floats]) -> None:
    rows = []
    for name, hours in series.items():
        for horizon in HORIZONS:
            found = score(hours, horizon, every_hours=1)
            if found is not None:
                rows.append((name, str(horizon), *_cells(found)))
    table(
        "Forecast of spend: pinball loss as a ratio, and percent of the outcomes inside its intervals",
        (
            "trace",
            "hours ahead",
            "to the pace of 6 h",
            "to yesterday",
            "in 50 %",
            "in 80 % (73 to 87)",
            "in 90 %",
        ),
        rows,
    )
    warned = []
    for name, hours in series.items():
        held = np.convolve(hours, np.ones(5), "valid")
        found = alarms(hours, float(np.quantile(held, 0.9)), 5)
        warned.append((name, str(found.given), str(found.false), f"{found.false_a_week:.2f}"))
    table(
        'Alarms "will reach its 5-hour cap within five hours", of a cap that is reached a tenth of the time',
        ("trace", "given", "false", "false a week"),
        warned,
    )


def _cells(found: Score) -> tuple[str, ...]:
    target = verdict(found.to_pace or 0.0, 0.7)
    held = {percent: f"{share:.0f}" for percent, share in found.held.items()}
    held[80] += "" if _FEWEST_HELD <= found.held[80] <= _MOST_HELD else " MISSED"
    return target, f"{found.to_yesterday or 0:.2f}×", *held.values()


def _print_cost() -> None:
    hours = np.random.default_rng(1).gamma(0.5, 2.0, 35 * 24)
    start = time.perf_counter()
    for number in range(_PROJECTS):
        paths = spend_paths(SpendHistory(np.roll(hours, number)))
        assert paths is not None
        time_to_cap(paths, 20.0, [20.0] * paths.shape[1], 5)
    seconds = time.perf_counter() - start
    table(
        f"Time to a cap for {_PROJECTS} projects with five weeks of history",
        ("all", "each"),
        [(f"{seconds:.2f} s", f"{1000 * seconds / _PROJECTS:.1f} ms")],
    )


def _series() -> dict[str, Floats]:
    """The whole trace by the hour, random twentieths of its calls, and its largest clients."""
    with gzip.open(TRACE, "rt", newline="") as file:
        calls = [(parse_iso(row["ts"]) // HOUR, row["project"], _usd(row)) for row in csv.DictReader(file)]
    first, last = calls[0][0], calls[-1][0]
    found: dict[str, Floats] = defaultdict(lambda: np.zeros(last - first + 1))
    sums: dict[str, float] = defaultdict(float)
    chance = Random(1)
    for _, project, usd in calls:
        sums[project] += usd
    largest = sorted(sums, key=lambda project: -sums[project])[:_CLIENTS]
    for hour, project, usd in calls:
        found["all"][hour - first] += usd
        for number in range(_SAMPLES):
            if chance.random() < _SHARE:
                found[f"sample {number + 1}"][hour - first] += usd
        if project in largest:
            found[project][hour - first] += usd
    return dict(sorted(found.items()))


def _usd(row: dict[str, str]) -> float:
    return (int(row["input_tokens"]) * _INPUT + int(row["output_tokens"]) * _OUTPUT) / 1e6


if __name__ == "__main__":
    main()
