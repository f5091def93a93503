"""Importing a real trace, against the same rows through plain ``executemany``."""

from __future__ import annotations

import csv
import gzip
import io
import sqlite3
import tempfile
import time
from pathlib import Path

from bench.measure import median, table, verdict
from bench.workplace import ACTOR, database_urls, platform
from lib.settings import ROOT
from lib.usage.importing import import_usage

TRACE = ROOT.parent / "shared" / "traces" / "servegen_msmall_14d.csv.gz"
COLUMNS = ("occurred_at", "project", "source", "model", "input_tokens", "output_tokens", "latency_ms")


def main() -> None:
    """Print the table."""
    if not TRACE.exists():
        print("\nImport: skipped, the trace is not here.")
        return
    rows = _rows()
    file = _csv(rows)
    found = []
    with database_urls() as urls:
        for engine, url in urls.items():
            plain, ours = [], []
            with platform(url) as opened:
                for turn in range(3):
                    plain.append(_plain(rows))
                    slug = f"trace-{turn}"
                    opened.projects.add(slug, actor=ACTOR)
                    content = file.replace(b",bench,", f",{slug},".encode())
                    start = time.perf_counter()
                    import_usage(
                        opened.database, opened.prices, io.BytesIO(content), name="trace", actor=ACTOR
                    )
                    ours.append(time.perf_counter() - start)
            ratios = [a / b for a, b in zip(ours, plain, strict=True)]
            speeds = (f"{len(rows) / median(seconds):,.0f}" for seconds in (plain, ours))
            found.append((engine, *speeds, verdict(median(ratios), 3)))
    table(
        f"Import of {len(rows):,} rows, rows a second (plain: csv and executemany into SQLite, one index)",
        ("engine", "plain", "ours", "time ratio"),
        found,
    )


def _rows() -> list[tuple[str, ...]]:
    with gzip.open(TRACE, "rt", newline="") as file:
        return [
            (row["ts"], "bench", "byok", "gpt-5-mini", row["input_tokens"], row["output_tokens"], "")
            for row in csv.DictReader(file)
        ]


def _csv(rows: list[tuple[str, ...]]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows([COLUMNS, *rows])
    return text.getvalue().encode()


def _plain(rows: list[tuple[str, ...]]) -> float:
    with tempfile.TemporaryDirectory() as folder:
        connection = sqlite3.connect(Path(folder) / "plain.db")
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute(f"CREATE TABLE plain (id INTEGER PRIMARY KEY, {', '.join(COLUMNS)})")
        connection.execute("CREATE UNIQUE INDEX plain_index ON plain (project, occurred_at, id)")
        start = time.perf_counter()
        marks = ", ".join("?" * len(COLUMNS))
        connection.executemany(f"INSERT INTO plain ({', '.join(COLUMNS)}) VALUES ({marks})", rows)
        connection.commit()
        return time.perf_counter() - start
