"""Reports for pages, kept for a few seconds. What a person may see is an argument of every cached call.

Keys, runs and caps are never kept: what is shown of them is read from the database each time.
"""

from __future__ import annotations

from datetime import date
from typing import Any, TypeAlias, cast

import streamlit as st

from lib.access.roles import Actor
from lib.clock import Micros
from lib.ui.server import front_door
from lib.usage.call_reports import LatestCalls
from lib.usage.figures import Choices, DayRow, HourRow, ModelRow, ProjectRow, Spend, Totals, UsageFilter

SECONDS_KEPT = 3
Rights: TypeAlias = tuple[str, int, tuple[tuple[str, int], ...]]


def totals(wanted: UsageFilter, actor: Actor) -> Totals:
    """The sums of everything that matches."""
    return cast(Totals, _report("totals", wanted, _rights(actor), actor))


def by_day(wanted: UsageFilter, actor: Actor) -> list[DayRow]:
    """The sums of each day, without gaps."""
    return cast(list[DayRow], _report("by_day", wanted, _rights(actor), actor))


def by_hour(wanted: UsageFilter, actor: Actor) -> list[HourRow]:
    """The sums of each hour of a period with a beginning and an end."""
    return cast(list[HourRow], _report("by_hour", wanted, _rights(actor), actor))


def by_utc_hour(wanted: UsageFilter, actor: Actor) -> dict[Micros, Spend]:
    """What was spent in each hour of UTC that has usage."""
    return cast(dict[Micros, Spend], _report("by_utc_hour", wanted, _rights(actor), actor))


def by_model(wanted: UsageFilter, actor: Actor) -> list[ModelRow]:
    """The sums of each model, the most expensive first."""
    return cast(list[ModelRow], _report("by_model", wanted, _rights(actor), actor))


def by_project(wanted: UsageFilter, actor: Actor) -> dict[str, ProjectRow]:
    """The sums of each project that has usage, by slug."""
    return cast(dict[str, ProjectRow], _report("by_project", wanted, _rights(actor), actor))


def project_days(wanted: UsageFilter, actor: Actor) -> dict[str, dict[date, Spend]]:
    """What each project spent on each day that has usage."""
    return cast(dict[str, dict[date, Spend]], _report("project_days", wanted, _rights(actor), actor))


def without_price(wanted: UsageFilter, actor: Actor) -> dict[str, int]:
    """How many calls have no known cost, by slug of the projects that have any."""
    return cast(dict[str, int], _report("without_price", wanted, _rights(actor), actor))


def latest_calls(wanted: UsageFilter, actor: Actor) -> LatestCalls:
    """What the latest calls say one by one."""
    return _latest_calls(wanted, _rights(actor), actor)


def choices(actor: Actor, *, sample: bool) -> Choices:
    """What there is to filter by."""
    return _choices(sample, _rights(actor), actor)


def forget() -> None:
    """After a change made here, so that the next page shows it at once."""
    _report.clear()
    _choices.clear()
    _latest_calls.clear()


@st.cache_data(ttl=SECONDS_KEPT, max_entries=500, show_spinner=False)
def _report(name: str, wanted: UsageFilter, rights: Rights, _actor: Actor) -> Any:  # noqa: ARG001 - the key
    """One report. ``rights`` stands for the actor in the cache's key; ``_actor`` is not part of it."""
    return getattr(front_door().reports, name)(wanted, actor=_actor)


@st.cache_data(ttl=SECONDS_KEPT, max_entries=100, show_spinner=False)
def _choices(sample: bool, rights: Rights, _actor: Actor) -> Choices:  # noqa: ARG001, FBT001 - the key
    return front_door().reports.choices(actor=_actor, sample=sample)


@st.cache_data(ttl=SECONDS_KEPT, max_entries=100, show_spinner=False)
def _latest_calls(wanted: UsageFilter, rights: Rights, _actor: Actor) -> LatestCalls:  # noqa: ARG001 - the key
    return front_door().call_reports.latest(wanted, actor=_actor)


def _rights(actor: Actor) -> Rights:
    roles = sorted((project, int(role)) for project, role in actor.projects.items())
    return actor.name, int(actor.everywhere or 0), tuple(roles)
