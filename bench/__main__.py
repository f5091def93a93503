"""``python -m bench [name …]``: print the tables of all benchmarks, or of those named."""

from __future__ import annotations

import importlib
import sys

BENCHMARKS = (
    *("resolving", "calling", "importing", "exporting", "downloading"),
    *("caps", "growing", "alerting", "forecasting", "reporting", "pages", "people"),
)


def main() -> None:
    """Run them one after the other."""
    for name in sys.argv[1:] or BENCHMARKS:
        importlib.import_module(f"bench.{name}").main()


if __name__ == "__main__":
    main()
