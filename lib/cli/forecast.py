"""``usage forecast``: when caps are reached and what the month will have cost; or how good that would have been."""

from __future__ import annotations

from collections.abc import Sequence

import click

from lib.caps.forecast.backtest import Alarms, Score, alarms, score
from lib.caps.forecast.forecasts import CapForecast, Forecasts, MonthForecast
from lib.caps.forecast.hourly import HourlySpend
from lib.caps.windows import TITLES, WINDOWS, Headroom
from lib.cli.base.output import clock_time, json_option, plain, say, show_json, show_table
from lib.cli.base.session import Session
from lib.clock import HOUR, from_micros
from lib.db.tables import SOURCES
from lib.pricing.amounts import plain_usd

HORIZONS = (1, 5, 24)
_SCORES = (
    *("project", "hours ahead", "forecasts", "loss / pace of 6 h", "loss / yesterday"),
    *("in 50 %", "in 80 %", "in 90 %"),
)
_ALARMS = ("project", "alarms (5-hour cap)", "false", "false a week")
_WHY = {"too little history": "less than three days of history", "idle": "no spend for a day"}


@click.command("forecast")
@click.option("--project", "projects", multiple=True, help="Only this project; may be given again.")
@click.option("--backtest", is_flag=True, help="Score the forecasts that would have been made in the past.")
@json_option
@click.pass_obj
def forecast(session: Session, projects: tuple[str, ...], *, backtest: bool, as_json: bool) -> None:
    """Say when platform-funded spend reaches a cap, and what this month will have cost, each with its range."""
    platform = session.platform
    slugs = tuple(dict.fromkeys(projects)) or tuple(
        each.slug for each in platform.projects.list(actor=session.actor)
    )
    if not slugs:
        say("There is no project yet.")
        return
    (_show_backtest if backtest else _show)(session, platform.forecasts, slugs, as_json=as_json)


# --- forecasts -------------------------------------------------------------------------------------


def _show(session: Session, made: Forecasts, slugs: Sequence[str], *, as_json: bool) -> None:
    found = {name: made.caps(slugs, dict.fromkeys(slugs, name), actor=session.actor) for name in WINDOWS}
    months = {source: made.month(slugs, (source,), actor=session.actor) for source in SOURCES}
    if as_json:
        caps = [{"project": slug, **plain(found[name][slug])} for slug in slugs for name in WINDOWS]
        show_json({"caps": caps, "month": [_public(source, month) for source, month in months.items()]})
        return
    header = ("project", "cap", "is reached", "between", "within 5 hours")
    show_table(header, [_cap(slug, found[name][slug]) for slug in slugs for name in WINDOWS])
    click.echo()
    header = ("ledger", "month", "USD so far", "expected", "between")
    show_table(header, [_month(source, month) for source, month in months.items()])


def _cap(slug: str, found: CapForecast) -> Sequence[object]:
    title = TITLES[found.window]
    if found.why_none:
        return slug, title, f"unknown: {_WHY[found.why_none]}", "", ""
    soon = f"{found.chance_soon:.0%}"
    if found.verdict is None:
        return slug, title, "not within 48 hours", "", soon
    if found.median is None:
        return slug, title, found.verdict, f"not before {clock_time(found.earliest or found.at)}", soon
    return slug, title, f"{found.verdict}, about {clock_time(found.median)}", _between(found), soon


def _between(found: CapForecast) -> str:
    earliest = clock_time(found.earliest or found.at)
    return (
        f"{earliest} and {clock_time(found.latest)}"
        if found.latest
        else f"{earliest} and later than in 48 hours"
    )


def _month(source: str, found: MonthForecast) -> Sequence[object]:
    so_far = plain_usd(found.so_far_nano)
    if found.expected is None:
        return source, f"{found.month:%Y-%m}", so_far, "unknown: less than three days of history", ""
    low, middle, high = (plain_usd(round(each)) for each in found.expected)
    return source, f"{found.month:%Y-%m}", so_far, middle, f"{low} and {high}"


def _public(source: str, found: MonthForecast) -> dict[str, object]:
    expected = found.expected
    names = ("expected_low_usd", "expected_usd", "expected_high_usd")
    amounts = [None] * len(names) if expected is None else [plain_usd(round(each)) for each in expected]
    return {
        "source": source,
        "month": f"{found.month:%Y-%m}",
        "so_far_usd": plain_usd(found.so_far_nano),
        **dict(zip(names, amounts, strict=True)),
    }


# --- back-test -------------------------------------------------------------------------------------


def _show_backtest(session: Session, made: Forecasts, slugs: Sequence[str], *, as_json: bool) -> None:
    spent = made.hourly(slugs, ("platform",), actor=session.actor)
    rows = [
        _score_row(slug, horizon, _scored(session, spent[slug], horizon))
        for slug in slugs
        for horizon in HORIZONS
    ]
    given = {
        slug: _alarms(session, spent[slug], session.platform.caps.headroom(slug, actor=session.actor))
        for slug in slugs
    }
    if as_json:
        show_json(
            {"scores": rows, "alarms": [{"project": slug, **vars(each)} for slug, each in given.items()]}
        )
        return
    show_table(_SCORES, [list(row.values()) for row in rows])
    click.echo()
    show_table(
        _ALARMS, [(slug, each.given, each.false, f"{each.false_a_week:.2f}") for slug, each in given.items()]
    )


def _scored(session: Session, spent: HourlySpend, horizon: int) -> Score | None:
    return score(spent.hours, horizon, weekday=_first_weekday(session, spent))


def _first_weekday(session: Session, spent: HourlySpend) -> int:
    first = from_micros(spent.until - len(spent.hours) * HOUR)
    return first.astimezone(session.platform.settings.zone).weekday()


def _alarms(session: Session, spent: HourlySpend, room: Headroom) -> Alarms:
    cap = float(room.windows["5h"].cap_nano)
    return alarms(spent.hours, cap, WINDOWS["5h"] // HOUR, weekday=_first_weekday(session, spent))


def _score_row(slug: str, horizon: int, found: Score | None) -> dict[str, object]:
    ratios = (None, None) if found is None else (found.to_pace, found.to_yesterday)
    held = {} if found is None else found.held
    return {
        "project": slug,
        "hours_ahead": horizon,
        "forecasts": 0 if found is None else found.forecasts,
        "loss_to_pace": _rounded(ratios[0]),
        "loss_to_yesterday": _rounded(ratios[1]),
        **{f"held_{percent}": _rounded(held.get(percent)) for percent in (50, 80, 90)},
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 2)
