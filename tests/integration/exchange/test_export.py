"""An export is complete, exact, safe to open, and comes back in through import to the same bytes."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import csv as arrow_csv
from pyarrow import parquet
from sqlalchemy import event, insert, select

from lib.access.projects import visible_ids
from lib.access.roles import Actor, Origin, Role, local_administrator
from lib.clock import from_micros, parse_iso
from lib.db import Database
from lib.db.migrate import migrate
from lib.db.rollup_tables import TOKENS
from lib.db.tables import audit_log, projects, usage_events
from lib.errors import BadInput, Forbidden, ProjectUnknown
from lib.exchange.columns import DAILY_HEADER, EVENT_HEADER
from lib.exchange.csv_writer import EventsAsCsv
from lib.exchange.daily_summary import single_days
from lib.exchange.event_slices import TimeSlice
from lib.exchange.export import FORMATS, ExportBroken, ExportResult, export_usage
from lib.exchange.imports.import_usage import import_usage
from lib.pricing.prices import PriceBook
from lib.reports.models import Totals, UsageFilter
from lib.usage import rollups
from lib.usage.event_row import EventRow
from lib.usage.rollups import Rollups
from tests.vaults import projects_of

ADMIN = local_administrator(Origin.COMMAND_LINE, "operator")
SLUGS = ("checkout-api", "search")
START = 1_777_593_600_000_000  # 2026-05-01
HOUR = 3_600_000_000
PRICES = PriceBook.load(None)

HOSTILE = [
    "=cmd|' /C calc'!A0",
    "'=already quoted",
    "+1",
    "-1",
    "@SUM(1)",
    "\tindented",
    "\rreturn",
    'quote " and , comma',
    "two\r\nlines\nand\rthree",
    "'plain'",
    " spaces ",
    "emoji 🧪",
    "\u202eright to left",
    "<b>bold</b>",
    "n" * 200,
]


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """Two projects without usage."""
    opened = Database(database_url)
    for slug in SLUGS:
        projects_of(opened).add(slug, actor=ADMIN)
    yield opened
    opened.close()


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Database]:
    """An empty SQLite database with the same projects, whatever the first one runs on."""
    opened = Database(f"sqlite:///{tmp_path / 'elsewhere.db'}")
    migrate(opened)
    for slug in SLUGS:
        projects_of(opened).add(slug, actor=ADMIN)
    yield opened
    opened.close()


def put(database: Database, *events: dict[str, Any]) -> None:
    """Write events as the ledger does."""
    rollups = Rollups()
    with database.write() as connection:
        ids = {row.slug: row.id for row in connection.execute(select(projects.c.slug, projects.c.id))}
        for number, event in enumerate(events):
            row = {
                "event_id": f"event-{number}",
                "occurred_at": START + number * HOUR,
                "source": "byok",
                "provider": "openai",
                "model": "gpt-5-mini",
                "endpoint": "responses",
                "status": "ok",
                "input_tokens": 1000,
                "cached_input_tokens": 10,
                "output_tokens": 100,
                "reasoning_tokens": 1,
                "cost_nano": 450_001,
                "imported": False,
            } | event
            row["project_id"] = ids[row.pop("project", "checkout-api")]
            if row["source"] == "platform":
                row |= {"sequence": number, "counted_after_nano": 0, "unknown_after_nano": 0}
            connection.execute(insert(usage_events), row)
            rollups.add(connection, EventRow(**row))


def export(database: Database, **options: Any) -> tuple[bytes, ExportResult]:
    out = io.BytesIO()
    wanted = options.pop("wanted", UsageFilter())
    done = export_usage(database, wanted, out, actor=options.pop("actor", ADMIN), **options)
    return out.getvalue(), done


def rows_of(content: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline="")))


# --- content ---------------------------------------------------------------------------------------


def test_every_column_says_what_is_stored(database: Database) -> None:
    put(
        database,
        {
            "occurred_at": START + 1,
            "run_id": "r-1",
            "source": "platform",
            "price_input": 250_000_000,
            "price_cached_input": 25_000_000,
            "price_output": 2_000_000_000,
            "key_last4": "a1b2",
            "upstream_request_id": "req_1",
            "latency_ms": 12,
            "served_model": "gpt-5-mini-2025-08-07",
            "service_tier": "flex",
            "region": "eu",
            "cache_write_tokens": 30,
            "cache_write_1h_tokens": 0,
            "price_cache_write": 312_500_000,
            "fees_nano": 10_000_000,
            "price_table": "a table 1.2.3",
        },
    )
    event = (
        "event-0,2026-05-01T00:00:00.000001Z,checkout-api,r-1,platform,openai,gpt-5-mini,responses,ok,"
        "1000,10,100,1,0.000450001,0.25,0.025,2,a1b2,req_1,12,"
        "gpt-5-mini-2025-08-07,flex,eu,30,0,0.3125,,0.01,a table 1.2.3"
    )
    content, _ = export(database)
    assert content.decode() == f"{','.join(EVENT_HEADER)}\r\n{event}\r\n"


def test_unknown_is_empty_and_counted(database: Database) -> None:
    unknown = dict.fromkeys(
        ("input_tokens", "cached_input_tokens", "output_tokens", "reasoning_tokens", "cost_nano")
    )
    put(database, {"status": "unknown", **unknown}, {})
    content, done = export(database)
    [first, _] = rows_of(content)
    assert [first[name] for name in ("input_tokens", "output_tokens", "cost_usd", "price_input")] == [""] * 4
    assert (done.rows, done.unpriced_calls, done.byok_nano) == (2, 1, 450_001)


def test_money_is_a_plain_decimal_to_the_last_nano(database: Database) -> None:
    put(database, {"cost_nano": 1}, {"cost_nano": 0}, {"cost_nano": 10**15}, {"cost_nano": 20_000_000})
    costs = [row["cost_usd"] for row in rows_of(export(database)[0])]
    assert costs == ["0.000000001", "0", "1000000", "0.02"]


def test_rows_stand_in_the_order_of_time_and_then_of_the_id_by_its_bytes(database: Database) -> None:
    same = [{"event_id": name, "occurred_at": START} for name in ("b", "a", "_", "B", "é", "Z", "-")]
    put(database, {"event_id": "late", "occurred_at": START + 1}, *same)
    ids = [row["event_id"] for row in rows_of(export(database, raw=True)[0])]
    assert ids == [*sorted(["b", "a", "_", "B", "é", "Z", "-"]), "late"]


def test_an_export_without_rows_is_a_header(database: Database) -> None:
    assert export(database)[0] == ",".join(EVENT_HEADER).encode() + b"\r\n"
    assert export(database, format="daily-csv")[0] == ",".join(DAILY_HEADER).encode() + b"\r\n"
    table = parquet.read_table(io.BytesIO(export(database, format="parquet")[0]))
    assert (table.num_rows, table.column_names) == (0, list(EVENT_HEADER))


def test_no_cell_begins_like_a_formula_unless_it_is_asked_for(database: Database) -> None:
    put(database, *({"model": text, "run_id": text} for text in HOSTILE))
    for format_ in ("csv", "daily-csv"):
        models = [row["model"] for row in rows_of(export(database, format=format_)[0])]
        assert len(models) == len(HOSTILE)
        assert [model for model in models if model[0] in "=+-@\t\r"] == []
    raw = rows_of(export(database, raw=True)[0])
    assert [(row["model"], row["run_id"]) for row in raw] == [(text, text) for text in HOSTILE]


def test_a_byte_order_mark_comes_only_when_asked_for(database: Database) -> None:
    assert export(database)[0][:3] == b"eve"
    for format_ in ("csv", "daily-csv"):
        assert export(database, bom=True, format=format_)[0][:3] == b"\xef\xbb\xbf"


def test_the_daily_summary_belongs_to_a_time_zone(database: Database) -> None:
    put(
        database,
        {},
        {"occurred_at": START + 20 * HOUR, "cost_nano": None},
        {"occurred_at": START + 19 * HOUR},
    )
    utc = rows_of(export(database, format="daily-csv")[0])
    assert [(row["date"], row["calls"], row["cost_usd"], row["unpriced_calls"]) for row in utc] == [
        ("2026-05-01", "3", "0.000900002", "1")
    ]
    # Not the zone of the roll-ups, and not a whole number of hours from UTC.
    india = rows_of(export(database, format="daily-csv", wanted=UsageFilter(zone="Asia/Kolkata"))[0])
    assert [(row["date"], row["calls"], row["cost_usd"]) for row in india] == [
        ("2026-05-01", "1", "0.000450001"),
        ("2026-05-02", "2", "0.000450001"),
    ]


@pytest.mark.parametrize("zone", ["UTC", "Asia/Kolkata", "Australia/Lord_Howe"])
@pytest.mark.parametrize("since", [None, START + 7 * HOUR + 1])
def test_the_daily_summary_is_the_sum_of_its_events_a_day_at_a_time(
    database: Database, zone: str, since: int | None
) -> None:
    """Only one day is held in memory, whatever the period."""
    events = [
        {"project": SLUGS[n % 2], "model": "ab"[n % 3 == 0], "source": ["byok", "platform"][n % 5 == 0]}
        for n in range(90)
    ]
    put(database, *(event | {"occurred_at": START + n * 5 * HOUR} for n, event in enumerate(events)))
    wanted = UsageFilter(zone=zone, since=since, until=START + 400 * HOUR)
    with database.read() as connection:
        ids = visible_ids(connection, ADMIN, ())
        days = list(single_days(connection, wanted, ids))
    assert all(len({row.day for row in rows}) <= 1 for rows in days)
    found = [
        (row.day, row.project, row.source, row.provider, row.model, row.totals)
        for rows in days
        for row in rows
    ]
    assert found == [(*key, totals) for key, totals in sorted(summed_by_hand(database, wanted).items())]


@pytest.mark.parametrize("zone", ["UTC", "Asia/Kolkata"])
def test_a_daily_summary_asks_for_the_days_that_have_usage_and_not_for_the_years_between(
    database: Database, zone: str
) -> None:
    """A row of 2011 beside those of today: one day more, not fifteen years of days."""
    put(database, {}, {"occurred_at": START + HOUR})
    near = statements(database, zone)
    put(database, {"event_id": "old", "occurred_at": parse_iso("2011-12-31T23:59:59Z")})
    assert near < statements(database, zone) <= near + 2
    wanted = UsageFilter(zone=zone, until=START + 2 * HOUR)
    found = rows_of(export(database, wanted=wanted, format="daily-csv")[0])
    old = "2011-12-31" if zone == "UTC" else "2012-01-01"
    assert [(row["date"], row["calls"]) for row in found] == [(old, "1"), ("2026-05-01", "2")]


def statements(database: Database, zone: str) -> int:
    """How many a daily summary takes."""
    seen = list[str]()

    def note(*call: object) -> None:
        seen.append(str(call[2]))

    event.listen(database.engine, "before_cursor_execute", note)
    export(database, wanted=UsageFilter(zone=zone), format="daily-csv")
    event.remove(database.engine, "before_cursor_execute", note)
    return len(seen)


def summed_by_hand(database: Database, wanted: UsageFilter) -> dict[tuple[date, str, str, str, str], Totals]:
    """The daily summary of a period, from its events one by one."""
    found: dict[tuple[date, str, str, str, str], Totals] = defaultdict(Totals)
    with database.read() as connection:
        rows = connection.execute(select(usage_events, projects.c.slug).join(projects)).all()
    for row in rows:
        if (wanted.since is None or row.occurred_at >= wanted.since) and row.occurred_at < (
            wanted.until or 0
        ):
            day = from_micros(row.occurred_at).astimezone(ZoneInfo(wanted.zone)).date()
            tokens = {name: getattr(row, name) for name in TOKENS}
            paid = {f"{row.source}_calls": 1, f"{row.source}_nano": row.cost_nano}
            key = (day, row.slug, row.source, row.provider, row.model)
            found[key].add(Totals(calls=1, **paid, **tokens))
    return found


def test_a_day_of_which_no_cost_is_known_has_none(database: Database) -> None:
    put(database, {"cost_nano": None})
    [row] = rows_of(export(database, format="daily-csv")[0])
    assert (row["cost_usd"], row["unpriced_calls"]) == ("", "1")


# --- filters and sums ------------------------------------------------------------------------------

FILTERS = {
    "everything": (UsageFilter(), 40),
    "a project": (UsageFilter(projects=["search"]), 20),
    "a source": (UsageFilter(sources=["platform"]), 14),
    "a provider": (UsageFilter(providers=["google"]), 8),
    "a model": (UsageFilter(models=["gpt-5"]), 20),
    "a run's kind": (UsageFilter(kinds=["scan"]), 10),
    "a status": (UsageFilter(statuses=["error", "broken"]), 16),
    "a bit of each": (
        UsageFilter(models=["gpt-5"], kinds=["scan", "chat"], statuses=["ok"], sources=["byok"]),
        3,
    ),
    "a period": (UsageFilter(since=START + 5 * HOUR, until=START + 15 * HOUR), 10),
}


@pytest.mark.parametrize("what", FILTERS)
def test_each_format_and_its_totals_hold_what_the_filter_lets_through(database: Database, what: str) -> None:
    wanted, rows = FILTERS[what]
    put(
        database,
        *(
            {
                "project": SLUGS[number % 2],
                "source": "platform" if number % 3 == 0 else "byok",
                "model": "gpt-5" if number % 4 < 2 else "gpt-5-mini",
                "provider": "google" if number % 5 == 0 else "openai",
                "run_kind": ("scan", None, "chat", "scheduled")[number % 4],
                "status": ("ok", "error", "ok", "broken", "ok")[number % 5],
                "cost_nano": None if number % 10 == 9 else number * 1_000_003,
            }
            for number in range(40)
        ),
    )
    for format_ in ("csv", "parquet"):
        content, done = export(database, wanted=wanted, format=format_)
        frame = _frame(content, format_)
        assert done.rows == len(frame) == rows
        for source, nano in (("platform", done.platform_nano), ("byok", done.byok_nano)):
            costs = frame[frame["source"] == source]["cost_usd"].dropna()
            assert sum(map(Decimal, costs), Decimal()) == Decimal(nano).scaleb(-9)
        assert int(frame["input_tokens"].sum()) == done.tokens["input_tokens"]
    _, days = export(database, wanted=wanted, format="daily-csv")
    assert (days.platform_nano, days.byok_nano) == (done.platform_nano, done.byok_nano)
    assert days.unpriced_calls == done.unpriced_calls


@pytest.mark.parametrize("format_", FORMATS)
def test_pandas_and_pyarrow_read_the_same_sums(database: Database, format_: str) -> None:
    put(
        database,
        *({"model": text, "cost_nano": 10**n} for n, text in enumerate(HOSTILE)),
        {"cost_nano": None},
    )
    content, done = export(database, format=format_)
    read = _frame(content, format_)
    table = _arrow(content, format_)
    for name in TOKENS:
        assert int(read[name].sum()) == pc.sum(table[name]).as_py() == done.tokens[name]
    for costs in (read["cost_usd"].dropna(), filter(None, table["cost_usd"].to_pylist())):
        assert sum(map(Decimal, costs), Decimal()).scaleb(9) == done.byok_nano


def _arrow(content: bytes, format_: str) -> pa.Table:
    if format_ == "parquet":
        return parquet.read_table(io.BytesIO(content))
    exact = arrow_csv.ConvertOptions(column_types={"cost_usd": pa.string()})
    lines = arrow_csv.ParseOptions(newlines_in_values=True)
    return arrow_csv.read_csv(io.BytesIO(content), parse_options=lines, convert_options=exact)


def _frame(content: bytes, format_: str) -> pd.DataFrame:
    if format_ == "parquet":
        return pd.read_parquet(io.BytesIO(content))
    return pd.read_csv(io.BytesIO(content), dtype={"cost_usd": str})


def test_parquet_has_proper_types(database: Database) -> None:
    put(database, {"model": "=formula", "cost_nano": 1}, {"cost_nano": None})
    table = parquet.read_table(io.BytesIO(export(database, format="parquet")[0]))
    assert table.schema.field("occurred_at").type == pa.timestamp("us", tz="UTC")
    assert table.schema.field("cost_usd").type == pa.decimal128(19, 9)
    assert table.schema.field("input_tokens").type == pa.int64()
    assert table["cost_usd"].to_pylist() == [Decimal("0.000000001"), None]
    assert table["model"].to_pylist() == ["=formula", "gpt-5-mini"]


def test_what_left_can_be_checked(database: Database) -> None:
    put(database, {}, {"source": "platform"})
    for format_ in FORMATS:
        content, done = export(
            database, format=format_, wanted=UsageFilter(since=START, zone="Europe/Berlin")
        )
        assert (done.bytes, done.sha256) == (len(content), hashlib.sha256(content).hexdigest())
        meta = json.loads(json.dumps(done.meta()))
        assert meta["zone"] == "Europe/Berlin"
        assert meta["filter"]["since"] == "2026-05-01T00:00:00Z"
        assert meta["sums"]["platform_usd"] == meta["sums"]["byok_usd"] == "0.000450001"


def test_an_unknown_format_is_refused(database: Database) -> None:
    with pytest.raises(BadInput, match="csv, daily-csv, parquet"):
        export(database, format="xlsx")


def test_lines_that_the_database_writes_are_the_lines_that_python_writes(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where a text holds what stands between their cells, which only rows can tell apart."""
    monkeypatch.setattr("lib.exchange.event_slices.SLICE", 7)
    texts = [*HOSTILE, "plain", "a\x1fb", "\x1f=", "x" * 100, "=\x1f"]
    put(
        database,
        *({"model": text, "run_id": text, "event_id": text[:100], "key_last4": text[:4]} for text in texts),
        *({"cost_nano": 10**n, "price_input": 10**n - 1, "occurred_at": START - 10**n} for n in range(15)),
    )
    for raw in (False, True):
        by_lines, by_rows = by_lines_and_by_rows(database, raw=raw)
        assert by_lines == by_rows
        assert len(rows_of(by_rows)) == len(texts) + 15


