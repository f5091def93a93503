"""Rate limit on rejected key checks (prevents use as an oracle for stolen keys).

Counted from the audit log: what is limited is what is logged. Accepted keys and outages do not count. Checks
that this process is making right now count as refused until they are known, or many at once would all pass.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from lib.access.audit import Tag, count_recent
from lib.access.projects import find
from lib.access.roles import Actor
from lib.clock import MINUTE, Micros, from_micros
from lib.db import Database
from lib.errors import TooManyChecks

WINDOW: Micros = 10 * MINUTE
PER_PERSON = 20
PER_PROJECT = 40

_running: Counter[tuple[Database, str, str]] = Counter()
_lock = threading.Lock()


@contextmanager
def check_rate_limit(database: Database, slug: str, actor: Actor) -> Iterator[None]:
    """Around a check and the note of what came of it.

    Raises:
        TooManyChecks: the person or the project has no refused keys left in this window.
    """
    with database.read() as connection:
        project_id = find(connection, slug).id
    mine, ours = (database, "person", actor.name), (database, "project", project_id)
    # Counted in before looking, and the log is looked at last: of many at once none sees too few.
    with _lock:
        _running.update((mine, ours))
        running = {"you": _running[mine] - 1, "this project": _running[ours] - 1}
    try:
        _require_left(database, project_id, actor, running)
        yield
    finally:
        with _lock:
            _running.subtract((mine, ours))
            for one in (mine, ours):
                if not _running[one]:
                    del _running[one]


def _require_left(database: Database, project_id: str, actor: Actor, running: dict[str, int]) -> None:
    with database.read() as connection:
        now = database.now(connection)
        tags = [Tag.KEY_REFUSED]
        refused = {
            "you": count_recent(connection, now - WINDOW, tags, actor=actor.name),
            "this project": count_recent(connection, now - WINDOW, tags, project_id=project_id),
        }
    for whose, limit in (("you", PER_PERSON), ("this project", PER_PROJECT)):
        count, oldest = refused[whose]
        if count + running[whose] < limit:
            continue
        retry_at = from_micros(oldest + WINDOW if oldest is not None and count >= limit else now + MINUTE)
        raise TooManyChecks(
            f"{count} keys from {whose} were refused in the last 10 minutes"
            f"{f', and {running[whose]} more are being checked' if running[whose] else ''}, "
            f"so no other is tried. Try again at {retry_at:%H:%M:%S} UTC.",
            retry_at,
        )
