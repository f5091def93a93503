"""The parts of Settings > Plan: both windows, what they held, what comes back when, and what one can do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from zoneinfo import ZoneInfo

import streamlit as st

from lib import providers
from lib.access.projects import Project
from lib.caps.forecast.forecasts import CapForecast, HeldForecast
from lib.caps.plans import Plan
from lib.caps.reading import Outlook, Point
from lib.caps.windows import TITLES, Headroom, Window
from lib.clock import DAY, HOUR, MINUTE, Micros, from_micros
from lib.formatting import count, duration, exact, money, moneys, zone_label
from lib.llm import registry
from lib.reports.models import Totals
from lib.ui.base import tables
from lib.ui.base.navigation import INTEGRATIONS, RUN_LOGS, USAGE, link
from lib.ui.base.wording import badge, escape, key_name
from lib.ui.charts import caps, theme
from lib.ui.parts import cards
from lib.ui.parts.cards import Attention
from lib.ui.parts.forecast import cap_outlook
from lib.vault.states import KeyState

AHEAD: Mapping[str, Micros] = {
    "Now": 0,
    "30 min": 30 * MINUTE,
    "1 h": HOUR,
    "2 h": 2 * HOUR,
    "3 h": 3 * HOUR,
    "5 h": 5 * HOUR,
    "12 h": 12 * HOUR,
    "24 h": DAY,
    "48 h": 2 * DAY,
}
_CENTS = 10_000_000


# --- what deserves attention -----------------------------------------------------------------------


def attention_of(
    project: Project,
    keys: Sequence[KeyState],
    room: Headroom,
    *,
    capped: bool,
    waiting: int,
    funded: bool,
    zone: ZoneInfo,
) -> list[Attention]:
    """Caps do not apply, or not to all; there is no platform key to spend from (not ``funded``); one is nearly reached."""
    own = [key for key in keys if key.version]
    lines = [_own_keys(project, own, capped=capped)] if own else [] if funded else [_no_key(project)]
    return [*lines, *(_pressing_cap(project, room, waiting, zone) if capped else [])]


def _no_key(project: Project) -> Attention:
    text = "This server has no platform key, so runs of this project cannot make calls."
    return Attention("No key", "red", text, "Add your key", INTEGRATIONS, {"project": project.slug})


def _pressing_cap(project: Project, room: Headroom, waiting: int, zone: ZoneInfo) -> list[Attention]:
    window = _most_pressing(room)
    if not window.is_near:
        return []
    title, here = TITLES[window.name], {"project": project.slug}
    if window.free_nano:
        text = f"The {title} cap is {window.percent}% used. {escape(money(window.free_nano))} of it is free."
        return [
            Attention("Near cap", "orange", text, "What is spending", USAGE, here | {"source": "platform"})
        ]
    text = f"The {title} cap is used. {_returns(window, room.at, zone)}"
    if waiting:
        text += f" Until then {count(waiting, 'run')} {'waits' if waiting == 1 else 'wait'} and new chats are refused."
    else:
        text += " Until then new chats are refused, and scheduled runs wait."
    return [Attention("At cap", "red", text, "Waiting runs", RUN_LOGS, here | {"status": "waiting"})]


def _own_keys(project: Project, keys: Sequence[KeyState], *, capped: bool) -> Attention:
    named = [escape(key_name(key.last4)) for key in keys]
    if capped or len(keys) > 1:
        named = [
            f"{escape(providers.title(key.provider))} key {name}"
            for key, name in zip(keys, named, strict=True)
        ]
        text = f"This project uses its own {' and '.join(named)}: caps neither count nor limit calls with "
        text += "them." if len(keys) > 1 else "it."
    else:
        text = f"This project uses its own key {named[0]}: caps neither count nor limit its calls."
    if any(key.on_key_failure == "platform" for key in keys):
        text += " If that key fails, calls run on the platform key within these caps."
    return Attention("BYOK", "blue", text, "Open key", INTEGRATIONS, {"project": project.slug})


def _most_pressing(room: Headroom) -> Window:
    """The window that is the last to have room again, or else the one nearest to its cap."""
    full = [window for window in room.windows.values() if not window.free_nano]
    never = float("inf")
    return max(full, key=lambda window: window.returns_at or never) if full else room.nearest


def _returns(window: Window, now: Micros, zone: ZoneInfo) -> str:
    if window.returns_at is None:
        return "No room returns by itself: the cap is too small for any call."
    if window.returns_at <= now:
        return "Running calls hold the rest; room returns when the first of them ends."
    return f"Room returns in {duration(window.returns_at - now)} ({exact(window.returns_at, zone, now=now)})."


# --- windows ---------------------------------------------------------------------------------------


def draw_window(
    window: Window, now: Micros, zone: ZoneInfo, *, forecast: CapForecast | None, applies: bool
) -> None:
    """One window: its state, how much of the cap is taken, and what leaves it next."""
    title = f"{TITLES[window.name]} window"
    taken = window.used_nano + window.reserved_nano
    with cards.card(height="stretch"):
        with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="bottom"):
            with st.container(width="content"):
                cards.heading(title, _state(window, applies=applies))
            st.markdown(f"**{_usd(taken)}** :gray[of {_usd(window.cap_nano)}]", width="content")
        bar = caps.window_bar(
            title, used_nano=window.used_nano, reserved_nano=window.reserved_nano, cap_nano=window.cap_nano
        )
        theme.show(bar)
        parts = moneys(window.used_nano, window.reserved_nano, window.free_nano)
        used, reserved, free = map(escape, parts)
        st.markdown(f"Used **{used}** · reserved by running calls **{reserved}** · free **{free}**")
        if window.unknown_nano:
            st.caption(
                f"Includes {_usd(window.unknown_nano)} for calls with an unknown outcome, "
                "counted at their maximum cost."
            )
        st.caption(_rolls_off(window, now, zone))
        if applies and forecast is not None and window.free_nano:
            st.caption(cap_outlook(forecast, zone))


def _state(window: Window, *, applies: bool) -> str:
    if not applies:
        return badge("Does not apply", "gray")
    if not window.free_nano:
        return badge("At cap", "red")
    return badge("Near cap", "orange") if window.is_near else badge("Under cap", "green")


def _rolls_off(window: Window, now: Micros, zone: ZoneInfo) -> str:
    if window.rolls_off_at is None:
        return "Nothing is in this window."
    at = from_micros(window.rolls_off_at).astimezone(zone)
    return (
        f"Rolls off next: {_usd(window.rolls_off_nano)} in {duration(window.rolls_off_at - now)} "
        f"({at:%a %H:%M} {zone_label(at)}), the oldest calls in the window."
    )


# --- the past week, and what comes back ------------------------------------------------------------


def draw_week(
    points: Sequence[Point], window: Window, spent: Totals, zone: ZoneInfo, *, ahead: Sequence[HeldForecast]
) -> None:
    """What the 7-day window held during the last 7 days, and what it will probably hold; and what counts."""
    with cards.card(height="stretch"):
        cards.heading(
            "Spend in the last 7 days, USD", note=f"rolling sum, platform-funded only; times in {zone.key}"
        )
        theme.show(caps.consumption(points, cap_nano=window.cap_nano, zone=zone, ahead=ahead))
        if ahead:
            st.caption(
                "Dashed: what it will probably hold over the next 48 hours; in four of five cases it stays within "
                "the band. New spend ends at the cap."
            )
        st.caption(_what_counts(window.used_nano - window.unknown_nano, spent))


def draw_empty_week(spent: Totals) -> None:
    """Card of a window that was empty all week: all the room is free, and stays so."""
    with cards.card():
        cards.heading("Spend in the last 7 days, USD")
        st.markdown("Nothing platform-funded has counted in the last 7 days, so all of both caps is free.")
        st.caption(_what_counts(0, spent))


def _what_counts(counted: int, spent: Totals) -> str:
    words = (
        f"Last 7 days: {_usd(counted)} platform-funded, counted. {_usd(spent.byok_nano)} BYOK, not counted."
    )
    imported = spent.platform_nano - counted
    return f"{words} {_usd(imported)} platform-funded but imported, not counted." if imported > 0 else words


def draw_outlook(rows: Sequence[Outlook], zone: ZoneInfo) -> None:
    """How much room there will be, if nothing new is spent."""
    with cards.card(height="stretch"):
        cards.heading("Headroom if nothing new is spent")
        times = [from_micros(row.at).astimezone(zone) for row in rows]
        free = {name: [row.free_nano[name] for row in rows] for name in TITLES}
        small = any(0 < nano < _CENTS for amounts in free.values() for nano in amounts)
        amount = st.column_config.NumberColumn(format="$%,.4f" if small else "$%,.2f")
        columns: dict[str, list[object]] = {
            "In": list(AHEAD),
            f"At ({zone.key})": [f"{time:%a %H:%M}" for time in times],
            **{
                f"{TITLES[name]} free": [tables.dollars(nano) for nano in amounts]
                for name, amounts in free.items()
            },
        }
        st.dataframe(
            tables.arrow(columns),
            hide_index=True,
            row_height=34,
            alt="Room in both windows by time, if nothing new is spent",
            column_config={f"{title} free": amount for title in TITLES.values()},
        )
        st.caption("Each call leaves a window exactly 5 hours or 7 days after it settled.")


# --- what one can do -------------------------------------------------------------------------------


def draw_ways(project: Project, plans: Sequence[Plan], leads: str) -> None:
    """What a project without a key of its own can do at the cap: wait, add a key, change the plan."""
    cards.heading("At the cap, you can")
    wait, key, plan = st.columns(3)
    with wait, cards.card(height="stretch"):
        st.markdown("#### :material/schedule: Wait", anchors=False)
        st.markdown(
            "Headroom returns as calls leave the window. Scheduled runs and PR reviews wait by themselves."
        )
        link(RUN_LOGS, "Show waiting runs", project=project.slug, status="waiting")
    with key, cards.card(height="stretch"):
        st.markdown("#### :material/key: Add your key", anchors=False)
        st.markdown(f"{registry.titles()} bills your account, and caps neither count nor limit your calls.")
        link(INTEGRATIONS, "Add your key", project=project.slug)
    with plan, cards.card(height="stretch"):
        st.markdown("#### :material/speed: Change plan", anchors=False)
        _draw_next_plan(project, plans)
        st.markdown(f"{leads} can ask for more room, above. An administrator decides.")


def _draw_next_plan(project: Project, plans: Sequence[Plan]) -> None:
    names = [plan.name for plan in plans]
    larger = plans[names.index(project.plan) + 1 :]
    if not larger:
        st.markdown(
            f"{escape(project.plan)} is the largest plan. An administrator can give one project caps of its own, "
            "with a reason and an end date."
        )
    else:
        best = larger[0]
        st.markdown(
            f"{escape(best.name)} has {_usd(best.cap_5h_nano)} in 5 hours and {_usd(best.cap_7d_nano)} in 7 days."
        )


def _usd(nano: int) -> str:
    return escape(money(nano))
