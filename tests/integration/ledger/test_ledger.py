"""Promises 6 and 14: whose key pays for a call, what happens when it fails, and one event for each call."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from sqlalchemy import delete, event, func, select, update

from lib.clock import HOUR, SECOND
from lib.db.tables import accounts, open_calls, usage_hourly
from lib.errors import (
    CapExceeded,
    Forbidden,
    KeyLocked,
    KeyMissing,
    LeaseLost,
    NotMetered,
    PriceUnknown,
    RunEnded,
    RunUnknown,
)
from lib.ledger.attempts import AttemptResult, KeyVerdict
from lib.ledger.key_health import note_platform_key
from lib.ledger.open_attempt import OpenAttempt
from lib.pricing.prices import Tokens
from lib.runs.lifecycle import StartedRun
from lib.vault.states import Verdict
from tests.spending import (
    ADMIN,
    LEASE,
    OWN_KEY,
    PLATFORM_KEY,
    UNKNOWN,
    Clock,
    Shop,
    answer,
    asking,
    at_once,
    open_shop,
)

FAILURES = ("rejected", "out_of_money")


@pytest.fixture
def shop(database_url: str, clock: Clock) -> Iterator[Shop]:
    with open_shop(database_url, clock) as shop:
        yield shop


@pytest.fixture
def run(shop: Shop) -> StartedRun:
    return shop.start()


def refused(verdict: KeyVerdict | None, status: int = 401) -> AttemptResult:
    """The provider's refusal, in its own words."""
    return AttemptResult(
        "error",
        None,
        status,
        error_code="invalid_api_key",
        error_message="Incorrect API key provided.",
        upstream_request_id="req_1",
        key_verdict=verdict,
    )


def tags(shop: Shop, run: StartedRun) -> list[str]:
    return [line.tag for line in shop.show(run).log]


# --- one call, one event ---------------------------------------------------------------------------


def test_an_event_holds_what_is_known_of_its_call(shop: Shop, run: StartedRun, clock: Clock) -> None:
    call = shop.open(run, 500)
    assert (call.source, call.last4, call.secret.reveal()) == ("platform", PLATFORM_KEY[-4:], PLATFORM_KEY)
    clock.now += SECOND
    outcome = AttemptResult("ok", Tokens(100, 40, 60, 20), 200, upstream_request_id="req_1", latency_ms=900)
    shop.ledger.settle(call, outcome)
    [row] = shop.events()
    assert (row.event_id, row.run_id, row.run_kind) == (call.id, run.run_id, "scan")
    assert (row.occurred_at, row.status, row.source, row.imported) == (clock.now, "ok", "platform", False)
    assert (row.model, row.endpoint, row.provider) == ("unit", "responses", "openai")
    assert (row.input_tokens, row.cached_input_tokens) == (100, 40)
    assert (row.output_tokens, row.reasoning_tokens) == (60, 20)
    assert (row.cost_nano, row.price_input, row.price_output) == (160, 1_000_000, 1_000_000)
    assert (row.key_last4, row.upstream_request_id, row.latency_ms) == ("PLAT", "req_1", 900)


def test_settling_twice_changes_nothing(shop: Shop, run: StartedRun) -> None:
    call = shop.spend(run, 100)
    before = shop.events(), shop.account(), shop.show(run)
    shop.ledger.settle(call, answer(999))
    shop.ledger.settle(call, UNKNOWN)
    shop.release(call)
    assert (shop.events(), shop.account(), shop.show(run)) == before


def test_settling_at_once_from_many_threads_makes_one_event(shop: Shop, run: StartedRun) -> None:
    call = shop.open(run, 500)
    at_once(8, lambda cost: shop.ledger.settle(call, answer(cost)))
    assert len(shop.events()) == shop.show(run).run.calls == 1


