"""Which request bodies have a bounded cost, and why the others have none.

A body has a ceiling when its bytes bound the input and ``max_tokens`` bounds the output, at the plain price. All
else that Anthropic bills for, or whose tokens no byte shows (its own tools, images, pages of documents, containers,
other regions), is named here; a parameter that is not known to be harmless counts as one that is not.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

from lib.llm.formats.json_body import is_count

Fields = dict[str, Any]

_NAMES = """
    model messages max_tokens cache_control diagnostics inference_geo metadata output_config service_tier speed
    stop_sequences stream system temperature thinking tool_choice tools top_k top_p
"""
_HARMLESS = frozenset(_NAMES.split())
_IN_PARTS = """
    type role content source text title context citations cache_control ttl id name input tool_use_id is_error
    signature data budget_tokens display effort format input_schema container mcp_servers
"""
_KNOWN_NAMES = _HARMLESS | frozenset(_IN_PARTS.split())
_PLAIN_PARTS = frozenset(
    {None, "text", "thinking", "redacted_thinking", "tool_use", "tool_result", "search_result", "document"}
)
_PLAIN_SOURCES = frozenset({"text", "content"})
_OWN_TOOLS = (None, "custom")
_TOLD_BY_ANSWERS = re.compile(
    r"(web_search|web_fetch|tool_search_tool_\w+|bash|text_editor|memory|computer)_\d+"
)
"""Tools of Anthropic's own that bill tokens, or calls that the answer counts."""

_STANDARD_TIERS = (None, "auto", "standard_only")
_STANDARD_SPEEDS = (None, "standard")
_GLOBAL = (None, "global")
_LIFETIMES = (None, "5m", "1h")
_PARAMETER = re.compile(r"[a-z_]{1,40}")


class Reason(NamedTuple):
    """Why a request's cost has no ceiling, and whether its answer tells what it cost in the end."""

    text: str
    """Part of a sentence."""

    answer_tells_cost: bool = False


def conversation_parts(fields: Fields) -> list[Fields]:
    """Return every part of the conversation, at any depth; what a tool is given or a caller describes is none."""
    found: list[Fields] = []
    waiting: list[object] = [fields.get("messages"), fields.get("system")]
    while waiting:
        value = waiting.pop()
        if isinstance(value, list):
            waiting.extend(item for item in value if isinstance(item, dict | list))
        elif isinstance(value, dict):
            found.append(value)
            source = value.get("source")
            inner = source.get("content") if isinstance(source, dict) else None
            waiting.extend(each for each in (value.get("content"), inner) if isinstance(each, dict | list))
    return found


def unbounded_reasons(fields: Fields, parts: list[Fields]) -> list[Reason]:
    """Return why the cost of this body has no ceiling; empty if it has one."""
    return [
        *([_MISSPELT] if any(_is_misspelt(found) for found in (fields, *parts)) else []),
        *(reason for reason, applies in _RULES if applies(fields)),
        *(reason for tool in _listed(fields.get("tools")) if (reason := _why_tool(tool))),
        *(reason for part in parts if (reason := _why_part(part))),
        *(_about(name) for name in fields if fields[name] is not None and name not in _HARMLESS),
    ]


def asked_tier(fields: Fields) -> str | None:
    """Return ``fast`` where that speed is asked for: it has prices of its own."""
    speed = fields.get("speed")
    return None if speed in _STANDARD_SPEEDS else str(speed)[:50]


def hosted_tools(fields: Fields) -> frozenset[str]:
    """Return the types of Anthropic's own tools that are offered to the model."""
    kinds = [tool.get("type") for tool in _listed(fields.get("tools")) if isinstance(tool, dict)]
    return frozenset(kind for kind in kinds if isinstance(kind, str)) - frozenset({"custom"})


def has_hidden_prompt(fields: Fields) -> bool:
    """Whether Anthropic adds a prompt of its own to what the body says: for tools, and for a form of the answer."""
    return bool(fields.get("tools")) or fields.get("output_config") is not None


def _listed(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _about(name: str) -> Reason:
    shown = f" {name}" if _PARAMETER.fullmatch(name) else ""
    return Reason(f"nothing is known about the cost of its parameter{shown}")


def _why_tool(tool: object) -> Reason | None:
    kind = tool.get("type") if isinstance(tool, dict) else ""
    if kind in _OWN_TOOLS:
        return _LIFETIME if isinstance(tool, dict) and _is_odd_cache(tool.get("cache_control")) else None
    told = isinstance(kind, str) and _TOLD_BY_ANSWERS.fullmatch(kind) is not None
    return Reason("it uses a tool of Anthropic's own", answer_tells_cost=told)


def _why_part(part: Fields) -> Reason | None:
    kind = part.get("type")
    if not isinstance(kind, str | None) or kind not in _PLAIN_PARTS:
        return _NOT_TEXT
    if kind == "document" and not _is_plain_document(part.get("source")):
        return _NOT_TEXT
    return _LIFETIME if _is_odd_cache(part.get("cache_control")) else None


def _is_plain_document(source: object) -> bool:
    return isinstance(source, dict) and source.get("type") in _PLAIN_SOURCES


def _is_odd_cache(cache: object) -> bool:
    if cache is None:
        return False
    return not isinstance(cache, dict) or cache.get("ttl") not in _LIFETIMES


def _is_odd_thinking(thinking: object) -> bool:
    budget = thinking.get("budget_tokens") if isinstance(thinking, dict) else None
    return not isinstance(thinking, dict | None) or not (budget is None or is_count(budget))


def _is_misspelt(found: Fields) -> bool:
    """Whether a known name is written in other letters: some readers do not care about case, the meter does."""
    return any(name not in _KNOWN_NAMES and name.casefold() in _KNOWN_NAMES for name in found)


_MISSPELT = Reason("it writes the name of a parameter in other letters")
_NOT_TEXT = Reason("it holds input of a kind that is not plain text", answer_tells_cost=True)
_LIFETIME = Reason("it asks for a cache of another lifetime")
_RULES: tuple[tuple[Reason, Callable[[Fields], bool]], ...] = (
    (
        Reason("it asks for a service tier that is not known"),
        lambda f: f.get("service_tier") not in _STANDARD_TIERS,
    ),
    (Reason("its speed is not text"), lambda f: not isinstance(f.get("speed"), str | None)),
    (
        Reason("it asks for another speed than the standard one", answer_tells_cost=True),
        lambda f: f.get("speed") not in _STANDARD_SPEEDS,
    ),
    (
        Reason("it asks for a region, and what that costs is in no table"),
        lambda f: f.get("inference_geo") not in _GLOBAL,
    ),
    (_LIFETIME, lambda f: _is_odd_cache(f.get("cache_control"))),
    (Reason("its thinking has no bounds"), lambda f: _is_odd_thinking(f.get("thinking"))),
    (Reason("its tools are no list"), lambda f: not isinstance(f.get("tools"), list | None)),
)
