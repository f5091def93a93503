"""Charts of rolling windows: how full one is, and what it held over time, against its cap."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Protocol
from zoneinfo import ZoneInfo

from lib.clock import Micros, from_micros
from lib.pricing.amounts import NANO
from lib.ui.base import wording
from lib.ui.base.tables import dollars
from lib.ui.charts import theme
from lib.ui.charts.theme import PLATFORM, Chart, Columns, Spec
from lib.usage.periods import day_of, midnight

_MOST_STEPS = 5
_WIDE, _HALF = 7, 4


class Point(Protocol):
    """One instant of a rolling window: what was counted in it then, nano-USD."""

    @property
    def at(self) -> Micros: ...
    @property
    def nano(self) -> int: ...


def window_bar(name: str, *, used_nano: int, reserved_nano: int, cap_nano: int) -> Chart:
    """One bar: used, reserved by running calls, free; all of it is the cap."""
    used, reserved, cap = dollars(used_nano), dollars(reserved_nano), dollars(cap_nano)
    columns = {
        "Used": [used],
        "Reserved": [reserved],
        "Free": [max(0.0, cap - used - reserved)],
        "Cap": [cap],
    }
    end = max(cap, used + reserved) or 1.0
    axis = theme.labels() | {"grid": False, "ticks": False, "domain": False, "labelFlush": True}
    axis |= {"values": _steps_to(cap_nano), "labelExpr": _labels(cap_nano), "labelOverlap": True}
    x: Spec = {
        "field": "from",
        "type": "quantitative",
        "scale": {"domain": [0, end], "nice": False},
        "axis": axis,
    }
    layers = [
        _part(x, "0", str(end), "Track"),
        _part(x, "datum.Used", "datum.Used + datum.Reserved", PLATFORM, opacity=0.55),
        _part(x, "0", "datum.Used", PLATFORM),
    ]
    alt = (
        f"{name}: {wording.money(used_nano)} used and {wording.money(reserved_nano)} reserved "
        f"of {wording.money(cap_nano)}."
    )
    return Chart(columns, theme.layered(*layers), alt, 46)


def _part(x: Spec, since: str, until: str, slot: str, *, opacity: float = 1.0) -> Spec:
    ends: list[Spec] = [{"calculate": since, "as": "from"}, {"calculate": until, "as": "to"}]
    return {
        "transform": theme.in_slot(slot, *ends),
        "mark": {"type": "bar", "height": {"band": 1}, "opacity": opacity, "tooltip": False},
        "encoding": {"x": x, "x2": {"field": "to"}, "color": theme.color()},
    }


def consumption(points: Sequence[Point], *, name: str, cap_nano: int, zone: ZoneInfo) -> Chart:
    """What a rolling window held over time, against its cap; the last point is now."""
    held = f"In the {name} window"
    said = theme.in_words({held: [wording.money(point.nano) for point in points]})
    columns: Columns = {**_columns(points, zone), "USD": [dollars(point.nano) for point in points], **said}
    highest, now = max(point.nano for point in points), points[-1]
    top = max(highest, cap_nano)
    x = _instants(points, zone, _WIDE)
    scale = {"domain": [0, dollars(top) * 1.12 or 1.0], "nice": False}
    values = _steps_to(top)
    # A smaller tick count, also the theme's, would thin the values out and take the cap's own label away.
    axis = theme.money_axis() | {"labelExpr": _labels(top), "labelOverlap": False}
    axis |= {"values": values, "tickCount": len(values)}
    y: Spec = {"field": "USD", "type": "quantitative", "scale": scale, "axis": axis}
    last: Spec = {"filter": f"datum.At === {now.at // 1000}"}
    layers = [
        _steps(x, y, {"type": "area", "opacity": 0.14}),
        _steps(x, y, {"type": "line", "strokeWidth": 1.8}),
        *_cap_line(dollars(cap_nano), f"{name} cap {wording.money(cap_nano)}"),
        _steps(x, y, {"type": "point", "filled": True, "size": 55, "opacity": 1}, last),
        {
            "transform": [last],
            "mark": theme.small_text("Limit", align="right", dx=4, dy=-12, weight=600),
            "encoding": {"x": x, "y": y, "text": {"value": f"Now {wording.money(now.nano)}"}},
        },
        theme.hover_near(x, y, theme.tooltip([held], {"At": "Time"})),
    ]
    alt = (
        f"Platform-funded spend in the rolling {name} window, in USD, against the cap of "
        f"{wording.money(cap_nano)}: now {wording.money(now.nano)}, at most {wording.money(highest)}."
    )
    return Chart(columns, theme.layered(*layers), alt, 290)


def cap_use(
    five_hours: Sequence[Point], seven_days: Sequence[Point], *, caps: Mapping[str, int], zone: ZoneInfo
) -> Chart:
    """Both windows over time in percent of their caps, at the same instants: area 5 hours, line 7 days."""
    five = [_ratio(point.nano, caps["5h"]) for point in five_hours]
    seven = [_ratio(point.nano, caps["7d"]) for point in seven_days]
    # Rounded down, as everywhere: 100% only when nothing fits any more.
    said = {
        "5-hour cap": [wording.percent_down(point.nano, caps["5h"]) for point in five_hours],
        "7-day cap": [wording.percent_down(point.nano, caps["7d"]) for point in seven_days],
    }
    columns = _columns(five_hours, zone) | {"5 hours": five, "7 days": seven} | theme.in_words(said)
    x = _instants(five_hours, zone, _HALF)
    axis = theme.labels() | {"format": ".0%", "values": [0, 0.25, 0.5, 0.75, 1]} | theme.UPRIGHT
    scale = {"domain": [0, max(1.15, *five, *seven)], "nice": False}
    y: Spec = {"type": "quantitative", "scale": scale, "axis": axis}
    words = f"Cap: {wording.money(caps['5h'])} in 5 hours, {wording.money(caps['7d'])} in 7 days"
    layers = [
        _steps(x, y | {"field": "5 hours"}, {"type": "area", "opacity": 0.3}),
        _steps(x, y | {"field": "7 days"}, {"type": "line", "strokeWidth": 1.8}),
        *_cap_line(1.0, words),
        theme.hover_near(x, y | {"field": "7 days"}, theme.tooltip(said, {"At": "Time"})),
    ]
    alt = (
        "Cap use over time in percent, area: 5-hour window, line: 7-day window. "
        f"Now {five[-1]:.0%} and {seven[-1]:.0%}."
    )
    return Chart(columns, theme.layered(*layers), alt, 250, {"Time": columns["Time"], **said})


# --- parts -----------------------------------------------------------------------------------------


def _columns(points: Sequence[Point], zone: ZoneInfo) -> dict[str, list[object]]:
    return {
        "At": [point.at // 1000 for point in points],
        "Time": [wording.weekday_time(point.at, zone) for point in points],
    }


def _steps(x: Spec, y: Spec, mark: Spec, *transform: Spec) -> Spec:
    shape = mark | {"tooltip": False}
    if mark["type"] != "point":
        shape["interpolate"] = "step-after"
    encoding = {"x": x, "y": y, "color": theme.color()}
    return {"transform": theme.in_slot(PLATFORM, *transform), "mark": shape, "encoding": encoding}


def _cap_line(at: float, words: str) -> list[Spec]:
    y: Spec = {"y": {"datum": at, "type": "quantitative"}}
    rule = {
        "type": "rule",
        "strokeDash": [5, 3],
        "strokeWidth": 1.5,
        "stroke": theme.ink("Limit"),
        "aria": False,
    }
    note = theme.small_text("Limit", align="left", dx=3, dy=-8)
    # Without counting, there would be one line and one text for each row of the data.
    once = [{"aggregate": [{"op": "count", "as": "rows"}]}]
    text: Spec = {"x": {"value": 0}, "text": {"value": words}, **y}
    return [
        {"transform": once, "mark": rule | {"tooltip": False}, "encoding": y},
        {"transform": once, "mark": note, "encoding": text},
    ]


def _instants(points: Sequence[Point], zone: ZoneInfo, most: int) -> Spec:
    """Instants on a straight scale, labelled at midnights of the zone: no change of the clocks bends it."""
    names = _midnights(points[0].at, points[-1].at, zone, most)
    axis = theme.labels() | theme.labelled(names) | {"values": [int(at) for at in names], "ticks": False}
    scale = {"domain": [points[0].at // 1000, points[-1].at // 1000], "nice": False, "zero": False}
    return {"field": "At", "type": "quantitative", "scale": scale, "axis": axis | {"grid": False}}


def _midnights(first: Micros, last: Micros, zone: ZoneInfo, most: int) -> dict[str, str]:
    """Up to ``most`` midnights between two instants, in milliseconds; within one day some hours instead."""
    day, end = day_of(first, zone) + timedelta(days=1), day_of(last, zone)
    if day > end:
        step = max(1, (last - first) // 4)
        hours = range(first, last + 1, step)
        return {str(at // 1000): f"{from_micros(at).astimezone(zone):%H:%M}" for at in hours}
    every = timedelta(days=-(-((end - day).days + 1) // most))
    names = {}
    while day <= end:
        names[str(midnight(day, zone) // 1000)] = theme.short_day(day)
        day += every
    return names


def _labels(nano: int) -> str:
    """As of other axes, but no cap of $12.50 reads as $12."""
    whole = nano % NANO == 0 or nano < NANO
    return theme.money_labels(str(dollars(nano))) if whole else "format(datum.value, '$,.2f')"


def _steps_to(nano: int) -> list[float]:
    """Zero and up to five even steps, the last of them the amount itself; none so near that labels would meet."""
    amount = Decimal(nano).scaleb(-9)
    if amount <= 0:
        return [0.0]
    power = Decimal(1).scaleb(amount.adjusted())
    sizes = (power * Decimal(part) for part in ("0.2", "0.25", "0.5", "1", "2", "2.5", "5"))
    size = next(size for size in sizes if amount / size <= _MOST_STEPS)
    steps = [size * index for index in range(int(amount / size) + 1)]
    return [*(float(step) for step in steps if amount - step >= size / 2), float(amount)]


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else float(part > 0)
