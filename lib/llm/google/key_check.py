"""How a Google key is checked: the list of models, and always the right to run one.

Keys that are bound to a service account may list models and run none of them.
"""

from __future__ import annotations

from http import HTTPStatus

from lib.errors import KeyRejected, KeyUnchecked
from lib.llm.error_answers import ErrorAnswer
from lib.llm.google.errors import FREE_TIER, NO_BINDING, classify_error
from lib.llm.key_check import CheckResult, Verdict, judge, rejected, undecided
from lib.llm.probe import Probe, Reply
from lib.providers import GOOGLE
from lib.secret import Secret

_MODELS = "v1beta/models?pageSize=1"
# No contents: whoever may run models is told that the request is bad, and pays nothing.
_INVALID_REQUEST = b"{}"
_REFUSED = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
_MAY_BE_UNLISTED = (HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED)
_ON_FREE_TIER = "The key is on Google's free tier, where Google may use prompts and answers."
_UNBOUND = (
    "The service account that this key is bound to cannot use it. Create the key again in Google AI Studio."
)


async def check(probe: Probe, secret: Secret, model: str) -> Verdict:
    """Ask whether the key may run models, ``model`` for one. Costs nothing. Raises NoAnswer."""
    listed = _from_list(await probe.get(_MODELS), secret)
    if listed is not None:
        return listed
    return _from_run_rights(
        await probe.post(f"v1beta/models/{model}:generateContent", _INVALID_REQUEST), secret
    )


def _from_list(reply: Reply, secret: Secret) -> Verdict | None:
    """Judge the answer to the list of models; None where the right to run one has to tell."""
    if reply.status == HTTPStatus.OK:
        told = reply.json
        if isinstance(told, dict) and (not told or isinstance(told.get("models"), list)):
            return None
        return KeyUnchecked(
            f"The answer did not come from {GOOGLE.title}'s interface (a network's sign-in page, perhaps).",
            status=reply.status,
        )
    answer = classify_error(reply.status, reply.body, reply.headers, secret)
    if answer.is_web_page:
        return undecided(answer, GOOGLE)
    if answer.kind == "rate_limited" or (answer.kind == "other" and answer.status in _MAY_BE_UNLISTED):
        return None
    return _judged(answer)


def _from_run_rights(reply: Reply, secret: Secret) -> Verdict:
    """Judge the answer to a request that is bad on purpose, of the endpoint that runs use."""
    answer = classify_error(reply.status, reply.body, reply.headers, secret)
    if answer.is_web_page:
        return undecided(answer, GOOGLE)
    if answer.kind == "no_model" or (answer.kind == "other" and _is_about_the_request(answer)):
        return CheckResult("working", None, f"{GOOGLE.title} accepted the key for running models.", None)
    if answer.kind == "other" and answer.status in _REFUSED:
        return rejected(answer, GOOGLE)
    return _judged(answer)


def _is_about_the_request(answer: ErrorAnswer) -> bool:
    named = answer.status, answer.type
    return named in {(HTTPStatus.BAD_REQUEST, "INVALID_ARGUMENT"), (HTTPStatus.NOT_FOUND, "NOT_FOUND")}


def _judged(answer: ErrorAnswer) -> Verdict:
    if answer.code == NO_BINDING:
        return _refused_binding(answer)
    if answer.kind == "other" and answer.type == "FAILED_PRECONDITION":
        sentence = f"The key is genuine, but {GOOGLE.title} runs no models for it now: {answer.message}"
        return CheckResult("warning", answer.code, sentence, None, "money")
    verdict = judge(answer, GOOGLE)
    if isinstance(verdict, CheckResult) and verdict.code == FREE_TIER:
        sentence = f"{verdict.message} {_ON_FREE_TIER}"
        return CheckResult(verdict.status, verdict.code, sentence, verdict.request_id, verdict.obstacle)
    return verdict


def _refused_binding(answer: ErrorAnswer) -> KeyRejected:
    said = answer.message if answer.message.endswith((".", "!", "?", "…")) else f"{answer.message}."
    return KeyRejected(
        status=answer.status,
        code=answer.code,
        message=f"{said} {_UNBOUND}",
        request_id=None,
        provider=GOOGLE.name,
    )
