"""Reading a request before it leaves, and the two things we may add to it. Pure: bytes in, values out.

What a request may cost at most is told from its bytes: a tokenizer makes at most one token of a byte.
Where that does not hold, ``RequestProfile`` says so (``uses_context_window``), and where nothing bounds the cost
it says why (``cost_unbounded``); lib/llm/openai/billable.py holds those rules.
"""

from __future__ import annotations

import json
import re
from typing import Any

from lib.ledger.attempts import RequestProfile
from lib.llm.openai.billable import Fields, unbounded_reason, uses_context_window

CHAT, RESPONSES, EMBEDDINGS = "chat/completions", "responses", "embeddings"
METERED = frozenset({CHAT, RESPONSES, EMBEDDINGS})
_LIMIT_FIELDS = {CHAT: ("max_completion_tokens", "max_tokens"), RESPONSES: ("max_output_tokens",)}
_MODEL_PATH = re.compile(r"models/(?!\.+$)[\w.:@-]+", re.ASCII)
_LONGEST_NAME = 200
_MOST_TOKENS = 1_000_000_000  # more than any model writes, and small enough for every sum


def parse_request(method: str, path: str, body: bytes, content_type: str | None) -> RequestProfile:
    """Tell what one request asks for.

    Args:
        method: HTTP method, upper case.
        path: the path under the base URL, without a leading slash and without the query.
        body: the whole body as it would be sent.
        content_type: the request's own header.
    """
    if method == "GET" and (path == "models" or _MODEL_PATH.fullmatch(path)):
        return _profile("models", body, free=True)
    fields = _read_json(body, content_type) if method == "POST" else None
    if method == "POST" and path == "moderations":
        return _profile(path, body, fields, free=True)
    if method != "POST" or path not in METERED:
        return _profile(
            path[:_LONGEST_NAME], body, fields, cost_unbounded="this endpoint has no known cost ceiling"
        )
    if fields is None:
        return _profile(path, body, cost_unbounded="its body is not plain JSON")
    limit, choices, wrong = _output_bound(path, fields)
    return _profile(
        path,
        body,
        fields,
        output_limit=limit,
        choices=choices,
        uses_context_window=uses_context_window(fields),
        cost_unbounded=_why_no_model(fields) or wrong or unbounded_reason(path, fields),
    )


def with_output_limit(body: bytes, endpoint: str, limit: int) -> bytes:
    """Return the body with an output limit, for a request that ``parse_request`` found to have none."""
    names = _LIMIT_FIELDS.get(endpoint)
    return _with_field(body, names[0], limit) if names else body


def with_stream_usage(body: bytes) -> bytes:
    """Return a chat stream's body so that its last event tells the usage; the same object if it asks already."""
    if b'"stream_options"' not in body:
        return _with_field(body, "stream_options", {"include_usage": True})
    options = json.loads(body).get("stream_options")
    if not isinstance(options, dict | None) or (options and options.get("include_usage") is True):
        return body
    return _with_field(body, "stream_options", {**(options or {}), "include_usage": True})


def _profile(
    endpoint: str,
    body: bytes,
    fields: Fields | None = None,
    *,
    output_limit: int | None = 0,
    choices: int = 1,
    uses_context_window: bool = False,
    cost_unbounded: str | None = None,
    free: bool = False,
) -> RequestProfile:
    return RequestProfile(
        endpoint=endpoint,
        model=_model_name(fields),
        input_bytes=len(body),
        output_limit=output_limit,
        choices=choices,
        uses_context_window=uses_context_window,
        cost_unbounded=cost_unbounded,
        free=free,
        streaming=bool(fields) and (fields or {}).get("stream") is True,
    )


def _read_json(body: bytes, content_type: str | None) -> Fields | None:
    """The body's object, or None where it is anything else (multipart, broken, nested without end)."""
    kind = (content_type or "application/json").partition(";")[0].strip().lower()
    if kind != "application/json":
        return None
    try:
        fields = json.loads(body.decode("utf-8"), parse_constant=_refuse)
    except (ValueError, RecursionError):
        return None
    return fields if isinstance(fields, dict) else None


def _refuse(constant: str) -> object:
    raise ValueError(f"{constant} is not JSON")


def _model_name(fields: Fields | None) -> str:
    """A name that any database can store; empty for anything else."""
    name = fields.get("model") if fields else None
    usable = isinstance(name, str) and name.isprintable() and len(name) <= _LONGEST_NAME
    return str(name) if usable else ""


def _why_no_model(fields: Fields) -> str | None:
    return None if _model_name(fields).strip() else "it names no model"


def _output_bound(endpoint: str, fields: Fields) -> tuple[int | None, int, str | None]:
    """Most output tokens of one choice, the number of choices, and what is wrong with either."""
    if endpoint == EMBEDDINGS:
        return 0, 1, None
    limits = [fields[name] for name in _LIMIT_FIELDS[endpoint] if fields.get(name) is not None]
    counts = [fields[name] for name in ("n", "best_of") if fields.get(name) is not None]
    if not all(_is_count(limit) for limit in limits):
        return None, 1, "its output limit is not a whole number"
    if not all(_is_count(count) and count for count in counts):
        return None, 1, "its number of choices is not a whole number"
    limit = min(max(limits), _MOST_TOKENS) if limits else None
    return limit, min(max(counts, default=1), _MOST_TOKENS), None


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _with_field(body: bytes, name: str, value: Any) -> bytes:
    """Add a field; the caller's own bytes stay as they are unless the field is there already (as null, say)."""
    if f'"{name}"'.encode() in body:
        fields = json.loads(body)
        fields[name] = value
        return json.dumps(fields, separators=(",", ":")).encode()
    start = body.rstrip()[:-1].rstrip()
    comma = b"" if start.endswith(b"{") else b","
    return b"%s%s%s}" % (start, comma, json.dumps({name: value}, separators=(",", ":")).encode()[1:-1])
