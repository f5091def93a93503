"""Promise 12: how runs start, wait, go on and end, at the cap and with a token budget of their own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import select

from lib.access.roles import Actor, Origin, Role
from lib.caps.plans import Plans
from lib.clock import HOUR, MINUTE, SECOND, to_micros
from lib.db.tables import audit_log
from lib.errors import (
    BadInput,
    BudgetExceeded,
    CapExceeded,
    Forbidden,
    KeyMissing,
    RunEnded,
    RunUnknown,
    RunWaiting,
)
from lib.ledger.attempts import AttemptResult
from lib.pricing.prices import Tokens
from lib.runs.lifecycle import LEASE as RUN_LEASE
from lib.runs.lifecycle import StartedRun
from lib.runs.log import RunFilter
from lib.secret import Secret
from lib.usage.expiry import expire_calls
from tests.spending import ADMIN, NOON, Clock, Shop, answer, at_once, open_shop
from tests.upstream import PLATFORM_KEY

if TYPE_CHECKING:
    from lib.platform import Platform
    from lib.settings import Settings

CAP = 1_000
WAITING_KINDS = ("scheduled", "pr_review")
REFUSED_KINDS = ("chat", "scan")


@pytest.fixture
def shop(database_url: str, clock: Clock) -> Iterator[Shop]:
    """``shop`` may spend 1,000 nano-USD in 5 hours."""
    with open_shop(database_url, clock, cap_5h=CAP, cap_7d=10 * CAP) as shop:
        yield shop


@pytest.fixture
def full(shop: Shop) -> Shop:
    """The same, with its cap used up at noon."""
    shop.spend(shop.start(), CAP)
    return shop


def waiting(shop: Shop, kind: str = "scheduled", slug: str = "shop") -> str:
    with pytest.raises(RunWaiting) as refusal:
        shop.start(kind, slug=slug)
    return refusal.value.run_id


def due(shop: Shop, **more: int) -> list[str]:
    return [run.run_id for run in shop.runs.due(actor=ADMIN, **more)]


def resume(shop: Shop, run_id: str) -> StartedRun:
    return shop.runs.resume(run_id, actor=ADMIN)


def all_runs(shop: Shop) -> dict[str, str]:
    rows, _ = shop.log.list(RunFilter(limit=1_000), actor=ADMIN)
    return {row.run_id: row.status for row in rows}


# --- starting at the cap ---------------------------------------------------------------------------


@pytest.mark.parametrize("kind", REFUSED_KINDS)
def test_a_chat_or_scan_at_the_cap_is_refused_with_the_window_and_the_time(full: Shop, kind: str) -> None:
    with pytest.raises(CapExceeded) as refusal:
        full.start(kind)
    assert refusal.value.window == "5h"
    assert refusal.value.returns_at is not None
    assert to_micros(refusal.value.returns_at) == NOON + 5 * HOUR
    [run_id] = [run_id for run_id, status in all_runs(full).items() if status == "refused"]
    detail = full.log.show(run_id, actor=ADMIN)
    assert (detail.run.kind, detail.run.stopped_by, detail.run.ended_at) == (kind, "cap", NOON)
    assert [(line.tag, line.message) for line in detail.log] == [("cap:refused", str(refusal.value))]


@pytest.mark.parametrize("kind", WAITING_KINDS)
def test_a_scheduled_run_or_pr_review_at_the_cap_waits(full: Shop, kind: str) -> None:
    with pytest.raises(RunWaiting) as refusal:
        full.start(kind)
    assert to_micros(refusal.value.resumes_at) == NOON + 5 * HOUR
    detail = full.log.show(refusal.value.run_id, actor=ADMIN)
    assert (detail.run.status, detail.run.resumes_at) == ("waiting", NOON + 5 * HOUR)
    assert [line.tag for line in detail.log] == ["run:waiting"]


@pytest.mark.parametrize("kind", WAITING_KINDS)
def test_where_there_will_never_be_room_nothing_waits(shop: Shop, kind: str) -> None:
    shop.cap(0, 0)
    with pytest.raises(CapExceeded) as refusal:
        shop.start(kind)
    assert refusal.value.returns_at is None
    assert list(all_runs(shop).values()) == ["refused"]


def test_a_run_on_the_projects_own_key_starts_whatever_the_cap_says(full: Shop) -> None:
    full.save_key()
    for kind in (*WAITING_KINDS, *REFUSED_KINDS):
        full.spend(full.start(kind), 10 * CAP)


def test_the_last_nano_dollar_of_room_lets_a_run_start(shop: Shop) -> None:
    shop.spend(shop.start(), CAP - 1)
    run = shop.start("chat")
    shop.ledger.settle(shop.open(run, 0), answer(1))
    with pytest.raises(CapExceeded):
        shop.start("chat")


def test_a_token_budget_is_a_whole_number_above_nothing_and_not_beyond_all_reason(shop: Shop) -> None:
    wrong: list[Any] = [0, -1, 2**53, 10**30, 1.5, 5.0, float("nan"), True, "5", Decimal(5)]
    for budget in wrong:
        with pytest.raises(BadInput, match="token budget is a whole number"):
            shop.start(token_budget=budget)


def test_the_largest_token_budget_is_taken(shop: Shop) -> None:
    assert shop.start(token_budget=2**53 - 1).token_budget == 2**53 - 1


def test_a_kind_that_nobody_knows_and_an_actor_without_the_role_are_refused(shop: Shop) -> None:
    with pytest.raises(BadInput):
        shop.start("nightly")
    with pytest.raises(Forbidden):
        shop.runs.start("shop", "chat", actor=Actor("a@example.com", Origin.WORKER, everywhere=Role.MANAGER))
    assert all_runs(shop) == {}


# --- waiting and going on --------------------------------------------------------------------------


def test_waiting_runs_are_due_at_the_promised_moment_and_not_a_microsecond_earlier(
    full: Shop, clock: Clock
) -> None:
    run_id = waiting(full)
    clock.now = NOON + 5 * HOUR - 1
    assert due(full) == []
    with pytest.raises(RunWaiting):
        resume(full, run_id)
    clock.now += 1
    assert due(full) == [run_id]
    run = resume(full, run_id)
    full.spend(run, CAP)
    assert full.runs.finish(run, "passed") == "passed"
    assert [line.tag for line in full.show(run).log] == ["run:waiting", "run:waiting", "run:resumed"]


def test_a_claim_is_nobody_elses_until_it_runs_out(full: Shop, clock: Clock) -> None:
    run_id = waiting(full)
    clock.now += 5 * HOUR
    assert due(full) == [run_id]
    clock.now += 5 * MINUTE - 1
    assert due(full) == []
    clock.now += 1
    assert due(full) == [run_id]


def test_a_run_that_goes_on_waits_again_where_others_were_faster(full: Shop, clock: Clock) -> None:
    run_id = waiting(full)
    clock.now += 5 * HOUR
    assert due(full) == [run_id]
    full.spend(full.start(), CAP)
    with pytest.raises(RunWaiting) as refusal:
        resume(full, run_id)
    assert to_micros(refusal.value.resumes_at) == NOON + 10 * HOUR
    assert due(full) == []
    clock.now += 5 * HOUR
    assert due(full) == [run_id]


def test_of_many_callers_no_two_get_the_same_run(full: Shop, clock: Clock) -> None:
    wanted = {waiting(full) for _ in range(40)}
    clock.now += 5 * HOUR
    claimed: list[str] = []
    others = [Shop(full.url, clock) for _ in range(8)]

    def claim(number: int) -> None:
        while found := due(others[number], limit=3):
            claimed.extend(found)

    at_once(8, claim)
    for other in others:
        other.close()
    # With locks of others skipped a caller may see nothing while some are left: ask once more.
    claimed += due(full, limit=100)
    assert sorted(claimed) == sorted(wanted)


def test_two_who_resume_the_same_run_do_not_both_get_it(full: Shop, clock: Clock) -> None:
    run_id = waiting(full)
    clock.now += 5 * HOUR
    resume(full, run_id)
    with pytest.raises(RunEnded, match="it is running"):
        resume(full, run_id)


def test_waiting_runs_go_on_as_soon_as_the_project_has_a_key_of_its_own(full: Shop) -> None:
    run_id = waiting(full)
    full.save_key()
    assert due(full) == [run_id]
    assert full.spend(resume(full, run_id), CAP).source == "byok"


def test_waiting_runs_go_on_as_soon_as_the_caps_are_raised(full: Shop) -> None:
    run_id = waiting(full)
    full.cap(2 * CAP, 10 * CAP)
    assert due(full) == [run_id]
    resume(full, run_id)


def test_waiting_runs_go_on_when_running_calls_cost_less_than_they_reserved(shop: Shop, clock: Clock) -> None:
    call = shop.open(shop.start(), CAP)
    run_id = waiting(shop)
    assert due(shop) == []
    clock.now += SECOND
    shop.ledger.settle(call, answer(10))
    assert due(shop) == [run_id]


def test_a_waiting_run_whose_caps_are_nothing_by_now_ends_refused(full: Shop, clock: Clock) -> None:
    run_id = waiting(full)
    full.cap(0, 0)
    clock.now += 5 * HOUR
    assert due(full) == [run_id]
    with pytest.raises(CapExceeded):
        resume(full, run_id)
    assert full.log.show(run_id, actor=ADMIN).run.status == "refused"
    clock.now += HOUR
    assert due(full) == []


def test_who_may_not_call_for_a_project_claims_none_of_its_runs_and_misses_none_of_others(
    full: Shop, clock: Clock
) -> None:
    for _ in range(5):
        waiting(full)
    clock.now += SECOND
    other = full.add("other", cap_5h=CAP, cap_7d=10 * CAP)
    full.spend(full.start(slug="other"), CAP)
    run_id = waiting(full, slug="other")
    clock.now += 5 * HOUR
    lead = Actor("lead@example.com", Origin.WORKER, projects={other: Role.LEAD})
    assert [run.run_id for run in full.runs.due(actor=lead, limit=2)] == [run_id]
    assert len(due(full)) == 5


def test_a_run_that_does_not_wait_cannot_be_resumed(shop: Shop) -> None:
    run = shop.start()
    with pytest.raises(RunEnded):
        resume(shop, run.run_id)
    with pytest.raises(RunUnknown):
        resume(shop, "r-nothing")


def test_resuming_tells_nobody_without_a_role_that_a_run_exists(full: Shop) -> None:
    run_id = waiting(full)
    other = full.add("other")
    for stranger in (
        Actor("eve@example.com", Origin.WORKER),
        Actor("eve@example.com", Origin.WORKER, projects={other: Role.LEAD}),
    ):
        for asked in (run_id, "r-nothing"):
            with pytest.raises(RunUnknown):
                full.runs.resume(asked, actor=stranger)


def test_who_may_see_a_run_but_not_make_its_calls_is_refused_and_the_audit_log_has_it(full: Shop) -> None:
    run_id = waiting(full)
    (project_id,) = (project.id for project in full.projects.list(actor=ADMIN))
    analyst = Actor("ana@example.com", Origin.WORKER, projects={project_id: Role.ANALYST})
    with pytest.raises(Forbidden):
        full.runs.resume(run_id, actor=analyst)
    with full.database.read() as connection:
        told = connection.execute(select(audit_log).where(audit_log.c.action == "access:refused")).all()
    assert [(row.actor, row.project, row.after) for row in told] == [
        ("ana@example.com", "shop", '{"tried": "go on with a run"}')
    ]


def test_a_waiting_run_that_is_not_of_the_project_that_is_remembered_is_unknown(full: Shop) -> None:
    run_id = waiting(full)
    full.add("other")
    with pytest.raises(RunUnknown):
        full.runs.resume(run_id, actor=ADMIN, slug="other")
    assert full.log.show(run_id, actor=ADMIN).run.status == "waiting"


# --- stopped in progress ---------------------------------------------------------------------------


def test_a_run_that_hits_the_cap_keeps_its_work_and_ends_budget_exceeded(shop: Shop) -> None:
    """Also where the agent swallows the error and says that all is well."""
    run = shop.start()
    shop.spend(run, 900)
    for _ in range(3):
        with pytest.raises(CapExceeded):
            shop.open(run, 101)
    assert shop.runs.finish(run, "passed") == "budget_exceeded"
    detail = shop.show(run)
    assert (detail.run.status, detail.run.stopped_by, detail.run.calls) == ("budget_exceeded", "cap", 1)
    assert [line.tag for line in detail.log] == ["cap:stopped"]
    with pytest.raises(RunEnded):
        shop.open(run, 64)


@pytest.mark.parametrize("status", ["passed", "failed", "error"])
def test_what_stopped_a_run_wins_over_what_it_says_of_itself(shop: Shop, status: str) -> None:
    run = shop.start()
    with pytest.raises(CapExceeded):
        shop.open(run, CAP + 1)
    assert shop.runs.finish(run, status) == "budget_exceeded"


def test_a_run_ends_once(shop: Shop, clock: Clock) -> None:
    run = shop.start()
    assert shop.runs.finish(run, "failed") == "failed"
    clock.now += HOUR
    assert shop.runs.finish(run, "passed") == "failed"
    assert shop.show(run).run.ended_at == NOON
    with pytest.raises(BadInput):
        shop.runs.finish(run, "budget_exceeded")


def test_a_call_that_settles_after_the_end_of_its_run_still_counts(shop: Shop) -> None:
    run = shop.start()
    call = shop.open(run, 500)
    shop.runs.finish(run, "passed")
    shop.ledger.settle(call, answer(400))
    assert (shop.show(run).run.status, shop.show(run).run.platform_nano) == ("passed", 400)


# --- a run's own token budget ----------------------------------------------------------------------


def test_a_budget_warns_once_at_80_percent_and_stops_at_100(shop: Shop) -> None:
    run = shop.start(token_budget=500)
    for cost, tags in ((399, []), (1, ["budget:warned"]), (50, ["budget:warned"]), (50, ["budget:warned"])):
        shop.spend(run, cost)
        assert [line.tag for line in shop.show(run).log] == tags
    for _ in range(2):
        with pytest.raises(BudgetExceeded) as refusal:
            shop.open(run, 64)
    assert (refusal.value.budget, refusal.value.used) == (500, 500)
    assert [line.tag for line in shop.show(run).log] == ["budget:warned", "budget:stopped"]
    assert shop.runs.finish(run, "passed") == "budget_exceeded"
    assert shop.show(run).run.stopped_by == "budget"


def test_a_budget_that_is_jumped_over_warns_and_stops_too(shop: Shop) -> None:
    run = shop.start(token_budget=500)
    shop.spend(run, 900)
    with pytest.raises(BudgetExceeded):
        shop.open(run, 64)
    assert [line.tag for line in shop.show(run).log] == ["budget:warned", "budget:stopped"]


def test_a_budget_counts_tokens_of_either_source_input_and_output(shop: Shop) -> None:
    run = shop.start(token_budget=400)
    shop.ledger.settle(shop.open(run, 500), AttemptResult("ok", Tokens(100, 50, 100, 100), 200))
    shop.save_key()
    shop.ledger.settle(shop.open(run, 500), AttemptResult("ok", Tokens(100, 0, 100, 0), 200))
    assert (shop.show(run).run.tokens, shop.show(run).run.source) == (400, "both")
    with pytest.raises(BudgetExceeded):
        shop.open(run, 64)


def test_calls_that_settle_at_the_same_time_warn_of_the_budget_once(shop: Shop) -> None:
    run = shop.start(token_budget=500)
    calls = [shop.open(run, 100) for _ in range(8)]
    at_once(8, lambda number: shop.ledger.settle(calls[number], answer(100)))
    assert [line.tag for line in shop.show(run).log] == ["budget:warned"]
    assert (shop.show(run).run.tokens, shop.show(run).run.calls) == (800, 8)


@pytest.mark.parametrize("own_key", [False, True])
def test_a_run_with_a_budget_says_once_that_calls_of_unknown_size_do_not_count(
    shop: Shop, clock: Clock, own_key: bool
) -> None:
    if own_key:
        shop.save_key()
    run = shop.start(token_budget=500)
    left, lost = shop.open(run, 100), shop.open(run, 100, lease=SECOND)
    shop.ledger.settle(shop.open(run, 100), AttemptResult("error", None, 500))
    assert shop.show(run).log == []
    shop.ledger.settle(left, AttemptResult("abandoned", None, 200))
    clock.now += 2 * SECOND
    expire_calls(shop.database, lost.project_id)
    (line,) = shop.show(run).log
    assert line.tag == "budget:uncounted"
    assert "do not count" in line.message
    assert shop.show(run).run.tokens == 0


def test_a_call_whose_worker_died_says_that_the_budget_does_not_count_it(shop: Shop, clock: Clock) -> None:
    run = shop.start(token_budget=500)
    lost = shop.open(run, 100, lease=SECOND)
    clock.now += 2 * SECOND
    expire_calls(shop.database, lost.project_id)
    assert [line.tag for line in shop.show(run).log] == ["budget:uncounted"]


def test_without_a_budget_calls_of_unknown_size_leave_no_line(shop: Shop) -> None:
    run = shop.start()
    shop.ledger.settle(shop.open(run, 100), AttemptResult("abandoned", None, 200))
    assert shop.show(run).log == []


# --- heartbeats -------------------------------------------------------------------------------------


def test_a_run_without_a_sign_of_life_is_lost_after_its_lease(shop: Shop, clock: Clock) -> None:
    run = shop.start()
    clock.now += RUN_LEASE
    assert shop.show(run).run.status == "running"
    clock.now += 1
    detail = shop.show(run)
    assert (detail.run.status, detail.run.ended_at) == ("lost", NOON + RUN_LEASE)


def test_a_lost_run_whose_worker_was_only_slow_goes_on(shop: Shop, clock: Clock) -> None:
    """By its heartbeat, by its next call, or by its end."""
    beats, calls, ends = shop.start(), shop.start(), shop.start()
    clock.now += RUN_LEASE + 1
    assert set(all_runs(shop).values()) == {"lost"}
    shop.runs.keep_alive([beats])
    shop.spend(calls, 100)
    assert shop.runs.finish(ends, "passed") == "passed"
    clock.now += RUN_LEASE
    found = all_runs(shop)
    assert [found[run.run_id] for run in (beats, calls, ends)] == ["running", "running", "passed"]
    assert shop.show(calls).run.ended_at is None


def test_a_sign_of_life_does_not_bring_back_a_run_that_has_ended(shop: Shop, clock: Clock) -> None:
    run, refused = shop.start(), shop.start()
    shop.runs.finish(run, "failed")
    with pytest.raises(CapExceeded):
        shop.open(refused, CAP + 1)
    shop.runs.finish(refused, "passed")
    shop.runs.keep_alive([run, refused, replace(run, run_id="r-nothing")])
    clock.now += HOUR
    assert sorted(all_runs(shop).values()) == ["budget_exceeded", "failed"]


def test_of_a_lost_run_the_open_calls_count_when_their_own_lease_runs_out(shop: Shop, clock: Clock) -> None:
    run = shop.start()
    shop.open(run, 300)
    clock.now += RUN_LEASE + 1
    assert [call.status for call in shop.show(run).calls] == ["running"]
    clock.now += HOUR
    assert [call.status for call in shop.show(run).calls] == ["unknown"]
    assert (shop.show(run).run.status, shop.show(run).run.unpriced_calls) == ("lost", 1)


def test_without_any_key_a_run_starts_and_its_calls_say_what_is_missing(
    database_url: str, clock: Clock
) -> None:
    shop = Shop(database_url, clock, platform_key=False)
    shop.add()
    run = shop.start()
    with pytest.raises(KeyMissing):
        shop.open(run, 64)
    shop.save_key()
    shop.spend(run, 64)
    assert shop.runs.finish(run, "passed") == "passed"
    shop.close()


# --- through the front door ------------------------------------------------------------------------


@pytest.fixture
def front_door(settings: Settings) -> Iterator[Platform]:
    """A front door with a platform key and the project ``shop``, whose caps let no call through, but a run start."""
    from lib.platform import Platform

    opened = Platform(settings.model_copy(update={"openai_api_key": Secret(PLATFORM_KEY)}))
    opened.projects.add("shop", actor=ADMIN)
    Plans(opened.database).set_caps("shop", cap_5h_nano=1, cap_7d_nano=1, reason="a test", actor=ADMIN)
    yield opened
    opened.close()


def test_a_cap_that_stops_a_call_of_the_genuine_client_ends_the_run_budget_exceeded(
    front_door: Platform,
) -> None:
    with pytest.raises(CapExceeded), front_door.run("shop") as run:
        run.openai.responses.create(model="gpt-5", input="Hi")
    assert run.status == "budget_exceeded"
    assert front_door.runs.show(run.id, actor=ADMIN).calls == []


def test_an_error_of_the_agents_own_ends_the_run_in_error(front_door: Platform) -> None:
    with pytest.raises(ZeroDivisionError), front_door.run("shop") as run:
        raise ZeroDivisionError
    assert run.status == "error"


def test_a_run_that_another_projects_cap_ended_is_in_error_not_passed(front_door: Platform) -> None:
    """The refusal is of a run that the agent wanted to start besides; this one was not stopped by a cap."""
    front_door.projects.add("other", actor=ADMIN)
    Plans(front_door.database).set_caps("other", cap_5h_nano=0, cap_7d_nano=0, reason="a test", actor=ADMIN)
    with pytest.raises(CapExceeded), front_door.run("shop") as run:
        front_door.run("other", kind="chat")
    assert run.status == "error"
