"""The charts of Settings > Usage, two beside each other: each with title, unit, zone, table and empty state."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import streamlit as st

from lib.access.roles import Actor
from lib.caps.windows import WINDOWS
from lib.formatting import count, share
from lib.reports import weekly
from lib.reports.models import Totals, UsageFilter
from lib.ui.base import loaders
from lib.ui.base.filters import Chosen
from lib.ui.base.server import front_door
from lib.ui.base.wording import escape
from lib.ui.charts import caps as cap_charts
from lib.ui.charts import heat_map, over_time, theme
from lib.ui.charts.buckets import TimeSeries
from lib.ui.parts import cards
from lib.ui.usage.summary import STATUSES


@dataclass(frozen=True)
class Card:
    """One chart with its title; or in its place the sentence that says why there is none."""

    name: str
    title: str
    note: str
    chart: theme.Chart | None
    empty: str = ""


def draw_usage_charts(
    wanted: UsageFilter,
    series: TimeSeries,
    sums: Totals,
    projects: Sequence[str],
    chosen: Chosen,
    actor: Actor,
) -> None:
    """All of them but the first, spend over time."""
    found = list(_cards(wanted, series, sums, projects, chosen, actor))
    with st.container():  # so that what follows has its place, however many there are, and is not drawn anew
        for place in range(0, len(found), 2):
            _draw_pair(found[place : place + 2])


def _draw_pair(pair: Sequence[Card]) -> None:
    height = max((card.chart.height for card in pair if card.chart), default=0)
    for column, card in zip(st.columns(len(pair)), pair, strict=True):
        with column:
            _draw(card, height)


def _draw(card: Card, height: int) -> None:
    if card.chart:
        drawn = replace(card.chart, height=height)
        cards.chart_card(card.title, drawn, name=card.name, note=card.note, height="stretch")
        return
    with cards.card(height="stretch"):
        cards.heading(card.title, note=card.note)
        st.caption(escape(card.empty))


def _cards(
    wanted: UsageFilter,
    series: TimeSeries,
    sums: Totals,
    projects: Sequence[str],
    chosen: Chosen,
    actor: Actor,
) -> Iterator[Card]:
    named = wanted.projects or projects
    if len(named) == 1:
        yield _cap_use(named[0], chosen, actor)
    tokens = f"Tokens per {series.unit}, {over_time.tokens_unit(series)}"
    yield Card("tokens", tokens, f"{series.zone}{_cached(sums)}", over_time.tokens(series))
    yield _failures(series, sums)
    if heat := _heat(wanted, chosen, actor):
        yield heat


def _cached(sums: Totals) -> str:
    """How much of the input came from the provider's cache."""
    found = share(sums.cached_input_tokens, sums.input_tokens)
    return f"; {found} of input cached" if found else ""


def _failures(series: TimeSeries, sums: Totals) -> Card:
    title, zone = f"Failed calls per {series.unit}, by status", series.zone
    if not sums.failed_calls:
        answered = f"All {count(sums.calls, 'call')} were answered in full."
        return Card("failures", title, zone, None, answered)
    part = share(sums.failed_calls, sums.calls, places=1)
    note = f"{zone}; {count(sums.failed_calls)} of {count(sums.calls, 'call')}, {part}"
    return Card("failures", title, note, over_time.failures(series, STATUSES))


def _heat(wanted: UsageFilter, chosen: Chosen, actor: Actor) -> Card | None:
    """An average week; of a period that is shorter than one, its hours."""
    stretch = weekly.latest_weeks(chosen.period.since, chosen.period.until, chosen.now)
    if stretch is None or chosen.hourly:
        return None
    since, until = stretch
    spent = loaders.cached_for_a_minute(
        front_door().reports.by_utc_hour, replace(wanted, since=since, until=until), actor=actor
    )
    title, zone = "Spend by hour and weekday, USD", chosen.zone.key
    weeks = (until - since) // weekly.WEEK
    note = f"average hour of the latest {count(weeks, 'week')}" if weeks else "the hours that are over"
    if not spent:
        return Card("hours", title, f"{note}; {zone}", None, "No calls in these hours.")
    drawn = heat_map.heat_map(weekly.week(spent, since, until, chosen.zone))
    return Card("hours", title, f"{note}; {zone}", drawn)


def _cap_use(slug: str, chosen: Chosen, actor: Actor) -> Card:
    """Both windows over the period, of the one project that the page is about."""
    caps, since, until = front_door().caps, chosen.period.since, chosen.period.until
    title = "Cap use, % of today's caps"
    five, seven = (caps.consumption(slug, name, since=since, until=until, actor=actor) for name in WINDOWS)
    if not seven:
        return Card("caps", title, escape(slug), None, "Not kept: the calls of this period are archived.")
    if not any(point.nano for point in seven):
        return Card("caps", title, escape(slug), None, "Nothing counted against the caps in this period.")
    windows = caps.headroom(slug, actor=actor).windows
    drawn = cap_charts.cap_use(
        five, seven, caps={name: window.cap_nano for name, window in windows.items()}, zone=chosen.zone
    )
    note = f"{escape(slug)}; line: 7 days, area: 5 hours; {chosen.zone.key}"
    return Card("caps", title, note, drawn)
