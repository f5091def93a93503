"""Usage comes in whole or not at all, once, and with a reason for every row that does not."""

from __future__ import annotations

import hashlib
import io
import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, insert, select, text

from lib.access.roles import Actor, Origin, Role, local_administrator
from lib.clock import DAY, to_micros
from lib.db import Database
from lib.db.tables import audit_log, projects, usage_events, usage_hourly
from lib.errors import BadInput, Forbidden, ImportRejected, QodexError
from lib.exchange.imports.import_result import ImportResult
from lib.exchange.imports.import_usage import import_usage
from lib.pricing.prices import PriceBook
from lib.reports.models import UsageFilter
from lib.reports.spend import Reports
from lib.usage.event_row import EventRow
from lib.usage.rollups import Rollups, verify
from tests.vaults import projects_of

ADMIN = local_administrator(Origin.COMMAND_LINE, "operator")
HEADER = "occurred_at,project,model,input_tokens,output_tokens"
GOOD = "2026-05-01T12:00:00Z,checkout-api,gpt-5-mini,1000,100"
NOW = 1_780_272_000_000_000  # 2026-06-01
PRICES = PriceBook.load(None)
on_sqlite = pytest.mark.parametrize("database_kind", ["sqlite"])  # where only the file is looked at


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """A database with two projects whose clock stands still."""
    opened = Database(database_url, clock=lambda: NOW)
    for slug in ("checkout-api", "search"):
        projects_of(opened).add(slug, actor=ADMIN)
    yield opened
    opened.close()


@pytest.fixture
def bring(database: Database) -> Callable[..., ImportResult]:
    """Import lines of text, or bytes."""

    def bring(*lines: str | bytes, header: str = HEADER, **options: Any) -> ImportResult:
        parts = [line.encode() if isinstance(line, str) else line for line in (header, *lines)]
        content = io.BytesIO(b"\n".join(parts) + b"\n")
        return import_usage(database, PRICES, content, name="usage.csv", actor=ADMIN, **options)

    return bring


def stored(database: Database) -> list[dict[str, Any]]:
    with database.read() as connection:
        found = connection.execute(select(usage_events).order_by(usage_events.c.occurred_at))
        return [dict(row._mapping) for row in found]


def count(database: Database) -> int:
    return len(stored(database))


# --- what goes in ----------------------------------------------------------------------------------


def test_a_row_without_a_cost_is_priced_as_of_its_time(
    database: Database, bring: Callable[..., ImportResult]
) -> None:
    result = bring(GOOD)
    [row] = stored(database)
    assert (result.rows, result.added, result.unpriced) == (1, 1, 0)
    assert row["cost_nano"] == 1000 * 250 + 100 * 2000  # 0.25 and 2 USD per million tokens
    assert (row["price_input"], row["price_output"]) == (250_000_000, 2_000_000_000)


def test_what_the_file_leaves_out_has_a_default(
    database: Database, bring: Callable[..., ImportResult]
) -> None:
    bring(GOOD)
    [row] = stored(database)
    wanted = {"source": "byok", "provider": "openai", "endpoint": "", "status": "ok", "run_id": None}
    assert {name: row[name] for name in wanted} == wanted
    assert (row["cached_input_tokens"], row["reasoning_tokens"]) == (None, None)


def test_an_explicit_cost_is_kept_to_the_last_nano(
    database: Database, bring: Callable[..., ImportResult]
) -> None:
    bring(f"{GOOD},0.123456789", header=f"{HEADER},cost_usd")
    [row] = stored(database)
    assert (row["cost_nano"], row["price_input"]) == (123_456_789, None)


def test_an_empty_cost_is_priced_too(database: Database, bring: Callable[..., ImportResult]) -> None:
    bring(f"{GOOD},", header=f"{HEADER},cost_usd")
    assert stored(database)[0]["cost_nano"] == 450_000


def test_a_model_without_a_price_stays_unknown_and_is_counted_apart(
    database: Database, bring: Callable[..., ImportResult]
) -> None:
    result = bring(GOOD, GOOD.replace("gpt-5-mini", "our-own-model"))
    assert (result.added, result.unpriced) == (2, 1)
    assert sorted(row["cost_nano"] is None for row in stored(database)) == [False, True]


