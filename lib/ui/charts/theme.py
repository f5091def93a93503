"""What charts are made of: parts of drawings in the house's style, and the two ways to show one.

What is drawn and how are kept apart. Numbers and words of the data stand in its columns; where a scale or an axis
needs one of them, it reads it there (``facts``, ``extent``). So a drawing is built once for its shape and
kept, and a rerun costs no building. The browser too: where the drawing in a place is the one that was there, it draws
the new columns into it, in half of the time and without a flicker.

Colours are twelve slots of the theme. Each chart gives the scale all of them and no range, so a source keeps its
colour whatever is filtered, and charts follow the theme in the browser without a rerun.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Unpack

import altair as alt
import pyarrow as pa
import streamlit as st
from altair.theme import AxisConfigKwds

from lib.ui.base import wording
from lib.ui.base.tables import arrow

PLATFORM, BYOK = wording.SOURCE["platform"], wording.SOURCE["byok"]
SLOTS = [PLATFORM, BYOK, "Limit", "OK", "Near", "Bad", "Axis", "S1", "S2", "S3", "S4", "Track"]
"""The theme's chartCategoricalColors, in their order (see .streamlit/config.toml)."""

Spec = dict[str, Any]
Columns = Mapping[str, Sequence[object]]
Facts = Mapping[str, float | str]
PICKED = "picked"
_FEW = 6
BETWEEN = "|"  # a key and its label, or the items of a list
_SOURCE = "source"  # Streamlit's own name for the columns


@dataclass(frozen=True)
class Chart:
    """A drawing: its columns, how they are drawn, what it shows, and the same as a table and in words.

    ``facts`` are numbers and words that the whole drawing needs once. ``spec`` is shared by all charts of its shape: it is never changed. ``alt`` is drawn as well, so it has no numbers
    where there is a table to say them; ``figures`` has them. In the table, floats are USD and whole numbers are counts;
    None is an amount that nobody knows.
    """

    columns: Columns
    spec: Spec
    alt: str
    height: int
    table: Columns = field(default_factory=dict)
    figures: str = ""
    facts: Facts = field(default_factory=dict)

    def sent(self) -> pa.Table:
        """What the browser gets: the columns, and the facts in columns that only the first row fills."""
        first = pa.array([0, *[None] * (len(next(iter(self.columns.values()))) - 1)], pa.int8())
        facts = {name: pa.DictionaryArray.from_arrays(first, [fact]) for name, fact in self.facts.items()}
        return arrow({**self.columns, **facts})


def show(chart: Chart, **more: Any) -> Any:
    """Draw it; ``more`` is for Streamlit."""
    return st.vega_lite_chart(chart.sent(), chart.spec, height=chart.height, alt=chart.alt, **more)


def show_pickable(chart: Chart, *, key: str, on_pick: Callable[[str], None]) -> None:
    """Draw a chart over time; a click on a bar calls ``on_pick`` with the bar's key, once.

    What the chart keeps as chosen is never read again: it may be older than what the person did since.
    """

    def selected() -> None:
        if chosen := st.session_state[key].selection.get(PICKED):
            on_pick(str(chosen[0]["At"]).partition(BETWEEN)[0])

    show(chart, key=key, on_select=selected, selection_mode=PICKED)


# --- the whole -------------------------------------------------------------------------------------


def drawing(*layers: alt.Chart, pad: int = 0) -> Spec:
    """Layers on one another, checked against the schema of Vega-Lite."""
    # Without padding of its own, a chart has 25 px of air below.
    padding = {"left": pad, "right": pad + 4 * (not pad), "top": pad + 4 * (not pad), "bottom": pad or 2}
    # A single view would get an empty legend title, so even one comes as a layer.
    fit = alt.AutoSizeParams(type="fit", contains="padding")
    whole = alt.layer(*layers, data=alt.NamedData(_SOURCE), padding=padding, autosize=fit)
    # Streamlit's own grey is too faint on white (3.7 to 1). Upright labels stand in the middle of their grid lines.
    whole = whole.configure_axis(title=None, labelColor=slot_color("Axis"), labelFontSize=11, labelPadding=5)
    whole = whole.configure_axisY(labelFlush=False, labelBaseline="middle").configure_view(stroke=None)
    whole = whole.configure_legend(title=None, orient="top", offset=8)
    spec: Spec = whole.to_dict()
    # The browser's Vega-Lite is Streamlit's, and warns of any other version.
    del spec["$schema"]
    return spec


