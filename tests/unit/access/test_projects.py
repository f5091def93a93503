"""What a project may be called."""

from __future__ import annotations

import pytest

from lib.access.projects import clean_name
from lib.errors import BadInput


@pytest.mark.parametrize(
    "title",
    [
        *("", "  ", "a" * 201, "two\nlines", "\N{LINE SEPARATOR}", "turned \N{RIGHT-TO-LEFT OVERRIDE}", "\0"),
        *(
            "\N{HANGUL FILLER}",
            "a\N{HALFWIDTH HANGUL FILLER}b",
            "\N{BRAILLE PATTERN BLANK}",
            "\N{ZERO WIDTH SPACE}",
        ),
    ],
)
def test_a_title_is_one_line_of_visible_characters(title: str):
    with pytest.raises(BadInput, match="1 to 200 visible characters"):
        clean_name(title)


@pytest.mark.parametrize("title", ["Checkout API", "結帳", "결제", "עגלה", "🛒 <b>$1$</b>", "a" * 200])
def test_a_title_in_any_script_stays_as_it_is(title: str):
    assert clean_name(f" {title} ") == title