@on_sqlite
@pytest.mark.parametrize(
    ("status", "cost"), [("error", 0), ("broken", None), ("abandoned", None), ("unknown", None)]
)
def test_only_calls_that_went_well_are_priced(
    database: Database, bring: Callable[..., ImportResult], status: str, cost: int | None
) -> None:
    bring(f"{GOOD},{status}", header=f"{HEADER},status")
    assert stored(database)[0]["cost_nano"] == cost


def test_imported_platform_usage_never_counts_against_a_cap(
    database: Database, bring: Callable[..., ImportResult]
) -> None:
    bring(f"{GOOD},platform", header=f"{HEADER},source")
    [row] = stored(database)
    assert (row["imported"], row["sequence"], row["counted_after_nano"]) == (True, None, None)
    with database.read() as connection:
        assert connection.execute(text("SELECT sum(counted_nano) FROM accounts")).scalar() == 0


def test_columns_stand_in_any_order_and_others_are_ignored(
    database: Database, bring: Callable[..., ImportResult]
) -> None:
    bring(
        '100,"one, two",gpt-5-mini,1000,search,2026-05-01T12:00:00Z',
        header="output_tokens,note,model,input_tokens,project,occurred_at",
    )
    [row] = stored(database)
    assert (row["input_tokens"], row["output_tokens"]) == (1000, 100)


@on_sqlite
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_any_line_ending_a_byte_order_mark_and_blank_lines_are_fine(database: Database, newline: str) -> None:
    content = ("\ufeff" + newline.join([HEADER, "", GOOD, "", ""])).encode()
    result = import_usage(database, PRICES, io.BytesIO(content), name="usage.csv", actor=ADMIN)
    assert (result.rows, result.added) == (1, 1)


@on_sqlite
@pytest.mark.parametrize("blank", ["\n", "\r\n\r\n", "\ufeff\n"])
def test_blank_lines_before_the_header_are_fine(database: Database, blank: str) -> None:
    content = io.BytesIO(f"{blank}{HEADER}\n{GOOD}\nbad\n".encode())
    with pytest.raises(ImportRejected) as rejected:
        import_usage(database, PRICES, content, name="usage.csv", actor=ADMIN)
    assert rejected.value.problems[0][0] == blank.count("\n") + 3
    content = io.BytesIO(f"{blank}{HEADER}\n{GOOD}\n".encode())
    assert import_usage(database, PRICES, content, name="usage.csv", actor=ADMIN).added == 1


def test_text_that_an_export_made_inert_is_restored(
    database: Database, bring: Callable[..., ImportResult]
) -> None:
    bring(f"{GOOD},'=cmd|x", f"{GOOD},''@x", f"{GOOD},'plain'", header=f"{HEADER},run_id")
    assert {row["run_id"] for row in stored(database)} == {"=cmd|x", "'@x", "'plain'"}


# --- once ------------------------------------------------------------------------------------------


def test_the_same_rows_again_add_nothing(database: Database, bring: Callable[..., ImportResult]) -> None:
    before = bring(GOOD, GOOD, GOOD.replace("1000", "2000"))
    again = bring(GOOD.replace("1000", "2000"), GOOD, GOOD)  # in another order
    assert (before.added, before.already_there) == (3, 0)
    assert (again.added, again.already_there) == (0, 3)


def test_equal_rows_of_a_file_are_as_many_calls(
    database: Database, bring: Callable[..., ImportResult]
) -> None:
    bring(GOOD)
    result = bring(GOOD, GOOD, GOOD)
    assert (result.added, result.already_there) == (2, 1)
    assert len({row["event_id"] for row in stored(database)}) == 3


def test_a_row_is_the_same_however_its_time_and_defaults_are_written(
    database: Database, bring: Callable[..., ImportResult]
) -> None:
    bring(GOOD)
    longer = GOOD.replace("12:00:00Z", "14:00:00.0000000+02:00") + ",ok,byok"
    assert bring(longer, header=f"{HEADER},status,source").added == 0


