"""What others' files hold is priced only as far as we read it, named where we did not, and known again for certain."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet
from sqlalchemy import insert, select

from lib.access.roles import Origin, local_administrator
from lib.clock import parse_iso
from lib.db import Database
from lib.db.tables import imported_files, usage_events
from lib.errors import BadInput, ImportRejected
from lib.exchange.columns import DAILY_HEADER
from lib.exchange.imports import staging
from lib.exchange.imports.import_result import ImportResult
from lib.exchange.imports.import_usage import import_usage
from lib.exchange.imports.imported_files import FORMER
from lib.pricing.prices import PriceBook
from lib.usage.rollups import verify
from tests.vaults import projects_of

ADMIN = local_administrator(Origin.COMMAND_LINE, "operator")
PRICES = PriceBook.load(None)
HEADER = "occurred_at,project,model,input_tokens,output_tokens"
CALL = "2026-11-20T10:00:00Z,web,gpt-5-mini,1000,100"
BUCKETS = (
    "start_time,end_time,occurred_at,end_time_iso,project,num_model_requests,user_id,api_key_id,model,batch,"
    "service_tier,input_tokens,output_tokens,input_cached_tokens,input_uncached_tokens,input_audio_tokens"
)
"""OpenAI's usage export as a person renames it: a row sums what one model used on a day."""
on_sqlite = pytest.mark.parametrize("database_kind", ["sqlite"])
Bring = Callable[..., ImportResult]


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """A database with one project, at the end of November 2026."""
    opened = Database(database_url, clock=lambda: parse_iso("2026-11-30T12:00:00Z"))
    projects_of(opened).add("web", actor=ADMIN)
    yield opened
    opened.close()


@pytest.fixture
def bring(database: Database) -> Bring:
    """Import lines of text."""

    def bring(header: str, *lines: str, **options: Any) -> ImportResult:
        content = "\n".join((header, *lines)).encode()
        return import_usage(database, PRICES, io.BytesIO(content), name="usage.csv", actor=ADMIN, **options)

    return bring


def stored(database: Database) -> list[dict[str, Any]]:
    with database.read() as connection:
        found = connection.execute(select(usage_events).order_by(usage_events.c.model))
        return [dict(row._mapping) for row in found]


def costs(database: Database) -> list[str | None]:
    """In USD, by time."""
    with database.read() as connection:
        found = connection.execute(select(usage_events.c.cost_nano).order_by(usage_events.c.occurred_at))
        return [None if nano is None else str(Decimal(nano).scaleb(-9).normalize()) for (nano,) in found]


def said(result: ImportResult) -> str:
    return " ".join(result.sentences())


def bucket(model: str, given: int, made: int, **more: str) -> str:
    """One row of BUCKETS."""
    plain = {"day": "05", "requests": "1", "batch": "FALSE", "tier": "default", "cached": "0", "audio": "0"}
    row = plain | more
    day = f"2026-11-{row['day']}T00:00:00+00:00"
    return (
        f"1793836800,1793923200,{day},,web,{row['requests']},user-1,key-1,{model},{row['batch']},{row['tier']},"
        f"{given},{made},{row['cached']},{given - int(row['cached'])},{row['audio']}"
    )


# --- what changes a price and was not read ---------------------------------------------------------


def test_rows_that_sum_several_requests_have_no_known_cost_and_that_is_said(
    database: Database, bring: Bring
) -> None:
    """Ten short calls of gpt-5.4 cost half of one that is long enough for the higher rate."""
    result = bring(BUCKETS, bucket("gpt-5.4", 300_000, 1_000, requests="10"))
    assert (result.added, result.unpriced, costs(database)) == (1, 1, [None])
    assert "1 row sums several requests, 10 in all. It counts as one call." in said(result)


def test_cached_tokens_of_another_name_leave_the_cost_unknown_and_are_named(
    database: Database, bring: Bring
) -> None:
    result = bring(
        BUCKETS, bucket("gpt-5", 40_000, 500, cached="8192"), bucket("gpt-5", 40_000, 500, day="06")
    )
    assert costs(database) == [None, "0.055"]
    assert result.cost_unknown_for == {"input_cached_tokens": 1}
    assert "input_cached_tokens (1 row)" in said(result)


