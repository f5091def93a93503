"""Checking a key with its provider before it is saved: bounded in time, and what each answer means for a key."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Literal, Protocol

import httpx2

from lib.errors import KeyRejected, KeyUnchecked
from lib.llm.error_answers import ErrorAnswer, ErrorKind
from lib.llm.http import async_inner_transport, install_log_redaction
from lib.llm.probe import NoAnswer, Probe, within
from lib.providers import ProviderFacts
from lib.secret import Secret
from lib.settings import Settings

DEADLINE = 10.0
"""Seconds that a whole check may take, all its requests together."""


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The key is genuine and may be saved.

    ``working``: nothing stands in its way. ``warning``: the provider knows the key, but calls will fail until
    its owner does something; ``message`` says what, ``code`` is the provider's.
    """

    status: Literal["working", "warning"]
    code: str | None
    message: str
    request_id: str | None
    obstacle: Literal["money", "address"] | None = None
    """Set where no call can succeed now: no money, or not from this server's address."""
    workspace: str | None = None
    """Who pays at the provider, where its answer names that."""


Verdict = CheckResult | KeyRejected | KeyUnchecked


class Checker(Protocol):
    """What a check needs of a provider (lib.llm.provider has the whole of it)."""

    facts: ProviderFacts

    def authorize(self, secret: Secret) -> list[tuple[bytes, bytes]]: ...

    async def check(self, probe: Probe, secret: Secret) -> Verdict: ...


_GENUINE_BUT: dict[ErrorKind, str] = {
    "out_of_money": "The key is genuine, but its account is out of money or at its spend limit",
    "wrong_address": "The key is genuine, but may not be used from this server's address",
    "no_model": "The key is genuine, but its project does not have the model that was asked for",
    "unverified_org": "The key is genuine, but its organization is not verified",
    "restricted_account": "The key is genuine, but its organization is restricted",
}
_OBSTACLES: dict[ErrorKind, Literal["money", "address"]] = {
    "out_of_money": "money",
    "wrong_address": "address",
}


def check_key(
    provider: Checker, secret: Secret, settings: Settings, *, deadline: float = DEADLINE
) -> CheckResult:
    """Ask the provider whether the key may run models, over the transport that runs use. Costs nothing.

    Blocks for at most ``deadline`` seconds; may be called from any thread, also inside an event loop.

    Raises:
        KeyRejected: the provider refused the key; carries its own message.
        KeyUnchecked: the provider could not be asked, or its answer decides nothing.
        SettingsError: the proxy or certificate setting is not usable.
    """
    install_log_redaction()  # a provider may repeat the key in its headers, which the HTTP stack writes down
    base_url, title = settings.provider(provider.facts.name).base_url, provider.facts.title
    transport = async_inner_transport(settings, base_url)
    authorize = partial(provider.authorize, secret)  # the key is in no variable that a traceback could show
    probe = Probe(transport, base_url, authorize, title=title, connecting=deadline / 2)
    verdict: Verdict
    try:
        verdict = within(deadline, partial(_verdict, provider, transport, probe, secret), title=title)
    except NoAnswer as silence:
        verdict = KeyUnchecked(str(silence))
    # Raised here and not where it was found: those frames hold the request with the key in it.
    if isinstance(verdict, CheckResult):
        return verdict
    raise verdict


async def _verdict(
    provider: Checker, transport: httpx2.AsyncHTTPTransport, probe: Probe, secret: Secret
) -> Verdict:
    async with transport:
        return await provider.check(probe, secret)


def judge(answer: ErrorAnswer, facts: ProviderFacts) -> Verdict:
    """What an error answer means for the key that was sent, where its kind alone decides."""
    if answer.is_web_page:
        return undecided(answer, facts)
    if answer.kind == "rejected":
        return rejected(answer, facts)
    if answer.kind == "rate_limited":
        sentence = f"{facts.title} accepted the key. Its rate limit is reached at the moment."
        return CheckResult("working", answer.code, sentence, answer.request_id)
    if answer.kind in _GENUINE_BUT:
        sentence = f"{_GENUINE_BUT[answer.kind]}: {_sentence(answer.message)}"
        return CheckResult("warning", answer.code, sentence, answer.request_id, _OBSTACLES.get(answer.kind))
    return undecided(answer, facts)


def rejected(answer: ErrorAnswer, facts: ProviderFacts) -> KeyRejected:
    """The provider refused the key, in its own words."""
    return KeyRejected(
        status=answer.status,
        code=answer.code,
        message=_sentence(answer.message),
        request_id=answer.request_id,
        provider=facts.name,
    )


def undecided(answer: ErrorAnswer, facts: ProviderFacts) -> KeyUnchecked:
    """An answer that says nothing about the key."""
    if 300 <= answer.status < 400:  # noqa: PLR2004
        reason = "The address answered with a redirect, which is never followed with a key."
    elif answer.is_web_page:
        reason = f"A web page came instead of {facts.title}'s answer (HTTP {answer.status})."
    elif answer.status < 400:  # noqa: PLR2004
        reason = f"The answer makes no sense (HTTP {answer.status})."
    else:
        reason = f"{facts.title} answered {answer.status}: {_sentence(answer.message)}"
    return KeyUnchecked(reason, status=answer.status, request_id=answer.request_id)


def _sentence(message: str) -> str:
    return message if message.endswith((".", "!", "?", "…")) else f"{message}."
