"""How an Anthropic key is checked: the list of models, and where that decides nothing, the right to run one."""

from __future__ import annotations

import re
from http import HTTPStatus

from lib.errors import KeyUnchecked
from lib.llm.anthropic.errors import classify_error, request_id_of
from lib.llm.error_answers import ErrorAnswer
from lib.llm.key_check import CheckResult, Verdict, judge, rejected, undecided
from lib.llm.probe import NoAnswer, Probe, Reply
from lib.providers import ANTHROPIC
from lib.secret import Secret
from lib.vault.states import CAN_ADMINISTER

_MODELS, _MESSAGES, _ORGANIZATION = "v1/models?limit=1", "v1/messages", "v1/organizations/me"
_VERSION = (b"anthropic-version", b"2023-06-01")  # every request names one; what is asked is the same in all
# No model and no messages: whoever may run models is told that the request is bad, and pays nothing.
_INVALID_REQUEST = b"{}"
_WORKSPACE = re.compile(r"wrkspc_\w{1,60}", re.ASCII)
_REFUSED = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)


async def check(probe: Probe, secret: Secret) -> Verdict:
    """Ask whether the key may run models, and nothing else. Costs nothing. Raises NoAnswer."""
    known = _from_list(await probe.get(_MODELS, _VERSION), secret)
    verdict = known or await _from_run_rights(probe, secret)
    if isinstance(verdict, CheckResult) and verdict.status == "working":
        return await _warned_of_rights(probe, secret, verdict)
    return verdict


def _from_list(reply: Reply, secret: Secret) -> Verdict | None:
    """Judge the answer to the list of models; None where only the right to run models can tell."""
    if reply.status == HTTPStatus.OK:
        return _from_success(reply, secret)
    answer = classify_error(reply.status, reply.body, reply.headers, secret)
    if answer.is_web_page:
        return undecided(answer, ANTHROPIC)
    if answer.status in {403, 404, 405} and answer.kind in {"other", "country"}:
        return None
    return judge(answer, ANTHROPIC)


def _from_success(reply: Reply, secret: Secret) -> Verdict:
    request_id = request_id_of(reply.headers, secret)
    if isinstance(reply.json, dict) and isinstance(reply.json.get("data"), list):
        workspace = _workspace_of(reply)
        paid_by = f" for the workspace {workspace}" if workspace else ""
        sentence = f"{ANTHROPIC.title} accepted the key{paid_by}."
        return CheckResult("working", None, sentence, request_id, workspace=workspace)
    return KeyUnchecked(
        f"The answer did not come from {ANTHROPIC.title}'s interface (a network's sign-in page, perhaps).",
        status=reply.status,
        request_id=request_id,
    )


def _workspace_of(reply: Reply) -> str | None:
    """Which workspace pays, where the answer names one."""
    told: str = reply.headers.get("anthropic-workspace-id", "")
    return told if _WORKSPACE.fullmatch(told) else None


async def _from_run_rights(probe: Probe, secret: Secret) -> Verdict:
    """Ask the endpoint that runs use, with a request that is bad on purpose."""
    reply = await probe.post(_MESSAGES, _INVALID_REQUEST, _VERSION)
    answer = classify_error(reply.status, reply.body, reply.headers, secret)
    if answer.is_web_page or answer.kind == "country":
        return undecided(answer, ANTHROPIC)
    if _is_about_the_request(answer):
        sentence = f"{ANTHROPIC.title} accepted the key for running models."
        return CheckResult("working", None, sentence, answer.request_id)
    if answer.kind == "other" and answer.status in _REFUSED:
        return rejected(answer, ANTHROPIC)
    return judge(answer, ANTHROPIC)


def _is_about_the_request(answer: ErrorAnswer) -> bool:
    return (
        answer.kind == "other"
        and answer.status == HTTPStatus.BAD_REQUEST
        and answer.type == "invalid_request_error"
    )


async def _warned_of_rights(probe: Probe, secret: Secret, working: CheckResult) -> CheckResult:
    """Warn of a key that may administer the organization: whoever has it can make other keys and change limits."""
    try:
        reply = await probe.get(_ORGANIZATION, _VERSION)
    except NoAnswer:
        return working
    told = reply.json
    if reply.status != HTTPStatus.OK or not isinstance(told, dict) or told.get("type") != "organization":
        return working
    sentence = "The key works, but it can also administer the organization. Better use one that is scoped to a workspace."
    request_id = request_id_of(reply.headers, secret)
    return CheckResult("warning", CAN_ADMINISTER, sentence, request_id, workspace=working.workspace)
