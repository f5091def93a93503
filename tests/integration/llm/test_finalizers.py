"""Promise 19: what the collector, a generator's close or a handler runs never enters a transaction.

It may come at any allocation, also inside our own transaction, where it would wait for a lock of its own thread.
"""

from __future__ import annotations

import asyncio
import gc
import threading
from typing import Any

import pytest
from sqlalchemy import select

import lib.ledger.ledger
import lib.llm.metering.transport
from lib.db.blocks.postgresql import PostgreSQL
from lib.db.reentrancy import in_transaction
from lib.db.tables import accounts, runs
from tests.calls import CALLS, SAY, ask, rows
from tests.services import wait_until

CHAT, RESPONSES = CALLS["chat stream"], CALLS["responses stream"]


def read_one(stream: Any) -> Any:
    """The stream after its first event: it and its generator are a cycle that only the collector finds."""
    next(stream)
    return stream


def streaming_response(client: Any) -> Any:
    """An answer inside a ``with`` block of a generator that nobody takes to its end."""

    def lines() -> Any:
        create = client.chat.completions.with_streaming_response.create
        with create(model="gpt-5", messages=SAY, stream=True) as response:
            yield from response.iter_lines()

    generator = lines()
    next(generator)
    cycle = [generator]
    cycle.append(cycle)
    return cycle


FORGOTTEN = {
    "chat": lambda c: read_one(CHAT(c)),
    "responses": lambda c: read_one(RESPONSES(c)),
    "not begun": CHAT,
    "raw": lambda c: read_one(
        c.chat.completions.with_raw_response.create(model="gpt-5", messages=SAY, stream=True).parse()
    ),
    "streaming response": streaming_response,
    "helper": lambda c: iter(c.responses.stream(model="gpt-5", input="Hi").__enter__()),
}


@pytest.fixture
def collecting(monkeypatch):
    """Garbage is collected inside each reservation: while it holds the project's account, or a connection for one trip."""
    require_headroom, seen = lib.ledger.ledger.require_headroom, list[bool]()

    def collect_and_require(*told: Any) -> None:
        gc.collect()
        seen.append(in_transaction())
        require_headroom(*told)

    monkeypatch.setattr(lib.ledger.ledger, "require_headroom", collect_and_require)
    call_function = PostgreSQL.call_function

    def collect_and_call(*told: Any, **more: Any) -> Any:
        gc.collect()
        seen.append(in_transaction())
        return call_function(*told, **more)

    monkeypatch.setattr(PostgreSQL, "call_function", collect_and_call)
    gc.collect()
    gc.freeze()  # what is there by now need not be looked at in each reservation
    gc.disable()
    yield seen
    gc.enable()
    gc.unfreeze()


def books_agree(platform: Any) -> bool:
    """Nothing reserved, and the account is the sum of its calls."""
    with platform.database.read() as connection:
        account = connection.execute(select(accounts)).one()
    counted = [row["counted_after_nano"] for row in rows(platform)]
    return (account.reserved_nano, account.counted_nano) == (0, max(counted))


@pytest.mark.parametrize("name", FORGOTTEN)
def test_a_stream_that_is_collected_inside_a_reservation_is_settled_later(shop, upstream, collecting, name):
    with shop.run("shop") as run:
        forgotten = FORGOTTEN[name](run.openai)
        gc.collect(0)
        del forgotten
        assert ask(run.openai).output_text
        assert collecting[-1]
    assert sorted(rows(shop, "status")) == ["abandoned", "ok"]
    assert len(upstream.requests) == 2
    assert books_agree(shop)


async def read_one_async(stream: Any) -> Any:
    await anext(stream)
    return stream


async def raw_async(client: Any) -> Any:
    create = client.chat.completions.with_raw_response.create
    return await read_one_async((await create(model="gpt-5", messages=SAY, stream=True)).parse())


async def streaming_response_async(client: Any) -> Any:
    """The same generator for asyncio, which closes it in a task of its own once the collector has found it."""

    async def lines() -> Any:
        create = client.chat.completions.with_streaming_response.create
        async with create(model="gpt-5", messages=SAY, stream=True) as response:
            async for line in response.iter_lines():
                yield line

    generator = await read_one_async(lines())
    cycle = [generator]
    cycle.append(cycle)
    return cycle


