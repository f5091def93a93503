"""Columns of foreign files that no event has although they change a price: where one says anything, no cost is stated.

Tools name them in many ways, so they are known by the words in their names. A cost that leaves one of them out would
be wrong without a word; better that it is unknown, and that the column is named.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

_WORDS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_CONDITIONS = frozenset(
    {"cache", "cached", "batch", "tier", "priority", "flex", "speed", "processing", "region", "residency"}
    | {"audio", "image", "images", "video", "characters", "search", "searches", "tool", "tools"}
    | {"fee", "fees", "training", "storage", "surcharge", "discount"}
)
_REQUESTS = frozenset({"requests", "calls"})
_COUNTED = (frozenset({"request", "count"}), frozenset({"call", "count"}))
_SAYS_NOTHING = frozenset({"false", "no", "none", "null", "n/a", "-", "default", "standard", "global"})
_ZERO = re.compile(r"0*\.?0*")
_NUMBER = re.compile(r"(\d{1,15})(\.0*)?", re.ASCII)


def changes_price(name: str) -> bool:
    """Whether a column of that name may change what a row costs."""
    words = _words(name)
    return bool(words & _CONDITIONS) or {"reasoning", "mode"} <= words or sums_requests(name)


def sums_requests(name: str) -> bool:
    """Whether a column of that name says how many requests a row sums, such as ``num_model_requests``."""
    words = _words(name)
    if words & _CONDITIONS or "function" in words:  # calls of something else
        return False
    return bool(words & _REQUESTS) or any(pair <= words for pair in _COUNTED)


def _words(name: str) -> frozenset[str]:
    return frozenset(word.lower() for word in _WORDS.findall(name))


def says_something(text: str | None) -> bool:
    """Whether a cell holds more than nothing, zero, no or the default."""
    plain = (text or "").strip().lower()
    return plain not in _SAYS_NOTHING and not _ZERO.fullmatch(plain)


@dataclass
class Unread:
    """What stands in those columns of one file, counted while its rows go by.

    Args:
        columns: their names, in the order of the texts that each row brings of them.
    """

    columns: Sequence[str]
    rows: dict[str, int] = field(default_factory=dict)
    """Of how many rows no cost can be stated because of each column."""
    summed_rows: int = 0
    summed_requests: int = 0

    def note(self, texts: Sequence[str], read: Mapping[str, str | None], *, has_cost: bool) -> bool:
        """Whether no cost can be worked out for a row; counts why.

        Args:
            texts: the row's texts of these columns.
            read: the same of columns that events have, and that could have been priced alone (a tier, a region).
            has_cost: the file itself says what the row cost.
        """
        found = {name: text for name, text in zip(self.columns, texts, strict=True) if _changes(name, text)}
        requests = [_requests(text) for name, text in found.items() if sums_requests(name)]
        self.summed_rows += bool(requests)
        self.summed_requests += max(requests, default=0)
        if has_cost or not found:
            return False
        for name in (*found, *(name for name, text in read.items() if says_something(text))):
            self.rows[name] = self.rows.get(name, 0) + 1
        return True


def _changes(name: str, text: str) -> bool:
    return says_something(text) and not (sums_requests(name) and _requests(text) == 1)


def _requests(text: str) -> int:
    number = _NUMBER.fullmatch(text.strip())
    return int(number[1]) if number else 0
