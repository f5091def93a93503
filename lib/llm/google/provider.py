"""Google as a provider: the Gemini API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from lib.ledger.attempts import RequestProfile
from lib.ledger.ledger import Ledger
from lib.ledger.settlement_queue import Hold
from lib.llm.answers import StreamParser
from lib.llm.error_answers import ErrorAnswer
from lib.llm.google import key_check
from lib.llm.google.endpoints import GENERATING, METERED, place_of
from lib.llm.google.errors import classify_error
from lib.llm.google.key_format import KEY_FORMAT
from lib.llm.google.requests import parse_request, with_output_limit
from lib.llm.google.responses import parser_for
from lib.llm.key_check import Verdict
from lib.llm.probe import Probe
from lib.llm.provider import KeyHint, Links
from lib.llm.redaction import Cleaner
from lib.providers import GOOGLE
from lib.runs.lifecycle import StartedRun
from lib.secret import Secret
from lib.settings import Settings

if TYPE_CHECKING:
    from lib.llm.google.clients import MeteredAsyncGemini, MeteredGemini


class Google:
    """See ``lib.llm.provider.Provider``. The SDK is loaded with the first client: that takes a second."""

    facts = GOOGLE
    links = Links(
        usage="https://aistudio.google.com/usage",
        limits="https://aistudio.google.com/spend",
        keys="https://aistudio.google.com/api-keys",
    )
    key_hint = KeyHint(
        a_key="a Google key",
        placeholder="AQ.Ab… or AIza…",
        begins="It starts with AQ. or AIza.",
        create="Create a key for Qodex alone, in a Google Cloud project of its own.",
        restricted="Restrict it to the Gemini API: Google refuses keys of the old kind without a restriction.",
        spend_limit="Google's own spend cap acts about ten minutes late, batches may pass it, and it starts anew on "
        "the 1st of each month (Pacific time).",
    )
    test_models: tuple[str, ...] = (
        "gemini-3.5-flash-lite",
        "gemini-3.8-flash",
        "gemini-3.5-flash",
        "gemini-4-argon",
    )
    first_call = """run.google.models.generate_content(
    model="gemini-3.5-flash-lite", contents="Say hello",
    config={"max_output_tokens": 1000})"""
    key_headers = frozenset({"x-goog-api-key"})
    account_headers = frozenset({"x-goog-user-project", "x-goog-iam-authorization-token"})
    account_queries = frozenset({"key", "apikey", "accesstoken", "oauthtoken", "quotauser", "userproject"})
    harmless_queries = frozenset({"alt=sse"})

    def clean_key(self, text: str) -> Secret:
        """Return the key in what was pasted."""
        return KEY_FORMAT.clean(text)

    async def check(self, probe: Probe, secret: Secret) -> Verdict:
        """Ask whether the key may run models."""
        return await key_check.check(probe, secret, self.test_models[0])

    def authorize(self, secret: Secret) -> list[tuple[bytes, bytes]]:
        """Return the header that carries the key; never in the address, which ends up in logs."""
        return [(b"X-Goog-Api-Key", secret.reveal().encode("ascii"))]

    def must_read(self, path: str, content_type: str) -> bool:
        """Whether the body has to be in memory."""
        return place_of(path).endpoint in METERED or content_type.startswith("application/json")

    def profile(self, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> RequestProfile:
        """Tell what one request asks for."""
        return parse_request(method, path, body, headers)

    def region_of(self, host: str) -> str:  # noqa: ARG002 - part of the seam
        """Empty: there are no regional hosts."""
        return ""

    def sent_body(
        self,
        method: str,
        profile: RequestProfile,
        body: bytes,
        *,
        output_limit: int | None,
        on_platform: bool,  # noqa: ARG002 - no setting of an account changes the tier of a call
    ) -> bytes:
        """Return the body that leaves."""
        generates = method == "POST" and profile.endpoint in GENERATING
        if not generates or output_limit is None or profile.output_limit is not None:
            return body
        return with_output_limit(body, output_limit)

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

    def request_id_of(self, headers: Mapping[str, str], *secrets: Secret) -> str | None:  # noqa: ARG002
        """None: the id stands in the body of an answer (``responseId``), and in no header."""
        return None

    def client(
        self, ledger: Ledger, settings: Settings, run: StartedRun, *, hold: Hold | None = None
    ) -> MeteredGemini:
        """Make a ``google.genai.Client``."""
        from lib.llm.google import clients  # noqa: PLC0415 - takes a while to load

        return clients.make_client(self, ledger, settings, run, hold=hold)

    def async_client(
        self, ledger: Ledger, settings: Settings, run: StartedRun, *, hold: Hold | None = None
    ) -> MeteredAsyncGemini:
        """Make what is behind ``aio`` of such a client."""
        from lib.llm.google import clients  # noqa: PLC0415 - takes a while to load

        return clients.make_client(self, ledger, settings, run, hold=hold).aio

    def end_run(self, client: MeteredGemini | MeteredAsyncGemini) -> None:
        """Refuse what is asked of the client from now on."""
        from lib.llm.google import clients  # noqa: PLC0415 - it is loaded by now

        clients.end_run(client)

    def send_test_prompt(self, client: MeteredGemini, model: str, prompt: str) -> str | None:
        """Return the answer's text, if there was one."""
        from lib.llm.google.test_call import send_test_prompt  # noqa: PLC0415 - takes a while to load

        return send_test_prompt(client, model, prompt)
