"""Which request bodies have a bounded cost: ``cost_unbounded`` and ``uses_context_window`` of a RequestProfile.

A body has a ceiling when its bytes bound the input and its limit bounds the output, at the plain price.
Everything else OpenAI bills for (hosted tools, audio, other tiers, work it starts by itself) is named here;
a parameter that is not known to be harmless counts as one that is not.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

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
_LONGEST_TIER = 50
_STANDARD_TIERS = (None, "auto", "default")
_PLAIN_PARTS = frozenset(
    {None, "message", "text", "input_text", "output_text", "refusal", "function", "custom"}
    | {"function_call", "function_call_output", "custom_tool_call", "custom_tool_call_output", "direct"}
)
_VIEWED = frozenset({"file", "file_data", "file_id", "file_url", "image_file", "image_url"})
_STORED = ("previous_response_id", "conversation", "prompt")
_SEARCHES_BY_ITSELF = re.compile(r"-search-(preview|api)|deep-research|computer-use")
_PARAMETER = re.compile(r"[a-z_]{1,40}")
_FREE_NAMES = frozenset({"metadata", "logit_bias", "messages", "input"})
_IN_PARTS = """
    type role content id input_audio audio video web_search_options include_usage mode ttl tools
    prompt_cache_breakpoint function format
"""
_KNOWN_NAMES = frozenset().union(*_HARMLESS_NAMES.values(), _VIEWED, _IN_PARTS.split())


class Reason(NamedTuple):
    """Why a request's cost has no ceiling, and whether its answer tells what it cost in the end."""

    text: str
    """Part of a sentence."""

    answer_tells_cost: bool = False


def conversation_parts(fields: Fields) -> list[Fields]:
    """Return every object of the conversation, at any depth; descriptions of tools are no conversation."""
    found: list[Fields] = []
    waiting: list[object] = [fields.get(name) for name in ("messages", "input", "instructions", "prediction")]
    while waiting:
        value = waiting.pop()
        if isinstance(value, list):
            waiting.extend(item for item in value if isinstance(item, dict | list))
        elif isinstance(value, dict):
            found.append(value)
            waiting.extend(
                item for name, item in value.items() if name != "tools" and isinstance(item, dict | list)
            )
    return found


def unbounded_reasons(endpoint: str, fields: Fields, parts: list[Fields]) -> list[Reason]:
    """Return why the cost of this body has no ceiling; empty if it has one."""
    return [
        *([_MISSPELT] if _is_misspelt([fields, *_options(fields), *parts]) else []),
        *(reason for reason, applies in _RULES if applies(fields)),
        *(reason for part in parts if (reason := _why_part(endpoint, part))),
        *(_about(name) for name in fields if _is_unknown(endpoint, name, fields)),
    ]


def asked_tier(fields: Fields) -> str | None:
    """Return the service tier that is asked for, where it is not the standard one."""
    tier = fields.get("service_tier")
    return None if tier in _STANDARD_TIERS else str(tier)[:_LONGEST_TIER]


def hosted_tools(fields: Fields, parts: list[Fields]) -> frozenset[str]:
    """Return the types of the provider's own tools that are offered to the model."""
    offered = [fields.get("tools"), *(part["tools"] for part in parts if "tools" in part)]
    tools = [tool for listed in offered if isinstance(listed, list) for tool in listed]
    return frozenset(
        tool["type"] for tool in tools if isinstance(tool, dict) and _is_text(tool.get("type"))
    ) - frozenset(_OWN_TOOLS)


def uses_context_window(fields: Fields, parts: list[Fields]) -> bool:
    """Whether the model reads more than the text in the body: images, files, stored state."""
    return any(fields.get(name) is not None for name in _STORED) or any(_is_viewed(part) for part in parts)


def _is_unknown(endpoint: str, name: str, fields: Fields) -> bool:
    return fields[name] is not None and name not in _HARMLESS_NAMES[endpoint]


def _about(name: str) -> Reason:
    shown = f" {name}" if _PARAMETER.fullmatch(name) else ""
    return Reason(f"nothing is known about the cost of its parameter{shown}")


def _is_viewed(part: Fields) -> bool:
    kind = part.get("type")
    if not isinstance(kind, str | None) or kind not in _PLAIN_PARTS:
        return True
    refers = kind is None and "id" in part and "role" not in part  # an item reference may leave its type out
    return refers or any(part.get(name) is not None for name in _VIEWED)


def _why_part(endpoint: str, part: Fields) -> Reason | None:
    kind = str(part.get("type"))
    if "audio" in kind or "video" in kind or part.get("input_audio") or part.get("audio"):
        return Reason("it holds audio or video")
    if endpoint == "embeddings" or kind == "compaction_trigger":
        return Reason("it holds input of a kind that is not plain text")
    if _has_hosted_tool(part.get("tools")):
        return _HOSTED_TOOL
    return _APART if _is_long(part.get("prompt_cache_breakpoint")) else None


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


def _chooses_hosted_tool(choice: object) -> bool:
    return isinstance(choice, dict) and choice.get("type") not in (*_OWN_TOOLS, "allowed_tools", None)


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_misspelt(objects: list[Fields]) -> bool:
    """Whether a known name is written in other letters: some readers do not care about case, the meter does."""
    return any(
        name not in _KNOWN_NAMES and name.casefold() in _KNOWN_NAMES for found in objects for name in found
    )


def _options(fields: Fields) -> Iterator[Fields]:
    """The objects right below the body, but for those whose names are the caller's own."""
    for name, value in fields.items():
        if name not in _FREE_NAMES:
            yield from (
                item for item in (value if isinstance(value, list) else [value]) if isinstance(item, dict)
            )


_MISSPELT = Reason("it writes the name of a parameter in other letters")
_HOSTED_TOOL = Reason("it uses a hosted tool", answer_tells_cost=True)
_APART = Reason("it asks for something that is billed apart")
_RULES: tuple[tuple[Reason, Callable[[Fields], bool]], ...] = (
    (Reason("its service tier is not text"), lambda f: not isinstance(f.get("service_tier"), str | None)),
    (_HOSTED_TOOL, lambda f: _has_hosted_tool(f.get("tools")) or _chooses_hosted_tool(f.get("tool_choice"))),
    (Reason("it uses a hosted tool"), lambda f: f.get("web_search_options") is not None),
    (
        Reason("its model uses hosted tools by itself"),
        lambda f: bool(_SEARCHES_BY_ITSELF.search(str(f.get("model")).lower())),
    ),
    (
        Reason("its stored prompt may use hosted tools", answer_tells_cost=True),
        lambda f: f.get("prompt") is not None,
    ),
    (Reason("it runs in the background", answer_tells_cost=True), lambda f: bool(f.get("background"))),
    (Reason("it asks for audio"), lambda f: f.get("audio") is not None),
    (Reason("it asks for audio"), lambda f: f.get("modalities") not in (None, [], ["text"])),
    (_APART, lambda f: _is_long(f.get("prompt_cache_options"))),
    (_APART, lambda f: not _is_free_moderation(f.get("moderation"))),
    (Reason("it asks for another reasoning mode"), lambda f: not _is_standard_reasoning(f.get("reasoning"))),
)
