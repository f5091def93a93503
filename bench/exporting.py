"""Exports of a year of usage, beside what the databases' own programs and pandas take for the same rows.

``BENCH_EVENTS`` is the number of events: 5000000 for the larger size. Each way runs in a process of its own, one
after the other, and is timed from its first statement.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from bench import generator
from bench.measure import median, table, verdict
from lib.settings import ROOT
from tests.services import postgres_programs, running_postgres

EVENTS = int(os.environ.get("BENCH_EVENTS", "1000000"))
ROUNDS = 3
COLUMNS = (
    "event_id, occurred_at, slug, run_id, source, provider, model, endpoint, status, input_tokens, "
    "cached_input_tokens, output_tokens, reasoning_tokens, cost_nano, price_input, price_cached_input, "
    "price_output, key_last4, upstream_request_id, latency_ms, "
    "served_model, service_tier, region, cache_write_tokens, cache_write_1h_tokens, price_cache_write, "
    "price_cache_write_1h, fees_nano, price_table"
)
SAME_ROWS = (
    f"SELECT {COLUMNS} FROM usage_events JOIN projects ON projects.id = project_id ORDER BY occurred_at"
)
_HEAD = """
import sys, time
url, out, sql = sys.argv[1:]
"""
_OURS = """
from lib.access.roles import Origin, local_administrator
from lib.db import Database
from lib.exchange.export import export_usage
from lib.reports.spend import UsageFilter
import pyarrow.parquet
database = Database(url)
with database.read(): pass
start = time.perf_counter()
with open(out, "wb") as file:
    export_usage(database, UsageFilter(), file, actor=local_administrator(Origin.COMMAND_LINE, "bench"), format=FORMAT)
"""
_PANDAS = """
import pandas, sqlalchemy
engine = sqlalchemy.create_engine(url)
start = time.perf_counter()
with engine.connect().execution_options(stream_results=True) as connection, open(out, "w", newline="") as file:
    for number, chunk in enumerate(pandas.read_sql(sqlalchemy.text(sql), connection, chunksize=50_000)):
        chunk.to_csv(file, index=False, header=number == 0)
"""
_TAIL = """
print(time.perf_counter() - start)
"""
Way = Callable[[str, Path], float]
"""Exports the database of a URL into a file; how many seconds that took."""


def main() -> None:
    """Print the tables."""
    path = generator.sqlite_file(EVENTS)
    with tempfile.TemporaryDirectory(dir=generator.folder()) as folder:
        own = _sqlite3 if shutil.which("sqlite3") else None
        _print("SQLite", f"sqlite:///{path}", Path(folder), "sqlite3 -csv", own, 3)
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
    found: dict[str, list[float]] = {way: [] for way in ways}
    sizes = {}
    for _ in range(ROUNDS):
        for way, run in ways.items():
            file = folder / "out"
            found[way].append(run(url, file))
            sizes[way] = file.stat().st_size
            file.unlink()
    rows = []
    for way, times in found.items():
        seconds = median(times)
        rows.append((way, f"{seconds:.1f}", f"{EVENTS / seconds:,.0f}", f"{sizes[way] / seconds / 1e6:,.0f}"))
    table(f"{engine}: export of {EVENTS:,} events", ("way", "seconds", "rows a second", "MB a second"), rows)
    if own:
        ours = _share(found, "ours, CSV", name)
        print(f"  CSV takes {verdict(ours, target)} of {name}.")
    else:
        print(f"  {name.split(maxsplit=1)[0]} is not on this machine.")
    print(f"  CSV takes {verdict(_share(found, 'ours, CSV', 'pandas to_csv, in chunks'), 0.5)} of pandas.")


def _share(found: dict[str, list[float]], way: str, other: str) -> float:
    return median([a / b for a, b in zip(found[way], found[other], strict=True)])


def _python(program: str) -> Way:
    def run(url: str, file: Path) -> float:
        command = [sys.executable, "-c", _HEAD + program + _TAIL, url, str(file), SAME_ROWS]
        done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
        return float(done.stdout)

    return run


def _sqlite3(url: str, file: Path) -> float:
    path = url.removeprefix("sqlite:///")
    return _program(["sqlite3", "-readonly", "-header", "-csv", path, SAME_ROWS], file)


def _psql(url: str, file: Path) -> float:
    parts = urlsplit(url)
    host, name = parse_qs(parts.query)["host"][0], parts.path.removeprefix("/")
    copy = f"COPY ({SAME_ROWS}) TO STDOUT WITH (FORMAT csv, HEADER)"
    return _program([str(_psql_program()), "-q", "-h", host, "-U", "qodex", name, "-c", copy], file)


def _psql_program() -> str | None:
    beside = postgres_programs() / "psql"
    return str(beside) if beside.exists() else shutil.which("psql")


def _program(command: list[str], file: Path) -> float:
    start = time.perf_counter()
    with file.open("wb") as out:
        subprocess.run(command, check=True, stdout=out)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
