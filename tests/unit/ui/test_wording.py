"""How keys, states and foreign texts read."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.ui.base import wording


def test_of_a_key_only_dots_and_four_characters_are_written():
    assert (wording.key_name("x4Tz"), wording.key_code("x4Tz")) == ("•••• x4Tz", "`•••• x4Tz`")


@pytest.mark.parametrize(
    "status", ["running", "waiting", "passed", "failed", "error", "budget_exceeded", "lost"]
)
def test_every_run_status_has_a_word_and_a_colour_that_means_something(status: str):
    word, colour = wording.run_status(status)
    assert word[0].isupper()
    assert colour in {"gray", "orange", "green", "red"}


@given(st.text())
def test_escaped_text_holds_no_active_punctuation_and_no_line_end(text: str):
    escaped = wording.escape(text)
    pairs = iter(escaped)
    for character in pairs:
        if character == "\\":
            assert next(pairs) in string.punctuation
        else:
            assert character not in string.punctuation
    assert len(escaped.splitlines()) <= 1


@pytest.mark.parametrize(
    "text",
    [
        "![x](https://evil.example/i.png)",
        ":material/key:",
        ":red[x]",
        ":smile:",
        "https://a.example",
        "www.a.example",
    ],
)
def test_no_image_icon_colour_or_link_survives_escaping(text: str):
    bare = wording.escape(text).replace("\\", "")
    assert "://" not in bare
    assert "www." not in bare
    assert not bare.startswith((":material/", ":smile:"))


@given(st.text())
def test_foreign_text_cannot_leave_its_code_style(text: str):
    fenced = wording.code(text)
    fence = fenced[: len(fenced) - len(fenced.lstrip("`"))]
    assert fenced.endswith(fence)
    assert fence not in fenced[len(fence) : -len(fence)]
    assert len(fenced.splitlines()) == 1
