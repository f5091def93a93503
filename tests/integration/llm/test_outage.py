"""Promises 19 and 20: the database is away, slow or full while calls and runs end; nothing waits for it, nothing is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from sqlalchemy import select

import lib.ledger.settlement_queue
from lib.db.tables import accounts, runs
from lib.errors import DatabaseUnavailable, RunEnded
from lib.platform import Platform
from lib.secret import Secret
from lib.settings import Settings
from tests.calls import CALLS, STREAMS, ask, on_sqlite, rows
from tests.disks import NoSmallDisk, fill, small_disk
from tests.postgres_crash import MortalServer, mortal_postgres, new_database
from tests.upstream import PLATFORM_KEY, ScriptedUpstream


def settings_of(url: str, master_key: str, upstream: ScriptedUpstream) -> Settings:
    return Settings(
        database_url=url,
        master_keys=Secret(master_key),
        openai_base_url=upstream.base_url,
        openai_api_key=Secret(PLATFORM_KEY),
        db_timeout=20,
    )


def opened(settings: Settings) -> Platform:
    shop = Platform(settings)
    shop.projects.add("shop", actor=shop.actor)
    return shop


def statuses(shop: Platform) -> list[str]:
    with shop.database.read() as connection:
        return list(connection.execute(select(runs.c.status).order_by(runs.c.started_at)).scalars())


def written(shop: Platform) -> None:
    assert shop.ledger.queue.flush(120, patiently=True)
    assert shop.owed == 0


# --- the server is away ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def mortal() -> Iterator[MortalServer]:
    with mortal_postgres() as server:
        yield server


@pytest.fixture
def away(mortal: MortalServer, master_key: str, upstream: ScriptedUpstream) -> Iterator[Platform]:
    """A platform whose server the test stops; it is back at the end."""
    shop = opened(settings_of(new_database(mortal), master_key, upstream))
    yield shop
    if not mortal.is_running():
        mortal.start()
    shop.close()


def test_finished_work_raises_nothing_though_the_database_is_away_when_its_run_ends(away, mortal):
    with away.run("shop") as run:
        ask(run.openai)
        mortal.stop()
    assert (run.status, away.owed) == ("passed", 1)
    mortal.start()
    written(away)
    assert statuses(away) == ["passed"]


def test_the_callers_own_exception_leaves_the_run_though_the_database_is_away(away, mortal):
    def work() -> None:
        with away.run("shop"):
            mortal.stop()
            raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        work()
    mortal.start()
    written(away)
    assert statuses(away) == ["error"]


def test_a_run_that_is_finished_while_the_database_is_away_ends_once(away, mortal):
    with away.run("shop") as run:
        mortal.stop()
        assert run.finish("failed") == "failed"
        with pytest.raises(RunEnded):
            run.finish("passed")
    mortal.start()
    written(away)
    assert statuses(away) == ["failed"]


def test_an_async_run_ends_though_the_database_is_away(away, mortal):
    async def work() -> None:
        async with away.run("shop") as run:
            await ask(run.async_openai)
            await asyncio.to_thread(mortal.stop)

    asyncio.run(work())
    mortal.start()
    written(away)
    assert statuses(away) == ["passed"]


def test_answers_reach_their_callers_and_are_written_in_order_when_the_database_is_back(away, mortal, caplog):
    with away.run("shop") as run:
        first, second = (CALLS["chat stream"](run.openai) for _ in range(2))
        next(first)
        mortal.stop()
        assert list(first)
        assert list(second)
        assert away.owed == 2
        assert "Owed to the ledger: 1." in caplog.text
        with pytest.raises(DatabaseUnavailable):
            ask(run.openai)
    mortal.start()
    written(away)
    found = rows(away)
    assert [row["status"] for row in found] == ["ok", "ok"]
    assert [row["upstream_request_id"] for row in found] == ["req_00000001", "req_00000002"]
    with away.database.read() as connection:
        assert connection.execute(select(accounts.c.reserved_nano)).scalar() == 0
    assert statuses(away) == ["passed"]


# --- something holds a lock ------------------------------------------------------------------------


@pytest.fixture
def held(mortal: MortalServer, away: Platform, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Somebody else's lock on the usage events: calls can be opened, and not settled."""
    monkeypatch.setattr(away.ledger, "_settle_seconds", 0.5)
    connection = mortal.connect(away.settings.database_url)
    connection.execute("LOCK TABLE usage_events IN EXCLUSIVE MODE")
    yield connection
    connection.close()


def test_the_next_call_does_not_wait_for_what_is_owed(away, held, upstream):
    with away.run("shop") as run:
        for count in range(1, 6):
            assert ask(run.openai).output_text
            assert away.owed == count
        held.rollback()
    written(away)
    assert [row["upstream_request_id"] for row in rows(away)] == [f"req_{n:08x}" for n in range(1, 6)]


def test_with_too_much_owed_no_call_begins_and_nothing_is_dropped(away, held, upstream, monkeypatch):
    monkeypatch.setattr(lib.ledger.settlement_queue, "MOST_OWED", 2)
    with away.run("shop") as run:
        ask(run.openai)
        ask(run.openai)
        with pytest.raises(DatabaseUnavailable, match="2 ended calls could not be written"):
            ask(run.openai)
        assert len(upstream.requests) == 2
        held.rollback()
        written(away)
        ask(run.openai)
    assert len(rows(away)) == 3


# --- the disk is full ------------------------------------------------------------------------------


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    try:
        with small_disk(folder, 8):
            yield folder
    except NoSmallDisk as problem:
        pytest.skip(str(problem))


@pytest.mark.parametrize("name", STREAMS)
def test_an_answer_and_its_cost_survive_a_full_disk_and_the_run_raises_nothing(
    disk, master_key, upstream, name
):
    shop = opened(settings_of(f"sqlite:///{disk / 'qodex.db'}", master_key, upstream))
    filler = disk / "filler"

    def answer() -> Any:
        with shop.run("shop") as run:
            upstream.queue("slow_stream")
            stream = CALLS[name](run.openai)
            next(stream)
            fill(filler)
            return list(stream)

    assert answer()
    assert shop.owed == 2  # the call, and the end of its run
    filler.unlink()
    written(shop)
    assert rows(shop, "status") == ["ok"]
    assert statuses(shop) == ["passed"]
    shop.close()


# --- a client is kept ------------------------------------------------------------------------------


@on_sqlite
def test_a_client_that_is_kept_after_its_run_says_that_the_run_has_ended(shop, upstream):
    with shop.run("shop") as run:
        kept = [run.openai, run.openai.with_options(max_retries=0)]
    for client in kept:
        with pytest.raises(RunEnded):
            ask(client)

    async def later() -> None:
        async with shop.run("shop") as other:
            client = other.async_openai
        with pytest.raises(RunEnded):
            await ask(client)

    asyncio.run(later())
    assert (upstream.requests, rows(shop)) == ([], [])


@on_sqlite
def test_a_client_that_was_closed_in_its_run_says_what_the_sdk_says(shop):
    with shop.run("shop") as run:
        run.openai.close()
        with pytest.raises((RuntimeError, openai.APIConnectionError)):
            ask(run.openai)
