"""What charts are made of: Vega-Lite parts in the house's style, and the two ways to draw one.

What is drawn and how are kept apart: numbers and words of the data stand in its columns, not in the drawing.
Where two drawings in the same place are equal to the letter, the browser draws the new columns into the old
one, in half of the time and without a flicker; where not, it takes the old one away and begins anew.

Colours are twelve slots of the theme. Each chart gives the scale all of them and no range, so a source keeps
its colour whatever is filtered, and charts follow the theme in the browser without a rerun. The parts are
plain dictionaries: building the same with Altair takes 15 ms a chart.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import streamlit as st

from lib.ui.base import wording
from lib.ui.base.tables import arrow

PLATFORM, BYOK = wording.SOURCE["platform"], wording.SOURCE["byok"]
SLOTS = [PLATFORM, BYOK, "Limit", "OK", "Near", "Bad", "Axis", "S1", "S2", "S3", "S4", "Track"]
"""The theme's chartCategoricalColors, in their order (see .streamlit/config.toml)."""

Spec = dict[str, Any]
Columns = Mapping[str, Sequence[object]]
PICKED = "picked"
_FEW = 6
_LEGEND = 100  # pixels of an entry
_LABEL = "|"


@dataclass(frozen=True)
class Chart:
    """A drawing: its columns, how they are drawn, what it shows, and the same as a table and in words.

    ``alt`` is part of the drawing, so it has no numbers where there is a table to say them; ``figures`` has them.
    In the table, floats are USD and whole numbers are counts; None is an amount that nobody knows.
    """

    columns: Columns
    spec: Spec
    alt: str
    height: int
    table: Columns = field(default_factory=dict)
    figures: str = ""


def show(chart: Chart, *, key: str | None = None) -> None:
    """Draw it."""
    st.vega_lite_chart(arrow(chart.columns), chart.spec, height=chart.height, alt=chart.alt, key=key)


def picked(chart: Chart, *, key: str) -> str | None:
    """Draw a chart over time; returns the key of the bar that was clicked."""
    event: Any = st.vega_lite_chart(
        arrow(chart.columns),
        chart.spec,
        height=chart.height,
        alt=chart.alt,
        key=key,
        on_select="rerun",
        selection_mode=PICKED,
    )
    chosen = event.selection.get(PICKED) if event else None
    return str(chosen[0]["At"]).partition(_LABEL)[0] if chosen else None


LEAST = 1e-6
"""Dollars: where nothing was spent, a scale ends here, as one of no length has no place for zero."""


# --- the whole -------------------------------------------------------------------------------------


def layered(*layers: Spec, pad: int = 0) -> Spec:
    """Layers on one another. A single view would get an empty legend title, so even one comes as a layer."""
    # Without padding of its own, a chart has 25 px of air below.
    padding = {"left": pad, "right": pad + 4 * (not pad), "top": pad + 4 * (not pad), "bottom": pad or 2}
    return {
        "layer": list(layers),
        "padding": padding,
        "autosize": {"type": "fit", "contains": "padding"},
        "config": {"view": {"stroke": None}},
    }


def stacked_bars(x: Spec, axis: Spec, slots: Mapping[str, str], legend: Spec) -> Spec:
    """Bars of several columns on one another; ``slots``: column -> colour slot, from below."""
    return {
        "transform": folded(slots),
        "mark": {"type": "bar", "width": {"band": 1}, "tooltip": False},
        "encoding": {
            "x": x,
            "y": {"field": "amount", "type": "quantitative", "stack": "zero", "axis": labels() | axis},
            "color": color(legend),
            "order": {"field": "order", "type": "quantitative"},
        },
    }


def folded(slots: Mapping[str, str]) -> list[Spec]:
    """Each row once for each column, with the column's ``amount``, ``slot`` and ``order``."""
    names = list(slots)
    return [
        {"fold": names, "as": ["kind", "amount"]},
        {"calculate": f"({json.dumps(dict(slots))})[datum.kind]", "as": "slot"},
        {"calculate": f"indexof({json.dumps(names)}, datum.kind)", "as": "order"},
    ]


def in_slot(slot: str, *transform: Spec) -> list[Spec]:
    """Everything in one colour."""
    return [*transform, {"calculate": json.dumps(slot), "as": "slot"}]


# --- pointing at something -------------------------------------------------------------------------


def in_words(said: Mapping[str, Sequence[str]]) -> dict[str, Sequence[str]]:
    """Columns for tooltips alone: what they say under each title, for each row."""
    return {f"{title} in words": words for title, words in said.items()}


def tooltip(titles: Iterable[str], plain: Mapping[str, str]) -> list[Spec]:
    """What a tooltip says: first columns that are there anyhow, title -> column; then those of ``in_words``."""
    columns = [*plain.items(), *((title, f"{title} in words") for title in titles)]
    return [{"field": column, "type": "nominal", "title": title} for title, column in columns]


