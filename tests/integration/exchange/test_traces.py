"""Real usage data comes in, is counted the same everywhere, and comes in only once.

The data lies beside the repository and is no part of it; without it these tests are skipped.
"""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import pandas as pd
import pytest
from sqlalchemy import text

from lib.access.roles import Origin, local_administrator
from lib.db import Database
from lib.exchange.export import export_usage
from lib.exchange.imports.import_usage import import_usage
from lib.pricing.prices import PriceBook
from lib.reports.models import UsageFilter
from lib.reports.spend import Reports
from tests.vaults import projects_of
from tests.whole import whole_or

TRACES = Path(__file__).resolve().parents[4] / "shared" / "traces"
ADMIN = local_administrator(Origin.COMMAND_LINE, "operator")
PRICES = PriceBook.load(None)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not TRACES.is_dir(), reason="the real usage data is not on this machine"),
]


@dataclass(frozen=True)
class Trace:
    """A file, and what its README says is in it."""

    file: str
    model: str
    source: str
    rows: int
    input_tokens: int
    cached_input_tokens: int
    output_tokens: int


_ALL_TRACES = {
    "azure": Trace("azure2023_code.csv.gz", "gpt-5-mini", "platform", 8_819, 18_059_974, 0, 245_896),
    "mooncake": Trace(
        "mooncake_conversation.csv.gz", "gpt-5", "byok", 12_031, 144_793_823, 54_098_411, 4_122_048
    ),
    "servegen": Trace(
        "servegen_msmall_14d.csv.gz", "gpt-4.1-nano", "byok", 100_255, 11_802_111, 0, 1_511_949
    ),
}
TRACE_OF = {slug: trace for slug, trace in _ALL_TRACES.items() if whole_or(slug != "servegen", whole=True)}
COLUMNS = (
    "occurred_at",
    "project",
    "model",
    "source",
    "input_tokens",
    "cached_input_tokens",
    "output_tokens",
)


def as_import(slug: str) -> bytes:
    """A trace in the columns of an import."""
    trace, out = TRACE_OF[slug], io.StringIO()
    writer = csv.writer(out)
    writer.writerow(COLUMNS)
    with gzip.open(TRACES / trace.file, "rt", newline="") as file:
        for row in csv.DictReader(file):
            counts = [row[name] for name in COLUMNS[4:]]
            writer.writerow([_moved(row["ts"]), slug, trace.model, trace.source, *counts])
    return out.getvalue().encode()


def _moved(moment: str) -> str:
    """The same moment of a later year: the price table does not vouch for days before its models were there."""
    return f"2026{moment[4:]}" if moment[5:] < "11" else f"2025{moment[4:]}"


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """A project for each trace."""
    opened = Database(database_url)
    for slug in TRACE_OF:
        projects_of(opened).add(slug, actor=ADMIN)
    yield opened
    opened.close()


def test_the_real_traces_are_the_same_in_reports_exports_and_plain_sql(database: Database) -> None:
    for slug, trace in TRACE_OF.items():
        content = as_import(slug)
        first = import_usage(database, PRICES, io.BytesIO(content), name=trace.file, actor=ADMIN)
        assert (first.rows, first.added, first.already_there, first.unpriced) == (
            trace.rows,
            trace.rows,
            0,
            0,
        )
        again = import_usage(database, PRICES, io.BytesIO(content), name=trace.file, actor=ADMIN)
        assert (again.rows, again.added, again.already_there) == (trace.rows, 0, trace.rows)
    for slug, trace in TRACE_OF.items():
        by_sql = _by_sql(database, slug)
        assert by_sql[:4] == (trace.rows, trace.input_tokens, trace.cached_input_tokens, trace.output_tokens)
        assert _by_hand(slug) == by_sql[4]
        assert _by_report(database, slug) == by_sql
        assert _by_day(database, slug) == by_sql
        assert _by_export(database, slug) == by_sql


Counts = tuple[int, int, int, int, int]  # rows, input, cached, output, nano-USD


def _by_sql(database: Database, slug: str) -> Counts:
    statement = text(
        "SELECT count(*), sum(input_tokens), coalesce(sum(cached_input_tokens), 0), sum(output_tokens), "
        "sum(cost_nano) FROM usage_events JOIN projects ON projects.id = project_id WHERE slug = :slug"
    )
    with database.read() as connection:
        calls, given, cached, made, nano = map(int, connection.execute(statement, {"slug": slug}).one())
    return calls, given, cached, made, nano


def _by_hand(slug: str) -> int:
    """The cost from the published prices, with which no call of these has a fraction of a nano-USD."""
    # USD per million tokens: input, cached input, output.
    prices = {"gpt-5-mini": "0.25 0.025 2", "gpt-5": "1.25 0.125 10", "gpt-4.1-nano": "0.1 0.025 0.4"}
    given, cached, made = (int(Decimal(price) * 1000) for price in prices[TRACE_OF[slug].model].split())
    rows = csv.DictReader(io.StringIO(as_import(slug).decode()))
    return sum(
        (int(row["input_tokens"]) - int(row["cached_input_tokens"] or 0)) * given
        + int(row["cached_input_tokens"] or 0) * cached
        + int(row["output_tokens"]) * made
        for row in rows
    )


def _by_report(database: Database, slug: str) -> Counts:
    sums = Reports(database).totals(UsageFilter(projects=[slug]), actor=ADMIN)
    ledger = {"platform": sums.platform_nano, "byok": sums.byok_nano}
    assert sums.total_nano == ledger[TRACE_OF[slug].source]
    return sums.calls, sums.input_tokens, sums.cached_input_tokens, sums.output_tokens, sums.total_nano


def _by_day(database: Database, slug: str) -> Counts:
    days = Reports(database).by_day(UsageFilter(projects=[slug], zone="Asia/Kolkata"), actor=ADMIN)
    fields = ("calls", "input_tokens", "cached_input_tokens", "output_tokens", "total_nano")
    calls, given, cached, made, nano = (sum(getattr(day, name) for day in days) for name in fields)
    return calls, given, cached, made, nano


def _by_export(database: Database, slug: str) -> Counts:
    out = io.BytesIO()
    export_usage(database, UsageFilter(projects=[slug]), out, actor=ADMIN)
    frame = pd.read_csv(io.BytesIO(out.getvalue()), dtype={"cost_usd": str})
    tokens = [int(frame[name].sum()) for name in ("input_tokens", "cached_input_tokens", "output_tokens")]
    nano = sum(map(Decimal, frame["cost_usd"]), Decimal()).scaleb(9)
    return len(frame), tokens[0], tokens[1], tokens[2], int(nano)
