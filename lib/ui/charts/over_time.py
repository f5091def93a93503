"""Charts over time: spend, tokens and failures. Sums in, a drawing out. Money becomes a float here only to be drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lib.reports.models import Totals
from lib.ui.base import wording
from lib.ui.base.tables import dollars, known
from lib.ui.charts import theme
from lib.ui.charts.buckets import Course, Step
from lib.ui.charts.theme import BYOK, PLATFORM, SOURCES, Chart, Columns, Spec

_WIDE, _HALF = 7, 4
_NARROW = 31  # bars; more of them are narrower than the words on one
_MILLION, _THOUSAND = 1_000_000, 1_000


def spend(course: Course) -> Chart:
    """Stacked bars, platform below and BYOK above; the bar that is not over is marked. Bars can be clicked."""
    rows = course.rows
    columns: Columns = {
        **_bands(course, _WIDE),
        **amounts(rows),
        "So far": ["so far" if row.key == course.going_on else "" for row in rows],
    }
    said = said_of(rows) | {f"{PLATFORM} share": [_platform_share(row) for row in rows]}
    band = theme.band("At", len(rows))
    hover = theme.hover_band(band, theme.tooltip(said, {_heading(course): "When"}))
    if course.unit != "hour":
        hover["params"] = [{"name": theme.PICKED, "select": {"type": "point", "fields": ["At"]}}]
        hover["mark"]["cursor"] = "pointer"
    bars = theme.stacked_bars(band, theme.money_axis(), SOURCES, theme.legend(SOURCES))
    alt = f"Spend per {course.unit} in USD, platform-funded below and BYOK above."
    table: Columns = {_heading(course): [row.words for row in rows], **money_table(rows)}
    figures = f"{_stretch(course)}: {spent(rows)}. {_highest(rows)}"
    spec = theme.layered(bars, _so_far(band, len(rows)), hover)
    return Chart({**columns, **theme.in_words(said)}, spec, alt, 230, table, figures)


def _so_far(band: Spec, number: int) -> Spec:
    """The words on the bar that is not over; above all bars where they are narrower than the words."""
    y: Spec = {"field": "Total", "type": "quantitative"}
    place: Spec = {"align": "center", "dx": 0, "dy": -8}
    if number > _NARROW:
        y, place = {"value": 0}, {"align": "right", "dx": 8, "dy": -7}
    return {
        "transform": [{"filter": "datum['So far']"}],
        "mark": theme.small_text("Axis", **place),
        "encoding": {"x": band, "y": y, "text": {"field": "So far", "type": "nominal"}},
    }


def _platform_share(sums: Totals) -> str:
    return wording.share(sums.platform_nano, sums.total_nano) or "no spend"


# --- tokens ----------------------------------------------------------------------------------------

_TOKENS = {"Input, cached": "S1", "Input, new": "S2", "Output": "S3", "Reasoning": "S4"}


def tokens_unit(course: Course) -> str:
    """What the axis counts in: ``millions`` or ``thousands``."""
    top = max((row.input_tokens + row.output_tokens for row in course.rows), default=0)
    return "millions" if top >= _MILLION else "thousands"


def tokens(course: Course) -> Chart:
    """Stacked bars: input from the cache, new input, output without reasoning, reasoning."""
    rows, unit = course.rows, tokens_unit(course)
    parts = {
        "Input, cached": [row.cached_input_tokens for row in rows],
        "Input, new": [row.input_tokens - row.cached_input_tokens for row in rows],
        "Output": [row.output_tokens - row.reasoning_tokens for row in rows],
        "Reasoning": [row.reasoning_tokens for row in rows],
    }
    band = theme.band("At", len(rows))
    size = _MILLION if unit == "millions" else _THOUSAND
    axis: Spec = {"labelExpr": f"format(datum.value / {size}, '~g')", "tickCount": 4} | theme.UPRIGHT
    bars = theme.stacked_bars(
        band, axis, _TOKENS, theme.legend({slot: name for name, slot in _TOKENS.items()})
    )
    hover = theme.hover_band(band, theme.tooltip(parts, {_heading(course): "When"}))
    total = sum(row.input_tokens + row.output_tokens for row in rows)
    alt = f"Tokens per {course.unit} in {unit}: cached input, new input, output, reasoning."
    columns: Columns = {**_bands(course, _HALF), **parts, **theme.in_words(_counts(parts))}
    table: Columns = {_heading(course): columns["When"], **parts}
    figures = f"{_stretch(course)}: {wording.count(total, 'token')} in all."
    return Chart(columns, theme.layered(bars, hover), alt, 230, table, figures)


# --- failures --------------------------------------------------------------------------------------

FAILURES = {"error": "Bad", "broken": "Near", "abandoned": "S1", "unknown": "S3"}


def failures(course: Course, words: Mapping[str, str]) -> Chart:
    """Stacked bars of the calls that were not answered in full; ``words``: status -> its name."""
    rows = course.rows
    found = {words[status]: [status_calls(row, status) for row in rows] for status in FAILURES}
    # What did not happen at all needs no colour in the legend.
    drawn = {words[status]: slot for status, slot in FAILURES.items() if any(found[words[status]])}
    parts = {name: found[name] for name in drawn}
    answered = {words["ok"]: [row.ok_calls for row in rows], "Calls": [row.calls for row in rows]}
    band = theme.band("At", len(rows))
    axis: Spec = {"tickMinStep": 1, "tickCount": 4, "format": "~s"} | theme.UPRIGHT
    bars = theme.stacked_bars(band, axis, drawn, theme.legend({slot: name for name, slot in drawn.items()}))
    said = parts | answered
    hover = theme.hover_band(band, theme.tooltip(said, {_heading(course): "When"}))
    failed = ", ".join(f"{wording.count(sum(counts))} {name.lower()}" for name, counts in parts.items())
    alt = f"Calls per {course.unit} that were not answered in full, by status."
    figures = (
        f"{_stretch(course)}: {wording.count(sum(row.failed_calls for row in rows))} of "
        f"{wording.count(sum(row.calls for row in rows), 'call')}: {failed}."
    )
    columns: Columns = {**_bands(course, _HALF), **parts, **theme.in_words(_counts(said))}
    table: Columns = {_heading(course): columns["When"], **answered, **parts}
    return Chart(columns, theme.layered(bars, hover), alt, 230, table, figures)


def status_calls(sums: Totals, status: str) -> int:
    """How many calls ended so."""
    return int(getattr(sums, f"{status}_calls"))


# --- cards -----------------------------------------------------------------------------------------


def sparkline(values: Sequence[int], *, slot: str, alt: str) -> Chart:
    """A line of 44 px without axes, in the colour of ``slot``. The values are whole numbers of any unit."""
    x = {"field": "Step", "type": "quantitative", "axis": None, "scale": {"nice": False, "zero": False}}
    y = {"field": "Value", "type": "quantitative", "axis": None, "scale": {"zero": True}}
    line: Spec = {
        "transform": theme.in_slot(slot),
        "mark": {"type": "line", "strokeWidth": 1.5, "tooltip": False},
        "encoding": {"x": x, "y": y, "color": theme.color()},
    }
    columns: Columns = {"Step": list(range(len(values))), "Value": [float(value) for value in values]}
    return Chart(columns, theme.layered(line, pad=2), alt, 44)


# --- parts -----------------------------------------------------------------------------------------


def amounts(rows: Sequence[Totals]) -> dict[str, list[float]]:
    """Both ledgers and their total, to be drawn."""
    return {
        PLATFORM: [dollars(row.platform_nano) for row in rows],
        BYOK: [dollars(row.byok_nano) for row in rows],
        "Total": [dollars(row.total_nano) for row in rows],
    }


def said_of(rows: Sequence[Totals]) -> dict[str, list[str]]:
    """The same in words, for tooltips."""
    return {
        PLATFORM: [wording.money(known(row, "platform")) for row in rows],
        BYOK: [wording.money(known(row, "byok")) for row in rows],
        "Total": [wording.money(known(row)) for row in rows],
    }


def _counts(numbers: Mapping[str, Sequence[int]]) -> dict[str, list[str]]:
    return {name: [wording.count(number) for number in column] for name, column in numbers.items()}


def money_table(rows: Sequence[Totals]) -> dict[str, list[float | None]]:
    """The same to be read: None where no cost is known."""
    return {
        PLATFORM: [dollars(known(row, "platform")) for row in rows],
        BYOK: [dollars(known(row, "byok")) for row in rows],
        "Total": [dollars(known(row)) for row in rows],
    }


def spent(rows: Sequence[Totals]) -> str:
    """Both ledgers in words."""
    platform, byok = sum(row.platform_nano for row in rows), sum(row.byok_nano for row in rows)
    return f"{wording.money(platform)} platform-funded and {wording.money(byok)} BYOK"


def _bands(course: Course, most: int) -> Columns:
    """The bars along the axis, about ``most`` of them with a label, and the words of all."""
    keys = theme.keys([row.key for row in course.rows], course.labelled(most))
    return theme.in_order({"At": keys, "When": [row.words for row in course.rows]})


def _heading(course: Course) -> str:
    return f"{course.unit.capitalize()} ({course.zone})"


def _stretch(course: Course) -> str:
    if not course.rows:
        return f"No {course.unit}s"
    first, last = course.rows[0], course.rows[-1]
    number = wording.count(len(course.rows), course.unit)
    return f"{number}, {first.words} to {last.words}"


def _highest(rows: Sequence[Step]) -> str:
    if not rows:
        return ""
    top = max(rows, key=lambda row: row.total_nano)
    return f"Highest: {wording.money(top.total_nano)}, {top.words}."
