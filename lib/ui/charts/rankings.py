"""Bars that lie: spend by model and by project, the largest first, each with its sum in words."""

from __future__ import annotations

from collections.abc import Sequence

from lib.reports.models import Totals
from lib.ui.base import wording
from lib.ui.base.tables import known
from lib.ui.charts import theme
from lib.ui.charts.over_time import amounts, money_table, said_of
from lib.ui.charts.theme import SOURCES, Chart, Columns, Spec

_MOST = 12
_IN_WORDS = 3
_NAME_LENGTH = 28
_SUM = 80  # pixels


def ranking(rows: Sequence[tuple[str, Totals]], noun: str) -> Chart:
    """Bars with their sums, in the order given; those beyond the twelfth are summed up in one.

    Args:
        rows: what is compared, with its sums.
        noun: what it is: model, project.
    """
    shown = _folded(rows, noun)
    names, sums = [name for name, _ in shown], [each for _, each in shown]
    words = [_sum(each) for each in sums]
    heading = noun.capitalize()
    said = theme.in_words(said_of(sums))
    columns = theme.in_order({heading: names, **amounts(sums), "Sum": words, **said})
    first = ", ".join(f"{name} {sum_}" for name, sum_ in list(zip(names, words, strict=True))[:_IN_WORDS])
    more = " and more" if len(names) > _IN_WORDS else ""
    alt = f"Spend by {noun} in USD, the most expensive first."
    everything = [each for _, each in rows]
    table: Columns = {
        heading: [name for name, _ in rows],
        **money_table(everything),
        "Calls": [each.calls for each in everything],
        "Cost unknown": [each.unpriced_calls for each in everything],
    }
    height = 64 + 32 * max(len(names), 2)
    return Chart(columns, theme.layered(*_layers(heading)), alt, height, table, f"{first}{more}.")


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


def _layers(heading: str) -> list[Spec]:
    band = theme.labels() | {"labelLimit": 180, "ticks": False, "domain": False}
    scale = {"paddingInner": 0.55, "paddingOuter": 0.3}
    y: Spec = {"field": heading, "type": "nominal", "sort": theme.IN_ORDER, "axis": band, "scale": scale}
    # Room for the sum behind the longest bar; and where nothing was spent, the bars still begin on the left.
    space = {
        "range": [0, {"expr": f"width - {_SUM}"}],
        "domain": {"unionWith": [0, theme.LEAST]},
        "nice": False,
    }
    x: Spec = {"type": "quantitative", "axis": None, "scale": space}
    bars = theme.stacked_bars(y, {}, SOURCES, theme.legend(SOURCES))
    bars["mark"] = {"type": "bar", "tooltip": False}
    bars["encoding"] |= {"y": y, "x": x | {"field": "amount", "stack": "zero"}}
    sums = {
        # Beside the bar there is room for the amount alone, without how many calls are unknown.
        "transform": [{"calculate": "split(datum.Sum, ', ')[0]", "as": "label"}],
        "mark": theme.small_text("Limit", align="left", dx=6, dy=0),
        "encoding": {"y": y, "x": x | {"field": "Total"}, "text": {"field": "label", "type": "nominal"}},
    }
    hover = theme.hover_band(y, theme.tooltip(SOURCES, {heading: heading, "Total": "Sum"}), along="y")
    return [bars, sums, hover]