def test_a_call_that_settles_after_its_lease_ran_out_stays_unknown(
    shop: Shop, run: StartedRun, clock: Clock
) -> None:
    call = shop.open(run, 500)
    clock.now += LEASE + 1
    assert [row.status for row in shop.show(run).calls] == ["unknown"]
    shop.ledger.settle(call, answer(100))
    shop.release(call)
    [row] = shop.events()
    assert (row.status, row.cost_nano, row.counted_after_nano) == ("unknown", None, 500)
    assert "stopped before the outcome was known" in row.error_message


# --- a crash of the database took the opening back --------------------------------------------------


def take_back(shop: Shop, call: OpenAttempt) -> None:
    """What a crash does to the unflushed commit that opened a call: its row and its reservation are gone."""
    with shop.database.write() as connection:
        connection.execute(delete(open_calls).where(open_calls.c.event_id == call.id))
        connection.execute(
            update(accounts).values(reserved_nano=accounts.c.reserved_nano - call.ceiling_nano)
        )


@pytest.mark.parametrize("outcome", [answer(100), UNKNOWN])
def test_a_call_whose_opening_was_lost_is_written_from_what_its_worker_holds(
    shop: Shop, run: StartedRun, outcome: AttemptResult
) -> None:
    other, call = shop.open(run, 300), shop.open(run, 500)
    take_back(shop, call)
    for _ in range(2):
        shop.ledger.settle(call, outcome)
    [row] = shop.events()
    counted = 100 if outcome.tokens else 500
    assert (row.event_id, row.status, row.counted_after_nano) == (call.id, outcome.status, counted)
    assert (shop.account().counted_nano, shop.account().reserved_nano) == (counted, other.ceiling_nano)
    assert shop.show(run).run.calls == 1


def test_a_call_whose_opening_was_lost_and_that_settles_from_many_threads_has_one_event(
    shop: Shop, run: StartedRun
) -> None:
    call = shop.open(run, 500)
    take_back(shop, call)
    at_once(8, lambda cost: shop.ledger.settle(call, answer(cost)))
    assert len(shop.events()) == shop.show(run).run.calls == 1


def test_a_sign_of_life_opens_a_call_again_whose_opening_was_lost(
    shop: Shop, run: StartedRun, clock: Clock
) -> None:
    call = shop.open(run, 500)
    take_back(shop, call)
    clock.now += 1
    shop.ledger.renew(call, LEASE)
    assert (shop.open_now(), shop.account().reserved_nano) == (1, 500)
    with shop.database.read() as connection:
        assert connection.execute(select(open_calls.c.lease_until)).scalar_one() == clock.now + LEASE
    shop.spend(run, 70)
    shop.ledger.settle(call, answer(100))
    assert (shop.account().reserved_nano, shop.account().counted_nano) == (0, 170)


def test_a_sign_of_life_does_not_open_a_call_again_that_has_ended(shop: Shop, run: StartedRun) -> None:
    call = shop.spend(run, 100)
    with pytest.raises(LeaseLost):
        shop.ledger.renew(call, LEASE)
    assert (shop.open_now(), shop.account().reserved_nano) == (0, 0)


def test_a_request_that_was_never_sent_is_in_the_runs_log_once(shop: Shop, run: StartedRun) -> None:
    for _ in range(3):
        call = shop.open(run, 500)
        shop.ledger.release(run.project_id, call.id, why="Connection refused.")
    [line] = shop.show(run).log
    assert (line.tag, shop.events(), shop.account().reserved_nano) == ("call:not_sent", [], 0)
    assert "Connection refused." in line.message


def test_a_call_that_settles_late_but_before_anybody_looked_is_no_worse(
    shop: Shop, run: StartedRun, clock: Clock
) -> None:
    call = shop.open(run, 500)
    clock.now += 10 * LEASE
    shop.ledger.settle(call, answer(100))
    assert [row.cost_nano for row in shop.events()] == [100]