def stacked_bars(axis: alt.Axis, slots: Mapping[str, str]) -> alt.Chart:
    """Bars of several columns on one another, up to the column ``Total``; ``slots``: column -> slot, from below."""
    y = alt.Y("amount:Q", stack="zero", axis=axis, scale=from_zero("Total"))
    bars: alt.Chart = folded(slots).mark_bar(width=alt.RelativeBandSize(1), tooltip=False)
    return bars.encode(x=band(), y=y, color=color(legend(slots)), order="order:Q")


def folded(slots: Mapping[str, str]) -> alt.Chart:
    """Each row once for each column, with the column's ``amount``, ``slot`` and ``order``."""
    order = f"indexof({json.dumps(list(slots))}, datum.kind)"
    each = alt.Chart().transform_fold(list(slots), as_=["kind", "amount"])
    return each.transform_calculate(slot=f"({json.dumps(dict(slots))})[datum.kind]", order=order)


def in_slot(slot: str, **columns: str) -> alt.Chart:
    """Everything in one colour; ``columns``: name -> the expression that makes it."""
    return alt.Chart().transform_calculate(**columns, slot=json.dumps(slot))


# --- what is read from the columns -----------------------------------------------------------------

_ROWS = f"data('{_SOURCE}')"
"""The rows as they were sent. There are none before they have arrived."""


def fact(name: str) -> str:
    """The expression that reads one of the ``facts``."""
    return f"({_ROWS}[0] || {{}}).{name}"


def listed(name: str, labels: Mapping[float, str]) -> Facts:
    """The facts of a ``labelled`` axis: where a label stands, and what it says."""
    return {name: BETWEEN.join(map(str, labels)), f"{name}_labels": BETWEEN.join(labels.values())}


def labelled(name: str, **settings: Unpack[AxisConfigKwds]) -> alt.Axis:
    """An axis with labels where the facts ``listed`` under this name have them, and nowhere else."""
    values, labels = (f"split({fact(each)} || '', '{BETWEEN}')" for each in (name, f"{name}_labels"))
    words = f"{labels}[indexof({values}, datum.value)]"
    found = alt.Axis(**settings)
    found.values, found.labelExpr = alt.ExprRef(values), words
    return found


def extent(column: str) -> str:
    """The expression of the smallest and the largest value of a column."""
    return f"extent(pluck({_ROWS}, '{column}'))"


def from_zero(column: str) -> alt.Scale:
    """A scale from zero to a round number at or above the largest value.

    Left to find the ends itself, it would look at the columns of each layer, and warn of those without rows.
    """
    return alt.Scale(domain=alt.ExprRef(f"[0, {extent(column)}[1] || 0]"), nice=True)


def up_to(end: str) -> alt.Scale:
    """A scale from zero to exactly what this expression gives; a tiny bit where that is nothing, to place zero."""
    return alt.Scale(domain=alt.ExprRef(f"[0, {end} || 1e-6]"), nice=False)


# --- pointing at something -------------------------------------------------------------------------


def tooltip_columns(said: Mapping[str, Sequence[str]]) -> dict[str, Sequence[str]]:
    """Columns for tooltips alone: what they say under each title, for each row."""
    return {f"{title} in words": words for title, words in said.items()}


def tooltip(titles: Iterable[str], plain: Mapping[str, str]) -> list[alt.Tooltip]:
    """What a tooltip says: first columns that are there anyhow, title -> column; then those of ``tooltip_columns``."""
    columns = [*plain.items(), *((title, f"{title} in words") for title in titles)]
    return [alt.Tooltip(field=column, type="nominal", title=title) for title, column in columns]


WHOLE_BAND = alt.RelativeBandSize(1.14)
"""A little more than the band, so that there is no gap between two days."""


def hover_band(words: list[alt.Tooltip], *, cursor: Literal["pointer", "auto"] = "auto") -> alt.Chart:
    """Invisible bars over whole bands, so that small amounts can be pointed at too."""
    bars: alt.Chart = alt.Chart(name="bands").mark_bar(opacity=0, width=WHOLE_BAND, cursor=cursor)
    return bars.encode(x=band(), y=alt.value(0), y2=alt.value("height"), tooltip=words)


