"""The turn in the connection pool of the HTTP stack: one at a time, and free whatever ends it."""

from __future__ import annotations

import sys
import threading
from typing import Any

import httpx2
import pytest

from lib.llm import pool_lock
from lib.llm.http import inner_transport
from lib.llm.pool_lock import make_interruptible
from lib.settings import Settings
from tests.interruptions import apart


class Interrupted(Exception):
    """A signal handler's."""


@pytest.fixture
def pool() -> Any:
    transport = httpx2.HTTPTransport()
    make_interruptible(transport._pool)
    return transport._pool


def takes_a_turn(pool: Any) -> bool:
    """Whether another thread gets one."""

    def take() -> None:
        with pool._optional_thread_lock:
            took.append(True)

    took: list[bool] = []
    thread = threading.Thread(target=take, daemon=True)
    thread.start()
    thread.join(300)
    return took == [True]


def interrupt_at_line(pool: Any, number: int) -> bool:
    """Take a turn and give it back, with an exception at the n-th line of that; whether there is such a line."""
    left = number

    def trace(frame: Any, event: str, _: object) -> Any:
        nonlocal left
        if frame.f_code.co_filename not in {__file__, pool_lock.__file__}:
            return None  # a call-back of the collector, which may come at any line
        if event == "line":
            left -= 1
            if left == 0:
                raise Interrupted
        return trace

    def act() -> None:
        with pool._optional_thread_lock:
            pool.touched = True

    sys.settrace(trace)
    try:
        apart(act)
    except Interrupted:
        sys.settrace(None)
        assert takes_a_turn(pool)  # while it is handled, too
    finally:
        sys.settrace(None)
    return left <= 0


def test_a_turn_is_free_wherever_an_exception_comes_from_outside(pool):
    number = 1
    while interrupt_at_line(pool, number):
        assert takes_a_turn(pool)
        number += 1
    assert number > 10


def test_only_one_thread_has_the_turn(pool):
    inside, most, start = 0, 0, threading.Barrier(4)

    def work() -> None:
        nonlocal inside, most
        start.wait()
        for _ in range(200):
            with pool._optional_thread_lock:
                inside += 1
                most = max(most, inside)
                inside -= 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(300)
    assert most == 1


def test_a_finalizer_in_the_middle_of_a_turn_does_not_wait_for_its_own_thread(pool):
    with pool._optional_thread_lock, pool._optional_thread_lock:
        pass
    assert takes_a_turn(pool)


def test_each_pool_for_calls_takes_its_turns_so():
    pools = [
        inner_transport(Settings(https_proxy=proxy), "https://api.openai.com/v1")._pool
        for proxy in (None, "http://localhost:3128")
    ]
    assert all(not hasattr(pool._optional_thread_lock, "_lock") for pool in pools)
    assert all(
        "_optional_thread_lock" in vars(pool) for pool in pools
    )  # else httpcore2 names it otherwise by now
