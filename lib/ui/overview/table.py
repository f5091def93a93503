"""What Overview says of each project: who pays, what it spent, and how near it is to its caps."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import cached_property
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import streamlit as st

from lib.access.projects import Project
from lib.access.roles import Actor
from lib.caps.forecast.forecasts import CapForecast
from lib.caps.windows import Headroom
from lib.clock import Micros
from lib.formatting import count
from lib.platform import Platform
from lib.providers import DEFAULT, title
from lib.reports.models import ProjectRow, UsageFilter
from lib.ui.base import loaders
from lib.ui.base.badges import badge_column
from lib.ui.base.navigation import USAGE, go
from lib.ui.base.server import front_door, now
from lib.ui.base.tables import (
    arrow,
    cell,
    count_column,
    dollars,
    height_of,
    in_room,
    money_column,
    row_opens,
    width_of,
)
from lib.ui.base.wording import KEY_STATUS, payer
from lib.ui.charts.buckets import TimeSeries
from lib.ui.parts.forecast import cap_forecasts, short
from lib.vault.states import KeyState

MANY = 1_000
"""Projects, from which on it takes long to look at all of their keys and caps."""
_SHORT = 3
_NAME = "overview:project"
_FULL = 100
_WORTH_A_FORECAST = 30
_MOST_FORECASTS = 20


@dataclass(frozen=True)
class ProjectStatus:
    """One project of the table."""

    project: Project
    key: KeyState
    sums: ProjectRow
    series: list[int] = field(default_factory=list)
    headroom: Headroom | None = None
    """None where the project has a key of its own for whatever the platform could pay for: no cap applies."""
    others: list[KeyState] = field(default_factory=list)
    """Its keys of other providers than the first one."""

    @property
    def keys(self) -> list[KeyState]:
        """The state of the project's key of the first provider, also where there is none, and its keys of others."""
        return [self.key, *self.others]

    @property
    def own_keys(self) -> list[KeyState]:
        """What its calls are for, be it a key that cannot be used."""
        return [key for key in self.keys if key.is_own]

    @cached_property
    def nearest(self) -> int:
        """Percent of the nearest cap; -1 where none applies."""
        return self.headroom.nearest.percent if self.headroom else -1


class State(NamedTuple):
    """What changes without a call, and when it was looked at."""

    at: Micros
    shown: object


def all_projects(number: int, shown: int) -> str:
    """The context line's beginning, where ``shown`` of them are looked at."""
    if shown < number:
        return f"{count(shown)} of {count(number, 'project')}"
    return "1 project" if number == 1 else f"All {count(number)} projects"


def labelled(projects: Sequence[Project], wanted: UsageFilter, at: Micros, actor: Actor) -> list[Project]:
    """The projects that the filter's labels are about: those that have them now, or had with usage of the period."""
    if not wanted.labels:
        return list(projects)
    used = loaders.cached(front_door().reports.by_project, wanted, actor=actor)
    have = front_door().reports.labelled(wanted.labels, at, actor=actor)
    return [each for each in projects if each.slug in used or each.slug in have]


def project_statuses(
    platform: Platform, projects: Sequence[Project], wanted: UsageFilter, actor: Actor
) -> list[ProjectStatus]:
    """All projects, nearest to a cap first, then by spend; without the course of their spend."""
    keys = platform.keys.describe_every(actor=actor)
    sums = loaders.cached(front_door().reports.by_project, wanted, actor=actor)
    rooms = platform.caps.headroom_all(actor=actor)
    found = []
    for project in projects:
        slug = project.slug
        first, *others = keys[slug]
        row = sums.get(slug) or ProjectRow(project=slug)
        room = rooms[slug] if platform.keys.is_capped(keys[slug]) else None
        found.append(ProjectStatus(project, first, row, [], room, others))
    return sorted(found, key=lambda each: (-each.nearest, -each.sums.total_nano, each.project.slug))


def with_series(
    shown: Sequence[ProjectStatus], wanted: UsageFilter, series: TimeSeries, actor: Actor, *, of: int
) -> list[ProjectStatus]:
    """The rows of the table, each with its own spend in the bars of ``series``.

    ``of``: how many projects there are; of many only those that are shown are asked for.
    """
    slugs = tuple(each.project.slug for each in shown) if len(shown) < of else wanted.projects
    spent = _spend_by_bar(replace(wanted, projects=slugs), series, actor)
    return [replace(each, series=spent.get(each.project.slug, [])) for each in shown]


def _spend_by_bar(wanted: UsageFilter, series: TimeSeries, actor: Actor) -> dict[str, list[int]]:
    """Spend of each bar, by project."""
    place = {
        bar.first + timedelta(days=day): number
        for number, bar in enumerate(series.rows)
        for day in range((bar.last - bar.first).days + 1)
    }
    found = {}
    for slug, days in loaders.cached(front_door().reports.project_days, wanted, actor=actor).items():
        sums = [0] * len(series.rows)
        for day, spend in days.items():
            if day in place:  # hours end now; a call that is dated later has no bar
                sums[place[day]] += spend.total_nano
        found[slug] = sums
    return found


def state_of_now(actor: Actor, *, only: Collection[str] | None = None, many: bool = False) -> State:
    """What changes without a call: keys, and room that returns; and when it was looked at.

    Args:
        actor: who looks.
        only: of these projects.
        many: there are so many projects that those of equal rights look together, once a minute.
    """
    platform, slugs = front_door(), only if only is None else sorted(only)
    if many:
        return loaders.cached_for_a_minute(_look, platform, slugs, actor=actor)
    return _look(platform, slugs, actor=actor)