def test_batch_and_tier_of_a_sum_leave_the_cost_unknown_and_are_named(
    database: Database, bring: Bring
) -> None:
    result = bring(
        BUCKETS,
        bucket("gpt-5-mini", 100_000, 1_000, requests="4", batch="TRUE", tier="batch"),
        bucket("gpt-5-mini", 100_000, 1_000, requests="4", tier="flex", cached="50000", day="06"),
    )
    assert costs(database) == [None, None]
    assert result.cost_unknown_for == {
        "num_model_requests": 2,
        "batch": 1,
        "service_tier": 2,
        "input_cached_tokens": 1,
    }


def test_a_row_whose_other_columns_say_nothing_is_priced(database: Database, bring: Bring) -> None:
    result = bring(BUCKETS, bucket("gpt-5-mini", 100_000, 1_000))
    assert (result.unpriced, costs(database)) == (0, ["0.027"])


def test_every_column_that_was_not_used_is_named_as_the_file_writes_it(bring: Bring) -> None:
    result = bring(f"{HEADER},Note,latency_ms,Region of Origin,total_tokens", f"{CALL},x,5,,1100")
    assert result.unused_columns == ["Note", "Region of Origin", "total_tokens"]
    assert "Columns not used: Note, Region of Origin, total_tokens." in said(result)
    assert "not used" not in said(bring(HEADER, CALL))


@on_sqlite
@pytest.mark.parametrize(
    ("name", "value", "is_known"),
    [
        ("cacheReadTokens", "200", False),
        ("cached_tokens", "0", True),
        ("cached_tokens", "0.0", True),
        ("cache_creation_input_tokens", "1", False),
        ("isBatch", "true", False),
        ("isBatch", "False", True),
        ("usage_tier", "priority", False),
        ("usage_tier", "default", True),
        ("input_audio_tokens", "7", False),
        ("output_image_tokens", "7", False),
        ("web_search_calls", "2", False),
        ("data_residency", "eu", False),
        ("data_residency", "global", True),
        ("reasoning_mode", "pro", False),
        ("REQUESTS", "2", False),
        ("REQUESTS", "1", True),
        ("request_count", "1.0", True),
        ("numRequests", "many", False),
        ("function_calls", "3", True),
        ("input_uncached_tokens", "900", True),
        ("total_tokens", "1100", True),
        ("session_id", "s-1", True),
        ("latency_seconds", "3", True),
    ],
)
def test_a_column_of_any_name_keeps_the_cost_unknown_only_where_it_says_something_that_changes_it(
    database: Database, bring: Bring, name: str, value: str, *, is_known: bool
) -> None:
    bring(f"{HEADER},{name}", f"{CALL},{value}")
    assert costs(database) == ["0.00045" if is_known else None]


def test_a_cost_of_the_files_own_is_kept_whatever_else_it_says(database: Database, bring: Bring) -> None:
    result = bring(f"{HEADER},cost_usd,batch,num_requests", f"{CALL},0.5,TRUE,3")
    assert (costs(database), result.unpriced, result.cost_unknown_for) == (["0.5"], 0, {})
    assert "1 row sums several requests, 3 in all." in said(result)


TERMS = f"{HEADER},region,service_tier"


@on_sqlite
@pytest.mark.parametrize("region", ["global", "none", "default", "n/a", "-", ""])
@pytest.mark.parametrize("tier", ["standard", "default", "Default", "none", ""])
def test_a_tier_or_region_that_is_none_changes_no_price(
    database: Database, bring: Bring, region: str, tier: str
) -> None:
    bring(TERMS, f"{CALL.replace('gpt-5-mini', 'gpt-5.5')},{region},{tier}")
    [row] = stored(database)
    assert (row["cost_nano"], row["region"], row["service_tier"]) == (8_000_000, None, None)


