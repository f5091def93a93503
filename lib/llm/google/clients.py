"""Genuine Google clients that cannot be led around the meter.

They are the SDK's own classes with our transports underneath, a placeholder for a key, nothing from the environment,
and without the SDK's WebSockets, which would not go through the transports. One client serves both ways: what is
behind ``aio`` is the asynchronous one.
"""

from __future__ import annotations

import ssl
from typing import Any, NoReturn

import httpx2
from google import genai
from google.genai import client as sdk_client
from google.genai import types

from lib.errors import NotMetered, QodexError
from lib.ledger.ledger import Ledger
from lib.ledger.settlement_queue import Hold
from lib.llm.google import sdk
from lib.llm.http import install_log_redaction
from lib.llm.metering.async_transport import MeteredAsyncTransport
from lib.llm.metering.transport import MeteredTransport
from lib.llm.metering.upstream_request import PLACEHOLDER_KEY
from lib.llm.provider import Provider
from lib.llm.sdk_clients import AsyncRunClient, RunClient
from lib.runs.lifecycle import StartedRun
from lib.settings import Settings

API_VERSION = "v1beta"
_NO_WAIT = httpx2.Timeout(None)  # the SDK names none either; our transports have theirs
_REFUSAL = "WebSocket connections are not metered and were not opened. Use models.generate_content_stream()."


def make_client(
    provider: Provider, ledger: Ledger, settings: Settings, run: StartedRun, *, hold: Hold | None = None
) -> MeteredGemini:
    """A ``google.genai.Client`` whose every request is a call of this run, which goes on while somebody has it."""
    sdk.require_supported()
    install_log_redaction()  # the HTTP stack writes down headers, and a provider may repeat the key in them
    transport = MeteredTransport(provider, ledger, settings, run)
    async_transport = MeteredAsyncTransport(provider, ledger, settings, run)
    return MeteredGemini(
        base_url=settings.provider(provider.facts.name).base_url,
        http_client=RunClient(transport, _NO_WAIT, _as_it_is, hold),
        async_http_client=AsyncRunClient(async_transport, _NO_WAIT, _as_it_is, hold),
        closers=(transport, async_transport),
    )


def _as_it_is(error: QodexError) -> Exception:
    """This SDK neither wraps nor retries what it does not know."""
    return error


def end_run(client: MeteredGemini | MeteredAsyncGemini) -> None:
    """Refuse what is asked of the client from now on: its run has ended."""
    api: Any = client._api_client  # noqa: SLF001 - the one thing behind all that the client offers
    api._httpx_client.run_has_ended = api._async_httpx_client.run_has_ended = True  # noqa: SLF001


def _refuse_websocket(*_: object, **__: object) -> NoReturn:
    raise NotMetered(_REFUSAL)


class _NoLive:
    """Stands where the SDK has its live sessions."""

    def __getattr__(self, name: str) -> Any:
        return _NoLive() if name == "music" else _refuse_websocket


class MeteredAsyncGemini(sdk_client.AsyncClient):
    """What is behind ``aio`` of a ``MeteredGemini``."""

    def __init__(self, api_client: Any, transport: httpx2.AsyncBaseTransport) -> None:
        super().__init__(api_client)
        self._transport = transport

    @property
    def live(self) -> Any:
        """Refuses each connection (NotMetered): a WebSocket would go past the meter."""
        return _NoLive()

    @property
    def interactions(self) -> Any:
        """The SDK's own, without its WebSockets."""
        resource = super().interactions
        resource.connect = _refuse_websocket  # type: ignore[method-assign]
        return resource

    async def aclose(self) -> None:
        """Close this loop's connections, and wait a moment for what is still owed. The client stays usable."""
        await self._transport.aclose()

    close = aclose


class MeteredGemini(genai.Client):
    """``google.genai.Client`` for one run. Made by ``make_client``."""

    def __init__(
        self,
        *,
        base_url: str,
        http_client: httpx2.Client,
        async_http_client: httpx2.AsyncClient,
        closers: tuple[httpx2.BaseTransport, httpx2.AsyncBaseTransport],
    ) -> None:
        super().__init__(
            api_key=PLACEHOLDER_KEY,
            vertexai=False,
            debug_config=sdk_client.DebugConfig(client_mode=None, replays_directory=None, replay_id=None),
            http_options=types.HttpOptions(
                base_url=base_url,
                api_version=API_VERSION,
                retry_options=types.HttpRetryOptions(attempts=1),  # interactions would have four more
                httpx_client=http_client,
                httpx_async_client=async_http_client,
                # For WebSockets, of which there are none: the SDK would read files that the environment names.
                async_client_args={"ssl": ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)},
            ),
        )
        self._transport, async_transport = closers
        self._aio: MeteredAsyncGemini = MeteredAsyncGemini(self._api_client, async_transport)

    @property
    def aio(self) -> MeteredAsyncGemini:
        """The asynchronous client."""
        return self._aio

    def close(self) -> None:
        """Wait a moment for what is still owed. The client stays usable."""
        self._transport.close()

    async def aclose(self) -> None:
        """Close what is behind ``aio``."""
        await self._aio.aclose()
