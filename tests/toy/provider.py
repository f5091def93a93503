"""The toy provider behind the seam."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from lib.errors import KeyMalformed, KeyUnchecked
from lib.ledger.attempts import RequestProfile
from lib.ledger.ledger import Ledger
from lib.ledger.settlement_queue import Hold
from lib.llm.answers import StreamParser
from lib.llm.error_answers import ErrorAnswer
from lib.llm.key_check import CheckResult, Verdict, judge
from lib.llm.metering.async_transport import MeteredAsyncTransport
from lib.llm.metering.transport import MeteredTransport
from lib.llm.probe import Probe
from lib.llm.provider import KeyHint, Links
from lib.llm.redaction import Cleaner
from lib.runs.lifecycle import StartedRun
from lib.secret import Secret
from lib.settings import Settings
from tests.toy import answers
from tests.toy.client import AsyncToyClient, ToyClient, ToyError
from tests.toy.facts import TOY

_KEY = re.compile(r"toy\.(live|svc)\.[A-Za-z0-9]{8,64}")
_GENERATE = re.compile(r"engines/([\w.-]{1,100}):generate", re.ASCII)


class Toy:
    """See ``lib.llm.provider.Provider``."""

    facts = TOY
    links = Links(
        "https://toyland.invalid/usage", "https://toyland.invalid/limits", "https://toyland.invalid/keys"
    )
    key_hint = KeyHint("a Toyland key", "toy.live.…", "It starts with toy.", "Create one.", "Any will do.")
    test_models: tuple[str, ...] = ("tin-soldier-1",)
    first_call = 'run.client("toy").generate("tin-soldier-1", "Say hello")'
    key_headers = frozenset({"x-toy-key"})
    account_headers = frozenset({"x-toy-purse"})
    account_queries = frozenset({"purse"})
    harmless_queries = frozenset({"as=lines"})

    def clean_key(self, text: str) -> Secret:
        key = text.strip()
        if key.startswith("toy.admin."):
            raise KeyMalformed("This is a key for administrators of Toyland, which runs no engine.")
        if not _KEY.fullmatch(key):
            raise KeyMalformed("This is not a Toyland key: those begin with toy.live. or toy.svc.")
        return Secret(key)

    async def check(self, probe: Probe, secret: Secret) -> Verdict:
        reply = await probe.get("engines")
        if reply.status != 200:
            return judge(answers.classify_error(reply.status, reply.body, reply.headers, secret), TOY)
        if not isinstance(reply.json, dict) or "engines" not in reply.json:
            return KeyUnchecked("The answer did not come from Toyland's interface.")
        return CheckResult("working", None, "Toyland accepted the key.", answers.request_id_of(reply.headers))

    def authorize(self, secret: Secret) -> list[tuple[bytes, bytes]]:
        return [(b"X-Toy-Key", secret.reveal().encode("ascii"))]

    def must_read(self, path: str, content_type: str) -> bool:
        return True

    def profile(self, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> RequestProfile:
        found = _GENERATE.fullmatch(path) if method == "POST" else None
        fields: dict[str, Any] = answers.parsed(body)
        most = fields.get("most")
        return RequestProfile(
            endpoint="generate" if found else path[:200],
            model=found[1] if found else "",
            input_bytes=len(body),
            output_limit=most if type(most) is int and most >= 0 else None,
            choices=1,
            uses_context_window="picture" in fields,
            cost_unbounded=None if found else "this endpoint has no known cost ceiling",
            free=False,
            streaming=bool(fields.get("lines")),
        )

    def region_of(self, host: str) -> str:
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
        if output_limit is None or profile.endpoint != "generate":
            return body
        return json.dumps(answers.parsed(body) | {"most": output_limit}).encode()

    def parser(
        self, method: str, profile: RequestProfile, body: bytes, content_type: str, cleaner: Cleaner
    ) -> StreamParser:
        return answers.parser_for(profile, content_type, cleaner)

    def classify_error(
        self, status: int, body: bytes, headers: Mapping[str, str], *secrets: Secret
    ) -> ErrorAnswer:
        return answers.classify_error(status, body, headers, *secrets)

    def request_id_of(self, headers: Mapping[str, str], *secrets: Secret) -> str | None:
        return answers.request_id_of(headers, *secrets)

    def client(
        self, ledger: Ledger, settings: Settings, run: StartedRun, *, hold: Hold | None = None
    ) -> ToyClient:
        return ToyClient(
            settings.provider("toy").base_url, MeteredTransport(self, ledger, settings, run), hold
        )

    def async_client(
        self, ledger: Ledger, settings: Settings, run: StartedRun, *, hold: Hold | None = None
    ) -> AsyncToyClient:
        transport = MeteredAsyncTransport(self, ledger, settings, run)
        return AsyncToyClient(settings.provider("toy").base_url, transport, hold)

    def end_run(self, client: ToyClient | AsyncToyClient) -> None:
        """A closed client sends nothing more."""

    def send_test_prompt(self, client: ToyClient, model: str, prompt: str) -> str | None:
        try:
            return answers.text_of(client.generate(model, prompt))
        except (ToyError, ValueError):
            return None
