"""Charts of spend and tokens: plain rows in, a drawing out. Money becomes a float here, and nowhere else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Protocol
from zoneinfo import ZoneInfo

from lib.clock import HOUR, Micros, from_micros
from lib.ui import vega, wording
from lib.ui.vega import BYOK, PLATFORM, SOURCES, Chart, Columns, Spec, usd

_MOST_MODELS = 12
_IN_WORDS = 3
_HOURS_OF_A_DAY = 26


class Spend(Protocol):
    """Spend of anything, in nano-USD, by source."""

    @property
    def platform_nano(self) -> int: ...
    @property
    def byok_nano(self) -> int: ...


class DaySpend(Spend, Protocol):
    """Spend of one day."""

    @property
    def day(self) -> date: ...


class HourSpend(Spend, Protocol):
    """Spend of one hour, which begins at ``at``."""

    @property
    def at(self) -> Micros: ...


class ModelSpend(Spend, Protocol):
    """Spend of one model; calls without a known price are in no amount."""

    @property
    def model(self) -> str: ...
    @property
    def calls(self) -> int: ...
    @property
    def unpriced_calls(self) -> int: ...


class DayTokens(Protocol):
    """Tokens of one day: cached is part of input, reasoning part of output."""

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


# --- by day ----------------------------------------------------------------------------------------


def spend_per_day(rows: Sequence[DaySpend], *, zone: str, today: date | None = None) -> Chart:
    """Stacked bars, platform below and BYOK above; ``today`` is marked, as it is not over. Bars can be clicked."""
    days = vega.day_band([row.day for row in rows], most=7)
    hover = _spend_hover(days, {f"Day ({zone})": vega.day_words("datum.Day")}, {})
    hover["params"] = [{"name": vega.PICKED, "select": {"type": "point", "fields": ["Day"]}}]
    hover["mark"]["cursor"] = "pointer"
    columns: Columns = {"Day": [row.day.isoformat() for row in rows], **_amounts(rows)}
    alt = (
        f"Spend per day in USD, platform-funded below and BYOK above. {_days(rows)}: {_spend(rows)}. "
        f"{_highest(rows)}"
    )
    return Chart(columns, _spend_bars(rows, days, hover, str(today)), alt, 230)


def spend_per_hour(rows: Sequence[HourSpend], *, zone: ZoneInfo, now: Micros | None = None) -> Chart:
    """The same by hour, for periods of a few days; the hour that holds ``now`` is marked."""
    times = [from_micros(row.at).astimezone(zone) for row in rows]
    keys = [time.isoformat() for time in times]
    every = 3 if len(rows) <= _HOURS_OF_A_DAY else 12
    names = {
        key: vega.short_day(time.date()) if time.hour == 0 else f"{time:%H:%M}"
        for key, time in zip(keys, times, strict=True)
        if time.hour % every == 0
    }
    running = [
        key for key, row in zip(keys, rows, strict=True) if now is not None and 0 <= now - row.at < HOUR
    ]
    columns: Columns = {
        "Hour": keys,
        **_amounts(rows),
        "Begins": [wording.weekday_time(row.at, zone) for row in rows],
    }
    hours = vega.band("Hour", len(rows), names)
    alt = f"Spend per hour in USD, platform-funded below and BYOK above. {len(rows)} hours: {_spend(rows)}."
    hover = _spend_hover(hours, {}, {"Hour": "Begins"})
    return Chart(columns, _spend_bars(rows, hours, hover, running[0] if running else ""), alt, 230)


def _spend_bars(rows: Sequence[Spend], band: Spec, hover: Spec, not_over: str) -> Spec:
    top = max((usd(row.platform_nano + row.byok_nano) for row in rows), default=0.0)
    bars = vega.stacked_bars(band, vega.money_axis(top), SOURCES, vega.legend(SOURCES))
    so_far = {
        "transform": [{"filter": {"field": band["field"], "equal": not_over}}],
        "mark": vega.small_text("Axis", align="center", dx=0, dy=-8),
        "encoding": {"x": band, "y": {"field": "Total", "type": "quantitative"}, "text": {"value": "so far"}},
    }
    return vega.layered(bars, so_far, hover)


def _spend_hover(band: Spec, first: Mapping[str, str], plain: Mapping[str, str]) -> Spec:
    amounts = {name: vega.money_words(f"datum['{name}']") for name in (*SOURCES, "Total")}
    share = f"datum.Total > 0 ? format(datum['{PLATFORM}'] / datum.Total, '.0%') : 'no spend'"
    return vega.hover_band(band, {**first, **amounts, f"{PLATFORM} share": share}, plain)


_TOKENS = {"Input, cached": "S1", "Input, new": "S2", "Output": "S3", "Reasoning": "S4"}


def tokens_per_day(rows: Sequence[DayTokens]) -> Chart:
    """Stacked bars: input from the cache, new input, output without reasoning, reasoning; in millions."""
    columns: Columns = {
        "Day": [row.day.isoformat() for row in rows],
        "Input, cached": [row.cached_input_tokens for row in rows],
        "Input, new": [row.input_tokens - row.cached_input_tokens for row in rows],
        "Output": [row.output_tokens - row.reasoning_tokens for row in rows],
        "Reasoning": [row.reasoning_tokens for row in rows],
    }
    days = vega.day_band([row.day for row in rows], most=4)
    axis: Spec = {"labelExpr": "format(datum.value / 1e6, '~g')", "tickCount": 4} | vega.UPRIGHT
    legend = vega.legend({slot: name for name, slot in _TOKENS.items()})
    said = {"Day": vega.day_words("datum.Day")}
    said |= {name: f"format(datum['{name}'], ',')" for name in _TOKENS}
    total = sum(row.input_tokens + row.output_tokens for row in rows)
    alt = (
        "Tokens per day in millions: cached input, new input, output, reasoning. "
        f"{_days(rows)}: {wording.count(total, 'token')} in all."
    )
    bars = vega.stacked_bars(days, axis, _TOKENS, legend)
    return Chart(columns, vega.layered(bars, vega.hover_band(days, said)), alt, 230)


# --- by model --------------------------------------------------------------------------------------


def spend_by_model(rows: Sequence[ModelSpend]) -> Chart:
    """Horizontal bars with their sums, in the order given; models beyond the twelfth are summed up in one."""
    named = rows if len(rows) <= _MOST_MODELS else rows[: _MOST_MODELS - 1]
    rest = rows[len(named) :]
    groups = [(wording.shorten(row.model, 28), [row]) for row in named]
    groups += [(f"{len(rest)} other models", list(rest))] if rest else []
    sums = [_sum(group) for _, group in groups]
    columns: Columns = {
        "Model": [name for name, _ in groups],
        **_amounts_of([group for _, group in groups]),
        "Sum": sums,
    }
    layers = _model_layers(max((usd(row.platform_nano + row.byok_nano) for row in rows), default=0.0))
    words = ", ".join(f"{name} {said}" for (name, _), said in zip(groups[:_IN_WORDS], sums, strict=False))
    more = " and more" if len(groups) > _IN_WORDS else ""
    alt = f"Spend by model in USD, the most expensive first: {words}{more}."
    return Chart(columns, vega.layered(*layers), alt, 64 + 32 * max(len(groups), 2))


def _sum(rows: Sequence[ModelSpend]) -> str:
    unpriced = sum(row.unpriced_calls for row in rows)
    if unpriced and unpriced == sum(row.calls for row in rows):
        return wording.UNKNOWN
    words = wording.money(sum(row.platform_nano + row.byok_nano for row in rows))
    return f"{words}, {wording.count(unpriced, 'call')} unknown" if unpriced else words


def _model_layers(top: float) -> list[Spec]:
    band = vega.labels() | {"labelLimit": 180, "ticks": False, "domain": False}
    scale = {"paddingInner": 0.55, "paddingOuter": 0.3}
    y: Spec = {"field": "Model", "type": "nominal", "sort": None, "axis": band, "scale": scale}
    # Room for the sum behind the longest bar.
    x: Spec = {"type": "quantitative", "axis": None, "scale": {"domain": [0, (top or 1.0) * 1.25]}}
    bars = vega.stacked_bars(y, {}, SOURCES, vega.legend(SOURCES))
    bars["mark"] = {"type": "bar", "tooltip": False}
    bars["encoding"] |= {"y": y, "x": x | {"field": "amount", "stack": "zero"}}
    sums = {
        # Beside the bar there is room for the amount alone, without how many calls are unknown.
        "transform": [{"calculate": "split(datum.Sum, ', ')[0]", "as": "label"}],
        "mark": vega.small_text("Limit", align="left", dx=6, dy=0),
        "encoding": {"y": y, "x": x | {"field": "Total"}, "text": {"field": "label", "type": "nominal"}},
    }
    said = {name: vega.money_words(f"datum['{name}']") for name in SOURCES}
    hover = vega.hover_band(y, said, {"Model": "Model", "Total": "Sum"}, along="y")
    return [bars, sums, hover]


# --- cards -----------------------------------------------------------------------------------------


def sparkline(values: Sequence[int], *, slot: str, alt: str) -> Chart:
    """A line of 44 px without axes, in the colour of ``slot``. The values are whole numbers of any unit."""
    x = {"field": "Step", "type": "quantitative", "axis": None, "scale": {"nice": False, "zero": False}}
    y = {"field": "Value", "type": "quantitative", "axis": None, "scale": {"zero": True}}
    line: Spec = {
        "transform": vega.in_slot(slot),
        "mark": {"type": "line", "strokeWidth": 1.5, "tooltip": False},
        "encoding": {"x": x, "y": y, "color": vega.color()},
    }
    columns: Columns = {"Step": list(range(len(values))), "Value": [float(value) for value in values]}
    return Chart(columns, vega.layered(line, pad=2), alt, 44)


# --- parts -----------------------------------------------------------------------------------------


def _amounts(rows: Sequence[Spend]) -> dict[str, list[float]]:
    return _amounts_of([[row] for row in rows])


def _amounts_of(groups: Sequence[Sequence[Spend]]) -> dict[str, list[float]]:
    platform = [sum(row.platform_nano for row in group) for group in groups]
    byok = [sum(row.byok_nano for row in group) for group in groups]
    return {
        PLATFORM: [usd(nano) for nano in platform],
        BYOK: [usd(nano) for nano in byok],
        "Total": [usd(one + other) for one, other in zip(platform, byok, strict=True)],
    }


def _days(rows: Sequence[DaySpend] | Sequence[DayTokens]) -> str:
    if not rows:
        return "No days"
    first, last = rows[0].day, rows[-1].day
    return f"{wording.count(len(rows), 'day')}, {vega.short_day(first)} to {vega.short_day(last)} {last.year}"


def _spend(rows: Sequence[Spend]) -> str:
    platform, byok = sum(row.platform_nano for row in rows), sum(row.byok_nano for row in rows)
    return f"{wording.money(platform)} platform-funded and {wording.money(byok)} BYOK"


def _highest(rows: Sequence[DaySpend]) -> str:
    if not rows:
        return ""
    top = max(rows, key=lambda row: row.platform_nano + row.byok_nano)
    return f"Highest: {wording.money(top.platform_nano + top.byok_nano)} on {vega.short_day(top.day)}."
