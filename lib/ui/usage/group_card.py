"""Usage by group: one control for what is compared, a chart of the largest, and a table in pages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import streamlit as st

from lib.access.roles import Actor
from lib.errors import QodexError
from lib.formatting import count, share
from lib.providers import DEFAULT, title
from lib.reports.groups import LABEL, OF_EVENTS, Group, GroupPage
from lib.reports.models import FIELDS, Totals, UsageFilter
from lib.ui.base import loaders, paging, query_state
from lib.ui.base.paging import draw_pager
from lib.ui.base.server import front_door
from lib.ui.base.tables import (
    arrow,
    cell,
    count_column,
    height_of,
    in_room,
    money_column,
    row_opens,
    wide_enough,
)
from lib.ui.base.wording import KIND, NOBODY, escape, key_name
from lib.ui.base.wrong_links import draw_wrong_links
from lib.ui.charts import over_time, rankings, theme
from lib.ui.charts.buckets import TimeSeries
from lib.ui.parts import cards

PAGE_ROWS = 50
_NOUNS = {"project": "project", "model": "model", "kind": "run kind", "user": "user", "key": "key"}
_NOTES = {
    "project": "both sources",
    "model": "both sources; the model that was asked for",
    "kind": "both sources; of the run that made the call",
    "user": "both sources; who started the run",
    "key": "by the last four characters",
}
_ORDERS = {
    "spend": "Most spent first",
    "calls": "Most calls first",
    "failed": "Most failed calls first",
    "tokens": "Most tokens first",
    "name": "By name",
}
_ROW = 34


@dataclass(frozen=True)
class Grouping:
    """What usage is grouped by: what one group is called, and the filter that shows it alone."""

    group: str
    noun: str
    """project, model, user …; of a label, its name."""
    one_project: bool

    @property
    def one(self) -> str:
        """The noun of one group: project, model, value."""
        return "value" if self.label else self.noun

    @property
    def label(self) -> str:
        """The name of the label; empty where it is none."""
        return self.group.removeprefix(LABEL) if self.group.startswith(LABEL) else ""

    def name(self, row: Group) -> str:
        """What the group is called in charts and tables."""
        if self.group == "key":
            return self._key(row)
        if self.group == "kind":
            return KIND.get(row.name) or row.name or "no run"
        return row.name or {"user": NOBODY}.get(self.group, f"no {self.noun}")

    def _key(self, row: Group) -> str:
        key = key_name(row.name) if row.name else "key unknown"
        key = key if row.provider == DEFAULT else f"{key} ({title(row.provider)})"
        if row.source == "platform":
            return f"Platform {key}"
        return f"BYOK {key}" if self.one_project else f"{row.project} {key}"

    def filter_of(self, row: Group) -> dict[str, str | list[str]]:
        """What the address says to show this group alone; empty where nothing can."""
        if self.label:
            return {"label": f"{self.label}={row.name}"}
        if self.group == "key":
            whose = {"project": row.project} if row.project else {}
            return {"key": [row.name], "source": row.source, "provider": row.provider, **whose}
        if self.group == "user":
            return {"user": [row.name]}
        return {self.group: row.name} if row.name else {}


def draw_group_card(wanted: UsageFilter, series: TimeSeries, projects: Sequence[str], actor: Actor) -> None:
    """The section; by key with what each paid in the bars of ``series``. ``projects``: those that the viewer may see."""
    labels = loaders.cached(front_door().reports.filter_options, actor=actor).labels
    groups = {**_NOUNS, **{f"{LABEL}{name}": name for name in labels}}
    one_project = len(wanted.projects or projects) == 1
    with cards.card():
        row = st.container(
            horizontal=True, vertical_alignment="center", horizontal_alignment="distribute", gap="xsmall"
        )
        head = row.container(width="content")
        with row.container(horizontal=True, width="content", gap="xsmall"):
            group = query_state.select(
                "Grouping",
                "group",
                list(groups),
                default="model" if one_project else "project",
                width=220,
                format_func=lambda name: f"Group by {groups.get(name, name)}",
            )
            order = query_state.select(
                "Order", "sort", list(_ORDERS), default="spend", width=210, format_func=_ORDERS.__getitem__
            )
        grouping = Grouping(group, groups[group], one_project)
        with head:
            note = _NOTES.get(group, "both sources; the value on the day of the call")
            cards.heading(f"Spend by {escape(grouping.noun)}, USD", note=note, width="content")
        try:
            _draw(grouping, wanted, order, actor)
        except QodexError as problem:  # so many calls that the database does not read them in time
            st.caption(escape(problem.sentence))
            return
    if group == "key":
        _draw_keys(grouping, wanted, series, actor)


def _draw_keys(grouping: Grouping, wanted: UsageFilter, series: TimeSeries, actor: Actor) -> None:
    """What each key paid over time, so that a rotation can be followed."""
    found = loaders.cached_for_a_minute(front_door().group_reports.keys_over_time, wanted, actor=actor)
    spent = {}
    for key, moments in found.items():
        name = grouping.name(Group(**key._asdict()))
        spent[name] = key.source, series.folded(moments)
    if any(any(nano) for _, nano in spent.values()):
        title = f"Spend per {series.unit} by key, USD"
        cards.chart_card(title, over_time.keys(series, spent), name="keys", note=series.zone)


def _draw(grouping: Grouping, wanted: UsageFilter, order: str, actor: Actor) -> None:
    ask = front_door().group_reports.page
    load = loaders.cached_for_a_minute if grouping.group in OF_EVENTS else loaders.cached
    largest = load(ask, wanted, grouping.group, actor=actor, order="spend", offset=0)
    paging.beyond(largest.groups, PAGE_ROWS)
    offset = paging.offset(PAGE_ROWS)
    draw_wrong_links()  # of what this section takes from the address
    shown = load(ask, wanted, grouping.group, actor=actor, order=order, offset=offset)
    left, right = st.columns([1, 2])
    with left:
        rows = [(grouping.name(row), row) for row in largest.rows]
        theme.show(rankings.ranking(rows, grouping.one, rest=_rest(largest)))
    with right:
        _draw_table(grouping, shown)
        if shown.groups > PAGE_ROWS:
            with st.container(
                horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"
            ):
                st.caption(
                    f"{count(len(shown.rows))} of {count(shown.groups, grouping.one)}", width="content"
                )
                draw_pager(shown.groups, PAGE_ROWS)


def _rest(largest: GroupPage) -> tuple[int, Totals]:
    """How many groups there are besides, and their sums."""
    beyond = {
        name: getattr(largest.everything, name) - sum(getattr(row, name) for row in largest.rows)
        for name in FIELDS
    }
    return largest.groups - len(largest.rows), Totals(**beyond)


def _draw_table(grouping: Grouping, page: GroupPage) -> None:
    columns = _columns(grouping, page)
    filters = [grouping.filter_of(row) for row in page.rows]
    key = f"usage:groups:{grouping.group}"

    def narrow(row: int) -> None:
        for name, value in filters[row].items():
            query_state.put(name, value)

    money = [*columns["Total"], *columns["Platform-funded"], *columns["BYOK"]]
    config = {name: money_column(money) for name in ("Total", "Platform-funded", "BYOK")}
    config["Share"] = st.column_config.TextColumn(alignment="right")
    config |= dict.fromkeys(("Calls", "Failed", "Cost unknown", "Tokens"), count_column())
    st.dataframe(
        arrow(columns),
        hide_index=True,
        row_height=_ROW,
        height=height_of(len(page.rows), row=_ROW, most=12),
        **(row_opens(key, narrow) if any(filters) else {"key": key}),
        placeholder="",
        alt=f"{count(len(page.rows))} of {count(page.groups, grouping.one)}: spend, calls and tokens",
        column_order=in_room(columns, "Title"),
        column_config=wide_enough(columns, config, next(iter(columns)), "Title"),
    )


def _columns(grouping: Grouping, page: GroupPage) -> dict[str, list[Any]]:
    rows, whole = page.rows, page.everything.total_nano
    titles = [row.title if row.title != row.name else "" for row in rows]
    columns: dict[str, list[Any]] = {
        grouping.one.capitalize(): [grouping.name(row) for row in rows],
        **({"Title": titles} if any(titles) else {}),
        "Total": [cell(row) for row in rows],
        "Share": [share(row.total_nano, whole) for row in rows],
        "Platform-funded": [cell(row, "platform") for row in rows],
        "BYOK": [cell(row, "byok") for row in rows],
        "Calls": [row.calls for row in rows],
        "Failed": [row.failed_calls for row in rows],
        "Cost unknown": [row.unpriced_calls for row in rows],
        "Tokens": [row.input_tokens + row.output_tokens for row in rows],
    }
    if not any(columns["Cost unknown"]):
        del columns["Cost unknown"]
    return columns
