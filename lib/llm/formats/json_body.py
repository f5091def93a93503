"""Reading the JSON body of a request, and adding a field to it. Pure: bytes in, values out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from lib.llm.ambiguity import AmbiguousJSON, parse_object

Fields = dict[str, Any]

LONGEST_NAME = 200
MOST_TOKENS = 1_000_000_000
"""More than any model writes, and small enough for every sum."""


def parse_body(body: bytes, headers: Mapping[str, str]) -> tuple[Fields | None, str | None]:
    """Return the body's object, or None and why it is none (multipart, compressed, broken, readable in two ways)."""
    kind = headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if kind != "application/json":
        return None, "its body is not plain JSON"
    try:
        return parse_object(body), None
    except AmbiguousJSON as problem:
        return None, str(problem)


def model_name(fields: Fields | None) -> str:
    """Return the model that a body names, if any database can store that; empty for anything else."""
    name = fields.get("model") if fields else None
    usable = isinstance(name, str) and name.isprintable() and len(name) <= LONGEST_NAME
    return str(name) if usable else ""


def is_count(value: object) -> bool:
    """Whether a value is a whole number, zero or more."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def with_field(body: bytes, name: str, value: Any) -> bytes:
    """Add a field; the caller's own bytes stay as they are unless the field is there already (as null, say)."""
    if f'"{name}"'.encode() in body or b"\\u" in body:  # a name may be written in escapes, too
        fields = json.loads(body)
        fields[name] = value
        return json.dumps(fields, separators=(",", ":")).encode()
    start = body.rstrip()[:-1].rstrip()
    comma = b"" if start.endswith(b"{") else b","
    return b"%s%s%s}" % (start, comma, json.dumps({name: value}, separators=(",", ":")).encode()[1:-1])
