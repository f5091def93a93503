"""Bars that lie: spend by model and by project, the largest first, each with its sum in words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache, partial

import altair as alt

from lib import formatting
from lib.reports.models import Totals
from lib.ui.base.tables import cell, known
from lib.ui.charts import theme
from lib.ui.charts.over_time import amount, amount_in_words, by_source, decimals_of
from lib.ui.charts.theme import SOURCES, Chart, Columns, Spec

_MOST = 12
_IN_WORDS = 3
_SUM = 80  # pixels
_LIMIT = "min(180, 0.4 * containerSize()[0] + 0 * width)"  # pixels of a name; pointed at, it is shown whole
_NAMES = f"min({_LIMIT}, 6 * {theme.extent('Letters')}[1])"


_NONE = (0, Totals())


def ranking(rows: Sequence[tuple[str, Totals]], noun: str, *, rest: tuple[int, Totals] = _NONE) -> Chart:
    """Bars with their sums, in the order given; those beyond the twelfth are summed up in words alone.

    Args:
        rows: what is compared, with its sums.
        noun: what it is: model, project.
        rest: how many more there are behind them, and their sums.
    """
    few = len(rows) + rest[0] <= _MOST
    kept, beyond = (rows, []) if few else (rows[: _MOST - 1], rows[_MOST - 1 :])
    others = len(beyond) + rest[0]
    names, sums = [name for name, _ in kept], [each for _, each in kept]
    places = decimals_of(sums)
    bars, words = sums, [_sum(each, places) for each in sums]
    if others:
        together = _added([*(each for _, each in beyond), rest[1]])
        names, sums = [*names, f"{formatting.count(others)} other {noun}s"], [*sums, together]
        # No bar for them: beside one of hundreds together, each of the others would be too short to be seen.
        bars, words = [*bars, Totals()], [*words, _sum(sums[-1], places, " together")]
    heading, letters = noun.capitalize(), [len(name) for name in names]
    said = theme.tooltip_columns(by_source(sums, partial(amount_in_words, places)))
    columns = theme.in_order(
        {heading: names, **by_source(bars, amount), "Sum": words, "Letters": letters, **said}
    )
    first = ", ".join(f"{name} {sum_}" for name, sum_ in list(zip(names, words, strict=True))[:_IN_WORDS])
    more = " and more" if len(names) > _IN_WORDS else ""
    described = f"Spend by {noun} in USD, the most expensive first."
    everything = [each for _, each in rows]
    table: Columns = {
        heading: [name for name, _ in rows],
        **by_source(everything, cell),
        "Calls": [each.calls for each in everything],
        "Cost unknown": [each.unpriced_calls for each in everything],
    }
    height = 64 + 32 * max(len(names), 2)
    return Chart(columns, _bars(heading), described, height, table, f"{first}{more}.")


def _added(found: Iterable[Totals]) -> Totals:
    together = Totals()
    for each in found:
        together.add(each)
    return together


def _sum(sums: Totals, places: formatting.Decimals, more: str = "") -> str:
    words = f"{formatting.money(known(sums), places)}{more}"
    if not sums.unpriced_calls or known(sums) is None:
        return words
    return f"{words}, {formatting.count(sums.unpriced_calls, 'call')} unknown"


@cache
def _bars(heading: str) -> Spec:
    y = alt.Y(
        f"{heading}:N",
        sort=theme.IN_ORDER,
        axis=alt.Axis(labelLimit=alt.ExprRef(_LIMIT)),
        scale=alt.Scale(paddingInner=0.55, paddingOuter=0.3),
    )
    # Room for the sum behind the longest bar; and where nothing was spent, the bars still begin on the left.
    space = theme.up_to(f"{theme.extent('Total')}[1]")
    space.range = [0, alt.ExprRef(f"width - {_SUM}")]
    amount = alt.X("amount:Q", axis=None, scale=space, stack="zero")
    bars = theme.folded(SOURCES).mark_bar(tooltip=False)
    # Beside the bar there is room for the amount alone, without how many calls are unknown.
    sums = alt.Chart().transform_calculate(label="split(datum.Sum, ', ')[0]")
    label = theme.annotation(sums, "Limit", align="left", dx=6, dy=0)
    words = theme.tooltip([*SOURCES], {heading: heading, "Total": "Sum"})
    hover = alt.Chart().mark_bar(opacity=0, height=theme.WHOLE_BAND)
    return theme.drawing(
        bars.encode(y=y, x=amount, color=theme.color(theme.legend(SOURCES, aside=_NAMES)), order="order:Q"),
        label.encode(y=y, x=alt.X("Total:Q", axis=None, scale=space), text="label:N"),
        hover.encode(y=y, x=alt.value(0), x2=alt.value("width"), tooltip=words),
    )