def test_a_sign_of_life_keeps_a_call_open(shop: Shop, run: StartedRun, clock: Clock) -> None:
    call = shop.open(run, 500)
    for _ in range(3):
        clock.now += LEASE
        shop.ledger.renew(call, LEASE)
    shop.headroom()
    assert shop.open_now() == 1
    clock.now += LEASE + 1
    shop.headroom()
    with pytest.raises(LeaseLost):
        shop.ledger.renew(call, LEASE)


def test_a_lease_that_is_renewed_while_it_is_found_late_is_not_taken(
    shop: Shop, run: StartedRun, clock: Clock
) -> None:
    """The renewal comes between the look-up of late calls and the taking of each."""
    call = shop.open(run, 500)
    clock.now += LEASE + 1
    renewed: list[bool] = []

    def renew(_: object, __: object, statement: str, *___: object) -> None:
        if "open_calls.lease_until <" in statement and statement.startswith("SELECT") and not renewed:
            renewed.append(True)
            other = Shop(shop.url, clock)
            other.ledger.renew(call, LEASE)
            other.close()

    event.listen(shop.database.engine, "after_cursor_execute", renew)
    shop.headroom()
    assert renewed
    assert (shop.open_now(), shop.events()) == (1, [])


def test_every_attempt_of_a_run_is_in_its_totals_and_in_the_roll_ups(
    shop: Shop, run: StartedRun, clock: Clock
) -> None:
    shop.spend(run, 100)
    shop.ledger.settle(shop.open(run, 500), UNKNOWN)
    shop.ledger.settle(shop.open(run, 500), refused(None, 500))
    shop.release(shop.open(run, 500))
    shop.open(run, 500)
    clock.now += HOUR
    shop.save_key()
    shop.spend(run, 70)
    found = shop.show(run).run
    assert (found.calls, found.failed_calls, found.unpriced_calls) == (5, 3, 2)
    assert (found.platform_calls, found.byok_calls, found.source) == (4, 1, "both")
    assert (found.platform_nano, found.byok_nano, found.tokens) == (100, 70, 170)
    with shop.database.read() as connection:
        sums = select(func.sum(usage_hourly.c.calls), func.sum(usage_hourly.c.cost_nano))
        assert connection.execute(sums).one() == (5, 170)


def test_a_run_that_is_not_there_or_has_ended_takes_no_call(shop: Shop, run: StartedRun) -> None:
    with pytest.raises(RunUnknown):
        shop.open(replace(run, run_id="r-nothing"), 64)
    shop.runs.finish(run, "passed")
    with pytest.raises(RunEnded):
        shop.open(run, 64)
    assert shop.open_now() == 0


# --- what has no ceiling ---------------------------------------------------------------------------


def test_what_has_no_ceiling_does_not_leave_on_the_platform_key(shop: Shop, run: StartedRun) -> None:
    with pytest.raises(NotMetered, match="hosted tools"):
        shop.ledger.open(run, asking(64, cost_unbounded="it uses hosted tools"), lease=LEASE)
    with pytest.raises(PriceUnknown):
        shop.ledger.open(run, asking(64, model="no-such-model"), lease=LEASE)
    assert (shop.open_now(), shop.account().reserved_nano) == (0, 0)
    assert shop.runs.finish(run, "passed") == "passed"


def test_what_has_no_ceiling_leaves_on_the_projects_own_key_and_its_cost_is_unknown(
    shop: Shop, run: StartedRun
) -> None:
    shop.save_key()
    for ask in (asking(64, cost_unbounded="it uses hosted tools"), asking(64, model="no-such-model")):
        call = shop.ledger.open(run, ask, lease=LEASE)
        shop.ledger.settle(
            call, AttemptResult("ok", Tokens(5, 0, 5, 0), 200, priceable=ask.cost_unbounded is None)
        )
    assert [(row.cost_nano, row.input_tokens) for row in shop.events()] == [(None, 5), (None, 5)]


