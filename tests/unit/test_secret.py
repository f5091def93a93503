"""A key in memory cannot be printed, pickled or copied, and foreign texts lose whatever looks like one."""

from __future__ import annotations

import copy
import json
import pickle
import traceback

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.secret import HIDDEN, Secret, redact

KEY = "sk-test-planted-key-7777"


WAYS_TO_PRINT = {
    "str": str,
    "repr": repr,
    "f-string": lambda secret: f"{secret}",
    "f-string with !r": lambda secret: f"{secret!r}",
    "padded": "{:>40}".format,
    "percent": lambda secret: "%s %r" % (secret, secret),  # noqa: UP031 - it is what is tested
    "in a list": lambda secret: str([secret]),
}


@pytest.mark.parametrize("way", WAYS_TO_PRINT)
def test_no_way_of_printing_shows_more_than_that_there_is_a_key(way):
    assert "planted" not in WAYS_TO_PRINT[way](Secret(KEY))


@pytest.mark.parametrize(
    "copied",
    [pickle.dumps, copy.copy, copy.deepcopy, json.dumps, vars],
    ids=["pickle", "copy", "deepcopy", "json", "vars"],
)
def test_it_is_not_copied_stored_or_taken_apart_by_accident(copied):
    with pytest.raises(TypeError) as refusal:
        copied(Secret(KEY))
    assert "planted" not in str(refusal.value)


def test_a_traceback_that_shows_local_variables_does_not_show_the_key():
    def fail(secret: Secret) -> None:
        raise ValueError(f"about {secret}")

    with pytest.raises(ValueError, match="about") as problem:
        fail(Secret(KEY))
    shown = "".join(traceback.TracebackException.from_exception(problem.value, capture_locals=True).format())
    assert "secret = Secret" in shown
    assert "planted" not in shown


def test_only_reveal_returns_the_text_and_last4_its_end():
    assert Secret(KEY).reveal() == KEY
    assert Secret(KEY).last4 == "7777"


def test_equal_keys_are_equal_and_a_key_is_no_text():
    assert Secret(KEY) == Secret(KEY)
    assert Secret(KEY) != Secret(KEY + "x")
    assert Secret(KEY) != KEY


def test_it_is_no_dictionary_key():
    with pytest.raises(TypeError):
        {Secret(KEY): 1}


@given(before=st.text(max_size=20), after=st.text(max_size=20))
def test_a_known_key_and_its_halves_are_hidden_wherever_they_stand(before, after):
    half = len(KEY) // 2
    for part in (KEY, KEY[:half], KEY[half:]):
        assert part not in redact(before + part + after, Secret(KEY))


@given(st.from_regex(r"sk-[A-Za-z0-9_-]{16,200}", fullmatch=True))
def test_an_unknown_key_is_hidden_because_it_looks_like_one(key):
    assert (
        redact(f"Incorrect API key provided: {key}, sorry") == f"Incorrect API key provided: {HIDDEN}, sorry"
    )


def test_a_masked_key_is_hidden_too():
    assert "wxyz" not in redact("provided: sk-abcd1234********wxyz. You can find")


def test_other_text_is_left_alone():
    plain = "The server had an error. Ask for a task-based or risk-free plan."
    assert redact(plain, Secret(KEY)) == plain
