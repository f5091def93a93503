"""The toy provider's SDK, as small as one can be, and its metered forms."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import httpx2


class ToyError(Exception):
    """An answer that is no 2xx."""

    def __init__(self, response: httpx2.Response) -> None:
        super().__init__(response.text)
        self.status_code = response.status_code
        self.response = response


class ToyClient:
    """Generates text with an engine."""

    def __init__(self, base_url: str, transport: httpx2.BaseTransport, hold: object = None) -> None:
        self._hold = hold
        self._http = httpx2.Client(base_url=base_url, transport=transport, trust_env=False)

    def generate(self, engine: str, prompt: str, **more: Any) -> bytes:
        """The whole answer."""
        with self.stream(engine, prompt, **more) as lines:
            return b"".join(lines)

    @contextmanager
    def stream(self, engine: str, prompt: str, **more: Any) -> Iterator[Iterator[bytes]]:
        """The answer as it comes."""
        with self._http.stream(
            "POST", f"engines/{engine}:generate", json={"prompt": prompt, **more}
        ) as answer:
            if not answer.is_success:
                answer.read()
                raise ToyError(answer)
            yield answer.iter_bytes()

    def close(self) -> None:
        self._http.close()


class AsyncToyClient:
    """The same for asyncio."""

    def __init__(self, base_url: str, transport: httpx2.AsyncBaseTransport, hold: object = None) -> None:
        self._hold = hold
        self._http = httpx2.AsyncClient(base_url=base_url, transport=transport, trust_env=False)

    async def generate(self, engine: str, prompt: str, **more: Any) -> bytes:
        """The whole answer."""
        async with self.stream(engine, prompt, **more) as lines:
            return b"".join([line async for line in lines])

    @asynccontextmanager
    async def stream(self, engine: str, prompt: str, **more: Any) -> AsyncIterator[AsyncIterator[bytes]]:
        """The answer as it comes."""
        body = {"prompt": prompt, **more}
        async with self._http.stream("POST", f"engines/{engine}:generate", json=body) as answer:
            if not answer.is_success:
                await answer.aread()
                raise ToyError(answer)
            yield answer.aiter_bytes()

    async def close(self) -> None:
        await self._http.aclose()
