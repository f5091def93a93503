"""A log of one JSON object a line, whatever is said."""

from __future__ import annotations

import json
import logging
import sys
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from lib import logs


def line(message: str, *, failing: bool = False, **extra: object) -> tuple[str, dict[str, Any]]:
    problem: Any = None
    if failing:
        try:
            int("why\nit failed")
        except ValueError:
            problem = sys.exc_info()
    record = logging.LogRecord("lib.x", logging.WARNING, __file__, 1, message, (), problem)
    record.__dict__.update(logs.fields(extra))
    text = logs.JSONFormatter().format(record)
    return text, json.loads(text)


@given(st.text())
def test_any_message_is_one_line_and_comes_back_as_it_was(message: str) -> None:
    text, read = line(message)
    assert "\n" not in text
    assert read["message"] == message


def test_a_failure_has_its_traceback_in_the_same_object() -> None:
    text, read = line("It failed.", failing=True)
    assert "\n" not in text
    assert "ValueError: invalid literal" in read["traceback"]


def test_what_a_record_says_besides_stands_beside_the_message_and_what_is_unknown_does_not() -> None:
    _, read = line("Settled.", run="r-1", cost_usd=None)
    assert (read["run"], read["level"], read["logger"]) == ("r-1", "warning", "lib.x")
    assert "cost_usd" not in read


def test_times_are_utc() -> None:
    assert line("Now.")[1]["time"].endswith("+00:00")
