"""OpenAI's hosts and endpoints: which region one is in, which are billed by their tokens, which cost nothing.

Free is only what is published to be: look-ups, deletions, cancellations, and making things whose use is billed
elsewhere (files, vector stores, conversations). What starts work of its own (batches, training, containers,
videos) answers without its cost, which stays unknown.
"""

from __future__ import annotations

import re

CHAT, RESPONSES, EMBEDDINGS = "chat/completions", "responses", "embeddings"
METERED = frozenset({CHAT, RESPONSES, EMBEDDINGS})

# Data residency: https://developers.openai.com/api/docs/guides/data-residency.md
_REGIONAL = re.compile(r"(?P<region>[a-z0-9.-]+)\.api\.openai\.com", re.ASCII)

_ID = r"(?!\.+(?:/|$))[\w.:@-]+"
_MODELS = re.compile(rf"models(/{_ID})?", re.ASCII)
_STORED = (
    "assistants batches chat/completions containers conversations evals files fine_tuning models responses skills"
    " threads uploads vector_stores videos"
)
_LOOKED_UP = re.compile(rf"(?:{'|'.join(_STORED.split())})(?:/{_ID})*", re.ASCII)
_MADE = re.compile(
    rf"""
    files | uploads(/{_ID}/(parts|complete|cancel))? | moderations
    | vector_stores(/{_ID}(/(files|file_batches)(/{_ID}(/cancel)?)?)?)?
    | conversations(/{_ID}(/items)?)? | chat/completions/{_ID}
    | assistants(/{_ID})? | threads(/(?!runs$){_ID}(/messages(/{_ID})?)?)?
    | (responses|batches)/{_ID}/cancel | fine_tuning/jobs/{_ID}/(cancel|pause) | threads/{_ID}/runs/{_ID}/cancel
    """,
    re.ASCII | re.VERBOSE,
)


def region_of(host: str) -> str:
    """The region of one of OpenAI's hosts, such as ``eu``; empty for any other host."""
    found = _REGIONAL.fullmatch(host.lower().rstrip("."))
    return found["region"] if found else ""


def is_list_of_models(method: str, path: str) -> bool:
    """Whether it tells which models there are: free, and the same for everybody with the key."""
    return method == "GET" and _MODELS.fullmatch(path) is not None


def is_free(method: str, path: str) -> bool:
    """Whether OpenAI bills nothing for this request itself, however it is answered."""
    if method in {"GET", "HEAD", "DELETE"}:
        return _LOOKED_UP.fullmatch(path) is not None
    return method == "POST" and _MADE.fullmatch(path) is not None
