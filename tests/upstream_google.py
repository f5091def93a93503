"""What Google answers: bodies, events and errors in its own shapes, as pure functions of the request."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from tests.upstream_answers import Answer, Usage

MODELS = ("gemini-3.8-flash", "gemini-3.5-flash-lite", "gemini-embedding-001")
_HTML = "<!DOCTYPE html><html><head><title>Sign in</title></head><body><h1>Hotel Wi-Fi</h1></body></html>"
_ASKED = re.compile(r"/models/([\w.-]+):(\w+)")
_INFO = "type.googleapis.com/google.rpc.ErrorInfo"


def usage_of(usage: Usage, *, output: int | None = None) -> dict[str, Any]:
    """Tokens in Google's words: thoughts are not in the candidates, what was read from a cache is in the prompt."""
    written = usage.output if output is None else output
    told: dict[str, Any] = {
        "promptTokenCount": usage.input - usage.tool_prompt,
        "candidatesTokenCount": written - usage.reasoning,
        "totalTokenCount": usage.input + written,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": usage.input - usage.tool_prompt}],
        "serviceTier": "standard",
    }
    more = {
        "cachedContentTokenCount": usage.cached,
        "thoughtsTokenCount": usage.reasoning,
        "toolUsePromptTokenCount": usage.tool_prompt,
    }
    return told | {name: count for name, count in more.items() if count}


