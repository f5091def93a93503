"""The queue of SQLite's writers: nobody takes a second turn while somebody else waits for a first one."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest
from sqlalchemy import text

from lib.db import Database
from lib.db.queue import WriterQueue
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
from lib.db.queue import WriterQueue
with WriterQueue(Path(sys.argv[1])).turn():
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
            assert wait_until(lambda: somebody_waits_for(tmp_path / "a.db-queue"), 60)
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
    queue, notes = WriterQueue(tmp_path / "a.db"), list[str]()

    def write() -> None:
        with queue.turn():
            notes.append("other")

    other = threading.Thread(target=write)
    with queue.turn():
        other.start()
        assert wait_until(queue._locks[0].locked, 60)  # the one who is first in the queue holds it
    with queue.turn():
        notes.append("mine")
    other.join()
    assert notes == ["other", "mine"]


def test_a_turn_whose_holder_was_killed_is_free_again(tmp_path):
    command = [sys.executable, "-c", _KILLED, str(tmp_path / "a.db")]
    assert subprocess.run(command, check=False, cwd=ROOT).returncode == -9
    with WriterQueue(tmp_path / "a.db").turn():
        pass


def test_a_turn_inside_a_turn_is_an_error_and_no_endless_wait(tmp_path):
    queue = WriterQueue(tmp_path / "a.db")
    with queue.turn(), pytest.raises(RuntimeError, match="wait for itself"), queue.turn():
        pass
    with queue.turn():
        pass