def test_without_a_limit_of_its_own_a_platform_call_gets_the_plans(shop: Shop, run: StartedRun) -> None:
    call = shop.ledger.open(run, asking(64, output_limit=None), lease=LEASE)
    assert call.default_output_limit == 4_096
    assert shop.account().reserved_nano == 64 + 4_096
    shop.save_key()
    call = shop.ledger.open(run, asking(64, output_limit=None), lease=LEASE)
    assert call.default_output_limit is None


# --- whose key pays --------------------------------------------------------------------------------


def test_the_next_call_after_a_save_replacement_or_removal_uses_the_new_state(
    shop: Shop, run: StartedRun
) -> None:
    other = Shop(shop.url, shop.database._clock)
    assert shop.open(run, 64).source == "platform"
    other.save_key()
    assert shop.open(run, 64).secret.reveal() == OWN_KEY
    other.save_key(key="sk-test-own-key-0000000002")
    assert shop.open(run, 64).secret.reveal() == "sk-test-own-key-0000000002"
    other.remove_key()
    assert shop.open(run, 64).source == "platform"
    other.close()


@pytest.mark.parametrize("verdict", FAILURES)
def test_under_stop_a_failing_key_never_becomes_platform_spend(
    shop: Shop, run: StartedRun, verdict: KeyVerdict
) -> None:
    shop.save_key()
    call = shop.open(run, 500)
    assert not call.falls_back
    shop.ledger.settle(call, refused(verdict))
    with pytest.raises(Forbidden):
        shop.open(run, 500, instead_of=call, why=verdict)
    assert [row.source for row in shop.events()] == ["byok"]
    assert (shop.open_now(), shop.account().counted_nano) == (0, 0)
    assert tags(shop, run) == ["key:failed"]
    [line] = shop.show(run).log
    assert "Incorrect API key provided." in line.message
    assert "Nothing was spent on the platform key." in line.message
    state = shop.keys.describe("shop", actor=ADMIN)
    assert (state.status, state.failure, state.failure_request_id) == ("failing", verdict, "req_1")


@pytest.mark.parametrize("verdict", FAILURES)
def test_under_platform_a_failing_key_goes_on_with_the_platforms_and_the_log_says_why(
    shop: Shop, run: StartedRun, verdict: KeyVerdict
) -> None:
    shop.projects.set_policy("shop", "platform", actor=ADMIN)
    shop.save_key()
    call = shop.open(run, 500)
    assert call.falls_back
    shop.ledger.settle(call, refused(verdict))
    successor = shop.open(run, 500, instead_of=call, why=verdict)
    assert (successor.source, shop.account().reserved_nano) == ("platform", 500)
    shop.ledger.settle(successor, answer(100))
    assert sorted((row.source, row.status) for row in shop.events()) == [
        ("byok", "error"),
        ("platform", "ok"),
    ]
    failed, fell_back = shop.show(run).log
    assert (failed.tag, fell_back.tag) == ("key:failed", "key:fell_back")
    why = "OpenAI rejected it" if verdict == "rejected" else "out of money"
    assert why in fell_back.message
    assert "as shop has chosen" in fell_back.message
    assert "Nothing was spent" not in failed.message


def test_a_fall_back_is_refused_at_the_cap_like_any_platform_call(shop: Shop, run: StartedRun) -> None:
    shop.cap(100, 100)
    shop.projects.set_policy("shop", "platform", actor=ADMIN)
    shop.save_key()
    call = shop.open(run, 500)
    shop.ledger.settle(call, refused("rejected"))
    with pytest.raises(CapExceeded):
        shop.open(run, 500, instead_of=call, why="rejected")
    assert shop.runs.finish(run, "failed") == "budget_exceeded"