@on_sqlite
def test_a_row_that_names_its_prices_is_priced_at_them(database: Database, bring: Bring) -> None:
    header = f"{HEADER},cached_input_tokens,price_input,price_cached_input,price_output,fees_usd"
    bring(header, f"{CALL},400,2,0.5,30,0.01", f"{CALL.replace('gpt-5-mini', 'ours')},0,1,,4,")
    costs = [(row["cost_nano"], row["price_input"], row["price_table"]) for row in stored(database)]
    assert costs == [(14_400_000, 2_000_000_000, None), (1_400_000, 1_000_000_000, None)]


@on_sqlite
@pytest.mark.parametrize("prices", ["1,,", ",,4", "1,,4"])
def test_prices_that_leave_something_out_leave_the_cost_unknown(
    database: Database, bring: Bring, prices: str
) -> None:
    result = bring(
        f"{HEADER},cached_input_tokens,price_input,price_cached_input,price_output", f"{CALL},400,{prices}"
    )
    assert (result.unpriced, stored(database)[0]["cost_nano"]) == (1, None)


@on_sqlite
def test_an_error_answer_costs_nothing_whatever_its_other_columns_say(
    database: Database, bring: Bring
) -> None:
    result = bring(f"{HEADER},status,audio_tokens", f"{CALL},error,50", f"{CALL},ok,50")
    assert [row["cost_nano"] for row in stored(database)] == [0, None]
    assert result.cost_unknown_for == {"audio_tokens": 1}


@on_sqlite
def test_parquet_is_read_with_the_same_eyes(database: Database) -> None:
    table = pa.table(
        {
            "occurred_at": ["2026-11-20T10:00:00Z", "2026-11-21T10:00:00Z", "2026-11-22T10:00:00Z"],
            "Project": ["web"] * 3,
            "model": ["gpt-5-mini"] * 3,
            "input_tokens": [1000] * 3,
            "output_tokens": [100] * 3,
            "cachedTokens": pa.array([0, 5, None], pa.int64()),
            "tools": pa.array([[], None, ["web_search"]], pa.list_(pa.string())),
            "tags": pa.array([["a"], None, None], pa.list_(pa.string())),
        }
    )
    file = io.BytesIO()
    parquet.write_table(table, file)
    file.seek(0)
    result = import_usage(database, PRICES, file, name="usage.parquet", actor=ADMIN)
    assert costs(database) == ["0.00045", None, None]
    assert result.cost_unknown_for == {"cachedTokens": 1, "tools": 1}
    assert result.unused_columns == ["cachedTokens", "tools", "tags"]


def test_days_without_usage_are_passed_over_and_counted(database: Database, bring: Bring) -> None:
    empty = "1793923200,1794009600,2026-11-06T00:00:00+00:00,2026-11-07T00:00:00+00:00,web,,,,,,,,,,,"
    nameless = empty.replace("web", "")
    result = bring(BUCKETS, bucket("gpt-5-mini", 10, 10), empty, nameless)
    assert (result.rows, result.added, result.passed_over, result.already_there) == (3, 1, 2, 0)
    assert "2 rows without usage passed over." in said(result)
    with pytest.raises(ImportRejected, match="1 of 1 rows"):
        bring(HEADER, "2026-11-06T00:00:00Z,web,,10,")


# --- which rows are the same -----------------------------------------------------------------------


def test_calls_that_differ_in_the_seventh_decimal_are_two_in_whatever_files(
    database: Database, bring: Bring
) -> None:
    first, second = (CALL.replace("00Z", f"00.123456{digit}Z") for digit in "19")
    assert bring(HEADER, CALL, first).added == 2
    result = bring(HEADER, CALL, second)
    assert (result.added, result.already_there) == (1, 1)
    assert "1 row already there came with another file" in said(result)
    assert bring(HEADER, first, second, CALL).added == 0
    assert list(verify(database)) == []


