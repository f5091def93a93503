"""What Anthropic answers: bodies, events and errors in its own shapes, as pure functions of the request."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from tests.upstream_answers import Answer, Usage

MODELS = ("claude-opus-5-5", "claude-sonnet-5-5", "claude-haiku-4-5")
_HTML = "<!DOCTYPE html><html><head><title>Sign in</title></head><body><h1>Hotel Wi-Fi</h1></body></html>"


def usage_of(usage: Usage) -> dict[str, Any]:
    """Tokens in Anthropic's words: what was read from a cache or written to one is not in ``input_tokens``."""
    short, long = usage.cache_write or 0, usage.cache_write_1h
    told: dict[str, Any] = {
        "input_tokens": usage.input - usage.cached - short - long,
        "cache_read_input_tokens": usage.cached,
        "cache_creation_input_tokens": short + long,
        "cache_creation": {"ephemeral_5m_input_tokens": short, "ephemeral_1h_input_tokens": long},
        "output_tokens": usage.output,
        "output_tokens_details": {"thinking_tokens": usage.reasoning},
        "service_tier": "standard",
        "inference_geo": "global",
    }
    if usage.searches:
        told["server_tool_use"] = {"web_search_requests": usage.searches, "web_fetch_requests": 0}
    return told


def body_of_error(kind: str, message: str, code: str | None = None) -> dict[str, Any]:
    details = {"details": {"error_code": code}} if code else {}
    return {
        "type": "error",
        "error": {"type": kind, "message": message, **details},
        "request_id": "req_of_the_body",
    }


def error(status: int, kind: str, message: str) -> Answer:
    return Answer(status, body_of_error(kind, message))


def no_key() -> Answer:
    return error(401, "authentication_error", "x-api-key header is required")


def wrong_key() -> Answer:
    return error(401, "authentication_error", "invalid x-api-key")


def answer(  # noqa: PLR0911 - one line an endpoint
    method: str, path: str, asked: Any, *, number: int, reply: str, usage: Usage
) -> Answer:
    """Answer an authorised request as Anthropic would."""
    if method == "GET" and path == "/models":
        data = [{"type": "model", "id": name, "display_name": name} for name in MODELS]
        return Answer(200, {"data": data, "has_more": False, "first_id": MODELS[0], "last_id": MODELS[-1]})
    if method == "GET" and path == "/organizations/me":
        return error(403, "permission_error", "This key cannot be used for the Admin API.")
    if method != "POST" or path not in {"/messages", "/messages/count_tokens"}:
        return error(404, "not_found_error", "Not found")
    if not isinstance(asked, dict) or not asked.get("model") or not asked.get("messages"):
        return error(400, "invalid_request_error", "model: Field required")
    if str(asked["model"]).startswith("missing-"):
        return error(404, "not_found_error", f"model: {asked['model']}")
    if path == "/messages/count_tokens":
        return Answer(200, {"input_tokens": usage.input})
    if "max_tokens" not in asked:
        return error(400, "invalid_request_error", "max_tokens: Field required")
    whole = _message(asked, number, reply, usage)
    return Answer(200, events=list(_events(whole, reply))) if asked.get("stream") else Answer(200, whole)


def _message(asked: dict[str, Any], number: int, reply: str, usage: Usage) -> dict[str, Any]:
    tool = _wanted_tool(asked)
    text = {"type": "text", "text": reply}
    call = {"type": "tool_use", "id": f"toolu_{number}", "name": tool, "input": {}}
    speed = {"speed": asked["speed"]} if asked.get("speed") else {}
    return {
        "id": f"msg_{number}",
        "type": "message",
        "role": "assistant",
        "model": asked["model"],
        "content": [call if tool else text],
        "stop_reason": "tool_use" if tool else "end_turn",
        "stop_sequence": None,
        "usage": usage_of(usage) | speed,
    }


def _wanted_tool(asked: dict[str, Any]) -> str | None:
    """Call the first tool on the first turn; answer in text once its result is there."""
    tools, content = asked.get("tools") or [], asked["messages"][-1].get("content")
    done = isinstance(content, list) and any(part.get("type") == "tool_result" for part in content)
    first = tools[0] if tools and not done else {}
    return first.get("name") if "input_schema" in first else None


def _events(whole: dict[str, Any], reply: str) -> Iterator[tuple[str, str]]:
    for event in events(whole, reply):
        yield event["type"], json.dumps(event)


