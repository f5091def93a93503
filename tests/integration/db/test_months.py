"""Events by months on PostgreSQL: no call without a place, none twice, and a database of before is moved under its workers."""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from lib.clock import DAY, Micros, from_micros, month_after, month_of, to_micros
from lib.db import Database
from lib.db.migrate import migrate
from lib.db.migrations import months_0019 as move
from lib.db.migrations.functions_0019 import FUNCTIONS
from lib.db.migrations.online import Online
from lib.db.months.partitioning import make_next_months, partition
from lib.db.months.parts import AFTER, BEFORE, is_by_month, make_next, parts
from lib.db.upkeep.checkup import examine
from lib.errors import BadInput
from lib.exchange.export import export_usage
from lib.exchange.imports.import_usage import import_usage
from lib.platform import Platform
from lib.reports.models import UsageFilter
from lib.secret import Secret
from lib.settings import Settings
from lib.usage import rollups
from tests.integration.db.test_upgrades import assert_all_agrees, old_database, old_workers
from tests.spending import Clock, Shop, answer, open_shop
from tests.upstream import PLATFORM_KEY, ScriptedUpstream

pytestmark = pytest.mark.parametrize("database_kind", ["postgresql"])

SCHEMA = "0018"
"""The last one whose events were one table."""
EVENTS = 100_000


def at(year: int, month: int, day: int = 1) -> Micros:
    return to_micros(datetime(year, month, day, tzinfo=UTC))


def rows(database: Database, statement: str, **values: object) -> list[Any]:
    with database.read() as connection:
        return [tuple(row) for row in connection.execute(text(statement), values)]


# --- a new database ------------------------------------------------------------------------------------


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def shop(database_url: str, clock: Clock) -> Iterator[Shop]:
    with open_shop(database_url, clock) as shop:
        yield shop


def part_names(database: Database) -> list[str]:
    with database.read() as connection:
        return [part.name for part in parts(connection)]


def test_a_new_database_has_the_month_under_way_and_three_more(database_url: str) -> None:
    with closing(Database(database_url)) as database, database.read() as connection:
        found = parts(connection)
        now = database.now(connection)
    assert [found[0].name, found[-1].name] == [BEFORE, AFTER]
    assert (found[0].since, found[-1].until) == (None, None)
    assert all(one.until == after.since for one, after in pairwise(found))
    assert found[1].since in {month_of(now), month_of(month_of(now) - 1)}  # the template may be of last month
    assert len(found) == 6


@pytest.mark.parametrize("year", [2021, 2023, 2027, 2090])
def test_there_is_a_place_for_a_call_of_any_time(shop: Shop, clock: Clock, year: int) -> None:
    clock.now = at(year, 5, 31)
    run = shop.start()
    for cost in (3, 4):
        shop.spend(run, cost)
        clock.now += 2 * DAY  # into another month
    assert rows(shop.database, "SELECT count(*), sum(cost_nano) FROM usage_events") == [(2, 7)]
    assert list(rollups.verify(shop.database)) == []


def test_what_a_window_began_with_is_found_however_long_ago_it_was(shop: Shop, clock: Clock) -> None:
    run = shop.start()
    shop.cap(1_000, 1_000)
    shop.spend(run, 900)
    clock.now += 200 * DAY
    shop.spend(run, 700)  # found in no week before, and it is not the first
    clock.now += 1
    assert shop.headroom().windows["7d"].used_nano == 700
    clock.now += 8 * DAY
    shop.spend(run, 800)


def test_what_a_window_began_with_opens_no_more_than_the_months_of_some_weeks(database_url: str) -> None:
    """Each call asks for it, so the months that there are besides must cost it nothing."""
    (_, query), *_ = re.findall(
        r"(\()(SELECT usage_events.counted_after_nano.*?LIMIT 1)\)", FUNCTIONS[0], re.DOTALL
    )
    statement = query.replace("the_project", "$1").replace(" at ", " $2 ")
    with closing(Database(database_url)) as database, database.read() as connection:
        now = database.now(connection)
        connection.exec_driver_sql("SET LOCAL plan_cache_mode = force_generic_plan")
        connection.exec_driver_sql(f"PREPARE began (text, bigint) AS {statement}")
        plan = "\n".join(connection.exec_driver_sql(f"EXPLAIN EXECUTE began ('x', {now})").scalars())
        connection.exec_driver_sql("DEALLOCATE began")
        there = len(parts(connection))
    opened = set(re.findall(r" on (usage_events_\w+)", plan))
    assert 1 <= len(opened) <= 3
    assert f"Subplans Removed: {there - len(opened)}" in plan


def test_calls_that_a_wrong_clock_dated_ahead_come_back_with_their_sums(shop: Shop, clock: Clock) -> None:
    run = shop.start()
    shop.spend(run, 10)
    clock.now += 400 * DAY
    shop.spend(run, 20)
    clock.now -= 399 * DAY
    shop.spend(run, 30)
    found = rows(shop.database, "SELECT cost_nano FROM usage_events WHERE occurred_at <= :now", now=clock.now)
    assert sorted(found) == [(10,), (20,), (30,)]
    assert list(rollups.verify(shop.database)) == []


