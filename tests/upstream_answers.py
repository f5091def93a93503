"""What OpenAI answers: bodies in its own shapes, as pure functions of the request."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

MODELS = (
    "gpt-5",
    "gpt-5-mini",
    "gpt-5-nano",
    "gpt-4.1",
    "gpt-4o",
    "gpt-4o-mini",
    "text-embedding-3-small",
    "omni-moderation-latest",
)
CREATED = 1_760_000_000


@dataclass(frozen=True)
class Usage:
    """Tokens an answer reports: ``cached`` and what is written are part of ``input``, ``reasoning`` of ``output``."""

    input: int = 12
    cached: int = 0
    output: int = 5
    reasoning: int = 0
    cache_write: int | None = None
    cache_write_1h: int = 0
    searches: int = 0
    tool_prompt: int = 0

    def chat(self) -> dict[str, Any]:
        details: dict[str, Any] = {"cached_tokens": self.cached, "audio_tokens": 0}
        if self.cache_write is not None:
            details["cache_write_tokens"] = self.cache_write
        return {
            "prompt_tokens": self.input,
            "completion_tokens": self.output,
            "total_tokens": self.input + self.output,
            "prompt_tokens_details": details,
            "completion_tokens_details": {"reasoning_tokens": self.reasoning, "audio_tokens": 0},
        }

    def responses(self) -> dict[str, Any]:
        return {
            "input_tokens": self.input,
            "input_tokens_details": {
                "cached_tokens": self.cached,
                "cache_write_tokens": self.cache_write or 0,
            },
            "output_tokens": self.output,
            "output_tokens_details": {"reasoning_tokens": self.reasoning},
            "total_tokens": self.input + self.output,
        }

    def embeddings(self) -> dict[str, Any]:
        return {"prompt_tokens": self.input, "total_tokens": self.input}


@dataclass(frozen=True)
class Answer:
    """One whole answer: a JSON body, or the events of a stream (name or None, data)."""

    status: int
    body: Any = None
    events: list[tuple[str | None, str]] | None = field(default=None)

    @property
    def raw(self) -> bytes:
        return json.dumps(self.body).encode()


def error(
    status: int,
    message: str,
    *,
    kind: str = "invalid_request_error",
    code: str | None = None,
    param: Any = None,
) -> Answer:
    return Answer(status, {"error": {"message": message, "type": kind, "param": param, "code": code}})


def no_key() -> Answer:
    return error(
        401, "You didn't provide an API key. You need to provide your API key in an Authorization header."
    )


def wrong_key(key: str) -> Answer:
    """OpenAI masks the middle of a long key and repeats a short one whole."""
    shown = key if len(key) < 24 else f"{key[:11]}{'*' * 8}{key[-4:]}"
    return error(
        401,
        f"Incorrect API key provided: {shown}. "
        "You can find your API key at https://platform.openai.com/account/api-keys.",
        code="invalid_api_key",
    )


def answer(  # noqa: PLR0911 - one line an endpoint
    method: str, path: str, asked: Any, *, number: int, reply: str, usage: Usage, stream_usage: str
) -> Answer:
    """Answer an authorised request as OpenAI would. ``stream_usage``: asked, never or with_choices."""
    if method in {"GET", "HEAD"} and path == "/models":
        return Answer(200, {"object": "list", "data": [_model(name) for name in MODELS]})
    if method == "GET" and path.startswith("/models/"):
        name = path.removeprefix("/models/")
        return Answer(200, _model(name)) if name in MODELS else _no_model(name)
    endpoint = {
        "/chat/completions": _chat,
        "/responses": _responses,
        "/embeddings": _embeddings,
        "/moderations": _moderations,
    }.get(path)
    if method != "POST" or endpoint is None:
        return error(404, f"Invalid URL ({method} /v1{path})")
    if not isinstance(asked, dict):
        return error(400, "We could not parse the JSON body of your request.")
    model = asked.get("model")
    if not isinstance(model, str) and path != "/moderations":
        return error(400, "you must provide a model parameter")
    if str(model).startswith("missing-"):
        return _no_model(str(model))
    return endpoint(asked, number, reply, usage, stream_usage)


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": CREATED, "owned_by": "system"}


def _no_model(name: str) -> Answer:
    return error(
        404, f"The model `{name}` does not exist or you do not have access to it.", code="model_not_found"
    )


def _missing(param: str) -> Answer:
    return error(
        400, f"Missing required parameter: '{param}'.", code="missing_required_parameter", param=param
    )


def _words(text: str) -> list[str]:
    words = text.split(" ")
    return [word if place == 0 else f" {word}" for place, word in enumerate(words)]


# --- chat completions -------------------------------------------------------------------------


def _wanted_tool(asked: dict[str, Any]) -> str | None:
    """Call the first tool on the first turn; answer in text once its result is there."""
    tools, messages = asked.get("tools") or [], asked.get("messages") or asked.get("input") or []
    last = messages[-1] if isinstance(messages, list) and messages else {}
    done = isinstance(last, dict) and (
        last.get("role") == "tool" or last.get("type") == "function_call_output"
    )
    if not tools or done or asked.get("tool_choice") == "none":
        return None
    first = tools[0]
    name = first.get("name") or first.get("function", {}).get("name")
    return str(name) if first.get("type") == "function" and name else None


def _chat(asked: dict[str, Any], number: int, reply: str, usage: Usage, stream_usage: str) -> Answer:
    if not asked.get("messages"):
        return _missing("messages")
    choices = int(asked.get("n") or 1)
    if asked.get("stream"):
        wanted = bool((asked.get("stream_options") or {}).get("include_usage"))
        events = list(_chat_chunks(asked, number, reply, usage, choices, stream_usage, wanted=wanted))
        done = [*(json.dumps(chunk) for chunk in events), "[DONE]"]
        return Answer(200, events=[(None, data) for data in done])
    tool = _wanted_tool(asked)
    message: dict[str, Any] = {"role": "assistant", "content": reply, "refusal": None}
    if tool:
        message |= {"content": None, "tool_calls": [_tool_call(tool, number)]}
    body = {
        "id": f"chatcmpl-{number}",
        "object": "chat.completion",
        "created": CREATED,
        "model": asked["model"],
        "choices": [
            {
                "index": i,
                "message": message,
                "logprobs": None,
                "finish_reason": "tool_calls" if tool else "stop",
            }
            for i in range(choices)
        ],
        "service_tier": asked.get("service_tier", "default"),
    }
    return Answer(200, body if stream_usage == "never" else body | {"usage": usage.chat()})


def _tool_call(name: str, number: int) -> dict[str, Any]:
    return {"id": f"call_{number}", "type": "function", "function": {"name": name, "arguments": "{}"}}


def _chat_chunks(
    asked: dict[str, Any],
    number: int,
    reply: str,
    usage: Usage,
    choices: int,
    stream_usage: str,
    *,
    wanted: bool,
) -> Iterator[dict[str, Any]]:
    head = {
        "id": f"chatcmpl-{number}",
        "object": "chat.completion.chunk",
        "created": CREATED,
        "model": asked["model"],
    }
    separate = wanted and stream_usage == "asked"
    if separate:
        head["usage"] = None

    def chunk(index: int, delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
        return {
            **head,
            "choices": [{"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}],
        }

    tool = _wanted_tool(asked)
    for index in range(choices):
        yield chunk(index, {"role": "assistant", "content": None if tool else ""})
        if tool:
            yield chunk(index, {"tool_calls": [{"index": 0, **_tool_call(tool, number)}]})
        else:
            for word in _words(reply):
                yield chunk(index, {"content": word})
        last = chunk(index, {}, "tool_calls" if tool else "stop")
        together = stream_usage == "with_choices" and index == choices - 1
        yield last | {"usage": usage.chat()} if together else last
    if separate:
        yield {**head, "choices": [], "usage": usage.chat()}


# --- responses --------------------------------------------------------------------------------


def _responses(asked: dict[str, Any], number: int, reply: str, usage: Usage, stream_usage: str) -> Answer:
    if not asked.get("input") and not asked.get("previous_response_id"):
        return _missing("input")
    whole = _response(asked, number, reply, None if stream_usage == "never" else usage)
    if not asked.get("stream"):
        return Answer(200, whole)
    events = list(_response_events(whole, number, reply))
    numbered = [{"type": kind, "sequence_number": place, **data} for place, (kind, data) in enumerate(events)]
    return Answer(200, events=[(event["type"], json.dumps(event)) for event in numbered])


def _response(asked: dict[str, Any], number: int, reply: str, usage: Usage | None) -> dict[str, Any]:
    tool = _wanted_tool(asked)
    call = {
        "id": f"fc_{number}",
        "type": "function_call",
        "status": "completed",
        "call_id": f"call_{number}",
        "name": tool,
        "arguments": "{}",
    }
    return {
        "id": f"resp_{number}",
        "object": "response",
        "created_at": CREATED,
        "status": "completed",
        "background": bool(asked.get("background")),
        "error": None,
        "incomplete_details": None,
        "instructions": asked.get("instructions"),
        "max_output_tokens": asked.get("max_output_tokens"),
        "model": asked["model"],
        "output": [call if tool else _message(number, reply)],
        "parallel_tool_calls": True,
        "previous_response_id": asked.get("previous_response_id"),
        "reasoning": {"effort": None, "summary": None},
        "service_tier": asked.get("service_tier", "default"),
        "store": asked.get("store", True),
        "temperature": 1.0,
        "text": {"format": {"type": "text"}},
        "tool_choice": asked.get("tool_choice", "auto"),
        "tools": asked.get("tools", []),
        "top_p": 1.0,
        "truncation": "disabled",
        "usage": usage.responses() if usage else None,
        "metadata": asked.get("metadata") or {},
    }


def _message(number: int, reply: str) -> dict[str, Any]:
    return {
        "id": f"msg_{number}",
        "type": "message",
        "role": "assistant",
        "status": "completed",
        "content": [{"type": "output_text", "text": reply, "annotations": [], "logprobs": []}],
    }


def _response_events(whole: dict[str, Any], number: int, reply: str) -> Iterator[tuple[str, dict[str, Any]]]:
    begun = whole | {"status": "in_progress", "output": [], "usage": None}
    yield "response.created", {"response": begun}
    yield "response.in_progress", {"response": begun}
    item = whole["output"][0]
    where = {"output_index": 0, "item_id": item["id"]}
    yield (
        "response.output_item.added",
        {
            "output_index": 0,
            "item": item | {"status": "in_progress"} | ({"content": []} if "content" in item else {}),
        },
    )
    if item["type"] == "message":
        empty, full = {**item["content"][0], "text": ""}, item["content"][0]
        yield "response.content_part.added", {**where, "content_index": 0, "part": empty}
        for word in _words(reply):
            yield "response.output_text.delta", {**where, "content_index": 0, "delta": word, "logprobs": []}
        yield "response.output_text.done", {**where, "content_index": 0, "text": reply, "logprobs": []}
        yield "response.content_part.done", {**where, "content_index": 0, "part": full}
    else:
        yield "response.function_call_arguments.delta", {**where, "delta": "{}"}
        yield "response.function_call_arguments.done", {**where, "name": item["name"], "arguments": "{}"}
    yield "response.output_item.done", {"output_index": 0, "item": item}
    yield "response.completed", {"response": whole}


# --- embeddings and moderations ---------------------------------------------------------------


def _embeddings(asked: dict[str, Any], _number: int, _reply: str, usage: Usage, stream_usage: str) -> Answer:
    texts = asked.get("input")
    if not texts:
        return _missing("input")
    several = isinstance(texts, list) and not all(isinstance(text, int) for text in texts)
    vector = [0.5] * int(asked.get("dimensions") or 8)
    shown: Any = vector
    if asked.get("encoding_format") == "base64":
        shown = base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
    count = len(texts) if several else 1
    body = {
        "object": "list",
        "data": [{"object": "embedding", "index": i, "embedding": shown} for i in range(count)],
        "model": asked["model"],
    }
    return Answer(200, body if stream_usage == "never" else body | {"usage": usage.embeddings()})


def _moderations(
    asked: dict[str, Any], number: int, _reply: str, _usage: Usage, _stream_usage: str
) -> Answer:
    if not asked.get("input"):
        return _missing("input")
    result = {"flagged": False, "categories": {}, "category_scores": {}, "category_applied_input_types": {}}
    body = {
        "id": f"modr-{number}",
        "model": asked.get("model", "omni-moderation-latest"),
        "results": [result],
    }
    return Answer(200, body)