def events(whole: dict[str, Any], reply: str) -> Iterator[dict[str, Any]]:
    """The events of a stream: the beginning tells the input, and ``message_delta`` the output."""
    usage, block = whole["usage"], whole["content"][0]
    begun = {"content": [], "stop_reason": None, "usage": usage | {"output_tokens": 1}}
    begun["usage"].pop("output_tokens_details", None)
    yield {"type": "message_start", "message": whole | begun}
    empty = block | ({"text": ""} if block["type"] == "text" else {})
    yield {"type": "content_block_start", "index": 0, "content_block": empty}
    yield {"type": "ping"}
    for place, word in enumerate(reply.split(" ") if block["type"] == "text" else []):
        said = word if place == 0 else f" {word}"
        yield {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": said}}
    if block["type"] == "tool_use":
        yield {
            "type": "content_block_delta",
            "index": 0,
            "delta": {"type": "input_json_delta", "partial_json": "{}"},
        }
    yield {"type": "content_block_stop", "index": 0}
    told = ("output_tokens", "output_tokens_details", "server_tool_use")
    yield {
        "type": "message_delta",
        "delta": {"stop_reason": whole["stop_reason"], "stop_sequence": None},
        "usage": {name: usage[name] for name in told if name in usage},
    }
    yield {"type": "message_stop"}


def _error(status: int, kind: str, message: str, code: str | None = None, **more: Any) -> dict[str, Any]:
    return {"status": status, "json": body_of_error(kind, message, code), **more}


_LIMIT = "You have reached your specified workspace API usage limits. You will regain access on 2026-12-01."
BEHAVIOURS: dict[str, dict[str, Any]] = {
    # every row of the validation table
    "revoked": _error(401, "authentication_error", "invalid x-api-key"),
    "cors": _error(401, "authentication_error", "CORS requests are not allowed for this Organization."),
    "billing": _error(402, "billing_error", "There is a problem with your billing details."),
    "linked_limit": _error(
        402, "billing_error", "Spend limit reached.", "linked_organization_spend_limit_reached"
    ),
    "out_of_money": _error(
        400,
        "invalid_request_error",
        "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing.",
    ),
    "usage_limit": _error(400, "invalid_request_error", _LIMIT),
    "workspace_access": _error(403, "permission_error", "This key has no access to this workspace."),
    "no_list": _error(403, "permission_error", "This key may not list models.", only=("/models",)),
    "not_from_here": _error(403, "forbidden", "Request not allowed"),
    "region": _error(403, "permission_error", "Not in this region.", "region_not_supported"),
    "on_hold": _error(403, "permission_error", "Your organization is on hold.", "organization_on_hold"),
    "tier_cap": _error(429, "rate_limit_error", "Monthly cap reached.", "enforced_spend_limit_reached"),
    "contract_cap": _error(429, "rate_limit_error", "Contract cap reached.", "contract_spend_limit_reached"),
    "rate_limited": _error(
        429,
        "rate_limit_error",
        "This request would exceed your organization's rate limit of 50 requests per minute.",
        headers={"retry-after": "1"},
    ),
    "no_model": _error(404, "not_found_error", "model: claude-0"),
    "server_error": _error(500, "api_error", "Internal server error"),
    "timeout": _error(504, "timeout_error", "Request timed out"),
    "overloaded": _error(529, "overloaded_error", "Overloaded"),
    "administers": {
        "status": 200,
        "json": {"type": "organization", "id": "o"},
        "only": ("/organizations/me",),
    },
    "gateway": {"status": 504, "json": {"message": "upstream timed out"}},
    "captive_portal": {"status": 200, "text": _HTML, "headers": {"content-type": "text/html"}},
    "redirect": {"status": 307, "text": "", "headers": {"location": "{base}/stolen"}},
    "echo": _error(
        401,
        "authentication_error",
        "No: {key} Bearer {key}",
        headers={"x-echo": "Bearer {key}", "set-cookie": "k={key}", "request-id": "{key}"},
    ),
    "echo_400": _error(
        400, "invalid_request_error", "No: {key}", "{key}", headers={"x-echo": "Bearer {key}"}
    ),
    "echo_500": _error(500, "api_error", "No: {key}", "{key}", headers={"x-echo": "Bearer {key}"}),
}