def _look(platform: Platform, only: Collection[str] | None, *, actor: Actor) -> State:
    at = now()
    keys = platform.keys.describe_every(actor=actor)
    rooms = platform.caps.headroom_all(actor=actor)
    shown = [each.slug for each in platform.projects.list(actor=actor) if each.archived_at is None]
    every = {slug: keys[slug] for slug in shown if only is None or slug in only}
    return State(
        at,
        _state(
            {
                slug: (own, rooms[slug] if platform.keys.is_capped(own) else None)
                for slug, own in every.items()
            }
        ),
    )


def state_shown(found: Sequence[ProjectStatus]) -> object:
    """What changes without a call, as the page shows it."""
    return _state({each.project.slug: (each.keys, each.headroom) for each in found})


def _state(shown: Mapping[str, tuple[Sequence[KeyState], Headroom | None]]) -> object:
    projects = {
        slug: (
            [(key.status, key.version) for key in keys],
            [each.percent for each in room.windows.values()] if room else None,
        )
        for slug, (keys, room) in shown.items()
    }
    return [state.status for state in front_door().keys.platform_states()], projects


def forecasts_of(found: Sequence[ProjectStatus], actor: Actor) -> dict[str, CapForecast]:
    """When the nearest cap of each project is reached; only of those that have used some of it, nearest first."""
    near = [each for each in found if each.headroom and _WORTH_A_FORECAST <= each.nearest < _FULL]
    windows = {
        each.project.slug: each.headroom.nearest.name for each in near[:_MOST_FORECASTS] if each.headroom
    }
    return cap_forecasts(windows, actor)


def draw_table(
    found: Sequence[ProjectStatus],
    forecasts: Mapping[str, CapForecast],
    *,
    unit: str,
    alt: str,
    zone: ZoneInfo,
) -> None:
    """The projects; a row leads to the project's Usage."""

    def leave(row: int) -> None:
        go(USAGE, project=found[row].project.slug)

    def leave_by_name() -> None:
        leave(st.session_state[_NAME].row)

    columns = _columns(found, unit)
    columns["Reaches its cap"] = [short(forecasts.get(each.project.slug), zone) for each in found]
    # A line of a day or two says nothing, and hours are not known of each project.
    with_bars = unit != "hour" and max((len(each.series) for each in found), default=0) > _SHORT
    shown = {
        f"Per {unit}": with_bars,
        "Title": any(columns["Title"]),
        "Reaches its cap": any(columns["Reaches its cap"]),
    }
    st.dataframe(
        arrow(columns),
        hide_index=True,
        row_height=38,
        height=height_of(len(found), row=38, most=20),
        **row_opens("overview", leave),
        placeholder="",
        alt=alt,
        column_order=[name for name in in_room(columns, "Title") if shown.get(name, True)],
        column_config=_config(columns, leave_by_name, f"Per {unit}"),
    )


def _config(columns: Mapping[str, Sequence[Any]], leave: Callable[[], None], bars: str) -> dict[str, Any]:
    """How each column is drawn. ``bars``: the one with the course of the period."""
    payers = list(dict.fromkeys(name for cell in columns["Paid by"] for name in cell))
    return {
        "Project": st.column_config.ButtonColumn(  # as text it would be grey, being pinned
            type="tertiary",
            alignment="left",
            pinned=True,
            key=_NAME,
            on_click=leave,
            help="A row opens the project's Usage",
            width=width_of("Project", *columns["Project"]),
        ),
        "Title": st.column_config.TextColumn(width=width_of("Title", *columns["Title"])),
        "Paid by": badge_column({name: "blue" if name.startswith("BYOK") else "violet" for name in payers}),
        "Key": badge_column({word: color for word, color, _ in KEY_STATUS.values()}),
        "Platform-funded": money_column(columns["Platform-funded"]),
        "BYOK": money_column(columns["BYOK"]),
        "Calls": count_column(),
        bars: st.column_config.AreaChartColumn(color="gray", y_min=0, width=95),
        "5-hour cap": _cap_column(),
        "7-day cap": _cap_column(),
        "Reaches its cap": st.column_config.TextColumn(
            width=170,
            help="About when, and the range that four of five outcomes lie in; empty where it is unlikely.",
        ),
    }


def _columns(found: Sequence[ProjectStatus], unit: str) -> dict[str, list[Any]]:
    return {
        "Project": [each.project.slug for each in found],
        "Title": ["" if each.project.name == each.project.slug else each.project.name for each in found],
        "Paid by": [_payers(each) for each in found],
        "Key": [_health(each) for each in found],
        "Platform-funded": [cell(each.sums, "platform") for each in found],
        "BYOK": [cell(each.sums, "byok") for each in found],
        "Calls": [each.sums.calls or None for each in found],
        f"Per {unit}": [[dollars(value) for value in each.series] for each in found],
        "5-hour cap": [_percent(each, "5h") for each in found],
        "7-day cap": [_percent(each, "7d") for each in found],
    }


def _health(each: ProjectStatus) -> list[str]:
    return list(dict.fromkeys(KEY_STATUS[key.health][0] for key in each.own_keys))


def _payers(each: ProjectStatus) -> list[str]:
    """The project's own keys; where there are those of other providers, each with its provider's name."""
    own = [payer(key.source, key.last4) for key in each.own_keys if key.version]
    if any(key.provider != DEFAULT for key in each.own_keys):
        names = [title(key.provider) for key in each.own_keys if key.version]
        own = [f"{who} {name}" for who, name in zip(own, names, strict=True)]
    return own or [payer("platform", None)]


def _percent(each: ProjectStatus, window: str) -> int | None:
    return each.headroom.windows[window].percent if each.headroom else None


def _cap_column() -> Any:
    return st.column_config.ProgressColumn(
        color="violet", format="%d%%", min_value=0, max_value=100, width=105
    )
