"""The providers that work here, by name. A new one has its line in ``_LIVE``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

from lib import providers
from lib.errors import BadInput
from lib.ledger.ledger import Ledger
from lib.ledger.settlement_queue import Hold
from lib.llm.anthropic.provider import Anthropic
from lib.llm.google.provider import Google
from lib.llm.openai.clients import MeteredAsyncOpenAI, MeteredOpenAI
from lib.llm.openai.provider import OpenAI
from lib.llm.provider import Provider
from lib.runs.lifecycle import StartedRun
from lib.settings import Settings

if TYPE_CHECKING:
    from lib.llm.anthropic.clients import MeteredAnthropic, MeteredAsyncAnthropic
    from lib.llm.google.clients import MeteredAsyncGemini, MeteredGemini

_LIVE: dict[str, Provider] = {each.facts.name: each for each in (OpenAI(), Anthropic(), Google())}


def live() -> list[Provider]:
    """All providers that keys can be saved for and calls can be made to."""
    return list(_LIVE.values())


def provider(name: str) -> Provider:
    """Return the provider of that name. Raises BadInput where there is none."""
    found = _LIVE.get(name)
    if found is None:
        raise BadInput(f"Only {titles()} keys can be saved.")
    return found


def titles() -> str:
    """What to call all providers together, as alternatives."""
    return providers.titles(_LIVE)


class Clients:
    """The genuine clients of one run, made when they are first asked for.

    The property of a provider has its name, that of its asynchronous client ``async_`` before it. A client keeps
    its run going, by ``hold``, while somebody has it.
    """

    def __init__(self, ledger: Ledger, settings: Settings, started: StartedRun, hold: Hold) -> None:
        self.started = started
        self._ledger = ledger
        self._settings = settings
        self._hold = hold

    @cached_property
    def openai(self) -> MeteredOpenAI:
        """A genuine ``openai.OpenAI``: keys, caps and metering happen in its transport, for each request."""
        made: MeteredOpenAI = self.client("openai")
        return made

    @cached_property
    def async_openai(self) -> MeteredAsyncOpenAI:
        """A genuine ``openai.AsyncOpenAI``: keys, caps and metering happen in its transport, for each request."""
        made: MeteredAsyncOpenAI = self.async_client("openai")
        return made

    @cached_property
    def anthropic(self) -> MeteredAnthropic:
        """A genuine ``anthropic.Anthropic``: keys, caps and metering happen in its transport, for each request."""
        made: MeteredAnthropic = self.client("anthropic")
        return made

    @cached_property
    def async_anthropic(self) -> MeteredAsyncAnthropic:
        """A genuine ``anthropic.AsyncAnthropic``: keys, caps and metering happen in its transport, for each request."""
        made: MeteredAsyncAnthropic = self.async_client("anthropic")
        return made

    @cached_property
    def google(self) -> MeteredGemini:
        """A genuine ``google.genai.Client``: keys, caps and metering happen in its transports, for each request."""
        made: MeteredGemini = self.client("google")
        return made

    @cached_property
    def async_google(self) -> MeteredAsyncGemini:
        """What is behind ``aio`` of ``google``."""
        return self.google.aio

    def client(self, name: str) -> Any:
        """The client of the provider of that name. Raises BadInput where there is no such provider."""
        return self._kept(name, provider(name).client)

    def async_client(self, name: str) -> Any:
        """The asynchronous client of the provider of that name. Raises BadInput where there is no such provider."""
        return self._kept(f"async_{name}", provider(name).async_client)

    def _kept(self, name: str, make: Callable[..., Any]) -> Any:
        if name not in self.__dict__:
            self.__dict__[name] = make(self._ledger, self._settings, self.started, hold=self._hold)
        return self.__dict__[name]

    def _end_clients(self) -> None:
        """Refuse what is asked of the clients from now on: the run has ended."""
        for each in live():
            for name in {each.facts.name, f"async_{each.facts.name}"} & self.__dict__.keys():
                each.end_run(self.__dict__[name])

    def _close_clients(self) -> None:
        for name in [each.facts.name for each in live()]:
            if name in self.__dict__:
                self.__dict__[name].close()

    async def _close_async_clients(self) -> None:
        for name in [each.facts.name for each in live()]:
            if (client := self.__dict__.get(f"async_{name}")) is not None:
                await client.close()
            # One client of both kinds has a way of its own to close the asynchronous half.
            if (close := getattr(self.__dict__.get(name), "aclose", None)) is not None:
                await close()


@contextmanager
def registered(added: Provider) -> Iterator[None]:
    """Have one more provider meanwhile, for a test of the seam."""
    providers.known.add(added.facts)
    _LIVE[added.facts.name] = added
    try:
        yield
    finally:
        del _LIVE[added.facts.name]
        providers.known.remove(added.facts.name)
