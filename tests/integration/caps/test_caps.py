"""Promises 10 to 13: what a project may spend in 5 hours and 7 days, what counts, and when room returns."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import insert

from lib.access.roles import Actor, Origin, Role
from lib.caps.reading import CapsView
from lib.clock import DAY, HOUR, SECOND, Micros, from_micros, to_micros
from lib.db.tables import usage_events
from lib.errors import CapExceeded, ProjectUnknown
from lib.ledger.attempts import AttemptResult
from lib.ledger.open_calls import count_passed_ceilings
from lib.ledger.run_limits import EXCEEDED
from lib.metrics import meters
from lib.pricing.prices import Tokens
from lib.runs.lifecycle import StartedRun
from tests.spending import ADMIN, LEASE, NOON, Clock, Shop, answer, open_shop

CAP = 10_000


@pytest.fixture
def shop(database_url: str, clock: Clock) -> Iterator[Shop]:
    """``shop`` may spend 10,000 nano-USD in 5 hours and 30,000 in 7 days."""
    with open_shop(database_url, clock, cap_5h=CAP, cap_7d=3 * CAP) as shop:
        yield shop


@pytest.fixture
def run(shop: Shop) -> StartedRun:
    return shop.start()


def refusal_of(shop: Shop, run: StartedRun, ceiling: int) -> CapExceeded:
    with pytest.raises(CapExceeded) as refusal:
        shop.open(run, ceiling)
    return refusal.value


def returns_at(refusal: CapExceeded) -> Micros:
    assert refusal.returns_at is not None
    return to_micros(refusal.returns_at)


# --- at the edge of the money ----------------------------------------------------------------------


def test_the_last_nano_dollar_can_be_spent_and_not_one_more(shop: Shop, run: StartedRun) -> None:
    shop.spend(run, CAP - 100)
    assert refusal_of(shop, run, 101).window == "5h"
    shop.open(run, 100)
    assert shop.headroom().free_nano == 0


def test_a_running_call_holds_its_ceiling_and_settling_gives_back_what_it_did_not_cost(
    shop: Shop, run: StartedRun
) -> None:
    call = shop.open(run, CAP)
    refusal_of(shop, run, 64)
    shop.ledger.settle(call, answer(1))
    shop.open(run, CAP - 1)


def test_a_request_that_never_left_gives_back_all_and_leaves_no_event(shop: Shop, run: StartedRun) -> None:
    shop.release(shop.open(run, CAP))
    shop.release(shop.open(run, CAP))
    assert shop.headroom().free_nano == CAP
    assert shop.events() == []


def test_a_refused_call_leaves_no_event_and_reserves_nothing(shop: Shop, run: StartedRun) -> None:
    shop.spend(run, CAP)
    refusal_of(shop, run, 64)
    assert shop.open_now() == 0
    assert len(shop.events()) == 1
    assert shop.account().reserved_nano == 0


def test_what_costs_nothing_is_never_refused(shop: Shop, run: StartedRun) -> None:
    shop.spend(run, CAP + 1, ceiling=CAP)
    call = shop.open(run, 0)
    shop.ledger.settle(call, AttemptResult("ok", None, 200))
    assert shop.headroom().windows["5h"].used_nano == CAP + 1


def test_no_project_uses_the_room_of_another(shop: Shop, run: StartedRun) -> None:
    shop.add("other", cap_5h=CAP, cap_7d=CAP)
    shop.spend(run, CAP)
    shop.spend(shop.start(slug="other"), CAP)
    assert shop.headroom("other").windows["5h"].used_nano == CAP


def test_a_provider_that_exceeds_its_limit_is_counted_in_full_and_the_log_and_the_operator_are_told(
    shop: Shop, run: StartedRun, clock: Clock
) -> None:
    counter = meters.CEILINGS_PASSED.labels("openai")
    before = counter._value.get()
    call = shop.spend(run, 900, ceiling=500)
    assert shop.headroom().windows["5h"].used_nano == 900
    [line] = [line for line in shop.show(run).log if line.tag == EXCEEDED]
    assert "$0.0000009, more than the $0.0000005" in line.message
    assert shop.show(run).calls[0].event_id == call.id
    [passed] = count_passed_ceilings(shop.database)
    assert (passed.provider, passed.calls, passed.newest) == ("openai", 1, line.at)
    clock.now += 31 * DAY
    assert (count_passed_ceilings(shop.database), counter._value.get()) == ([], before + 1)


# --- at the edge of time ---------------------------------------------------------------------------


def test_room_returns_at_the_promised_moment_and_not_a_microsecond_earlier(
    shop: Shop, run: StartedRun, clock: Clock
) -> None:
    shop.spend(run, 4_000)
    clock.now += HOUR + 1
    shop.spend(run, 6_000)
    clock.now += HOUR
    refusal = refusal_of(shop, run, 4_001)
    assert returns_at(refusal) == NOON + HOUR + 1 + 5 * HOUR
    clock.now = returns_at(refusal) - 1
    assert returns_at(refusal_of(shop, run, 4_001)) == clock.now + 1
    clock.now += 1
    shop.open(run, 4_001)


@pytest.mark.parametrize(("window", "length"), [("5h", 5 * HOUR), ("7d", 7 * DAY)])
def test_a_call_leaves_a_window_exactly_at_its_end(
    shop: Shop, run: StartedRun, clock: Clock, window: str, length: Micros
) -> None:
    shop.spend(run, 100)
    clock.now = NOON + length - 1
    assert shop.headroom().windows[window].used_nano == 100
    assert shop.headroom().windows[window].rolls_off_at == NOON + length
    clock.now += 1
    assert shop.headroom().windows[window].used_nano == 0
    assert shop.headroom().windows[window].rolls_off_at is None


def test_of_two_full_windows_the_one_that_opens_last_is_named(
    shop: Shop, run: StartedRun, clock: Clock
) -> None:
    for _ in range(3):
        shop.spend(run, CAP)
        clock.now += 5 * HOUR
    clock.now -= 1
    refusal = refusal_of(shop, run, 64)
    assert (refusal.window, returns_at(refusal)) == ("7d", NOON + 7 * DAY)
    assert shop.headroom().windows["5h"].returns_at == clock.now + 1


def test_calls_of_the_same_microsecond_leave_together(shop: Shop, run: StartedRun, clock: Clock) -> None:
    shop.spend(run, 1_000)
    shop.spend(run, 2_000)
    clock.now += 1
    shop.spend(run, 4_000)
    assert shop.headroom().windows["5h"].rolls_off_nano == 3_000
    clock.now = NOON + 5 * HOUR
    assert shop.headroom().windows["5h"].used_nano == 4_000


def test_the_sentence_names_a_second_at_which_the_call_is_let_through(
    shop: Shop, run: StartedRun, clock: Clock
) -> None:
    """A fraction of a second is rounded up: who comes at the second that was named is not refused again."""
    clock.now = to_micros(from_micros(NOON).replace(hour=7, minute=0, second=0, microsecond=1))
    shop.spend(run, CAP)
    refusal = refusal_of(shop, run, 64)
    assert "Room returns at 12:00:01 UTC" in str(refusal)
    clock.now = returns_at(refusal) - 1 + SECOND
    shop.open(run, 64)


def test_a_call_too_large_ever_to_fit_says_so_and_names_no_time(shop: Shop, run: StartedRun) -> None:
    refusal = refusal_of(shop, run, CAP + 1)
    assert (refusal.window, refusal.returns_at) == ("5h", None)
    assert "can never run on the platform key" in str(refusal)
    assert "Room returns" not in str(refusal)


def test_running_calls_alone_may_fill_a_cap_and_then_the_end_of_their_lease_is_named(
    shop: Shop, run: StartedRun, clock: Clock
) -> None:
    first = shop.open(run, 5_000, lease=LEASE)
    clock.now += SECOND
    shop.open(run, 5_000, lease=LEASE)
    assert returns_at(refusal_of(shop, run, 64)) == first.lease_until
    assert shop.headroom().windows["5h"].returns_at == first.lease_until


# --- the clock -------------------------------------------------------------------------------------


def test_a_clock_that_goes_back_brings_nothing_back_into_a_window(
    shop: Shop, run: StartedRun, clock: Clock
) -> None:
    """A call is admitted after old usage left; then the clock steps back: together they would pass the cap."""
    shop.spend(run, CAP)
    clock.now += 5 * HOUR
    call = shop.open(run, CAP)
    clock.now -= HOUR
    window = shop.headroom().windows["5h"]
    assert window.used_nano + window.reserved_nano <= window.cap_nano
    shop.ledger.settle(call, answer(CAP))
    assert shop.headroom().windows["5h"].used_nano == CAP
    times = [row.occurred_at for row in shop.events()]
    assert times == sorted(times)


def test_a_clock_that_goes_back_lets_no_usage_out_early(shop: Shop, run: StartedRun, clock: Clock) -> None:
    shop.spend(run, CAP)
    clock.now -= DAY
    refusal = refusal_of(shop, run, 64)
    assert returns_at(refusal) == NOON + 5 * HOUR


# --- what does not count ---------------------------------------------------------------------------


def test_imports_never_count_however_recent_and_large(shop: Shop, run: StartedRun) -> None:
    row = {
        "source": "platform",
        "provider": "openai",
        "model": "unit",
        "endpoint": "responses",
        "status": "ok",
    }
    imported = {"project_id": run.project_id, "occurred_at": NOON, "imported": True, "cost_nano": 10 * CAP}
    with shop.database.write() as connection:
        connection.execute(insert(usage_events), row | imported | {"event_id": "import-1"})
    assert shop.headroom().free_nano == CAP
    shop.open(run, CAP)


def test_calls_on_the_projects_own_key_neither_count_nor_are_refused(shop: Shop, run: StartedRun) -> None:
    """Both caps full: with a key of its own the project goes on; without it it is refused again."""
    shop.cap(CAP, CAP)
    shop.spend(run, CAP)
    full = shop.headroom()
    shop.save_key()
    for ceiling in (64, CAP, 100 * CAP):
        call = shop.spend(run, ceiling)
        assert call.source == "byok"
    assert shop.start("chat").run_id
    assert shop.headroom() == full
    shop.remove_key()
    refusal_of(shop, run, 64)


def test_removing_the_key_does_not_count_what_ran_on_it_nor_what_still_runs(
    shop: Shop, run: StartedRun
) -> None:
    shop.save_key()
    call = shop.open(run, 50 * CAP)
    shop.remove_key()
    shop.ledger.settle(call, answer(50 * CAP))
    assert shop.headroom().free_nano == CAP


# --- unknown outcomes ------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["unknown", "broken", "abandoned", "ok"])
def test_an_outcome_without_usage_counts_at_its_ceiling_and_its_cost_stays_unknown(
    shop: Shop, run: StartedRun, status: str
) -> None:
    shop.ledger.settle(shop.open(run, 700), AttemptResult(status, None))  # type: ignore[arg-type]
    window = shop.headroom().windows["5h"]
    assert (window.used_nano, window.unknown_nano, window.reserved_nano) == (700, 700, 0)
    [event] = shop.events()
    assert (event.status, event.cost_nano, event.price_input) == (status, None, None)
    assert shop.show(run).run.unpriced_calls == 1
    assert shop.show(run).run.platform_nano == 0


def test_usage_that_cannot_be_priced_counts_at_its_ceiling(shop: Shop, run: StartedRun) -> None:
    """Hosted tools and other tiers cost more than their tokens; they should not have run, and count in full."""
    outcome = AttemptResult("ok", Tokens(10, 0, 10, 0), 200, priceable=False)
    shop.ledger.settle(shop.open(run, 700), outcome)
    assert shop.headroom().windows["5h"].unknown_nano == 700
    assert shop.events()[0].input_tokens == 10


def test_a_broken_answer_that_told_its_usage_counts_what_it_cost(shop: Shop, run: StartedRun) -> None:
    shop.ledger.settle(shop.open(run, 700), AttemptResult("broken", Tokens(100, 0, 50, 0), 200))
    assert (shop.headroom().windows["5h"].used_nano, shop.headroom().windows["5h"].unknown_nano) == (150, 0)


def test_an_error_answer_costs_nothing(shop: Shop, run: StartedRun) -> None:
    shop.ledger.settle(shop.open(run, 700), AttemptResult("error", None, 500))
    assert shop.headroom().free_nano == CAP
    assert shop.events()[0].cost_nano == 0


# --- plans and overrides ---------------------------------------------------------------------------


def test_an_override_that_ends_gives_the_plans_caps_back_at_that_moment(
    shop: Shop, run: StartedRun, clock: Clock
) -> None:
    """A lower override: room returns when it ends, not when its window empties."""
    shop.cap(100, 100, ends_at=NOON + HOUR)
    shop.spend(run, 100)
    refusal = refusal_of(shop, run, 64)
    assert returns_at(refusal) == NOON + HOUR
    assert returns_at(refusal_of(shop, run, 5_000)) == NOON + HOUR
    assert shop.headroom().windows["5h"].returns_at == NOON + HOUR
    clock.now = NOON + HOUR - 1
    refusal_of(shop, run, 64)
    clock.now += 1
    shop.open(run, 64)


def test_an_override_that_ends_before_it_has_room_does_not_promise_its_own_room(
    shop: Shop, run: StartedRun, clock: Clock
) -> None:
    """A higher override: when its window has room for the call, the plan's lower cap holds again."""
    shop.plans.set("tiny", cap_5h_nano=1_000, cap_7d_nano=CAP, actor=ADMIN)
    shop.projects.set_plan("shop", "tiny", actor=ADMIN)
    shop.cap(CAP, CAP, ends_at=NOON + 2 * HOUR)
    for _ in range(10):
        shop.spend(run, 1_000)
        clock.now += HOUR // 10
    refusal = refusal_of(shop, run, 500)
    assert (refusal.window, returns_at(refusal)) == ("7d", NOON + 7 * DAY)
    assert refusal_of(shop, run, 1_001).returns_at is None