async def helper_async(client: Any) -> Any:
    return await client.responses.stream(model="gpt-5", input="Hi").__aenter__()


async def chat_async(client: Any) -> Any:
    return await read_one_async(await CHAT(client))


async def responses_async(client: Any) -> Any:
    return await read_one_async(await RESPONSES(client))


ASYNC_FORGOTTEN = {
    "chat": chat_async,
    "responses": responses_async,
    "not begun": CHAT,
    "raw": raw_async,
    "streaming response": streaming_response_async,
    "helper": helper_async,
}


# Python's own, since 3.6: while this thread's collector still hands generators to the loop, the loop's thread may be
# closing the next one in the chain already, and the collector then says that it cannot close it as well.
@pytest.mark.filterwarnings(
    "ignore:(?s)Exception ignored in. <async_generator .*already executing:pytest.PytestUnraisableExceptionWarning"
)
@pytest.mark.parametrize("name", ASYNC_FORGOTTEN)
def test_an_async_stream_that_is_collected_inside_a_reservation_is_settled_later(
    shop, upstream, collecting, name
):
    async def calls() -> None:
        async with shop.run("shop") as run:
            stream = await ASYNC_FORGOTTEN[name](run.async_openai)
            gc.collect(0)
            del stream
            await ask(run.async_openai)
            assert collecting[-1]

    asyncio.run(calls())
    # The background thread may not have been told of the stream yet, so there may be nothing to flush.
    assert wait_until(lambda: len(rows(shop, "status")) == 2, 600)
    assert sorted(rows(shop, "status")) == ["abandoned", "ok"]
    assert books_agree(shop)


def test_threads_that_forget_streams_do_not_stop_each_other(shop, upstream, collecting):
    with shop.run("shop") as run:

        def work() -> None:
            for _ in range(6):
                read_one(CHAT(run.openai))
                ask(run.openai)

        workers = [threading.Thread(target=work) for _ in range(4)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(120)
        assert not any(worker.is_alive() for worker in workers)
    gc.collect()
    assert shop.ledger.queue.flush(60)
    assert sorted(rows(shop, "status")) == ["abandoned"] * 24 + ["ok"] * 24
    assert books_agree(shop)


def test_a_stream_that_is_closed_inside_a_transaction_is_settled_after_it(shop):
    """By a ``__del__`` or a signal handler of somebody's own."""
    with shop.run("shop") as run:
        stream = read_one(CHAT(run.openai))
        with shop.database.write() as connection:
            connection.execute(select(accounts).with_for_update())
            stream.close()
        assert shop.ledger.queue.flush(60)
        assert rows(shop, "status") == ["abandoned"]


def test_a_stream_that_is_closed_is_settled_at_once(shop):
    with shop.run("shop") as run:
        stream = read_one(CHAT(run.openai))
        stream.close()
        assert rows(shop, "status") == ["abandoned"]


def test_the_connection_of_a_stream_that_was_forgotten_serves_the_next_call(shop, upstream):
    with shop.run("shop") as run:
        for _ in range(3):
            read_one(CHAT(run.openai))
            gc.collect()
            assert shop.ledger.queue.flush(60)
        ask(run.openai)
        transport = run.openai._client._transport
        pool = transport._connections.pool()._pool
        assert wait_until(lambda: all(each.is_idle() for each in pool.connections), 600)


def test_a_run_that_a_collected_generator_ends_inside_a_reservation_ends(shop, collecting):
    def agent() -> Any:
        with shop.run("shop") as run:
            yield run.id

    forgotten = agent()
    ended = next(forgotten)
    cycle = [forgotten]
    cycle.append(cycle)
    del forgotten, cycle
    with shop.run("shop") as run:
        ask(run.openai)
    assert shop.ledger.queue.flush(60)
    with shop.database.read() as connection:
        found = dict(connection.execute(select(runs.c.run_id, runs.c.status)).all())
    assert found == {ended: "error", run.id: "passed"}


def test_a_client_that_was_taken_from_a_run_keeps_it_going(shop):
    client = shop.run("shop").openai
    gc.collect()
    shop.ledger.queue.flush(60)
    assert ask(client).output_text
    with shop.database.read() as connection:
        assert connection.execute(select(runs.c.status)).scalars().all() == ["running"]
