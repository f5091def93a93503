"""Plain calls on PostgreSQL: one round trip each way, with the very rows that statements leave; all else by statements."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import Table, select, text

from lib.clock import DAY, HOUR, MINUTE, from_micros
from lib.db import Database
from lib.db.blocks.limits import Limits
from lib.db.blocks.postgresql import BoundedConnection
from lib.db.tables import (
    metadata,
    platform_key_health,
    provider_keys,
    runs,
)
from lib.errors import BadInput, CapExceeded, DatabaseUnavailable, KeyLocked, NotMetered
from lib.ledger.attempts import AttemptResult
from lib.ledger.ledger import Ledger
from lib.ledger.open_attempt import OpenAttempt
from lib.pricing.price_file import FilePrice, PriceFile
from lib.pricing.prices import PriceBook, Tokens
from lib.runs.lifecycle import StartedRun
from lib.usage.rollups import set_zone, verify
from tests.calls import by_statements
from tests.spending import (
    ADMIN,
    LEASE,
    NOON,
    PLATFORM_KEY,
    PRICES,
    UNIT,
    UNKNOWN,
    Clock,
    Shop,
    answer,
    asking,
    check_books,
    open_shop,
)

pytestmark = pytest.mark.parametrize("database_kind", ["postgresql"])


@pytest.fixture
def shop(database_url: str, clock: Clock) -> Iterator[Shop]:
    with open_shop(database_url, clock) as shop:
        yield shop


@pytest.fixture
def run(shop: Shop) -> StartedRun:
    """One that has made calls: what a process is to remember, it gets from its first ones."""
    run = shop.start()
    for _ in range(2):
        shop.spend(run, 100)
    return run


@contextmanager
def counting(patch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """How often the driver waits for an answer of the server."""
    trips: list[int] = []
    wait = BoundedConnection.wait

    def counted(*told: Any, **more: Any) -> Any:
        trips.append(1)
        return wait(*told, **more)

    with patch.context() as inner:
        inner.setattr(BoundedConnection, "wait", counted)
        yield trips


@pytest.mark.parametrize("payer", ["platform", "byok"])
def test_a_call_takes_one_round_trip_to_open_and_one_to_settle(shop, run, payer, monkeypatch):
    if payer == "byok":
        shop.save_key()
    with counting(monkeypatch) as trips:
        call = shop.open(run, 500)
        assert (call.source, len(trips)) == (payer, 1)
        shop.ledger.settle(call, answer(300))
        assert len(trips) == 2


def test_a_commit_waits_for_the_disk_behind_a_settlement_and_not_behind_an_opening(shop, run, monkeypatch):
    sent: list[str] = []
    execute = BoundedConnection.execute
    monkeypatch.setattr(
        BoundedConnection,
        "execute",
        lambda own, query, *t, **m: sent.append(query) or execute(own, query, *t, **m),
    )
    shop.ledger.settle(shop.open(run, 500), answer(300))
    opening, settling = sent
    assert opening.endswith("COMMIT")
    assert settling.endswith("COMMIT; SELECT pg_logical_emit_message(true, 'qodex', '')")


# --- the same rows ---------------------------------------------------------------------------------

_OUTCOMES = (
    answer(300),
    answer(0, latency_ms=12, upstream_request_id="req_'; \\ \" 日本", served_model="unit-2"),
    AttemptResult("error", None, 400, error_code="bad", error_message="It's \\ bad", key_verdict=None),
    AttemptResult("ok", Tokens(50, 20, 30, 10, 5, 2), 200, key_verdict="fine"),
    AttemptResult("broken", Tokens(5, 0, 1, 0), 200),
    UNKNOWN,
    AttemptResult("error", None, 401, error_code="invalid_api_key", key_verdict="rejected"),
    answer(900),
    answer(100),
)


def _named(ids: dict[str, str], value: Any) -> Any:
    """Random ids by what they are of."""
    if not isinstance(value, str) or value.startswith("msg_"):
        return None if isinstance(value, str) else value
    for key, name in ids.items():
        value = value.replace(key, name)
    return value


def _dump(shop: Shop, ids: dict[str, str]) -> dict[str, list[dict[str, Any]]]:
    """All rows of all tables but what is random in them."""
    tables: list[Table] = [table for table in metadata.sorted_tables if "project_id" in table.c]
    found = {}
    with shop.database.read() as connection:
        for table in tables:
            rows = [dict(row._mapping) for row in connection.execute(select(table))]
            named = [{name: _named(ids, value) for name, value in row.items()} for row in rows]
            plain = [
                {
                    k: v
                    for k, v in row.items()
                    if k not in {"id", "secret_id", "sealed_data_key", "sealed_value"}
                }
                for row in named
            ]
            found[table.name] = sorted(plain, key=str)
    return found


def _story(url: str) -> dict[str, list[dict[str, Any]]]:
    clock, ids = Clock(), dict[str, str]()
    shop = Shop(url, clock)
    for slug in ("platform", "own", "budget"):
        ids[shop.add(slug, cap_5h=5_000, cap_7d=9_000)] = slug
    shop.save_key("own")
    for slug in ("platform", "own", "budget"):
        run = shop.start(slug=slug, token_budget=1_000 if slug == "budget" else None)
        ids[run.run_id] = f"run of {slug}"
        for number, outcome in enumerate(_OUTCOMES * 2):
            clock.now += 17 * MINUTE
            name = f"{slug} {number}"
            try:
                shop.ledger.settle(shop.open(run, 600, event_id=name), outcome)
            except Exception as problem:  # noqa: BLE001 - compared by its words
                ids[f"problem {name}"] = str(problem)
    check_books(shop)
    assert list(verify(shop.database)) == []
    problems = {key: value for key, value in ids.items() if key.startswith("problem")}
    return {**_dump(shop, ids), "problems": [problems]}


def test_it_leaves_the_rows_that_statements_leave(database_url, postgres, request, monkeypatch):
    other = postgres.url(postgres.create(template=request.getfixturevalue("_migrated_name")))
    by_trip = _story(database_url)
    by_statements(monkeypatch)
    by_statement = _story(other)
    for table, rows in by_trip.items():
        assert by_statement[table] == rows, table
    assert len(by_trip["usage_events"]) > 30


# --- what is out of the ordinary -------------------------------------------------------------------


def only(shop: Shop, table: Table) -> Any:
    with shop.database.read() as connection:
        return connection.execute(select(table)).one()


def settle(shop: Shop, call: OpenAttempt, cost: int = 300) -> Any:
    shop.ledger.settle(call, answer(cost))
    check_books(shop)
    assert list(verify(shop.database)) == []
    return next(row for row in shop.events() if row.event_id == call.id)


def test_a_call_that_does_not_fit_is_refused_with_the_words_of_statements(shop, run):
    shop.cap(5_000, 1_000)
    with pytest.raises(CapExceeded, match="7-day cap"):
        shop.open(run, 901)
    assert shop.open_now() == 0
    shop.release(shop.open(run, 800))


@pytest.mark.parametrize("payer", ["platform", "byok"])
def test_a_ceiling_of_any_size_refuses_the_platforms_call_and_no_other(shop, run, payer):
    huge = asking(10**9, choices=10**13)
    if payer == "byok":
        shop.save_key()
        shop.release(shop.ledger.open(run, huge, lease=LEASE))
    else:
        with pytest.raises(CapExceeded, match="can never run on the platform key"):
            shop.ledger.open(run, huge, lease=LEASE)
    assert shop.open_now() == 0


def test_caps_that_have_changed_hold_from_the_next_call_on(shop, run, clock):
    shop.cap(1_000, 1_000, ends_at=clock.now + HOUR)
    with pytest.raises(CapExceeded):
        shop.open(run, 901)
    clock.now += HOUR  # then the plan's hold
    shop.release(shop.open(run, 901))


def test_an_override_that_has_ended_stays_so_when_the_clock_goes_back(shop, run, clock):
    with shop.database.write() as connection:
        connection.execute(text("UPDATE plans SET cap_5h_nano = 1000, cap_7d_nano = 1000"))
    shop.cap(5_000, 5_000, ends_at=clock.now + HOUR)
    clock.now += HOUR
    settle(shop, shop.open(run, 500))
    clock.now -= MINUTE
    with pytest.raises(CapExceeded):
        shop.open(run, 3_000)


def test_what_left_a_window_makes_room(shop, run, clock):
    shop.cap(700, 5_000)
    settle(shop, shop.open(run, 500), 500)
    clock.now += 5 * HOUR - 1
    with pytest.raises(CapExceeded):
        shop.open(run, 500)
    clock.now += 1
    settle(shop, shop.open(shop.start(), 500), 500)


def test_a_key_that_does_not_open_leaves_nothing_open(shop, run):
    shop.save_key()
    assert shop.open(run, 100).source == "byok"
    held = shop.open_now()
    shop.lock_up()
    with pytest.raises(KeyLocked):
        shop.open(run, 100)
    assert shop.open_now() == held
    assert only(shop, provider_keys).locked_since is not None
    assert [line.tag for line in shop.show(run).log] == ["key:locked"]


def test_a_key_that_was_taken_away_past_qodex_is_no_reason_to_spend_the_platforms(shop, run):
    shop.save_key()
    with shop.database.write() as connection:
        connection.execute(text("DELETE FROM provider_keys"))
    with pytest.raises(KeyLocked):
        shop.open(run, 100)
    assert (shop.open_now(), shop.account().reserved_nano) == (0, 0)


def test_a_function_that_was_exchanged_gives_no_project_the_key_of_another(shop, run):
    shop.add("other")
    shop.save_key("other")
    victim = shop.start(slug="other")
    instead = f'{{"project": "{victim.project_id}", "run_id": "{victim.run_id}"}}'
    with shop.database.write() as connection:
        connection.exec_driver_sql(
            "ALTER FUNCTION qodex_open_call RENAME TO genuine; "
            "CREATE FUNCTION qodex_open_call(asked jsonb) RETURNS jsonb LANGUAGE sql "
            f"AS $$ SELECT genuine(asked || '{instead}') $$"
        )
    call = shop.open(run, 500)
    assert (call.project, call.source, call.secret.reveal()) == ("shop", "platform", PLATFORM_KEY)
    assert (call.ceiling_nano, shop.account().reserved_nano) == (500, 500)


def test_no_call_goes_to_the_platform_for_which_nothing_could_be_reserved(shop, run):
    """The function says that it is open; what this process knows says that it cannot be."""
    with shop.database.write() as connection:
        connection.exec_driver_sql(
            "ALTER FUNCTION qodex_open_call RENAME TO genuine; "
            "CREATE FUNCTION qodex_open_call(asked jsonb) RETURNS jsonb LANGUAGE sql AS "
            '$$ SELECT genuine(asked || \'{"ceiling": 0, "output_limit": 4096, "platform_last4": "????"}\') $$'
        )
    with pytest.raises(NotMetered):
        shop.ledger.open(run, asking(500, cost_unbounded="it has no ceiling"), lease=LEASE)
    assert shop.open_now() == 0


def test_a_key_is_read_however_the_database_writes_bytes(shop):
    with shop.database.write() as connection:
        name = connection.exec_driver_sql("SELECT current_database()").scalar_one()
        connection.exec_driver_sql(f'ALTER DATABASE "{name}" SET bytea_output = escape')
    shop.database.close()  # the next connection has it so
    shop.save_key()
    assert shop.open(shop.start(), 500).source == "byok"


def test_an_opening_whose_answer_was_lost_is_taken_back_and_made_anew(shop, run, monkeypatch):
    call_function = Database.call_function
    told = []

    def twice(own: Database, name: str, asked: Any, **more: Any) -> Any:
        told.append(call_function(own, name, asked, **more))
        return call_function(own, name, asked, **more)

    with monkeypatch.context() as patch:
        patch.setattr(Database, "call_function", twice)
        call = shop.open(run, 500)
    assert told[0] is not None
    assert (shop.open_now(), shop.account().reserved_nano) == (1, 500)
    assert settle(shop, call).cost_nano == 300


@pytest.mark.parametrize("said", ["NUL \0", "half a pair \ud83d"])
def test_a_text_that_the_database_cannot_keep_is_no_outage(shop, run, said):
    call = shop.open(run, 500)
    with pytest.raises(BadInput, match="character"):
        shop.ledger.settle(call, AttemptResult("error", None, 400, error_message=said))
    assert settle(shop, call).cost_nano == 300


def test_a_settlement_that_is_sent_twice_counts_once(shop, run):
    call = shop.open(run, 500)
    row = settle(shop, call)
    assert settle(shop, call, 400) == row


def test_a_ceiling_is_that_of_the_databases_time(shop, run, clock, monkeypatch):
    """This machine takes its price from before the day on which it rose."""
    dear = FilePrice(2_000_000, None, None, 2_000_000, 1_000, starts=from_micros(NOON + DAY).date())
    prices = PriceBook(PriceFile({("openai", "unit"): [UNIT, dear]}))
    monkeypatch.setattr(shop.ledger, "_prices", prices)
    monkeypatch.setattr(shop.ledger._one_trip, "_prices", prices)
    monkeypatch.setattr(shop.database, "given_time", lambda: NOON)
    clock.now = NOON + DAY
    call = shop.open(run, 500)
    assert (call.ceiling_nano, shop.account().reserved_nano) == (1_000, 1_000)


def test_a_default_output_limit_that_has_changed_bounds_the_next_call(shop, run):
    profile = asking(0, output_limit=None, free=False)
    before = shop.ledger.open(run, profile, lease=LEASE)
    with shop.database.write() as connection:
        connection.execute(text("UPDATE plans SET default_output_limit = 77"))
    after = shop.ledger.open(run, profile, lease=LEASE)
    assert before.default_output_limit != after.default_output_limit == 77
    assert after.ceiling_nano == 77 + 64


def test_a_budget_is_warned_of_and_stops_the_run(shop):
    run = shop.start(token_budget=1_000)
    for cost in (400, 450, 200):
        settle(shop, shop.open(run, 500), cost)
    assert [line.tag for line in shop.show(run).log] == ["budget:warned"]
    assert only(shop, runs).budget_warned_at == NOON


def test_a_call_over_midnight_counts_on_the_day_of_its_end_in_the_zone_of_reports(shop, run, clock):
    call = shop.open(run, 500)
    set_zone(shop.database, "Asia/Kathmandu")
    clock.now += DAY
    assert settle(shop, call).occurred_at == NOON + DAY
    call = shop.open(run, 500, lease=5 * DAY)
    clock.now += 3 * DAY
    assert settle(shop, call).occurred_at == NOON + 4 * DAY


def test_a_clock_that_goes_back_dates_no_call_before_the_last_one(shop, run, clock):
    settle(shop, shop.open(run, 500))
    clock.now -= HOUR
    assert settle(shop, shop.open(run, 500)).occurred_at == NOON


def test_calls_that_a_wrong_clock_has_dated_ahead_come_back(shop, run, clock):
    clock.now += 400 * DAY
    settle(shop, shop.open(run, 500))
    clock.now -= 399 * DAY
    assert settle(shop, shop.open(run, 500)).occurred_at == clock.now


def test_a_call_of_a_dead_worker_is_settled_by_the_next_opening(shop, run, clock):
    shop.open(run, 500)
    clock.now += LEASE + 1
    shop.release(shop.open(run, 100))
    assert [row.status for row in shop.events()] == ["ok", "ok", "unknown"]


def test_a_platform_key_that_works_again_is_no_longer_shown_as_failing(shop, run):
    shop.ledger.settle(shop.open(run, 100), AttemptResult("error", None, 401, key_verdict="rejected"))
    assert only(shop, platform_key_health).failure == "rejected"
    settle(shop, shop.open(run, 500))
    with shop.database.read() as connection:
        assert connection.execute(select(platform_key_health)).first() is None


def test_a_threshold_is_told_when_it_is_crossed(shop, run):
    shop.cap(1_000, 10_000)
    for _ in range(3):
        settle(shop, shop.open(run, 250), 250)
    with shop.database.read() as connection:
        assert connection.execute(text("SELECT count(*) FROM alert_events")).scalar() == 1


def test_a_project_that_stays_below_a_threshold_leaves_no_errors_in_the_servers_log(
    shop, run, clock, monkeypatch
):
    """Usage leaves the window as fast as it comes: again and again it looks as if the threshold were crossed."""
    shop.cap(1_000, 10_000)
    failed = []
    execute = BoundedConnection.execute

    def watched(*told: Any, **more: Any) -> Any:
        try:
            return execute(*told, **more)
        except Exception as problem:
            failed.append(problem)
            raise

    monkeypatch.setattr(BoundedConnection, "execute", watched)
    for _ in range(14):
        clock.now += 5 * HOUR // 7
        settle(shop, shop.open(run, 100), 100)
    assert failed == []


@pytest.mark.parametrize("step", ["opened", "settled"])
def test_an_account_that_another_program_has_locked_is_waited_for_only_so_long(shop, run, step):
    short = Database(shop.url, limits=Limits(seconds=0.3))
    ledger = Ledger(short, shop.keys, PRICES, ADMIN)
    ledger.settle(ledger.open(run, asking(500), lease=LEASE), answer(300))
    call = ledger.open(run, asking(500), lease=LEASE) if step == "settled" else None
    with shop.database.write() as connection:
        connection.execute(text("SELECT FROM accounts FOR UPDATE"))
        with pytest.raises(DatabaseUnavailable, match="busy") as problem:
            ledger.settle(call, answer(300)) if call else ledger.open(run, asking(500), lease=LEASE)
    assert problem.value.cause == "busy"
    call = call or ledger.open(run, asking(500), lease=LEASE)
    ledger.settle(call, answer(300))
    assert shop.open_now() == 0
    short.close()


def test_a_project_without_the_functions_spends_all_the_same(shop, run):
    with shop.database.write() as connection:
        connection.execute(text("DROP FUNCTION qodex_open_call; DROP FUNCTION qodex_settle_call"))
    assert settle(shop, shop.open(run, 500)).cost_nano == 300
