"""Which request bodies have a bounded cost, and why the others have none.

A body has a ceiling when its bytes bound the input and ``maxOutputTokens`` bounds the output, at the plain price.
Google reads each name in two spellings (``maxOutputTokens``, ``max_output_tokens``), and its SDK sends both: names are
brought into one, and a request that says one thing in both has no ceiling. At each level only what is known to be
harmless is let through.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from lib.llm.formats.json_body import MOST_TOKENS, is_count

Fields = dict[str, Any]

_BODY = frozenset(
    [
        "contents",
        "systemInstruction",
        "tools",
        "toolConfig",
        "safetySettings",
        "generationConfig",
        "serviceTier",
        "continuationToken",
    ]
)
_CONFIG_NAMES = """
    temperature topP topK candidateCount maxOutputTokens stopSequences responseLogprobs logprobs presencePenalty
    frequencyPenalty seed responseMimeType responseSchema responseJsonSchema thinkingConfig responseModalities
    mediaResolution enableEnhancedCivicAnswers continuationToken
"""
_CONFIG = frozenset(_CONFIG_NAMES.split())
_THINKING = frozenset({"thinkingBudget", "thinkingLevel", "includeThoughts"})
_CONTENT = frozenset({"role", "parts"})
_PART = frozenset(
    [
        "text",
        "thought",
        "thoughtSignature",
        "functionCall",
        "functionResponse",
        "executableCode",
        "codeExecutionResult",
    ]
)
_FUNCTION_RESPONSE = frozenset({"id", "name", "response", "willContinue", "scheduling"})
_EMBEDDING = frozenset(["model", "content", "taskType", "title", "outputDimensionality", "autoTruncate"])
_OWN_TOOLS = "functionDeclarations"
_TOLD_BY_ANSWERS = frozenset({"codeExecution", "urlContext", "computerUse"})
"""Tools of Google's own that bill tokens alone, which the answer counts; the others have a fee by call."""

_STANDARD_TIERS = frozenset({"", "standard", "unspecified"})
_PARAMETER = re.compile(r"[A-Za-z_]{1,40}")
_SNAKE = re.compile(r"_+([a-zA-Z0-9])")
_LIMITS_THOUGHTS = re.compile(r"gemini-(2\.5|3|3\.\d|4)-[\w.-]+", re.ASCII)
"""Generations of models of which was measured that thoughts end at ``maxOutputTokens``; docs/caps.md names where."""


class Reason(NamedTuple):
    """Why a request's cost has no ceiling, and whether its answer tells what it cost in the end."""

    text: str
    """Part of a sentence."""

    answer_tells_cost: bool = False


_TWICE = Reason("it says a parameter in two spellings, and readers differ in which one counts")
_NOT_TEXT = Reason("it holds input of a kind that is not plain text", answer_tells_cost=True)
_CACHED = Reason("it reads a cached content, whose storage is billed by the hour", answer_tells_cost=True)
_NO_FORM = Reason("its contents are not in the form that is documented")
_OUTPUT = Reason("it asks for output that is not text", answer_tells_cost=True)
_THOUGHTS = Reason("its thinking budget is not a whole number")
_NO_BUDGET = Reason(
    "whether this model's thoughts count against its output limit is not known, and it names no thinking budget "
    "(thinking_config.thinking_budget, 0 or more)",
    answer_tells_cost=True,
)


def in_one_spelling(value: object) -> tuple[Fields, bool]:
    """An object with its own names in camel case, without nulls, and whether one of them is there twice."""
    if not isinstance(value, dict):
        return {}, False
    named = [(in_camel_case(name), part) for name, part in value.items() if part is not None]
    return dict(named), len(dict(named)) != len(named)


def in_camel_case(name: str) -> str:
    """The one spelling of a name."""
    return _SNAKE.sub(lambda found: found[1].upper(), name)


def asked_tier(fields: Fields) -> str | None:
    """Return the service tier that is asked for, None for the standard one."""
    tier = fields.get("serviceTier")
    word = plain_tier(tier) if isinstance(tier, str) else "?" if tier else ""
    return word or None


def plain_tier(word: str) -> str:
    """A tier's name as prices know it; empty for the standard one."""
    name = word.lower().removeprefix("service_tier_")[:50]
    return "" if name in _STANDARD_TIERS else name


def hosted_tools(fields: Fields) -> frozenset[str]:
    """Return the names of Google's own tools that are offered to the model."""
    return frozenset(name for tool in _objects(fields.get("tools")) for name in tool) - {_OWN_TOOLS}


