"""What a whole answer is billed for beside its tokens: hosted tools, as far as the answer tells them.

Sources: the Responses API's ``output``, ``tools`` and ``tool_usage``. Where one of them is missing that would
have told, the number is unknown; it is never taken for none.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lib.pricing.tool_calls import ToolCalls

# Published as billed by their tokens alone.
_ALONE = """
    message reasoning function_call function_call_output custom_tool_call custom_tool_call_output compaction
    tool_search_call tool_search_output mcp_list_tools
"""
_TOKENS_ALONE = frozenset(_ALONE.split())
_COUNTED = frozenset({"web_search_call", "file_search_call"})
_PLAIN_CONTENT = (None, "output_text", "refusal", "reasoning_text", "summary_text")
_WEB_SEARCH = "web_search"
_MOST_CALLS = 1_000_000  # more than any answer makes, and small enough for every sum
_PREVIEW = "web_search_preview"
"""The tool whose price hangs on whether the model reasons, which no answer tells."""

_BLOCKS_OF_CONTENT = ("gpt-4o-mini", "gpt-4.1-mini")
"""These pay a fixed number of input tokens for what a search brings, which may not be in their usage."""


def read_tool_calls(body: dict[str, Any], offered: frozenset[str], model: str | None) -> ToolCalls | None:
    """Count the billable calls of hosted tools in a whole response.

    Args:
        body: the response.
        offered: types of the hosted tools that the request offered.
        model: that answered.

    Returns:
        None where something is billed that the response does not tell.
    """
    items, tools = _dicts(body.get("output")), _dicts(body.get("tools"))
    kinds = [item.get("type") for item in items]
    cited = {note.get("type") for note in _annotations(items)}
    if _is_billed_apart(body, items) or cited - {"url_citation", "file_citation"}:
        return None
    files = kinds.count("file_search_call")
    if "file_citation" in cited and not files:
        return None
    offered |= {str(tool.get("type")) for tool in tools}
    may_search = any(name.startswith(_WEB_SEARCH) for name in offered)
    may_search = may_search or "web_search_call" in kinds or "url_citation" in cited
    searches = _told_searches(body, may_search=may_search)
    if searches is None or (searches and not _has_known_fee(offered, model)):
        return None
    return ToolCalls(web_searches=searches, file_searches=files)


def _is_billed_apart(body: dict[str, Any], items: list[dict[str, Any]]) -> bool:
    output, reasoning = body.get("output"), body.get("reasoning")
    if isinstance(output, list) and len(items) != len(output):
        return True
    if isinstance(reasoning, dict) and reasoning.get("mode") not in (None, "standard"):
        return True
    usage = body.get("tool_usage")
    others = (
        {name: told for name, told in usage.items() if name != _WEB_SEARCH}
        if isinstance(usage, dict)
        else usage
    )
    return counts_something(others) or not all(_is_known_item(item) for item in items)


def _is_known_item(item: dict[str, Any]) -> bool:
    if item.get("type") not in _TOKENS_ALONE | _COUNTED:
        return False
    return all(part.get("type") in _PLAIN_CONTENT for part in _dicts(item.get("content")))


def _told_searches(body: dict[str, Any], *, may_search: bool) -> int | None:
    """``num_requests`` counts what is billed, without page openings; items of the output do not."""
    usage = body.get("tool_usage")
    told = usage.get(_WEB_SEARCH) if isinstance(usage, dict) else None
    if told is None:
        return None if may_search else 0
    count = told.get("num_requests") if isinstance(told, dict) else None
    usable = isinstance(count, int) and not isinstance(count, bool) and 0 <= count <= _MOST_CALLS
    return count if usable else None


def _has_known_fee(offered: frozenset[str], model: str | None) -> bool:
    preview = any(name.startswith(_PREVIEW) for name in offered)
    return not preview and not (model or "").startswith(_BLOCKS_OF_CONTENT)


def counts_something(told: object) -> bool:
    """Whether there is any number but zero in it, at any depth."""
    if isinstance(told, dict):
        return any(counts_something(value) for value in told.values())
    if isinstance(told, list):
        return any(counts_something(value) for value in told)
    return isinstance(told, int | float) and bool(told)


def _annotations(items: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for item in items:
        for part in _dicts(item.get("content")):
            yield from _dicts(part.get("annotations"))


def _dicts(value: object) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
