"""Calls that are cancelled, in threads, in other processes, and calls whose database fails."""

from __future__ import annotations

import asyncio
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from lib.errors import DatabaseUnavailable
from tests.calls import CALLS, ask, both_ways, drive, on_sqlite, rows
from tests.upstream import Behaviour


@on_sqlite
def test_a_call_cancelled_while_it_waits_for_an_answer_has_an_unknown_outcome(byok, run, upstream):
    upstream.queue("hang")

    async def cancel() -> None:
        call = asyncio.create_task(ask(run.async_openai))
        while not upstream.requests:  # noqa: ASYNC110 - it fills in another thread
            await asyncio.sleep(0.01)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await run.async_openai.close()

    asyncio.run(cancel())
    assert rows(byok, "status", "cost_nano") == [("unknown", None)]


@on_sqlite
def test_a_stream_cancelled_while_it_flows_is_abandoned(byok, run, upstream):
    upstream.queue(Behaviour(event_delay=5))

    async def cancel() -> None:
        stream = await CALLS["chat stream"](run.async_openai)
        await anext(stream)
        reading = asyncio.create_task(anext(stream))
        await asyncio.sleep(0.05)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        await run.async_openai.close()

    asyncio.run(cancel())
    assert rows(byok, "status", "cost_nano") == [("abandoned", None)]


@on_sqlite
def test_a_call_cancelled_before_it_leaves_is_not_recorded(byok, run, upstream, monkeypatch):
    opening, go_on = threading.Event(), threading.Event()
    open_ = byok.ledger.open

    def slow_open(*arguments: Any, **options: Any) -> Any:
        opening.set()
        call = open_(*arguments, **options)
        go_on.wait(10)
        return call

    async def cancel() -> None:
        call = asyncio.create_task(ask(run.async_openai))
        await asyncio.to_thread(opening.wait, 10)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        go_on.set()
        await run.async_openai.close()

    monkeypatch.setattr(byok.ledger, "open", slow_open)
    voided = threading.Event()
    release = byok.ledger.release
    monkeypatch.setattr(byok.ledger, "release", lambda *which: (release(*which), voided.set()))
    asyncio.run(cancel())
    assert voided.wait(10)
    assert (upstream.requests, rows(byok)) == ([], [])


@on_sqlite
def test_many_calls_at_once_in_one_event_loop_have_a_row_each(byok, run):
    async def many() -> None:
        async with run.async_openai as client:
            await asyncio.gather(*(ask(client) for _ in range(32)))

    asyncio.run(many())
    assert rows(byok, "status") == ["ok"] * 32


@on_sqlite
def test_an_async_client_serves_one_event_loop_after_the_other(byok, run):
    async def once() -> None:
        await ask(run.async_openai)
        await run.async_openai._client._transport.aclose()  # only this loop's connections

    asyncio.run(once())
    asyncio.run(once())
    assert rows(byok, "status") == ["ok", "ok"]


def test_threads_share_a_client(byok, run):
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: ask(run.openai), range(24)))
    found = rows(byok, "event_id", "status")
    assert len({event for event, _ in found}) == 24
    assert {status for _, status in found} == {"ok"}


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_client_works_on_both_sides_of_a_fork(byok, run):
    ask(run.openai)
    child = os.fork()
    if child == 0:
        try:
            ask(run.openai)
        except BaseException:  # noqa: BLE001 - a forked test must not go on
            os._exit(1)
        os._exit(0)
    ask(run.openai)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert rows(byok, "status") == ["ok"] * 3


# --- the database fails ----------------------------------------------------------------------------


@on_sqlite
@both_ways
def test_an_answer_reaches_its_caller_though_the_database_fails(byok, run, monkeypatch, way):
    """What could not be written is written in the background as soon as the database answers."""
    settle, failures = byok.ledger.settle, iter([True] * 3)

    def failing(call: Any, outcome: Any) -> None:
        if next(failures, False):
            raise DatabaseUnavailable("The disk is full.")
        settle(call, outcome)

    monkeypatch.setattr(byok.ledger, "settle", failing)
    assert drive(run, way, ask).output_text
    drive(run, way, ask)
    assert byok.ledger.queue.flush(60, patiently=True)
    assert rows(byok, "status", "input_tokens") == [("ok", 12), ("ok", 12)]


@on_sqlite
@both_ways
def test_nothing_is_sent_where_the_database_fails_before(byok, run, upstream, monkeypatch, way):
    def failing(*_: Any, **__: Any) -> None:
        raise DatabaseUnavailable("The disk is full.")

    monkeypatch.setattr(byok.ledger, "open", failing)
    with pytest.raises(DatabaseUnavailable):
        drive(run, way, ask)
    assert upstream.requests == []
