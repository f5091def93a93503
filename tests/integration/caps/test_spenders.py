"""Which runs, models and people spent what is in a window: all of it, and nothing that does not count."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lib.access.roles import Actor, Origin, Role
from lib.caps.spenders import KINDS, Spender, Spenders
from lib.clock import DAY, HOUR
from lib.errors import ProjectUnknown
from tests.spending import ADMIN, UNKNOWN, Clock, Shop, open_shop


@pytest.fixture
def shop(database_url: str, clock: Clock) -> Iterator[Shop]:
    with open_shop(database_url, clock, cap_5h=1_000_000, cap_7d=3_000_000) as shop:
        yield shop


def spenders(shop: Shop, window: str = "5h") -> dict[str, list[Spender]]:
    return {
        kind: list(found) for kind, found in Spenders(shop.database).of("shop", window, actor=ADMIN).items()
    }


def test_the_largest_comes_first_and_all_together_are_what_the_window_holds(shop: Shop, clock: Clock) -> None:
    shop.spend(shop.start(), 5_000)
    clock.now += 6 * HOUR
    small, large = shop.start(), shop.start("chat")
    shop.spend(small, 300)
    shop.spend(large, 400)
    shop.spend(large, 500)
    found = spenders(shop)
    assert [(each.name, each.nano, each.calls) for each in found["runs"]] == [
        (large.run_id, 900, 2),
        (small.run_id, 300, 1),
    ]
    assert found["people"] == [Spender(ADMIN.name, 1_200, 3)]
    for window in ("5h", "7d"):
        held = shop.headroom().windows[window].used_nano
        assert {
            kind: sum(each.nano for each in spenders(shop, window)[kind]) for kind in KINDS
        } == dict.fromkeys(KINDS, held)


def test_a_call_of_unknown_outcome_counts_its_ceiling_here_too(shop: Shop, clock: Clock) -> None:
    run = shop.start()
    call = shop.open(run, 700)
    shop.ledger.settle(call, UNKNOWN)
    assert spenders(shop)["runs"] == [Spender(run.run_id, 700, 1)]


def test_they_are_those_of_the_window_when_the_clock_has_gone_back(shop: Shop, clock: Clock) -> None:
    shop.spend(shop.start(), 5_000)
    clock.now += 6 * HOUR
    run = shop.start()
    shop.spend(run, 300)
    clock.now -= 2 * HOUR
    assert shop.headroom().windows["5h"].used_nano == 300
    assert spenders(shop)["runs"] == [Spender(run.run_id, 300, 1)]


def test_the_smallest_of_many_are_summed_up(shop: Shop) -> None:
    for number in range(11):
        shop.spend(shop.start(), 1_000 - number)
    found = spenders(shop)["runs"]
    assert (len(found), found[-1].others, found[-1].calls) == (9, 3, 3)


def test_an_empty_window_has_no_spenders(shop: Shop, clock: Clock) -> None:
    shop.spend(shop.start(), 100)
    clock.now += 8 * DAY
    assert spenders(shop, "7d") == {kind: [] for kind in KINDS}


def test_whoever_may_not_know_of_the_project_is_told_nothing(shop: Shop) -> None:
    stranger = Actor("stranger@example.com", Origin.BROWSER, None, {"another": Role.ADMIN})
    with pytest.raises(ProjectUnknown):
        Spenders(shop.database).of("shop", "5h", actor=stranger)
