"""What pages read of caps: all projects at once, the past at each instant, and the room to come."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from lib.access.roles import Actor, Origin, Role
from lib.caps.windows import WINDOWS
from lib.clock import DAY, HOUR, MINUTE, Micros
from lib.errors import ProjectUnknown
from tests.spending import ADMIN, NOON, UNKNOWN, Clock, Shop
from tests.vaults import projects_of


@pytest.fixture
def shop(database_url: str, clock: Clock) -> Iterator[Shop]:
    found = Shop(database_url, clock)
    yield found
    found.close()


def spend_for_days(shop: Shop, clock: Clock, *, days: int, calls: int = 40, slug: str = "shop") -> None:
    """Calls at random moments of the days up to now; some at the very same one, some with an unknown outcome."""
    dice = random.Random(7)
    moments = sorted(NOON - dice.randrange(days * DAY) for _ in range(calls))
    moments[5] = moments[4]
    for moment in moments:
        clock.now = moment
        run = shop.start(slug=slug)
        if dice.random() < 0.2:
            shop.ledger.settle(shop.open(run, dice.randrange(100, 1000)), UNKNOWN)
        else:
            shop.spend(run, dice.randrange(100, 1000))
    clock.now = NOON


def counted(shop: Shop, since: Micros, until: Micros) -> int:
    """Added up row by row: after ``since``, up to and with ``until``."""
    before = 0
    total = 0
    for event in shop.events():
        cost = event.counted_after_nano - before
        before = event.counted_after_nano
        total += cost if since < event.occurred_at <= until else 0
    return total


@pytest.mark.parametrize("window", WINDOWS)
def test_the_past_of_a_window_is_exact_at_every_point(shop: Shop, clock: Clock, window: str):
    shop.add()
    spend_for_days(shop, clock, days=15)
    points = shop.view.consumption("shop", window, points=85)
    expected = [counted(shop, point.at - WINDOWS[window], point.at) for point in points]
    assert expected == [point.nano for point in points]
    assert len({point.nano for point in points}) > 5
    assert (points[0].at, points[-1].at) == (NOON - 7 * DAY, NOON)
    assert points[-1].nano == shop.headroom().windows[window].used_nano


def test_a_past_that_ends_in_the_past_is_exact_too(shop: Shop, clock: Clock):
    shop.add()
    spend_for_days(shop, clock, days=9)
    since, until = NOON - 4 * DAY, NOON - 2 * DAY
    points = shop.view.consumption("shop", "5h", since=since, until=until, points=49)
    assert [point.at for point in points] == [since + hours * HOUR for hours in range(49)]
    assert [counted(shop, at.at - 5 * HOUR, at.at) for at in points] == [at.nano for at in points]
    later = shop.view.consumption("shop", "5h", until=NOON + DAY, points=2)
    assert later[-1].at == NOON


def test_the_room_to_come_is_the_room_there_will_be(shop: Shop, clock: Clock):
    shop.add(cap_5h=20_000, cap_7d=30_000)
    spend_for_days(shop, clock, days=6, calls=30)
    shop.open(shop.start(), 500, lease=30 * DAY)
    ahead = [0, 1, 30 * MINUTE, 5 * HOUR, 2 * DAY, 6 * DAY, 8 * DAY]
    outlook = shop.view.forecast("shop", ahead)
    for row in outlook:
        clock.now = row.at
        windows = shop.headroom().windows
        assert {name: window.free_nano for name, window in windows.items()} == dict(row.free_nano)
    assert outlook[-1].free_nano == {"5h": 19_500, "7d": 29_500}


def test_the_room_to_come_knows_when_an_override_ends(shop: Shop):
    shop.add()
    shop.cap(1_000, 2_000, ends_at=NOON + DAY)
    plan = next(plan for plan in shop.plans.list() if plan.name == "Starter")
    before, after = shop.view.forecast("shop", [DAY - 1, DAY])
    assert before.free_nano == {"5h": 1_000, "7d": 2_000}
    assert after.free_nano == {"5h": plan.cap_5h_nano, "7d": plan.cap_7d_nano}


def test_a_project_that_never_spent_has_an_empty_past_and_all_the_room(shop: Shop):
    shop.add(cap_5h=10, cap_7d=20)
    assert {point.nano for point in shop.view.consumption("shop", "7d")} == {0}
    assert shop.view.forecast("shop", [0])[0].free_nano == {"5h": 10, "7d": 20}


def test_all_projects_at_once_are_the_same_as_one_by_one(shop: Shop, clock: Clock):
    for slug, cap in (("idle", 1_000), ("shop", 100_000), ("full", 900)):
        shop.add(slug, cap_5h=cap, cap_7d=cap)
    spend_for_days(shop, clock, days=3)
    shop.spend(shop.start(slug="full"), 900)
    found = shop.view.headroom_all()
    assert set(found) == {"idle", "shop", "full"}
    for slug, room in found.items():
        alone = shop.headroom(slug)
        for name, window in room.windows.items():
            other = alone.windows[name]
            assert (window.used_nano, window.unknown_nano, window.reserved_nano, window.cap_nano) == (
                other.used_nano,
                other.unknown_nano,
                other.reserved_nano,
                other.cap_nano,
            )
            assert window.returns_at == other.returns_at
    assert found["full"].windows["5h"].returns_at == NOON + 5 * HOUR


def test_usage_stays_in_its_window_when_the_clock_goes_back(shop: Shop, clock: Clock):
    shop.add(cap_5h=1_000, cap_7d=1_000)
    shop.spend(shop.start(), 300)
    clock.now = NOON - HOUR
    assert shop.view.headroom_all()["shop"].windows["5h"].used_nano == 300
    assert shop.view.consumption("shop", "5h")[-1].nano == 300
    assert shop.view.forecast("shop", [0])[0].free_nano["5h"] == 700


def test_an_outsider_sees_no_project_and_cannot_ask_for_one(shop: Shop):
    shop.add()
    mine = shop.add("mine")
    outsider = Actor("ann@example.com", Origin.BROWSER, None, {mine: Role.ANALYST})
    assert set(shop.view.headroom_all(actor=outsider)) == {"mine"}
    for ask in (
        lambda: shop.view.headroom("shop", actor=outsider),
        lambda: shop.view.consumption("shop", "7d", actor=outsider),
        lambda: shop.view.forecast("shop", [0], actor=outsider),
    ):
        with pytest.raises(ProjectUnknown):
            ask()


def test_reading_all_projects_takes_as_many_queries_as_reading_one(shop: Shop):
    """Five hundred projects on a page must not be five hundred queries."""
    shop.add()
    one = _statements(shop)
    for number in range(20):
        projects_of(shop.database).add(f"other-{number}", actor=ADMIN)
    assert _statements(shop) == one


def _statements(shop: Shop) -> int:
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    seen: list[str] = []

    def note(*call: object) -> None:
        seen.append(str(call[2]))

    event.listen(Engine, "before_cursor_execute", note)
    try:
        shop.view.headroom_all()
    finally:
        event.remove(Engine, "before_cursor_execute", note)
    return len(seen)


def test_how_many_were_near_a_cap_is_what_each_projects_past_says(shop: Shop, clock: Clock):
    """At the first instant, the last one, and all between; by the caps of today."""
    slugs = ("shop", "search", "idle")
    for slug in slugs:
        shop.add(slug)
    for days, slug in ((9, "shop"), (15, "search")):
        spend_for_days(shop, clock, days=days, slug=slug)
        shop.cap(800, 9_000, slug=slug)
    rooms = shop.view.headroom_all(actor=ADMIN)
    since, percent = NOON - 10 * DAY, 80

    found = shop.view.count_near_cap_over_time(
        rooms, percent, since=since, until=NOON, points=25, actor=ADMIN
    )

    past = {
        (slug, name): shop.view.consumption(slug, name, since=since, until=NOON, points=25)
        for slug in slugs
        for name in WINDOWS
    }
    caps = {(slug, name): rooms[slug].windows[name].cap_nano for slug, name in past}
    expected = [
        sum(
            any(100 * past[slug, name][place].nano >= percent * caps[slug, name] for name in WINDOWS)
            for slug in slugs
        )
        for place in range(25)
    ]
    assert found == expected
    assert len(set(found)) > 1


def test_how_many_were_near_a_cap_is_told_of_visible_projects_only(shop: Shop):
    shop.add("shop")
    rooms = shop.view.headroom_all(actor=ADMIN)
    stranger = Actor("somebody", Origin.BROWSER, projects={"other": Role.ADMIN})
    with pytest.raises(ProjectUnknown):
        shop.view.count_near_cap_over_time(rooms, 80, since=NOON - DAY, until=NOON, actor=stranger)
