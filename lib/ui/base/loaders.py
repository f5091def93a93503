"""Reports for pages, kept for a few seconds. What a person may see is an argument of every cached call.

Keys, runs and today's caps are never kept: what is shown of them is read from the database each time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date
from typing import Any, cast

import streamlit as st

from lib.access.roles import Actor
from lib.caps.windows import Headroom
from lib.clock import Micros
from lib.reports.calls import LatestCalls
from lib.reports.models import Choices, DayRow, HourRow, ModelRow, ProjectRow, Spend, Totals, UsageFilter
from lib.ui.base.server import front_door

SECONDS_KEPT = 3


def totals(wanted: UsageFilter, actor: Actor) -> Totals:
    """The sums of everything that matches."""
    return cast(Totals, _report("totals", wanted, actor))


def by_day(wanted: UsageFilter, actor: Actor) -> list[DayRow]:
    """The sums of each day, without gaps."""
    return cast(list[DayRow], _report("by_day", wanted, actor))


def by_hour(wanted: UsageFilter, actor: Actor) -> list[HourRow]:
    """The sums of each hour of a period with a beginning and an end."""
    return cast(list[HourRow], _report("by_hour", wanted, actor))


def by_utc_hour(wanted: UsageFilter, actor: Actor) -> dict[Micros, Spend]:
    """What was spent in each hour of UTC that has usage."""
    return cast(dict[Micros, Spend], _report("by_utc_hour", wanted, actor))


def by_model(wanted: UsageFilter, actor: Actor) -> list[ModelRow]:
    """The sums of each model, the most expensive first."""
    return cast(list[ModelRow], _report("by_model", wanted, actor))


def by_project(wanted: UsageFilter, actor: Actor) -> dict[str, ProjectRow]:
    """The sums of each project that has usage, by slug."""
    return cast(dict[str, ProjectRow], _report("by_project", wanted, actor))


def project_days(wanted: UsageFilter, actor: Actor) -> dict[str, dict[date, Spend]]:
    """What each project spent on each day that has usage."""
    return cast(dict[str, dict[date, Spend]], _report("project_days", wanted, actor))


def without_price(wanted: UsageFilter, actor: Actor) -> dict[str, int]:
    """How many calls have no known cost, by slug of the projects that have any."""
    return cast(dict[str, int], _report("without_price", wanted, actor))


def latest_calls(wanted: UsageFilter, actor: Actor) -> LatestCalls:
    """What the latest calls say one by one."""
    found = _kept(
        _key("latest", wanted, actor), lambda: front_door().call_reports.latest(wanted, actor=actor)
    )
    return cast(LatestCalls, found)


def near_over_time(
    rooms: Mapping[str, Headroom], percent: int, since: Micros, until: Micros, actor: Actor
) -> list[int]:
    """How many of these projects had used so much of a cap of today, at evenly spaced instants.

    Kept for a minute: what counted by then stays as it is, because calls count when they settle, and imports never.
    """
    caps = {slug: [window.cap_nano for window in room.windows.values()] for slug, room in rooms.items()}
    found = _kept_for_a_minute(
        _key("near", (caps, percent, since, until), actor),
        lambda: front_door().caps.near_over_time(rooms, percent, since=since, until=until, actor=actor),
    )
    return cast(list[int], found)


def choices(actor: Actor, *, sample: bool) -> Choices:
    """What there is to filter by."""
    found = _kept(
        _key("choices", sample, actor), lambda: front_door().reports.choices(actor=actor, sample=sample)
    )
    return cast(Choices, found)


def forget() -> None:
    """After a change made here, so that the next page shows it at once."""
    _kept.clear()
    _kept_for_a_minute.clear()


def _report(name: str, wanted: UsageFilter, actor: Actor) -> Any:
    report = getattr(front_door().reports, name)
    return _kept(_key(name, wanted, actor), lambda: report(wanted, actor=actor))


@st.cache_resource(ttl=SECONDS_KEPT, max_entries=500, show_spinner=False)
def _kept(key: str, _ask: Callable[[], Any]) -> Any:  # noqa: ARG001 - it is what the answer is kept by
    """The answer itself, not a copy for each page: nobody changes it."""
    return _ask()


@st.cache_resource(ttl=60, max_entries=100, show_spinner=False)
def _kept_for_a_minute(key: str, _ask: Callable[[], Any]) -> Any:  # noqa: ARG001 - as above
    """The same for what is over. A function of its own: Streamlit has one cache for each."""
    return _ask()


def _key(name: str, asked: object, actor: Actor) -> str:
    """Tells a question from all others. A text, because hashing the filter itself takes as long as some answers."""
    roles = sorted((project, int(role)) for project, role in actor.projects.items())
    return repr((name, asked, actor.name, int(actor.everywhere or 0), roles))
