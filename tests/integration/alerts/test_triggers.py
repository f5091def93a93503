"""What is told besides caps: in the transaction of what happened, at each change and not at each call."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import text

from lib.db import Database
from lib.db.migrate import migrate
from lib.errors import BudgetExceeded, KeyLocked
from lib.ledger.attempts import AttemptResult
from lib.pricing.prices import Tokens
from tests.alerts import told
from tests.old_schemas import begin_at
from tests.spending import LEASE, Clock, Shop, answer, asking, at_once, open_shop

REJECTED = AttemptResult(
    "error", None, 401, error_code="invalid_api_key", error_message="no", key_verdict="rejected"
)
NO_MONEY = AttemptResult("error", None, 429, error_code="insufficient_quota", key_verdict="out_of_money")


@pytest.fixture
def shop(database_url: str, clock: Clock) -> Iterator[Shop]:
    with open_shop(database_url, clock) as shop:
        yield shop


def _call(shop: Shop, outcome: AttemptResult) -> None:
    shop.ledger.settle(shop.open(shop.start(), 100), outcome)


def test_a_key_that_begins_to_fail_is_told_once_and_so_is_its_recovery(shop: Shop) -> None:
    shop.save_key()
    for outcome in (answer(1), REJECTED, REJECTED, NO_MONEY, answer(1), answer(1), NO_MONEY):
        _call(shop, outcome)
        shop_clock(shop)
    assert [(event.kind, event.data.get("why")) for event in told(shop.database)] == [
        ("key.failing", "rejected"),
        ("key.recovered", None),
        ("key.failing", "out_of_money"),
    ]
    assert {event.data["provider"] for event in told(shop.database)} == {"openai"}
    assert told(shop.database)[0].data["last4"] == "0001"


def shop_clock(shop: Shop) -> None:
    """A second later."""
    clock = shop.database._clock
    clock.now += 1_000_000


def test_a_late_failure_of_a_replaced_key_is_no_news(shop: Shop) -> None:
    shop.save_key()
    call = shop.open(shop.start(), 100)
    shop.save_key(key="sk-test-another-key-000000002")
    shop.ledger.settle(call, REJECTED)
    assert told(shop.database) == []


def test_many_workers_whose_key_fails_at_once_tell_of_it_once(shop: Shop) -> None:
    shop.save_key()
    calls = [shop.open(shop.start(), 100) for _ in range(8)]
    at_once(8, lambda number: shop.ledger.settle(calls[number], REJECTED))
    assert [event.kind for event in told(shop.database)] == ["key.failing"]


def test_the_platform_key_is_told_to_the_platform(shop: Shop) -> None:
    for outcome in (REJECTED, REJECTED, answer(1), answer(1)):
        _call(shop, outcome)
        shop_clock(shop)
    assert [(event.project_id, event.kind, event.data["provider"]) for event in told(shop.database)] == [
        ("*", "platform.key_failing", "openai"),
        ("*", "platform.key_recovered", "openai"),
    ]


def test_a_locked_key_is_told_once(shop: Shop) -> None:
    shop.save_key()
    run = shop.start()
    shop.lock_up()
    for _ in range(2):
        with pytest.raises(KeyLocked):
            shop.open(run, 100)
    (event,) = told(shop.database)
    assert (event.kind, event.severity, event.data["altered"]) == ("key.locked", "critical", False)
    assert event.data["provider"] == "openai"


def test_a_run_that_used_up_its_own_budget_is_told_once(shop: Shop) -> None:
    run = shop.start(token_budget=10)
    shop.spend(run, 64)
    for _ in range(2):
        with pytest.raises(BudgetExceeded):
            shop.open(run, 100)
    (event,) = told(shop.database)
    assert (event.kind, event.data["run_id"], event.data["budget"]) == ("run.budget_exceeded", run.run_id, 10)


def test_calls_of_a_model_without_a_price_are_told_once_a_week(shop: Shop, clock: Clock) -> None:
    shop.save_key()
    for later in (0, 1, 7 * 86_400):
        clock.now += later * 1_000_000
        call = shop.ledger.open(shop.start(), asking(100, model="nobody-knows-it"), lease=LEASE)
        shop.ledger.settle(call, AttemptResult("ok", Tokens(5, 0, 5, 0), 200, key_verdict="fine"))
    assert [(event.kind, event.data["model"]) for event in told(shop.database)] == [
        ("usage.unpriced", "nobody-knows-it")
    ] * 2


def test_a_database_of_before_alerts_begins_to_watch_at_its_next_call(empty_database_url: str) -> None:
    database = Database(empty_database_url)
    with database.write() as connection:
        begin_at(connection, "0010", "old")
        connection.execute(text("INSERT INTO accounts (project_id, counted_nano) VALUES ('old', 5)"))
    migrate(database)
    with database.read() as connection:
        row = connection.execute(
            text("SELECT counted_nano, alert_above_nano, alert_after FROM accounts")
        ).one()
    assert tuple(row) == (5, 0, None)
    database.close()
