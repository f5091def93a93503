"""Genuine Anthropic clients that cannot be led around the meter.

They are the SDK's own classes with our transport underneath, a placeholder for a key, and nothing from the
environment or from files of a profile: with a placeholder the SDK looks for no credentials, and exchanges none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self, TypedDict, Unpack

import anthropic
import httpx2
from anthropic import DEFAULT_TIMEOUT, NotGiven, Timeout

from lib.ledger.ledger import Ledger
from lib.ledger.settlement_queue import Hold
from lib.llm.anthropic import sdk
from lib.llm.anthropic.sdk import Carried
from lib.llm.http import install_log_redaction
from lib.llm.metering.async_transport import MeteredAsyncTransport
from lib.llm.metering.transport import MeteredTransport
from lib.llm.metering.upstream_request import PLACEHOLDER_KEY
from lib.llm.provider import Provider
from lib.llm.sdk_clients import AsyncRunClient, CopyRules, RunClient
from lib.runs.lifecycle import StartedRun
from lib.settings import Settings

_COPIES = CopyRules(
    NotGiven,
    ignored=frozenset({"api_key", "auth_token", "webhook_key"}),
    inherited=frozenset({"middleware", "open_telemetry"}),
)


class _Options(TypedDict, total=False):
    """What a caller may choose, for the client or a copy of it."""

    base_url: str | httpx2.URL
    timeout: float | Timeout | NotGiven | None
    max_retries: int
    default_headers: Mapping[str, str] | None
    default_query: Mapping[str, object] | None
    middleware: Sequence[Any] | None
    open_telemetry: Any


def make_client(
    provider: Provider, ledger: Ledger, settings: Settings, run: StartedRun, *, hold: Hold | None = None
) -> MeteredAnthropic:
    """An ``anthropic.Anthropic`` whose every request is a call of this run, which goes on while somebody has it."""
    sdk.require_supported()
    install_log_redaction()  # the HTTP stack writes down headers, and a provider may repeat the key in them
    transport = MeteredTransport(provider, ledger, settings, run)
    client = RunClient(transport, DEFAULT_TIMEOUT, Carried, hold)
    address = settings.provider(provider.facts.name).base_url
    return MeteredAnthropic(base_url=address, http_client=client, open_telemetry=False)


def make_async_client(
    provider: Provider, ledger: Ledger, settings: Settings, run: StartedRun, *, hold: Hold | None = None
) -> MeteredAsyncAnthropic:
    """Make a metered ``anthropic.AsyncAnthropic``; see ``make_client``."""
    sdk.require_supported()
    install_log_redaction()
    transport = MeteredAsyncTransport(provider, ledger, settings, run)
    client = AsyncRunClient(transport, DEFAULT_TIMEOUT, Carried, hold)
    address = settings.provider(provider.facts.name).base_url
    return MeteredAsyncAnthropic(base_url=address, http_client=client, open_telemetry=False)


def _forget_environment(client: Any, headers: Mapping[str, str] | None) -> None:
    """Undo what the SDK took from ``ANTHROPIC_*`` variables."""
    client.webhook_key = None
    client._custom_headers = dict(headers or {})  # noqa: SLF001 - the SDK mixes ANTHROPIC_CUSTOM_HEADERS into these


def _copied(client: Any, options: dict[str, Any]) -> dict[str, Any]:
    kept = {"middleware": client._middleware, "open_telemetry": client.open_telemetry}  # noqa: SLF001
    return kept | _COPIES.options(client, options)


class MeteredAnthropic(anthropic.Anthropic):
    """``anthropic.Anthropic`` for one run. Made by ``make_client``; ``with_options`` makes metered copies."""

    def __init__(self, *, http_client: httpx2.Client, **options: Unpack[_Options]) -> None:
        super().__init__(api_key=PLACEHOLDER_KEY, http_client=http_client, **options)
        _forget_environment(self, options.get("default_headers"))

    def copy(self, **options: Any) -> Self:
        """A copy with other options. Keys are chosen by Qodex; another address or way is refused (NotMetered)."""
        return type(self)(**_copied(self, options))

    with_options = copy

    def request(self, *arguments: Any, **options: Any) -> Any:
        """Send a request with the SDK's retries. What Qodex refuses is raised as it is, and not tried again."""
        try:
            return super().request(*arguments, **options)
        except Carried as carried:
            error = carried.error
        raise error

    @property
    def user_agent(self) -> str:
        """What the SDK's own class says."""
        return f"Anthropic/Python {anthropic.__version__}"


class MeteredAsyncAnthropic(anthropic.AsyncAnthropic):
    """``anthropic.AsyncAnthropic`` for one run. Made by ``make_async_client``."""

    def __init__(self, *, http_client: httpx2.AsyncClient, **options: Unpack[_Options]) -> None:
        super().__init__(api_key=PLACEHOLDER_KEY, http_client=http_client, **options)
        _forget_environment(self, options.get("default_headers"))

    def copy(self, **options: Any) -> Self:
        """A copy with other options. Keys are chosen by Qodex; another address or way is refused (NotMetered)."""
        return type(self)(**_copied(self, options))

    with_options = copy

    async def request(self, *arguments: Any, **options: Any) -> Any:
        """Send a request with the SDK's retries. What Qodex refuses is raised as it is, and not tried again."""
        try:
            return await super().request(*arguments, **options)
        except Carried as carried:
            error = carried.error
        raise error

    @property
    def user_agent(self) -> str:
        """What the SDK's own class says."""
        return f"AsyncAnthropic/Python {anthropic.__version__}"
