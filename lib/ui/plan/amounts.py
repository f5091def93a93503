"""Both caps typed into a dialog, until when they hold, and what they would change, before anything is saved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, timedelta
from zoneinfo import ZoneInfo

import streamlit as st

from lib.caps.windows import TITLES, Headroom, Window
from lib.clock import Micros
from lib.errors import BadInput
from lib.formatting import money
from lib.pricing.amounts import parse_usd, plain_usd
from lib.ui.base.wording import badge, escape
from lib.usage.periods import day_of, midnight

Amounts = Mapping[str, int]
"""Window -> nano-USD."""
_WEEK = timedelta(days=7)


@dataclass(frozen=True)
class Typed:
    """What stands in the fields; ``problem`` where one of them cannot be read, as a sentence."""

    caps: Amounts
    problem: str = ""


def choose_caps(key: str, now: Amounts) -> Typed:
    """Draw a field for each window, with what holds now in it."""
    fields = st.columns(2)
    texts = {
        name: column.text_input(f"{TITLES[name]} cap, USD", plain_usd(now[name]), key=f"{key}:{name}")
        for name, column in zip(TITLES, fields, strict=True)
    }
    try:
        return Typed({name: _amount(text) for name, text in texts.items()})
    except BadInput as problem:
        return Typed({}, problem.sentence)


def _amount(text: str) -> int:
    nano = parse_usd(text)
    if nano < 0:
        raise BadInput("A cap is 0 USD or more.")
    return nano


def choose_last_day(key: str, now: Micros, zone: ZoneInfo, *, default: date | None = None) -> date:
    """Draw the last day on which something holds; a week from now unless told."""
    today = day_of(now, zone)
    value = max(today, default or today + _WEEK)
    return st.date_input(f"Last day ({zone.key})", value, min_value=today, key=key, format="YYYY-MM-DD")


def end_of(day: date, zone: ZoneInfo) -> Micros:
    """The instant at which a day is over."""
    return midnight(day + timedelta(days=1), zone)


def with_caps(room: Headroom, caps: Amounts) -> list[Window]:
    """Both windows as they would be with other caps."""
    return [replace(window, cap_nano=caps[name]) for name, window in room.windows.items()]


def draw_effect(room: Headroom, caps: Amounts) -> None:
    """Say what these caps would change at once: what is used and free, and what stops."""
    st.markdown("**What this changes at once**")
    for before, after in zip(room.windows.values(), with_caps(room, caps), strict=True):
        taken = money(after.used_nano + after.reserved_nano)
        st.markdown(
            f"{TITLES[after.name]}: {escape(taken)} of {escape(money(after.cap_nano))} used ({after.percent}%), "
            f"{escape(money(after.free_nano))} free instead of {escape(money(before.free_nano))} {_state(after)}"
        )
    st.caption(escape(_consequence(room, caps)))


def _state(window: Window) -> str:
    if not window.free_nano:
        return badge("At cap", "red")
    return badge("Near cap", "orange") if window.is_near else badge("Under cap", "green")


def _consequence(room: Headroom, caps: Amounts) -> str:
    full = [TITLES[window.name] for window in with_caps(room, caps) if not window.free_nano]
    if full:
        return (
            f"At the {' and '.join(full)} cap new chats are refused, scheduled runs and PR reviews wait, and runs in "
            "progress stop at their next call and keep their work."
        )
    if not room.free_nano:
        return "Waiting runs go on when their time comes, and new ones start."
    return "Nothing stops. It counts from the project's next call on."
