"""What a request to Anthropic may cost at most is told from its body, or the body has no ceiling."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lib.llm.anthropic.provider import Anthropic
from lib.llm.anthropic.requests import parse_request

SAY = [{"role": "user", "content": "Hi"}]
PLAIN: dict[str, Any] = {"model": "claude-opus-5", "max_tokens": 100, "messages": SAY}
IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aaaa"}}
OWN_TOOL = {"name": "look", "input_schema": {"type": "object", "properties": {"Model": {}, "URL": {}}}}
TEXT_DOCUMENT = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "hello"}}


def profile(path: str = "v1/messages", method: str = "POST", header: str | None = None, **more: Any) -> Any:
    body = json.dumps(PLAIN | more).encode() if method == "POST" else b""
    headers = {"content-type": "application/json"} | ({"anthropic-beta": header} if header else {})
    return parse_request(method, path, body, headers)


def says(content: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": content}]}


BOUNDED: dict[str, dict[str, Any]] = {
    "plain": {},
    "system": {"system": [{"type": "text", "text": "Be kind", "cache_control": {"type": "ephemeral"}}]},
    "cached for an hour": says(
        [{"type": "text", "text": "x", "cache_control": {"type": "ephemeral", "ttl": "1h"}}]
    ),
    "stream": {"stream": True},
    "tools of one's own": {
        "tools": [OWN_TOOL, OWN_TOOL | {"type": "custom"}],
        "tool_choice": {"type": "any"},
    },
    "a tool's result": says(
        [{"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": "1"}]}]
    ),
    "thoughts": {"thinking": {"type": "enabled", "budget_tokens": 1024}},
    "a document of text": says([TEXT_DOCUMENT]),
    "the standard tier": {"service_tier": "standard_only"},
    "the standard speed": {"speed": "standard"},
    "anywhere": {"inference_geo": "global"},
    "a form of the answer": {"output_config": {"format": {"type": "json_schema", "schema": {}}}},
    "an empty container": {"container": None},
}
UNBOUNDED: dict[str, tuple[dict[str, Any], str, bool]] = {
    "web search": ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "tool of Anthropic's own", True),
    "web fetch": ({"tools": [{"type": "web_fetch_20260318", "name": "web_fetch"}]}, "tool of Anthropic's own", True),
    "code": ({"tools": [{"type": "code_execution_20260521", "name": "c"}]}, "tool of Anthropic's own", False),
    "an unheard-of tool": ({"tools": [{"type": "advisor_20270101"}]}, "tool of Anthropic's own", False),
    "tools that are no list": ({"tools": {"type": "custom"}}, "tools are no list", False),
    "an image": (says([IMAGE]), "not plain text", True),
    "an image in a result": (says([{"type": "tool_result", "tool_use_id": "t", "content": [IMAGE]}]), "plain text", True),
    "a PDF": (says([{"type": "document", "source": {"type": "base64", "data": "a"}}]), "not plain text", True),
    "a file by id": (says([{"type": "document", "source": {"type": "file", "file_id": "f"}}]), "plain text", True),
    "a page by address": (says([{"type": "document", "source": {"type": "url", "url": "x"}}]), "plain text", True),
    "an image in a document": (
        says([{"type": "document", "source": {"type": "content", "content": [IMAGE]}}]), "not plain text", True
    ),
    "a container": ({"container": {"id": "c"}}, "parameter container", False),
    "servers of tools": ({"mcp_servers": [{"url": "x"}]}, "parameter mcp_servers", False),
    "an unheard-of parameter": ({"fallbacks": ["x"]}, "parameter fallbacks", False),
    "another tier": ({"service_tier": "priority"}, "service tier", False),
    "inference in the US": ({"inference_geo": "us"}, "asks for a region", False),
    "another lifetime": ({"cache_control": {"type": "ephemeral", "ttl": "24h"}}, "another lifetime", False),
    "another lifetime of a part": (
        says([{"type": "text", "text": "x", "cache_control": {"ttl": "2h"}}]), "another lifetime", False
    ),
    "other letters": ({"Max_Tokens": 5}, "other letters", False),
    "a limit that is no number": ({"max_tokens": "100"}, "not a whole number", True),
    "a limit below zero": ({"max_tokens": -1}, "not a whole number", True),
    "no model": ({"model": None}, "names no model", True),
    "a stream of sorts": ({"stream": "yes"}, "neither true nor false", True),
    "thoughts without bounds": ({"thinking": {"type": "enabled", "budget_tokens": "all"}}, "no bounds", False),
}  # fmt: skip


@pytest.mark.parametrize("kind", BOUNDED)
def test_what_bytes_and_limits_bound_may_run_on_the_platform_key(kind: str) -> None:
    found = profile(**BOUNDED[kind])
    assert (found.cost_unbounded, found.answer_tells_cost, found.endpoint) == (None, True, "messages")
    assert found.output_limit >= 100


@pytest.mark.parametrize("kind", UNBOUNDED)
def test_what_nothing_bounds_is_named_and_so_is_whether_the_answer_tells_its_cost(kind: str) -> None:
    more, why, told = UNBOUNDED[kind]
    found = profile(**more)
    assert why in (found.cost_unbounded or "")
    assert found.answer_tells_cost is told


def test_a_beta_feature_has_no_ceiling() -> None:
    assert "beta feature" in (profile(header="context-1m-2025-08-07").cost_unbounded or "")


@pytest.mark.parametrize("body", [b'{"max_tokens":1,"max_tokens":2}', b"[]", b"{", b"\xff"])
def test_a_body_that_readers_read_differently_has_neither_ceiling_nor_told_cost(body: bytes) -> None:
    found = parse_request("POST", "v1/messages", body, {"content-type": "application/json"})
    assert found.cost_unbounded
    assert not found.answer_tells_cost


def test_fast_is_asked_for_as_a_tier() -> None:
    fast = profile(speed="fast")
    assert (fast.service_tier, fast.answer_tells_cost) == ("fast", True)
    assert "another speed" in str(fast.cost_unbounded), "On the platform key it does not run."
    assert profile(service_tier="auto").service_tier is None


def test_the_prompt_that_is_added_for_tools_and_another_region_are_in_the_ceiling() -> None:
    assert (profile().framing_tokens, profile().surcharge_percent) == (256, 10)
    assert profile(tools=[OWN_TOOL]).framing_tokens == 2_048
    assert profile(output_config={"effort": "low"}).framing_tokens == 2_048
    assert profile(inference_geo="global").surcharge_percent == 0


def test_a_budget_of_thoughts_beyond_the_limit_is_the_limit() -> None:
    assert profile(thinking={"type": "enabled", "budget_tokens": 5_000}).output_limit == 5_000
    assert (
        profile(max_tokens=9_000, thinking={"type": "enabled", "budget_tokens": 5_000}).output_limit == 9_000
    )


PLACES: dict[str, tuple[str, str, bool, str | None]] = {
    "models": ("GET", "v1/models", True, None),
    "a model": ("GET", "v1/models/claude-opus-5", True, None),
    "counting tokens": ("POST", "v1/messages/count_tokens", True, None),
    "uploading a file": ("POST", "v1/files", True, "which projects on the platform key share"),
    "reading a file": ("GET", "v1/files/f_1/content", True, "which projects on the platform key share"),
    "a batch": ("POST", "v1/messages/batches", False, "no known cost ceiling"),
    "a batch's results": ("GET", "v1/messages/batches/b_1/results", True, "which projects on the platform key share"),
    "cancelling a batch": ("POST", "v1/messages/batches/b_1/cancel", True, "which projects on the platform key share"),
    "a session": ("POST", "v1/sessions", False, "no known cost ceiling"),
    "the organization": ("GET", "v1/organizations/me", True, "which projects on the platform key share"),
    "another key": ("POST", "v1/organizations/api_keys/k", False, "no known cost ceiling"),
    "old completions": ("POST", "v1/complete", False, "no known cost ceiling"),
    "another version": ("POST", "v2/messages", False, "no known cost ceiling"),
}  # fmt: skip


@pytest.mark.parametrize("place", PLACES)
def test_every_other_place_is_free_or_has_no_ceiling(place: str) -> None:
    method, path, free, why = PLACES[place]
    found = profile(path, method)
    assert found.free is free
    assert (found.cost_unbounded is None) == (why is None)
    assert (why or "") in (found.cost_unbounded or "")
    assert found.answer_tells_cost or not free


def sent(body: bytes, *, limit: int | None = None, on_platform: bool = True) -> bytes:
    asked = parse_request("POST", "v1/messages", body, {"content-type": "application/json"})
    return Anthropic().sent_body("POST", asked, body, output_limit=limit, on_platform=on_platform)


def test_on_the_platform_key_a_limit_and_the_standard_tier_are_added_and_nothing_else() -> None:
    body = json.dumps({"model": "m", "messages": SAY}).encode()
    assert json.loads(sent(body, limit=77)) == json.loads(body) | {
        "max_tokens": 77,
        "service_tier": "standard_only",
    }
    asked = json.dumps(PLAIN | {"service_tier": "auto"}).encode()
    assert json.loads(sent(asked, limit=77)) == PLAIN | {"service_tier": "standard_only"}


def test_on_the_projects_own_key_the_body_leaves_as_it_came() -> None:
    body = b' {"model": "m",  "max_tokens": 5, "messages": []} '
    assert sent(body, on_platform=False) is body
