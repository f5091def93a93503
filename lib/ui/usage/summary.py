"""The parts of Settings > Usage: its filters, its numbers and its table of days."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from lib import providers
from lib.access.roles import Actor
from lib.clock import from_micros
from lib.formatting import count, money, share
from lib.reports.models import DayRow, Totals, UsageFilter
from lib.ui.base import filters, loaders, query_state
from lib.ui.base.comparing import cents_adding_up, change, points
from lib.ui.base.filters import Chosen
from lib.ui.base.server import front_door
from lib.ui.base.tables import arrow, cell, count_column, dollars, height_of, in_cents, known, money_column
from lib.ui.base.wording import KIND, NOBODY, SOURCE, escape, key_name
from lib.ui.parts import spend_card
from lib.ui.parts.cards import Metric

FILTERS = ("project", "label", "source", "provider", "model", "kind", "status", "user", "key")
STATUSES = {
    "ok": "Answered",
    "error": "Error answer",
    "broken": "Broken stream",
    "abandoned": "Abandoned stream",
    "unknown": "Outcome unknown",
}


def choose(projects: Mapping[str, str], chosen: Chosen, actor: Actor) -> UsageFilter:
    """Draw the filters, each saying its state, and return what they come to.

    Args:
        projects: short name -> how it is shown, with its title.
        chosen: period and zone.
        actor: who looks.
    """
    known = loaders.cached(front_door().reports.filter_options, actor=actor)
    return UsageFilter(
        projects=tuple(
            query_state.select_many(
                "Projects",
                "project",
                list(projects),
                noun="project that you can see",
                said=_only(projects),
                format_func=projects.__getitem__,
            )
        ),
        sources=tuple(
            query_state.select_many(
                "Source", "source", list(SOURCE), said=_both(), format_func=SOURCE.__getitem__
            )
        ),
        providers=tuple(
            query_state.select_many("Provider", "provider", known.providers, format_func=providers.title)
        ),
        models=tuple(query_state.select_many("Models", "model", known.models, noun="model")),
        kinds=tuple(query_state.select_many("Run kind", "kind", list(KIND), format_func=KIND.__getitem__)),
        statuses=tuple(
            query_state.select_many("Status", "status", list(STATUSES), format_func=STATUSES.__getitem__)
        ),
        users=tuple(
            query_state.type_many(
                "User", "user", placeholder="E-mail", format_func=lambda name: name or NOBODY
            )
        ),
        keys=tuple(
            query_state.type_many(
                "Key",
                "key",
                placeholder="Last four characters",
                format_func=lambda last4: key_name(last4) if last4 else "not known",
            )
        ),
        labels=filters.choose_labels(known.labels),
        since=chosen.period.since,
        until=chosen.period.until,
        zone=chosen.zone.key,
    )


def _only(projects: Mapping[str, str]) -> str | None:
    """The one project that is chosen, without its title: a button has little room."""
    chosen = query_state.many("project", list(projects))
    return chosen[0] if len(chosen) == 1 else None


def _both() -> str | None:
    return None if len(query_state.many("source", list(SOURCE))) == 1 else "both"


def unfiltered(wanted: UsageFilter) -> UsageFilter:
    """The filter without any but its period."""
    return UsageFilter(since=wanted.since, until=wanted.until, zone=wanted.zone)


def which(wanted: UsageFilter, projects: Mapping[str, str]) -> str:
    """The projects of the context line; ``projects`` as in ``choose``."""
    if not wanted.projects:
        return "1 project" if len(projects) == 1 else f"All {len(projects)} projects"
    named = ", ".join(escape(projects[slug]) for slug in wanted.projects[:3])
    more = len(wanted.projects) - 3
    return f"{named} and {more} more" if more > 0 else named


def draw_archived(wanted: UsageFilter, actor: Actor) -> None:
    """Say so where single calls of the period are archived: some cards read these, and not the sums."""
    until = loaders.cached(front_door().reports.calls_missing_before, wanted, actor=actor)
    if until is not None:
        st.caption(
            f"Single calls before {from_micros(until):%-d %b %Y} are archived. Spend, calls and tokens hold them; medians, "
            "lists of calls, and groups by key or person do not."
        )


def count_line(sums: Totals, everything: Totals) -> str:
    """How much of all the filters let through, and what has no price."""
    matching = f"{count(sums.calls)} of {count(everything.calls, 'call')}"
    verb = "matches" if sums.calls == 1 else "match"
    if not sums.calls:
        return f"{matching} {verb}."
    line = f"{count(sums.calls, 'call')}." if sums.calls == everything.calls else f"{matching} {verb}."
    unknown = {
        "platform-funded": sums.platform_unpriced_calls,
        "BYOK": sums.byok_unpriced_calls,
    }
    if sums.unpriced_calls:
        have = "has" if sums.unpriced_calls == 1 else "have"
        are = "is" if sums.unpriced_calls == 1 else "are"
        whose = " and ".join(f"{count(number)} {source}" for source, number in unknown.items() if number)
        line += f" {count(sums.unpriced_calls)} of them ({whose}) {have} no known cost and {are} left out of totals."
    return line


def metrics(sums: Totals, previous: Totals) -> list[Metric]:
    """The five numbers of the page."""
    per, per_before = _per_thousand(sums), _per_thousand(previous)
    return [
        *spend_card.amounts(sums, previous),
        Metric(
            "Cost per 1,000 calls",
            money(per),
            change(per, per_before) if per is not None and per_before is not None else None,
            help="Of calls with a known cost. Error answers, which cost nothing, are left out.",
        ),
        Metric(
            "Failed calls",
            share(sums.failed_calls, sums.calls, places=1),
            points(sums.failed_calls, sums.calls, previous.failed_calls, previous.calls),
            help="Calls that were not answered in full, of all calls.",
        ),
    ]


def _per_thousand(sums: Totals) -> int | None:
    priced = sums.calls - sums.unpriced_calls - sums.error_calls
    return 1000 * sums.total_nano // priced if priced > 0 else None


def _ledgers_adding_up(rows: Sequence[Totals]) -> dict[str, list[float | None]]:
    """Both ledgers in cents that give those of the total beside them; an empty cell where one is unknown."""
    pairs = [
        (None, None)
        if None in {known(row, "platform"), known(row, "byok")}
        else cents_adding_up([row.platform_nano, row.byok_nano])
        for row in rows
    ]
    return {
        SOURCE[source]: [
            cell(row, source) if pair[place] is None else dollars(pair[place])
            for row, pair in zip(rows, pairs, strict=True)
        ]
        for place, source in enumerate(("platform", "byok"))
    }


def draw_days(days: Sequence[DayRow], *, alt: str) -> None:
    """The table of days, newest first."""
    rows = list(reversed(days))
    columns: dict[str, list[Any]] = {
        "Day": [f"{row.day:%a} {row.day.day} {row.day:%b %Y}" for row in rows],
        "Total": [cell(row) for row in rows],
        "Platform-funded": [cell(row, "platform") for row in rows],
        "BYOK": [cell(row, "byok") for row in rows],
        "Calls": [row.calls for row in rows],
        "Failed": [row.failed_calls for row in rows],
        "Cost unknown": [row.unpriced_calls for row in rows],
        "Input tokens": [row.input_tokens for row in rows],
        "Input cached": [share(row.cached_input_tokens, row.input_tokens) for row in rows],
        "Output tokens": [row.output_tokens for row in rows],
    }
    if not any(columns["Cost unknown"]):
        del columns["Cost unknown"]
    money_cells = [*columns["Total"], *columns["Platform-funded"], *columns["BYOK"]]
    if in_cents(money_cells):
        columns |= _ledgers_adding_up(rows)
    st.dataframe(
        arrow(columns),
        hide_index=True,
        row_height=34,
        height=height_of(len(rows), row=34, most=14),
        alt=alt,
        placeholder="",
        column_config={
            **{name: money_column(money_cells) for name in ("Total", "Platform-funded", "BYOK")},
            **dict.fromkeys(
                ("Calls", "Failed", "Cost unknown", "Input tokens", "Output tokens"), count_column()
            ),
            "Input cached": st.column_config.TextColumn(alignment="right"),
        },
    )