def by_lines_and_by_rows(database: Database, **asked: Any) -> tuple[bytes, bytes]:
    by_lines, _ = export(database, **asked)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TimeSlice, "lines", lambda events, _form: events.rows())
        return by_lines, export(database, **asked)[0]


@pytest.mark.parametrize(
    "text", [*HOSTILE, None, "", '""', "\ufeff", "\ufeffx", "NULL", "\\N", "0", " ", "a\x1fb"]
)
def test_parquet_of_lines_that_the_database_writes_is_that_of_rows(
    database: Database, text: str | None
) -> None:
    """Nothing known is not an empty text, and neither is lost in a line."""
    first = {"run_id": text, "region": text and text[:40], "served_model": text, "occurred_at": START - 1}
    if text is not None:
        first |= {"model": text, "endpoint": text, "event_id": text[:100]}
    put(database, first, {"event_id": "other"})
    put(database, *({"event_id": f"n{n}", "cost_nano": 10**n, "fees_nano": n % 3 or None} for n in range(18)))
    by_lines, by_rows = (
        parquet.read_table(io.BytesIO(content))
        for content in by_lines_and_by_rows(database, format="parquet")
    )
    assert by_lines.equals(by_rows)
    assert {row["run_id"] for row in by_lines.to_pylist()} >= {text}