def test_a_later_price_does_not_make_it_another_row(
    database: Database, bring: Callable[..., ImportResult]
) -> None:
    unpriced = GOOD.replace("gpt-5-mini", "our-own-model")
    bring(unpriced)
    from lib.pricing.price_file import FilePrice, PriceFile

    own = {("openai", "our-own-model"): [FilePrice(1, None, None, 1, None)]}
    later = PriceBook(PriceFile(own))
    content = io.BytesIO(f"{HEADER}\n{unpriced}\n".encode())
    assert import_usage(database, later, content, name="usage.csv", actor=ADMIN).added == 0


def test_an_event_id_is_an_identity_of_its_project(
    database: Database, bring: Callable[..., ImportResult]
) -> None:
    header = f"{HEADER},event_id"
    result = bring(f"{GOOD},e1", f"{GOOD},e1", f"{GOOD.replace('checkout-api', 'search')},e1", header=header)
    assert (result.added, result.already_there) == (2, 1)


def test_many_rows_come_in_batches_and_equal_ones_are_found_far_apart(
    database: Database, bring: Callable[..., ImportResult]
) -> None:
    different = [GOOD.replace("1000", str(number)) for number in range(5000)]
    result = bring(GOOD.replace("1000", "7"), *different, GOOD.replace("1000", "4999"))
    assert (result.rows, result.added, count(database)) == (5002, 5002, 5002)


def test_sums_that_64_bits_do_not_hold_are_refused_before_anything_is_written(
    database: Database, bring: Callable[..., ImportResult]
) -> None:
    """5 billion USD twice: SQLite would add them up to a float, and every view of them would fail."""
    costly = [f"{GOOD.replace('1000', str(number))},1000000" for number in range(5000)]
    header = f"{HEADER},cost_usd"
    assert bring(*costly, header=header).added == 5000
    others = [line.replace("checkout-api", "search") for line in costly]
    with pytest.raises(BadInput, match="larger than Qodex can keep"):
        bring(*others, header=header)
    assert bring(*costly, header=header).already_there == 5000
    with pytest.raises(QodexError, match="larger than"):
        bring(*[line.replace("5-mini", "5") for line in costly], *others, header=header)
    assert count(database) == 5000
    assert Reports(database).totals(UsageFilter(), actor=ADMIN).byok_nano == 5 * 10**18
    assert list(verify(database)) == []


@on_sqlite
def test_sums_of_one_file_that_64_bits_do_not_hold_are_refused_with_a_sentence(
    database: Database, bring: Callable[..., ImportResult]
) -> None:
    with pytest.raises(QodexError, match="A sum of cost or tokens is larger than"):
        bring(*[f"{GOOD},1000000"] * 10_000, header=f"{HEADER},cost_usd")
    assert count(database) == 0


def test_reports_hold_what_came_in_however_late(
    database: Database, bring: Callable[..., ImportResult]
) -> None:
    bring(GOOD.replace("2026-05", "2026-04"))
    bring(GOOD, GOOD.replace("2026-05", "2025-11"))
    totals = Reports(database).totals(UsageFilter(), actor=ADMIN)
    assert (totals.calls, totals.byok_nano, totals.platform_nano) == (3, 3 * 450_000, 0)
    days = Reports(database).by_day(UsageFilter(), actor=ADMIN)
    assert [day.day.isoformat() for day in days if day.calls] == ["2025-11-01", "2026-04-01", "2026-05-01"]
    bring(GOOD, GOOD, GOOD.replace("gpt-5-mini", "our-own-model"), header=HEADER)
    assert list(verify(database)) == []


