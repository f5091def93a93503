"""Promises 11 and 14: the database crashes at any stage of a call, and the call has one row and counts once."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

import lib.ledger.ledger
from lib.db.tables import accounts, open_calls, runs
from lib.errors import DatabaseUnavailable
from lib.ledger.one_trip import OneTrip
from lib.llm.metering.attempt import Attempt
from lib.llm.metering.lease import Lease
from lib.platform import Platform
from lib.secret import Secret
from lib.settings import Settings
from tests.calls import CALLS, ask, by_statements, rows
from tests.postgres_crash import MortalServer, mortal_postgres, new_database
from tests.upstream import GOOD_KEY, PLATFORM_KEY, ScriptedUpstream


class Crash:
    """Takes back whatever was not flushed to the disk, once."""

    def __init__(self, crash: Callable[[], None]) -> None:
        self._crash, self.times = crash, 0

    def __call__(self) -> None:
        if not self.times:
            self.times = 1
            self._crash()


@pytest.fixture(scope="module")
def mortal() -> Iterator[MortalServer]:
    with mortal_postgres() as server:
        yield server


@pytest.fixture
def settings(
    database_kind: str,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    master_key: str,
    upstream: ScriptedUpstream,
) -> Settings:
    """On PostgreSQL a server that may crash; on SQLite a file of one's own."""
    url = f"sqlite:///{tmp_path / 'qodex.db'}"
    if database_kind == "postgresql":
        url = new_database(request.getfixturevalue("mortal"))
    return Settings(
        database_url=url,
        master_keys=Secret(master_key),
        openai_base_url=upstream.base_url,
        openai_api_key=Secret(PLATFORM_KEY),
    )


@pytest.fixture
def crash(database_kind: str, request: pytest.FixtureRequest, shop: Platform, tmp_path: Path) -> Crash:
    """A crash of the server; on SQLite a power cut that takes the end of the write-ahead log."""
    if database_kind == "postgresql":
        return Crash(request.getfixturevalue("mortal").crash)
    return Crash(lambda: power_cut(shop, tmp_path))


def flush(shop: Platform, folder: Path) -> None:
    """All that has been written until now is on the disk."""
    if shop.database.is_sqlite:
        shop.database.close()  # the last connection takes the log into the file
        shutil.copy(folder / "qodex.db", folder / "flushed.db")


def power_cut(shop: Platform, folder: Path) -> None:
    shop.database.close()
    for end in ("-wal", "-shm"):
        (folder / f"qodex.db{end}").unlink(missing_ok=True)
    shutil.copy(folder / "flushed.db", folder / "qodex.db")


def before(patch: pytest.MonkeyPatch, place: Any, name: str, crash: Crash) -> None:
    act = getattr(place, name)
    patch.setattr(place, name, lambda *told, **more: (crash(), act(*told, **more))[1])


def after(patch: pytest.MonkeyPatch, place: Any, name: str, crash: Crash) -> None:
    act = getattr(place, name)
    patch.setattr(place, name, lambda *told, **more: (act(*told, **more), crash())[0])


STAGES: dict[str, Callable[[pytest.MonkeyPatch, Platform, Crash], None]] = {
    "it is open and nothing sent": lambda patch, _, crash: before(patch, Attempt, "request", crash),
    "the answer begins": lambda patch, _, crash: before(patch, Attempt, "accept", crash),
    "the answer has ended": lambda patch, shop, crash: before(patch, shop.ledger, "settle", crash),
    "it is being settled": lambda patch, _, crash: (
        by_statements(patch),
        after(patch, lib.ledger.ledger, "write_event", crash),
    ),
    "its settlement is sent": lambda patch, _, crash: after(patch, OneTrip, "told", crash),
    "its settlement has committed": lambda patch, _, crash: after(patch, OneTrip, "settle", crash),
}
# The files of a SQLite database cannot be exchanged under an open transaction, and there are no functions in it.
_NOT_ON_SQLITE = {"it is being settled", "its settlement is sent", "its settlement has committed"}


@pytest.mark.parametrize("payer", ["platform", "byok"])
@pytest.mark.parametrize("name", ["responses", "chat stream"])
@pytest.mark.parametrize("stage", STAGES)
def test_a_call_has_one_row_and_counts_once_though_the_database_crashes_when(
    shop, upstream, crash, monkeypatch, tmp_path, stage, name, payer
):
    if shop.database.is_sqlite and stage in _NOT_ON_SQLITE:
        pytest.skip("the files of a SQLite database cannot be exchanged under an open transaction")
    if payer == "byok":
        shop.keys.save("shop", GOOD_KEY)
        upstream.requests.clear()
    with shop.run("shop") as run:
        flush(shop, tmp_path)
        with monkeypatch.context() as patch:
            STAGES[stage](patch, shop, crash)
            answer = CALLS[name](run.openai)
            assert list(answer) if name == "chat stream" else answer.output_text
        assert shop.ledger.queue.flush(60, patiently=True)
        assert crash.times == 1
    assert shop.ledger.queue.flush(60, patiently=True)
    [row] = rows(shop)
    assert (row["status"], row["source"], row["input_tokens"]) == ("ok", payer, 12)
    check_books(shop, counted=row["cost_nano"] if payer == "platform" else 0)


def test_a_stream_that_flows_through_a_crash_goes_on_and_reserves_again(
    shop, upstream, crash, monkeypatch, tmp_path
):
    """Its next heartbeat finds no open row: that is no reason to cut an answer that is being paid for."""
    upstream.queue("slow_stream")
    with shop.run("shop") as run:
        flush(shop, tmp_path)
        stream = CALLS["chat stream"](run.openai)
        next(stream)
        crash()
        with shop.database.read() as connection:
            assert connection.execute(select(open_calls)).all() == []
        monkeypatch.setattr(Lease, "is_due", lambda _: True)
        next(stream)
        with shop.database.read() as connection:
            held = connection.execute(select(func.sum(open_calls.c.ceiling_nano))).scalar()
            assert connection.execute(select(accounts.c.reserved_nano)).scalar() == held > 0
        list(stream)
    assert shop.ledger.queue.flush(60, patiently=True)
    [row] = rows(shop)
    check_books(shop, counted=row["cost_nano"])


def test_an_opening_that_the_crash_cut_off_sends_nothing(shop, upstream, crash, monkeypatch, database_kind):
    if database_kind == "sqlite":
        pytest.skip("the files of a SQLite database cannot be exchanged under an open transaction")
    with shop.run("shop") as run:
        by_statements(monkeypatch)
        before(monkeypatch, lib.ledger.ledger, "_open_row", crash)
        with pytest.raises(DatabaseUnavailable):
            ask(run.openai)
        assert upstream.requests == []
        ask(run.openai)
    assert shop.ledger.queue.flush(60, patiently=True)
    [row] = rows(shop)
    check_books(shop, counted=row["cost_nano"])


def check_books(shop: Platform, *, counted: int) -> None:
    with shop.database.read() as connection:
        account = connection.execute(select(accounts)).one()
        run = connection.execute(select(runs)).one()
    assert (account.reserved_nano, account.counted_nano) == (0, counted)
    assert (run.calls, run.status) == (1, "passed")
