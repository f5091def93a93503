"""The lines below the numbers of a page: HTML, because five more charts of Vega's would take longer than the page has."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from urllib.parse import quote

import streamlit as st

from lib.ui.charts.theme import SLOTS

_WIDTH, _HEIGHT, _PAD = 100, 44, 2
_SHAPE = (
    f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {_WIDTH} {_HEIGHT}' preserveAspectRatio='none'>"
    "<path d='{path}' fill='none' stroke='#000' stroke-width='1.5' stroke-linejoin='round' "
    "vector-effect='non-scaling-stroke'/></svg>"
)


def sparkline(values: Sequence[int], *, slot: str, alt: str) -> str:
    """A line of 44 px from zero, without axes, in the colour of ``slot``. The values are whole numbers of any unit."""
    # The line is the mask of a box in one colour, so that the browser takes the colour of the theme it shows.
    mask = f"url(data:image/svg+xml,{quote(_SHAPE.format(path=_path(values)))}) 0 0 / 100% 100%"
    style = f"height:{_HEIGHT}px;background:{_ink(slot)};mask:{mask};print-color-adjust:exact"
    return f'<div role="img" aria-label="{escape(alt)}" style="{style}"></div>'


def _path(values: Sequence[int]) -> str:
    top, steps = max(*values, 1), max(len(values) - 1, 1)
    room = _HEIGHT - 2 * _PAD
    points = (
        f"{_WIDTH * place / steps:.4g} {_HEIGHT - _PAD - room * value / top:.4g}"
        for place, value in enumerate(values)
    )
    return f"M{'L'.join(points)}"


def _ink(slot: str) -> str:
    place = SLOTS.index(slot)
    light, dark = (
        st.get_option(f"theme.{shade}.chartCategoricalColors")[place] for shade in ("light", "dark")
    )
    return f"light-dark({light},{dark})"
