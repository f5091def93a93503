"""Asking for more room: who may ask and decide, what an approval changes, and that each step is in the audit log."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lib.access.auditlog import AuditFilter, AuditLog
from lib.access.roles import Actor, Origin, Role
from lib.alerts import triggers
from lib.caps.requests import CapRequest, CapRequests
from lib.clock import DAY
from lib.errors import BadInput, CapExceeded, Forbidden, ProjectUnknown
from tests.alerts import told
from tests.spending import ADMIN, NOON, Clock, Shop, open_shop

CAP = 10_000
SOMEBODY_ELSE = Actor("second@example.com", Origin.BROWSER, Role.ADMIN)


@pytest.fixture
def shop(database_url: str, clock: Clock) -> Iterator[Shop]:
    with open_shop(database_url, clock, cap_5h=CAP, cap_7d=CAP) as shop:
        yield shop


@pytest.fixture
def requests(shop: Shop) -> CapRequests:
    return CapRequests(shop.database, triggers.note_cap_request)


@pytest.fixture
def lead(shop: Shop) -> Actor:
    project = shop.projects.get("shop", actor=ADMIN)
    return Actor("lead@example.com", Origin.BROWSER, None, {project.id: Role.LEAD})


def ask(requests: CapRequests, who: Actor, reason: str = "Release week") -> CapRequest:
    return requests.ask(
        "shop", cap_5h_nano=2 * CAP, cap_7d_nano=3 * CAP, until=NOON + DAY, reason=reason, actor=who
    )


def approve(requests: CapRequests, asked: CapRequest, who: Actor, cap: int = 2 * CAP) -> None:
    requests.approve(
        "shop", asked.request_id, cap_5h_nano=cap, cap_7d_nano=3 * CAP, until=asked.wanted_until, actor=who
    )


def actions(shop: Shop) -> list[str]:
    rows, _ = AuditLog(shop.database).list(AuditFilter(projects=("shop",)), actor=ADMIN)
    return [row.action for row in rows]


def test_an_approval_makes_room_for_a_time_and_then_the_plan_holds_again(
    shop: Shop, requests: CapRequests, lead: Actor, clock: Clock
) -> None:
    run = shop.start()
    shop.spend(run, CAP)
    with pytest.raises(CapExceeded):
        shop.open(run, 100)
    asked = ask(requests, lead)
    approve(requests, asked, SOMEBODY_ELSE)
    shop.spend(run, CAP)
    with pytest.raises(CapExceeded):
        shop.open(run, 100)
    assert requests.waiting(actor=ADMIN) == []
    assert actions(shop)[:3] == ["project:caps:set", "project:caps:approved", "project:caps:asked"]
    override = shop.plans.override("shop", actor=lead)
    assert override
    assert (override.cap_5h_nano, override.reason) == (2 * CAP, "Release week")
    clock.now = NOON + 2 * DAY
    assert shop.plans.override("shop", actor=lead) is None


def test_nobody_approves_or_declines_what_they_asked_for_themselves(
    shop: Shop, requests: CapRequests
) -> None:
    asked = ask(requests, SOMEBODY_ELSE)
    with pytest.raises(Forbidden, match="yourself"):
        approve(requests, asked, SOMEBODY_ELSE)
    with pytest.raises(Forbidden, match="yourself"):
        requests.decline("shop", asked.request_id, answer="No", actor=SOMEBODY_ELSE)
    assert requests.waiting(actor=ADMIN) == [asked]
    assert shop.headroom().windows["5h"].cap_nano == CAP
    assert actions(shop)[0] == "access:refused"


def test_a_lead_asks_an_administrator_decides_and_others_do_neither(
    shop: Shop, requests: CapRequests, lead: Actor
) -> None:
    project = shop.projects.get("shop", actor=ADMIN)
    manager = Actor("manager@example.com", Origin.BROWSER, None, {project.id: Role.MANAGER})
    stranger = Actor("stranger@example.com", Origin.BROWSER)
    with pytest.raises(Forbidden):
        ask(requests, manager)
    with pytest.raises(ProjectUnknown):
        ask(requests, stranger)
    asked = ask(requests, lead)
    for who in (lead, manager, stranger):
        with pytest.raises(Forbidden):
            approve(requests, asked, who)
        with pytest.raises(Forbidden):
            requests.decline("shop", asked.request_id, answer="No", actor=who)
    assert requests.waiting(actor=manager) == [asked]
    assert requests.waiting(actor=stranger) == []


def test_a_new_request_takes_the_place_of_the_one_that_waits(
    shop: Shop, requests: CapRequests, lead: Actor
) -> None:
    first, second = ask(requests, lead), ask(requests, lead, "A longer one")
    assert requests.waiting(actor=ADMIN, slug="shop") == [second]
    with pytest.raises(BadInput, match="in the meantime"):
        approve(requests, first, SOMEBODY_ELSE)


def test_what_was_decided_is_not_decided_again(shop: Shop, requests: CapRequests, lead: Actor) -> None:
    asked = ask(requests, lead)
    requests.decline("shop", asked.request_id, answer="Use your key", actor=SOMEBODY_ELSE)
    with pytest.raises(BadInput, match="in the meantime"):
        approve(requests, asked, ADMIN)
    latest = requests.latest("shop", actor=lead)
    assert latest
    assert (latest.status, latest.answer) == ("declined", "Use your key")
    assert latest.decided_by == "second@example.com"


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"reason": " "}, "Say why"),
        ({"until": NOON - DAY}, "ended already"),
        ({"cap_5h_nano": -1}, "0 USD or more"),
    ],
)
def test_what_cannot_be_granted_cannot_be_asked_for(
    requests: CapRequests, lead: Actor, wrong: dict[str, object], sentence: str
) -> None:
    wanted = {"cap_5h_nano": CAP, "cap_7d_nano": CAP, "until": NOON + DAY, "reason": "Because"}
    with pytest.raises(BadInput, match=sentence):
        requests.ask("shop", **{**wanted, **wrong}, actor=lead)  # type: ignore[arg-type]


def test_an_override_can_be_ended_before_its_time(shop: Shop) -> None:
    shop.plans.end_override("shop", actor=ADMIN)
    assert shop.plans.override("shop", actor=ADMIN) is None
    assert actions(shop)[0] == "project:caps:ended"
    assert shop.headroom().windows["5h"].cap_nano != CAP
    with pytest.raises(BadInput, match="no caps of its own"):
        shop.plans.end_override("shop", actor=ADMIN)


def test_administrators_are_told_of_a_request_and_the_project_of_its_answer(
    shop: Shop, requests: CapRequests, lead: Actor
) -> None:
    """What was given, where that is not what was asked for."""
    approve(requests, ask(requests, lead), SOMEBODY_ELSE, cap=CAP + 1)
    requests.decline("shop", ask(requests, lead).request_id, answer="Add a key", actor=SOMEBODY_ELSE)
    found = {(event.kind, event.data.get("status")): event for event in told(shop.database)}
    project = shop.projects.get("shop", actor=ADMIN)
    assert {name: event.project_id for name, event in found.items()} == {
        ("caps.asked", None): "*",
        ("caps.decided", "approved"): project.id,
        ("caps.decided", "declined"): project.id,
    }
    assert found["caps.asked", None].data["cap_5h_nano"] == 2 * CAP
    assert found["caps.decided", "approved"].data["cap_5h_nano"] == CAP + 1
    assert found["caps.decided", "declined"].data["answer"] == "Add a key"


def test_a_decision_that_is_refused_tells_nothing(shop: Shop, requests: CapRequests) -> None:
    asked = ask(requests, ADMIN)
    with pytest.raises(Forbidden):
        approve(requests, asked, ADMIN)
    assert [event.kind for event in told(shop.database)] == ["caps.asked"]
