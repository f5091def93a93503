"""Anthropic's endpoints: which are billed by their tokens, and which cost nothing.

The version stands in the path and not in the address (``https://api.anthropic.com`` and ``v1/messages``). Free is
only what is published to be: look-ups, counting tokens, and files, whose use is billed elsewhere. What starts work
of its own (batches, agents, sessions) answers without its cost, which stays unknown.
"""

from __future__ import annotations

import re

VERSION = "v1/"
MESSAGES, COUNT_TOKENS = "messages", "messages/count_tokens"

_ID = r"(?!\.+(?:/|$))[\w.:@-]+"
_MODELS = re.compile(rf"models(/{_ID})?", re.ASCII)
_LOOKED_UP = re.compile(rf"(?:files|messages/batches|models|skills|organizations)(?:/{_ID})*", re.ASCII)
_MADE = re.compile(rf"files|messages/batches/{_ID}/cancel", re.ASCII)


def endpoint_of(path: str) -> str:
    """Return the endpoint as usage rows name it."""
    return path.removeprefix(VERSION)


def is_list_of_models(method: str, endpoint: str) -> bool:
    """Whether it tells which models there are: free, and the same for everybody with the key."""
    return method == "GET" and _MODELS.fullmatch(endpoint) is not None


def is_free(method: str, endpoint: str) -> bool:
    """Whether Anthropic bills nothing for this request itself, however it is answered."""
    if method in {"GET", "HEAD", "DELETE"}:
        return _LOOKED_UP.fullmatch(endpoint) is not None
    return method == "POST" and _MADE.fullmatch(endpoint) is not None
