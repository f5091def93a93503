"""Charts of rolling windows: how full one is, and what it held over time, against its cap."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from decimal import Decimal
from functools import cache, partial
from typing import Any
from zoneinfo import ZoneInfo

import altair as alt

from lib import formatting
from lib.caps.forecast.forecasts import HeldForecast
from lib.caps.reading import Point
from lib.clock import from_micros
from lib.pricing.amounts import NANO, usd
from lib.ui.base.tables import dollars
from lib.ui.charts import theme
from lib.ui.charts.theme import PLATFORM, Chart, Columns, Facts, Spec
from lib.usage.periods import day_of, midnight

_MOST_STEPS = 5
_WIDE, _HALF = 7, 4


def window_bar(name: str, *, used_nano: int, reserved_nano: int, cap_nano: int) -> Chart:
    """One bar: used, reserved by running calls, free; all of it is the cap."""
    used, reserved, cap = dollars(used_nano), dollars(reserved_nano), dollars(cap_nano)
    columns = {
        "Used": [used],
        "Reserved": [reserved],
        "Free": [max(0.0, cap - used - reserved)],
        "Cap": [cap],
    }
    facts: Facts = {"End": max(cap, used + reserved) or 1.0, **theme.listed("Steps", _steps_to(cap_nano))}
    described = (
        f"{name}: {formatting.money(used_nano)} used and {formatting.money(reserved_nano)} reserved "
        f"of {formatting.money(cap_nano)}."
    )
    return Chart(columns, _window_bar(), described, 46, facts=facts)


@cache
def _window_bar() -> Spec:
    axis = theme.labelled("Steps", grid=False)
    x = alt.X("from:Q", scale=theme.up_to(theme.fact("End")), axis=axis)
    return theme.drawing(
        _part(x, "0", "datum.End", "Track"),
        _part(x, "datum.Used", "datum.Used + datum.Reserved", PLATFORM, opacity=0.55),
        _part(x, "0", "datum.Used", PLATFORM),
    )


def _part(x: alt.X, since: str, until: str, slot: str, *, opacity: float = 1.0) -> alt.Chart:
    ends = theme.in_slot(slot, **{"from": since, "to": until})
    bar: alt.Chart = ends.mark_bar(height=alt.RelativeBandSize(1), opacity=opacity, tooltip=False)
    return bar.encode(x=x, x2="to", color=theme.color())


_HELD = "In the 7-day window"


def consumption(
    points: Sequence[Point], *, cap_nano: int, zone: ZoneInfo, ahead: Sequence[HeldForecast] = ()
) -> Chart:
    """What the 7-day window held over time, against its cap; the last point is now.

    ``ahead``: what it will hold, from now on, drawn as a band.
    """
    highest, now = max(point.nano for point in points), points[-1]
    top = max(highest, cap_nano, *(each.high_nano for each in ahead), 0)
    instants = [*points, *(Point(each.at, each.middle_nano) for each in ahead)]
    held = formatting.moneys(*(point.nano for point in points))
    words = [*held, *(_expected(each) for each in ahead)]
    gap, before = [None] * len(ahead), [None] * len(points)
    columns: Columns = {
        **_columns(instants, zone),
        "USD": [*(dollars(point.nano) for point in points), *gap],
        "Shown": [dollars(point.nano) for point in instants],
        **{
            name: [*before, *(dollars(nano) for nano in values)]
            for name, values in {
                "Low": [each.low_nano for each in ahead],
                "Middle": [each.middle_nano for each in ahead],
                "High": [each.high_nano for each in ahead],
            }.items()
        },
        **theme.tooltip_columns({_HELD: words}),
    }
    facts: Facts = {
        **theme.listed("Midnights", _midnights(instants, zone, _WIDE)),
        **theme.listed("Steps", _steps_to(top)),
        "Top": dollars(top) * 1.12 or 1.0,
        "Cap": dollars(cap_nano),
        "Cap_words": f"7-day cap {formatting.money(cap_nano)}",
        "Now": f"Now {held[-1]}",
        "Now_at": float(now.at // 1000),
    }
    described = (
        "Platform-funded spend in the rolling 7-day window, in USD, against the cap of "
        f"{formatting.money(cap_nano)}: now {formatting.money(now.nano)}, at most {formatting.money(highest)}."
    )
    if ahead:
        described += f" In 48 hours {_expected(ahead[-1])}."
    return Chart(columns, _consumption(), described, 290, facts=facts)


def _expected(each: HeldForecast) -> str:
    low, middle, high = formatting.moneys(each.low_nano, each.middle_nano, each.high_nano)
    return f"about {middle} ({low} to {high})"


@cache
def _consumption() -> Spec:
    # A smaller tick count, also the theme's, would thin the values out and take the cap's own label away.
    y = _up_to_top(theme.labelled("Steps", labelOverlap=False, tickCount=2 * _MOST_STEPS))
    x = _instants()
    last = f"datum.At === {theme.fact('Now_at')} && isValid(datum.USD)"
    spent = _ledger(x, y("USD:Q")).transform_filter("isValid(datum.USD)")
    coming = theme.in_slot(PLATFORM).transform_filter("isValid(datum.Low)")
    now = alt.Chart().transform_filter(last).transform_calculate(Words=theme.fact("Now"))
    return theme.drawing(
        coming.mark_area(opacity=0.2, tooltip=False).encode(
            x=x, y=y("Low:Q"), y2="High", color=theme.color()
        ),
        coming.mark_line(strokeWidth=1.5, strokeDash=[4, 3], tooltip=False).encode(
            x=x, y=y("Middle:Q"), color=theme.color()
        ),
        spent.mark_area(opacity=0.14, **_STEPS),
        spent.mark_line(strokeWidth=1.8, **_STEPS),
        *_cap_line(y("Cap:Q")),
        spent.transform_filter(last).mark_point(filled=True, size=55, opacity=1, tooltip=False),
        theme.annotation(now, "Limit", align="right", dx=4, dy=-12, weight=600).encode(
            x=x, y=y("USD:Q"), text="Words:N"
        ),
        theme.nearest_point_tooltip(x, y("Shown:Q"), theme.tooltip([_HELD], {"At": "Time"})),
    )


def cap_use(
    five_hours: Sequence[Point], seven_days: Sequence[Point], *, caps: Mapping[str, int], zone: ZoneInfo
) -> Chart:
    """Both windows over time in percent of their caps, at the same instants: area 5 hours, line 7 days."""
    five = [_ratio(point.nano, caps["5h"]) for point in five_hours]
    seven = [_ratio(point.nano, caps["7d"]) for point in seven_days]
    # Rounded down, as everywhere: 100% only when nothing fits any more.
    said = {
        "5-hour cap": [formatting.percent_down(point.nano, caps["5h"]) for point in five_hours],
        "7-day cap": [formatting.percent_down(point.nano, caps["7d"]) for point in seven_days],
    }
    shown: Columns = {"5 hours": five, "7 days": seven}
    columns: Columns = {**_columns(five_hours, zone), **shown, **theme.tooltip_columns(said)}
    facts: Facts = {
        **theme.listed("Midnights", _midnights(five_hours, zone, _HALF)),
        "Top": max(1.15, *five, *seven),
        "Cap": 1.0,
        "Cap_words": f"Cap: {formatting.money(caps['5h'])} in 5 hours, {formatting.money(caps['7d'])} in 7 days",
    }
    table: Columns = {"Time": columns["Time"], **said}
    described = (
        "Cap use over time in percent, area: 5-hour window, line: 7-day window. "
        f"Now {five[-1]:.0%} and {seven[-1]:.0%}."
    )
    return Chart(columns, _cap_use(), described, 250, table, facts=facts)


@cache
def _cap_use() -> Spec:
    x, y = _instants(), _up_to_top(alt.Axis(format=".0%", values=[0, 0.25, 0.5, 0.75, 1]))
    return theme.drawing(
        _ledger(x, y("5 hours:Q")).mark_area(opacity=0.3, **_STEPS),
        _ledger(x, y("7 days:Q")).mark_line(strokeWidth=1.8, **_STEPS),
        *_cap_line(y("Cap:Q")),
        theme.nearest_point_tooltip(
            x, y("7 days:Q"), theme.tooltip(["5-hour cap", "7-day cap"], {"At": "Time"})
        ),
    )


# --- parts -----------------------------------------------------------------------------------------


def _columns(points: Sequence[Point], zone: ZoneInfo) -> Columns:
    return {
        "At": [point.at // 1000 for point in points],
        "Time": [formatting.weekday_time(point.at, zone) for point in points],
    }


def _instants() -> alt.X:
    """Instants on a straight scale, labelled at midnights of the zone: no change of the clocks bends it."""
    ends = alt.Scale(domain=alt.ExprRef(theme.extent("At")), nice=False, zero=False)
    return alt.X("At:Q", scale=ends, axis=theme.labelled("Midnights", grid=False))


def _up_to_top(axis: alt.Axis) -> Callable[[str], alt.Y]:
    """An upright axis up to the fact ``Top``, for any column."""
    return partial(alt.Y, scale=theme.up_to(theme.fact("Top")), axis=axis)


_STEPS: dict[str, Any] = {"interpolate": "step-after", "tooltip": False}


def _ledger(x: alt.X, y: alt.Y) -> alt.Chart:
    return theme.in_slot(PLATFORM).encode(x=x, y=y, color=theme.color())


def _cap_line(y: alt.Y) -> tuple[alt.Chart, alt.Chart]:
    """A line at the fact ``Cap``, with the fact ``Cap_words`` on it."""
    once = alt.Chart().transform_filter("isValid(datum.Cap)").encode(y=y)
    line = once.mark_rule(
        strokeDash=[5, 3], strokeWidth=1.5, stroke=theme.slot_color("Limit"), aria=False, tooltip=False
    )
    words = once.encode(x=alt.value(0), text="Cap_words:N")
    return line, theme.annotation(words, "Limit", align="left", dx=3, dy=-8)


def _midnights(points: Sequence[Point], zone: ZoneInfo, most: int) -> dict[float, str]:
    """Up to ``most`` midnights between two instants, in milliseconds; within one day some hours instead."""
    first, last = points[0].at, points[-1].at
    day, end = day_of(first, zone) + timedelta(days=1), day_of(last, zone)
    if day > end:
        hours = range(first, last + 1, max(1, (last - first) // 4))
        return {at // 1000: f"{from_micros(at).astimezone(zone):%H:%M}" for at in hours}
    every = -(-((end - day).days + 1) // most)
    days = [day + timedelta(days=after) for after in range(0, (end - day).days + 1, every)]
    return {midnight(day, zone) // 1000: formatting.short_day(day) for day in days}


def _steps_to(nano: int) -> dict[float, str]:
    """Zero and up to five even steps, the last of them the amount itself; none so near that labels would meet."""
    amount = usd(nano)
    if amount <= 0:
        return {0.0: "$0"}
    power = Decimal(1).scaleb(amount.adjusted())
    sizes = (power * Decimal(part) for part in ("0.2", "0.25", "0.5", "1", "2", "2.5", "5"))
    size = next(size for size in sizes if amount / size <= _MOST_STEPS)
    even = [size * index for index in range(int(amount / size) + 1)]
    steps = [*(step for step in even if amount - step >= size / 2), amount]
    places = _places(even, nano)
    return {float(step): f"${step:,.{places}f}" for step in steps}


def _places(steps: Sequence[Decimal], top: int) -> int:
    """Decimals of a cap's axis; no cap of $12.50 reads as $12."""
    if top >= NANO // 20:
        return 0 if top >= 5 * NANO and top % NANO == 0 else 2
    return min(6, max(-int(step.normalize().as_tuple().exponent) for step in steps))


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else float(part > 0)
