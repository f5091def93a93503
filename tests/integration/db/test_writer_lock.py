"""The queue of SQLite's writers: nobody takes a second turn while somebody else waits for a first one."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest
from sqlalchemy import text

from lib.db import Database
from lib.db.blocks.line import WaitedTooLong
from lib.db.blocks.writer_lock import WriterLock
from tests.services import wait_until

ROOT = Path(__file__).resolve().parents[3]
LOCKS = Path("/proc/locks")

_OTHER = """
import sys
from sqlalchemy import text
from lib.db import Database
database = Database(sys.argv[1])
print("open", flush=True)
for _ in sys.stdin:
    with database.write() as connection:
        connection.execute(text("INSERT INTO notes (who) VALUES ('other')"))
"""
_KILLED = """
import os, sys
from pathlib import Path
from lib.db.blocks.writer_lock import WriterLock
turn = WriterLock(Path(sys.argv[1])).enter(60)
os.kill(os.getpid(), 9)
"""


def somebody_waits_for(lock: Path) -> bool:
    """As the kernel tells it: ``1: -> FLOCK ADVISORY WRITE pid major:minor:inode 0 EOF``."""
    inode = f":{lock.stat().st_ino}"
    return any("->" in line and line.split()[6].endswith(inode) for line in LOCKS.read_text().splitlines())


@pytest.mark.skipif(not LOCKS.exists(), reason="only Linux tells who waits for a lock")
def test_a_process_that_waits_writes_before_one_that_just_wrote(tmp_path):
    url = f"sqlite:///{tmp_path / 'a.db'}"
    database = Database(url)
    with database.write() as connection:
        connection.execute(text("CREATE TABLE notes (id integer PRIMARY KEY, who text)"))
    other = subprocess.Popen(
        [sys.executable, "-c", _OTHER, url], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert other.stdout.readline() == b"open\n"  # opening takes a turn of its own
    for _ in range(50):
        with database.write():
            other.stdin.write(b"\n")
            other.stdin.flush()
            assert wait_until(lambda: somebody_waits_for(tmp_path / "a.db-queue"), 600)
        with database.write() as connection:
            connection.execute(text("INSERT INTO notes (who) VALUES ('mine')"))
    other.stdin.close()
    assert other.wait() == 0
    other.stdout.close()
    with database.read() as connection:
        found = connection.execute(text("SELECT who FROM notes ORDER BY id")).scalars().all()
    assert found == ["other", "mine"] * 50
    database.close()


def test_a_thread_that_waits_goes_before_one_that_just_had_its_turn(tmp_path):
    lock, notes = WriterLock(tmp_path / "a.db"), list[str]()

    def write() -> None:
        turn = lock.enter(60)
        notes.append("other")
        turn.leave()

    other, turn = threading.Thread(target=write), lock.enter(60)
    other.start()
    assert wait_until(lambda: len(lock._line.living()) == 2, 600)
    turn.leave()
    turn = lock.enter(60)
    notes.append("mine")
    turn.leave()
    other.join()
    assert notes == ["other", "mine"]


def test_a_turn_whose_holder_was_killed_is_free_again(tmp_path):
    command = [sys.executable, "-c", _KILLED, str(tmp_path / "a.db")]
    assert subprocess.run(command, check=False, cwd=ROOT).returncode == -9
    WriterLock(tmp_path / "a.db").enter(60).leave()


def test_a_turn_inside_a_turn_is_an_error_and_no_endless_wait(tmp_path):
    lock = WriterLock(tmp_path / "a.db")
    turn = lock.enter(60)
    with pytest.raises(RuntimeError, match="wait for itself"):
        lock.enter(60)
    turn.leave()
    lock.enter(60).leave()


def test_a_turn_that_does_not_come_in_time_is_given_up_and_comes_later(tmp_path):
    """Other processes are other files open on this one, so another lock object stands for one."""
    lock, other = WriterLock(tmp_path / "a.db"), WriterLock(tmp_path / "a.db")
    turn = other.enter(60)
    with pytest.raises(WaitedTooLong):
        lock.enter(0.01)
    turn.leave()
    lock.enter(60).leave()
    other.enter(60).leave()


def test_a_turn_that_is_only_dropped_is_free_for_threads_and_processes(tmp_path):
    lock, other = WriterLock(tmp_path / "a.db"), WriterLock(tmp_path / "a.db")
    turn = lock.enter(60)
    del turn
    other.enter(60).leave()
    lock.enter(60).leave()
