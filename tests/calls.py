"""Calls that tests make through the metered clients, and the rows they leave."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import openai
import pytest
from sqlalchemy import func, select

from lib.db.tables import open_calls, usage_events
from lib.ledger.one_trip import OneTrip

if TYPE_CHECKING:
    from lib.platform import Platform, Run

on_sqlite = pytest.mark.parametrize("database_kind", ["sqlite"])
both_ways = pytest.mark.parametrize("way", ["sync", "async"])
SAY = [{"role": "user", "content": "Hi"}]
CALLS: dict[str, Callable[[Any], Any]] = {
    "chat": lambda c: c.chat.completions.create(model="gpt-5", messages=SAY),
    "chat stream": lambda c: c.chat.completions.create(model="gpt-5", messages=SAY, stream=True),
    "responses": lambda c: c.responses.create(model="gpt-5", input="Hi"),
    "responses stream": lambda c: c.responses.create(model="gpt-5", input="Hi", stream=True),
    "embeddings": lambda c: c.embeddings.create(model="text-embedding-3-small", input="Hi"),
}
STREAMS = ("chat stream", "responses stream")


def by_statements(patch: pytest.MonkeyPatch) -> None:
    """On PostgreSQL too, open and settle each call by statements, as what is out of the ordinary is."""
    for name in ("open", "settle"):
        patch.setattr(OneTrip, name, lambda *_, **__: None)


def ask(client: Any, **more: Any) -> Any:
    """The plainest call."""
    return client.responses.create(model="gpt-5", input="Hi", **more)


def drive(run: Run, way: str, what: Callable[[Any], Any]) -> Any:
    """Make one call, synchronous or not, and read all of its answer: a list where it is a stream."""
    if way == "sync":
        answer = what(run.openai)
        return list(answer) if isinstance(answer, openai.Stream) else answer

    async def call() -> Any:
        async with loaned(run) as client:
            answer = await what(client)
            return [event async for event in answer] if isinstance(answer, openai.AsyncStream) else answer

    return asyncio.run(call())


def loaned(run: Run) -> Any:
    """The run's async client for one event loop: closed at its end, and made anew for the next."""
    client = run.async_openai
    del run.async_openai
    return client


def rows(platform: Platform, *columns: str) -> list[Any]:
    """Usage rows, oldest first: whole, or the named columns of each. No call may be open."""
    asked = [usage_events.c[name] for name in columns] or list(usage_events.c)
    order = usage_events.c.occurred_at, usage_events.c.sequence
    with platform.database.read() as connection:
        assert connection.execute(select(func.count()).select_from(open_calls)).scalar() == 0
        found = connection.execute(select(*asked).order_by(*order)).all()
    if not columns:
        return [row._mapping for row in found]
    return [row[0] if len(columns) == 1 else tuple(row) for row in found]
