"""Charts say the same as the numbers beside them, in colours that never move."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from lib.caps.forecast.forecasts import HeldForecast
from lib.caps.reading import Point
from lib.clock import HOUR, to_micros
from lib.reports.models import DayRow, HourRow, Totals
from lib.reports.weekly import HourOfWeek
from lib.settings import ROOT
from lib.ui.charts import buckets, caps, heat_map, over_time, rankings
from lib.ui.charts import theme as vega
from lib.ui.charts.buckets import TimeSeries
from lib.ui.charts.theme import Chart
from lib.ui.usage.summary import STATUSES

CENT = 10_000_000
MONDAY = date(2026, 11, 23)
NOW = to_micros(datetime(2026, 11, 23, 14, 20, tzinfo=UTC))
UTC_ZONE, BERLIN = ZoneInfo("UTC"), ZoneInfo("Europe/Berlin")


def days(number: int, *, platform: int = 150 * CENT, byok: int = 50 * CENT) -> list[DayRow]:
    first = MONDAY - timedelta(days=number - 1)
    return [
        DayRow(day=first + timedelta(days=each), platform_nano=platform, byok_nano=byok)
        for each in range(number)
    ]


def bars(number: int, **sums: int) -> TimeSeries:
    return buckets.days(days(number, **sums), "UTC", MONDAY)


def week(*dollars: int) -> list[Point]:
    return [Point(NOW - (len(dollars) - 1 - each) * HOUR, nano * 10**9) for each, nano in enumerate(dollars)]


def every_chart() -> dict[str, Chart]:
    failed = [DayRow(day=MONDAY, calls=9, error_calls=2, unknown_calls=1)]
    return {
        "spend": over_time.spend(bars(30)),
        "keys": over_time.keys(bars(2), {"BYOK •••• x4Tz": ("byok", [CENT, 0])}),
        "tokens": over_time.tokens(bars(3)),
        "failures": over_time.failures(buckets.days(failed, "UTC", MONDAY), STATUSES),
        "models": rankings.ranking([("gpt-5", Totals(platform_nano=CENT, calls=1))], "model"),
        "hours": heat_map.heat_map([HourOfWeek(0, "14:00", hours=4, platform_nano=CENT)]),
        "window": caps.window_bar("5-hour window", used_nano=1, reserved_nano=1, cap_nano=10**9),
        "week": caps.consumption(week(1, 2), cap_nano=10**10, zone=UTC_ZONE),
        "use": caps.cap_use(week(1, 2), week(2, 3), caps={"5h": 10**9, "7d": 10**9}, zone=UTC_ZONE),
    }


def parts(spec: object, name: str) -> Iterator[Any]:
    """Every value that stands under ``name``, however deep."""
    if isinstance(spec, dict):
        for key, value in spec.items():
            if key == name:
                yield value
            yield from parts(value, name)
    elif isinstance(spec, list):
        for value in spec:
            yield from parts(value, name)


def mixed() -> dict[str, Chart]:
    """Charts of a hundred dollars beside less than a cent."""
    large, small = 118 * 10**9, 4_200_000
    course = [
        DayRow(day=MONDAY, platform_nano=large),
        DayRow(day=MONDAY - timedelta(days=1), byok_nano=small),
    ]
    hours = [
        HourOfWeek(0, "14:00", hours=1, platform_nano=large),
        HourOfWeek(1, "14:00", hours=1, byok_nano=small),
    ]
    ranked = [
        ("gpt-5", Totals(platform_nano=large, byok_nano=small)),
        ("gpt-5-nano", Totals(byok_nano=small)),
    ]
    points = [Point(NOW - HOUR, small), Point(NOW, large)]
    return {
        "spend": over_time.spend(buckets.days(course, "UTC", MONDAY)),
        "models": rankings.ranking(ranked, "model"),
        "hours": heat_map.heat_map(hours),
        "week": caps.consumption(points, cap_nano=10**10, zone=UTC_ZONE),
    }


@pytest.mark.parametrize("name", mixed())
def test_all_amounts_of_a_chart_have_equal_decimals(name: str):
    chart = mixed()[name]
    words = [
        str(cell)
        for title, column in chart.columns.items()
        if title == "Sum" or "words" in title
        for cell in column
    ]
    amounts = [*words, str(chart.facts.get("Now", "$0.0000"))]
    assert {len(text.partition(".")[2]) for text in amounts if "$" in text} == {4}


@pytest.mark.parametrize("top", [1, 3_000, 12_345_678, 49_000_000, 123_450_000, 12_500_000_000, 10**11])
def test_all_steps_of_an_axis_have_equal_decimals(top: int):
    steps = listed(
        caps.window_bar("5-hour window", used_nano=0, reserved_nano=0, cap_nano=top), "Steps_labels"
    )
    assert len({len(text.partition(".")[2]) for text in steps}) == 1


@pytest.mark.parametrize("name", sorted(every_chart().keys() - {"hours"}))
def test_a_colour_belongs_to_its_meaning_whatever_is_filtered(name: str):
    """The scale has every slot and no range: so the theme colours it, in light and in dark."""
    scales = [color["scale"] for color in parts(every_chart()[name].spec, "color") if "scale" in color]
    assert scales
    assert all(scale == {"domain": vega.SLOTS} for scale in scales)


def test_the_hours_have_the_shades_of_the_theme_and_no_colour_of_a_source():
    spec = every_chart()["hours"].spec
    assert not list(parts(spec, "color"))
    [scale] = [fill["scale"] for fill in parts(spec, "fill") if "scale" in fill]
    assert "range" not in scale


def test_the_theme_has_a_colour_for_every_slot():
    theme = tomllib.loads((ROOT / ".streamlit" / "config.toml").read_text())["theme"]
    for shade in ("light", "dark"):
        assert len(theme[shade]["chartCategoricalColors"]) == len(vega.SLOTS)


@pytest.mark.parametrize("name", every_chart())
def test_every_chart_says_in_words_what_it_shows(name: str):
    assert len(every_chart()[name].alt) > 10


@pytest.mark.parametrize("name", ["spend", "tokens", "failures", "models", "hours", "use"])
def test_every_chart_of_usage_has_a_table_of_equal_columns(name: str):
    table = every_chart()[name].table
    assert len(table) > 1
    assert len({len(column) for column in table.values()}) == 1


def test_the_figures_of_a_chart_are_its_numbers():
    said = over_time.spend(bars(30)).figures
    assert "30 days, Sun 25 Oct 2026 to Mon 23 Nov 2026: $45.00 platform-funded and $15.00 BYOK" in said
    assert "Highest: $2.00" in said


def test_the_same_drawing_is_used_for_other_numbers_and_another_period():
    """Then the browser puts the new numbers into it, in half of the time and without a flicker."""
    assert drawings(7, 1) == drawings(30, 5000) == drawings(1, 0)


def test_a_drawing_is_built_once_and_not_for_each_run():
    again = every_chart()
    assert all(again[name].spec is chart.spec for name, chart in every_chart().items())


def test_a_fact_is_sent_once_and_not_for_each_row():
    sent = every_chart()["week"].sent()
    assert sent["Cap"].to_pylist() == [10.0, None]
    assert sent["Cap"].nbytes < sent["USD"].nbytes


def test_the_drawing_of_a_cap_holds_none_of_its_numbers():
    assert cap_drawings(12, UTC_ZONE) == cap_drawings(5000, BERLIN)


def cap_drawings(dollars: int, zone: ZoneInfo) -> list[object]:
    cap, held = dollars * 10**9, week(1, dollars)
    drawn = [
        caps.window_bar("5-hour window", used_nano=cap // 3, reserved_nano=dollars, cap_nano=cap),
        caps.consumption(held, cap_nano=cap, zone=zone),
        caps.cap_use(held, held, caps={"5h": cap, "7d": 2 * cap}, zone=zone),
    ]
    return [chart.spec for chart in drawn]


def drawings(number: int, dollars: int) -> dict[str, tuple[object, str]]:
    found = days(number, platform=dollars * 100 * CENT)
    for row in found:
        row.add(Totals(calls=9 * dollars + 3, error_calls=2, unknown_calls=1, input_tokens=2 * 10**6))
    series = buckets.days(found, "UTC", MONDAY)
    models = [(f"gpt-{each}", Totals(platform_nano=dollars * CENT)) for each in range(number)]
    drawn = {
        "spend": over_time.spend(series),
        "tokens": over_time.tokens(series),
        "failures": over_time.failures(series, STATUSES),
        "models": rankings.ranking(models, "model"),
        "hours": heat_map.heat_map(
            [HourOfWeek(0, "14:00", hours=number, platform_nano=number * dollars * CENT)]
        ),
    }
    return {name: (chart.spec, chart.alt) for name, chart in drawn.items()}


def test_platform_lies_below_byok():
    assert next(parts(over_time.spend(bars(2)).spec, "fold")) == ["Platform-funded", "BYOK"]


def test_the_table_of_a_chart_is_named_as_the_page_names_things():
    assert over_time.spend(bars(1)).table == {
        "Day (UTC)": ["Mon 23 Nov 2026"],
        "Platform-funded": [1.5],
        "BYOK": [0.5],
        "Total": [2.0],
    }


def test_an_amount_that_nobody_knows_is_empty_in_the_table_of_its_own_source_alone():
    row = DayRow(day=MONDAY, calls=3, platform_calls=2, byok_calls=1, byok_unpriced_calls=1)
    table = over_time.spend(buckets.days([row], "UTC", MONDAY)).table
    assert (table["BYOK"], table["Platform-funded"], table["Total"]) == ([None], [0.0], [0.0])


@pytest.mark.parametrize(
    ("number", "labelled"),
    [
        (1, ["2026-11-23"]),
        (7, [f"2026-11-{day}" for day in range(17, 24)]),
        (30, ["2026-10-26", "2026-11-02", "2026-11-09", "2026-11-16", "2026-11-23"]),
    ],
)
def test_days_are_labelled_where_weeks_begin(number: int, labelled: list[str]):
    assert list(labels(over_time.spend(bars(number)))) == labelled


def test_half_a_year_of_days_is_labelled_by_months():
    days = labels(over_time.spend(bars(183)))
    assert 5 <= len(days) <= 12
    assert all(day.endswith("-01") for day in days)


def labels(chart: Chart) -> dict[str, str]:
    """What stands below the bars, by their keys."""
    keys = [str(key).partition("|") for key in chart.columns["At"]]
    return {key: label for key, bar, label in keys if bar}


@pytest.mark.parametrize("fold", [buckets.weeks, buckets.months])
def test_longer_bars_hold_every_day_once(fold: Callable[..., TimeSeries]):
    found = days(400)
    series = fold(found, "UTC", MONDAY)
    assert sum(row.total_nano for row in series.rows) == sum(row.total_nano for row in found)
    assert series.rows[0].first == found[0].day
    assert series.rows[-1].last == MONDAY
    assert all(
        after.first == before.last + timedelta(days=1)
        for before, after in zip(series.rows, series.rows[1:], strict=False)
    )
    assert series.current == series.rows[-1].key


def test_weeks_begin_on_monday_and_say_which_days_they_hold():
    series = buckets.weeks(days(10), "UTC", MONDAY)
    assert [row.words for row in series.rows] == [
        "Sat 14 Nov to Sun 15 Nov 2026",
        "Mon 16 Nov to Sun 22 Nov 2026",
        "Mon 23 Nov 2026",
    ]


def test_a_period_without_spend_is_no_division_by_zero():
    over_time.spend(bars(3, platform=0, byok=0))
    rankings.ranking([("gpt-5", Totals(calls=1))], "model")
    heat_map.heat_map([HourOfWeek(0, "00:00", hours=1)])


def test_a_model_without_a_known_price_has_no_amount():
    rows = [
        ("gpt-5", Totals(platform_nano=2 * CENT, calls=3, byok_unpriced_calls=1)),
        ("mystery", Totals(calls=14, byok_unpriced_calls=14)),
        ("free", Totals(calls=1)),
    ]
    drawn = rankings.ranking(rows, "model")
    assert drawn.columns["Sum"] == ["$0.02, 1 call unknown", "unknown", "$0.00"]
    assert drawn.table["Total"] == [0.02, None, 0.0]


def test_many_projects_are_summed_up_in_words_and_stand_each_in_the_table():
    rows = [(f"project-{number}", Totals(platform_nano=CENT, calls=1)) for number in range(500)]
    drawn = rankings.ranking(rows, "project")
    assert list(drawn.columns["Project"])[-1] == "489 other projects"
    assert drawn.columns["Sum"][-1] == "$4.89 together"
    assert len(drawn.table["Project"]) == 500


def test_those_behind_the_rows_that_were_read_are_summed_up_with_them():
    rows = [(f"project-{number}", Totals(platform_nano=CENT, calls=1)) for number in range(50)]
    rest = (450, Totals(platform_nano=450 * CENT, calls=450))
    drawn = rankings.ranking(rows, "project", rest=rest)
    assert list(drawn.columns["Project"])[-1] == "489 other projects"
    assert drawn.columns["Sum"][-1] == "$4.89 together"


def test_keys_keep_the_colour_of_their_source_and_the_tail_is_one_part():
    spent = {"Platform •••• aaaa": ("platform", [3 * CENT, 0])} | {
        f"BYOK •••• 000{number}": ("byok", [0, (9 - number) * CENT]) for number in range(8)
    }
    drawn = over_time.keys(bars(2), spent)
    names = list(drawn.table)[1:-1]
    assert names[0] == "BYOK •••• 0000"
    assert names[-1] == "3 other keys"
    assert drawn.table["Total"] == [0.03, 0.44]
    assert [sum(drawn.table[name][bar] for name in names) for bar in (0, 1)] == pytest.approx([0.03, 0.44])
    [slots] = {json.dumps(json.loads(each)) for each in slots_of(drawn)}
    assert json.loads(slots)["Platform •••• aaaa"] == vega.PLATFORM
    assert json.loads(slots)["BYOK •••• 0000"] == vega.BYOK


def slots_of(drawn: Chart) -> list[str]:
    """The word -> slot of its stacked bars, as they stand in the expression."""
    found = [str(text) for text in parts(drawn.spec, "calculate") if str(text).endswith(")[datum.kind]")]
    return [text.removeprefix("(").removesuffix(")[datum.kind]") for text in found]


def test_those_who_are_summed_up_have_no_bar_that_makes_all_others_short():
    rows = [(f"project-{number}", Totals(platform_nano=CENT, calls=1)) for number in range(500)]
    assert list(rankings.ranking(rows, "project").columns["Total"]) == [0.01] * 11 + [0.0]


def test_names_that_begin_alike_have_each_a_bar_and_are_shown_whole():
    names = [f"{'a-long-beginning-' * 3}{number}" for number in range(3)]
    drawn = rankings.ranking([(name, Totals(platform_nano=CENT, calls=1)) for name in names], "project")
    assert list(drawn.columns["Project"]) == names


def test_tokens_are_split_so_that_nothing_is_counted_twice():
    row = DayRow(day=MONDAY, input_tokens=100, cached_input_tokens=60, output_tokens=50, reasoning_tokens=20)
    columns = over_time.tokens(buckets.days([row], "UTC", MONDAY)).columns
    assert [columns[name][0] for name in ("Input, cached", "Input, new", "Output", "Reasoning")] == [
        60,
        40,
        30,
        20,
    ]


def test_failures_are_drawn_and_answered_calls_stand_in_the_table():
    row = DayRow(day=MONDAY, calls=100, error_calls=2, unknown_calls=1)
    drawn = over_time.failures(buckets.days([row], "UTC", MONDAY), STATUSES)
    assert next(parts(drawn.spec, "fold")) == ["Error answer", "Outcome unknown"]
    assert drawn.table["Answered"] == [97]
    assert "3 of 100 calls: 2 error answer, 1 outcome unknown" in drawn.figures


def test_an_average_hour_is_that_of_all_hours_of_its_weekday_also_of_those_without_calls():
    drawn = heat_map.heat_map([HourOfWeek(0, "14:00", hours=4, platform_nano=3 * CENT, byok_nano=CENT)])
    assert drawn.columns["Average"] == [0.01]
    assert drawn.table["Mon"] == [0.01]


def test_a_lowered_cap_does_not_push_its_bar_out_of_the_drawing():
    chart = caps.window_bar("5-hour window", used_nano=30 * 10**9, reserved_nano=0, cap_nano=20 * 10**9)
    assert chart.facts["End"] == 30.0
    assert chart.columns["Free"] == [0.0]


@pytest.mark.parametrize(
    ("cap", "steps"),
    [
        (20, [0, 5, 10, 15, 20]),
        (60, [0, 20, 40, 60]),
        (150, [0, 50, 100, 150]),
        (500, [0, 100, 200, 300, 400, 500]),
        (70, [0, 20, 40, 60, 70]),
        (83, [0, 20, 40, 60, 83]),
    ],
)
def test_the_axis_of_a_cap_ends_at_the_cap(cap: int, steps: list[float]):
    chart = caps.window_bar("5-hour window", used_nano=0, reserved_nano=0, cap_nano=cap * 10**9)
    assert [float(step) for step in listed(chart, "Steps")] == steps
    assert listed(chart, "Steps_labels") == [f"${step}" for step in steps]


@pytest.mark.parametrize(
    ("nano", "label"),
    [
        (12_500_000_000, "$12.50"),
        (12_000_000_000, "$12"),
        (1_234_000_000_000, "$1,234"),
        (4_000_000_000, "$4.00"),
        (2_000_000, "$0.0020"),
        (0, "$0"),
    ],
)
def test_a_cap_is_labelled_with_what_it_is(nano: int, label: str):
    chart = caps.window_bar("5-hour window", used_nano=0, reserved_nano=0, cap_nano=nano)
    assert listed(chart, "Steps_labels")[-1] == label


def listed(chart: Chart, name: str) -> list[str]:
    """What the drawing reads as a list."""
    return str(chart.facts[name]).split("|")


def test_a_cap_of_nothing_can_be_drawn():
    caps.window_bar("5-hour window", used_nano=0, reserved_nano=0, cap_nano=0)
    caps.consumption(week(0, 0), cap_nano=0, zone=UTC_ZONE)


def test_midnights_are_those_of_the_zone_also_when_the_clocks_change():
    end = to_micros(datetime(2026, 10, 27, 12, tzinfo=UTC))
    points = [Point(end - hours * HOUR, 1) for hours in range(72, -1, -1)]
    chart = caps.consumption(points, cap_nano=10**9, zone=BERLIN)
    midnights = [datetime.fromtimestamp(int(at) / 1000, BERLIN) for at in listed(chart, "Midnights")]
    assert [(at.day, at.hour) for at in midnights] == [(25, 0), (26, 0), (27, 0)]


def test_the_last_point_says_what_the_window_holds_now():
    chart = caps.consumption(week(1, 3, 2), cap_nano=10**10, zone=UTC_ZONE)
    assert "now $2.00, at most $3.00" in chart.alt
    assert chart.facts["Now"] == "Now $2.00"


def test_what_will_be_held_is_a_band_from_now_on_in_the_same_drawing():
    now, later = week(1, 3, 2), NOW + 48 * HOUR
    ahead = [HeldForecast(NOW, *[2 * 10**9] * 3), HeldForecast(later, 10**9, 3 * 10**9, 4 * 10**9)]
    chart = caps.consumption(now, cap_nano=10**10, zone=UTC_ZONE, ahead=ahead)
    assert chart.spec is caps.consumption(now, cap_nano=10**10, zone=UTC_ZONE).spec
    assert chart.columns["USD"] == [1.0, 3.0, 2.0, None, None]
    assert chart.columns["Low"] == [None, None, None, 2.0, 1.0]
    assert chart.columns["High"] == [None, None, None, 2.0, 4.0]
    assert chart.facts["Now_at"] == NOW // 1000
    assert chart.alt.endswith("In 48 hours about $3.00 ($1.00 to $4.00).")


def test_hours_are_told_apart_also_where_the_clock_shows_one_twice():
    """On 25 October 2026 Berlin has two o'clock twice."""
    first = to_micros(datetime(2026, 10, 24, 22, tzinfo=UTC))
    rows = [HourRow(at=first + hour * HOUR, platform_nano=CENT) for hour in range(25)]
    chart = over_time.spend(buckets.hours(rows, BERLIN, first + 24 * HOUR + 1))
    assert len(set(chart.columns["At"])) == 25
    assert next(iter(labels(chart))) == "2026-10-25T00:00:00+02:00"
    assert chart.columns["When"][2:4] == [
        "Sun 25 Oct, 02:00 Europe/Berlin (UTC+02:00)",
        "Sun 25 Oct, 02:00 Europe/Berlin (UTC+01:00)",
    ]
    running = chart.columns["So far"].index("so far")
    assert chart.columns["At"][running] == "2026-10-25T23:00:00+01:00"


def test_the_fewer_bars_the_more_room_is_left_beside_them():
    """A single day is no bar as wide as the page. How many there are is read from the rows."""
    scale = over_time.spend(bars(1)).spec["layer"][0]["encoding"]["x"]["scale"]
    assert scale["paddingOuter"] == {"expr": "max(0.06, (6 - length(data('source'))) / 2)"}


@pytest.mark.parametrize("name", ["spend", "tokens", "failures", "models"])
def test_bands_have_an_order_of_their_own_and_not_that_of_what_was_drawn_before(name: str):
    chart = every_chart()[name]
    bands = [axis for axis in parts(chart.spec, "sort") if axis is not None]
    assert bands
    assert all(band == {"field": "Order", "op": "min"} for band in bands)
    assert chart.columns["Order"] == list(range(len(chart.columns["Order"])))
