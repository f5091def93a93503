"""Which request bodies have a bounded cost: ``cost_unbounded`` and ``uses_context_window`` of a RequestProfile.

A body has a ceiling when its bytes bound the input and its limit bounds the output, at the plain price.
Everything else OpenAI bills for (hosted tools, audio, other tiers, work it starts by itself) is named here;
a parameter that is not known to be harmless counts as one that is not.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any

Fields = dict[str, Any]

_EVERYWHERE = """
    model metadata moderation parallel_tool_calls prompt_cache_key prompt_cache_options prompt_cache_retention
    safety_identifier service_tier store stream stream_options temperature tool_choice tools top_logprobs top_p
    user
"""
_HARMLESS = {
    "chat/completions": f"""{_EVERYWHERE}
        messages frequency_penalty function_call functions logit_bias logprobs max_completion_tokens max_tokens
        modalities n prediction presence_penalty reasoning_effort response_format seed stop verbosity
    """,
    "responses": f"""{_EVERYWHERE}
        input instructions background background_options conversation image include max_output_tokens
        max_tool_calls previous_response_id prompt reasoning text truncation
    """,
    "embeddings": "model input dimensions encoding_format user",
}
_HARMLESS_NAMES = {endpoint: frozenset(names.split()) for endpoint, names in _HARMLESS.items()}
_OWN_TOOLS = ("function", "custom")
_STANDARD_TIERS = (None, "auto", "default")
_PLAIN_PARTS = frozenset(
    {None, "message", "text", "input_text", "output_text", "refusal", "function", "custom"}
    | {"function_call", "function_call_output", "custom_tool_call", "custom_tool_call_output", "direct"}
)
_VIEWED = frozenset({"file", "file_data", "file_id", "file_url", "image_file", "image_url"})
_STORED = ("previous_response_id", "conversation", "prompt")
_SEARCHES_BY_ITSELF = re.compile(r"-search-(preview|api)|deep-research|computer-use")
_PARAMETER = re.compile(r"[a-z_]{1,40}")


def unbounded_reason(endpoint: str, fields: Fields) -> str | None:
    """Return the first reason why this body's cost has no ceiling, as a part of a sentence; None if it has."""
    reasons = chain(
        (reason for reason, applies in _RULES if applies(fields)),
        (reason for part in _parts(fields) if (reason := _why_part(endpoint, part))),
        (_about(name) for name in fields if _is_unknown(endpoint, name, fields)),
    )
    return next(reasons, None)


def uses_context_window(fields: Fields) -> bool:
    """Whether the model reads more than the text in the body: images, files, stored state."""
    return any(fields.get(name) is not None for name in _STORED) or any(
        _is_viewed(part) for part in _parts(fields)
    )


def _is_unknown(endpoint: str, name: str, fields: Fields) -> bool:
    return fields[name] is not None and name not in _HARMLESS_NAMES[endpoint]


def _about(name: str) -> str:
    shown = f" {name}" if _PARAMETER.fullmatch(name) else ""
    return f"nothing is known about the cost of its parameter{shown}"


def _parts(fields: Fields) -> Iterator[Fields]:
    """Every object of the conversation, at any depth; descriptions of tools are no conversation."""
    waiting: list[object] = [fields.get(name) for name in ("messages", "input", "instructions", "prediction")]
    while waiting:
        value = waiting.pop()
        if isinstance(value, list):
            waiting.extend(item for item in value if isinstance(item, dict | list))
        elif isinstance(value, dict):
            yield value
            waiting.extend(
                item for name, item in value.items() if name != "tools" and isinstance(item, dict | list)
            )


def _is_viewed(part: Fields) -> bool:
    kind = part.get("type")
    if not isinstance(kind, str | None) or kind not in _PLAIN_PARTS:
        return True
    refers = kind is None and "id" in part and "role" not in part  # an item reference may leave its type out
    return refers or any(part.get(name) is not None for name in _VIEWED)


def _why_part(endpoint: str, part: Fields) -> str | None:
    kind = str(part.get("type"))
    if "audio" in kind or "video" in kind or part.get("input_audio") or part.get("audio"):
        return "it holds audio or video"
    if endpoint == "embeddings" or kind == "compaction_trigger":
        return "it holds input of a kind that is not plain text"
    if _has_hosted_tool(part.get("tools")):
        return "it uses a hosted tool"
    cache = part.get("prompt_cache_breakpoint")
    return "it asks for something that is billed apart" if _is_long(cache) else None


def _has_hosted_tool(tools: object) -> bool:
    return tools is not None and not (isinstance(tools, list) and all(_is_own_tool(tool) for tool in tools))


def _is_own_tool(tool: object) -> bool:
    """A function of the caller's own, or a group of such (one level: groups are not nested)."""
    if not isinstance(tool, dict):
        return False
    if tool.get("type") == "namespace":
        inner = tool.get("tools")
        return isinstance(inner, list) and all(
            isinstance(part, dict) and part.get("type") in _OWN_TOOLS for part in inner
        )
    return tool.get("type") in _OWN_TOOLS


def _is_long(cache: object) -> bool:
    """Cache writes are priced for the plain lifetime only."""
    return isinstance(cache, dict) and cache.get("ttl") not in (None, "30m")


def _is_free_moderation(moderation: object) -> bool:
    return moderation is None or (
        isinstance(moderation, dict) and str(moderation.get("model")).startswith("omni-moderation")
    )


def _is_standard_reasoning(reasoning: object) -> bool:
    return not isinstance(reasoning, dict) or reasoning.get("mode") in (None, "standard")


_RULES: tuple[tuple[str, Callable[[Fields], bool]], ...] = (
    ("it asks for another service tier", lambda f: f.get("service_tier") not in _STANDARD_TIERS),
    ("it uses a hosted tool", lambda f: _has_hosted_tool(f.get("tools"))),
    ("it uses a hosted tool", lambda f: f.get("web_search_options") is not None),
    (
        "its model uses hosted tools by itself",
        lambda f: bool(_SEARCHES_BY_ITSELF.search(str(f.get("model")).lower())),
    ),
    ("it runs in the background", lambda f: bool(f.get("background"))),
    ("it asks for audio", lambda f: f.get("audio") is not None),
    ("it asks for audio", lambda f: f.get("modalities") not in (None, [], ["text"])),
    ("it asks for something that is billed apart", lambda f: _is_long(f.get("prompt_cache_options"))),
    ("it asks for something that is billed apart", lambda f: not _is_free_moderation(f.get("moderation"))),
    ("it asks for another reasoning mode", lambda f: not _is_standard_reasoning(f.get("reasoning"))),
)
