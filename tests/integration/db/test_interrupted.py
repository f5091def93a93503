"""An exception from outside between any two lines of a block on the database: afterwards all of it is free.

A signal handler that raises (Celery's time limit, pytest-timeout, Ctrl-C) can come anywhere. Here it comes at each
line that a block runs, one after the other: ours, SQLAlchemy's and the driver's, and the ends of ``with`` themselves.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from itertools import cycle
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from sqlalchemy import text

from lib.db import Database
from lib.db.blocks.limits import Limits
from lib.db.raw_execute import raw_execute
from tests.interruptions import apart
from tests.whole import whole_or

ROOT = Path(__file__).resolve().parents[3]
ADD = text("INSERT INTO notes (who) VALUES ('inside')")
COUNT = text("SELECT count(*) FROM notes")

_WRITER = """
import sys
from sqlalchemy import text
from lib.db import Database
database = Database(sys.argv[1])
print("ready", flush=True)
for _ in sys.stdin:
    with database.write() as connection:
        connection.execute(text("INSERT INTO notes (who) VALUES ('other')"))
    print("written", flush=True)
"""


class TimeLimit(Exception):
    """As Celery's SoftTimeLimitExceeded: an ordinary exception that comes anywhere."""


# They take turns, or each is raised at every line.
PROBLEMS: list[Sequence[type[BaseException]]] = whole_or(
    [[TimeLimit, KeyboardInterrupt]], [[TimeLimit], [KeyboardInterrupt]]
)
_NOTE = """CREATE OR REPLACE FUNCTION note(told jsonb) RETURNS jsonb LANGUAGE sql AS $$
INSERT INTO notes (who) VALUES ('a call') RETURNING to_jsonb(id) $$"""


class Interrupter:
    """Raises at one line of all those that an act runs."""

    def __init__(self, kind: type[BaseException], at: int) -> None:
        self.kind, self.left = kind, at
        self.where = ""

    def __call__(self, frame: FrameType, event: str, _: object) -> Any:
        if event == "line":
            self.left -= 1
            if self.left == 0:
                self.where = f"{frame.f_code.co_filename}:{frame.f_lineno}"
                sys.settrace(None)
                raise self.kind
        return self


def interrupted(
    act: Callable[[], object], kind: type[BaseException], at: int, then: Callable[[], object]
) -> str | None:
    """Run it with an exception at its n-th line; which line that was, None where it has fewer.

    What has to work ``then`` works while the exception is handled already: its traceback holds frames of the act.
    """
    interrupter = Interrupter(kind, at)
    try:
        sys.settrace(interrupter)
        apart(act)
    except kind:
        sys.settrace(None)
        then()
    finally:
        sys.settrace(None)
    if interrupter.where:
        then()
    return interrupter.where or None


@pytest.fixture
def notes(database_url: str, database_kind: str) -> Iterator[Database]:
    database = Database(database_url, limits=Limits(pool=2, seconds=20))
    serial = "integer PRIMARY KEY" if database_kind == "sqlite" else "serial PRIMARY KEY"
    with database.write() as connection:
        connection.execute(text(f"CREATE TABLE notes (id {serial}, who text)"))
    yield database
    database.close()


@pytest.fixture
def other(database_url: str, notes: Database) -> Iterator[Callable[[], None]]:
    """Writes in another process."""
    process = subprocess.Popen(
        [sys.executable, "-c", _WRITER, database_url],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin
    assert process.stdout
    assert process.stdout.readline() == "ready\n"

    def write() -> None:
        assert process.stdin
        assert process.stdout
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout.readline() == "written\n"

    yield write
    process.stdin.close()
    assert process.wait() == 0
    process.stdout.close()


def writing(database: Database) -> Callable[[], None]:
    def write() -> None:
        with database.write(durable=False) as connection:
            connection.execute(ADD)
            raw_execute(connection, ADD, {})

    return write


def reading(database: Database) -> Callable[[], None]:
    def read() -> None:
        with database.read() as connection:
            connection.execute(COUNT).scalar_one()

    return read


def looking(database: Database) -> Callable[[], None]:
    return lambda: database.fast_read(COUNT, {}) and None


def calling(database: Database) -> Callable[[], None]:
    if database.is_sqlite:
        pytest.skip("SQLite has no functions")
    with database.write() as connection:
        connection.exec_driver_sql(_NOTE)
    return lambda: database.call_function("note", {}) and None


def in_a_thread(act: Callable[[], None]) -> None:
    failed: list[BaseException] = []

    def run() -> None:
        try:
            act()
        except BaseException as problem:  # noqa: BLE001 - the test shows it
            failed.append(problem)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert failed == []


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.slow
@pytest.mark.parametrize("problems", PROBLEMS)
@pytest.mark.parametrize("kind", [writing, reading, looking, calling])
def test_an_exception_at_any_line_leaves_no_lock_no_turn_and_no_connection_taken(
    notes: Database,
    other: Callable[[], None],
    kind: Callable[[Database], Callable[[], None]],
    problems: Sequence[type[BaseException]],
) -> None:
    def works() -> None:
        assert notes.in_use == 0
        writing(notes)()
        in_a_thread(writing(notes))
        other()

    act, at = kind(notes), 0
    for _ in range(3):
        act()  # what is done once for the life of the process
    for problem in cycle(problems):
        at += 1
        if not interrupted(act, problem, at, works):
            break
    works()
    assert at > 50
