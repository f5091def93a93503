"""The line that says since when a key fails, and what followed: on Overview and on Integrations."""

from __future__ import annotations

from zoneinfo import ZoneInfo

from lib.access.projects import Project
from lib.access.roles import Actor
from lib.formatting import count, weekday_time
from lib.providers import title
from lib.reports.models import UsageFilter
from lib.ui.base import loaders
from lib.ui.base.navigation import RUN_LOGS
from lib.ui.base.server import front_door
from lib.ui.base.wording import escape, key_name
from lib.ui.parts.cards import Attention
from lib.vault.states import KeyState, PlatformKeyState


def failing_key(project: Project, state: KeyState, actor: Actor, zone: ZoneInfo) -> Attention:
    """A key that fails or is locked: since when, and what followed."""
    name = f"**{escape(project.slug)}**: "
    if state.status == "locked":
        text = f"{name}{escape(state.lock_reason or 'its key cannot be opened here.')}"
        return Attention("Key locked", "red", text)
    if state.status == "warning":
        why = "its account is out of money" if state.obstacle == "money" else "not from this server's address"
        return Attention(
            "Key unusable",
            "orange",
            f"{name}{title(state.provider)} knows its key, but it cannot be used now: {why}.",
        )
    since = state.failing_since or 0
    what = (
        f"The account of its {title(state.provider)} key is out of money"
        if state.failure == "out_of_money"
        else f"{title(state.provider)} has rejected its key"
    )
    refused = UsageFilter(
        projects=(project.slug,),
        sources=("byok",),
        providers=(state.provider,),
        statuses=("error",),
        since=since,
    )
    calls = loaders.cached(front_door().reports.totals, refused, actor=actor).calls
    followed = "Nothing was spent on the platform key."
    if calls:
        followed = f"{count(calls, 'call')} failed; nothing was spent on the platform key."
    if state.on_key_failure == "platform":
        followed = "Its runs go on with the platform key, within the caps."
    where = {"project": project.slug, "source": "byok", "status": "error"}
    text = f"{name}{what} since {weekday_time(since, zone)}. {followed}"
    return Attention("Key failing", "red", text, "Show runs", RUN_LOGS, where)


def failing_platform_key(funding: PlatformKeyState, zone: ZoneInfo) -> Attention:
    """The key that everybody without one depends on."""
    out = funding.failure == "out_of_money"
    what = (
        f"is out of money at {title(funding.provider)}"
        if out
        else f"has been rejected by {title(funding.provider)}"
    )
    since = weekday_time(funding.failing_since or 0, zone)
    text = (
        f"The platform key {escape(key_name(funding.last4))} {what} since {since}. Projects without a key of "
        "their own cannot make calls; an operator has to act."
    )
    return Attention("Platform key failing", "red", text)
