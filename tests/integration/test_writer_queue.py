"""The queue of SQLite's writers: nobody takes a second turn while somebody else waits for a first one."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from lib.db.queue import WriterQueue

ROOT = Path(__file__).resolve().parents[2]
LOCKS = Path("/proc/locks")

_WRITER = """
import sys
from pathlib import Path
from lib.db.queue import WriterQueue
with WriterQueue(Path(sys.argv[1])).turn(), open(sys.argv[2], "a") as notes:
    notes.write("other ")
"""


def wait_until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def somebody_waits_for(lock: Path) -> bool:
    """As the kernel tells it: ``1: -> FLOCK ADVISORY WRITE pid major:minor:inode 0 EOF``."""
    inode = f":{lock.stat().st_ino}"
    return any("->" in line and line.split()[6].endswith(inode) for line in LOCKS.read_text().splitlines())


@pytest.mark.skipif(not LOCKS.exists(), reason="only Linux tells who waits for a lock")
def test_a_process_that_waits_goes_before_one_that_just_had_its_turn(tmp_path):
    database, notes = tmp_path / "a.db", tmp_path / "notes"
    queue = WriterQueue(database)
    with queue.turn():
        other = subprocess.Popen([sys.executable, "-c", _WRITER, str(database), str(notes)], cwd=ROOT)
        wait_until(lambda: somebody_waits_for(tmp_path / "a.db-queue"))
    with queue.turn(), notes.open("a") as file:
        file.write("mine ")
    assert other.wait() == 0
    assert notes.read_text() == "other mine "


def test_a_thread_that_waits_goes_before_one_that_just_had_its_turn(tmp_path):
    queue, notes = WriterQueue(tmp_path / "a.db"), list[str]()

    def write() -> None:
        with queue.turn():
            notes.append("other")

    other = threading.Thread(target=write)
    with queue.turn():
        other.start()
        wait_until(queue._locks[0].locked)  # the one who is first in the queue holds it
    with queue.turn():
        notes.append("mine")
    other.join()
    assert notes == ["other", "mine"]


def test_a_turn_whose_holder_was_killed_is_free_again(tmp_path):
    code = _WRITER.replace('notes.write("other ")', "import os; os.kill(os.getpid(), 9)")
    arguments = [str(tmp_path / "a.db"), os.devnull]
    assert subprocess.run([sys.executable, "-c", code, *arguments], check=False, cwd=ROOT).returncode == -9
    with WriterQueue(tmp_path / "a.db").turn():
        pass


def test_a_turn_inside_a_turn_is_an_error_and_no_endless_wait(tmp_path):
    queue = WriterQueue(tmp_path / "a.db")
    with queue.turn(), pytest.raises(RuntimeError, match="wait for itself"), queue.turn():
        pass
    with queue.turn():
        pass