@pytest.mark.parametrize("database_kind", ["postgresql"])
def test_imports_and_live_calls_at_once_are_all_in_the_roll_ups(database: Database) -> None:
    """On SQLite one writer waits for the other anyway."""
    files = [
        "\n".join([HEADER, *(GOOD.replace("1000", str(number)) for number in numbers)])
        for numbers in (range(600), range(300, 900), reversed(range(900)))
    ]
    live = {
        "event_id": "live",
        "occurred_at": NOW,
        "source": "byok",
        "provider": "openai",
        "model": "gpt-5-mini",
    }
    live |= {"endpoint": "responses", "status": "ok", "cost_nano": 1, "imported": False}

    def bring(content: str) -> int:
        file = io.BytesIO(content.encode())
        return import_usage(database, PRICES, file, name="usage.csv", actor=ADMIN).added

    with ThreadPoolExecutor() as pool:
        with database.write() as connection:
            project_id = connection.execute(select(projects.c.id).limit(1)).scalar_one()
            row = live | {"project_id": project_id}
            connection.execute(insert(usage_events), row)
            Rollups().add(connection, EventRow(**row))
            added = [pool.submit(bring, content) for content in files]
        assert sum(each.result() for each in added) == 900
    assert list(verify(database)) == []
    assert count(database) == 901


@pytest.mark.parametrize("database_kind", ["postgresql"])
def test_imports_that_share_an_hour_and_a_model_wait_for_each_other_but_not_in_a_ring(
    database: Database,
) -> None:
    """The first stands between two models when the second comes with the last of them; they share all totals."""

    def bring(tokens: int, *models: str) -> int:
        rows = (GOOD.replace("gpt-5-mini", model).replace("1000", str(tokens)) for model in models)
        file = io.BytesIO("\n".join([HEADER, *rows]).encode())
        return import_usage(database, PRICES, file, name="usage.csv", actor=ADMIN).added

    bring(1, "b")
    with ThreadPoolExecutor() as pool:
        with database.write() as connection:
            connection.execute(select(usage_hourly).with_for_update())
            first = pool.submit(bring, 2, "a", "b", "c")
            wait_until_waiting(connection, 1)
            second = pool.submit(bring, 3, "c")
            wait_until_waiting(connection, 2)
        assert (first.result(), second.result()) == (3, 1)
    assert list(verify(database)) == []
    assert count(database) == 5


def wait_until_waiting(connection: Connection, transactions: int) -> None:
    """Until so many wait for a lock of somebody else."""
    waiting = text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
    for _ in range(2_000):
        connection.execute(text("SELECT pg_stat_clear_snapshot()"))
        if connection.execute(waiting).scalar_one() >= transactions:
            return
        time.sleep(0.005)
    raise AssertionError("They do not wait.")


# --- bad rows (attack 29) --------------------------------------------------------------------------

LONG = "x" * 201
BAD_ROWS = {
    "a negative number": (GOOD.replace("1000", "-1"), "input_tokens is negative"),
    "a number that is none": (GOOD.replace("1000", "NaN"), "input_tokens is no whole number"),
    "too many tokens": (GOOD.replace("1000", "9" * 30), "input_tokens is no whole number"),
    "tokens left out": (GOOD.replace("1000", ""), "input_tokens is empty"),
    "a far-future time": (GOOD.replace("2026-05-01", "2026-06-03"), "more than a day ahead"),
    "a time without a zone": (GOOD.replace("Z", ""), "occurred_at has no time zone"),
    "a time left out": (GOOD.replace("2026-05-01T12:00:00Z", ""), "occurred_at is empty"),
    "an unknown project": (GOOD.replace("checkout-api", "nobody"), "project is none of this deployment's"),
    "a project left out": (GOOD.replace("checkout-api", ""), "project is empty"),
    "a model left out": (GOOD.replace("gpt-5-mini", ""), "model is empty"),
    "a model too long": (GOOD.replace("gpt-5-mini", LONG), "model is longer than 200 characters"),
    "a field too few": (GOOD.rsplit(",", 1)[0], "has 4 fields; the header has 5"),
    "a field too many": (f"{GOOD},", "has 6 fields; the header has 5"),
    "a huge field": (GOOD.replace("gpt-5-mini", "x" * 200_000), "a field of more than 131,072 characters"),
    "a line without end": (GOOD.replace(",", "," * 1_000_000), "longer than 1,000,000 characters"),
    "another encoding": (GOOD.replace("gpt", "caf\xe9").encode("latin-1"), "model is not UTF-8"),
    "a NUL character": (GOOD.replace("gpt", "g\0t"), "model holds a NUL"),
    "quotes that do not pair up": (GOOD.replace("gpt-5-mini", '"gpt"-5'), "quotes that do not pair up"),
}


