"""Names of models: a provider answers with a dated form of the name that was asked for."""

from __future__ import annotations

import re

_DATE_BEHIND = re.compile(r"-?20\d{2}-?(0[1-9]|1[0-2])-?(0[1-9]|[12]\d|3[01])$", re.ASCII)


def without_date(model: str) -> str:
    """``gpt-5`` for ``gpt-5-2025-08-07``; the same name where no date stands behind it."""
    return _DATE_BEHIND.sub("", model)


def are_forms_of_one(one: str, other: str) -> bool:
    """Whether one name is the other, or its dated form."""
    one, other = one.lower(), other.lower()
    return one == other or without_date(one) == other or one == without_date(other)