def test_a_second_export_of_a_call_with_more_columns_adds_nothing(bring: Bring) -> None:
    assert bring(HEADER, CALL).added == 1
    more = f"{HEADER},latency_ms,cost_usd,cached_input_tokens,endpoint,key_last4"
    result = bring(more, f"{CALL},500,0.1,0,responses,x4Tz")
    assert (result.added, result.already_there) == (0, 1)


@pytest.mark.parametrize(
    "other",
    [
        "run_id=r-2",
        "upstream_request_id=req_2",
        "source=platform",
        "provider=google",
        "cached_input_tokens=7",
    ],
)
def test_a_call_that_differs_in_what_tells_calls_apart_is_another_one(bring: Bring, other: str) -> None:
    name, value = other.split("=")
    bring(HEADER, CALL)
    assert bring(f"{HEADER},{name}", f"{CALL},{value}").added == 1


def test_the_same_file_again_is_no_reason_to_wonder(bring: Bring) -> None:
    bring(HEADER, CALL, CALL)
    again = bring(HEADER, CALL, CALL)
    assert (again.added, again.already_there, again.is_new_file) == (0, 2, False)
    assert "another file" not in said(again)


def test_rows_with_event_ids_are_known_for_certain(bring: Bring) -> None:
    bring(f"{HEADER},event_id", f"{CALL},e-1")
    again = bring(f"{HEADER},event_id,latency_ms", f"{CALL},e-1,5")
    assert (again.already_there, again.is_new_file, again.is_certain) == (1, True, True)
    assert "another file" not in said(again)


def test_rows_of_one_event_id_that_contradict_each_other_are_said_and_the_first_is_taken(
    database: Database, bring: Bring
) -> None:
    calls = [f"e{number},{CALL}" for number in range(60)]
    again = [calls[3], calls[7].replace(",1000,", ",1001,"), calls[7].replace(",1000,", ",1002,"), calls[7]]
    result = bring(f"event_id,{HEADER}", *calls, *again)
    assert (result.added, result.already_there, result.contradictory) == (60, 4, 2)
    assert "2 rows have the event_id of an earlier row of the file, and other values: " in said(result)
    assert {row["input_tokens"] for row in stored(database)} == {1000}
    assert bring(f"event_id,{HEADER}", *calls).contradictory == 0
    assert bring(HEADER, CALL, CALL).contradictory == 0


def test_a_file_whose_import_was_refused_was_never_imported(bring: Bring) -> None:
    with pytest.raises(ImportRejected):
        bring(HEADER, CALL, "bad")
    assert bring(HEADER, CALL, "bad", skip_bad=True).is_new_file


@pytest.fixture
def former(database: Database) -> Callable[..., list[str]]:
    """Rows as an import of before schema 0007 wrote them, with an id of all that the file said."""

    def write(*calls: tuple[int | None, int]) -> list[str]:
        with database.write() as connection:
            project = projects_of(database).list(actor=ADMIN)[0].id
            ids = []
            for latency, ordinal in calls:
                at = parse_iso("2026-11-20T10:00:00Z")
                named = ["byok", "openai", "gpt-5-mini", "", "ok"]
                cells = [None, at, "web", None, *named, 1000, None, 100, None, *[None] * 6, latency]
                made = staging.former_id(cells) + (f"-{ordinal}" if ordinal > 1 else "")
                row = dict(zip(("source", "provider", "model", "endpoint", "status"), named, strict=True))
                row |= {"project_id": project, "event_id": made, "occurred_at": at, "imported": True}
                row |= {"input_tokens": 1000, "output_tokens": 100, "latency_ms": latency}
                connection.execute(insert(usage_events), row)
                ids.append(made)
            connection.execute(insert(imported_files), {"sha256": FORMER, "imported_at": 0})
        return ids

    return write


