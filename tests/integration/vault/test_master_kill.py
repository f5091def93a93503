"""A rotation killed at any point leaves every key readable, and can be run again (promise 7)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest
from sqlalchemy import event

from lib.vault.master_keys import keyfile
from tests.masters import ALL, OPERATOR, SLUGS, Server, key_of

ROOT = Path(__file__).resolve().parents[3]
pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")


def killed(server: Server, prepare: Callable[[], object]) -> bool:
    """Rotate in a child of which ``prepare`` has told when to die; whether it was killed."""
    child = os.fork()
    if not child:
        prepare()
        server.masters.rotate(actor=OPERATOR)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def check(server: Server, database_url: str) -> None:
    """Every key is readable, here and after a restart; the log tells exactly what was re-sealed."""
    restarted = Server(database_url, server.path)
    assert server.opened() == restarted.opened() == ALL
    assert [server.vault.describe(slug).status for slug in SLUGS] == ["working"] * len(SLUGS)
    told = {slug: what["master_key_id"] for _, _, slug, what in server.log("key:resealed")}
    assert told.items() <= server.sealed_with().items()
    restarted.database.close()


def test_killed_after_any_statement_every_key_is_readable_and_the_next_run_ends_the_work(
    server, database_url
):
    for statements in count(1):
        made = server.masters.create(actor=OPERATOR)

        def prepare(last: int = statements) -> None:
            done = count(1)

            @event.listens_for(server.database.engine, "after_cursor_execute")
            def _executed(*_: object) -> None:
                if next(done) == last:
                    die()

        was_killed = killed(server, prepare)
        check(server, database_url)
        assert server.masters.rotate(actor=OPERATOR).left == []
        check(server, database_url)
        assert set(server.sealed_with().values()) == {made.id}
        if not was_killed:
            break
    assert statements > 4 * len(SLUGS)


@pytest.mark.parametrize("database_kind", ["sqlite"])
@pytest.mark.parametrize("place", ["fsync", "rename", "after"])
def test_killed_while_the_file_is_written_it_is_the_old_one_or_the_new_one_whole(server, database_url, place):
    server.masters.create(actor=OPERATOR)
    before = server.path.read_text()

    def prepare() -> None:
        if place == "fsync":
            os.fsync = lambda _descriptor: die()
        elif place == "rename":
            Path.replace = lambda *_: die()  # type: ignore[assignment,method-assign,misc]
        else:
            keyfile._keep_entry = lambda _path: die()

    assert killed(server, prepare)
    assert (server.path.read_text() == before) is (place != "after")
    check(server, database_url)
    assert server.masters.rotate(actor=OPERATOR).resealed == len(SLUGS)
    check(server, database_url)
    assert list(server.path.parent.iterdir()) == [server.path]


def test_the_command_killed_in_mid_work_can_be_run_again(server, database_url):
    slugs = [f"project-{number:02}" for number in range(60)]
    for slug in slugs:
        server.vault.projects.add(slug, actor=OPERATOR)
        server.save(slug, key_of(slug))
    made = server.masters.create(actor=OPERATOR)
    words = [sys.executable, "-m", "lib", "master", "rotate", "--yes"]
    environment = os.environ | {"DATABASE_URL": database_url, "QODEX_MASTER_KEY_FILE": str(server.path)}
    command = subprocess.Popen(words, cwd=ROOT, env=environment, stderr=subprocess.PIPE)
    while made.id not in server.sealed_with().values():
        assert command.poll() is None, command.communicate()
    command.send_signal(signal.SIGKILL)
    command.communicate()
    check(server, database_url)
    assert {slug: server.vault.opened(slug) for slug in slugs} == {slug: key_of(slug) for slug in slugs}
    again = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    assert set(server.sealed_with().values()) == {made.id}
    assert {slug: server.vault.opened(slug) for slug in slugs} == {slug: key_of(slug) for slug in slugs}
    assert made.id in again.stderr