def nearest_point_tooltip(x: alt.X, y: alt.Y, words: list[alt.Tooltip]) -> alt.Chart:
    """Invisible points; the one nearest to the pointer says what it is."""
    near = alt.selection_point(name="near", on="pointerover", nearest=True, encodings=["x"])
    points: alt.Chart = alt.Chart(name="instants").mark_point(opacity=0, size=80)
    return points.encode(x=x, y=y, tooltip=words).add_params(near)


# --- colours, axes, text ---------------------------------------------------------------------------


def color(legend: alt.Legend | None = None) -> alt.Color:
    """By the column ``slot``, over all slots of the theme."""
    return alt.Color("slot:N", scale=alt.Scale(domain=SLOTS), legend=legend)


def slot_color(slot: str) -> alt.ExprRef:
    """The colour of a slot, for what has no column: text, rules, labels. Needs ``color`` in the same chart."""
    return alt.ExprRef(f"scale('color', '{slot}')")


def legend(slots: Mapping[str, str], *, aside: str = "45") -> alt.Legend:
    """A legend on top, in rows of two or one where there is no room.

    Args:
        slots: word -> slot.
        aside: how many pixels the labels beside the drawing take, as an expression.
    """
    return alt.Legend(
        values=list(slots.values()),
        labelExpr=f"({json.dumps({slot: word for word, slot in slots.items()})})[datum.label]",
        columns=alt.ExprRef(_legend_columns(list(slots), aside)),
        direction="horizontal",
        symbolType="square",
        labelFontSize=13,
        labelColor=slot_color("Axis"),
    )


_ENTRY, _LETTER = 26, 7  # pixels, with a little to spare


def _legend_columns(words: Sequence[str], aside: str) -> str:
    """How many legend columns fit: all, or two, or one. Vega cuts off what has no room."""
    # Not of the drawing's own width: that is known when the height of the legend has been taken from it. Its width
    # is named all the same, as this is to be looked at again when it changes.
    room = f"(containerSize()[0] - ({aside}) + 0 * width)"
    found = "1"
    for columns in sorted({2, len(words)} - {1}):
        widest = (max(map(len, words[place::columns]), default=0) for place in range(columns))
        needed = sum(_ENTRY + _LETTER * length for length in widest)
        found = f"{room} < {needed} ? {found} : {columns}"
    return found


SOURCES = {PLATFORM: PLATFORM, BYOK: BYOK}


def money_labels(top: str) -> str:
    """How amounts up to ``top``, an expression, are written: dollars, without cents where there are enough of them.

    All labels of an axis have equal decimals.
    """
    return f"format(datum.value, {top} >= 5 ? '$,.0f' : '$.' + max(2, {_places(top)}) + 'f')"


def equal_decimals(top: str, unit: int) -> str:
    """How numbers up to ``top``, an expression, are written in ``unit``: with the decimals that their steps need."""
    return f"format(datum.value / {unit}, ',.' + max(0, {_places(f'({top}) / {unit}')}) + 'f')"


def _places(top: str) -> str:
    """The decimals of the steps of an axis of about four; below zero where these are tens and more."""
    return f"(({top}) > 0 ? -floor(log(({top}) / 4) / LN10) : 0)"


def annotation(rows: alt.Chart, slot: str, *, weight: int = 400, **place: Any) -> alt.Chart:
    """A word in the drawing; ``place``: align, dx, dy."""
    style: dict[str, Any] = {"fontSize": 11, "fontWeight": weight, "baseline": "middle", **place}
    words: alt.Chart = rows.mark_text(fill=slot_color(slot), tooltip=False, **style)
    return words


def band() -> alt.X:
    """An axis of a band for each row, which are ``in_order``; the column ``At`` holds their keys and labels."""
    words = f"split(datum.value, '{BETWEEN}')[1] || ''"
    # A few bars do not grow as wide as the page.
    outside = alt.ExprRef(f"max(0.06, ({_FEW} - length({_ROWS})) / 2)")
    scale = alt.Scale(paddingInner=0.12, paddingOuter=outside)
    return alt.X("At:O", sort=IN_ORDER, scale=scale, axis=alt.Axis(labelExpr=words, labelAngle=0))


IN_ORDER = alt.EncodingSortField(field="Order", op="min")
"""The order of bands: left to itself, a drawing that is used again keeps the order of what it showed before."""


def in_order(columns: Columns) -> Columns:
    """Columns with one more that numbers the rows, for ``IN_ORDER``."""
    return {**columns, "Order": list(range(len(next(iter(columns.values())))))}
