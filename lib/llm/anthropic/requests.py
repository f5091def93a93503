"""Reading a request to Anthropic before it leaves, and the two things we may add to it. Pure.

Claude's tokenizer is not public: that it makes at most one token of a byte is taken for granted, and each
settlement is compared with its ceiling. What Anthropic adds by itself is in ``framing_tokens``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from lib.ledger.attempts import RequestProfile
from lib.llm.anthropic.billable import (
    Fields,
    asked_tier,
    conversation_parts,
    has_hidden_prompt,
    hosted_tools,
    unbounded_reasons,
)
from lib.llm.anthropic.endpoints import COUNT_TOKENS, MESSAGES, endpoint_of, is_free, is_list_of_models
from lib.llm.formats.json_body import (
    LONGEST_NAME,
    MOST_TOKENS,
    is_count,
    model_name,
    parse_body,
    with_field,
)
from lib.llm.formats.request_profile import NO_CEILING, SHARED, profile_of

_STANDARD_TIER = "standard_only"
_FRAMING, _HIDDEN_PROMPT = 256, 2_048
"""Tokens: what stands around messages; the prompt for tools, of which 159 to 530 were published for Claude 3."""

_ANOTHER_REGION = 10
"""Per cent: what inference in one region costs more, where a workspace's own setting asks for it."""


def parse_request(method: str, path: str, body: bytes, headers: Mapping[str, str]) -> RequestProfile:
    """Tell what one request asks for.

    Args:
        method: HTTP method, upper case.
        path: the path under the base URL, with its version and without the query.
        body: the whole body as it would be sent.
        headers: the request's own.
    """
    endpoint = endpoint_of(path)
    if is_list_of_models(method, endpoint):
        return profile_of("models", body, free=True)
    fields, ambiguous = parse_body(body, headers) if method == "POST" else (None, None)
    if method == "POST" and endpoint == COUNT_TOKENS:
        return profile_of(endpoint, body, fields, free=True)
    name = endpoint[:LONGEST_NAME]
    if is_free(method, endpoint):
        return profile_of(name, body, fields, free=True, cost_unbounded=SHARED)
    if method != "POST" or endpoint != MESSAGES:
        return profile_of(name, body, fields, cost_unbounded=NO_CEILING, answer_tells_cost=False)
    if fields is None:
        return profile_of(endpoint, body, cost_unbounded=ambiguous, answer_tells_cost=False)
    return _metered(body, fields, headers)


def _metered(body: bytes, fields: Fields, headers: Mapping[str, str]) -> RequestProfile:
    limit, wrong = _output_bound(fields)
    reasons = unbounded_reasons(fields, conversation_parts(fields))
    if "anthropic-beta" in headers:
        wrong = wrong or "it asks for a beta feature"
    no_model = None if model_name(fields).strip() else "it names no model"
    return profile_of(
        MESSAGES,
        body,
        fields,
        output_limit=limit,
        cost_unbounded=no_model or wrong or next((reason.text for reason in reasons), None),
        service_tier=asked_tier(fields),
        answer_tells_cost=all(reason.answer_tells_cost for reason in reasons),
        hosted_tools=hosted_tools(fields),
        framing_tokens=_HIDDEN_PROMPT if has_hidden_prompt(fields) else _FRAMING,
        surcharge_percent=_ANOTHER_REGION if fields.get("inference_geo") is None else 0,
    )


def with_output_limit(body: bytes, limit: int) -> bytes:
    """Return the body with an output limit, for a request that ``parse_request`` found to have none."""
    return with_field(body, "max_tokens", limit)


def with_standard_tier(body: bytes) -> bytes:
    """Return the body so that it cannot be served, and billed, at a tier that the account has bought."""
    named = b'"service_tier"' in body and json.loads(body).get("service_tier")
    return body if named == _STANDARD_TIER else with_field(body, "service_tier", _STANDARD_TIER)


def _output_bound(fields: Fields) -> tuple[int | None, str | None]:
    """Most output tokens, and what is wrong with that."""
    thinking = fields.get("thinking")
    budget = thinking.get("budget_tokens") if isinstance(thinking, dict) else None
    limit = fields.get("max_tokens")
    if not isinstance(fields.get("stream"), bool | None):
        return None, "whether it streams is neither true nor false"
    if limit is None:
        return None, None
    if not is_count(limit):
        return None, "its output limit is not a whole number"
    # A budget of thinking may pass the limit of one answer where thoughts and tools take turns.
    return min(max(limit, budget if is_count(budget) else 0), MOST_TOKENS), None