@on_sqlite
@pytest.mark.parametrize("what", BAD_ROWS)
def test_a_bad_row_is_told_by_line_and_reason_and_nothing_goes_in(
    database: Database, bring: Callable[..., ImportResult], what: str
) -> None:
    line, reason = BAD_ROWS[what]
    with pytest.raises(ImportRejected, match="1 of 3 rows is bad, so nothing was imported") as rejected:
        bring(GOOD, line, GOOD)
    [(number, said)] = rejected.value.problems
    assert number == 3
    assert reason in said
    assert count(database) == 0


def test_the_good_rows_go_in_if_the_person_says_so(
    database: Database, bring: Callable[..., ImportResult]
) -> None:
    lines = [line for bad, _ in BAD_ROWS.values() for line in (GOOD, bad)]
    result = bring(*lines, skip_bad=True)
    bad = len(BAD_ROWS)
    assert (result.rows, result.added, result.skipped, count(database)) == (2 * bad, bad, bad, bad)
    assert [number for number, _ in result.bad] == list(range(3, 3 + 2 * bad, 2))
    assert [reason in said for (_, said), (_, reason) in zip(result.bad, BAD_ROWS.values(), strict=True)] == [
        True
    ] * bad


BAD_VALUES = {
    "cost_usd=-0.01": "cost_usd is negative",
    "cost_usd=NaN": "cost_usd is no amount",
    "cost_usd=0,5": "cost_usd is no amount in USD, such as 0.00125; it has a comma",
    "cost_usd=1000001": "cost_usd is more than 1,000,000 USD",
    "cached_input_tokens=1001": "cached_input_tokens is more than input_tokens",
    "reasoning_tokens=101": "reasoning_tokens is more than output_tokens",
    "source=somebody": "source is none of platform, byok",
    "status=fine": "status is none of ok, error",
    f"run_id={LONG}": "run_id is longer than 200",
    "key_last4=12345": "key_last4 is longer than 4",
    "latency_ms=-5": "latency_ms is negative",
}


@on_sqlite
@pytest.mark.parametrize("what", BAD_VALUES)
def test_an_optional_column_is_judged_as_well(bring: Callable[..., ImportResult], what: str) -> None:
    name, value = what.split("=", 1)
    with pytest.raises(ImportRejected) as rejected:
        bring(f'{GOOD},"{value}"', header=f"{HEADER},{name}")
    assert BAD_VALUES[what] in rejected.value.problems[0][1]


def test_tokens_may_be_unknown_where_the_row_says_how_the_call_ended(
    database: Database, bring: Callable[..., ImportResult]
) -> None:
    bring("2026-05-01T12:00:00Z,search,gpt-5-mini,,,unknown", header=f"{HEADER},status")
    [row] = stored(database)
    assert (row["input_tokens"], row["output_tokens"], row["cost_nano"]) == (None, None, None)


def test_a_quote_that_is_never_closed_does_not_swallow_rows_in_silence(
    database: Database, bring: Callable[..., ImportResult]
) -> None:
    many = [GOOD.replace("1000", str(number)) for number in range(4000)]
    result = bring(GOOD.replace("gpt-5-mini", '"gpt-5-mini'), *many, skip_bad=True)
    assert "is a quote not closed?" in result.bad[0][1]
    assert "up to line" in result.bad[0][1]
    assert result.skipped >= 1
    assert count(database) == result.added > 0


def test_only_the_first_thousand_bad_rows_are_listed_and_all_are_counted(
    bring: Callable[..., ImportResult],
) -> None:
    with pytest.raises(ImportRejected, match=r"1,500 of 1,500 rows are bad") as rejected:
        bring(*["bad"] * 1500)
    assert len(rejected.value.problems) == 1000


