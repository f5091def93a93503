"""Record what this version sends to the database for a call, before a migration makes it a version of an earlier schema.

``python -m tests.record_calls`` adds it to ``old_calls.json`` (tests/old_calls.py): the statements of one settled call on
the platform key, in a run that goes on, on PostgreSQL.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from lib.db.migrate import HEAD
from lib.platform import Platform
from lib.secret import Secret
from lib.settings import Settings
from tests.calls import by_statements
from tests.old_calls import GIVEN
from tests.services import running_postgres
from tests.upstream import PLATFORM_KEY, ScriptedUpstream

_FILE = Path(__file__).with_name("old_calls.json")
_ROOM = 10**15
_NOT_OF_A_CALL = ("BEGIN", "COMMIT", "SELECT CAST(extract(epoch")
_VARIES = {"latency_ms", "price_table"}

Sent = list[tuple[str, dict[str, Any]]]


class Recorder:
    """Keeps what is sent while a call is being opened, and while it is being settled."""

    def __init__(self) -> None:
        self.sent: dict[str, Sent] = {"opening": [], "settling": []}
        self._part: str | None = None

    @contextmanager
    def recording(self, platform: Platform) -> Iterator[None]:
        """Record the calls of the block."""
        execute = psycopg.Cursor.execute

        def recorded(cursor: Any, query: Any, params: Any = None, **more: Any) -> Any:
            statement = " ".join(str(query).split())
            if self._part and not statement.startswith(_NOT_OF_A_CALL):
                self.sent[self._part].append((statement, dict(params or {})))
            return execute(cursor, query, params, **more)

        with pytest.MonkeyPatch.context() as patch:
            by_statements(
                patch
            )  # a call in one trip is the functions' business, which have a name for each meaning
            patch.setattr(psycopg.Cursor, "execute", recorded)
            patch.setattr(platform.ledger, "open", self._in("opening", platform.ledger.open))
            patch.setattr(platform.ledger, "settle", self._in("settling", platform.ledger.settle))
            yield

    def _in(self, part: str, act: Callable[..., Any]) -> Callable[..., Any]:
        def acting(*told: Any, **more: Any) -> Any:
            self._part = part
            try:
                return act(*told, **more)
            finally:
                self._part = None

        return acting


def record() -> dict[str, Sent]:
    """The statements of one call, and the values that it sent with them."""
    with running_postgres() as server, ScriptedUpstream() as upstream:
        settings = Settings(
            database_url=server.url(server.create()),
            master_keys=Secret(base64.b64encode(os.urandom(32)).decode()),
            openai_api_key=Secret(PLATFORM_KEY),
            openai_base_url=upstream.base_url,
        )
        recorder = Recorder()
        with closing(Platform(settings)) as platform:
            actor = platform.actor
            platform.projects.add("shop", actor=actor)
            caps = {"cap_5h_nano": _ROOM, "cap_7d_nano": _ROOM}
            platform.plans.set_caps("shop", **caps, reason="a test", ends_at=None, actor=actor)
            with platform.run("shop", kind="scan") as run:
                _call(run)  # what is done at a project's first call only
                with recorder.recording(platform):
                    _call(run)
        return recorder.sent


def _call(run: Any) -> None:
    run.openai.responses.create(model="gpt-5-mini", input="Hi")


def add(kept: dict[str, Any], schema: str, sent: dict[str, Sent]) -> None:
    """Add a schema's statements to what is kept of the others; values of its own where another one uses the name too."""
    numbers: dict[str, list[int]] = {}
    for part, statements in sent.items():
        for statement, values in statements:
            if statement not in kept["statements"]:
                kept["statements"].append(statement)
            number = kept["statements"].index(statement)
            numbers.setdefault(part, []).append(number)
            for name in sorted(values.keys() - GIVEN - _VARIES):
                if kept["values"].setdefault(name, values[name]) != values[name]:
                    kept.setdefault("own", {}).setdefault(str(number), {})[name] = values[name]
    kept["schemas"][schema] = numbers
    kept["values"] = dict(sorted(kept["values"].items()))


def main() -> None:
    """Record this version."""
    kept = json.loads(_FILE.read_text())
    add(kept, HEAD, record())
    _FILE.write_text(json.dumps(kept, indent=1) + "\n")


if __name__ == "__main__":
    main()
