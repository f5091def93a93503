"""The filters and the table of Run logs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from lib.formatting import ago, count, duration, exact
from lib.runs.log import RunFilter, RunRow
from lib.ui.base import paging, query_state
from lib.ui.base.badges import badge_column
from lib.ui.base.filters import Chosen
from lib.ui.base.server import front_door
from lib.ui.base.tables import (
    arrow,
    call_cost_column,
    count_column,
    dollars,
    height_of,
    in_room,
    row_opens,
    titles_of,
    wide_enough,
)
from lib.ui.base.wording import KIND, RUN_STATUS, SOURCE, SOURCE_COLOR, escape, payer, run_status
from lib.ui.shell.failures import is_answering
from lib.ui.shell.guards import current_actor

FILTERS = ("project", "kind", "status", "source", "q")
PAGE_ROWS = 15
LIVE_SECONDS = 5
_NAMED = 3


def choose(projects: Mapping[str, str], chosen: Chosen) -> RunFilter:
    """Draw the filters and return what they come to, on the page that the address names.

    ``projects``: short name -> how it is shown, with its title.
    """
    slugs = query_state.select_many(
        "Projects",
        "project",
        list(projects),
        noun="project that you can see",
        format_func=projects.__getitem__,
    )
    kinds = query_state.select_many("Run kind", "kind", list(KIND), format_func=KIND.__getitem__)
    words = {name: word for name, (word, _) in RUN_STATUS.items()}
    statuses = query_state.select_many("Status", "status", list(words), format_func=words.__getitem__)
    source = _source()
    search = query_state.search("Search", "q", placeholder="Run id or request id", width=230)
    return RunFilter(
        projects=tuple(slugs),
        kinds=tuple(kinds),
        statuses=tuple(statuses),
        source=source,
        # Who searches for an id wants it from whenever it is.
        since=None if search else chosen.period.since,
        # A period that lasts until now has no end: what begins while the page is open belongs to it.
        until=None if search or is_live(chosen) else chosen.period.until,
        search=search,
        limit=PAGE_ROWS,
        offset=paging.offset(PAGE_ROWS),
    )


def is_live(chosen: Chosen) -> bool:
    """Whether the period lasts until now."""
    return chosen.period.until >= chosen.now


def _source() -> str | None:
    chosen = query_state.select_many(
        "Paid by", "source", list(SOURCE), format_func=SOURCE.__getitem__, said=None
    )
    return chosen[0] if len(chosen) == 1 else None


def which(wanted: RunFilter, projects: int) -> str:
    """The projects of the context line."""
    if not wanted.projects:
        return "1 project" if projects == 1 else "All projects"
    return ", ".join(escape(slug) for slug in wanted.projects[:_NAMED]) + (
        " and more" if len(wanted.projects) > _NAMED else ""
    )


def draw_run_list(rows: Sequence[RunRow], chosen: Chosen, titles: Mapping[str, str]) -> None:
    """The runs, newest first; choosing one opens its card below. ``titles``: of projects, by short name."""
    names = [row.run_id for row in rows]
    shown = query_state.text("run", 40)

    def opened(row: int) -> None:
        query_state.put_silently("run", names[row])

    def closed() -> None:
        query_state.put_silently("run", None)

    states = [
        run_status(row.status, stopped_by=row.stopped_by, failed_calls=row.failed_calls) for row in rows
    ]
    paid = [payer(row.source, row.last4) for row in rows]
    named = titles_of([row.project for row in rows], titles)
    columns: dict[str, list[Any]] = {
        "Status": [[word] for word, _ in states],
        "Run": names,
        "Project": [row.project for row in rows],
        **({"Title": named} if any(named) else {}),
        "Kind": [KIND.get(row.kind, row.kind) for row in rows],
        "Started": [ago(row.started_at, chosen.now) for row in rows],
        "Duration": [_duration(row, chosen) for row in rows],
        "Cost": [_cost(row) for row in rows],
        "Paid by": [[name] if name else [] for name in paid],
        "Calls": [row.calls for row in rows],
        "Tokens": [row.tokens if row.calls else None for row in rows],
    }
    st.dataframe(
        arrow(columns),
        hide_index=True,
        row_height=34,
        height=height_of(len(rows), row=34, most=PAGE_ROWS),
        **row_opens(f"runs:{names[0]}:{len(names)}", opened, closed=closed),
        placeholder="",
        selection_default={"selection": {"rows": [names.index(shown)]}} if shown in names else None,
        alt=f"{count(len(rows), 'run')}, newest first; choose one to see its calls",
        column_order=in_room(columns, "Title"),
        column_config=wide_enough(
            columns,
            {
                "Status": badge_column(dict(states)),
                "Calls": count_column(),
                "Tokens": count_column(),
                "Cost": call_cost_column(columns["Cost"]),
                "Paid by": badge_column(
                    {
                        name: SOURCE_COLOR[row.source]
                        for name, row in zip(paid, rows, strict=True)
                        if row.source
                    }
                ),
            },
            "Project",
            "Title",
        ),
    )


@st.fragment(run_every=LIVE_SECONDS)
def watch(wanted: RunFilter, seen: tuple[Sequence[RunRow], int]) -> None:
    """Run the page again when a run has begun, moved on or ended since it was drawn."""
    if not query_state.is_current():
        return  # the browser has not heard yet of what is chosen
    if not is_answering():
        st.caption(
            "The database does not answer. This is the list of before; it is followed again as soon as it does."
        )
        return
    rows, total = front_door().runs.list(wanted, actor=current_actor())
    if (list(rows), total) != (list(seen[0]), seen[1]):
        st.rerun()


def _duration(row: RunRow, chosen: Chosen) -> str:
    if row.status == "waiting" and row.resumes_at is not None:
        return f"until {exact(row.resumes_at, chosen.zone, now=chosen.now)}"
    return duration((row.ended_at or chosen.now) - row.started_at)


def _cost(row: RunRow) -> float | None:
    """What is known of it; $0 where no call was made, empty where no call has a known price."""
    if not row.calls and row.ended_at is not None:
        return 0.0
    return dollars(row.platform_nano + row.byok_nano) if row.calls > row.unpriced_calls else None
