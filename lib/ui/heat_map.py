"""The hours of a week: an average hour's spend, by weekday and hour, in grey, as it mixes the two sources."""

from __future__ import annotations

from collections.abc import Sequence

from lib.ui import vega, wording
from lib.ui.vega import BYOK, PLATFORM, Chart, Columns, Spec, usd
from lib.usage.weekly import HourOfWeek

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_EVERY = 3


def heat_map(cells: Sequence[HourOfWeek]) -> Chart:
    """A cell for each hour of the week; the darker (in the dark: the lighter), the more was spent."""
    clocks = sorted({cell.clock for cell in cells})
    columns: Columns = {
        "Day": [DAYS[cell.weekday] for cell in cells],
        "Hour": [cell.clock for cell in cells],
        "Average": [usd(cell.average_nano) for cell in cells],
        PLATFORM: [usd(cell.platform_nano // max(cell.hours, 1)) for cell in cells],
        BYOK: [usd(cell.byok_nano // max(cell.hours, 1)) for cell in cells],
        "When": [f"{DAYS[cell.weekday]}, {cell.clock}" for cell in cells],
        "Of": [wording.count(cell.hours, "hour") for cell in cells],
    }
    top = max(cells, key=lambda cell: cell.average_nano)
    alt = (
        "Spend of an average hour in USD, by weekday and hour. "
        f"Highest: {wording.money(top.average_nano)}, {DAYS[top.weekday]} {top.clock}."
    )
    return Chart(
        columns, vega.layered(*_layers(clocks, usd(top.average_nano))), alt, 250, _table(cells, clocks)
    )


def _layers(clocks: Sequence[str], top: float) -> list[Spec]:
    # Each label in the middle of its row or column, also the first and the last.
    axis = vega.labels() | vega.UPRIGHT | {"ticks": False, "grid": False, "labelAngle": 0}
    x: Spec = {
        "field": "Hour",
        "type": "ordinal",
        "sort": None,
        "axis": axis | {"values": list(clocks)[::_EVERY], "labelOverlap": True, "labelBaseline": "top"},
        "scale": {"domain": list(clocks), "paddingInner": 0.08, "paddingOuter": 0},
    }
    y: Spec = {
        "field": "Day",
        "type": "ordinal",
        "axis": axis,
        "scale": {"domain": list(DAYS), "paddingInner": 0.1, "paddingOuter": 0},
    }
    legend = {
        "title": None,
        "orient": "top",
        "gradientLength": 140,
        "gradientThickness": 8,
        "tickCount": 3,
        "format": vega.money_format(top),
        "labelColor": vega.ink("Axis"),
        "labelFontSize": 11,
        "offset": 8,
    }
    shade = {
        "field": "Average",
        "type": "quantitative",
        "scale": {"domain": [0, top or 1.0]},
        "legend": legend,
    }
    cells: Spec = {
        "mark": {"type": "rect", "cornerRadius": 2, "tooltip": False},
        "encoding": {"x": x, "y": y, "fill": shade},
    }
    said = {name: vega.money_words(f"datum['{name}']") for name in (PLATFORM, BYOK, "Average")}
    hover: Spec = {
        "transform": [*vega.calculated(said), *vega.in_slot("Axis")],
        "mark": {"type": "rect", "opacity": 0},
        "encoding": {
            "x": x,
            "y": y,
            # What makes the axis' grey known to this chart.
            "color": vega.color(),
            "tooltip": vega.tooltip(said, {"Hour that begins": "When", "Average of": "Of"}),
        },
    }
    return [cells, hover]


def _table(cells: Sequence[HourOfWeek], clocks: Sequence[str]) -> Columns:
    amounts = {(cell.weekday, cell.clock): usd(cell.average_nano) for cell in cells}
    days = {name: [amounts.get((day, clock)) for clock in clocks] for day, name in enumerate(DAYS)}
    return {"Hour": list(clocks), **days}