@on_sqlite
@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "The file is empty"),
        (b"\n\n", "The file is empty"),
        (b"occurred_at,project,model,output_tokens\n", "no column input_tokens"),
        (f"{HEADER},model\n".encode(), "the column model twice"),
        (HEADER.encode("utf-16"), "UTF-16"),
        (b"PAR1 is how Parquet begins", "damaged or not complete"),
        (b'"' + b"x" * 200_000, "first line cannot be read"),
    ],
)
def test_a_file_that_is_none_of_ours_is_refused_with_a_sentence(
    database: Database, content: bytes, sentence: str
) -> None:
    with pytest.raises(BadInput, match=sentence):
        import_usage(database, PRICES, io.BytesIO(content), name="usage.csv", actor=ADMIN)


# --- rights and history ----------------------------------------------------------------------------


def test_only_administrators_import(database: Database) -> None:
    lead = Actor("lead@example.com", Origin.BROWSER, everywhere=Role.LEAD)
    with pytest.raises(Forbidden):
        import_usage(database, PRICES, io.BytesIO(b""), name="usage.csv", actor=lead)


def test_an_import_is_in_the_audit_log_with_what_it_did(
    database: Database, bring: Callable[..., ImportResult]
) -> None:
    bring(GOOD)
    bring(GOOD, GOOD, "bad", skip_bad=True)
    with database.read() as connection:
        written = connection.execute(
            select(audit_log.c.actor, audit_log.c.after)
            .where(audit_log.c.action == "usage:imported")
            .order_by(audit_log.c.id)
        ).all()
    assert [row.actor for row in written] == ["operator", "operator"]
    content = f"{HEADER}\n{GOOD}\n{GOOD}\nbad\n".encode()
    assert json.loads(written[1].after) == {
        "file": "usage.csv",
        "sha256": hashlib.sha256(content).hexdigest(),
        "projects": ["checkout-api"],
        "rows": 3,
        "added": 1,
        "already_there": 1,
        "skipped": 1,
    }


def test_a_refused_import_leaves_no_trace(database: Database, bring: Callable[..., ImportResult]) -> None:
    with pytest.raises(ImportRejected):
        bring("bad")
    with database.read() as connection:
        found = connection.execute(select(audit_log.c.id).where(audit_log.c.action == "usage:imported"))
        assert found.all() == []


def test_progress_says_how_many_rows_were_read(bring: Callable[..., ImportResult]) -> None:
    seen: list[int] = []
    bring(*[GOOD] * 4500, progress=seen.append)
    assert seen == sorted(seen)
    assert seen[-1] == 4500


def test_a_day_of_clocks_that_differ_is_no_far_future(bring: Callable[..., ImportResult]) -> None:
    from lib.clock import iso

    soon = GOOD.replace("2026-05-01T12:00:00Z", iso(NOW + DAY))
    assert bring(soon).added == 1


# --- Parquet ---------------------------------------------------------------------------------------


def test_parquet_comes_in_whatever_types_its_writer_chose(database: Database, tmp_path: Path) -> None:
    import datetime as dt
    from decimal import Decimal

    import pyarrow as pa
    from pyarrow import parquet

    at = [dt.datetime(2026, 5, 1, 12, 0, 0, 123456, tzinfo=dt.UTC)] * 2
    table = pa.table(
        {
            "occurred_at": pa.array(at, pa.timestamp("ns", tz="Europe/Berlin")),
            "project": pa.array(["search", "search"]).dictionary_encode(),
            "model": ["'=formula", "gpt-5-mini"],
            "input_tokens": pa.array([1000.0, 5.0]),
            "output_tokens": pa.array([100, 5], pa.int32()),
            "cost_usd": pa.array([Decimal("0.000000001"), None], pa.decimal128(19, 9)),
            "ignored": [[1], [2]],
        }
    )
    path = tmp_path / "usage.parquet"
    parquet.write_table(table, path)
    with path.open("rb") as file:
        result = import_usage(database, PRICES, file, name=path.name, actor=ADMIN)
    rows = {row["model"]: row for row in stored(database)}
    assert result.added == 2
    assert rows["'=formula"]["cost_nano"] == 1
    assert rows["gpt-5-mini"]["occurred_at"] == to_micros(at[0])


