"""Label columns of exports: asked for, behind all others, with the value of the day of the call."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from pyarrow import parquet

from lib.clock import DAY
from lib.db import Database
from lib.exchange.columns import DAILY_HEADER, EVENT_HEADER
from lib.exchange.export import FORMATS, ExportResult, export_usage
from lib.exchange.imports.import_usage import import_usage
from lib.pricing.prices import PriceBook
from lib.reports.models import UsageFilter
from lib.reports.spend import Reports
from tests.events import put_anew
from tests.integration.reports.test_labels import (
    ADMIN,
    START,
    Labels,
    events,
    in_force,
    label,
    labels,
    three_projects,
)

EVENT = {
    "project": "one",
    "source": "byok",
    "model": "m",
    "cost_nano": 7,
    "input_tokens": 1,
    "output_tokens": 1,
}


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    yield from three_projects(database_url)


def export(database: Database, **options: Any) -> tuple[bytes, ExportResult]:
    out = io.BytesIO()
    done = export_usage(database, options.pop("wanted", UsageFilter()), out, actor=ADMIN, **options)
    return out.getvalue(), done


def rows_of(content: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content.decode(), newline="")))


@pytest.mark.parametrize("kind", FORMATS)
def test_labels_change_nothing_of_an_export_that_does_not_ask_for_them(database: Database, kind: str) -> None:
    put_anew(database, [EVENT | {"occurred_at": START}])
    before, _ = export(database, format=kind)
    label(database, {("one", "owner", START): "Ada"})
    assert export(database, format=kind)[0] == before
    assert "labels" not in export(database, format=kind)[1].meta()


def test_columns_are_the_labels_that_the_exported_projects_ever_had(database: Database) -> None:
    put_anew(database, [EVENT | {"occurred_at": START}])
    label(
        database,
        {("one", "team", START - DAY): "x", ("one", "owner", START): "Ada", ("two", "other", START): "y"},
    )
    content, done = export(database, labels=True, wanted=UsageFilter(projects=("one",)))
    assert content.decode().splitlines()[0] == ",".join([*EVENT_HEADER, "label:owner", "label:team"])
    assert done.meta()["labels"] == ["owner", "team"]
    days, _ = export(database, labels=True, format="daily-csv")
    header = [*DAILY_HEADER, "label:other", "label:owner", "label:team"]
    assert days.decode().splitlines()[0] == ",".join(header)


@settings(max_examples=20)
@given(drawn=events, found=labels)
def test_each_row_has_the_value_that_was_in_force_when_the_call_settled(
    database: Database, drawn: list[dict[str, Any]], found: Labels
) -> None:
    put_anew(database, drawn)
    label(database, found)
    names = sorted({name for (_, name, _), value in found.items() if value})
    expected = Counter(_expected(event, names, found) for event in drawn)

    rows = rows_of(export(database, labels=True)[0])
    assert Counter(_said(row, names) for row in rows) == expected
    table = parquet.read_table(io.BytesIO(export(database, labels=True, format="parquet")[0]))
    columns = [[each or "" for each in table[f"label:{name}"].to_pylist()] for name in names]
    assert Counter(zip(table["project"].to_pylist(), *columns, strict=True)) == expected
    days = rows_of(export(database, labels=True, format="daily-csv")[0])
    assert sum((Counter({_said(row, names): int(row["calls"])}) for row in days), Counter()) == expected
    keys = [
        tuple(row[name] for name in (*DAILY_HEADER[:5], *(f"label:{each}" for each in names))) for row in days
    ]
    assert len(keys) == len(set(keys)), "a row for each day, project, source, provider, model and values"


def _expected(event: Mapping[str, Any], names: list[str], found: Labels) -> tuple[str, ...]:
    slug, at = event["project"], event["occurred_at"]
    return (slug, *(in_force(found, slug, name, at) for name in names))


def _said(row: Mapping[str, str], names: list[str]) -> tuple[str, ...]:
    return (row["project"], *(row[f"label:{name}"] for name in names))


@pytest.mark.parametrize("kind", ["csv", "daily-csv"])
def test_a_value_that_a_spreadsheet_would_run_is_made_inert(database: Database, kind: str) -> None:
    put_anew(database, [EVENT | {"occurred_at": START}])
    label(database, {("one", "owner", START): '=HYPERLINK("x"),1'})
    [row] = rows_of(export(database, labels=True, format=kind)[0])
    assert row["label:owner"] == '\'=HYPERLINK("x"),1'
    [row] = rows_of(export(database, labels=True, format=kind, raw=True)[0])
    assert row["label:owner"] == '=HYPERLINK("x"),1'


def test_more_labels_than_a_function_of_sqlite_takes_arguments(database: Database) -> None:
    put_anew(database, [EVENT | {"occurred_at": START}])
    label(database, {("one", f"label-{number:03}", START): str(number) for number in range(150)})
    [row] = rows_of(export(database, labels=True)[0])
    assert [row[f"label:label-{number:03}"] for number in range(150)] == [str(n) for n in range(150)]


def test_an_export_with_labels_comes_back_to_the_same_numbers_and_says_what_it_did_not_use(
    database: Database,
) -> None:
    put_anew(database, [EVENT | {"occurred_at": START}])
    label(database, {("one", "owner", START): "Ada"})
    content, _ = export(database, labels=True)
    put_anew(database, [])
    result = import_usage(database, PriceBook.load(None), io.BytesIO(content), name="a.csv", actor=ADMIN)
    assert "label:owner" in " ".join(result.sentences())
    assert Reports(database).totals(UsageFilter(), actor=ADMIN).byok_nano == 7
