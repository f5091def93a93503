"""What an answer bills beside its tokens: hosted tools with a fee for each call."""

from __future__ import annotations

from typing import NamedTuple


class ToolCalls(NamedTuple):
    """Billable calls of hosted tools in one answer; false where there are none.

    Tools whose number or fee an answer does not tell (containers by time, images) are not here: the cost
    of such an answer is unknown.
    """

    web_searches: int = 0
    file_searches: int = 0

    def __bool__(self) -> bool:
        return any(self)


NO_TOOL_CALLS = ToolCalls()
