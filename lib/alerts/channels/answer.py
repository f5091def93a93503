"""What became of sending one message."""

from __future__ import annotations

from dataclasses import dataclass

DEADLINE_SECONDS = 10.0
"""How long sending one message may take, whatever the other side does."""
LONGEST = 200


@dataclass(frozen=True)
class Answer:
    """``said`` is short, safe to show, and holds neither an address nor a secret."""

    ok: bool
    said: str
    gone: bool = False
    """The other side will never take messages there again: it is no use to try."""
    retry_after: float | None = None
    """Seconds that the other side asks to wait."""