class Drops(io.RawIOBase):
    """A pipe whose writer is slow: it gives one byte at a time."""

    def __init__(self, content: bytes) -> None:
        self._content = io.BytesIO(content)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        drop = self._content.read(1)
        buffer[: len(drop)] = drop
        return len(drop)


def as_parquet(**columns: Any) -> bytes:
    """One row of usage, with these columns in place of good ones."""
    import pyarrow as pa
    from pyarrow import parquet

    good = {
        "occurred_at": ["2026-05-01T12:00:00Z"],
        "project": ["search"],
        "model": ["m"],
        "input_tokens": [1],
        "output_tokens": [1],
    }
    out = io.BytesIO()
    parquet.write_table(pa.table(good | columns), out)
    return out.getvalue()


@on_sqlite
def test_a_slow_pipe_hides_neither_parquet_nor_utf_16(database: Database) -> None:
    for content in (f"{HEADER}\n{GOOD}\n".encode(), as_parquet()):
        drops = io.BufferedReader(Drops(content))
        drops.peek(1)
        assert import_usage(database, PRICES, drops, name="pipe", actor=ADMIN).added == 1
    drops = io.BufferedReader(Drops(HEADER.encode("utf-16")))
    with pytest.raises(BadInput, match="UTF-16"):
        import_usage(database, PRICES, drops, name="pipe", actor=ADMIN)


@on_sqlite
@pytest.mark.parametrize("kind", ["float16", "float32", "float64"])
def test_counts_of_parquet_are_taken_as_they_are_whatever_their_width(database: Database, kind: str) -> None:
    import pyarrow as pa

    tokens = 2048 if kind == "float16" else 123_456_792
    counts = pa.array([float(tokens)], getattr(pa, kind)())
    cost = pa.array([0.1], pa.float32())
    content = io.BytesIO(as_parquet(input_tokens=counts, cost_usd=cost))
    import_usage(database, PRICES, content, name="usage.parquet", actor=ADMIN)
    [row] = stored(database)
    assert (row["input_tokens"], row["cost_nano"]) == (tokens, 100_000_000)


@on_sqlite
def test_text_of_parquet_that_is_no_utf_8_is_a_bad_row(database: Database) -> None:
    import pyarrow as pa

    offsets, latin_1 = pa.py_buffer(b"\0\0\0\0\6\0\0\0"), pa.py_buffer("modèle".encode("latin-1"))
    models = pa.StringArray.from_buffers(1, offsets, latin_1)
    content = io.BytesIO(as_parquet(model=models))
    with pytest.raises(ImportRejected) as rejected:
        import_usage(database, PRICES, content, name="usage.parquet", actor=ADMIN)
    assert rejected.value.problems == [(1, "model is not UTF-8")]


@on_sqlite
def test_a_damaged_byte_in_the_names_of_parquet_is_said(database: Database) -> None:
    content = as_parquet().replace(b"model", b"mod\xddl")
    with pytest.raises(BadInput, match="damaged"):
        import_usage(database, PRICES, io.BytesIO(content), name="usage.parquet", actor=ADMIN)


def test_a_time_in_parquet_needs_a_zone_as_well(database: Database, tmp_path: Path) -> None:
    import datetime as dt

    import pyarrow as pa
    from pyarrow import parquet

    naive = pa.array([dt.datetime(2026, 5, 1)], pa.timestamp("us"))  # noqa: DTZ001
    columns = {
        "occurred_at": naive,
        "project": ["search"],
        "model": ["m"],
        "input_tokens": [1],
        "output_tokens": [1],
    }
    parquet.write_table(pa.table(columns), tmp_path / "usage.parquet")
    with (tmp_path / "usage.parquet").open("rb") as file, pytest.raises(ImportRejected) as rejected:
        import_usage(database, PRICES, file, name="usage.parquet", actor=ADMIN)
    assert rejected.value.problems == [
        (1, "occurred_at has no time zone; write Z or an offset such as +02:00")
    ]
