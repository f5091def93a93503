"""Reading ahead: a second thread brings the next item while this one works on the last."""

from __future__ import annotations

from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TypeVar

T = TypeVar("T")


def prefetch(items: Generator[T]) -> Generator[T]:
    """Take each item from ``items`` one ahead of the caller, in a second thread; none of them is None.

    Errors come where they would have come. Only one thread at a time is in ``items``. When this generator is
    closed none is, and ``items`` is closed, too.
    """
    with closing(items), ThreadPoolExecutor(1, thread_name_prefix="read ahead") as other:
        coming = other.submit(next, items, None)
        while (item := coming.result()) is not None:
            coming = other.submit(next, items, None)
            yield item