def hover_band(band: Spec, words: list[Spec], *, along: str = "x") -> Spec:
    """An invisible bar over each whole band, so that small amounts can be pointed at too.

    Args:
        band: the axis of the bands, along x or y.
        words: the ``tooltip``.
        along: ``x`` where the bands stand side by side.
    """
    across, size = {"y": {"value": 0}, "y2": {"value": "height"}}, "width"
    if along == "y":
        across, size = {"x": {"value": 0}, "x2": {"value": "width"}}, "height"
    return {
        # A little more than the band, so that there is no gap between two days.
        "mark": {"type": "bar", "opacity": 0, size: {"band": 1.14}},
        "encoding": {along: band, **across, "tooltip": words},
    }


def hover_near(x: Spec, y: Spec, words: list[Spec]) -> Spec:
    """Invisible points; the one nearest to the pointer says what it is."""
    near = {"type": "point", "on": "pointerover", "nearest": True, "encodings": ["x"]}
    return {
        "params": [{"name": "near", "select": near}],
        "mark": {"type": "point", "opacity": 0, "size": 80},
        "encoding": {"x": x, "y": y, "tooltip": words},
    }


# --- colours, axes, text ---------------------------------------------------------------------------


def color(legend: Spec | None = None) -> Spec:
    """By the column ``slot``, over all slots of the theme."""
    return {"field": "slot", "type": "nominal", "scale": {"domain": SLOTS}, "legend": legend}


def ink(slot: str) -> Spec:
    """The colour of a slot, for what has no column: text, rules, labels. Needs ``color`` in the same chart."""
    return {"expr": f"scale('color', '{slot}')"}


def legend(names: Mapping[str, str]) -> Spec:
    """A legend on top of these slots, in rows of two where there is no room; ``names``: slot -> word."""
    number = len(names)
    return {
        "title": None,
        "values": list(names),
        "labelExpr": f"({json.dumps(dict(names))})[datum.label]",
        "orient": "top",
        "direction": "horizontal",
        "columns": {"expr": f"width < {number * _LEGEND} ? 2 : {number}"},
        "symbolType": "square",
        "labelFontSize": 13,
        "labelColor": ink("Axis"),
        "offset": 8,
    }


SOURCES = {PLATFORM: PLATFORM, BYOK: BYOK}


def labels() -> Spec:
    """How an axis is labelled: Streamlit's own grey is too faint on white (3.7 to 1)."""
    return {"title": None, "labelColor": ink("Axis"), "labelFontSize": 11, "labelPadding": 5}


UPRIGHT: Spec = {"domain": False, "labelFlush": False, "labelBaseline": "middle"}
"""An upright axis has its labels in the middle of its grid lines, and no line of its own."""


def money_axis() -> Spec:
    """Dollars, without cents where there are enough of them."""
    return labels() | {"labelExpr": money_labels("domain('y')[1]"), "tickCount": 4} | UPRIGHT


def money_labels(top: str) -> str:
    """How amounts up to ``top``, a Vega expression of dollars, are written at an axis."""
    return f"format(datum.value, {top} >= 5 ? '$,.0f' : {top} >= 0.05 ? '$.2f' : '$~f')"


def labelled(names: Mapping[str, str]) -> Spec:
    """Labels only at these values, with these words."""
    return {"labelExpr": f"({json.dumps(dict(names))})[toString(datum.value)]", "labelOverlap": True}


def keys(names: Sequence[str], labelled: Mapping[str, str]) -> list[str]:
    """The keys of the bands of an axis, each with its label where it has one."""
    return [f"{name}{_LABEL}{labelled[name]}" if name in labelled else name for name in names]


def band(field: str, number: int) -> Spec:
    """An axis of ``number`` bands side by side; ``field`` holds their ``keys``, and the rows are ``in_order``."""
    words = f"split(datum.value, '{_LABEL}')[1] || ''"
    axis = labels() | {"labelExpr": words, "labelOverlap": True, "ticks": False, "labelAngle": 0}
    # A few bars do not grow as wide as the page.
    scale = {"paddingInner": 0.12, "paddingOuter": max(0.06, (_FEW - number) / 2)}
    return {"field": field, "type": "ordinal", "sort": IN_ORDER, "scale": scale, "axis": axis}


IN_ORDER: Spec = {"field": "Order", "op": "min"}
"""The order of bands: left to itself, a drawing that is used again keeps the order of what it showed before."""


def in_order(columns: Columns) -> Columns:
    """The same with a column that numbers the rows, for ``IN_ORDER``."""
    return {**columns, "Order": list(range(len(next(iter(columns.values())))))}


def short_day(day: date) -> str:
    """``Mon 23 Nov``."""
    return f"{day:%a} {day.day} {day:%b}"


def small_text(slot: str, *, align: str, dx: int, dy: int, weight: int = 400) -> Spec:
    """The mark of a note in the drawing."""
    place = {"align": align, "baseline": "middle", "dx": dx, "dy": dy}
    return {
        "type": "text",
        "fontSize": 11,
        "fontWeight": weight,
        "fill": ink(slot),
        "tooltip": False,
        **place,
    }