def test_rows_that_an_earlier_release_imported_are_recognised(
    database: Database, bring: Bring, former: Callable[..., list[str]]
) -> None:
    former((None, 1), (None, 2), (500, 1))
    result = bring(HEADER, CALL, CALL, CALL)
    assert (result.added, result.already_there) == (1, 2)
    assert "came with another file, or with this one before an upgrade." in said(result)
    again = bring(HEADER, CALL, CALL, CALL)
    assert (again.added, again.already_there) == (0, 3)
    timed = bring(f"{HEADER},latency_ms", f"{CALL},500")
    assert (timed.added, timed.already_there) == (0, 1)
    other = bring(HEADER, CALL.replace("1000", "2000"))
    assert (other.added, other.already_there) == (1, 0)


def test_ids_that_an_earlier_release_gave_stay_and_are_known_in_its_exports(
    database: Database, bring: Bring, former: Callable[..., list[str]]
) -> None:
    [made] = former((None, 1))
    assert bring(f"{HEADER},event_id", f"{CALL},{made}").already_there == 1
    with database.read() as connection:
        assert connection.execute(select(usage_events.c.event_id)).scalars().all() == [made]


# --- why a file is not taken -----------------------------------------------------------------------

OPENAI = BUCKETS.replace("occurred_at", "start_time_iso").replace(",project,", ",project_id,")
REFUSED = {
    "semicolons": ("a;b;occurred_at;project;model\n1;2", "separated by semicolons. Write commas"),
    "semicolons alone": (HEADER.replace(",", ";") + ";cost_usd\n", "and a point in amounts"),
    "tabs": (HEADER.replace(",", "\t") + "\n" + CALL.replace(",", "\t"), "separated by tabs"),
    "bars": (HEADER.replace(",", "|"), "separated by bars"),
    "a page of OpenAI's usage API": ('{\n "object": "page",\n "data": []}', "JSON. An import takes CSV"),
    "lines of JSON": ('{"model":"gpt-5","input_tokens":1}\n{"model":"gpt-5"}', "JSON"),
    "a list": ('\ufeff\n [{"date":"2026-11-01"}]', "JSON"),
    "a page of HTML": ("<!doctype html><title>Sign in</title>", "HTML"),
    "a workbook": ("PK\x03\x04and so on", "workbook"),
    "OpenAI's usage export": (OPENAI, "OpenAI's own usage export.*rename start_time_iso to occurred_at"),
    "OpenAI's cost export": ("start_time,amount_value,amount_currency,line_item", "OpenAI's own cost export"),
    "a daily summary": (",".join(DAILY_HEADER), "daily summary"),
    "something else": ("name,value\n", "no column occurred_at and no column project"),
}


@on_sqlite
@pytest.mark.parametrize("what", REFUSED)
def test_the_true_reason_is_one_sentence_that_says_what_to_do(database: Database, what: str) -> None:
    content, reason = REFUSED[what]
    with pytest.raises(BadInput, match=reason):
        import_usage(database, PRICES, io.BytesIO(content.encode()), name="x", actor=ADMIN)


def test_column_names_in_capitals_are_taken(database: Database, bring: Bring) -> None:
    result = bring("Occurred_At,PROJECT,Model, Input_Tokens ,Output_Tokens", CALL)
    assert (result.added, result.unused_columns, costs(database)) == (1, [], ["0.00045"])


@on_sqlite
def test_a_comma_between_thousands_is_named(bring: Bring) -> None:
    with pytest.raises(ImportRejected) as rejected:
        bring(HEADER, CALL.replace("1000", '"10,000"'))
    assert "input_tokens" in rejected.value.problems[0][1]
    assert "it has a comma between its thousands" in rejected.value.problems[0][1]


def test_costs_of_many_decimals_are_rounded_half_even_and_counted(database: Database, bring: Bring) -> None:
    amounts = ["0.00012345678901", "2.7700000000000001e-04", "0.00001234567", "0.5"]
    lines = [f"{CALL.replace('00Z', f'0{place}Z')},{amount}" for place, amount in enumerate(amounts)]
    result = bring(f"{HEADER},cost_usd", *lines)
    assert costs(database) == ["0.000123457", "0.000277", "0.000012346", "0.5"]
    assert result.rounded == 3
    assert "Amounts of more than nine decimals in 3 rows were rounded (half to even)." in said(result)
