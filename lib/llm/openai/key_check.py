"""How an OpenAI key is checked: the list of models, and where that decides nothing, the right to run one."""

from __future__ import annotations

from lib.errors import KeyUnchecked
from lib.llm.error_answers import ErrorAnswer
from lib.llm.key_check import CheckResult, Verdict, judge, rejected, undecided
from lib.llm.openai.errors import classify_error, request_id_of
from lib.llm.probe import Probe, Reply
from lib.providers import OPENAI
from lib.secret import Secret

# Runs use these two; a restricted key may have the right to either.
_RUN_PATHS = ("chat/completions", "responses")
# No model and no messages: whoever may run models is told that the request is bad, and pays nothing.
_INVALID_REQUEST = b"{}"


async def check(probe: Probe, secret: Secret) -> Verdict:
    """Ask whether the key may run models. Costs nothing. Raises NoAnswer."""
    known = _from_list(await probe.get("models"), secret)
    return known or await _from_run_rights(probe, secret)


def _from_list(reply: Reply, secret: Secret) -> Verdict | None:
    """Judge the answer to the list of models; None where only the right to run models can tell."""
    if reply.status == 200:  # noqa: PLR2004
        return _from_success(reply, secret)
    answer = classify_error(reply.status, reply.body, reply.headers, secret)
    if answer.is_web_page:
        return undecided(answer, OPENAI)
    if answer.kind == "missing_scopes" or (answer.kind == "other" and answer.status in {404, 405}):
        return None
    return judge(answer, OPENAI)


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
        return rejected(refusal, OPENAI)
    return KeyUnchecked("This address has neither a list of models nor an endpoint to run one.", status=404)


def _from_run_answer(answer: ErrorAnswer) -> Verdict:
    if answer.kind == "other" and not answer.is_web_page:
        if answer.status in {400, 422} and not _speaks_of_the_key(answer):
            return CheckResult(
                "working", None, "OpenAI accepted the key for running models.", answer.request_id
            )
        if answer.status in {401, 403} and answer.code != "mismatched_organization":
            return rejected(answer, OPENAI)
    return judge(answer, OPENAI)


def _speaks_of_the_key(answer: ErrorAnswer) -> bool:
    """Some servers of this protocol answer 400 for a bad key too, which must not pass for the bad request."""
    said = f"{answer.code} {answer.message}".lower()
    return any(words in said for words in ("api key", "api_key", "apikey", "unauthorized", "authentication"))
