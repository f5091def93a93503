"""The pieces that every page is built of: header, card, heading, facts, attention lines, metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from lib.ui.base.navigation import Page, link
from lib.ui.base.tables import draw_dataframe
from lib.ui.base.wording import badge, escape
from lib.ui.charts import theme
from lib.ui.charts.sparklines import sparkline

NOTHING_YET = "No calls in this period. Choose a longer period, or reset the filters."


@dataclass(frozen=True)
class PageHeader:
    """A page's title; its context line is written when the choices on the right are made."""

    left: DeltaGenerator
    right: DeltaGenerator

    def context(self, text: str) -> None:
        """What the page counts: project, period, zone."""
        self.left.caption(text)


def header(title: str) -> PageHeader:
    """The title of a page, with room for its choices on the right."""
    row = st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute")
    left = row.container(gap=None, width="content")
    left.title(title, anchor=False, width="content")
    right = row.container(horizontal=True, horizontal_alignment="right", width="content", gap="xsmall")
    return PageHeader(left, right)


@contextmanager
def card(*, height: Literal["stretch", "content"] = "content") -> Iterator[None]:
    """A bordered block. ``height="stretch"`` for equal heights side by side."""
    with st.container(border=True, gap="xsmall", height=height):
        yield


def heading(
    title: str, *badges: str, note: str = "", width: Literal["stretch", "content"] = "stretch"
) -> None:
    """The title of a card, or of several: its state as badges, and in grey what it counts."""
    with st.container(horizontal=True, vertical_alignment="bottom", gap="xsmall", width=width):
        st.markdown(f"#### {title}", anchors=False, width="content")
        for each in badges:
            st.markdown(each, width="content")
        if note:
            st.caption(note, width="content")


def chart_card(
    title: str,
    drawn: theme.Chart,
    *,
    name: str,
    note: str = "",
    height: Literal["stretch", "content"] = "content",
) -> None:
    """A card with a chart, which its button turns into a table of the same numbers, and back."""
    with card(height=height):  # not within the fragment: there Streamlit does not stretch it
        _chart(title, drawn, name, note)


@st.fragment
def _chart(title: str, drawn: theme.Chart, name: str, note: str) -> None:
    with st.container(gap="xxsmall"):
        if as_table(title, name, note):
            draw_table(drawn)
        else:
            theme.show(drawn)


def as_table(title: str, name: str, note: str) -> bool:
    """The head of a chart's card; whether its button was pressed and it shows a table."""
    kept = f"table:{name}"
    tabular = bool(st.session_state.get(kept))

    def turn() -> None:
        st.session_state[kept] = not tabular

    # Not on the right: there Streamlit's own buttons appear while one points at the chart.
    with st.container(horizontal=True, vertical_alignment="center", gap="xsmall"):
        heading(title, note=note, width="content")
        st.button(
            "Chart" if tabular else "Table",
            key=f"turn:{name}",
            type="tertiary",
            icon=":material/bar_chart:" if tabular else ":material/table_rows:",
            help=f"{title}: show {'the chart' if tabular else 'its numbers as a table'}",
            on_click=turn,
        )
    return tabular


def draw_table(drawn: theme.Chart) -> None:
    """The numbers of a chart, in its place and as high."""
    draw_dataframe(drawn.table, height=drawn.height, alt=f"{drawn.alt} {drawn.figures}")


def facts(rows: Mapping[str, str], *, alt: str) -> None:
    """Key facts, name and value; the values are Markdown."""
    st.table({f":gray[{name}]": value for name, value in rows.items()}, border="horizontal", alt=alt)


@dataclass(frozen=True)
class Attention:
    """One line that is true and matters: badge, what is true since when, what followed, one link."""

    badge: str
    color: str
    text: str
    link: str = ""
    page: Page | None = None
    address: Mapping[str, str | list[str]] = field(default_factory=dict)


def attention(lines: Sequence[Attention], *, titled: bool = True) -> None:
    """What deserves attention, worst first; nothing where there is nothing."""
    if not lines:
        return
    with card():
        if titled:
            things = "1 thing needs" if len(lines) == 1 else f"{len(lines)} things need"
            st.markdown(f"#### {things} attention", anchors=False)
        for line in lines:
            with st.container(horizontal=True, wrap=False, vertical_alignment="top", gap="small"):
                st.markdown(f"{badge(line.badge, line.color)} {line.text}", width="stretch")
                if line.page:
                    link(line.page, line.link, icon=True, **line.address)


@dataclass(frozen=True)
class Metric:
    """A number, how it changed, and its values over time. ``color``: of its source; grey where it has none."""

    label: str
    value: str
    change: str | None = None
    color: str = "gray"
    series: Sequence[int] = ()
    help: str | None = None


_SLOT = {"violet": theme.PLATFORM, "blue": theme.BYOK, "gray": "Axis", "orange": "Near"}


def metrics(found: Sequence[Metric], *, before: str = "", against: str = "") -> Callable[[], None]:
    """A row of cards; more spend is not bad, so a change has the colour of its source.

    Args:
        found: the numbers.
        before: what their changes are measured against, in few words beside each.
        against: the same exactly, for who points at it.

    Returns:
        What draws the lines below the numbers.
    """
    grid = st.grid(len(found), min_column_width=180, border=True)
    lines = []
    for metric in found:
        with_chart = len(metric.series) > 1
        cell = grid.container(gap="xsmall") if with_chart else grid
        cell.metric(
            metric.label,
            metric.value.replace("$", "\\$"),
            metric.change,
            delta_color=_delta_color(metric.color),
            delta_arrow="off",
            delta_description=before if metric.change else None,
            help=_help(metric, against),
        )
        if with_chart:
            lines.append((cell.container(height=44, border=False), metric))

    def draw_lines() -> None:
        for place, metric in lines:
            place.html(sparkline(metric.series, slot=_SLOT[metric.color], alt=f"{metric.label} over time"))

    return draw_lines


def _help(metric: Metric, against: str) -> str | None:
    return " ".join(filter(None, (metric.help, escape(against) if metric.change else ""))) or None


def _delta_color(color: str) -> Any:
    return color


def empty(sentence: str = NOTHING_YET) -> None:
    """A card that says that there is nothing, in place of an empty chart."""
    with card():
        st.caption(escape(sentence))
