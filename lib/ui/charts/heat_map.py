"""The hours of a week: an average hour's spend, by weekday and hour, in grey, as it mixes the two sources."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import altair as alt

from lib import formatting
from lib.reports.weekly import HourOfWeek
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
        "Of": [formatting.count(cell.hours, "hour") for cell in cells],
        **theme.tooltip_columns(_said(cells)),
    }
    top = max(cells, key=lambda cell: cell.average_nano)
    described = "Spend of an average hour in USD, by weekday and hour."
    figures = f"Highest: {formatting.money(top.average_nano)}, {DAYS[top.weekday]} {top.clock}."
    return Chart(columns, _cells(), described, 250, _table(cells, clocks), figures)


def _said(cells: Sequence[HourOfWeek]) -> dict[str, list[str]]:
    amounts = {
        PLATFORM: [cell.platform_nano // max(cell.hours, 1) for cell in cells],
        BYOK: [cell.byok_nano // max(cell.hours, 1) for cell in cells],
        "Average": [cell.average_nano for cell in cells],
    }
    places = formatting.decimals(nano for column in amounts.values() for nano in column)
    return {name: [formatting.money(nano, places) for nano in column] for name, column in amounts.items()}


@cache
def _cells() -> Spec:
    top = "domain('fill')[1]"
    grey = alt.ExprRef(f"scale('fill', {_READABLE} * {top})")
    every = f"round(datum.index * (length(domain('x')) - 1)) % {_EVERY} ? '' : datum.label"
    # Each label in the middle of its column, also the first and the last.
    hours = alt.Axis(labelExpr=every, labelFlush=False, labelAngle=0, labelColor=grey)
    weekdays = alt.Axis(labelColor=grey)
    legend = alt.Legend(
        gradientLength=140,
        gradientThickness=8,
        tickCount=3,
        labelExpr=theme.money_labels(top),
        labelFontSize=11,
    )
    legend.labelColor = grey
    shades = theme.up_to(f"{theme.extent('Average')}[1]")
    cells: alt.Chart = alt.Chart().mark_rect(cornerRadius=2)
    return theme.drawing(
        cells.encode(
            x=alt.X("Hour:O", axis=hours, scale=alt.Scale(paddingInner=0.08, paddingOuter=0)),
            y=alt.Y("Day:O", axis=weekdays, scale=alt.Scale(domain=DAYS, paddingInner=0.1, paddingOuter=0)),
            fill=alt.Fill("Average:Q", scale=shades, legend=legend),
            tooltip=theme.tooltip(
                (PLATFORM, BYOK, "Average"), {"Hour that begins": "When", "Average of": "Of"}
            ),
        )
    )


def _table(cells: Sequence[HourOfWeek], clocks: Sequence[str]) -> Columns:
    amounts = {(cell.weekday, cell.clock): dollars(cell.average_nano) for cell in cells}
    days = {name: [amounts.get((day, clock)) for clock in clocks] for day, name in enumerate(DAYS)}
    return {"Hour": list(clocks), **days}
