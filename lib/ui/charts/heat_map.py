"""The hours of a week: an average hour's spend, by weekday and hour, in grey, as it mixes the two sources."""

from __future__ import annotations

from collections.abc import Sequence

from lib.reports.weekly import HourOfWeek
from lib.ui.base import wording
from lib.ui.base.tables import dollars
from lib.ui.charts import theme
from lib.ui.charts.theme import BYOK, PLATFORM, Chart, Columns, Spec

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_EVERY = 3
_READABLE = 0.7  # how far up the scale its grey is strong enough for words (5 to 1), in light and in dark


def heat_map(cells: Sequence[HourOfWeek]) -> Chart:
    """A cell for each hour of the week; the darker (in the dark: the lighter), the more was spent."""
    clocks = sorted({cell.clock for cell in cells})
    columns: Columns = {
        "Day": [DAYS[cell.weekday] for cell in cells],
        "Hour": [cell.clock for cell in cells],
        "Average": [dollars(cell.average_nano) for cell in cells],
        "When": [f"{DAYS[cell.weekday]}, {cell.clock}" for cell in cells],
        "Of": [wording.count(cell.hours, "hour") for cell in cells],
        **theme.in_words(_said(cells)),
    }
    top = max(cells, key=lambda cell: cell.average_nano)
    alt = "Spend of an average hour in USD, by weekday and hour."
    figures = f"Highest: {wording.money(top.average_nano)}, {DAYS[top.weekday]} {top.clock}."
    return Chart(columns, theme.layered(_cells(clocks)), alt, 250, _table(cells, clocks), figures)


def _said(cells: Sequence[HourOfWeek]) -> dict[str, list[str]]:
    return {
        PLATFORM: [wording.money(cell.platform_nano // max(cell.hours, 1)) for cell in cells],
        BYOK: [wording.money(cell.byok_nano // max(cell.hours, 1)) for cell in cells],
        "Average": [wording.money(cell.average_nano) for cell in cells],
    }


def _cells(clocks: Sequence[str]) -> Spec:
    # Each label in the middle of its row or column, also the first and the last.
    axis = theme.labels() | theme.UPRIGHT | {"ticks": False, "grid": False, "labelAngle": 0}
    top = "domain('fill')[1]"
    axis["labelColor"] = grey = {"expr": f"scale('fill', {_READABLE} * {top})"}
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
        "labelExpr": theme.money_labels(top),
        "labelColor": grey,
        "labelFontSize": 11,
        "offset": 8,
    }
    shade = {
        "field": "Average",
        "type": "quantitative",
        "scale": {"domain": {"unionWith": [0, theme.LEAST]}, "nice": False},
        "legend": legend,
    }
    words = theme.tooltip((PLATFORM, BYOK, "Average"), {"Hour that begins": "When", "Average of": "Of"})
    return {
        "mark": {"type": "rect", "cornerRadius": 2},
        "encoding": {"x": x, "y": y, "fill": shade, "tooltip": words},
    }


def _table(cells: Sequence[HourOfWeek], clocks: Sequence[str]) -> Columns:
    amounts = {(cell.weekday, cell.clock): dollars(cell.average_nano) for cell in cells}
    days = {name: [amounts.get((day, clock)) for clock in clocks] for day, name in enumerate(DAYS)}
    return {"Hour": list(clocks), **days}
