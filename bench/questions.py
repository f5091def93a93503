"""What the pages Overview and Usage ask the database, as calls of the front door."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from zoneinfo import ZoneInfo

from bench.generator import ACTOR
from bench.traffic import END
from lib.clock import DAY, HOUR, SECOND
from lib.platform import Platform
from lib.reports.models import UsageFilter
from lib.runs.log import RunFilter
from lib.usage.comparison import compared_with
from lib.usage.periods import Period, custom, day_of, preset

HOT = "project-001"
Questions = dict[str, Callable[[], object]]


def month(zone: str = "UTC") -> Period:
    """The pages' own period: 30 days, today included."""
    return preset("30d", ZoneInfo(zone), END)


def year(zone: str = "UTC") -> Period:
    """All of history."""
    last = day_of(END, ZoneInfo(zone))
    return custom(last - timedelta(days=364), last, ZoneInfo(zone))


def over(period: Period, *projects: str, **more: object) -> UsageFilter:
    """The filter of that period."""
    told = {"since": period.since, "until": period.until, "zone": period.zone.key}
    return UsageFilter(projects=projects, **told | more)  # type: ignore[arg-type]


def of_pages(platform: Platform) -> Questions:
    """Everything that the two pages ask with their own period and no filter, or with one project chosen."""
    reports, caps = platform.reports, platform.caps
    wanted, one = over(month()), over(month(), HOT)
    before = over(compared_with("30d", month(), END))
    six = tuple(sorted(reports.by_project(wanted, actor=ACTOR))[:6])

    today = END - END % DAY
    week = over(Period(today - 8 * DAY, today, ZoneInfo("UTC")))
    hours = over(Period(END - 28 * DAY - END % HOUR, END - END % HOUR, ZoneInfo("UTC")))
    rooms = caps.headroom_all(actor=ACTOR)
    now = over(Period(END - 6 * SECOND, END + 1, ZoneInfo("UTC")))
    return {
        "Is there any call?": lambda: reports.any_call(actor=ACTOR),
        "Projects": lambda: platform.projects.list(actor=ACTOR),
        "Totals": lambda: reports.totals(wanted, actor=ACTOR),
        "Totals before": lambda: reports.totals(before, actor=ACTOR),
        "By day": lambda: reports.by_day(wanted, actor=ACTOR),
        "By project": lambda: reports.by_project(wanted, actor=ACTOR),
        "Each project's days": lambda: reports.project_days(wanted, actor=ACTOR),
        "Answered calls without a price": lambda: reports.without_price(
            over(month(), statuses=("ok",)), actor=ACTOR
        ),
        "Each project's last 8 days": lambda: reports.project_days(week, actor=ACTOR),
        "Keys of all projects": lambda: platform.keys.describe_all(actor=ACTOR),
        "Caps of all projects": lambda: caps.headroom_all(actor=ACTOR),
        "Near a cap over time": lambda: caps.count_near_cap_over_time(
            rooms, 80, since=month().since, until=END, actor=ACTOR
        ),
        "Choices of the filters": lambda: reports.filter_options(actor=ACTOR),
        "By model": lambda: reports.by_model(wanted, actor=ACTOR),
        "By model before": lambda: reports.by_model(before, actor=ACTOR),
        "By project before": lambda: reports.by_project(before, actor=ACTOR),
        "Six projects by model": lambda: reports.by_project_and_model(over(month(), *six), actor=ACTOR),
        "One project by model": lambda: reports.by_model(one, actor=ACTOR),
        "One model by day": lambda: reports.by_day(over(month(), models=("gpt-5",)), actor=ACTOR),
        "By hour of 4 weeks": lambda: reports.by_utc_hour(hours, actor=ACTOR),
        "Last 24 hours by hour": lambda: reports.by_hour(
            over(preset("24h", ZoneInfo("UTC"), END)), actor=ACTOR
        ),
        "Latest calls": lambda: platform.call_reports.latest(wanted, actor=ACTOR),
        "Size and speed of calls": lambda: platform.percentiles.spreads(
            wanted, reports.totals(wanted, actor=ACTOR).calls, actor=ACTOR
        ),
        "What caching saves": lambda: platform.caching.by_model(wanted, actor=ACTOR),
        "Latest calls of one project": lambda: platform.call_reports.latest(one, actor=ACTOR),
        "One project's cap use": lambda: caps.consumption(
            HOT, "7d", since=month().since, until=month().until, actor=ACTOR
        ),
        "Anything new?": lambda: reports.totals(now, actor=ACTOR),
    }


def beyond(platform: Platform) -> Questions:
    """What a reader may choose besides: a year, other zones; and the newest runs."""
    reports = platform.reports
    found: Questions = {"Run logs: the newest": lambda: platform.runs.list(RunFilter(), actor=ACTOR)}
    for name, zone in (("", "UTC"), (", Berlin", "Europe/Berlin"), (", Kolkata", "Asia/Kolkata")):
        for length, period in (("30 days", month(zone)), ("year", year(zone))):
            if (name, length) != ("", "30 days"):
                wanted = over(period)
                found[f"By day, {length}{name}"] = lambda wanted=wanted: reports.by_day(wanted, actor=ACTOR)
    found["By model, year"] = lambda: reports.by_model(over(year()), actor=ACTOR)
    found["Each project's days, year"] = lambda: reports.project_days(over(year()), actor=ACTOR)
    return found
