"""Anthropic as a provider."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from lib.ledger.attempts import RequestProfile
from lib.ledger.ledger import Ledger
from lib.ledger.settlement_queue import Hold
from lib.llm.answers import StreamParser
from lib.llm.anthropic import key_check
from lib.llm.anthropic.endpoints import MESSAGES, endpoint_of
from lib.llm.anthropic.errors import classify_error, request_id_of
from lib.llm.anthropic.key_format import KEY_FORMAT
from lib.llm.anthropic.requests import parse_request, with_output_limit, with_standard_tier
from lib.llm.anthropic.responses import parser_for
from lib.llm.error_answers import ErrorAnswer
from lib.llm.key_check import Verdict
from lib.llm.probe import Probe
from lib.llm.provider import KeyHint, Links
from lib.llm.redaction import Cleaner
from lib.llm.sdk_clients import end_run
from lib.providers import ANTHROPIC
from lib.runs.lifecycle import StartedRun
from lib.secret import Secret
from lib.settings import Settings

if TYPE_CHECKING:
    from lib.llm.anthropic.clients import MeteredAnthropic, MeteredAsyncAnthropic


class Anthropic:
    """See ``lib.llm.provider.Provider``. The SDK is loaded with the first client: that takes a second."""

    facts = ANTHROPIC
    links = Links(
        usage="https://platform.claude.com/usage",
        limits="https://platform.claude.com/settings/limits",
        keys="https://platform.claude.com/settings/keys",
    )
    key_hint = KeyHint(
        a_key="an Anthropic key",
        placeholder="sk-ant-…",
        begins="It starts with sk-ant-api.",
        create="Create a key for Qodex alone, of a service account, in a workspace of its own.",
        restricted="A key that is scoped to a workspace cannot administer the organization.",
    )
    test_models: tuple[str, ...] = (
        "claude-haiku-4-5",
        "claude-haiku-5-5",
        "claude-sonnet-5-5",
        "claude-opus-5-5",
    )
    first_call = """run.anthropic.messages.create(
    model="claude-haiku-4-5", max_tokens=100,
    messages=[{"role": "user", "content": "Say hello"}])"""
    key_headers = frozenset({"authorization"})
    account_headers = frozenset(
        {"anthropic-workspace-id", "anthropic-organization-id", "anthropic-user-profile-id"}
    )
    account_queries: frozenset[str] = frozenset()
    harmless_queries: frozenset[str] = frozenset()

    def clean_key(self, text: str) -> Secret:
        """Return the key in what was pasted."""
        return KEY_FORMAT.clean(text)

    async def check(self, probe: Probe, secret: Secret) -> Verdict:
        """Ask whether the key may run models."""
        return await key_check.check(probe, secret)

    def authorize(self, secret: Secret) -> list[tuple[bytes, bytes]]:
        """Return the header that carries the key."""
        return [(b"Authorization", b"Bearer " + secret.reveal().encode("ascii"))]

    def must_read(self, path: str, content_type: str) -> bool:
        """Whether the body has to be in memory."""
        return endpoint_of(path) == MESSAGES or content_type.startswith("application/json")

    def profile(self, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> RequestProfile:
        """Tell what one request asks for."""
        return parse_request(method, path, body, headers)

    def region_of(self, host: str) -> str:  # noqa: ARG002 - where inference took place, the answer tells
        """Empty: there are no regional hosts."""
        return ""

    def sent_body(
        self,
        method: str,
        profile: RequestProfile,
        body: bytes,
        *,
        output_limit: int | None,
        on_platform: bool,
    ) -> bytes:
        """Return the body that leaves."""
        if method != "POST" or profile.endpoint != MESSAGES:
            return body
        if output_limit is not None and profile.output_limit is None:
            body = with_output_limit(body, output_limit)
        return with_standard_tier(body) if on_platform else body

    def parser(
        self,
        method: str,
        profile: RequestProfile,
        body: bytes,  # noqa: ARG002 - part of the seam
        content_type: str,
        cleaner: Cleaner,
    ) -> StreamParser:
        """Choose the parser for an answer."""
        return parser_for(method, profile, content_type, cleaner)

    def classify_error(
        self, status: int, body: bytes, headers: Mapping[str, str], *secrets: Secret
    ) -> ErrorAnswer:
        """Understand an answer whose status is not 2xx."""
        return classify_error(status, body, headers, *secrets)

    def request_id_of(self, headers: Mapping[str, str], *secrets: Secret) -> str | None:
        """Return Anthropic's id of the request."""
        return request_id_of(headers, *secrets)

    def client(
        self, ledger: Ledger, settings: Settings, run: StartedRun, *, hold: Hold | None = None
    ) -> MeteredAnthropic:
        """Make an ``anthropic.Anthropic``."""
        from lib.llm.anthropic import clients  # noqa: PLC0415 - takes a while to load

        return clients.make_client(self, ledger, settings, run, hold=hold)

    def async_client(
        self, ledger: Ledger, settings: Settings, run: StartedRun, *, hold: Hold | None = None
    ) -> MeteredAsyncAnthropic:
        """Make an ``anthropic.AsyncAnthropic``."""
        from lib.llm.anthropic import clients  # noqa: PLC0415 - takes a while to load

        return clients.make_async_client(self, ledger, settings, run, hold=hold)

    def end_run(self, client: MeteredAnthropic | MeteredAsyncAnthropic) -> None:
        """Refuse what is asked of the client and its copies from now on."""
        end_run(client)

    def send_test_prompt(self, client: MeteredAnthropic, model: str, prompt: str) -> str | None:
        """Return the answer's text, if there was one."""
        from lib.llm.anthropic.test_call import send_test_prompt  # noqa: PLC0415 - takes a while to load

        return send_test_prompt(client, model, prompt)
