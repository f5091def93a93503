"""A backup that is taken while workers call, by the commands of docs/operators.md, and what is made of it again."""

from __future__ import annotations

import sqlite3
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import unquote

import pytest
from sqlalchemy import select, text

from lib.clock import HOUR
from lib.db.tables import accounts, open_calls, runs, usage_events
from lib.errors import CapExceeded
from lib.platform import Platform
from lib.secret import Secret
from lib.settings import Settings
from lib.usage import rollups
from lib.usage.clock_leaps import misdated
from lib.usage.expiry import sweep
from tests.calls import SAY
from tests.services import PostgresServer, postgres_programs, wait_until
from tests.upstream import GOOD_KEY, PLATFORM_KEY, ScriptedUpstream


@pytest.fixture
def working(settings: Settings) -> Iterator[Platform]:
    """A project on the platform's money, and one with its own key."""
    platform = Platform(settings.model_copy(update={"openai_api_key": Secret(PLATFORM_KEY)}))
    for slug in ("shop", "own"):
        platform.projects.add(slug, actor=platform.actor)
    platform.keys.save("own", GOOD_KEY, actor=platform.actor, expected_version=0)
    cap(platform, 10**12)
    yield platform
    platform.close()


def cap(platform: Platform, nano: int) -> None:
    caps = {"cap_5h_nano": nano, "cap_7d_nano": nano}
    platform.plans.set_caps("shop", **caps, reason="a test", ends_at=None, actor=platform.actor)


def call(platform: Platform, slug: str) -> None:
    with platform.run(slug) as run:
        run.openai.responses.create(model="gpt-5-mini", input="Hi")


@contextmanager
def under_load(platform: Platform, upstream: ScriptedUpstream) -> Iterator[None]:
    """Calls of both projects before, during and after the block."""
    stop, failed = threading.Event(), list[BaseException]()

    def work(slug: str) -> None:
        try:
            while not stop.is_set():
                call(platform, slug)
        except BaseException as problem:  # noqa: BLE001 - the test shows it
            failed.append(problem)

    threads = [threading.Thread(target=work, args=(slug,)) for slug in ("shop", "shop", "own")]
    for thread in threads:
        thread.start()
    many = len(upstream.requests) + 20
    assert wait_until(lambda: len(upstream.requests) > many or bool(failed), 600)
    yield
    more = len(upstream.requests) + 5
    assert wait_until(lambda: len(upstream.requests) > more or bool(failed), 600)
    stop.set()
    for thread in threads:
        thread.join()
    assert failed == []


Restore = Callable[[], str]


def back_up(url: str, folder: Path, server: Callable[[], PostgresServer]) -> Restore:
    """Take the backup; gives what makes a new database of it, and that one's URL."""
    if url.startswith("sqlite"):
        return _back_up_file(Path(url.removeprefix("sqlite:///")), folder)
    return _back_up_server(url, folder, server())


def _back_up_file(file: Path, folder: Path) -> Restore:
    copy = folder / "copy.db"
    # As the command .backup of the sqlite3 program does.
    with closing(sqlite3.connect(file)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)

    def restore() -> str:
        copy.chmod(0o600)
        return f"sqlite:///{copy}"

    return restore


def _back_up_server(url: str, folder: Path, server: PostgresServer) -> Restore:
    dump, programs = folder / "qodex.dump", postgres_programs()
    address = unquote(url.replace("+psycopg", ""))
    subprocess.run([programs / "pg_dump", "--format=custom", f"--file={dump}", address], check=True)

    def restore() -> str:
        restored = server.url(server.create())
        words = [
            "--single-transaction",
            "--no-owner",
            f"--dbname={unquote(restored.replace('+psycopg', ''))}",
        ]
        subprocess.run([programs / "pg_restore", *words, dump], check=True)
        return restored

    return restore


def test_what_was_backed_up_under_load_is_whole_when_it_is_restored(
    working: Platform, upstream: ScriptedUpstream, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    with working.run("shop") as run:
        stream = run.openai.chat.completions.create(model="gpt-5-mini", messages=SAY, stream=True)
        next(stream)  # this call is open in the backup, whatever else is
        with under_load(working, upstream):
            restore = back_up(
                working.settings.database_url, tmp_path, lambda: request.getfixturevalue("postgres")
            )
        stream.close()
    settings = working.settings.model_copy(update={"database_url": restore()})
    with closing(Platform(settings)) as restored:
        assert_is_whole(restored)
    with closing(Platform(settings, clock=lambda: _later(working))) as later:
        assert_open_calls_are_unknown(later)
        assert_caps_hold(later)


def _later(working: Platform) -> int:
    """When every lease of the backup has run out."""
    with working.database.read() as connection:
        return working.database.now(connection) + HOUR


def assert_is_whole(restored: Platform) -> None:
    assert list(rollups.verify(restored.database)) == []
    assert list(misdated(restored.database)) == []
    assert restored.keys.resolve("own").secret.reveal() == GOOD_KEY
    status = restored.masters.status(actor=restored.actor)
    assert (status.locked, status.altered) == ([], [])
    with restored.database.read() as connection:
        assert connection.execute(select(open_calls)).first() is not None
    for slug in ("shop", "own"):
        call(restored, slug)


def assert_open_calls_are_unknown(later: Platform) -> None:
    """They count at their ceiling; nothing stays reserved, and their runs are lost."""
    with later.database.read() as connection:
        opened = set(connection.execute(select(open_calls.c.event_id)).scalars())
        running = set(connection.execute(select(runs.c.run_id).where(runs.c.status == "running")).scalars())
    sweep(later.database)
    with later.database.read() as connection:
        unknown = select(usage_events.c.event_id).where(usage_events.c.status == "unknown")
        assert opened <= set(connection.execute(unknown).scalars())
        assert connection.execute(select(open_calls)).all() == []
        assert connection.execute(select(accounts.c.reserved_nano)).scalars().all() == [0, 0]
        ended = select(runs.c.run_id).where(runs.c.status == "lost")
        assert running <= set(connection.execute(ended).scalars())
        totals = text(
            "SELECT counted_nano, unknown_nano, (SELECT coalesce(sum(cost_nano), 0) FROM usage_events e"
            " WHERE e.project_id = a.project_id AND e.sequence IS NOT NULL) FROM accounts a"
        )
        for counted, at_ceiling, known in connection.execute(totals):
            assert counted - at_ceiling == known
    assert list(rollups.verify(later.database)) == []


def assert_caps_hold(later: Platform) -> None:
    """What has counted before the backup, and what was open then, takes room now."""
    used = later.caps.headroom("shop").windows["5h"].used_nano
    with later.database.read() as connection:
        assert used == max(connection.execute(select(accounts.c.counted_nano)).scalars())
    cap(later, used)
    with pytest.raises(CapExceeded):
        call(later, "shop")
    call(later, "own")
