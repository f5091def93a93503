"""The card of spend over time, on Overview and Usage: by day, or by hour where the period is short."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import cast

import streamlit as st

from lib.access.roles import Actor
from lib.clock import HOUR
from lib.ui import charts, filters, loaders, vega
from lib.ui.cards import card, card_title
from lib.ui.filters import Chosen
from lib.usage.figures import DayRow, HourRow, UsageFilter


def steps(wanted: UsageFilter, chosen: Chosen, actor: Actor) -> Sequence[DayRow] | Sequence[HourRow]:
    """The sums of each day of the period, or of each hour up to now where it is short."""
    if not chosen.hourly:
        return loaders.by_day(wanted, actor)
    # Up to the end of this hour: a period that ends with each look would never be found in the cache.
    end = chosen.now - chosen.now % HOUR + HOUR
    return loaders.by_hour(replace(wanted, until=min(chosen.period.until, end)), actor)


def draw(wanted: UsageFilter, chosen: Chosen, actor: Actor, *, title: str) -> None:
    """Draw it; a click on a day narrows the page to that day. ``title`` has ``{step}`` for day or hour."""
    zone = chosen.zone.key
    with card():
        if chosen.hourly:
            card_title(title.format(step="hour"), note=f"hours in {zone}")
            hours = cast(Sequence[HourRow], steps(wanted, chosen, actor))
            vega.show(charts.spend_per_hour(hours, zone=chosen.zone, now=chosen.now))
            return
        card_title(
            title.format(step="day"), note=f"days in {zone}; click a bar to narrow the page to that day"
        )
        days = loaders.by_day(wanted, actor)
        drawn = charts.spend_per_day(days, zone=zone, today=chosen.today)
        # With another period it is another chart: a click that has been followed is not followed again.
        clicked = vega.picked_day(drawn, key=f"spend:{wanted.since}:{wanted.until}")
    if clicked:
        filters.narrow_to(clicked)
        st.rerun()
