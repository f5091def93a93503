"""What a response bills beside its tokens is counted where it is told, and unknown where it is not; never none."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from lib.llm.openai.tool_usage import read_tool_calls
from lib.pricing.tool_calls import ToolCalls

MODEL = "gpt-5"


def message(*notes: str) -> dict[str, Any]:
    annotations = [{"type": note} for note in notes]
    return {"type": "message", "content": [{"type": "output_text", "text": "x", "annotations": annotations}]}


def count(*items: object, offered: tuple[str, ...] = (), model: str = MODEL, **more: Any) -> ToolCalls | None:
    return read_tool_calls({"output": list(items), **more}, frozenset(offered), model)


def searched(times: object) -> dict[str, Any]:
    return {"web_search": {"num_requests": times}, "image_gen": {"input_tokens": 0, "total_tokens": 0}}


@pytest.mark.parametrize(
    "kind",
    [
        "message",
        "reasoning",
        "function_call",
        "custom_tool_call",
        "compaction",
        "tool_search_call",
        "mcp_list_tools",
    ],
)
def test_what_is_published_as_billed_by_its_tokens_counts_no_calls(kind):
    assert count({"type": kind}) == ToolCalls()


def test_searches_are_counted_as_they_are_billed_and_not_as_they_are_shown():
    shown = [{"type": "web_search_call"}, {"type": "web_search_call"}, message("url_citation")]
    assert count(*shown, tool_usage=searched(1)) == ToolCalls(web_searches=1)
    assert count(message(), tool_usage=searched(3)) == ToolCalls(web_searches=3)
    assert count(*shown, tool_usage=searched(0)) == ToolCalls()


def test_each_file_search_is_one_call():
    items = [{"type": "file_search_call"}, {"type": "file_search_call"}, message("file_citation")]
    assert count(*items) == ToolCalls(file_searches=2)


@pytest.mark.parametrize(
    ("items", "more"),
    [
        ([{"type": "web_search_call"}], {}),
        ([message("url_citation")], {}),
        ([message()], {"offered": ("web_search",)}),
        ([message()], {"tools": [{"type": "web_search_2025_08_26"}]}),
        ([message()], {"tool_usage": searched("1")}),
        ([message()], {"tool_usage": searched(True)}),
        ([message()], {"tool_usage": searched(-1)}),
        ([message()], {"tool_usage": {"web_search": 1}}),
    ],
)
def test_searches_that_may_have_been_and_are_not_counted_are_unknown(items, more):
    assert count(*items, **more) is None


@pytest.mark.parametrize(
    ("items", "more"),
    [
        ([{"type": "code_interpreter_call"}], {}),
        ([{"type": "image_generation_call"}], {}),
        ([{"type": "computer_call"}], {}),
        ([{"type": "mcp_call"}], {}),
        ([{"type": "shell_call"}], {}),
        ([{"type": "made_up"}], {}),
        ([{}], {}),
        (["?"], {}),
        ([message("file_citation")], {}),
        ([message("container_file_citation")], {}),
        ([{"type": "message", "content": [{"type": "output_audio"}]}], {}),
        ([message()], {"tool_usage": {"image_gen": {"output_tokens": 5}}}),
        ([message()], {"tool_usage": {"made_up": {"calls": [{"n": 1}]}}}),
        ([message()], {"reasoning": {"mode": "pro"}}),
    ],
)
def test_work_whose_price_no_answer_tells_is_unknown(items, more):
    assert count(*items, **more) is None


@pytest.mark.parametrize(
    "more",
    [
        {"model": "gpt-4o-mini"},
        {"model": "gpt-4.1-mini-2025-04-14"},
        {"offered": ("web_search_preview",)},
        {"tools": [{"type": "web_search_preview_2025_03_11"}]},
    ],
)
def test_searches_with_a_fee_of_another_kind_are_unknown(more):
    assert count(message(), tool_usage=searched(1), **more) is None
    assert count(message(), tool_usage=searched(0), **more) == ToolCalls()


shapes = some.recursive(
    some.none() | some.booleans() | some.integers() | some.text(max_size=5),
    lambda inner: some.lists(inner, max_size=3) | some.dictionaries(some.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
names = some.sampled_from(["output", "tools", "tool_usage", "reasoning"])


@given(some.dictionaries(names, shapes))
def test_no_answer_of_any_shape_raises(body):
    found = read_tool_calls(body, frozenset(), None)
    assert found is None or min(found) >= 0
