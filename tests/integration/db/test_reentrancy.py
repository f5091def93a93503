"""A thread knows whether it is inside a transaction, however the transaction ends."""

from __future__ import annotations

import threading

import pytest
from sqlalchemy import select

from lib.db import Database
from lib.db.raw_execute import run_on_driver
from lib.db.reentrancy import in_transaction, started_by_runtime
from lib.db.tables import projects


@pytest.fixture
def database(database_url):
    database = Database(database_url)
    yield database
    database.close()


@pytest.mark.parametrize("kind", ["read", "write"])
def test_a_thread_is_in_a_transaction_from_its_begin_to_its_end(database, kind):
    assert not in_transaction()
    with getattr(database, kind)():
        assert in_transaction()
    assert not in_transaction()


def test_other_threads_are_not(database):
    found = []
    with database.write():
        other = threading.Thread(target=lambda: found.append(in_transaction()))
        other.start()
        other.join()
    assert found == [False]


def test_an_outer_transaction_goes_on_after_an_inner_one(database):
    with database.write():
        with database.read():
            pass
        assert in_transaction()
    assert not in_transaction()


@pytest.mark.parametrize("kind", ["read", "write"])
def test_a_transaction_that_an_exception_ends_is_over_while_the_exception_is_still_held(database, kind):
    with pytest.raises(KeyboardInterrupt) as held, getattr(database, kind)():
        raise KeyboardInterrupt
    assert held.value.__traceback__ is not None
    assert not in_transaction()


def test_a_transaction_whose_end_was_skipped_is_over_when_its_frame_is_gone(database):
    """As an exception from outside may do between the block and its end."""
    block = database.write()
    leave = block.__exit__  # which the interpreter looks up first, and drops
    block.__enter__()
    assert in_transaction()
    del block, leave
    assert not in_transaction()
    with database.write():
        pass


def test_a_look_is_a_transaction_as_well(database, monkeypatch):
    found = []
    monkeypatch.setattr(
        "lib.db.blocks.checkout.run_on_driver",
        lambda *told: (found.append(in_transaction()), run_on_driver(*told))[1],
    )
    database.fast_read(select(projects), {})
    assert (found, in_transaction()) == ([True], False)


def test_the_close_of_a_generator_is_told_from_a_plain_call():
    found = []

    def generator():
        try:
            yield
        finally:
            found.append(started_by_runtime())

    stopped = generator()
    next(stopped)
    stopped.close()
    list(generator())
    assert found == [True, False]
