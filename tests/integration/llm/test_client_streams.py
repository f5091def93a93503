"""Streams pass through as they arrive, and are metered however they end."""

from __future__ import annotations

import asyncio
import gc
import json
import threading
import time
from contextlib import suppress
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING

import httpx2
import openai
import pytest
from sqlalchemy import select, update

from lib.clock import HOUR
from lib.db.tables import open_calls
from lib.errors import LeaseLost
from lib.llm.metering.lease import Lease
from tests.calls import CALLS, STREAMS, ask, both_ways, drive, loaned, on_sqlite, rows
from tests.upstream import Behaviour

if TYPE_CHECKING:
    from lib.platform import Run


@on_sqlite
@both_ways
@pytest.mark.parametrize("name", STREAMS)
def test_the_first_event_arrives_before_the_stream_ends(run, upstream, way, name):
    upstream.queue("slow_stream")

    async def first_event() -> bool:
        stream = await CALLS[name](run.async_openai)
        await anext(stream)
        finished = upstream.requests[-1].finished
        await stream.close()
        await run.async_openai.close()
        return finished

    if way == "async":
        assert not asyncio.run(first_event())
        return
    stream = CALLS[name](run.openai)
    next(stream)
    assert not upstream.requests[-1].finished
    stream.close()


@on_sqlite
@both_ways
@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_that_is_left_is_abandoned_and_its_cost_unknown(byok, run, way, name):
    async def leave() -> None:
        stream = await CALLS[name](run.async_openai)
        await anext(stream)
        await stream.close()
        await stream.close()
        await run.async_openai.close()

    if way == "async":
        asyncio.run(leave())
    else:
        stream = CALLS[name](run.openai)
        next(stream)
        stream.close()
        stream.close()
    assert rows(byok, "status", "input_tokens", "cost_nano") == [("abandoned", None, None)]


@on_sqlite
@both_ways
@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_that_breaks_off_is_broken_and_its_cost_unknown(byok, run, upstream, way, name):
    upstream.queue("broken_stream")
    with pytest.raises((openai.APIConnectionError, httpx2.TransportError)):  # raw in older SDKs
        drive(run, way, CALLS[name])
    ((status, tokens, cost, code),) = rows(byok, "status", "input_tokens", "cost_nano", "error_code")
    assert (status, tokens, cost, code) == ("broken", None, None, "RemoteProtocolError")


@on_sqlite
@both_ways
def test_an_answer_that_breaks_off_is_broken(byok, run, upstream, way):
    upstream.queue("truncated")
    with pytest.raises(openai.APIConnectionError):
        drive(run, way, lambda c: ask(c.with_options(max_retries=0)))
    assert rows(byok, "status", "cost_nano") == [("broken", None)]


def _counting_along(pieces: int, end: str = "") -> Behaviour:
    """A server that tells the usage so far with every piece."""

    def event(at: int) -> str:
        choice = {"index": 0, "delta": {"content": "a"}, "finish_reason": "stop" if at == 9 else None}
        usage = {"prompt_tokens": 20, "completion_tokens": 10 * (at + 1), "total_tokens": 0}
        told = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "gpt-5"}
        return f"data: {json.dumps({**told, 'choices': [choice], 'usage': usage})}\n\n"

    text = "".join(event(at) for at in range(pieces)) + end
    return Behaviour(status=200, text=text, headers={"content-type": "text/event-stream"})


@on_sqlite
@both_ways
@pytest.mark.parametrize(
    ("left", "end", "status"), [(3, "early", "abandoned"), (None, "cut", "broken"), (None, "early", "broken")]
)
def test_a_usage_that_counts_along_is_not_the_cost_of_a_stream_without_end(
    shop, upstream, way, left, end, status
):
    """The provider bills what it goes on to write, so the ceiling counts."""
    cut = replace(_counting_along(10, "data: [DONE]\n\n"), fault="truncate")
    upstream.queue(cut if end == "cut" else _counting_along(6))
    with shop.run("shop") as run, suppress(openai.APIConnectionError, httpx2.TransportError):
        _read_some(run, way, left)
    assert rows(shop, "status", "output_tokens", "cost_nano") == [(status, None, None)]
    (counted,) = rows(shop, "unknown_after_nano")
    assert shop.caps.headroom("shop").windows["5h"].used_nano == counted > 0


@on_sqlite
@both_ways
@pytest.mark.parametrize("end", ["data: [DONE]\n\n", ""])
def test_a_usage_that_counts_along_to_the_end_is_the_cost(shop, upstream, way, end):
    upstream.queue(_counting_along(10, end))
    with shop.run("shop") as run:
        _read_some(run, way, None)
    assert rows(shop, "status", "input_tokens", "output_tokens") == [("ok", 20, 100)]