def test_a_key_that_was_replaced_while_the_old_one_failed_is_used_and_not_the_platforms(
    shop: Shop, run: StartedRun
) -> None:
    """Promise 5: the second attempt is a call of its own, which begins after the new key was saved."""
    shop.projects.set_policy("shop", "platform", actor=ADMIN)
    shop.save_key()
    call = shop.open(run, 500)
    shop.save_key(key="sk-test-own-key-0000000002")
    shop.ledger.settle(call, refused("rejected"))
    successor = shop.open(run, 500, instead_of=call, why="rejected")
    assert (successor.source, successor.last4) == ("byok", "0002")
    assert shop.keys.describe("shop", actor=ADMIN).status == "working"


def test_a_key_that_was_removed_while_it_failed_leaves_the_platforms_under_stop_too(
    shop: Shop, run: StartedRun
) -> None:
    shop.save_key()
    call = shop.open(run, 500)
    shop.remove_key()
    shop.ledger.settle(call, refused("rejected"))
    assert shop.open(run, 500, instead_of=call, why="rejected").source == "platform"


def test_a_policy_that_turned_to_stop_meanwhile_holds_for_the_second_attempt(
    shop: Shop, run: StartedRun
) -> None:
    shop.projects.set_policy("shop", "platform", actor=ADMIN)
    shop.save_key()
    call = shop.open(run, 500)
    shop.projects.set_policy("shop", "stop", actor=ADMIN)
    with pytest.raises(Forbidden):
        shop.open(run, 500, instead_of=call, why="rejected")


def test_a_locked_key_stops_the_call_and_leaves_the_platforms_alone(shop: Shop, run: StartedRun) -> None:
    shop.save_key()
    shop.lock_up()
    for _ in range(2):
        with pytest.raises(KeyLocked):
            shop.open(run, 500)
    assert shop.events() == []
    assert (shop.open_now(), shop.account().reserved_nano) == (0, 0)
    assert tags(shop, run) == ["key:locked", "key:locked"]
    assert "mk-elsewhere" in shop.show(run).log[0].message


def test_a_locked_key_falls_back_where_the_project_chose_so(shop: Shop, run: StartedRun) -> None:
    shop.projects.set_policy("shop", "platform", actor=ADMIN)
    shop.save_key()
    shop.lock_up()
    call = shop.spend(run, 100)
    assert call.source == "platform"
    assert tags(shop, run) == ["key:fell_back"]
    shop.save_key(key="sk-test-own-key-0000000002")
    assert shop.spend(run, 100).source == "byok"


@pytest.mark.parametrize(("status", "verdict"), [(429, None), (500, None), (503, None), (None, None)])
def test_a_rate_limit_or_an_outage_says_nothing_about_the_key(
    shop: Shop, run: StartedRun, status: int | None, verdict: None
) -> None:
    shop.projects.set_policy("shop", "platform", actor=ADMIN)
    shop.save_key()
    shop.ledger.settle(shop.open(run, 500), AttemptResult("error" if status else "unknown", None, status))
    assert shop.keys.describe("shop", actor=ADMIN).status == "working"
    assert tags(shop, run) == []
    assert shop.open(run, 500).source == "byok"


def test_a_key_that_works_again_is_no_longer_failing(shop: Shop, run: StartedRun, clock: Clock) -> None:
    shop.save_key()
    shop.ledger.settle(shop.open(run, 500), refused("out_of_money"))
    since = shop.keys.describe("shop", actor=ADMIN).failing_since
    clock.now += SECOND
    shop.ledger.settle(shop.open(run, 500), refused("rejected"))
    assert shop.keys.describe("shop", actor=ADMIN).failing_since == since
    shop.spend(run, 100)
    state = shop.keys.describe("shop", actor=ADMIN)
    assert (state.status, state.failing_since, state.last_used_run) == ("working", None, run.run_id)


def test_the_late_failure_of_an_old_key_says_nothing_about_the_new_one(shop: Shop, run: StartedRun) -> None:
    shop.save_key()
    call = shop.open(run, 500)
    shop.save_key(key="sk-test-own-key-0000000002")
    shop.ledger.settle(call, refused("rejected"))
    assert shop.keys.describe("shop", actor=ADMIN).status == "working"


