"""Requests that two readers could read in two ways: what the meter reads must be what the provider reads.

A meter that takes the last of two names, where the provider takes the first, reserves for another request than
the one that is billed. So what is not the same for every reader has no ceiling. Reasons are parts of a sentence.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

import httpx2

_MOST_DIGITS = 19
_RANGE = 2**63
"""From here on a whole number wraps, rounds or fails, depending on the reader."""

_HALF_PAIR = re.compile(rb"\\u[dD][89a-fA-F]")
_JSON_TYPE = re.compile(r'application/json(\s*;\s*charset="?utf-8"?)?\s*', re.IGNORECASE)
_OVERRIDES = """
    content-encoding content-range content-transfer-encoding x-forwarded-method x-forwarded-path
    x-forwarded-prefix x-forwarded-uri x-http-method x-http-method-override x-method x-method-override
    x-original-method x-original-path x-original-uri x-original-url x-rewrite-uri x-rewrite-url
"""
_OVERRIDING = frozenset(_OVERRIDES.split())


class AmbiguousJSON(ValueError):
    """Not every reader makes the same of this text; ``str()`` says why, as a part of a sentence."""


def parse_object(body: bytes) -> dict[str, Any]:
    """Return the JSON object in ``body``, if every reader finds the same one there.

    Raises:
        AmbiguousJSON: repeated names, numbers out of range, half characters; or no JSON object at all.
    """
    try:
        fields = json.loads(
            body.decode("utf-8"),
            object_pairs_hook=_unique,
            parse_constant=_no_constant,
            parse_int=_whole_number,
            parse_float=_finite_number,
        )
        if _HALF_PAIR.search(body):
            json.dumps(fields, ensure_ascii=False).encode()
    except AmbiguousJSON:
        raise
    except UnicodeEncodeError:
        raise AmbiguousJSON("its text holds half of a character") from None
    except (ValueError, RecursionError):
        raise AmbiguousJSON("its body is not plain JSON") from None
    if not isinstance(fields, dict):
        raise AmbiguousJSON("its body is not plain JSON")
    return fields


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise AmbiguousJSON("its body says a name twice, and readers differ in which one counts")
    return fields


def _no_constant(constant: str) -> object:
    raise AmbiguousJSON(f"it holds {constant}, which is not JSON")


def _whole_number(text: str) -> int:
    if len(text) < _MOST_DIGITS:
        return int(text)
    if len(text) > _MOST_DIGITS + 1 or not -_RANGE <= int(text) < _RANGE:
        raise AmbiguousJSON("it holds a number that not every reader can hold")
    return int(text)


def _finite_number(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise AmbiguousJSON("it holds a number that not every reader can hold")
    return number


def http_ambiguity(
    request: httpx2.Request, body: bytes | None, harmless_queries: frozenset[str] = frozenset()
) -> str | None:
    """Return why a provider might take this request for another one than it seems; None where it cannot.

    Args:
        request: as the SDK made it.
        body: the whole of it, None where it is not in memory.
        harmless_queries: what may stand behind the ``?`` of its address.
    """
    _, asks, query = request.url.raw_path.partition(b"?")
    if asks and query.decode("latin-1") not in harmless_queries:
        return "its address has a query"
    if odd := sorted(_OVERRIDING.intersection(request.headers)):
        return f"its header {odd[0].title()} may change what is asked for"
    if body and not _is_json_type(request.headers):
        return "it does not say once that it is JSON in UTF-8"
    return None if _is_framed_once(request.headers, body) else "its length is told in two ways"


def _is_json_type(headers: httpx2.Headers) -> bool:
    told = headers.get_list("content-type")
    return len(told) == 1 and _JSON_TYPE.fullmatch(told[0]) is not None


def _is_framed_once(headers: httpx2.Headers, body: bytes | None) -> bool:
    lengths, framings = headers.get_list("content-length"), headers.get_list("transfer-encoding")
    if len(lengths) + len(framings) > 1:
        return False
    return body is None or not lengths or lengths[0] == str(len(body))
