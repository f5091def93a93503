"""Settings > Usage: spend, tokens and calls of what the filters select, and the same as a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import streamlit as st

from lib.access.roles import Action
from lib.db.tables import EVENT_STATUSES, RUN_KINDS, SOURCES
from lib.ui import address, cards, charts, filters, loaders, vega, wording
from lib.ui.cards import Metric
from lib.ui.exports import export_card
from lib.ui.filters import Chosen
from lib.ui.guards import Visit, page
from lib.ui.tables import show_days
from lib.usage.reports import DayRow, Totals, UsageFilter

_FILTERS = ("project", "source", "provider", "model", "kind", "status")
_PROVIDERS = {"openai": "OpenAI"}


def main() -> None:
    """Guard, inputs, load, draw."""
    visit = page(Action.SEE_SPEND)
    head = cards.header("Usage")
    with head.right:
        chosen = filters.choose_period()
    everything = UsageFilter(since=chosen.period.since, until=chosen.period.until, zone=chosen.zone.key)
    wanted = _filter_row(visit, everything)
    projects = filters.projects_in_words(wanted.projects, visit.slugs)
    head.context(wording.escape(f"{projects} · {chosen.label}"))
    now = loaders.totals(wanted, visit.actor)
    st.caption(_matches(now, loaders.totals(everything, visit.actor)))
    if now.calls == 0:
        cards.empty()
        return
    days = loaders.by_day(wanted, visit.actor)
    _metrics(now, loaders.totals(filters.before(wanted, chosen), visit.actor), chosen)
    _charts(days, wanted, visit, chosen)
    cards.section(
        "Days", f"newest first, days in {chosen.zone.key}; the same numbers as the charts and the export"
    )
    show_days(days, zone=chosen.zone.key)
    export_card(visit, wanted, now, period=chosen.label, projects=projects)


def _filter_row(visit: Visit, everything: UsageFilter) -> UsageFilter:
    there = loaders.choices(visit.actor)
    with st.container(horizontal=True, gap="xsmall", vertical_alignment="center"):
        wanted = replace(
            everything,
            projects=_several("Projects", "project", visit.slugs),
            sources=_several("Source", "source", SOURCES, wording.SOURCE),
            providers=_several("Provider", "provider", there.providers, _PROVIDERS),
            models=_several("Models", "model", there.models),
            kinds=_several("Run kind", "kind", RUN_KINDS, wording.KIND),
            statuses=_several("Status", "status", EVENT_STATUSES),
        )
        if wanted != everything:
            icon = ":material/restart_alt:"
            st.button("Reset filters", type="tertiary", icon=icon, on_click=address.clear, args=_FILTERS)
    return wanted


def _several(
    label: str, name: str, options: Sequence[str], words: Mapping[str, str] | None = None
) -> tuple[str, ...]:
    said = words or {}
    return tuple(address.select_many(label, name, options, format_func=lambda code: said.get(code, code)))


def _matches(now: Totals, everything: Totals) -> str:
    words = (
        f"{now.calls:,} of {wording.count(everything.calls, 'call')} match; "
        "every number below counts only these."
    )
    if now.unpriced_calls == 1:
        return f"{words} 1 of them has no known price and is in no total."
    if now.unpriced_calls:
        return f"{words} {now.unpriced_calls:,} of them have no known price and are in no total."
    return words


def _metrics(now: Totals, then: Totals, chosen: Chosen) -> None:
    change, money = wording.change, wording.money
    cost, cost_then = filters.per_thousand(now), filters.per_thousand(then)
    found = [
        Metric("Total spend", money(now.total_nano), change(now.total_nano, then.total_nano)),
        Metric(
            "Platform-funded",
            money(now.platform_nano),
            change(now.platform_nano, then.platform_nano),
            "violet",
        ),
        Metric("BYOK", money(now.byok_nano), change(now.byok_nano, then.byok_nano), "blue"),
        Metric("Cost per 1,000 calls", money(cost), change(cost or 0, cost_then or 0)),
        Metric(
            "Failed calls",
            wording.share(now.failed_calls, now.calls, places=1),
            wording.points(now.failed_calls, now.calls, then.failed_calls, then.calls),
        ),
    ]
    cards.metrics(found, before=chosen.before)


def _charts(days: Sequence[DayRow], wanted: UsageFilter, visit: Visit, chosen: Chosen) -> None:
    with cards.card():
        cards.card_title("Spend per day by source, USD", note=f"days in {chosen.zone.key}")
        vega.show(charts.spend_per_day(days, zone=chosen.zone.key, today=chosen.today))
    left, right = st.columns(2)
    with left, cards.card(height="stretch"):
        cards.card_title("Spend by model, USD", note="both sources")
        vega.show(charts.spend_by_model(loaders.by_model(wanted, visit.actor)))
    with right, cards.card(height="stretch"):
        asked, cached = sum(day.input_tokens for day in days), sum(day.cached_input_tokens for day in days)
        share = wording.share(cached, asked)
        cards.card_title("Tokens per day, millions", note=f"cache share {share} of input" if share else "")
        vega.show(charts.tokens_per_day(days))


main()
