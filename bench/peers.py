"""Others over the same events: SQL over a covering index, and DuckDB over a Parquet file, in its own process.

DuckDB must not be in a process that uses SQLite: two SQLite libraries in one lose data.
``python -m bench.peers FILE SINCE UNTIL ROUNDS`` is that process; it prints seconds, one a line.
"""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

from bench.generator import SEED, SHAPE, folder, need_room
from bench.traffic import PRICES, STATUSES, draw
from lib.clock import DAY
from lib.settings import ROOT

_TOKENS = ("input_tokens", "cached_input_tokens", "output_tokens", "reasoning_tokens")
_COLUMNS = ("project_id", "occurred_at", "source", "status", "cost_nano", *_TOKENS)
_PLATFORM, _BYOK = "CASE WHEN source = 'platform' THEN {} END", "CASE WHEN source = 'byok' THEN {} END"
_SUMS = (
    "count(*)",
    *(f"sum({side.format(1)})" for side in (_PLATFORM, _BYOK)),
    *(f"sum(CASE WHEN status = '{status}' THEN 1 ELSE 0 END)" for status in STATUSES[1:]),
    *(
        f"count(*) - count(CASE WHEN source <> '{name}' THEN 1 ELSE cost_nano END)"
        for name in ("platform", "byok")
    ),
    *(f"sum({side.format('cost_nano')})" for side in (_PLATFORM, _BYOK)),
    *(f"sum({name})" for name in _TOKENS),
)
BY_DAY = f"""SELECT occurred_at / {DAY} AS day, {", ".join(_SUMS)} FROM {{calls}}
    WHERE {{projects}} occurred_at >= ? AND occurred_at < ? GROUP BY 1"""
"""The same sums as the reports' ``by_day``, in UTC."""


def covering(events: int, source: Path) -> Path:
    """A copy of the events with one index that holds all that the sums need."""
    path = folder() / f"covering-{events}-seed{SEED}-shape{SHAPE}.db"
    if path.exists():
        return path
    need_room(events * 400)
    unfinished = path.with_suffix(".new")
    unfinished.unlink(missing_ok=True)
    with closing(sqlite3.connect(unfinished, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode=OFF")
        connection.execute("PRAGMA synchronous=OFF")
        connection.execute("ATTACH ? AS made", (str(source),))
        columns = ", ".join(_COLUMNS)
        connection.execute(f"CREATE TABLE calls AS SELECT {columns} FROM made.usage_events")
        connection.execute(f"CREATE INDEX covering ON calls ({columns})")
    unfinished.rename(path)
    return path


def raw_days(path: Path, project_id: str, since: int, until: int, rounds: int) -> list[float]:
    """Seconds that a project's days take over the covering index."""
    statement = BY_DAY.format(calls="calls", projects="project_id = ? AND")
    with closing(sqlite3.connect(path)) as connection:
        return _timed(lambda: connection.execute(statement, (project_id, since, until)).fetchall(), rounds)


def parquet(events: int) -> Path:
    """The events as a Parquet file."""
    import numpy as np
    import pyarrow as pa
    from pyarrow import parquet as files

    path = folder() / f"usage-{events}-seed{SEED}-shape{SHAPE}.parquet"
    if path.exists():
        return path
    need_room(events * 60)
    traffic = draw(events, SEED)
    words = {"source": (["platform", "byok"], traffic.byok), "status": (list(STATUSES), traffic.status)}
    words |= {"model": (list(PRICES), traffic.model)}
    numbers = (traffic.input, traffic.cached, traffic.output, traffic.reasoning, traffic.cost)
    columns = {"project": pa.array(traffic.project.astype(np.int16)), "occurred_at": pa.array(traffic.at)}
    for name, (names, chosen) in words.items():
        columns[name] = pa.DictionaryArray.from_arrays(chosen.astype(np.int8), names)
    for name, values in zip((*_TOKENS, "cost_nano"), numbers, strict=True):
        columns[name] = pa.array(values, mask=values < 0)
    files.write_table(pa.table(columns), path.with_suffix(".new"))
    path.with_suffix(".new").rename(path)
    return path


def duckdb_days(path: Path, since: int, until: int, rounds: int) -> list[float]:
    """Seconds that the organisation's days take in DuckDB."""
    command = [sys.executable, "-m", "bench.peers", *map(str, (path, since, until, rounds))]
    done = subprocess.run(
        command, cwd=ROOT, env=dict(os.environ), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"DuckDB failed: {done.stderr.strip()[-300:]}")
    return [float(line) for line in done.stdout.splitlines()]


def _timed(work, rounds: int) -> list[float]:
    work()
    found = []
    for _ in range(rounds):
        start = time.perf_counter()
        work()
        found.append(time.perf_counter() - start)
    return found


def main() -> None:
    """Be DuckDB's process."""
    import duckdb

    path, since, until, rounds = sys.argv[1:]
    statement = BY_DAY.format(calls=f"read_parquet('{path}')", projects="").replace(" / ", " // ")
    connection = duckdb.connect()
    asked = [int(since), int(until)]
    for seconds in _timed(lambda: connection.execute(statement, asked).fetchall(), int(rounds)):
        print(seconds)


if __name__ == "__main__":
    main()
