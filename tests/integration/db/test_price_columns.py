"""Migration 0006: rows from before tell their whole cost too, where it follows from what they hold."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

from sqlalchemy import text

from lib.db import Database
from lib.db.migrate import migrate
from tests.old_schemas import begin_at

SOL = {"input": 4_000_000_000, "cached": 400_000_000, "output": 20_000_000_000}
LUNA = {"input": 200_000_000, "cached": 20_000_000, "output": 1_200_000_000}


def _cost(prices: dict[str, int], given: int, cached: int, written: int, made: int) -> int:
    product = (given - cached - written) * prices["input"] + cached * prices["cached"]
    product += written * prices["input"] * 5 // 4 + made * prices["output"]
    return int((Decimal(product) / 10**6).to_integral_value(ROUND_HALF_EVEN))


def _add(connection: Any, event_id: str, model: str, prices: dict[str, int], **row: Any) -> None:
    row = {"given": 10_000, "cached": 2_000, "made": 1_000, "imported": False} | row
    connection.execute(
        text(
            "INSERT INTO usage_events (project_id, event_id, occurred_at, source, provider, model, endpoint, status,"
            " input_tokens, cached_input_tokens, output_tokens, reasoning_tokens, cost_nano, price_input,"
            " price_cached_input, price_output, imported) VALUES ('p', :event_id, 1, 'byok', 'openai', :model,"
            " 'responses', 'ok', :given, :cached, :made, 0, :cost, :input, :cached_price, :output, :imported)"
        ),
        row
        | {"event_id": event_id, "model": model, "input": prices["input"], "cached_price": prices["cached"]}
        | {"output": prices["output"]},
    )


def _old_database(url: str) -> Database:
    database = Database(url)
    with database.write() as connection:
        begin_at(connection, "0005", "p")
    return database


def _rows(database: Database) -> dict[str, tuple[int | None, int | None]]:
    with database.read() as connection:
        found = connection.execute(
            text("SELECT event_id, cache_write_tokens, price_cache_write FROM usage_events")
        )
        return {row.event_id: (row.cache_write_tokens, row.price_cache_write) for row in found}


def test_what_old_rows_paid_for_cache_writes_is_told_from_their_cost(empty_database_url):
    database = _old_database(empty_database_url)
    with database.write() as connection:
        _add(connection, "written", "gpt-5.6-sol", SOL, cost=_cost(SOL, 10_000, 2_000, 3_000, 1_000))
        nearly_all = {"given": 18_014, "cached": 0, "made": 40, "cost": _cost(LUNA, 18_014, 0, 18_011, 40)}
        _add(connection, "nearly-all", "gpt-5.6-luna", LUNA, **nearly_all)
        one = {"given": 3, "cached": 0, "made": 0, "cost": _cost(LUNA, 3, 0, 1, 0)}
        _add(connection, "one-token", "gpt-6-sol", LUNA, **one)
    migrate(database)
    assert _rows(database) == {
        "written": (3_000, 5_000_000_000),
        "nearly-all": (18_011, 250_000_000),
        "one-token": (1, 250_000_000),
    }
    database.close()


def test_rows_whose_cost_says_nothing_of_cache_writes_stay_as_they_are(empty_database_url):
    database = _old_database(empty_database_url)
    with database.write() as connection:
        plain, more = _cost(SOL, 10_000, 2_000, 0, 1_000), _cost(SOL, 10_000, 2_000, 3_000, 1_000)
        _add(connection, "nothing-written", "gpt-5.6-sol", SOL, cost=plain)
        _add(connection, "imported", "gpt-5.6-sol", SOL, cost=more, imported=True)
        _add(connection, "another-model", "gpt-5-mini", SOL, cost=more)
        _add(connection, "does-not-come-out", "gpt-5.6-sol", SOL, cost=more + 333)
        _add(
            connection,
            "more-than-there-was",
            "gpt-5.6-sol",
            SOL,
            cost=_cost(SOL, 10_000, 2_000, 9_000, 1_000),
        )
        _add(connection, "unknown", "gpt-5.6-sol", SOL, cost=None)
    migrate(database)
    assert set(_rows(database).values()) == {(None, None)}
    database.close()
