"""Charts over time: spend, tokens and failures. Sums in, a drawing out. Money becomes a float here only to be drawn."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache, lru_cache, partial
from typing import TypeVar

import altair as alt

from lib import formatting
from lib.reports.models import Totals
from lib.ui.base.comparing import money_adding_up
from lib.ui.base.tables import cell, dollars, known
from lib.ui.charts import theme
from lib.ui.charts.buckets import Bucket, TimeSeries
from lib.ui.charts.theme import BYOK, PLATFORM, SOURCES, Chart, Columns, Spec

T = TypeVar("T")
_WIDE, _HALF = 7, 4
_MILLION = 1_000_000


def spend(series: TimeSeries) -> Chart:
    """Stacked bars, platform below and BYOK above; the bar that is not over is marked. Bars can be clicked."""
    rows, heading = series.rows, _heading(series)
    shares = [formatting.share(row.platform_nano, row.total_nano) or "no spend" for row in rows]
    words = by_source(rows, partial(amount_in_words, decimals_of(rows)))
    columns: Columns = {
        **_bands(series, _WIDE),
        **by_source(rows, amount),
        "So far": ["so far" if row.key == series.current else "" for row in rows],
        **theme.tooltip_columns(words | {_SHARE: shares}),
    }
    described = f"Spend per {series.unit} in USD, platform-funded below and BYOK above."
    table: Columns = {heading: columns["When"], **by_source(rows, cell)}
    platform, byok = sum(row.platform_nano for row in rows), sum(row.byok_nano for row in rows)
    platform_words, byok_words = formatting.moneys(platform, byok)
    spent = f"{platform_words} platform-funded and {byok_words} BYOK"
    figures = f"{_stretch(series)}: {spent}. {_highest(rows)}"
    drawn = _spend(heading, clickable=series.unit != "hour")
    return Chart(columns, drawn, described, 230, table, figures)


_SHARE = f"{PLATFORM} share"


@cache
def _spend(heading: str, *, clickable: bool) -> Spec:
    axis = alt.Axis(labelExpr=theme.money_labels("domain('y')[1]"), tickCount=4)
    bars = theme.stacked_bars(axis, SOURCES)
    words = theme.tooltip([*SOURCES, "Total", _SHARE], {heading: "When"})
    hover = theme.hover_band(words, cursor="pointer" if clickable else "auto")
    if clickable:
        hover = hover.add_params(alt.selection_point(name=theme.PICKED, fields=["At"]))
    return theme.drawing(bars, _so_far(), hover)


_NARROW = "bandwidth('x') < 26"  # pixels, of the words


def _so_far() -> alt.Chart:
    """The words on the bar that is not over; above all bars where bars are narrower than the words."""
    bar = alt.Chart().transform_filter("datum['So far']")
    align, dx = alt.ExprRef(f"{_NARROW} ? 'right' : 'center'"), alt.ExprRef(f"{_NARROW} ? 8 : 0")
    height = alt.value(alt.ExprRef(f"{_NARROW} ? 1 : scale('y', datum.Total)"))
    words = theme.annotation(bar, "Axis", align=align, dx=dx, dy=-8)
    return words.encode(x=theme.band(), y=height, text="So far:N")


# --- keys ------------------------------------------------------------------------------------------

_KEY_SLOTS = ("S1", "S2", "S3", "S4")


def keys(series: TimeSeries, spent: Mapping[str, tuple[str, Sequence[int]]]) -> Chart:
    """Stacked bars of what each key paid, the costliest below; those beyond the sixth together.

    Args:
        series: the bars.
        spent: name of the key -> its source, and nano-USD for each bar.
    """
    ranked = sorted(spent.items(), key=lambda item: -sum(item[1][1]))
    parts, slots, free = dict[str, Sequence[int]](), dict[str, str](), list(_KEY_SLOTS)
    rest: list[Sequence[int]] = []
    for name, (source, nano) in ranked:
        own = PLATFORM if source == "platform" else BYOK
        slot = own if own not in slots.values() else free.pop(0) if free else ""
        if slot:
            parts[name], slots[name] = nano, slot
        else:
            rest.append(nano)
    if rest:
        others = f"{len(rest)} other keys"
        parts[others], slots[others] = [sum(each) for each in zip(*rest, strict=True)], "Track"
    sums = [sum(each) for each in zip(*parts.values(), strict=True)]
    places = formatting.decimals([*sums, *(nano for each in parts.values() for nano in each)])
    said = {
        name: [formatting.money(each, places) for each in nano]
        for name, nano in (parts | {"Total": sums}).items()
    }
    columns: Columns = {
        **_bands(series, _HALF),
        **{name: [dollars(each) for each in nano] for name, nano in parts.items()},
        "Total": [dollars(each) for each in sums],
        **theme.tooltip_columns(said),
    }
    table: Columns = {
        _heading(series): columns["When"],
        **{name: columns[name] for name in (*parts, "Total")},
    }
    described = f"Spend per {series.unit} in USD by the key that paid, the costliest below."
    amounts = ", ".join(f"{name} {formatting.money(sum(nano))}" for name, nano in parts.items())
    drawn = _keys(_heading(series), tuple(slots.items()))
    return Chart(columns, drawn, described, 230, table, f"{_stretch(series)}: {amounts}.")


@lru_cache(maxsize=32)  # the names of the keys are in its legend
def _keys(heading: str, slots: tuple[tuple[str, str], ...]) -> Spec:
    axis = alt.Axis(labelExpr=theme.money_labels("domain('y')[1]"), tickCount=4)
    words = theme.tooltip([*dict(slots), "Total"], {heading: "When"})
    return theme.drawing(theme.stacked_bars(axis, dict(slots)), theme.hover_band(words))


# --- tokens ----------------------------------------------------------------------------------------

_TOKENS = {"Input, cached": "S1", "Input, new": "S2", "Output": "S3", "Reasoning": "S4"}


def tokens_unit(series: TimeSeries) -> str:
    """What the axis counts in: ``millions`` or ``thousands``."""
    top = max((row.input_tokens + row.output_tokens for row in series.rows), default=0)
    return "millions" if top >= _MILLION else "thousands"


def tokens(series: TimeSeries) -> Chart:
    """Stacked bars: input from the cache, new input, output without reasoning, reasoning."""
    rows, unit = series.rows, tokens_unit(series)
    parts = {
        "Input, cached": [row.cached_input_tokens for row in rows],
        "Input, new": [row.input_tokens - row.cached_input_tokens for row in rows],
        "Output": [row.output_tokens - row.reasoning_tokens for row in rows],
        "Reasoning": [row.reasoning_tokens for row in rows],
    }
    sums = [row.input_tokens + row.output_tokens for row in rows]
    described = f"Tokens per {series.unit} in {unit}: cached input, new input, output, reasoning."
    bands = _bands(series, _HALF)
    columns: Columns = {**bands, **parts, "Total": sums, **theme.tooltip_columns(_counts(parts))}
    table: Columns = {_heading(series): columns["When"], **parts}
    figures = f"{_stretch(series)}: {formatting.count(sum(sums), 'token')} in all."
    return Chart(columns, _tokens(_heading(series), unit), described, 230, table, figures)


@cache
def _tokens(heading: str, unit: str) -> Spec:
    size = {"millions": _MILLION, "thousands": 1_000}[unit]
    axis = alt.Axis(labelExpr=theme.equal_decimals("domain('y')[1]", size), tickCount=4)
    hover = theme.hover_band(theme.tooltip(_TOKENS, {heading: "When"}))
    return theme.drawing(theme.stacked_bars(axis, _TOKENS), hover)


# --- failures --------------------------------------------------------------------------------------

FAILURES = {"error": "Bad", "broken": "Near", "abandoned": "S1", "unknown": "S3"}


def failures(series: TimeSeries, words: Mapping[str, str]) -> Chart:
    """Stacked bars of the calls that were not answered in full; ``words``: status -> its name."""
    rows = series.rows
    found: dict[str, list[int]] = {each: [getattr(row, f"{each}_calls") for row in rows] for each in FAILURES}
    # What did not happen at all needs no colour in the legend.
    parts = {words[status]: calls for status, calls in found.items() if any(calls)}
    slots = tuple((words[status], slot) for status, slot in FAILURES.items() if any(found[status]))
    answered = {words["ok"]: [row.ok_calls for row in rows], "Calls": [row.calls for row in rows]}
    said, failed = parts | answered, [row.failed_calls for row in rows]
    bands = _bands(series, _HALF)
    columns: Columns = {**bands, **parts, "Total": failed, **theme.tooltip_columns(_counts(said))}
    table: Columns = {_heading(series): columns["When"], **answered, **parts}
    described = f"Calls per {series.unit} that were not answered in full, by status."
    named = ", ".join(f"{formatting.count(sum(counts))} {name.lower()}" for name, counts in parts.items())
    calls = formatting.count(sum(answered["Calls"]), "call")
    figures = f"{_stretch(series)}: {formatting.count(sum(failed))} of {calls}: {named}."
    return Chart(columns, _failures(_heading(series), slots, tuple(said)), described, 230, table, figures)


@cache
def _failures(heading: str, slots: tuple[tuple[str, str], ...], said: tuple[str, ...]) -> Spec:
    axis = alt.Axis(tickMinStep=1, tickCount=4, format=",d")
    hover = theme.hover_band(theme.tooltip(said, {heading: "When"}))
    return theme.drawing(theme.stacked_bars(axis, dict(slots)), hover)


# --- parts -----------------------------------------------------------------------------------------


_LEDGERS = {PLATFORM: "platform", BYOK: "byok", "Total": ""}


def by_source(rows: Sequence[Totals], read: Callable[[Totals, str], T]) -> dict[str, list[T]]:
    """A column for each ledger and one for both together; ``read`` gets a row and the source."""
    return {name: [read(row, source) for row in rows] for name, source in _LEDGERS.items()}


def amount(sums: Totals, source: str) -> float:
    """USD to be drawn, in a table ``cell`` is to be read: an amount that nobody knows has no length."""
    return cell(sums, source) or 0.0


def decimals_of(rows: Sequence[Totals]) -> formatting.Decimals:
    """The decimals of all amounts of one chart: what the smallest of its two ledgers needs."""
    return formatting.decimals(known(row, source) for row in rows for source in ("platform", "byok"))


def amount_in_words(places: formatting.Decimals, sums: Totals, source: str) -> str:
    """What a tooltip says; both ledgers add up to the total that stands beside them."""
    if not source:
        return formatting.money(known(sums), places)
    words = money_adding_up(known(sums, "platform"), known(sums, "byok"), places=places)
    return words[source == "byok"]


def _counts(numbers: Mapping[str, Sequence[int]]) -> dict[str, list[str]]:
    return {name: [formatting.count(number) for number in column] for name, column in numbers.items()}


def _bands(series: TimeSeries, most: int) -> Columns:
    """The bars along the axis, about ``most`` of them with a label, and the words of all."""
    labels = series.labelled(most)
    keys = [theme.BETWEEN.join(filter(None, (row.key, labels.get(row.key)))) for row in series.rows]
    return theme.in_order({"At": keys, "When": [row.words for row in series.rows]})


def _heading(series: TimeSeries) -> str:
    return f"{series.unit.capitalize()} ({series.zone})"


def _stretch(series: TimeSeries) -> str:
    if not series.rows:
        return f"No {series.unit}s"
    first, last = series.rows[0], series.rows[-1]
    number = formatting.count(len(series.rows), series.unit)
    return f"{number}, {first.words} to {last.words}"


def _highest(rows: Sequence[Bucket]) -> str:
    if not rows:
        return ""
    top = max(rows, key=lambda row: row.total_nano)
    return f"Highest: {formatting.money(top.total_nano)}, {top.words}."