def body_of_error(
    status: int, name: str, message: str, reason: str | None = None, quota: str | None = None
) -> dict[str, Any]:
    details: list[dict[str, Any]] = []
    if reason:
        details.append({"@type": _INFO, "reason": reason, "domain": "googleapis.com", "metadata": {}})
    if quota:
        violation = {
            "quotaMetric": "generativelanguage.googleapis.com/x",
            "quotaId": quota,
            "quotaValue": "5",
        }
        details.append({"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [violation]})
        details.append({"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34s"})
    error: dict[str, Any] = {"code": status, "message": message, "status": name}
    return {"error": error | ({"details": details} if details else {})}


def error(status: int, name: str, message: str, reason: str | None = None) -> Answer:
    return Answer(status, body_of_error(status, name, message, reason))


def no_key() -> Answer:
    said = "Method doesn't allow unregistered callers (callers without established identity)."
    return error(403, "PERMISSION_DENIED", said)


def wrong_key() -> Answer:
    said = "API key not valid. Please pass a valid API key."
    return error(400, "INVALID_ARGUMENT", said, "API_KEY_INVALID")


def answer(  # noqa: PLR0911 - one line an endpoint
    method: str, path: str, asked: Any, *, number: int, reply: str, usage: Usage
) -> Answer:
    """Answer an authorised request as Google would."""
    if method == "GET" and path == "/models":
        return Answer(200, {"models": [{"name": f"models/{name}", "displayName": name} for name in MODELS]})
    found = _ASKED.fullmatch(path)
    if method != "POST" or found is None:
        return error(404, "NOT_FOUND", f"No such endpoint: {path}")
    model, what = found.groups()
    if model.startswith("missing-"):
        return error(404, "NOT_FOUND", f"models/{model} is not found for API version v1beta.")
    if what == "countTokens":
        return Answer(200, {"totalTokens": usage.input})
    if what == "batchEmbedContents":
        told = usage_of(usage, output=usage.reasoning)
        counted = {"usageMetadata": {name: told[name] for name in ("promptTokenCount", "totalTokenCount")}}
        return Answer(200, {"embeddings": [{"values": [0.5, 0.25]}] * len(asked["requests"])} | counted)
    if not asked or not asked.get("contents"):
        said = "* GenerateContentRequest.contents: contents is not specified\n"
        return error(400, "INVALID_ARGUMENT", said)
    whole = _content(model, asked, number, reply, usage)
    if what == "streamGenerateContent":
        return Answer(200, events=[(None, json.dumps(event)) for event in events(whole, reply, usage)])
    return Answer(200, whole)


def _content(model: str, asked: dict[str, Any], number: int, reply: str, usage: Usage) -> dict[str, Any]:
    tool = _wanted_tool(asked)
    part = {"functionCall": {"name": tool, "args": {}}} if tool else {"text": reply}
    return {
        "candidates": [
            {"content": {"parts": [part], "role": "model"}, "finishReason": "STOP", "index": 0},
        ],
        "usageMetadata": usage_of(usage) | {"serviceTier": asked.get("serviceTier", "standard")},
        "modelVersion": model,
        "responseId": f"resp_{number:08x}",
    }


def _wanted_tool(asked: dict[str, Any]) -> str | None:
    """Call the first tool on the first turn; answer in text once its result is there."""
    tools = (asked.get("tools") or [{}])[0].get("functionDeclarations") or []
    done = any("functionResponse" in part for part in asked["contents"][-1].get("parts", []))
    return tools[0]["name"] if tools and not done else None


def events(whole: dict[str, Any], reply: str, usage: Usage) -> Iterator[dict[str, Any]]:
    """The events of a stream: each repeats the usage so far, the first one that of the prompt alone."""
    part = whole["candidates"][0]["content"]["parts"][0]
    words = [word if place == 0 else f" {word}" for place, word in enumerate(reply.split(" "))]
    parts = [part] if "functionCall" in part else [{"text": word} for word in words]
    for place, each in enumerate(parts):
        is_last = place == len(parts) - 1
        told = usage_of(usage) if is_last else usage_of(usage, output=usage.reasoning + place)
        if place == 0 and not is_last:
            told = {"promptTokenCount": told["promptTokenCount"], "totalTokenCount": told["promptTokenCount"]}
        candidate: dict[str, Any] = {"content": {"parts": [each], "role": "model"}, "index": 0}
        if is_last:
            candidate["finishReason"] = "STOP"
        yield whole | {"candidates": [candidate], "usageMetadata": told}


def _error(
    status: int, name: str, message: str, reason: str | None = None, quota: str | None = None, **more: Any
) -> dict[str, Any]:
    return {"status": status, "json": body_of_error(status, name, message, reason, quota), **more}


_DENIED, _PRECONDITION, _EXHAUSTED = "PERMISSION_DENIED", "FAILED_PRECONDITION", "RESOURCE_EXHAUSTED"
_QUOTA = "You exceeded your current quota, please check your plan and billing details."
_BLOCKED = "Requests to this API generativelanguage.googleapis.com method {0} are blocked."
_DISABLED = "Generative Language API has not been used in project 1 before or it is disabled."
_UNBOUND = (
    "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other valid "
    "authentication credential."
)
BEHAVIOURS: dict[str, dict[str, Any]] = {
    # every row of the validation table
    "revoked": _error(
        400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key.", "API_KEY_INVALID"
    ),
    "expired": _error(
        400, "INVALID_ARGUMENT", "API key expired. Please renew the API key.", "API_KEY_INVALID"
    ),
    "location": _error(400, _PRECONDITION, "User location is not supported for the API use."),
    "billing_off": _error(400, _PRECONDITION, "Billing is not active for this project."),
    "other_precondition": _error(400, _PRECONDITION, "The project is not ready."),
    "unbound": _error(401, "UNAUTHENTICATED", _UNBOUND, "ACCESS_TOKEN_TYPE_UNSUPPORTED", only=("POST",)),
    "unauthenticated": _error(401, "UNAUTHENTICATED", _UNBOUND),
    "no_right_to_run": _error(403, _DENIED, "The caller does not have permission.", only=("POST",)),
    "service_blocked": _error(403, _DENIED, _BLOCKED, "API_KEY_SERVICE_BLOCKED"),
    "no_list": _error(403, _DENIED, "The caller may not list models.", only=("GET",)),
    "service_disabled": _error(403, _DENIED, _DISABLED, "SERVICE_DISABLED"),
    "leaked": _error(403, _DENIED, "Your API key was reported as leaked. Please use another API key."),
    "unrestricted": _error(403, _DENIED, "Requests with unrestricted API keys are not accepted."),
    "suspended": _error(403, _DENIED, "Consumer has been suspended.", "CONSUMER_SUSPENDED"),
    "wrong_address": _error(
        403,
        _DENIED,
        "The provided API key has an IP address restriction. The originating IP address is not allowed.",
        "API_KEY_IP_ADDRESS_BLOCKED",
    ),
    "referrer": _error(
        403, _DENIED, "Requests from referer <empty> are blocked.", "API_KEY_HTTP_REFERRER_BLOCKED"
    ),
    "no_model": _error(
        404, "NOT_FOUND", "models/gemini-0 is not found for API version v1beta.", only=("POST",)
    ),
    "rate_limited": _error(
        429,
        _EXHAUSTED,
        _QUOTA,
        quota="GenerateRequestsPerMinutePerProjectPerModel",
        headers={"retry-after": "1"},
    ),
    "free_minute": _error(
        429, _EXHAUSTED, _QUOTA, quota="GenerateRequestsPerMinutePerProjectPerModel-FreeTier"
    ),
    "free_day": _error(429, _EXHAUSTED, _QUOTA, quota="GenerateRequestsPerDayPerProjectPerModel-FreeTier"),
    "out_of_money": _error(
        429, _EXHAUSTED, "Your prepayment credits are depleted. Please manage your project's billing."
    ),
    "spend_cap": _error(429, _EXHAUSTED, "Your project has exceeded its monthly spending cap."),
    "server_error": _error(500, "INTERNAL", "An internal error has occurred."),
    "overloaded": _error(503, "UNAVAILABLE", "The model is overloaded. Please try again later."),
    "timeout": _error(504, "DEADLINE_EXCEEDED", "The request did not finish in time."),
    "gateway": {"status": 504, "json": {"message": "upstream timed out"}},
    "captive_portal": {"status": 200, "text": _HTML, "headers": {"content-type": "text/html"}},
    "redirect": {"status": 307, "text": "", "headers": {"location": "{base}/stolen"}},
    "echo": _error(
        400,
        "INVALID_ARGUMENT",
        "No: {key} ?key={key}",
        "API_KEY_INVALID",
        headers={"x-echo": "{key}", "set-cookie": "k={key}"},
    ),
    "echo_403": _error(403, _DENIED, "No: {key}", "{key}", headers={"x-echo": "https://x/?key={key}"}),
    "echo_500": _error(500, "INTERNAL", "No: {key}", "{key}", headers={"x-echo": "{key}"}),
}
