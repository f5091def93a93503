"""How long the database is waited for, and how many connections a process may hold."""

from __future__ import annotations

from dataclasses import dataclass

POOL = 10
SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Limits:
    """What the operator allows.

    Args:
        pool: connections that this process may hold at once.
        seconds: how long a statement, a lock, a transaction without a statement, a free connection or the making
            of a new one may take.
    """

    pool: int = POOL
    seconds: float = SECONDS
