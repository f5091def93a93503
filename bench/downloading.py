"""What exports by links cost the server that makes them: its memory, and the time of somebody who uses a page meanwhile.

``BENCH_EVENTS`` is the number of events: 5000000 for the larger size.
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch
from urllib.parse import urlsplit
from urllib.request import ProxyHandler, Request, build_opener

from bench import generator
from bench.measure import median, table, verdict
from bench.pages import served
from bench.people import Told, crowd, server_process
from bench.traffic import END
from lib.clock import SECOND
from lib.reports.models import UsageFilter
from lib.settings import Settings
from lib.web.downloads import links
from lib.web.downloads.links import COOKIE, Link, Signer, new_browser

EVENTS = int(os.environ.get("BENCH_EVENTS", "1000000"))
SECONDS = float(os.environ.get("BENCH_SECONDS", "20"))
ROUNDS = 3
_MOST_MB = 60


def main() -> None:
    """Print the tables."""
    path = generator.sqlite_file(EVENTS)
    secret = links._LOCAL_SECRET  # noqa: SLF001 - the server's own would be another one
    with patch.dict(os.environ, BENCH_LINKS=secret):
        _print_memory(path)
        _print_pages(path)


# --- memory ----------------------------------------------------------------------------------------


def _print_memory(path: Path) -> None:
    rows, above = [], []
    for kind, name in (("csv", "CSV"), ("parquet", "Parquet")):
        with served(path) as address:  # each from an idle server of its own, which has drawn a page
            crowd(address, 1, 1, 5)
            process = server_process(urlsplit(address).port or 0)
            idle, started = _forget_peak(process), time.perf_counter()
            _download(address, Settings(**generator.secrets()), kind)
            above.append(_megabytes(process, "VmHWM") - idle)
            rows.append((name, f"{time.perf_counter() - started:.1f}", f"{idle:.0f}", f"{above[-1]:.0f}"))
    header = ("export", "seconds", "idle, MB", "at most above that, MB")
    table(f"Memory of a server that exports {EVENTS:,} events, SQLite", header, rows)
    missed = "" if max(above) <= _MOST_MB else ", MISSED"
    print(f"  At most {max(above):.0f} MB above an idle server (target ≤ {_MOST_MB} MB{missed}).")


def _forget_peak(process: int) -> float:
    """Begin to measure anew; returns what the process holds now, in MB."""
    Path(f"/proc/{process}/clear_refs").write_text("5")
    return _megabytes(process, "VmRSS")


def _megabytes(process: int, name: str) -> float:
    found = re.search(rf"{name}:\s+(\d+) kB", Path(f"/proc/{process}/status").read_text())
    assert found
    return int(found[1]) / 1024


# --- somebody at a page ----------------------------------------------------------------------------


def _print_pages(path: Path) -> None:
    found: dict[str, list[Told]] = {"nobody exports": [], "one CSV after the other": []}
    with served(path) as address:
        crowd(address, 1, 1, 5)
        for _ in range(ROUNDS):
            found["nobody exports"].append(crowd(address, 1, 1, SECONDS))
            with _exporting(address, Settings(**generator.secrets())):
                found["one CSV after the other"].append(crowd(address, 1, 1, SECONDS))
    rows = []
    for name, told in found.items():
        middle, last = median([one.median for one in told]), median([one.p95 for one in told])
        answered = str(sum(one.answered for one in told))
        rows.append((name, answered, f"{middle * 1e3:.0f}", f"{last * 1e3:.0f}"))
    header = ("meanwhile", "reruns", "median, ms", "p95, ms")
    table(f"One person at the overview, {EVENTS:,} events, SQLite", header, rows)
    quiet, busy = found.values()
    share = median([b.median / a.median for a, b in zip(quiet, busy, strict=True)])
    print(f"  During an export a rerun takes {verdict(share, 2)} of one without.")


@contextmanager
def _exporting(address: str, settings: Settings) -> Iterator[None]:
    """Ask for all events by a link, again and again; the last file is waited for."""
    stop, problems = threading.Event(), list[BaseException]()

    def ask() -> None:
        try:
            while not stop.is_set():
                _download(address, settings, "csv")
        except BaseException as problem:  # noqa: BLE001 - it is raised again
            problems.append(problem)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
    if problems:
        raise problems[0]


def _download(address: str, settings: Settings, kind: str) -> None:
    browser = new_browser()
    # Now is another time on that server: that of the generated database.
    with patch("itsdangerous.timed.TimestampSigner.get_timestamp", return_value=END // SECOND):
        link = Signer(settings).address(Link("local", UsageFilter(), kind), browser)
    asked = Request(f"{address}{link}", headers={"Cookie": f"{COOKIE}={browser}"})
    with build_opener(ProxyHandler({})).open(asked) as answer:
        while answer.read(1 << 20):
            pass


if __name__ == "__main__":
    main()
