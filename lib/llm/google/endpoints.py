"""The Gemini API's endpoints: which are billed by their tokens, and which cost nothing.

The version stands in the path, and the model too: ``v1beta/models/gemini-3.5-flash:generateContent``. Free is only
what is published to be: look-ups, counting tokens, and files, whose use is billed elsewhere. What starts work of its
own (batches, tuning, videos, interactions) or is kept for money (cached contents) answers without its cost.
"""

from __future__ import annotations

import re
from typing import NamedTuple

GENERATE, STREAM = "generateContent", "streamGenerateContent"
EMBED, EMBED_BATCH = "embedContent", "batchEmbedContents"
COUNT_TOKENS = "countTokens"
GENERATING = frozenset({GENERATE, STREAM})
METERED = GENERATING | {EMBED, EMBED_BATCH}

_VERSIONED = re.compile(r"v1(?:beta)?/|upload/v1(?:beta)?/(?=files$)")
_ASKED = re.compile(r"(models/|tunedModels/)([\w.-]{1,150}):(\w+)", re.ASCII)
_ID = r"(?!\.+(?:/|$))[\w.-]+"
_MODELS = re.compile(rf"models(/{_ID})?", re.ASCII)
_STORED = (
    "batches cachedContents corpora fileSearchStores files generatedFiles interactions models tunedModels"
)
_LOOKED_UP = re.compile(rf"(?:{'|'.join(_STORED.split())})(?:/{_ID})*(?::download)?", re.ASCII)
_MADE = re.compile(rf"files|(?:batches|interactions)/{_ID}[:/]cancel", re.ASCII)


class Place(NamedTuple):
    """What a path asks for."""

    endpoint: str
    """As usage rows name it."""

    model: str = ""
    """Without ``models/``; empty where the path names none."""


def place_of(path: str) -> Place:
    """Read the path under the base URL."""
    rest = _VERSIONED.sub("", path, count=1) if _VERSIONED.match(path) else ""
    if not rest:
        return Place(path)
    found = _ASKED.fullmatch(rest)
    return Place(found[3], without_prefix(found[1] + found[2])) if found else Place(rest)


def without_prefix(model: str) -> str:
    """A model's name as prices know it."""
    return model.removeprefix("models/")


def is_list_of_models(method: str, endpoint: str) -> bool:
    """Whether it tells which models there are: free, and the same for everybody with the key."""
    return method == "GET" and _MODELS.fullmatch(endpoint) is not None


def is_free(method: str, endpoint: str) -> bool:
    """Whether Google bills nothing for this request itself, however it is answered."""
    if method in {"GET", "HEAD", "DELETE"}:
        return _LOOKED_UP.fullmatch(endpoint) is not None
    return method in {"POST", "PUT"} and _MADE.fullmatch(endpoint) is not None
