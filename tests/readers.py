"""Other readers of JSON, each as some real library reads: what differs between them has no place in a metered body."""

from __future__ import annotations

import json
from typing import Any


def first_wins(text: str) -> Any:
    """Of a name that is said twice, the first value counts."""
    return json.loads(text, object_pairs_hook=lambda pairs: dict(reversed(pairs)))


def last_wins(text: str) -> Any:
    """The last one counts, as in Python and JavaScript."""
    return json.loads(text)


def in_doubles(text: str) -> Any:
    """Every number is a double, as in JavaScript."""
    return json.loads(text, parse_int=float)


def casefolding(fields: dict[str, Any]) -> dict[str, Any]:
    """Names are found whatever their case, and the last one counts, as in Go."""
    return {name.casefold(): value for name, value in fields.items()}
