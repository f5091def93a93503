"""Promises 11 and 14: the power goes in the middle of a transaction on SQLite, and the call counts once."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from sqlalchemy import func, select, text

import lib.ledger.ledger
from lib.db.tables import accounts, open_calls, usage_events
from lib.ledger.attempts import AttemptResult
from lib.ledger.open_attempt import OpenAttempt
from lib.platform import Platform
from lib.settings import Settings
from lib.usage import rollups
from lib.usage.expiry import expire_calls
from tests.calls import ask, on_sqlite, rows
from tests.power_cuts import Files

pytestmark = on_sqlite


class Cut(NamedTuple):
    """What is there when the power goes: one call is settled, another one is being settled."""

    files: Files
    settled: int
    call: OpenAttempt
    result: AttemptResult


def cut_while_settling(
    shop: Platform, path: Path, patch: pytest.MonkeyPatch, meanwhile: Callable[[], None] = lambda: None
) -> Cut:
    """The files in the middle of the second call's settlement, of which pages have come into the log by then."""
    found: list[Any] = []

    def spilling(connection: Any, row: Any) -> Any:
        connection.execute(text("PRAGMA cache_size = 1"))  # its pages go into the log before it is committed
        run = write_event(connection, row)
        meanwhile()
        found.append(Files.taken(path))
        return run

    def settling(call: OpenAttempt, result: AttemptResult) -> None:
        with patch.context() as spilled:
            spilled.setattr(lib.ledger.ledger, "write_event", spilling)
            settle(call, result)
        found.extend((call, result))

    write_event, settle = lib.ledger.ledger.write_event, shop.ledger.settle
    with shop.run("shop") as run:
        ask(run.openai)
        with shop.database.read() as connection:
            settled = connection.execute(select(accounts.c.counted_nano)).scalar_one()
        shop.database.close()  # all of it is in the file, and flushed
        patch.setattr(shop.ledger, "settle", settling)
        ask(run.openai)
    files, call, result = found
    assert files.spilled()
    return Cut(files, settled, call, result)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the database is opened after the power cut."""
    return tmp_path / "again.db"


@pytest.fixture
def cut(shop: Platform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cut:
    return cut_while_settling(shop, tmp_path / "qodex.db", monkeypatch)


@contextmanager
def reopened(
    settings: Settings, files: Files, path: Path, clock: Callable[[], int] | None = None
) -> Iterator[Platform]:
    files.put(path)
    told = {"database_url": f"sqlite:///{path}"}
    with closing(Platform(settings.model_copy(update=told), clock=clock)) as platform:
        yield platform


def require_whole(platform: Platform, *, settled: int, reserved: int) -> None:
    """The file is sound, and the account and the roll-ups are what the rows say."""
    with platform.database.read() as connection:
        assert connection.execute(text("PRAGMA integrity_check")).scalar() == "ok"
        account = connection.execute(select(accounts)).one()
        assert (account.counted_nano, account.reserved_nano) == (settled, reserved)
        costs = connection.execute(select(func.sum(usage_events.c.cost_nano))).scalar()
        held = connection.execute(select(func.coalesce(func.sum(open_calls.c.ceiling_nano), 0))).scalar()
        assert (costs, held) == (settled, reserved)
    assert list(rollups.verify(platform.database)) == []


def require_settles_once(platform: Platform, cut: Cut) -> None:
    for _ in range(2):
        platform.ledger.settle(cut.call, cut.result)
    require_whole(platform, settled=2 * cut.settled, reserved=0)
    assert rows(platform, "status", "input_tokens") == [("ok", 12), ("ok", 12)]


def test_what_was_committed_is_there_and_nothing_of_what_was_not(
    cut: Cut, settings: Settings, path: Path
) -> None:
    with reopened(settings, cut.files, path) as platform:
        require_whole(platform, settled=cut.settled, reserved=cut.call.ceiling_nano or 0)
        room = platform.caps.headroom("shop").windows["5h"]
        assert room.used_nano + room.reserved_nano == cut.settled + (cut.call.ceiling_nano or 0)
        require_settles_once(platform, cut)


def test_a_call_that_no_worker_is_left_to_settle_counts_its_ceiling_once(
    cut: Cut, settings: Settings, path: Path
) -> None:
    later = cut.call.lease_until + 1
    with reopened(settings, cut.files, path, clock=lambda: later) as platform:
        assert [expire_calls(platform.database, cut.call.project_id) for _ in range(2)] == [1, 0]
        ceiling = cut.call.ceiling_nano or 0
        assert rows(platform, "status", "cost_nano") == [("ok", cut.settled), ("unknown", None)]
        with platform.database.read() as connection:
            account = connection.execute(select(accounts)).one()
        assert (account.counted_nano, account.unknown_nano) == (cut.settled + ceiling, ceiling)
        assert account.reserved_nano == 0


def test_the_log_may_end_anywhere_behind_its_last_flush(cut: Cut, settings: Settings, path: Path) -> None:
    """Also without the opening, which was committed and not flushed: settling reserves nothing and counts all."""
    reserved = set()
    for files in cut.files.cut_short():
        with reopened(settings, files, path) as platform:
            with platform.database.read() as connection:
                reserved.add(held := connection.execute(select(accounts.c.reserved_nano)).scalar_one())
            require_whole(platform, settled=cut.settled, reserved=held)
            require_settles_once(platform, cut)
    assert reserved == {0, cut.call.ceiling_nano}


def test_a_checkpoint_may_have_come_to_any_page_and_written_half_of_it(
    cut: Cut, settings: Settings, path: Path
) -> None:
    for files in cut.files.half_checkpointed():
        with reopened(settings, files, path) as platform:
            require_whole(platform, settled=cut.settled, reserved=cut.call.ceiling_nano or 0)
            require_settles_once(platform, cut)


def test_a_checkpoint_while_a_transaction_has_spilled_takes_nothing_of_it(
    shop: Platform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: Settings, path: Path
) -> None:
    original = tmp_path / "qodex.db"

    def checkpoint() -> None:
        with closing(sqlite3.connect(original)) as other:
            _busy, _pages, copied = other.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            assert copied > 0

    cut = cut_while_settling(shop, original, monkeypatch, checkpoint)
    with reopened(settings, cut.files, path) as platform:
        require_whole(platform, settled=cut.settled, reserved=cut.call.ceiling_nano or 0)
        require_settles_once(platform, cut)