def _read_some(run: Run, way: str, count: int | None) -> None:
    async def read() -> None:
        async with loaned(run) as client:
            stream = await CALLS["chat stream"](client)
            seen = 0
            async for _ in stream:
                if (seen := seen + 1) == count:
                    break
            await stream.close()

    if way == "async":
        asyncio.run(read())
        return
    stream = CALLS["chat stream"](run.openai)
    list(islice(stream, count))
    stream.close()


@on_sqlite
def test_a_stream_that_is_left_after_its_usage_was_told_is_whole(byok, run):
    for event in CALLS["responses stream"](run.openai):
        if event.type == "response.completed":
            break
    gc.collect()
    run.openai.close()
    assert rows(byok, "status", "input_tokens") == [("ok", 12)]


@on_sqlite
@both_ways
def test_whoever_has_read_a_stream_finds_its_row(byok, run, monkeypatch, way):
    """The async SDK gives up on what follows [DONE] after a tenth of a second; the row is waited for."""
    settle = byok.ledger.settle
    monkeypatch.setattr(byok.ledger, "settle", lambda call, outcome: (time.sleep(0.3), settle(call, outcome)))
    drive(run, way, CALLS["chat stream"])
    assert rows(byok, "status", "input_tokens") == [("ok", 12)]


@on_sqlite
def test_an_error_inside_a_stream_is_recorded(byok, run, upstream):
    event = 'data: {"error": {"message": "It broke for sk-test-good-key-0001.", "type": "server_error"}}\n\n'
    upstream.queue(Behaviour(status=200, text=event, headers={"content-type": "text/event-stream"}))
    with pytest.raises(openai.APIError):
        drive(run, "sync", CALLS["chat stream"])
    ((status, kind, message, cost),) = rows(byok, "status", "error_type", "error_message", "cost_nano")
    assert (status, kind, cost) == ("broken", "server_error", None)
    assert "good-key" not in message


@on_sqlite
def test_a_stream_nobody_closed_is_settled_with_the_next_call(byok, run):
    stream = CALLS["chat stream"](run.openai)
    next(stream)
    del stream
    gc.collect()
    ask(run.openai)
    assert sorted(rows(byok, "status")) == ["abandoned", "ok"]


@on_sqlite
def test_a_stream_may_be_closed_from_another_thread(byok, run, upstream):
    upstream.queue("slow_stream")
    stream = CALLS["chat stream"](run.openai)
    next(stream)
    closers = [threading.Thread(target=stream.close) for _ in range(4)]
    for closer in closers:
        closer.start()
    for closer in closers:
        closer.join()
    assert rows(byok, "status") == ["abandoned"]


@on_sqlite
@both_ways
def test_a_stream_that_flows_keeps_its_lease(byok, run, monkeypatch, way):
    monkeypatch.setattr(Lease, "is_due", lambda _: True)
    renewed = []
    renew = byok.ledger.renew
    monkeypatch.setattr(byok.ledger, "renew", lambda call, lease: (renewed.append(lease), renew(call, lease)))
    drive(run, way, CALLS["chat stream"])
    assert len(renewed) > 1
    assert rows(byok, "status") == ["ok"]


@on_sqlite
@both_ways
def test_a_stream_whose_lease_is_lost_is_cut(byok, run, upstream, monkeypatch, way):
    """Somebody has recorded it as lost: its row says unknown, and stays."""
    upstream.queue("slow_stream")

    def expire() -> None:
        with byok.database.write() as connection:
            connection.execute(update(open_calls).values(lease_until=open_calls.c.opened_at - 1))
        byok.run("shop").openai.models.list()
        monkeypatch.setattr(Lease, "is_due", lambda _: True)

    async def cut() -> None:
        stream = await CALLS["chat stream"](run.async_openai)
        await anext(stream)
        await asyncio.to_thread(expire)
        try:
            await anext(stream)
        finally:
            await run.async_openai.close()

    def cut_here() -> None:
        stream = CALLS["chat stream"](run.openai)
        next(stream)
        expire()
        next(stream)

    with pytest.raises(LeaseLost):
        asyncio.run(cut()) if way == "async" else cut_here()
    assert sorted(rows(byok, "status")) == ["ok", "unknown"]


@on_sqlite
def test_a_lease_covers_all_time_outs_and_a_minute(byok, run, upstream):
    upstream.queue("slow_stream")
    for timeout, seconds in [(10, 4 * 10 + 60), (None, 5 + 3 * 600 + 60), (float("inf"), 5 + 3 * 600 + 60)]:
        stream = CALLS["chat stream"](run.openai.with_options(timeout=timeout))
        with byok.database.read() as connection:
            (row,) = connection.execute(select(open_calls.c.opened_at, open_calls.c.lease_until))
        assert row.lease_until - row.opened_at == seconds * 1_000_000 < HOUR
        stream.close()
