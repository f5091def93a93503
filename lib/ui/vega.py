"""What charts are made of: Vega-Lite parts in the house's style, and the two ways to draw one.

Colours are twelve slots of the theme. Each chart gives the scale all of them and no range, so a source keeps
its colour whatever is filtered, and charts follow the theme in the browser without a rerun. The parts are
plain dictionaries: building the same with Altair takes 15 ms a chart.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

import streamlit as st

from lib.ui import wording

PLATFORM, BYOK = wording.SOURCE["platform"], wording.SOURCE["byok"]
SLOTS = [PLATFORM, BYOK, "Limit", "OK", "Near", "Bad", "Axis", "S1", "S2", "S3", "S4", "Track"]
"""The theme's chartCategoricalColors, in their order (see .streamlit/config.toml)."""

Spec = dict[str, Any]
_SCALE: Spec = {"domain": SLOTS}
_PLAIN_MODELS = 12
_DAYS_LABELLED = 7


@dataclass(frozen=True)
class Chart:
    """A drawing: its columns (as the table behind it shows them), how to draw them, and what it says in words."""

    columns: Mapping[str, Sequence[object]]
    spec: Spec
    alt: str
    height: int


def show(chart: Chart, *, key: str | None = None) -> None:
    """Draw it."""
    st.vega_lite_chart(
        dict(chart.columns), chart.spec, height=chart.height, alt=chart.alt, key=key, width="stretch"
    )


def picked_day(chart: Chart, *, key: str) -> date | None:
    """Draw a chart of days; the day whose bar was clicked."""
    event: Any = st.vega_lite_chart(
        dict(chart.columns),
        chart.spec,
        height=chart.height,
        alt=chart.alt,
        key=key,
        on_select="rerun",
        selection_mode="picked",
        width="stretch",
    )
    chosen = event.selection.get("picked") if event else None
    return date.fromisoformat(str(chosen[0]["Day"])) if chosen else None


# --- parts -----------------------------------------------------------------------------------------


def spec(*layers: Spec, padding: int | Spec | None = None) -> Spec:
    # A single view would get an empty legend title, and without padding 25 px of air below: so layers, and this.
    return {
        "layer": list(layers),
        "padding": padding if padding is not None else {"left": 0, "right": 4, "top": 4, "bottom": 0},
        "autosize": {"type": "fit", "contains": "padding"},
        "config": {"view": {"stroke": None}},
    }


def bars(x: Spec, axis: Spec, slots: Sequence[str] | Mapping[str, str], *, legend: Spec) -> Spec:
    names = list(slots)
    return {
        "transform": folded(names, slots if isinstance(slots, Mapping) else None),
        "mark": {"type": "bar", "tooltip": False},
        "encoding": {
            "x": x,
            "y": {"field": "amount", "type": "quantitative", "stack": "zero", "axis": axis_style() | axis},
            "color": color("slot", legend),
            "order": {"field": "order", "type": "quantitative"},
        },
    }


def folded(names: Sequence[str], slots: Mapping[str, str] | None = None) -> list[Spec]:
    order = json.dumps(list(names))
    slot = f"({json.dumps(dict(slots))})[datum.kind]" if slots else "datum.kind"
    return [
        {"fold": list(names), "as": ["kind", "amount"]},
        {"calculate": slot, "as": "slot"},
        {"calculate": f"indexof({order}, datum.kind)", "as": "order"},
    ]


def hover(
    band: Spec, fields: Sequence[tuple[str, str]], words: Mapping[str, str], *, across: str = "y"
) -> Spec:
    """An invisible bar over the whole band: small amounts can be pointed at too."""
    along = "x" if across == "y" else "y"
    extent = (
        {"y": {"value": 0}, "y2": {"value": "height"}}
        if across == "y"
        else {
            "x": {"value": 0},
            "x2": {"value": "width"},
        }
    )
    return {
        "transform": [{"calculate": expression, "as": f"said_{name}"} for name, expression in words.items()],
        "mark": {"type": "bar", "opacity": 0, "cursor": "default"},
        "encoding": {
            along: band,
            **extent,
            "tooltip": tooltip(
                [(f"said_{name}" if name in words else name, title) for name, title in fields]
            ),
        },
    }


def tooltip(fields: Sequence[tuple[str, str]]) -> list[Spec]:
    return [{"field": field, "type": "nominal", "title": title} for field, title in fields]


def text(slot: str, *, align: str, dy: int, dx: int, weight: int = 400) -> Spec:
    return {
        "type": "text",
        "align": align,
        "baseline": "middle",
        "dx": dx,
        "dy": dy,
        "fontSize": 11,
        "fontWeight": weight,
        "fill": ink(slot),
        "tooltip": False,
    }


def color(field: str, legend: Spec | None) -> Spec:
    return {"field": field, "type": "nominal", "scale": _SCALE, "legend": legend}


def legend(slots: Sequence[str] = (PLATFORM, BYOK)) -> Spec:
    return {
        "title": None,
        "values": list(slots),
        "orient": "top",
        "direction": "horizontal",
        "symbolType": "square",
        "symbolOpacity": 1,
        "labelFontSize": 13,
        "labelColor": ink("Axis"),
        "offset": 8,
    }


def ink(slot: str) -> Spec:
    return {"expr": f"scale('color', '{slot}')"}


def axis_style() -> Spec:
    # Streamlit's own grey for axis labels is too faint on white (3.7 to 1).
    return {"labelColor": ink("Axis"), "labelFontSize": 11}


def day_band(days: Sequence[date], *, labels: int = _DAYS_LABELLED) -> Spec:
    shown = {day.isoformat(): f"{day:%a} {day.day} {day:%b}" for day in _labelled(days, labels)}
    return {
        "field": "Day",
        "type": "ordinal",
        "scale": {"paddingInner": 0.12, "paddingOuter": 0.06},
        "axis": axis_style()
        | {
            "title": None,
            "ticks": False,
            "labelAngle": 0,
            "labelOverlap": True,
            "labelFlush": True,
            "values": list(shown),
            "labelExpr": f"({json.dumps(shown)})[datum.value]",
        },
    }


def _labelled(days: Sequence[date], most: int) -> list[date]:
    """Which days get a label: all of few, else Mondays, else the first of months."""
    if len(days) <= most + 1:
        return list(days)
    mondays = [day for day in days if day.weekday() == 0]
    if len(mondays) <= 2 * most:
        return mondays
    firsts = [day for day in days if day.day == 1]
    return firsts[:: max(1, len(firsts) // (2 * most))]


def money_axis(top: float) -> Spec:
    return axis_style() | {"title": None, "format": money_format(top), "tickCount": 4, "domain": False}


def money_format(top: float) -> str:
    if top >= 5:  # noqa: PLR2004
        return "$,.0f"
    return "$.2f" if top >= 0.05 else "$~f"  # noqa: PLR2004


def usd(nano: int) -> float:
    return float(Decimal(nano).scaleb(-9))


def money_words(value: str) -> str:
    """What ``wording.money`` writes, as a Vega expression."""
    return (
        f"{value} === 0 || {value} >= 0.01 ? format({value}, '$,.2f') : "
        f"{value} < 0.0001 ? '<$0.0001' : format({value}, '$.4f')"
    )


def day_words(value: str) -> str:
    return f"utcFormat(toDate({value}), '%a %-d %b %Y')"
