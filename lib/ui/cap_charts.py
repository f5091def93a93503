"""Charts of rolling windows: how full one is, and what it held over time, against its cap."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from lib.clock import MINUTE, Micros, from_micros
from lib.ui import wording
from lib.ui.vega import (
    PLATFORM,
    Chart,
    Spec,
    axis_style,
    color,
    ink,
    money_axis,
    money_format,
    money_words,
    spec,
    text,
    tooltip,
    usd,
)
from lib.usage.periods import day_of, midnight


def window_bar(name: str, *, used_nano: int, reserved_nano: int, cap_nano: int) -> Chart:
    """One bar: used, reserved by running calls, free; the whole bar is the cap."""
    used, reserved = usd(used_nano), usd(reserved_nano)
    cap = usd(cap_nano)
    end = max(cap, used + reserved) or 1.0
    columns = {
        "Used": [used],
        "Reserved": [reserved],
        "Free": [max(0.0, cap - used - reserved)],
        "Cap": [cap],
    }
    axis = axis_style() | {
        "title": None,
        "grid": False,
        "ticks": False,
        "domain": False,
        "values": _cap_ticks(cap),
        "format": money_format(cap),
        "labelFlush": True,
        "labelOverlap": True,
    }

    def part(since: str, until: str, slot: str, opacity: float = 1.0) -> Spec:
        return {
            "transform": [
                {"calculate": since, "as": "since"},
                {"calculate": until, "as": "until"},
                {"calculate": json.dumps(slot), "as": "slot"},
            ],
            "mark": {"type": "bar", "height": {"band": 1}, "opacity": opacity, "tooltip": False},
            "encoding": {
                "x": {
                    "field": "since",
                    "type": "quantitative",
                    "scale": {"domain": [0, end], "nice": False},
                    "axis": axis,
                },
                "x2": {"field": "until"},
                "color": color("slot", None),
            },
        }

    taken = "datum.Used + datum.Reserved"
    parts = [
        part("0", str(end), "Track"),
        part("0", taken, PLATFORM, 0.55),
        part("0", "datum.Used", PLATFORM),
    ]
    alt = (
        f"{name}: {wording.money(used_nano)} used and {wording.money(reserved_nano)} reserved "
        f"of {wording.money(cap_nano)}."
    )
    return Chart(columns, spec(*parts), alt, 46)


@dataclass(frozen=True)
class Moment:
    """One instant of a rolling window: what was counted in it then, nano-USD."""

    at: Micros
    nano: int


def consumption(points: Sequence[Moment], *, name: str, cap_nano: int, zone: ZoneInfo) -> Chart:
    """What a rolling window held over time, against its cap; the last point is now."""
    columns = {
        "At": [point.at // 1000 for point in points],
        "Time": [wording.weekday_time(point.at, zone) for point in points],
        "USD": [usd(point.nano) for point in points],
    }
    cap = usd(cap_nano)
    top = max(cap, *columns["USD"], 0.0) * 1.12 or 1.0
    x = _instants(points, zone)
    y: Spec = {
        "field": "USD",
        "type": "quantitative",
        "scale": {"domain": [0, top], "nice": False},
        "axis": money_axis(top) | {"values": _cap_ticks(max(cap, top / 1.12))},
    }
    base: Spec = {"transform": [{"calculate": json.dumps(PLATFORM), "as": "slot"}]}
    color = color("slot", None)
    area = base | {
        "mark": {"type": "area", "opacity": 0.14, "interpolate": "step-after", "tooltip": False},
        "encoding": {"x": x, "y": y, "color": color},
    }
    line = base | {
        "mark": {"type": "line", "strokeWidth": 1.8, "interpolate": "step-after", "tooltip": False},
        "encoding": {"x": x, "y": y, "color": color},
    }
    last = {"filter": f"datum.At === {columns['At'][-1]}"}
    now: Spec = {
        "transform": [*base["transform"], last],
        "mark": {"type": "point", "filled": True, "size": 55, "opacity": 1, "tooltip": False},
        "encoding": {"x": x, "y": y, "color": color},
    }
    now_text: Spec = {
        "transform": [last],
        "mark": text("Limit", align="right", dy=-10, dx=4, weight=600),
        "encoding": {"x": x, "y": y, "text": {"value": f"Now {wording.money(points[-1].nano)}"}},
    }
    hover: Spec = {
        "params": [
            {
                "name": "near",
                "select": {"type": "point", "on": "pointerover", "nearest": True, "encodings": ["x"]},
            }
        ],
        "transform": [{"calculate": money_words("datum.USD"), "as": "amount"}],
        "mark": {"type": "point", "opacity": 0, "size": 80},
        "encoding": {"x": x, "y": y, "tooltip": tooltip([("Time", "At"), ("amount", f"In the {name}")])},
    }
    layers = [area, line, *_cap_line(cap, f"{name} cap {wording.money(cap_nano)}"), now, now_text, hover]
    alt = (
        f"Platform-funded spend in the {name} window, rolling, in USD, against the cap of "
        f"{wording.money(cap_nano)}: now {wording.money(points[-1].nano)}, at most "
        f"{wording.money(max(point.nano for point in points))}."
    )
    return Chart(columns, spec(*layers), alt, 290)


def cap_use(
    five_hours: Sequence[Moment], seven_days: Sequence[Moment], *, caps: Mapping[str, int], zone: ZoneInfo
) -> Chart:
    """Both windows over time in percent of their caps: an area for 5 hours, a line for 7 days."""
    columns = {
        "At": [point.at // 1000 for point in five_hours],
        "Time": [wording.weekday_time(point.at, zone) for point in five_hours],
        "5 hours": [_ratio(point.nano, caps["5h"]) for point in five_hours],
        "7 days": [_ratio(point.nano, caps["7d"]) for point in seven_days],
    }
    x = _instants(five_hours, zone)
    top = max(1.15, *columns["5 hours"], *columns["7 days"])
    axis = axis_style() | {
        "title": None,
        "format": ".0%",
        "values": [0, 0.25, 0.5, 0.75, 1],
        "domain": False,
    }
    base: Spec = {"transform": [{"calculate": json.dumps(PLATFORM), "as": "slot"}]}

    def layer(field: str, mark: Spec) -> Spec:
        y = {
            "field": field,
            "type": "quantitative",
            "scale": {"domain": [0, top], "nice": False},
            "axis": axis,
        }
        shape = mark | {"interpolate": "step-after", "tooltip": False}
        return base | {"mark": shape, "encoding": {"x": x, "y": y, "color": color("slot", None)}}

    hover: Spec = {
        "params": [
            {
                "name": "near",
                "select": {"type": "point", "on": "pointerover", "nearest": True, "encodings": ["x"]},
            }
        ],
        "transform": [
            {"calculate": "format(floor(100 * datum['5 hours']) / 100, '.0%')", "as": "five"},
            {"calculate": "format(floor(100 * datum['7 days']) / 100, '.0%')", "as": "seven"},
        ],
        "mark": {"type": "point", "opacity": 0, "size": 80},
        "encoding": {
            "x": x,
            "y": {"field": "7 days", "type": "quantitative"},
            "tooltip": tooltip([("Time", "At"), ("five", "5-hour cap"), ("seven", "7-day cap")]),
        },
    }
    words = f"Cap: {wording.money(caps['5h'])} in 5 hours, {wording.money(caps['7d'])} in 7 days"
    layers = [
        layer("5 hours", {"type": "area", "opacity": 0.3}),
        layer("7 days", {"type": "line", "strokeWidth": 1.8}),
        *_cap_line(1.0, words),
        hover,
    ]
    alt = (
        f"Cap use over time in percent, area: 5-hour window, line: 7-day window. Now "
        f"{columns['5 hours'][-1]:.0%} and {columns['7 days'][-1]:.0%}."
    )
    return Chart(columns, spec(*layers), alt, 250)


def _cap_line(at: float, words: str) -> list[Spec]:
    datum = {"y": {"datum": at, "type": "quantitative"}}
    return [
        {
            "mark": {"type": "rule", "strokeDash": [5, 3], "strokeWidth": 1.5, "stroke": ink("Limit")},
            "encoding": datum,
        },
        {
            "mark": text("Limit", align="left", dy=-7, dx=3),
            "encoding": {"x": {"value": 0}, **datum, "text": {"value": words}},
        },
    ]


def _instants(points: Sequence[Moment], zone: ZoneInfo) -> Spec:
    """Instants on a straight scale, labelled at midnights of the zone: no clock change bends it."""
    first, last = points[0].at, points[-1].at
    day, labels = day_of(first, zone) + timedelta(days=1), {}
    days = max(1, (day_of(last, zone) - day).days + 1)
    while (at := midnight(day, zone)) <= last:
        labels[str(at // 1000)] = f"{day:%a} {day.day} {day:%b}"
        day += timedelta(days=max(1, days // _DAYS_LABELLED))
    if not labels:
        step = max(MINUTE, (last - first) // 4)
        labels = {
            str(at // 1000): f"{from_micros(at).astimezone(zone):%H:%M}" for at in range(first, last, step)
        }
    return {
        "field": "At",
        "type": "quantitative",
        "scale": {"domain": [first // 1000, last // 1000], "nice": False, "zero": False},
        "axis": axis_style()
        | {
            "title": None,
            "grid": False,
            "ticks": False,
            "labelOverlap": True,
            "values": [int(at) for at in labels],
            "labelExpr": f"({json.dumps(labels)})[toString(datum.value)]",
        },
    }


def _cap_ticks(cap: float) -> list[float]:
    """Four to six round steps up to the cap."""
    if cap <= 0:
        return [0.0]
    step = Decimal(1).scaleb(Decimal(str(cap)).adjusted())
    for part in ("0.1", "0.2", "0.25", "0.5", "1"):
        size = step * Decimal(part)
        if Decimal(str(cap)) / size <= 6:  # noqa: PLR2004
            break
    ticks = [float(size * index) for index in range(int(Decimal(str(cap)) / size) + 1)]
    return ticks if ticks[-1] == cap else [*ticks, cap]


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else float(part > 0)
