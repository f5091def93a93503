"""Bars that lie: spend by model and by project, the largest first, each with its sum in words."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import altair as alt

from lib.reports.models import Totals
from lib.ui.base import wording
from lib.ui.base.tables import cell, known
from lib.ui.charts import theme
from lib.ui.charts.over_time import amount, amount_in_words, by_source
from lib.ui.charts.theme import SOURCES, Chart, Columns, Spec

_MOST = 12
_IN_WORDS = 3
_NAME_LENGTH = 28
_SUM = 80  # pixels
_LIMIT = 180  # pixels of a name
_NAMES = f"min({_LIMIT}, 6 * {theme.extent('Letters')}[1])"


def ranking(rows: Sequence[tuple[str, Totals]], noun: str) -> Chart:
    """Bars with their sums, in the order given; those beyond the twelfth are summed up in one.

    Args:
        rows: what is compared, with its sums.
        noun: what it is: model, project.
    """
    shown = _folded(rows, noun)
    names, sums = [name for name, _ in shown], [each for _, each in shown]
    words = [_sum(each) for each in sums]
    heading, letters = noun.capitalize(), [len(name) for name in names]
    said = theme.in_words(by_source(sums, amount_in_words))
    columns = theme.in_order(
        {heading: names, **by_source(sums, amount), "Sum": words, "Letters": letters, **said}
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


def _folded(rows: Sequence[tuple[str, Totals]], noun: str) -> list[tuple[str, Totals]]:
    kept = rows if len(rows) <= _MOST else rows[: _MOST - 1]
    named = [(wording.shorten(name, _NAME_LENGTH), sums) for name, sums in kept]
    rest = rows[len(kept) :]
    if rest:
        others = Totals()
        for _, sums in rest:
            others.add(sums)
        named.append((f"{len(rest)} other {noun}s", others))
    return named


def _sum(sums: Totals) -> str:
    words = wording.money(known(sums))
    if not sums.unpriced_calls or known(sums) is None:
        return words
    return f"{words}, {wording.count(sums.unpriced_calls, 'call')} unknown"


@cache
def _bars(heading: str) -> Spec:
    y = alt.Y(
        f"{heading}:N",
        sort=theme.IN_ORDER,
        axis=alt.Axis(labelLimit=_LIMIT),
        scale=alt.Scale(paddingInner=0.55, paddingOuter=0.3),
    )
    # Room for the sum behind the longest bar; and where nothing was spent, the bars still begin on the left.
    space = theme.up_to(f"{theme.extent('Total')}[1]")
    space.range = [0, alt.ExprRef(f"width - {_SUM}")]
    amount = alt.X("amount:Q", axis=None, scale=space, stack="zero")
    bars = theme.folded(SOURCES).mark_bar(tooltip=False)
    # Beside the bar there is room for the amount alone, without how many calls are unknown.
    sums = alt.Chart().transform_calculate(label="split(datum.Sum, ', ')[0]")
    label = theme.note(sums, "Limit", align="left", dx=6, dy=0)
    words = theme.tooltip([*SOURCES], {heading: heading, "Total": "Sum"})
    hover = alt.Chart().mark_bar(opacity=0, height=theme.WHOLE_BAND)
    return theme.drawing(
        bars.encode(y=y, x=amount, color=theme.color(theme.legend(SOURCES, aside=_NAMES)), order="order:Q"),
        label.encode(y=y, x=alt.X("Total:Q", axis=None, scale=space), text="label:N"),
        hover.encode(y=y, x=alt.value(0), x2=alt.value("width"), tooltip=words),
    )
