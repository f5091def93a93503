"""What a provider is, and how one of its keys is checked before it is saved."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Literal

import httpx2

from lib.errors import KeyRejected, KeyUnchecked
from lib.llm.http import async_inner_transport, install_log_redaction
from lib.llm.openai.errors import ErrorAnswer, ErrorKind, classify_error, request_id_of
from lib.llm.openai.key_format import clean_key
from lib.llm.openai.probe import NoAnswer, Probe, Reply, within
from lib.secret import Secret
from lib.settings import Settings

__all__ = ["DEADLINE", "PROVIDERS", "CheckResult", "Provider", "check_key", "clean_key", "provider"]

DEADLINE = 10.0
"""Seconds that a whole check may take, all its requests together."""


@dataclass(frozen=True, slots=True)
class Provider:
    """A company that runs models. Where ``live`` is false it is planned: shown, but not to be used."""

    name: str
    title: str
    live: bool
    usage_page: str | None = None
    """Where the provider itself shows what was spent; BYOK spend is looked up there."""

    limits_page: str | None = None
    """Where the owner of a key sets the provider's own spend limits."""

    keys_page: str | None = None
    """Where keys are created and revoked."""


PROVIDERS = (
    Provider(
        "openai",
        "OpenAI",
        live=True,
        usage_page="https://platform.openai.com/usage",
        limits_page="https://platform.openai.com/settings/organization/limits",
        keys_page="https://platform.openai.com/api-keys",
    ),
    Provider("anthropic", "Anthropic", live=False),
    Provider("google", "Google", live=False),
)


def provider(name: str) -> Provider:
    """Return the provider of that name. Raises KeyError for a name that is none."""
    return {known.name: known for known in PROVIDERS}[name]


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


Verdict = CheckResult | KeyRejected | KeyUnchecked

_GENUINE_BUT: dict[ErrorKind, str] = {
    "out_of_money": "The key is genuine, but its account is out of money or at its spend limit",
    "wrong_address": "The key is genuine, but may not be used from this server's address",
    "no_model": "The key is genuine, but its project does not have the model that was asked for",
    "unverified_org": "The key is genuine, but its organization is not verified",
}
_OBSTACLES: dict[ErrorKind, Literal["money", "address"]] = {
    "out_of_money": "money",
    "wrong_address": "address",
}
# Runs use these two; a restricted key may have the right to either.
_RUN_PATHS = ("chat/completions", "responses")
# No model and no messages: whoever may run models is told that the request is bad, and pays nothing.
_INVALID_REQUEST = b"{}"


def check_key(secret: Secret, settings: Settings, *, deadline: float = DEADLINE) -> CheckResult:
    """Ask the provider whether the key may run models, over the transport that runs use. Costs nothing.

    Blocks for at most ``deadline`` seconds; may be called from any thread, also inside an event loop.

    Raises:
        KeyRejected: the provider refused the key; carries its own message.
        KeyUnchecked: the provider could not be asked, or its answer decides nothing.
        SettingsError: the proxy or certificate setting is not usable.
    """
    install_log_redaction()  # a provider may repeat the key in its headers, which the HTTP stack writes down
    transport = async_inner_transport(settings)
    probe = Probe(transport, settings.openai_base_url, secret, connecting=deadline / 2)
    verdict: Verdict
    try:
        verdict = within(deadline, partial(_verdict, transport, probe, secret))
    except NoAnswer as silence:
        verdict = KeyUnchecked(str(silence))
    # Raised here and not where it was found: those frames hold the request with the key in it.
    if isinstance(verdict, CheckResult):
        return verdict
    raise verdict


async def _verdict(transport: httpx2.AsyncHTTPTransport, probe: Probe, secret: Secret) -> Verdict:
    async with transport:
        known = _from_list(await probe.get("models"), secret)
        return known or await _from_run_rights(probe, secret)


