"""Workers of earlier schemas: programs that send the statements which those versions send for a call, and nothing else.

``old_calls.json`` holds them as they were recorded from the real code of each version (tests/record_calls.py), on
PostgreSQL; on SQLite they are the same but for casts, row locks and an operator. ``python -m tests.old_calls URL SCHEMA PROJECT RUN FOLDER`` makes calls until
``FOLDER/stop`` is there. ``FOLDER/RUN`` gets the id of each call between its opening and its settling: what the
provider has seen.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import sqlite3
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import dict_row

WAIT_SECONDS = 10
"""The limit of each statement and lock on PostgreSQL: a worker that has to wait for longer fails."""
_HOUR = 3_600_000_000
_RECORDED = json.loads(Path(__file__).with_suffix(".json").read_text())
SCHEMAS = tuple(_RECORDED["schemas"])


class _PostgreSQL:
    def __init__(self, url: str, seconds: int) -> None:
        self._connection: Any = psycopg.connect(
            url.replace("+psycopg", ""),
            row_factory=dict_row,
            options=f"-c statement_timeout={seconds}s -c lock_timeout={seconds}s",
        )

    def transaction(self) -> Any:
        return self._connection.transaction()

    def close(self) -> None:
        self._connection.close()

    def now(self) -> int:
        clock = "SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS bigint) AS now"
        return int(self._connection.execute(clock).fetchone()["now"])

    def run(self, statement: str, values: dict[str, Any]) -> dict[str, Any]:
        cursor = self._connection.execute(statement, values)
        return cursor.fetchone() or {} if cursor.description else {}


class _SQLite:
    def __init__(self, url: str, seconds: int) -> None:
        path = url.removeprefix("sqlite:///")
        self._connection = sqlite3.connect(path, timeout=seconds, isolation_level=None)
        self._connection.row_factory = sqlite3.Row
        self._connection.execute("PRAGMA foreign_keys=ON")
        self._queue = os.open(f"{path}-queue", os.O_RDWR | os.O_CREAT, 0o600)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        fcntl.flock(self._queue, fcntl.LOCK_EX)  # the turn of writers, as every version takes it
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        finally:
            fcntl.flock(self._queue, fcntl.LOCK_UN)

    def close(self) -> None:
        self._connection.close()
        os.close(self._queue)

    def now(self) -> int:
        return time.time_ns() // 1000

    def run(self, statement: str, values: dict[str, Any]) -> dict[str, Any]:
        statement = re.sub(r"%\((\w+)\)s(::\w+)?", r":\1", statement).replace(" FOR UPDATE OF accounts", "")
        statement = statement.replace("IS DISTINCT FROM", "IS NOT")
        rows = self._connection.execute(statement, values).fetchall()
        return dict(rows[0]) if rows else {}


class OldWorker:
    """One run of a project, as a version of that schema carries it out."""

    def __init__(self, url: str, schema: str, project: str, run: str, *, seconds: int = WAIT_SECONDS) -> None:
        self._database: Any = (_SQLite if url.startswith("sqlite") else _PostgreSQL)(url, seconds)
        self._statements = {
            name: [
                (_RECORDED["statements"][number], _RECORDED["own"].get(str(number), {})) for number in numbers
            ]
            for name, numbers in _RECORDED["schemas"][schema].items()
        }
        self._values = _RECORDED["values"] | {"project": project, "project_id": project}
        self._values |= {"run": run, "run_id": run}

    def call(self, seen: Any) -> None:
        """Open a call, let the provider see it, settle it."""
        event = str(uuid.uuid4())
        values = self._values | {"event": event, "event_id": event, "upstream_request_id": f"req_{event}"}
        self._send("opening", values)
        print(event, file=seen, flush=True)
        self._send("settling", values)

    def close(self) -> None:
        self._database.close()

    def _send(self, part: str, values: dict[str, Any]) -> None:
        with self._database.transaction():
            values = values | _moments(self._database.now())
            for statement, own in self._statements[part]:
                found = self._database.run(statement, values | own)
                if "last_settled_at" in found and part == "settling":
                    values |= {
                        "sequence": found["sequence"],
                        "counted_after_nano": found["counted_nano"],
                        "unknown_after_nano": found["unknown_nano"],
                        **_moments(found["last_settled_at"]),
                    }


def _moments(now: int) -> dict[str, int]:
    return {
        "now": now,
        "opened_at": now,
        "occurred_at": now,
        "lease_until": now + _HOUR,
        "cutoff_5h": now - 5 * _HOUR,
        "cutoff_7d": now - 7 * 24 * _HOUR,
        "hour_at": now - now % _HOUR,
        "day_at": now - now % (24 * _HOUR),
    }


_OF_A_CALL = ["project", "project_id", "run", "run_id", "event", "event_id", "upstream_request_id"]
_RETURNED = ["sequence", "counted_after_nano", "unknown_after_nano"]
GIVEN = frozenset((*_OF_A_CALL, *_RETURNED, *_moments(0)))
"""The values that a worker does not take from the recording."""


def main(url: str, schema: str, project: str, run: str, folder: str) -> None:
    worker = OldWorker(url, schema, project, run)
    with (Path(folder) / run).open("a") as seen:
        while not (Path(folder) / "stop").exists():
            worker.call(seen)


if __name__ == "__main__":
    main(*sys.argv[1:])
