"""SIGTERM in a worker: the ``with`` blocks of its runs end as they do with Ctrl-C."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import NoReturn


def end_on_sigterm() -> None:
    """Have SIGTERM raise SystemExit in the main thread, where the process has no handler of its own.

    Python's default is to die on the spot: what was reserved would stay reserved until its lease runs out.
    """
    in_main_thread = threading.current_thread() is threading.main_thread()
    if in_main_thread and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _exit)


def _exit(number: int, _: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)