def test_without_a_platform_key_the_policy_platform_stops_too(database_url: str, clock: Clock) -> None:
    shop = Shop(database_url, clock, platform_key=False)
    shop.add()
    shop.projects.set_policy("shop", "platform", actor=ADMIN)
    run = shop.start()
    with pytest.raises(KeyMissing):
        shop.open(run, 64)
    shop.save_key()
    call = shop.open(run, 64)
    assert not call.falls_back
    with pytest.raises(Forbidden):
        shop.open(run, 64, instead_of=call, why="rejected")
    shop.close()


# --- the platform key's own health -----------------------------------------------------------------


def test_the_platform_keys_failure_is_noted_once_and_gone_when_it_works(
    shop: Shop, run: StartedRun, clock: Clock
) -> None:
    shop.ledger.settle(shop.open(run, 64), refused("out_of_money"))
    since = clock.now
    clock.now += SECOND
    shop.ledger.settle(shop.open(run, 64), refused("out_of_money"))
    state = shop.keys.platform_state()
    assert (state.status, state.failure, state.failing_since) == ("failing", "out_of_money", since)
    shop.ledger.settle(shop.open(run, 64), refused(None, 503))
    assert shop.keys.platform_state().status == "failing"
    shop.spend(run, 64)
    assert shop.keys.platform_state().status == "working"


def test_that_another_platform_key_works_says_nothing_about_this_one(shop: Shop, run: StartedRun) -> None:
    """While the platform's key is replaced, some workers still have the old one."""
    call = shop.open(run, 64)
    shop.ledger.settle(call, refused("rejected"))
    with shop.database.write() as connection:
        note_platform_key(connection, replace(call, last4="NEWS"), answer(1), 1)
    assert shop.keys.platform_state().status == "failing"


def test_many_projects_that_find_the_platform_key_failing_at_once_all_settle(shop: Shop) -> None:
    calls = []
    for number in range(8):
        shop.add(f"shop-{number}")
        calls.append(shop.open(shop.start(slug=f"shop-{number}"), 64))
    at_once(8, lambda number: shop.ledger.settle(calls[number], refused("rejected")))
    assert (shop.open_now(), len(shop.events())) == (0, 8)
    assert shop.keys.platform_state().status == "failing"


def test_a_key_has_worked_once_a_call_has_succeeded_and_a_check_alone_brings_no_money(
    shop: Shop, run: StartedRun, clock: Clock
) -> None:
    shop.save_key()
    assert shop.keys.describe("shop", actor=ADMIN).health == "unproven"
    shop.ledger.settle(shop.open(run, 500), refused("out_of_money"))
    checked = shop.keys.record_check("shop", actor=ADMIN, version=1, verdict=Verdict())
    assert (checked.status, checked.failure) == ("failing", "out_of_money")
    shop.spend(run, 100)
    state = shop.keys.describe("shop", actor=ADMIN)
    assert (state.status, state.health, state.worked_at) == ("working", "working", clock.now)


def test_a_call_that_is_refused_for_this_servers_address_stands_in_the_way_until_one_succeeds(
    shop: Shop, run: StartedRun
) -> None:
    """And moves no call to the platform key: that key works elsewhere."""
    shop.projects.set_policy("shop", "platform", actor=ADMIN)
    shop.save_key()
    shop.spend(run, 100)
    told = {"http_status": 401, "error_code": "ip_not_authorized", "error_message": "Not from here."}
    shop.ledger.settle(shop.open(run, 500), AttemptResult("error", None, key_verdict="wrong_address", **told))
    state = shop.keys.describe("shop", actor=ADMIN)
    assert (state.status, state.health, state.obstacle) == ("warning", "blocked", "address")
    assert (state.check_code, state.check_message) == ("ip_not_authorized", "Not from here.")
    assert shop.open(run, 500).source == "byok"
    shop.spend(run, 100)
    assert shop.keys.describe("shop", actor=ADMIN).health == "working"