def test_a_lowered_cap_refuses_at_once_and_never_shows_less_than_nothing(shop: Shop, run: StartedRun) -> None:
    shop.spend(run, 5_000)
    shop.cap(1_000, 2_000)
    window = shop.headroom().windows["5h"]
    assert (window.free_nano, window.percent, window.used_nano) == (0, 100, 5_000)
    refusal_of(shop, run, 64)


def test_a_cap_of_nothing_lets_nothing_through_and_names_no_time(shop: Shop, run: StartedRun) -> None:
    shop.cap(0, 0)
    refusal = refusal_of(shop, run, 64)
    assert refusal.returns_at is None
    assert "may spend nothing on the platform key" in str(refusal)
    assert shop.headroom().windows["5h"].returns_at is None


# --- looking ---------------------------------------------------------------------------------------


def test_percent_is_100_only_when_nothing_fits_any_more(shop: Shop, run: StartedRun) -> None:
    shop.spend(run, CAP - 1)
    assert shop.headroom().windows["5h"].percent == 99
    assert shop.headroom().nearest.name == "5h"
    shop.ledger.settle(shop.open(run, 0), answer(1))
    assert shop.headroom().windows["5h"].percent == 100


def test_whoever_may_not_see_the_project_does_not_learn_that_it_is_there(shop: Shop) -> None:
    shop.add("other")
    other = shop.projects.get("other", actor=ADMIN).id
    guest = Actor("guest@example.com", Origin.BROWSER, projects={other: Role.ADMIN})
    view = CapsView(shop.database, ADMIN)
    assert view.headroom("other", actor=guest).project == "other"
    with pytest.raises(ProjectUnknown):
        view.headroom("shop", actor=guest)
    with pytest.raises(ProjectUnknown):
        view.headroom("nowhere", actor=guest)
