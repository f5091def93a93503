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

from lib.errors import NotMetered, QodexError, RunEnded
from lib.ledger.ledger import Ledger
from lib.ledger.settlement_queue import Hold
from lib.llm.async_transport import MeteredAsyncTransport
from lib.llm.http import install_log_redaction
from lib.llm.openai import sdk
from lib.llm.openai.sdk import Carried
from lib.llm.provider import Provider
from lib.llm.transport import MeteredTransport
from lib.llm.upstream_request import PLACEHOLDER_KEY
from lib.runs.lifecycle import StartedRun
from lib.settings import Settings

T = TypeVar("T")
_RUN_ENDED = "This run has ended. Start another one for more calls."
_NOT_GIVEN = NotGiven()
_IGNORED = frozenset({"api_key", "organization", "project", "webhook_secret", "_enforce_credentials"})


class _Options(TypedDict, total=False):
    """What a caller may choose, for the client or a copy of it."""

    base_url: str | httpx2.URL
    timeout: float | Timeout | NotGiven | None
    max_retries: int
    default_headers: Mapping[str, str] | None
    default_query: Mapping[str, object] | None


class _RunClient(httpx2.Client):
    """Sends the requests of one run, and keeps the run going while somebody has it."""

    hold: Hold | None = None
    run_has_ended = False

    def send(self, request: httpx2.Request, **options: Any) -> httpx2.Response:
        """Send one request. Raises Carried with what is an error of ours."""
        try:
            if self.run_has_ended:
                raise RunEnded(_RUN_ENDED)
            return super().send(request, **options)
        except QodexError as error:
            raise Carried(error) from None


class _AsyncRunClient(httpx2.AsyncClient):
    """``_RunClient`` for asyncio."""

    hold: Hold | None = None
    run_has_ended = False

    async def send(self, request: httpx2.Request, **options: Any) -> httpx2.Response:
        """Send one request. Raises Carried with what is an error of ours."""
        try:
            if self.run_has_ended:
                raise RunEnded(_RUN_ENDED)
            return await super().send(request, **options)
        except QodexError as error:
            raise Carried(error) from None


def make_client(
    provider: Provider, ledger: Ledger, settings: Settings, run: StartedRun, *, hold: Hold | None = None
) -> MeteredOpenAI:
    """An ``openai.OpenAI`` whose every request is a call of this run, which goes on while somebody has it."""
    sdk.require_supported()
    install_log_redaction()  # the HTTP stack writes down headers, and a provider may repeat the key in them
    transport = MeteredTransport(provider, ledger, settings, run)
    client = _RunClient(transport=transport, trust_env=False, follow_redirects=False, timeout=DEFAULT_TIMEOUT)
    client.hold = hold
    return MeteredOpenAI(base_url=settings.openai_base_url, http_client=client)


def make_async_client(
    provider: Provider, ledger: Ledger, settings: Settings, run: StartedRun, *, hold: Hold | None = None
) -> MeteredAsyncOpenAI:
    """Make a metered ``openai.AsyncOpenAI``; see ``make_client``."""
    sdk.require_supported()
    install_log_redaction()
    transport = MeteredAsyncTransport(provider, ledger, settings, run)
    client = _AsyncRunClient(
        transport=transport, trust_env=False, follow_redirects=False, timeout=DEFAULT_TIMEOUT
    )
    client.hold = hold
    return MeteredAsyncOpenAI(base_url=settings.openai_base_url, http_client=client)


def end_run(client: MeteredOpenAI | MeteredAsyncOpenAI) -> None:
    """Refuse what is asked of the client from now on, and of its copies: its run has ended."""
    transport: Any = client._client  # noqa: SLF001 - shared by all copies
    transport.run_has_ended = True


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


def _copied_options(client: Any, options: dict[str, Any]) -> dict[str, Any]:
    """What a copy is made of.

    Raises:
        NotMetered: it would go elsewhere, or by another way.
    """
    if options.get("base_url") and str(options["base_url"]).rstrip("/") == str(client.base_url).rstrip("/"):
        del options["base_url"]
    kept = {
        "timeout",
        "max_retries",
        "default_headers",
        "set_default_headers",
        "default_query",
        "set_default_query",
    }
    refused = [
        name
        for name, value in options.items()
        if name not in kept | _IGNORED
        and value is not None
        and not isinstance(value, NotGiven)
        and value != {}
    ]
    if refused:
        raise NotMetered(f"{refused[0]} cannot be changed: the request would bypass metering.")
    return {
        "base_url": client.base_url,
        "http_client": client._client,  # noqa: SLF001 - the copy shares it, as the SDK's own copies do
        "timeout": _given(options.get("timeout", _NOT_GIVEN), client.timeout),
        "max_retries": _given(options.get("max_retries", _NOT_GIVEN), client.max_retries),
        "default_headers": _merged(client._custom_headers, options, "default_headers"),  # noqa: SLF001
        "default_query": _merged(client._custom_query, options, "default_query"),  # noqa: SLF001
    }


def _given(value: Any, otherwise: Any) -> Any:
    return otherwise if isinstance(value, NotGiven) else value


def _merged(current: Mapping[str, Any], options: dict[str, Any], name: str) -> dict[str, Any]:
    added, replacing = options.get(name), options.get(f"set_{name}")
    if added is not None and replacing is not None:
        raise ValueError(f"The `{name}` and `set_{name}` arguments are mutually exclusive")
    return dict(replacing) if replacing is not None else {**current, **(added or {})}


@_guard
class MeteredOpenAI(openai.OpenAI):
    """``openai.OpenAI`` for one run. Made by ``make_client``; ``with_options`` makes metered copies."""

    def __init__(self, *, http_client: httpx2.Client, **options: Unpack[_Options]) -> None:
        super().__init__(api_key=PLACEHOLDER_KEY, http_client=http_client, **options)
        _forget_environment(self, options.get("default_headers"))

    def copy(self, **options: Any) -> Self:
        """A copy with other options. Keys are chosen by Qodex; another address or way is refused (NotMetered)."""
        return type(self)(**_copied_options(self, options))

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
        return type(self)(**_copied_options(self, options))

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