@pytest.mark.parametrize("text", ["plain", "=formula", 'quote "', "back\\slash", "a\x1fb", "a\x1eb"])
def test_more_events_of_a_minute_than_are_read_at_once_are_the_same_lines(
    database: Database, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setattr("lib.exchange.event_slices.SLICE", 3)
    moments = [{"event_id": f"{99 - n}", "occurred_at": START + 1 + n // 5} for n in range(30)]
    put(database, *moments, {"event_id": "31", "occurred_at": START + 5, "run_id": text})
    _, done = export(database)
    by_lines, by_rows = by_lines_and_by_rows(database)
    assert by_lines == by_rows
    order = [(row["occurred_at"], row["event_id"]) for row in rows_of(by_lines)]
    assert order == sorted(order)
    assert len(order) == done.rows == 31


def test_an_export_that_is_given_up_in_the_middle_leaves_nothing_running(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It reads ahead in a thread of its own, which must be done with the connection by then."""
    monkeypatch.setattr("lib.exchange.event_slices.SLICE", 2)
    put(database, *[{}] * 40)
    for _ in range(5):
        with pytest.raises(KeyboardInterrupt):
            export(database, progress=_give_up)
        assert database.in_use == 0
        assert not any(thread.name.startswith("read ahead") for thread in threading.enumerate())
    with database.read() as connection:
        assert (
            connection.execute(select(audit_log.c.id).where(audit_log.c.action == "usage:exported")).all()
            == []
        )


def _give_up(_: int) -> None:
    raise KeyboardInterrupt


def test_an_export_whose_rows_are_not_what_was_counted_is_broken_off(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(database, {}, {})
    monkeypatch.setattr(EventsAsCsv, "write", lambda *_: 1)
    with pytest.raises(ExportBroken, match="do not agree"):
        export(database)


@pytest.mark.parametrize("format_", ["csv", "parquet"])
def test_a_busy_day_of_23_hours_is_exported_once(
    database: Database, monkeypatch: pytest.MonkeyPatch, format_: str
) -> None:
    """It is cut into pieces of an hour and less, the last of which would lie in the next day."""
    rollups.set_zone(database, "Europe/Berlin")
    monkeypatch.setattr("lib.exchange.event_slices.SLICE", 1)
    day = 1_774_738_800_000_000  # 2026-03-29 in Berlin: the clock goes from 2 to 3
    put(database, *({"occurred_at": day + n * HOUR // 20, "event_id": f"{n:04}"} for n in range(1000)))
    done = export(database, format=format_)[1]
    assert (done.rows, done.byok_nano) == (1000, 1000 * 450_001)


def test_an_export_that_leaves_events_out_is_broken_off(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However they are sliced: each slice agrees with its own sums."""
    put(database, *[{}] * 5)
    monkeypatch.setattr("lib.exchange.export.stream_chunks", lambda *_: (part for part in ()))
    with pytest.raises(ExportBroken):
        export(database)


def test_rows_that_come_during_an_export_are_not_in_it(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lib.exchange.event_slices.SLICE", 2)
    put(database, {}, {}, {}, {"occurred_at": START + 20 * HOUR})

    added: list[str] = []

    def meanwhile(rows: int) -> None:
        added.append(f"meanwhile-{rows}")
        put(database, {"event_id": added[-1], "occurred_at": START + 100 * HOUR})

    assert export(database, progress=meanwhile)[1].rows == 4
    assert added
    assert export(database)[1].rows == 4 + len(added)


# --- rights ----------------------------------------------------------------------------------------


def _analyst(database: Database, slug: str) -> Actor:
    project = projects_of(database).get(slug, actor=ADMIN)
    return Actor("analyst@example.com", Origin.ROUTE, projects={project.id: Role.ANALYST})


@pytest.mark.parametrize("format_", FORMATS)
def test_an_analyst_gets_their_projects_whatever_they_ask_for(database: Database, format_: str) -> None:
    put(database, {}, {"project": "search"})
    analyst = _analyst(database, "search")
    _, done = export(database, actor=analyst, format=format_)
    assert (done.rows, done.wanted.projects) == (1, ("search",))
    with pytest.raises(ProjectUnknown):
        export(database, actor=analyst, wanted=UsageFilter(projects=["checkout-api"]), format=format_)


def test_who_may_see_nothing_exports_nothing(database: Database) -> None:
    with pytest.raises(Forbidden):
        export(database, actor=Actor("visitor@example.com", Origin.ROUTE))


def test_a_refused_export_is_in_the_audit_log_from_wherever_it_was_tried(database: Database) -> None:
    analyst = _analyst(database, "search")
    tries: list[tuple[Actor, list[str]]] = [
        (replace(analyst, origin=Origin.BROWSER), ["checkout-api"]),
        (ADMIN, ["no-such-project"]),
        (Actor("visitor@example.com", Origin.ROUTE), []),
    ]
    for actor, slugs in tries:
        with pytest.raises((ProjectUnknown, Forbidden)):
            export(database, actor=actor, wanted=UsageFilter(projects=slugs))
    with database.read() as connection:
        refused = select(audit_log).where(audit_log.c.action == "access:refused").order_by(audit_log.c.id)
        rows = connection.execute(refused).all()
    assert [(row.actor, row.origin, row.project) for row in rows] == [
        ("analyst@example.com", "browser", "checkout-api"),
        ("operator", "command line", None),
        ("visitor@example.com", "route", None),
    ]
    assert {row.after for row in rows} == {'{"tried": "export usage"}'}


def test_an_export_is_in_the_audit_log_with_its_filter_and_rows(database: Database) -> None:
    put(database, {})
    _, done = export(database, wanted=UsageFilter(projects=["checkout-api"]))
    export(database)
    with database.read() as connection:
        written = connection.execute(
            select(audit_log).where(audit_log.c.action == "usage:exported").order_by(audit_log.c.id)
        ).all()
    after = json.loads(written[0].after)
    assert [row.project for row in written] == ["checkout-api", None]
    assert (after["rows"], after["sha256"], after["filter"]["projects"]) == (1, done.sha256, ["checkout-api"])


# --- and back --------------------------------------------------------------------------------------


def _come_back(database: Database, elsewhere: Database, **options: Any) -> tuple[bytes, bytes]:
    first, _ = export(database, **options)
    with elsewhere.write() as connection:
        connection.execute(usage_events.delete())
    import_usage(elsewhere, PRICES, io.BytesIO(first), name="export", actor=ADMIN)
    again, _ = export(elsewhere, **options)
    return first, again


@pytest.mark.parametrize("format_", ["csv", "parquet"])
def test_an_export_comes_back_to_the_same_bytes_from_either_engine(
    database: Database, elsewhere: Database, format_: str
) -> None:
    unknown = dict.fromkeys(
        ("input_tokens", "cached_input_tokens", "output_tokens", "reasoning_tokens", "cost_nano")
    )
    put(
        database,
        *(
            {"event_id": text[:100], "model": text, "run_id": text, "upstream_request_id": text}
            for text in HOSTILE
        ),
        {"event_id": "u", "status": "unknown", "source": "platform", **unknown},
        {"event_id": "no price", "cost_nano": None, "project": "search"},
        {"event_id": "no model", "model": "", "endpoint": "models", "cost_nano": 0},
        {
            "event_id": "error",
            "status": "error",
            "key_last4": "-a=b",
            "input_tokens": None,
            "cached_input_tokens": None,
        },
        {"event_id": "micro", "occurred_at": START + 123_456},
    )
    first, again = _come_back(database, elsewhere, format=format_)
    assert again == first


_texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=200)


_nasty = st.text(st.sampled_from("=+-@\t\r\n'\",\\\x1e\x1f \u202eé🧪a0"), min_size=1, max_size=20)


@pytest.mark.parametrize("format_", ["csv", "parquet"])
@settings(max_examples=25)
@given(texts=st.lists(_texts | _nasty, min_size=1, max_size=20))
def test_any_text_comes_back(database: Database, elsewhere: Database, format_: str, texts: list[str]) -> None:
    with database.write() as connection:
        connection.execute(usage_events.delete())
    put(database, *({"model": text, "run_id": text} for text in texts))
    first, again = _come_back(database, elsewhere, format=format_)
    assert again == first
    with elsewhere.read() as connection:
        models = connection.execute(
            select(usage_events.c.model).order_by(usage_events.c.occurred_at)
        ).scalars()
        assert list(models) == texts


def test_what_was_imported_comes_back_to_the_same_ids(database: Database, elsewhere: Database) -> None:
    line = "2026-05-01T12:00:00Z,search,gpt-5-mini,1000,100\n"
    given_file = f"occurred_at,project,model,input_tokens,output_tokens\n{line}{line}".encode()
    import_usage(database, PRICES, io.BytesIO(given_file), name="given", actor=ADMIN)
    first, again = _come_back(database, elsewhere)
    assert again == first
    result = import_usage(elsewhere, PRICES, io.BytesIO(given_file), name="given", actor=ADMIN)
    assert (result.added, result.already_there) == (0, 2)


def test_progress_counts_the_rows(database: Database) -> None:
    put(database, *[{}] * 3)
    seen: list[int] = []
    report: Callable[[int], None] = seen.append
    export(database, progress=report)
    assert seen == [3]
