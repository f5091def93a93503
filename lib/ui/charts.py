"""Charts of spend and tokens: plain rows in, a drawing out. Money becomes a float here, and nowhere else."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import date
from typing import Any, Protocol

from lib.ui import wording
from lib.ui.vega import (
    BYOK,
    PLATFORM,
    Chart,
    Spec,
    axis_style,
    bars,
    color,
    day_band,
    day_words,
    folded,
    hover,
    ink,
    legend,
    money_axis,
    money_words,
    spec,
    usd,
)

_PLAIN_MODELS = 12


class Spend(Protocol):
    """What is drawn of spend: amounts in nano-USD, by source."""

    @property
    def platform_nano(self) -> int: ...
    @property
    def byok_nano(self) -> int: ...


class DaySpend(Spend, Protocol):
    """The spend of one day."""

    @property
    def day(self) -> date: ...


class ModelSpend(Spend, Protocol):
    """The spend of one model."""

    @property
    def model(self) -> str: ...


class DayTokens(Protocol):
    """The tokens of one day: cached is part of input, reasoning part of output."""

    @property
    def day(self) -> date: ...
    @property
    def input_tokens(self) -> int: ...
    @property
    def cached_input_tokens(self) -> int: ...
    @property
    def output_tokens(self) -> int: ...
    @property
    def reasoning_tokens(self) -> int: ...


# --- spend per day ---------------------------------------------------------------------------------


def spend_per_day(rows: Sequence[DaySpend], *, zone: str, today: date | None = None) -> Chart:
    """Stacked bars, platform below and BYOK above; ``today`` is marked, as it is not over."""
    columns = {
        "Day": [row.day.isoformat() for row in rows],
        PLATFORM: [usd(row.platform_nano) for row in rows],
        BYOK: [usd(row.byok_nano) for row in rows],
        "Total": [usd(row.platform_nano + row.byok_nano) for row in rows],
    }
    days = day_band([row.day for row in rows])
    bars = bars(days, money_axis(max(columns["Total"], default=0.0)), [PLATFORM, BYOK], legend=legend())
    note: Spec = {
        "transform": [{"filter": f"datum.Day === '{today}' && isValid(datum.Total)"}],
        "mark": {"type": "text", "baseline": "bottom", "dy": -3, "fontSize": 11, "fill": ink("Axis")},
        "encoding": {"x": days, "y": {"field": "Total", "type": "quantitative"}, "text": {"value": "so far"}},
    }
    hover = hover(
        days,
        [
            ("Day", f"Day ({zone})"),
            ("platform", PLATFORM),
            ("byok", BYOK),
            ("total", "Total"),
            ("share", "Platform-funded share"),
        ],
        {
            "Day": day_words("datum.Day"),
            "platform": money_words(f"datum['{PLATFORM}']"),
            "byok": money_words("datum.BYOK"),
            "total": money_words("datum.Total"),
            "share": f"datum.Total > 0 ? format(datum['{PLATFORM}'] / datum.Total, '.0%') : ''",
        },
    )
    hover["params"] = [{"name": "picked", "select": {"type": "point", "fields": ["Day"]}}]
    hover["mark"]["cursor"] = "pointer"
    alt = (
        f"Spend per day in USD, platform-funded below and BYOK above. {_days_in_words(rows)}: "
        f"{_spend_in_words(rows)}. {_highest_in_words(rows)}"
    )
    return Chart(columns, spec(bars, note, hover), alt, 230)


def tokens_per_day(rows: Sequence[DayTokens]) -> Chart:
    """Stacked bars: input from the cache, new input, output without reasoning, reasoning; in millions."""
    kinds = {"Input, cached": "S1", "Input, new": "S2", "Output": "S3", "Reasoning": "S4"}
    columns: dict[str, list[object]] = {
        "Day": [row.day.isoformat() for row in rows],
        "Input, cached": [row.cached_input_tokens for row in rows],
        "Input, new": [row.input_tokens - row.cached_input_tokens for row in rows],
        "Output": [row.output_tokens - row.reasoning_tokens for row in rows],
        "Reasoning": [row.reasoning_tokens for row in rows],
    }
    days = day_band([row.day for row in rows], labels=5)
    names = json.dumps({slot: name for name, slot in kinds.items()}, ensure_ascii=False)
    legend = legend(list(kinds.values())) | {"labelExpr": f"({names})[datum.label]"}
    axis: Spec = {"title": None, "labelExpr": "format(datum.value / 1e6, '~g')", "tickCount": 4}
    bars = bars(days, axis, kinds, legend=legend)
    hover = hover(
        days,
        [("Day", "Day"), *((f"f{index}", name) for index, name in enumerate(kinds))],
        {"Day": day_words("datum.Day")}
        | {f"f{index}": f"format(datum['{name}'], ',')" for index, name in enumerate(kinds)},
    )
    total = sum(row.input_tokens + row.output_tokens for row in rows)
    alt = (
        f"Tokens per day in millions: cached input, new input, output, reasoning. "
        f"{_days_in_words(rows)}: {wording.count(total, 'token')} in all."
    )
    return Chart(columns, spec(bars, hover), alt, 230)


# --- spend by model --------------------------------------------------------------------------------


def spend_by_model(rows: Sequence[ModelSpend]) -> Chart:
    """Horizontal bars by model, most expensive first, with their sum behind; the smallest ones together."""
    named = list(rows if len(rows) <= _PLAIN_MODELS else rows[: _PLAIN_MODELS - 1])
    names = [wording.shorten(row.model, 28) for row in named]
    platform, byok = [row.platform_nano for row in named], [row.byok_nano for row in named]
    if rest := rows[len(named) :]:
        names.append(f"{len(rest)} other models")
        platform.append(sum(row.platform_nano for row in rest))
        byok.append(sum(row.byok_nano for row in rest))
    sums = [wording.money(one + other) for one, other in zip(platform, byok, strict=True)]
    columns = {
        "Model": names,
        PLATFORM: [usd(nano) for nano in platform],
        BYOK: [usd(nano) for nano in byok],
        "Total": [usd(one + other) for one, other in zip(platform, byok, strict=True)],
        "Sum": sums,
    }
    model: Spec = {
        "field": "Model",
        "type": "nominal",
        "sort": None,
        "axis": axis_style() | {"title": None, "labelLimit": 180, "ticks": False, "domain": False},
        "scale": {"paddingInner": 0.55, "paddingOuter": 0.3},
    }
    top = max(columns["Total"], default=0.0) or 1.0
    # Room for the value behind the longest bar.
    amount: Spec = {"type": "quantitative", "axis": None, "scale": {"domain": [0, top * 1.25]}}
    stacked: Spec = {
        "transform": [*folded([PLATFORM, BYOK]), {"filter": "datum.amount > 0"}],
        "mark": {"type": "bar", "tooltip": False},
        "encoding": {
            "y": model,
            "x": amount | {"field": "amount", "stack": "zero"},
            "color": color("slot", legend()),
            "order": {"field": "order", "type": "quantitative"},
        },
    }
    value: Spec = {
        "mark": {"type": "text", "align": "left", "dx": 6, "fontSize": 11, "fill": ink("Limit")},
        "encoding": {
            "y": model,
            "x": amount | {"field": "Total"},
            "text": {"field": "Sum", "type": "nominal"},
        },
    }
    hover = hover(
        model,
        [("Model", "Model"), ("platform", PLATFORM), ("byok", BYOK), ("Sum", "Total")],
        {"platform": money_words(f"datum['{PLATFORM}']"), "byok": money_words("datum.BYOK")},
        across="x",
    )
    words = ", ".join(f"{name} {amount}" for name, amount in zip(names[:3], sums[:3], strict=True))
    alt = f"Spend by model in USD, most expensive first: {words}{' and more' if len(names) > 3 else ''}."  # noqa: PLR2004
    return Chart(columns, spec(stacked, value, hover), alt, 64 + 32 * max(len(names), 2))


# --- metric cards ----------------------------------------------------------------------------------


def sparkline(values: Sequence[int], *, slot: str, alt: str, bars: bool = False) -> Chart:
    """A 44 px line without axes; ``slot`` names its colour. The values are whole numbers of any unit."""
    mark: Spec = {"type": "bar"} if bars else {"type": "line", "strokeWidth": 1.5, "interpolate": "linear"}
    x: Spec = {"field": "Step", "type": "ordinal" if bars else "quantitative", "axis": None}
    if not bars:
        x["scale"] = {"nice": False, "zero": False}
    line: Spec = {
        "transform": [{"calculate": json.dumps(slot), "as": "slot"}],
        "mark": mark | {"tooltip": False},
        "encoding": {
            "x": x,
            "y": {"field": "Value", "type": "quantitative", "axis": None, "scale": {"zero": True}},
            "color": color("slot", None),
        },
    }
    columns = {"Step": list(range(len(values))), "Value": [float(value) for value in values]}
    return Chart(columns, spec(line, padding=2), alt, 44)


def _days_in_words(rows: Sequence[Any]) -> str:
    if not rows:
        return "No days"
    first, last = rows[0].day, rows[-1].day
    return f"{wording.count(len(rows), 'day')}, {first.day} {first:%b %Y} to {last.day} {last:%b %Y}"


def _spend_in_words(rows: Sequence[Spend]) -> str:
    platform, byok = sum(row.platform_nano for row in rows), sum(row.byok_nano for row in rows)
    return f"{wording.money(platform)} platform-funded and {wording.money(byok)} BYOK"


def _highest_in_words(rows: Sequence[DaySpend]) -> str:
    if not rows:
        return ""
    top = max(rows, key=lambda row: row.platform_nano + row.byok_nano)
    return f"Highest: {wording.money(top.platform_nano + top.byok_nano)} on {top.day:%a} {top.day.day} {top.day:%b}."
