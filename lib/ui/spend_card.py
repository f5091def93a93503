"""The card of spend over time, on Overview and Usage: by day, or by hour where the period is short."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import streamlit as st

from lib.access.roles import Actor
from lib.ui import charts, filters, loaders, vega
from lib.ui.cards import card, card_title
from lib.ui.filters import Chosen
from lib.usage.reports import DayRow, UsageFilter


def draw(days: Sequence[DayRow], wanted: UsageFilter, chosen: Chosen, actor: Actor, *, title: str) -> None:
    """Draw it; a click on a day narrows the page to that day. ``title`` has ``{step}`` for day or hour."""
    zone = chosen.zone.key
    with card():
        if chosen.hourly:
            card_title(title.format(step="hour"), note=f"hours in {zone}")
            # Hours to come are no bars.
            until = min(chosen.period.until, chosen.now + 1)
            hours = loaders.by_hour(replace(wanted, until=until), actor)
            vega.show(charts.spend_per_hour(hours, zone=chosen.zone, now=chosen.now))
            return
        card_title(
            title.format(step="day"), note=f"days in {zone}; click a bar to narrow the page to that day"
        )
        drawn = charts.spend_per_day(days, zone=zone, today=chosen.today)
        # With another period it is another chart: a click that has been followed is not followed again.
        clicked = vega.picked_day(drawn, key=f"spend:{wanted.since}:{wanted.until}")
    if clicked:
        filters.narrow_to(clicked)
        st.rerun()
