"""The card of spend over time, on Overview and Usage; a click on a bar narrows the page to it."""

from __future__ import annotations

import streamlit as st

from lib.ui import charts, filters, vega
from lib.ui.cards import as_table, card, draw_table
from lib.ui.steps import Course


def draw(course: Course, *, title: str, key: str) -> None:
    """Draw it. ``title`` has ``{unit}`` for hour, day, week or month; ``key`` is another one in another period."""
    with card():
        _draw(course, title, key)


@st.fragment
def _draw(course: Course, title: str, key: str) -> None:
    note = f"{course.unit}s in {course.zone}"
    if course.unit != "hour":
        note += f"; click a bar to narrow the page to that {course.unit}"
    with st.container(gap="xxsmall"):
        clicked = _chart_or_table(course, title, key, note)
    found = [step for step in course.rows if step.key == clicked]
    if found:
        filters.narrow_to(found[0].first, found[0].last)
        st.rerun()


def _chart_or_table(course: Course, title: str, key: str, note: str) -> str | None:
    """Draw it; returns the bar that was clicked."""
    drawn = charts.spend(course)
    if as_table(title.format(unit=course.unit), "spend", note):
        draw_table(drawn)
        return None
    if course.unit == "hour":
        vega.show(drawn)
        return None
    # With another period it is another chart: a click that has been followed is not followed again.
    return vega.picked(drawn, key=f"spend:{key}")