# --- the next months -----------------------------------------------------------------------------------


def advance(database: Database, now: Micros) -> list[str]:
    with database.write() as connection:
        return [part.name for part in make_next(connection, now)]


def last_month(database: Database) -> Micros:
    with database.read() as connection:
        return parts(connection)[-1].since or 0


def test_the_next_months_are_made_when_they_come_near_and_only_then(shop: Shop) -> None:
    end = last_month(shop.database)
    assert make_next_months(shop.database) == []
    now = month_of(end - 1)
    made = advance(shop.database, now)
    assert len(made) == 3
    assert advance(shop.database, now) == []
    assert part_names(shop.database)[-4:] == [*made, AFTER]


def test_calls_of_months_that_nobody_made_are_put_in_their_place_later(shop: Shop, clock: Clock) -> None:
    end = last_month(shop.database)
    run = shop.start()
    clock.now = end - DAY
    costs = []
    for months in range(6):
        shop.spend(run, 10 + months)
        costs.append(10 + months)
        clock.now = month_after(month_of(clock.now)) + DAY
    before = sums(shop)
    made = advance(shop.database, at_start(end, 3))
    assert sums(shop) == before
    assert rows(shop.database, f"SELECT count(*) FROM {made[0]}") == [(4,)]  # all of the months that are over
    assert rows(shop.database, f"SELECT count(*) FROM {AFTER}") == [(0,)]
    assert list(rollups.verify(shop.database)) == []
    shop.spend(run, 99)


def at_start(end: Micros, months: int) -> Micros:
    for _ in range(months):
        end = month_after(end)
    return end


def sums(shop: Shop) -> Any:
    caching = "SELECT * FROM usage_daily_caching ORDER BY 1, 2, 3, 4, 5, 6, 7"
    events = "SELECT event_id, occurred_at, cost_nano FROM usage_events ORDER BY 1"
    return rows(shop.database, caching), rows(shop.database, events)


def test_what_was_dated_far_ahead_alone_does_not_keep_months_from_being_made(
    shop: Shop, clock: Clock
) -> None:
    end = last_month(shop.database)
    clock.now = at(2150, 3)
    shop.spend(shop.start(), 5)
    made = advance(shop.database, month_of(end - 1))
    assert len(made) == 3
    assert rows(shop.database, f"SELECT count(*) FROM {AFTER}") == [(1,)]


def test_the_check_says_when_months_are_missing(shop: Shop, clock: Clock, database_url: str) -> None:
    def said() -> list[str]:
        return [each.message for each in examine(shop.database, database_url) if each.check == "months"]

    clock.now = last_month(shop.database) - 40 * DAY
    assert "db maintain makes them" in said()[0]
    make_next_months(shop.database)
    assert said() == ["the next ones of events are there"]


# --- no row twice ----------------------------------------------------------------------------------------


@pytest.fixture
def platform(settings: Settings) -> Iterator[Platform]:
    made = Platform(settings.model_copy(update={"openai_api_key": Secret(PLATFORM_KEY)}))
    made.projects.add("shop", actor=made.actor)
    yield made
    made.close()


HEADER = "event_id,occurred_at,project,model,input_tokens,output_tokens\n"


def bring_in(platform: Platform, *lines: str) -> int:
    file = BytesIO((HEADER + "\n".join(lines) + "\n").encode())
    return import_usage(platform.database, platform.prices, file, name="x.csv", actor=platform.actor).added


def test_an_imported_call_is_the_same_one_whatever_month_it_is_said_to_be_of(platform: Platform) -> None:
    assert bring_in(platform, "one,2023-05-01T00:00:00Z,shop,gpt-5-mini,1,1") == 1
    assert bring_in(platform, "one,2024-06-01T00:00:00Z,shop,gpt-5-mini,9,9") == 0
    with platform.database.read() as connection:
        now = from_micros(platform.database.now(connection)).isoformat()
    twice = ("two,2023-05-01T00:00:00Z,shop,gpt-5-mini,1,1", f"two,{now},shop,gpt-5-mini,1,1")
    assert bring_in(platform, *twice) == 1
    assert bring_in(platform, *twice) == 0
    assert rows(platform.database, "SELECT count(*) FROM usage_events") == [(2,)]
    assert list(rollups.verify(platform.database)) == []


def test_a_call_whose_opening_was_lost_is_settled_once_though_a_month_lies_between(
    shop: Shop, clock: Clock
) -> None:
    run = shop.start()
    for _ in range(2):
        call = shop.open(run, 500)
        with shop.database.write() as connection:  # as a crash of the server does
            connection.execute(text("DELETE FROM open_calls"))
            connection.execute(text("UPDATE accounts SET reserved_nano = 0"))
        for _ in range(3):
            shop.ledger.settle(call, answer(70))
            clock.now += 40 * DAY
    assert rows(shop.database, "SELECT count(*), sum(cost_nano) FROM usage_events") == [(2, 140)]
    assert list(rollups.verify(shop.database)) == []