def output_bound(fields: Fields) -> tuple[int | None, int, str | None]:
    """Most output tokens of one candidate, the number of candidates, and what is wrong with that.

    Thoughts are counted against ``maxOutputTokens`` by the models of which that was measured (``_LIMITS_THOUGHTS``),
    and a thinking budget bounds nothing there. One that is named is reserved besides, whatever the model.
    """
    config, _ = in_one_spelling(fields.get("generationConfig"))
    thinking, _ = in_one_spelling(config.get("thinkingConfig"))
    limit, choices = config.get("maxOutputTokens"), config.get("candidateCount", 1)
    budget = thinking.get("thinkingBudget", 0)
    if not is_count(choices) or not choices:
        return None, 1, "the number of its candidates is not a whole number"
    if limit is None:
        return None, choices, None
    if not is_count(limit) or not limit:  # zero is no limit to a reader that takes it for unset
        return None, choices, "its output limit is not a whole number"
    more = budget if is_count(budget) else 0
    return min(limit + more, MOST_TOKENS), choices, None


def generating_reasons(fields: Fields, model: str, *, is_twice: bool) -> list[Reason]:
    """Return why the cost of a body that generates content has no ceiling; empty if it has one."""
    return [
        *_thinking_reasons(fields.get("generationConfig"), model),
        *([_TWICE] if is_twice else []),
        *(_about(name) for name in fields if name not in _BODY | {"cachedContent"}),
        *([_CACHED] if "cachedContent" in fields else []),
        *_config_reasons(fields.get("generationConfig")),
        *_tool_reasons(fields.get("tools")),
        *_contents_reasons(fields.get("contents")),
        *_content_reasons(fields.get("systemInstruction", {})),
    ]


def embedding_reasons(fields: Fields, model: str, *, is_twice: bool) -> list[Reason]:
    """Return why the cost of a request for an embedding has no ceiling; empty if it has one."""
    named = fields.get("model")
    return [
        *([_TWICE] if is_twice else []),
        *(_about(name) for name in fields if name not in _EMBEDDING),
        *([Reason("it names two models")] if named not in (None, f"models/{model}", model) else []),
        *_content_reasons(fields.get("content", {})),
    ]


def _config_reasons(value: object) -> Iterator[Reason]:
    config, is_twice = in_one_spelling(value)
    thinking, thinks_twice = in_one_spelling(config.get("thinkingConfig"))
    if is_twice or thinks_twice:
        yield _TWICE
    if not isinstance(value, dict | None) or not isinstance(config.get("thinkingConfig"), dict | None):
        yield _NO_FORM
    yield from (_about(name) for name in config if name not in _CONFIG)
    yield from (_about(name) for name in thinking if name not in _THINKING)
    budget = thinking.get("thinkingBudget", 0)
    if not is_count(budget) and budget != -1:
        yield _THOUGHTS
    kinds = config.get("responseModalities", [])
    if not isinstance(kinds, list) or any(kind != "TEXT" for kind in kinds):
        yield _OUTPUT


def _thinking_reasons(value: object, model: str) -> Iterator[Reason]:
    config, _ = in_one_spelling(value)
    thinking, _ = in_one_spelling(config.get("thinkingConfig"))
    if not _LIMITS_THOUGHTS.fullmatch(model) and not is_count(thinking.get("thinkingBudget")):
        yield _NO_BUDGET


def _tool_reasons(value: object) -> Iterator[Reason]:
    if not isinstance(value, list | None) or len(_objects(value)) != len(value or []):
        yield Reason("its tools are no list")
    for tool in _objects(value):
        for name in tool:
            if name != _OWN_TOOLS:
                yield Reason("it uses a tool of Google's own", answer_tells_cost=name in _TOLD_BY_ANSWERS)


def _contents_reasons(value: object) -> Iterator[Reason]:
    if not isinstance(value, list):
        yield _NO_FORM
        return
    for content in value:
        yield from _content_reasons(content)


def _content_reasons(value: object) -> Iterator[Reason]:
    content, is_twice = in_one_spelling(value)
    parts = content.get("parts", [])
    if is_twice:
        yield _TWICE
    if not isinstance(value, dict) or not isinstance(parts, list) or content.keys() - _CONTENT:
        yield _NO_FORM
        return
    for part in parts:
        yield from _part_reasons(part)


def _part_reasons(value: object) -> Iterator[Reason]:
    part, is_twice = in_one_spelling(value)
    response, response_twice = in_one_spelling(part.get("functionResponse"))
    if is_twice or response_twice:
        yield _TWICE
    if not isinstance(value, dict):
        yield _NO_FORM
    elif part.keys() - _PART or response.keys() - _FUNCTION_RESPONSE:
        yield _NOT_TEXT


def _objects(value: object) -> list[Fields]:
    items = value if isinstance(value, list) else []
    return [in_one_spelling(item)[0] for item in items if isinstance(item, dict)]


def _about(name: str) -> Reason:
    shown = f" {name}" if _PARAMETER.fullmatch(name) else ""
    return Reason(f"nothing is known about the cost of its parameter{shown}")
