"""No clock reading, however wrong, locks a project out for longer than its windows, dates calls ahead or opens a cap."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from sqlalchemy import insert, select

from lib.clock import DAY, HOUR, SECOND, to_micros
from lib.db.tables import accounts, usage_events
from lib.errors import CapExceeded, DatabaseUnavailable
from lib.usage import rollups
from lib.usage.clock_leaps import mend, misdated
from tests.spending import ADMIN, NOON, UNKNOWN, Clock, Shop

YEAR = 365 * DAY
CAP = 10_000


@pytest.fixture
def shop(database_url: str, clock: Clock) -> Iterator[Shop]:
    found = Shop(database_url, clock)
    found.add(cap_5h=CAP, cap_7d=2 * CAP)
    yield found
    found.close()


def dates(shop: Shop) -> list[int]:
    return [event.occurred_at for event in shop.events()]


def books_agree(shop: Shop) -> bool:
    """Running totals go up in order of their times, and the roll-ups are the sums of the events."""
    events = sorted(shop.events(), key=lambda event: event.sequence)
    ordered = [event.occurred_at for event in events] == sorted(event.occurred_at for event in events)
    with shop.database.read() as connection:
        account = connection.execute(select(accounts)).one()
    whole = account.counted_nano == (events[-1].counted_after_nano if events else 0)
    return ordered and whole and not list(rollups.verify(shop.database)) and not list(misdated(shop.database))


@pytest.mark.parametrize("cost", [100, CAP - 500])
@pytest.mark.parametrize("ahead", [8 * DAY, YEAR, 100 * YEAR])
def test_one_reading_far_ahead_is_forgotten_when_the_clock_is_right_again(
    shop: Shop, clock: Clock, ahead: int, cost: int
):
    shop.spend(shop.start(), 500)
    clock.now = NOON + ahead
    shop.spend(shop.start(), cost)
    clock.now = NOON + HOUR
    window = shop.headroom().windows["5h"]
    assert window.used_nano == 500 + cost  # it is not lost either
    if window.free_nano == 0:
        assert window.returns_at is not None
        assert window.returns_at <= NOON + 6 * HOUR

    clock.now = NOON + 8 * DAY
    shop.spend(shop.start(), 200)
    assert max(dates(shop)) == NOON + 8 * DAY
    clock.now = NOON + 16 * DAY
    assert [window.used_nano for window in shop.headroom().windows.values()] == [0, 0]
    assert books_agree(shop)


def test_at_the_cap_the_next_run_takes_the_leap_back(shop: Shop, clock: Clock):
    clock.now = NOON + YEAR
    shop.spend(shop.start(), CAP)
    clock.now = NOON
    with pytest.raises(CapExceeded) as refused:
        shop.start()
    assert refused.value.returns_at is not None
    assert to_micros(refused.value.returns_at) <= NOON + 5 * HOUR
    clock.now = NOON + 5 * HOUR + SECOND
    shop.spend(shop.start(), 100)
    assert books_agree(shop)


def test_a_leap_between_opening_and_settling_dates_nothing_that_follows(shop: Shop, clock: Clock):
    shop.spend(shop.start(), 100)
    first, second = shop.open(shop.start(), 500), shop.open(shop.start(), 500)
    clock.now = NOON + YEAR
    shop.ledger.settle(first, UNKNOWN)
    clock.now = NOON + SECOND
    shop.ledger.settle(second, UNKNOWN)
    assert max(dates(shop)) == NOON + SECOND
    assert shop.headroom().windows["5h"].used_nano == 1_100
    assert books_agree(shop)


@pytest.mark.parametrize("back", [HOUR, 7 * DAY])
def test_a_clock_that_goes_back_opens_no_cap(shop: Shop, clock: Clock, back: int):
    clock.now = NOON - 3 * DAY
    shop.spend(shop.start(), 100)
    clock.now = NOON
    shop.spend(shop.start(), CAP - 50)
    clock.now = NOON - back
    with pytest.raises(CapExceeded):
        shop.open(shop.start(), 500)
    clock.now = NOON + HOUR
    assert shop.headroom().windows["5h"].used_nano == CAP - 50


def test_a_clock_that_goes_back_by_months_moves_no_call_of_a_project_in_use(shop: Shop, clock: Clock):
    for days in range(120, 0, -2):
        clock.now = NOON - days * DAY
        shop.spend(shop.start(), 10)
    clock.now = NOON
    shop.spend(shop.start(), 1_000)
    before = dates(shop)
    clock.now = NOON - 60 * DAY
    shop.spend(shop.start(), 1_000)
    assert dates(shop)[:-1] == before
    clock.now = NOON + HOUR
    assert shop.headroom().windows["5h"].used_nano == 2_000


@pytest.mark.parametrize("ahead", [2 * DAY, 6 * DAY])
def test_a_leap_of_less_than_a_week_holds_the_projects_time_until_the_clock_gets_there(
    shop: Shop, clock: Clock, ahead: int
):
    """Were it taken back by itself, so would be a right clock's last days, once it has gone back by as much."""
    clock.now = NOON + ahead
    shop.spend(shop.start(), CAP)
    clock.now = NOON + 6 * HOUR
    with pytest.raises(CapExceeded):
        shop.start()
    clock.now = NOON + ahead + 5 * HOUR
    shop.spend(shop.start(), 100)
    assert books_agree(shop)


