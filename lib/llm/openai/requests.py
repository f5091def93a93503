"""Reading a request before it leaves, and the two things we may add to it. Pure: bytes in, values out.

What a request may cost at most is told from its bytes: a tokenizer makes at most one token of a byte.
Where that does not hold, ``RequestProfile`` says so (``uses_context_window``), and where nothing bounds the cost
it says why (``cost_unbounded``); lib/llm/openai/billable.py holds those rules.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from lib.ledger.attempts import RequestProfile
from lib.llm.formats.json_body import (
    LONGEST_NAME,
    MOST_TOKENS,
    is_count,
    model_name,
    parse_body,
    with_field,
)
from lib.llm.formats.request_profile import NO_CEILING, SHARED, profile_of
from lib.llm.openai.billable import (
    Fields,
    asked_tier,
    conversation_parts,
    hosted_tools,
    unbounded_reasons,
    uses_context_window,
)
from lib.llm.openai.endpoints import CHAT, EMBEDDINGS, METERED, RESPONSES, is_free, is_list_of_models

_LIMIT_FIELDS = {CHAT: ("max_completion_tokens", "max_tokens"), RESPONSES: ("max_output_tokens",)}
_STANDARD_TIER = "default"


def parse_request(method: str, path: str, body: bytes, headers: Mapping[str, str]) -> RequestProfile:
    """Tell what one request asks for.

    Args:
        method: HTTP method, upper case.
        path: the path under the base URL, without a leading slash and without the query.
        body: the whole body as it would be sent.
        headers: the request's own.
    """
    if is_list_of_models(method, path):
        return profile_of("models", body, free=True)
    fields, ambiguous = parse_body(body, headers) if method == "POST" else (None, None)
    if method == "POST" and path == "moderations":
        return profile_of(path, body, fields, free=True)
    if is_free(method, path):
        return profile_of(path[:LONGEST_NAME], body, fields, free=True, cost_unbounded=SHARED)
    if method != "POST" or path not in METERED:
        return profile_of(
            path[:LONGEST_NAME], body, fields, cost_unbounded=NO_CEILING, answer_tells_cost=False
        )
    if fields is None:
        return profile_of(path, body, cost_unbounded=ambiguous, answer_tells_cost=False)
    return _metered(path, body, fields, headers)


def _metered(path: str, body: bytes, fields: Fields, headers: Mapping[str, str]) -> RequestProfile:
    limit, choices, wrong = _output_bound(path, fields)
    parts = conversation_parts(fields)
    reasons = unbounded_reasons(path, fields, parts)
    if "openai-beta" in headers:
        wrong = wrong or "it asks for a beta feature"
    return profile_of(
        path,
        body,
        fields,
        output_limit=limit,
        choices=choices,
        uses_context_window=uses_context_window(fields, parts),
        cost_unbounded=_why_no_model(fields) or wrong or next((reason.text for reason in reasons), None),
        service_tier=asked_tier(fields),
        answer_tells_cost=all(reason.answer_tells_cost for reason in reasons),
        hosted_tools=hosted_tools(fields, parts),
    )


def with_output_limit(body: bytes, endpoint: str, limit: int) -> bytes:
    """Return the body with an output limit, for a request that ``parse_request`` found to have none."""
    names = _LIMIT_FIELDS.get(endpoint)
    return with_field(body, names[0], limit) if names else body


def with_standard_tier(body: bytes, endpoint: str) -> bytes:
    """Return the body so that it asks for the standard service tier, for a request that names no other one."""
    if endpoint not in {CHAT, RESPONSES}:
        return body  # embeddings have no tier
    named = b'"service_tier"' in body and json.loads(body).get("service_tier")
    return body if named == _STANDARD_TIER else with_field(body, "service_tier", _STANDARD_TIER)


def with_stream_usage(body: bytes) -> bytes:
    """Return a chat stream's body so that its last event tells the usage; the same object if it asks already."""
    if b'"stream_options"' not in body and b"\\u" not in body:
        return with_field(body, "stream_options", {"include_usage": True})
    options = json.loads(body).get("stream_options")
    if not isinstance(options, dict | None) or (options and options.get("include_usage") is True):
        return body
    return with_field(body, "stream_options", {**(options or {}), "include_usage": True})


def _why_no_model(fields: Fields) -> str | None:
    return None if model_name(fields).strip() else "it names no model"


def _output_bound(endpoint: str, fields: Fields) -> tuple[int | None, int, str | None]:
    """Most output tokens of one choice, the number of choices, and what is wrong with either."""
    if endpoint == EMBEDDINGS:
        return 0, 1, None
    limits = [fields[name] for name in _LIMIT_FIELDS[endpoint] if fields.get(name) is not None]
    counts = [fields[name] for name in ("n", "best_of") if fields.get(name) is not None]
    if not all(is_count(limit) for limit in limits):
        return None, 1, "its output limit is not a whole number"
    if not all(is_count(count) and count for count in counts):
        return None, 1, "its number of choices is not a whole number"
    if not isinstance(fields.get("stream"), bool | None):
        return None, 1, "whether it streams is neither true nor false"
    limit = min(max(limits), MOST_TOKENS) if limits else None
    return limit, min(max(counts, default=1), MOST_TOKENS), None
