"""Exports of a year of usage, beside what the databases' own programs and pandas take for the same rows.

``BENCH_EVENTS`` is the number of events: 5000000 for the larger size. Each way runs in a process of its own, one
after the other, and is timed from its first statement; its memory is what it took above what it had by then.
And what exports by links cost somebody who uses a page of the same server meanwhile.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch
from urllib.parse import parse_qs, urlsplit
from urllib.request import ProxyHandler, Request, build_opener

from bench import generator
from bench.measure import median, table, verdict
from bench.pages import served
from bench.people import Told, crowd
from bench.traffic import END
from lib.clock import SECOND
from lib.settings import ROOT, Settings
from lib.usage.reports import UsageFilter
from lib.web import links
from lib.web.links import COOKIE, Link, Signer, new_browser
from tests.services import postgres_programs, running_postgres

EVENTS = int(os.environ.get("BENCH_EVENTS", "1000000"))
ROUNDS = 3
SECONDS = float(os.environ.get("BENCH_SECONDS", "20"))
COLUMNS = (
    "event_id, occurred_at, slug, run_id, source, provider, model, endpoint, status, input_tokens, "
    "cached_input_tokens, output_tokens, reasoning_tokens, cost_nano, price_input, price_cached_input, "
    "price_output, key_last4, upstream_request_id, latency_ms"
)
SAME_ROWS = (
    f"SELECT {COLUMNS} FROM usage_events JOIN projects ON projects.id = project_id ORDER BY occurred_at"
)
_HEAD = """
import json, resource, sys, time
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
url, out, sql = sys.argv[1:]
"""
_OURS = """
from lib.access.roles import Origin, local_administrator
from lib.db import Database
from lib.usage.export import export_usage
from lib.usage.reports import UsageFilter
import pyarrow.parquet
database = Database(url)
with database.read(): pass
before, start = peak(), time.perf_counter()
with open(out, "wb") as file:
    export_usage(database, UsageFilter(), file, actor=local_administrator(Origin.COMMAND_LINE, "bench"), format=FORMAT)
"""
_PANDAS = """
import pandas, sqlalchemy
engine = sqlalchemy.create_engine(url)
before, start = peak(), time.perf_counter()
with engine.connect().execution_options(stream_results=True) as connection, open(out, "w", newline="") as file:
    for number, chunk in enumerate(pandas.read_sql(sqlalchemy.text(sql), connection, chunksize=50_000)):
        chunk.to_csv(file, index=False, header=number == 0)
"""
_TAIL = """
print(json.dumps({"seconds": time.perf_counter() - start, "memory": (peak() - before) / 1024}))
"""
Way = Callable[[str, Path], tuple[float, float]]


def main() -> None:
    """Print the tables."""
    path = generator.sqlite_file(EVENTS)
    with tempfile.TemporaryDirectory(dir=generator.folder()) as folder:
        own = _sqlite3 if shutil.which("sqlite3") else None
        _print("SQLite", f"sqlite:///{path}", Path(folder), "sqlite3 -csv", own, 3)
    _print_pages(path)
    with _filled_postgres() as url, tempfile.TemporaryDirectory(dir=generator.folder()) as folder:
        _print("PostgreSQL", url, Path(folder), "psql \\copy", _psql if _psql_program() else None, 2)


@contextmanager
def _filled_postgres() -> Iterator[str]:
    with running_postgres() as server:
        url = server.url(server.create())
        generator.fill(url, EVENTS)
        yield url


def _print(engine: str, url: str, folder: Path, name: str, own: Way | None, target: float) -> None:
    ways: dict[str, Way] = {
        "ours, CSV": _python(_OURS.replace("FORMAT", "'csv'")),
        "ours, Parquet": _python(_OURS.replace("FORMAT", "'parquet'")),
        "pandas to_csv, in chunks": _python(_PANDAS),
    }
    if own:
        ways = {name: own, **ways}
    found: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
    sizes = {}
    for _ in range(ROUNDS):
        for way, run in ways.items():
            file = folder / "out"
            found[way].append(run(url, file))
            sizes[way] = file.stat().st_size
            file.unlink()
    rows = []
    for way, times in found.items():
        seconds = median([time_ for time_, _ in times])
        memory = max(memory for _, memory in times)  # below 0: not measured, it is no process of ours
        speed = f"{EVENTS / seconds:,.0f}", f"{sizes[way] / seconds / 1e6:,.0f}"
        rows.append((way, f"{seconds:.1f}", *speed, f"{memory:,.0f}" if memory >= 0 else "–"))
    header = ("way", "seconds", "rows a second", "MB a second", "memory, MB")
    table(f"{engine}: export of {EVENTS:,} events (memory above an idle process; target ≤ 60)", header, rows)
    if own:
        ours = _share(found, "ours, CSV", name)
        print(f"  CSV takes {verdict(ours, target)} of {name}.")
    else:
        print(f"  {name.split(maxsplit=1)[0]} is not on this machine.")
    print(f"  CSV takes {verdict(_share(found, 'ours, CSV', 'pandas to_csv, in chunks'), 0.5)} of pandas.")


def _share(found: dict[str, list[tuple[float, float]]], way: str, other: str) -> float:
    return median([a / b for (a, _), (b, _) in zip(found[way], found[other], strict=True)])


def _python(program: str) -> Way:
    def run(url: str, file: Path) -> tuple[float, float]:
        command = [sys.executable, "-c", _HEAD + program + _TAIL, url, str(file), SAME_ROWS]
        done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
        told = json.loads(done.stdout)
        return told["seconds"], told["memory"]

    return run


def _sqlite3(url: str, file: Path) -> tuple[float, float]:
    path = url.removeprefix("sqlite:///")
    return _program(["sqlite3", "-readonly", "-header", "-csv", path, SAME_ROWS], file)


def _psql(url: str, file: Path) -> tuple[float, float]:
    parts = urlsplit(url)
    host, name = parse_qs(parts.query)["host"][0], parts.path.removeprefix("/")
    copy = f"COPY ({SAME_ROWS}) TO STDOUT WITH (FORMAT csv, HEADER)"
    return _program([str(_psql_program()), "-q", "-h", host, "-U", "qodex", name, "-c", copy], file)


def _psql_program() -> str | None:
    beside = postgres_programs() / "psql"
    return str(beside) if beside.exists() else shutil.which("psql")


def _program(command: list[str], file: Path) -> tuple[float, float]:
    start = time.perf_counter()
    with file.open("wb") as out:
        subprocess.run(command, check=True, stdout=out)
    return time.perf_counter() - start, -1


# --- somebody at a page ----------------------------------------------------------------------------


def _print_pages(path: Path) -> None:
    found: dict[str, list[Told]] = {"nobody exports": [], "one CSV after the other": []}
    secret = links._LOCAL_SECRET  # noqa: SLF001 - the server's own would be another one
    with patch.dict(os.environ, BENCH_LINKS=secret), served(path) as address:
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
                _ask(address, settings)
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


def _ask(address: str, settings: Settings) -> None:
    browser = new_browser()
    # Now is another time on that server: that of the generated database.
    with patch("itsdangerous.timed.TimestampSigner.get_timestamp", return_value=END // SECOND):
        link = Signer(settings).address(Link("local", UsageFilter(), "csv"), browser)
    asked = Request(f"{address}{link}", headers={"Cookie": f"{COOKIE}={browser}"})
    with build_opener(ProxyHandler({})).open(asked) as answer:
        while answer.read(1 << 20):
            pass


if __name__ == "__main__":
    main()
