"""Reading a request to Google before it leaves, and the one thing we may add to it. Pure.

Gemini's tokenizer is a SentencePiece with bytes to fall back to: it makes at most one token of a byte, and each
settlement is compared with its ceiling. What Google adds by itself is in ``framing_tokens``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial

from lib.ledger.attempts import RequestProfile
from lib.llm.formats.json_body import LONGEST_NAME, parse_body
from lib.llm.formats.request_profile import NO_CEILING, SHARED, profile_of
from lib.llm.google.billable import (
    Fields,
    Reason,
    asked_tier,
    embedding_reasons,
    generating_reasons,
    hosted_tools,
    in_camel_case,
    in_one_spelling,
    output_bound,
)
from lib.llm.google.endpoints import (
    COUNT_TOKENS,
    EMBED,
    GENERATING,
    METERED,
    STREAM,
    Place,
    is_free,
    is_list_of_models,
    place_of,
)

_CONFIG = "generationConfig"
_FRAMING, _HIDDEN_PROMPT = 256, 2_048
"""Tokens: what stands around turns; what Google writes for tools and for a form of the answer, of which it says nothing."""


def parse_request(method: str, path: str, body: bytes, headers: Mapping[str, str]) -> RequestProfile:
    """Tell what one request asks for.

    Args:
        method: HTTP method, upper case.
        path: the path under the base URL, with its version and without the query.
        body: the whole body as it would be sent.
        headers: the request's own.
    """
    place = place_of(path)
    if is_list_of_models(method, place.endpoint):
        return profile_of("models", body, free=True)
    asks_model = method == "POST" and bool(place.model)
    if asks_model and place.endpoint in METERED:
        return _metered(place, body, headers)
    profile = partial(profile_of, place.endpoint[:LONGEST_NAME], body, model=place.model[:LONGEST_NAME])
    if asks_model and place.endpoint == COUNT_TOKENS:
        return profile(free=True)
    if is_free(method, place.endpoint):
        return profile(free=True, cost_unbounded=SHARED)
    return profile(cost_unbounded=NO_CEILING, answer_tells_cost=False)


def _metered(place: Place, body: bytes, headers: Mapping[str, str]) -> RequestProfile:
    fields, ambiguous = parse_body(body, headers)
    if fields is None:
        return profile_of(
            place.endpoint,
            body,
            model=place.model,
            streaming=place.endpoint == STREAM,
            cost_unbounded=ambiguous,
            answer_tells_cost=False,
        )
    return (_generating if place.endpoint in GENERATING else _embedding)(place, body, fields)


def _generating(place: Place, body: bytes, told: Fields) -> RequestProfile:
    fields, is_twice = in_one_spelling(told)
    limit, choices, wrong = output_bound(fields)
    reasons = generating_reasons(fields, place.model, is_twice=is_twice)
    config, _ = in_one_spelling(fields.get(_CONFIG))
    has_form = "responseSchema" in config or "responseJsonSchema" in config
    return profile_of(
        place.endpoint,
        body,
        model=place.model,
        streaming=place.endpoint == STREAM,
        output_limit=limit,
        choices=choices,
        uses_context_window="continuationToken" in config or "continuationToken" in fields,
        cost_unbounded=wrong or next((reason.text for reason in reasons), None),
        service_tier=asked_tier(fields),
        answer_tells_cost=all(reason.answer_tells_cost for reason in reasons),
        hosted_tools=hosted_tools(fields),
        framing_tokens=_HIDDEN_PROMPT if fields.get("tools") or has_form else _FRAMING,
    )


def _embedding(place: Place, body: bytes, told: Fields) -> RequestProfile:
    asked = [told] if place.endpoint == EMBED else told.get("requests")
    reasons: list[Reason] = []
    if not isinstance(asked, list) or (place.endpoint != EMBED and told.keys() != {"requests"}):
        reasons = [Reason("its requests are no list")]
    for each in asked if isinstance(asked, list) else []:
        fields, is_twice = in_one_spelling(each)
        reasons += embedding_reasons(fields, place.model, is_twice=is_twice)
    return profile_of(
        place.endpoint,
        body,
        model=place.model,
        cost_unbounded=next((reason.text for reason in reasons), None),
        answer_tells_cost=all(reason.answer_tells_cost for reason in reasons),
        framing_tokens=_FRAMING,
    )


def with_output_limit(body: bytes, limit: int) -> bytes:
    """Return the body with an output limit, for a request that ``parse_request`` found to have none.

    Nulls go: one thing said in two spellings, one of them null, must not become one that is said twice.
    """
    fields = {name: value for name, value in json.loads(body).items() if value is not None}
    name = next((each for each in fields if in_camel_case(each) == _CONFIG), _CONFIG)
    config = {key: value for key, value in fields.get(name, {}).items() if value is not None}
    fields[name] = config | {"maxOutputTokens": limit}
    return json.dumps(fields, separators=(",", ":")).encode()
