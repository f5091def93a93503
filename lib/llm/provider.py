"""What a provider is: all that the meter and the key check need of one. Each stands in a folder of its own.

A provider holds no state and no key. To add one, see CONTRIBUTING.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import httpx2

from lib.ledger.attempts import RequestProfile
from lib.ledger.ledger import Ledger
from lib.ledger.settlement_queue import Hold
from lib.llm.answers import StreamParser
from lib.llm.error_answers import ErrorAnswer
from lib.llm.key_check import Checker
from lib.llm.redaction import Cleaner
from lib.runs.lifecycle import StartedRun
from lib.secret import Secret
from lib.settings import Settings


@dataclass(frozen=True, slots=True)
class Links:
    """Pages of the provider's own."""

    usage: str
    """Where the provider itself shows what was spent; BYOK spend is looked up there."""

    limits: str
    """Where the owner of a key sets the provider's own spend limits."""

    keys: str
    """Where keys are created and revoked."""


@dataclass(frozen=True, slots=True)
class KeyHint:
    """What to tell a person about the provider's keys; whole sentences, but for the first two."""

    a_key: str
    """What to call one, with its article; part of a sentence."""

    placeholder: str
    """How a key begins, for an empty field."""

    begins: str
    create: str
    restricted: str
    """Which restriction a key may have."""
    spend_limit: str = ""
    """What the provider's own spend limit does otherwise than its name says."""

    @property
    def help(self) -> str:
        """All of it, beside the field."""
        return f"{self.begins} {self.create} {self.restricted} {self.spend_limit}".strip()


class Provider(Checker, Protocol):
    """A company that runs models, and how it is spoken to. ``facts`` is what every room may know of it."""

    links: Links
    key_hint: KeyHint

    test_models: tuple[str, ...]
    """Models to offer for a test call, the cheapest usual one first."""

    first_call: str
    """A first call in Python, for people: lines that use ``run``."""

    key_headers: frozenset[str]
    """Names of the headers that ``authorize`` makes, in small letters: they leave memory once they are sent."""

    account_headers: frozenset[str]
    """Names of headers, in small letters, by which a caller could change who is billed: they are not passed on."""

    account_queries: frozenset[str]
    """Names of parameters of an address, in small letters without ``$`` and ``_``, that do so: they are refused."""

    harmless_queries: frozenset[str]
    """Queries of an address that change nothing of what a request costs."""

    def clean_key(self, text: str) -> Secret:
        """Return the key in what was pasted. Raises KeyMalformed, with a sentence that says what it is instead."""

    def authorize(self, secret: Secret) -> list[tuple[bytes, bytes]]:
        """Return the headers that carry the key."""

    def must_read(self, path: str, content_type: str) -> bool:
        """Whether the body has to be in memory: it is metered, or names a model; no uploads."""

    def profile(self, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> RequestProfile:
        """Tell what one request asks for.

        Args:
            method: HTTP method, upper case.
            path: the path under the base URL, without a leading slash and without the query.
            body: the whole body as it would be sent; empty where it is not in memory.
            headers: the request's own.
        """

    def region_of(self, host: str) -> str:
        """The region of one of the provider's hosts where it changes the price; empty for any other host."""

    def sent_body(
        self,
        method: str,
        profile: RequestProfile,
        body: bytes,
        *,
        output_limit: int | None,
        on_platform: bool,
    ) -> bytes:
        """Return the body that leaves: the caller's own, but for what the meter has to add.

        Args:
            method: the request's.
            profile: what it asks for.
            body: the caller's.
            output_limit: tokens of an answer at most, where the request sets no limit itself; None for none.
            on_platform: the platform pays: no setting of its account may change what the call costs.
        """

    def parser(
        self, method: str, profile: RequestProfile, body: bytes, content_type: str, cleaner: Cleaner
    ) -> StreamParser:
        """Choose the parser for a 2xx answer to that request. ``cleaner`` takes the key out."""

    def classify_error(
        self, status: int, body: bytes, headers: Mapping[str, str], *secrets: Secret
    ) -> ErrorAnswer:
        """Understand an answer whose status is not 2xx; ``secrets`` are taken out of every text."""

    def request_id_of(self, headers: Mapping[str, str], *secrets: Secret) -> str | None:
        """Return the provider's id of the request, to quote to its support; None where it is no plain id."""

    def client(self, ledger: Ledger, settings: Settings, run: StartedRun, *, hold: Hold | None = None) -> Any:
        """Make a genuine client of the provider's SDK whose every request is a call of this run."""

    def async_client(
        self, ledger: Ledger, settings: Settings, run: StartedRun, *, hold: Hold | None = None
    ) -> Any:
        """Make the asynchronous one."""

    def end_run(self, client: Any) -> None:
        """Refuse what is asked of a client of either kind from now on: its run has ended."""

    def send_test_prompt(self, client: Any, model: str, prompt: str) -> str | None:
        """Return the answer's text; None where the provider answered with an error, something odd, or not at all."""


def base_url_of(provider: Provider, settings: Settings) -> httpx2.URL:
    """Where the provider is."""
    return httpx2.URL(settings.provider(provider.facts.name).base_url.rstrip("/") + "/")
