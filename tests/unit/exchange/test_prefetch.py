"""What is read ahead comes as it would have come anyway, and nothing goes on when nobody wants more."""

from __future__ import annotations

import threading
from collections.abc import Generator

import pytest

from lib.exchange.prefetch import prefetch


def test_the_items_come_in_their_order() -> None:
    assert list(prefetch(number for number in range(100))) == list(range(100))


def test_an_error_comes_after_what_was_there_before_it() -> None:
    def items() -> Generator[int]:
        yield from (1, 2)
        raise ConnectionError("planted")

    found = prefetch(items())
    assert [next(found), next(found)] == [1, 2]
    with pytest.raises(ConnectionError, match="planted"):
        next(found)


def test_one_item_is_read_ahead_and_no_more() -> None:
    begun = [threading.Event() for _ in range(4)]

    def items() -> Generator[int]:
        for number, event in enumerate(begun):
            event.set()
            yield number

    found = prefetch(items())
    assert next(found) == 0
    assert begun[1].wait(300)
    assert not begun[2].is_set()
    found.close()
    assert not begun[2].is_set()


def test_when_it_is_closed_nothing_is_being_read() -> None:
    reading, go_on, done = threading.Event(), threading.Event(), threading.Event()

    def items() -> Generator[int]:
        yield 1
        reading.set()
        assert go_on.wait(300)
        done.set()
        yield 2

    found = prefetch(items())
    next(found)
    assert reading.wait(300)
    threading.Timer(0.01, go_on.set).start()
    found.close()
    assert done.is_set()


def test_what_it_reads_from_is_closed_with_it() -> None:
    closed = []

    def items() -> Generator[int]:
        try:
            yield from range(10)
        finally:
            closed.append(threading.current_thread().name)

    found = prefetch(items())
    next(found)
    found.close()
    assert len(closed) == 1