def _from_list(reply: Reply, secret: Secret) -> Verdict | None:
    """Judge the answer to the list of models; None where only the right to run models can tell."""
    if reply.status == 200:  # noqa: PLR2004
        return _from_success(reply, secret)
    answer = classify_error(reply.status, reply.body, reply.headers, secret)
    if answer.is_web_page:
        return _undecided(answer)
    if answer.kind == "missing_scopes" or (answer.kind == "other" and answer.status in {404, 405}):
        return None
    return _from_answer(answer)


def _from_success(reply: Reply, secret: Secret) -> Verdict:
    request_id = request_id_of(reply.headers, secret)
    models = reply.json
    if isinstance(models, list) or (isinstance(models, dict) and not models.get("error")):
        return CheckResult("working", None, "OpenAI accepted the key.", request_id)
    return KeyUnchecked(
        "The answer did not come from OpenAI's interface (a network's sign-in page, perhaps).",
        status=reply.status,
        request_id=request_id,
    )


async def _from_run_rights(probe: Probe, secret: Secret) -> Verdict:
    """Ask the endpoints that runs use, with a request that is bad on purpose."""
    refusal: ErrorAnswer | None = None
    for path in _RUN_PATHS:
        reply = await probe.post(path, _INVALID_REQUEST)
        answer = classify_error(reply.status, reply.body, reply.headers, secret)
        if answer.kind == "missing_scopes":
            refusal = refusal or answer
        elif answer.status != 404 or answer.kind != "other" or answer.is_web_page:  # noqa: PLR2004
            return _from_run_answer(answer)
    if refusal:
        return _rejected(refusal)
    return KeyUnchecked("This address has neither a list of models nor an endpoint to run one.", status=404)


def _from_run_answer(answer: ErrorAnswer) -> Verdict:
    if answer.kind == "other" and not answer.is_web_page:
        if answer.status in {400, 422} and not _speaks_of_the_key(answer):
            return CheckResult(
                "working", None, "OpenAI accepted the key for running models.", answer.request_id
            )
        if answer.status in {401, 403} and answer.code != "mismatched_organization":
            return _rejected(answer)
    return _from_answer(answer)


def _speaks_of_the_key(answer: ErrorAnswer) -> bool:
    """Some servers of this protocol answer 400 for a bad key too, which must not pass for the bad request."""
    said = f"{answer.code} {answer.message}".lower()
    return any(words in said for words in ("api key", "api_key", "apikey", "unauthorized", "authentication"))


def _from_answer(answer: ErrorAnswer) -> Verdict:
    if answer.is_web_page:
        return _undecided(answer)
    if answer.kind == "rejected":
        return _rejected(answer)
    if answer.kind == "rate_limited":
        sentence = "OpenAI accepted the key. Its rate limit is reached at the moment."
        return CheckResult("working", answer.code, sentence, answer.request_id)
    if answer.kind in _GENUINE_BUT:
        sentence = f"{_GENUINE_BUT[answer.kind]}: {_sentence(answer.message)}"
        return CheckResult("warning", answer.code, sentence, answer.request_id, _OBSTACLES.get(answer.kind))
    return _undecided(answer)


def _rejected(answer: ErrorAnswer) -> KeyRejected:
    return KeyRejected(
        status=answer.status,
        code=answer.code,
        message=_sentence(answer.message),
        request_id=answer.request_id,
    )


def _undecided(answer: ErrorAnswer) -> KeyUnchecked:
    if 300 <= answer.status < 400:  # noqa: PLR2004
        reason = "The address answered with a redirect, which is never followed with a key."
    elif answer.is_web_page:
        reason = f"A web page came instead of OpenAI's answer (HTTP {answer.status})."
    elif answer.status < 400:  # noqa: PLR2004
        reason = f"The answer makes no sense (HTTP {answer.status})."
    else:
        reason = f"OpenAI answered {answer.status}: {_sentence(answer.message)}"
    return KeyUnchecked(reason, status=answer.status, request_id=answer.request_id)


def _sentence(message: str) -> str:
    return message if message.endswith((".", "!", "?", "…")) else f"{message}."
