"""Reading ahead: a second thread brings the next item while this one works on the last."""

from __future__ import annotations

from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TypeVar

T = TypeVar("T")


def ahead(items: Generator[T]) -> Generator[T]:
    """The same items; errors come where they would have come. None of them is None.

    Only one thread at a time is in ``items``. When this generator is closed none is, and ``items`` is closed, too.
    """
    with closing(items), ThreadPoolExecutor(1, thread_name_prefix="read ahead") as other:
        coming = other.submit(next, items, None)
        while (item := coming.result()) is not None:
            coming = other.submit(next, items, None)
            yield item
