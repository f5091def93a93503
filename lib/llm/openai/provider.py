"""OpenAI as a provider."""

from __future__ import annotations

from collections.abc import Mapping

import openai

from lib.ledger.attempts import RequestProfile
from lib.ledger.ledger import Ledger
from lib.ledger.settlement_queue import Hold
from lib.llm.answers import StreamParser
from lib.llm.error_answers import ErrorAnswer
from lib.llm.key_check import Verdict
from lib.llm.openai import clients, key_check
from lib.llm.openai.clients import MeteredAsyncOpenAI, MeteredOpenAI
from lib.llm.openai.endpoints import CHAT, METERED, region_of
from lib.llm.openai.errors import classify_error, request_id_of
from lib.llm.openai.key_format import KEY_FORMAT
from lib.llm.openai.requests import parse_request, with_output_limit, with_standard_tier, with_stream_usage
from lib.llm.openai.responses import parser_for
from lib.llm.openai.test_call import send_test_prompt
from lib.llm.probe import Probe
from lib.llm.provider import KeyHint, Links
from lib.llm.redaction import Cleaner
from lib.llm.sdk_clients import end_run
from lib.providers import OPENAI
from lib.runs.lifecycle import StartedRun
from lib.secret import Secret
from lib.settings import Settings


class OpenAI:
    """See ``lib.llm.provider.Provider``."""

    facts = OPENAI
    links = Links(
        usage="https://platform.openai.com/usage",
        limits="https://platform.openai.com/settings/organization/limits",
        keys="https://platform.openai.com/api-keys",
    )
    key_hint = KeyHint(
        a_key="an OpenAI key",
        placeholder="sk-…",
        begins="It starts with sk-.",
        create="Create a key for Qodex alone, in an OpenAI project of its own.",
        restricted="Restricted keys work if they can call models.",
    )
    test_models: tuple[str, ...] = (
        "gpt-5-mini",
        "gpt-5-nano",
        "gpt-5",
        "gpt-4.1-mini",
        "gpt-4.1-nano",
        "o4-mini",
    )
    first_call = """run.openai.responses.create(
    model="gpt-5-mini", input="Say hello")"""
    key_headers = frozenset({"authorization"})
    account_headers = frozenset({"openai-organization", "openai-project"})
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
        return path in METERED or content_type.startswith("application/json")

    def profile(self, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> RequestProfile:
        """Tell what one request asks for."""
        return parse_request(method, path, body, headers)

    def region_of(self, host: str) -> str:
        """The region of a data-residency host."""
        return region_of(host)

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
        endpoint = profile.endpoint
        if method != "POST" or endpoint not in METERED:
            return body
        if output_limit is not None and profile.output_limit is None:
            body = with_output_limit(body, endpoint, output_limit)
        if on_platform and profile.service_tier is None:
            # Else the tier is the one that the provider account's settings name.
            body = with_standard_tier(body, endpoint)
        return with_stream_usage(body) if endpoint == CHAT and profile.streaming else body

    def parser(
        self, method: str, profile: RequestProfile, body: bytes, content_type: str, cleaner: Cleaner
    ) -> StreamParser:
        """Choose the parser for an answer."""
        # The usage of a chat stream that only we asked for is ours alone.
        is_chat_stream = method == "POST" and profile.endpoint == CHAT and profile.streaming
        drop_usage = is_chat_stream and with_stream_usage(body) is not body
        return parser_for(method, profile, content_type, cleaner, drop_usage=drop_usage)

    def classify_error(
        self, status: int, body: bytes, headers: Mapping[str, str], *secrets: Secret
    ) -> ErrorAnswer:
        """Understand an answer whose status is not 2xx."""
        return classify_error(status, body, headers, *secrets)

    def request_id_of(self, headers: Mapping[str, str], *secrets: Secret) -> str | None:
        """Return OpenAI's id of the request."""
        return request_id_of(headers, *secrets)

    def client(
        self, ledger: Ledger, settings: Settings, run: StartedRun, *, hold: Hold | None = None
    ) -> MeteredOpenAI:
        """Make an ``openai.OpenAI``."""
        return clients.make_client(self, ledger, settings, run, hold=hold)

    def async_client(
        self, ledger: Ledger, settings: Settings, run: StartedRun, *, hold: Hold | None = None
    ) -> MeteredAsyncOpenAI:
        """Make an ``openai.AsyncOpenAI``."""
        return clients.make_async_client(self, ledger, settings, run, hold=hold)

    def end_run(self, client: MeteredOpenAI | MeteredAsyncOpenAI) -> None:
        """Refuse what is asked of the client and its copies from now on."""
        end_run(client)

    def send_test_prompt(self, client: openai.OpenAI, model: str, prompt: str) -> str | None:
        """Return the answer's text, if there was one."""
        return send_test_prompt(client, model, prompt)