# --- a database of before --------------------------------------------------------------------------------


class Killed(BaseException):
    """What ends the program in the middle."""


@contextmanager
def killed_after(step: str, times: int, patch: pytest.MonkeyPatch) -> Iterator[None]:
    """SIGKILL as the database sees it: the transaction under way is undone, what was committed stays."""
    act: Callable[..., Any] = getattr(move, step)
    left = [times]

    def once(*arguments: Any) -> Any:
        left[0] -= 1
        done = act(*arguments)
        if left[0] == 0:
            raise Killed
        return done

    with patch.context() as within:
        within.setattr(move, step, once)
        with pytest.raises(Killed):
            yield


def exported(platform: Platform, until: Micros) -> bytes:
    out = BytesIO()
    export_usage(platform.database, UsageFilter(until=until, zone="UTC"), out, actor=platform.actor)
    return out.getvalue()


@pytest.mark.slow
def test_events_are_moved_under_workers_of_the_version_before_killed_anywhere_and_gone_on_with(
    empty_database_url: str, tmp_path: Path, upstream: ScriptedUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    old_database(empty_database_url, SCHEMA, EVENTS).close()
    settings = Settings(
        database_url=empty_database_url,
        master_keys=Secret(base64.b64encode(os.urandom(32)).decode()),
        openai_api_key=Secret(PLATFORM_KEY),
        openai_base_url=upstream.base_url,
    )
    with old_workers(empty_database_url, SCHEMA, tmp_path) as workers:
        workers.go_on(3)
        platform = Platform(settings)
        platform.unsealed.seal(platform.unsealed.find(actor=platform.actor), actor=platform.actor)
        assert part_names(platform.database) == []
        with platform.database.read() as connection:
            moment = platform.database.now(connection)
        before = exported(platform, moment)
        for step, times in (
            ("begin", 1),
            ("carry_changes", 1),
            ("carry_batch", 3),
            ("carry_batch", 2),
            ("swap", 1),
        ):
            with killed_after(step, times, monkeypatch):
                partition(platform.database)
            workers.go_on(1)
            assert exported(platform, moment) == before
        with killed_after("drop_former", 2, monkeypatch):
            partition(platform.database)
        workers.go_on(1)
        partition(platform.database)
        partition(platform.database)  # there is nothing to do any more
        for slug in ("shop", "till"):
            with platform.run(slug) as run:
                run.openai.responses.create(model="gpt-5-mini", input="Hi")
        workers.go_on(5)
        complaints = workers.stop()
    assert not any(complaints)
    seen = {event for ids in workers.seen().values() for event in ids}
    assert_all_agrees(platform, seen, upstream)
    assert exported(platform, moment) == before
    assert len(part_names(platform.database)) >= 6
    (left,) = rows(
        platform.database, "SELECT count(*) FROM pg_class WHERE relname ~ '^usage_events_(by|for|rea|mir)'"
    )
    assert left == (0,)
    platform.close()


def test_a_move_that_an_upgrade_finds_unfinished_is_taken_back_and_can_be_begun_again(
    empty_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = old_database(empty_database_url, SCHEMA, 10)
    migrate(database)
    with killed_after("carry_batch", 1, monkeypatch):
        partition(database)
    move.give_up(Online(database))
    with database.write() as connection:
        connection.execute(text("ALTER TABLE usage_events ADD COLUMN later text"))
        connection.execute(text("UPDATE usage_events SET later = 'x'"))
    partition(database)
    assert rows(database, "SELECT count(*) FROM usage_events WHERE later = 'x'") == [(10,)]
    database.close()


def test_rights_and_indexes_of_an_operator_go_with_the_events(empty_database_url: str) -> None:
    database = old_database(empty_database_url, SCHEMA, 10)
    migrate(database)
    with database.write() as connection:
        connection.execute(text("CREATE INDEX mine ON usage_events (model)"))
        connection.execute(text("GRANT SELECT ON usage_events TO PUBLIC"))
    partition(database)
    assert rows(database, "SELECT indexname FROM pg_indexes WHERE indexname = 'mine'") == [("mine",)]
    (acl,) = rows(database, "SELECT CAST(relacl AS text) FROM pg_class WHERE oid = 'usage_events'::regclass")
    assert "=r/" in acl[0]
    with database.read() as connection:
        assert is_by_month(connection)
    database.close()


def test_only_one_process_moves_events_at_a_time(empty_database_url: str) -> None:
    from lib.db.migrate import upgrade_turn

    database = old_database(empty_database_url, SCHEMA, 10)
    migrate(database)
    with upgrade_turn(database) as is_ours:
        assert is_ours
        with pytest.raises(BadInput, match="Another process"):
            partition(database)
    database.close()
