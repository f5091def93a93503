"""How much is tried of what cannot be tried whole each time: a part, or with ``--whole`` as much as makes sense."""

from __future__ import annotations

import os
from typing import TypeVar

Value = TypeVar("Value")

VARIABLE = "QODEX_TESTS_WHOLE"
"""Set by ``--whole``, before any test is read; the processes beside this one inherit it."""

IS_WHOLE = bool(os.environ.get(VARIABLE))


def whole_or(part: Value, whole: Value) -> Value:
    """What stands for each ``make test``, or what ``--whole`` asks for."""
    return whole if IS_WHOLE else part
