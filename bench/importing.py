"""Importing a real trace, against the same rows through plain ``executemany`` into the same table."""

from __future__ import annotations

import csv
import gzip
import io
import time

from sqlalchemy import select

from bench.measure import median, table, verdict
from bench.workplace import ACTOR, database_urls, platform
from lib.db.tables import usage_events
from lib.exchange.imports.import_usage import import_usage
from lib.platform import Platform
from lib.settings import ROOT

TRACE = ROOT.parent / "shared" / "traces" / "servegen_msmall_14d.csv.gz"
COLUMNS = ("occurred_at", "project", "source", "model", "input_tokens", "output_tokens", "latency_ms")


def main() -> None:
    """Print the table."""
    if not TRACE.exists():
        print("\nImport: skipped, the trace is not here.")
        return
    file = _csv()
    found = []
    with database_urls() as urls:
        for engine, url in urls.items():
            plain, ours = [], []
            with platform(url) as opened:
                for turn in range(3):
                    slugs = f"ours-{turn}", f"plain-{turn}"
                    ids = [opened.projects.add(slug, actor=ACTOR).id for slug in slugs]
                    content = file.replace(b",bench,", f",{slugs[0]},".encode())
                    ours.append(_ours(opened, content))
                    plain.append(_plain(opened, *ids))
            ratios = [a / b for a, b in zip(ours, plain, strict=True)]
            rows = file.count(b"\n") - 1
            speeds = (f"{rows / median(seconds):,.0f}" for seconds in (plain, ours))
            found.append((engine, *speeds, verdict(median(ratios), 3)))
    table(
        f"Import of {rows:,} rows, rows a second (plain: the finished rows through executemany, same table)",
        ("engine", "plain", "ours", "time ratio"),
        found,
    )


def _ours(opened: Platform, content: bytes) -> float:
    start = time.perf_counter()
    import_usage(opened.database, opened.prices, io.BytesIO(content), name="trace", actor=ACTOR)
    return time.perf_counter() - start


def _plain(opened: Platform, done: str, other: str) -> float:
    """What the import has written, once more for another project: no reading, checking, pricing, roll-ups."""
    columns = [column.name for column in usage_events.columns]
    with opened.database.read() as connection:
        found = connection.execute(select(usage_events).where(usage_events.c.project_id == done)).all()
    rows = [(other, *row[1:]) for row in found]
    mark = "?" if opened.database.is_sqlite else "%s"
    statement = f"INSERT INTO usage_events ({', '.join(columns)}) VALUES ({', '.join([mark] * len(columns))})"
    start = time.perf_counter()
    with opened.database.write() as connection:
        connection.exec_driver_sql(statement, rows)
    return time.perf_counter() - start


def _csv() -> bytes:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    with gzip.open(TRACE, "rt", newline="") as file:
        for row in csv.DictReader(file):
            tokens = row["input_tokens"], row["output_tokens"]
            writer.writerow((row["ts"], "bench", "byok", "gpt-5-mini", *tokens, ""))
    return text.getvalue().encode()
