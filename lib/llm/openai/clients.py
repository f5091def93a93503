"""Genuine OpenAI clients that cannot be led around the meter.

They are the SDK's own classes with our transport underneath, a placeholder for a key, nothing from the
environment, and without the SDK's WebSockets, which would not go through the transport.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache, cached_property
from typing import Any, NoReturn, Self, TypedDict, TypeVar, Unpack

import httpx2
import openai
from openai import DEFAULT_TIMEOUT, NotGiven, Timeout

from lib.errors import NotMetered
from lib.ledger.ledger import Ledger
from lib.ledger.settlement_queue import Hold
from lib.llm.http import install_log_redaction
from lib.llm.metering.async_transport import MeteredAsyncTransport
from lib.llm.metering.transport import MeteredTransport
from lib.llm.metering.upstream_request import PLACEHOLDER_KEY
from lib.llm.openai import sdk
from lib.llm.openai.sdk import Carried
from lib.llm.provider import Provider
from lib.llm.sdk_clients import AsyncRunClient, CopyRules, RunClient
from lib.runs.lifecycle import StartedRun
from lib.settings import Settings

T = TypeVar("T")
_COPIES = CopyRules(
    NotGiven, frozenset({"api_key", "organization", "project", "webhook_secret", "_enforce_credentials"})
)


class _Options(TypedDict, total=False):
    """What a caller may choose, for the client or a copy of it."""

    base_url: str | httpx2.URL
    timeout: float | Timeout | NotGiven | None
    max_retries: int
    default_headers: Mapping[str, str] | None
    default_query: Mapping[str, object] | None


def make_client(
    provider: Provider, ledger: Ledger, settings: Settings, run: StartedRun, *, hold: Hold | None = None
) -> MeteredOpenAI:
    """An ``openai.OpenAI`` whose every request is a call of this run, which goes on while somebody has it."""
    sdk.require_supported()
    install_log_redaction()  # the HTTP stack writes down headers, and a provider may repeat the key in them
    transport = MeteredTransport(provider, ledger, settings, run)
    client = RunClient(transport, DEFAULT_TIMEOUT, Carried, hold)
    return MeteredOpenAI(base_url=settings.openai_base_url, http_client=client)


def make_async_client(
    provider: Provider, ledger: Ledger, settings: Settings, run: StartedRun, *, hold: Hold | None = None
) -> MeteredAsyncOpenAI:
    """Make a metered ``openai.AsyncOpenAI``; see ``make_client``."""
    sdk.require_supported()
    install_log_redaction()
    transport = MeteredAsyncTransport(provider, ledger, settings, run)
    client = AsyncRunClient(transport, DEFAULT_TIMEOUT, Carried, hold)
    return MeteredAsyncOpenAI(base_url=settings.openai_base_url, http_client=client)


def _refuse_websocket(*_: object, **__: object) -> NoReturn:
    raise NotMetered(
        "WebSocket connections are not metered and were not opened. Use responses.create(), with stream=True."
    )


@cache
def _without_websockets(resource: type[T]) -> type[T]:
    """A resource with ``connect`` refused, in it and in all that it leads to."""
    parts: dict[str, Any] = {"__module__": resource.__module__, "__doc__": resource.__doc__}
    if hasattr(resource, "connect"):
        parts["connect"] = _refuse_websocket
    parts |= _guarded_properties(resource)
    return type(resource.__name__, (resource,), parts)


def _guarded_properties(owner: type[Any]) -> dict[str, Any]:
    """A guarded twin of each property of ``owner`` that makes a resource."""
    found = {
        name: part
        for base in reversed(owner.__mro__)
        for name, part in vars(base).items()
        if isinstance(part, cached_property) and not name.startswith("with_")
    }
    return {name: _guarded_property(part.func) for name, part in found.items()}


def _guarded_property(make: Callable[[Any], Any]) -> cached_property[Any]:
    def guarded(owner: Any) -> Any:
        resource = make(owner)
        kind: Any = type(resource)
        resource.__class__ = _without_websockets(kind)
        return resource

    return cached_property(guarded)


def _guard(client: type[T]) -> type[T]:
    """Class decorator: none of the client's resources opens a WebSocket."""
    for name, part in _guarded_properties(client).items():
        part.__set_name__(client, name)
        setattr(client, name, part)
    return client


def _forget_environment(client: Any, headers: Mapping[str, str] | None) -> None:
    """Undo what the SDK took from ``OPENAI_*`` variables."""
    client.organization = client.project = client.admin_api_key = client.webhook_secret = None
    client._custom_headers = dict(headers or {})  # noqa: SLF001 - the SDK mixes OPENAI_CUSTOM_HEADERS into these
    client._ambient_authorizations = frozenset()  # noqa: SLF001


@_guard
class MeteredOpenAI(openai.OpenAI):
    """``openai.OpenAI`` for one run. Made by ``make_client``; ``with_options`` makes metered copies."""

    def __init__(self, *, http_client: httpx2.Client, **options: Unpack[_Options]) -> None:
        super().__init__(api_key=PLACEHOLDER_KEY, http_client=http_client, **options)
        _forget_environment(self, options.get("default_headers"))

    def copy(self, **options: Any) -> Self:
        """A copy with other options. Keys are chosen by Qodex; another address or way is refused (NotMetered)."""
        return type(self)(**_COPIES.options(self, options))

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
        return f"OpenAI/Python {openai.__version__}"


@_guard
class MeteredAsyncOpenAI(openai.AsyncOpenAI):
    """``openai.AsyncOpenAI`` for one run. Made by ``make_async_client``."""

    def __init__(self, *, http_client: httpx2.AsyncClient, **options: Unpack[_Options]) -> None:
        super().__init__(api_key=PLACEHOLDER_KEY, http_client=http_client, **options)
        _forget_environment(self, options.get("default_headers"))

    def copy(self, **options: Any) -> Self:
        """A copy with other options. Keys are chosen by Qodex; another address or way is refused (NotMetered)."""
        return type(self)(**_COPIES.options(self, options))

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
        return f"AsyncOpenAI/Python {openai.__version__}"
