"""The providers, for rules that hold for each: their keys, the plainest call, and how a run's clients are driven.

A test that takes ``provider`` runs once for each of them; ``tests/integration/llm/conftest.py`` has projects with their keys.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from itertools import cycle, islice
from typing import TYPE_CHECKING, Any

import anthropic
import openai
import pytest
from google.genai import errors

from tests.calls import SAY
from tests.upstream import (
    CLAUDE_KEY,
    CLAUDE_OTHER_KEY,
    CLAUDE_PLATFORM_KEY,
    CLAUDE_WRONG_KEY,
    GEMINI_KEY,
    GEMINI_OTHER_KEY,
    GEMINI_PLATFORM_KEY,
    GEMINI_WRONG_KEY,
    GOOD_KEY,
    OTHER_KEY,
    PLATFORM_KEY,
    WRONG_KEY,
)
from tests.upstream_behaviours import BEHAVIOURS

if TYPE_CHECKING:
    from lib.platform import Run

USED = 12 + 5
"""Tokens of the plainest call, in and out."""


@dataclass(frozen=True)
class ProviderCase:
    """One provider as tests use it."""

    name: str
    key: str
    other_key: str
    platform_key: str
    wrong_key: str
    model: str
    cost: int
    """Nano-USD of the plainest call."""
    variables: tuple[str, str]
    """Of the platform's key and of the address, for a worker in a process of its own."""
    error: type[Exception]
    """What the SDK raises for an answer that is no 2xx."""
    plainest: Callable[..., Any]
    """Make the plainest call by a client, synchronous or not; ``stream=True`` for a stream of it."""
    refusals: dict[str, str]
    """What the scripted upstream's behaviours are called here, where they have another name."""

    def ask(
        self,
        client: Any,
        *,
        retries: int = 0,
        wait: float = 30,
        headers: dict[str, str] | None = None,
        **more: Any,
    ) -> Any:
        """Make the plainest call, by the SDK's own options: so many retries, seconds to wait, headers of the caller."""
        if self.name == "google":
            return self.plainest(client, **_configured(retries, wait, headers or {}, **more))
        client = client.with_options(max_retries=retries, timeout=wait)
        return self.plainest(client, extra_headers=headers or {}, **more)

    def told(self, how: str) -> str:
        """The behaviour in the provider's own words, where it has some."""
        own = f"{self.name}.{self.refusals.get(how, how)}"
        return own if own in BEHAVIOURS else how

    @property
    def leak(self) -> str:
        """The part of the key that stands nowhere else."""
        return self.key[-13:]


def _ask_openai(client: Any, *, stream: bool = False, **more: Any) -> Any:
    told = {"model": "gpt-5", "input": "Hi"} | more
    return client.responses.create(stream=stream, **told)


def _ask_anthropic(client: Any, *, stream: bool = False, **more: Any) -> Any:
    told = {"model": "claude-opus-4-6", "max_tokens": 100, "messages": SAY} | more
    return client.messages.create(stream=stream, **told)


def _ask_google(client: Any, *, stream: bool = False, **more: Any) -> Any:
    told = {"model": "gemini-3.5-flash", "contents": "Hi"} | more
    send = client.models.generate_content_stream if stream else client.models.generate_content
    return send(**told)


def _configured(retries: int, wait: float, headers: dict[str, str], **more: Any) -> dict[str, Any]:
    again = {"attempts": retries + 1, "initial_delay": 0.01}
    options = {"timeout": int(wait * 1000), "headers": headers, "retry_options": again}
    return more | {"config": {"http_options": options}}


PROVIDERS = {
    case.name: case
    for case in (
        ProviderCase(
            "openai",
            *(GOOD_KEY, OTHER_KEY, PLATFORM_KEY, WRONG_KEY),
            model="gpt-5",
            cost=12 * 1_250 + 5 * 10_000,
            variables=("QODEX_OPENAI_API_KEY", "OPENAI_BASE_URL"),
            error=openai.APIError,
            plainest=_ask_openai,
            refusals={},
        ),
        ProviderCase(
            "anthropic",
            *(CLAUDE_KEY, CLAUDE_OTHER_KEY, CLAUDE_PLATFORM_KEY, CLAUDE_WRONG_KEY),
            model="claude-opus-4-6",
            cost=12 * 5_000 + 5 * 25_000,
            variables=("QODEX_ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL"),
            error=anthropic.APIError,
            plainest=_ask_anthropic,
            refusals={"no_scopes": "workspace_access", "forbidden": "workspace_access"},
        ),
        ProviderCase(
            "google",
            *(GEMINI_KEY, GEMINI_OTHER_KEY, GEMINI_PLATFORM_KEY, GEMINI_WRONG_KEY),
            model="gemini-3.5-flash",
            cost=12 * 1_500 + 5 * 9_000,
            variables=("QODEX_GEMINI_API_KEY", "GEMINI_BASE_URL"),
            error=errors.APIError,
            plainest=_ask_google,
            refusals={"no_scopes": "no_right_to_run", "forbidden": "no_right_to_run", "echo_400": "echo"},
        ),
    )
}
of_each_provider = pytest.mark.parametrize("provider", list(PROVIDERS.values()), ids=list(PROVIDERS))


def in_turn(count: int) -> Iterator[str]:
    """That many names, each provider as often as the others: for what takes long, and is repeated anyway."""
    return islice(cycle(PROVIDERS), count)


def drive(run: Run, provider: ProviderCase, way: str, what: Callable[[Any], Any]) -> Any:
    """Make one call, synchronous or not, and read all of its answer: a list where it is a stream."""
    if way == "sync":
        answer = what(run.client(provider.name))
        return list(answer) if isinstance(answer, Iterator) else answer

    async def call() -> Any:
        async with _loaned(run, provider) as client:
            answer = await what(client)
            return [event async for event in answer] if isinstance(answer, AsyncIterator) else answer

    return asyncio.run(call())


def _loaned(run: Run, provider: ProviderCase) -> Any:
    """The run's async client for one event loop: closed at its end, and made anew for the next."""
    client = getattr(run, f"async_{provider.name}")
    delattr(run, f"async_{provider.name}")
    return client