@pytest.mark.parametrize("ahead", [2 * DAY, 6 * DAY])
def test_a_person_who_knows_that_the_clock_is_right_takes_such_a_leap_back_at_once(
    shop: Shop, clock: Clock, ahead: int
):
    clock.now = NOON + ahead
    shop.spend(shop.start(), CAP)
    clock.now = NOON
    (found,) = misdated(shop.database)
    mend(shop.database, found)
    clock.now = NOON + 5 * HOUR
    shop.spend(shop.start(), 100)
    assert dates(shop) == [NOON, NOON + 5 * HOUR]
    assert books_agree(shop)


@pytest.mark.parametrize("year", [9999, 2300, 1970])
def test_a_time_that_cannot_be_is_refused_in_a_sentence(shop: Shop, clock: Clock, year: int):
    clock.now = to_micros(datetime(year, 12, 31, 23, 59, tzinfo=UTC))
    with pytest.raises(DatabaseUnavailable, match="set the clock"):
        shop.start()
    with pytest.raises(DatabaseUnavailable, match="set the clock"):
        shop.headroom()
    clock.now = NOON
    shop.spend(shop.start(), 100)
    assert books_agree(shop)


def test_calls_dated_ahead_are_found_and_mended(shop: Shop, clock: Clock):
    project_id = shop.add("other")
    clock.now = NOON + 3 * DAY
    shop.spend(shop.start(), 100)
    clock.now = NOON
    own = {
        "project_id": project_id,
        "event_id": "own",
        "occurred_at": NOON + YEAR,
        "source": "byok",
        "provider": "openai",
        "model": "gpt-5",
        "endpoint": "responses",
        "status": "ok",
        "cost_nano": 7,
        "imported": False,
    }
    with shop.database.write() as connection:
        connection.execute(insert(usage_events), own)
        rollups.rebuild(connection, project_id, NOON + YEAR, NOON + YEAR + 1)

    found = list(misdated(shop.database))
    assert [(each.project, each.calls, each.latest) for each in found] == [
        ("other", 1, NOON + YEAR),
        ("shop", 1, NOON + 3 * DAY),
    ]
    for each in found:
        mend(shop.database, each)
    assert list(misdated(shop.database)) == []
    assert dates(shop) == [NOON, NOON]
    assert list(rollups.verify(shop.database)) == []
    assert shop.projects.get("other", actor=ADMIN).slug == "other"
