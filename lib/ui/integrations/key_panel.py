"""What Integrations says of a project's key: badges, facts, attention, and what a key of one's own changes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal
from zoneinfo import ZoneInfo

import streamlit as st

from lib.access.projects import Project
from lib.access.roles import Actor
from lib.caps.windows import TITLES, Headroom, Window
from lib.clock import DAY, Micros, from_micros
from lib.formatting import ago, count, day, exact, money, percent_down
from lib.llm.provider import Provider
from lib.platform import Platform
from lib.providers import DEFAULT, title, titles
from lib.reports.models import UsageFilter
from lib.runs.log import RunFilter
from lib.ui.base import loaders
from lib.ui.base.server import front_door
from lib.ui.base.wording import FAILURE, KEY_STATUS, badge, code, escape, key_code, quote
from lib.ui.parts.cards import Attention, facts
from lib.ui.parts.key_attention import failing_key, failing_platform_key
from lib.ui.shell.guards import Viewer
from lib.vault.states import KeyState, PlatformKeyState

_ADVICE = """
- {create}
- Set a spend limit there: Qodex does not cap your key. {spend_limit}
- {restricted}
- Whoever sees this page sees its last four characters, never more.
"""
OBSTACLE = {
    "money": "No money: add credit or raise the limit at {company}. This line stays until a call succeeds.",
    "address": "{company} does not take it from this server's address: allow that address at {company}, then check again.",
}
"""What stands in the way of a key that the provider knows, and what to do."""
_CHANGES = {
    "Key used": ("Qodex's platform key", "Your project's key"),
    "Caps": ("Usage counts against the 5-hour and 7-day caps", "Caps neither count nor limit it"),
    "Bill": ("Qodex pays", "{company} bills your account, no margin"),
    "Key management": (
        "Qodex manages the key",
        "Your team rotates the key and sets spend limits at {company}",
    ),
}


ROTATE_AFTER = 90 * DAY

Payer = Literal["own", "platform", "nobody", "unused"]
"""Who pays for calls to a provider; ``unused``: nobody, but the project can call another one."""
_NOT_OWN = {
    "platform": ("Platform-funded", "violet"),
    "nobody": ("No key", "red"),
    "unused": ("No key", "gray"),
}


def payers(states: Sequence[KeyState], fundings: Sequence[PlatformKeyState]) -> list[Payer]:
    """Who pays for calls to each provider; ``fundings``: of the same providers, in the same order."""
    found: list[Payer] = [
        "own" if state.is_own else "platform" if funding.status != "none" else "nobody"
        for state, funding in zip(states, fundings, strict=True)
    ]
    idle: Payer = "unused" if set(found) != {"nobody"} else "nobody"
    return [idle if each == "nobody" else each for each in found]


def badges(state: KeyState, at: Micros, payer: Payer) -> list[str]:
    """Whose key is in use, how it is, and whether it is old."""
    if not state.is_own:
        return [badge(*_NOT_OWN[payer])]
    word, color, icon = KEY_STATUS[state.health]
    own = [badge("Your key", "blue", "key")] if state.version else []
    old = state.version and state.saved_at is not None and at - state.saved_at >= ROTATE_AFTER
    return [
        *own,
        badge(word, color, icon),
        *([badge("Not rotated for 90 days", "orange", "update")] if old else []),
    ]


def sentence(project: Project, state: KeyState, payer: Payer) -> str:
    """Who pays."""
    slug = escape(project.slug)
    if state.status == "locked":
        return f"The calls of {slug} are stopped. Nothing is sent, and nothing is spent on the platform key."
    if state.version:
        return f"{title(state.provider)} bills the calls of {slug} to your account. Caps neither count nor limit them."
    calls = f"calls of {slug}" if state.provider == DEFAULT else f"{title(state.provider)} calls of {slug}"
    if payer != "platform":
        return f"Nobody pays for {calls} yet: add your key, or ask the operator for a platform key."
    plan = escape(project.plan)
    return f"Qodex pays for the {calls}. They count against the caps of the **{plan}** plan."


def draw_facts(
    platform: Platform,
    project: Project,
    state: KeyState,
    viewer: Viewer,
    at: Micros,
    zone: ZoneInfo,
    payer: Payer,
) -> None:
    """The table of the key in use; none of a provider that the project does not use."""
    if state.version:
        rows = _own_key(state, viewer, at, zone) | _spend(project, state, viewer.actor)
    elif state.status == "locked":
        rows = {"Locked": escape(state.lock_reason or "")}
    elif payer == "unused":
        return
    else:
        room = platform.caps.headroom(project.slug, actor=viewer.actor)
        rows = _platform_key(room, funded=payer == "platform")
        rows |= _last_platform_use(platform, project, viewer.actor, at, zone)
    facts(rows, alt=f"The {title(state.provider)} key of {project.slug}")


def _own_key(state: KeyState, viewer: Viewer, at: Micros, zone: ZoneInfo) -> dict[str, str]:
    rows, company = {"Key": key_code(state.last4)}, title(state.provider)
    if state.status == "locked":
        rows["Locked"] = escape(state.lock_reason or "It cannot be opened here.")
    if state.failing_since is not None:
        rows[f"{company} says"] = quote(state.failure_message or FAILURE.get(state.failure or "", "failed"))
        codes = [code(str(part)) for part in (state.failure_status, state.failure_code) if part]
        request = f"· request {code(state.failure_request_id)}" if state.failure_request_id else ""
        rows["Error"] = " ".join([*codes, request]).strip() or "no code"
        rows["Failing since"] = _with_exact(state.failing_since, "", at, zone)
    elif state.check_message:
        rows[f"{company} says"] = escape(state.check_message)
    if state.obstacle:
        rows["In the way"] = OBSTACLE[state.obstacle].format(company=company)
    elif state.health == "unproven":
        rows["Usable"] = f"{company} knows this key; whether it can pay shows with the first call."
    if state.workspace:
        rows["Workspace"] = f"{code(state.workspace)}, which {company} bills"
    rows["Saved"] = _with_exact(state.saved_at, f" by {escape(viewer.called(state.saved_by))}", at, zone)
    verdict = f", known to {company}" if state.status in {"working", "warning"} else ""
    rows["Last checked"] = _with_exact(state.last_checked_at, verdict, at, zone)
    run = f" by run {escape(state.last_used_run)}" if state.last_used_run else ""
    rows["Last used"] = _with_exact(state.last_used_at, run, at, zone)
    return rows


def _with_exact(moment: Micros | None, said: str, at: Micros, zone: ZoneInfo) -> str:
    if moment is None:
        return "never"
    return f"{ago(moment, at)}{said} :gray[· {exact(moment, zone, now=at)}]"


def _spend(project: Project, state: KeyState, actor: Actor) -> dict[str, str]:
    wanted = UsageFilter(
        projects=(project.slug,), sources=("byok",), providers=(state.provider,), since=state.saved_at
    )
    sums = loaders.cached(front_door().reports.totals, wanted, actor=actor)
    amount = escape(money(sums.byok_nano))
    unpriced = f"; {count(sums.unpriced_calls)} more at unknown cost" if sums.unpriced_calls else ""
    priced = count(sums.calls - sums.unpriced_calls, "call")
    return {"Spend since saved": f"{amount} in {priced}, billed by {title(state.provider)}{unpriced}"}


def _platform_key(headroom: Headroom, *, funded: bool) -> dict[str, str]:
    rows = {"Key": "Qodex's platform key" if funded else "none"}
    for name, window in headroom.windows.items():
        rows[f"{TITLES[name]} cap"] = _cap(window)
    return rows


def _cap(window: Window) -> str:
    taken = window.used_nano + window.reserved_nano
    state = badge("At cap", "red") if window.free_nano == 0 else ""
    if not state and window.is_near:
        state = badge("Near cap", "orange")
    used = percent_down(taken, window.cap_nano)
    amounts = f"{escape(money(taken))} of {escape(money(window.cap_nano))}"
    return f"{state} {used} used :gray[· {amounts}]".strip()


def _last_platform_use(
    platform: Platform, project: Project, actor: Actor, at: Micros, zone: ZoneInfo
) -> dict[str, str]:
    run = platform.runs.latest(RunFilter((project.slug,), source="platform"), actor=actor)
    if run is None:
        return {"Last used": "never"}
    return {
        "Last used": _with_exact(run.ended_at or run.started_at, f" by run {escape(run.run_id)}", at, zone)
    }


def attention_of(
    project: Project,
    states: Sequence[KeyState],
    fundings: Sequence[PlatformKeyState],
    actor: Actor,
    zone: ZoneInfo,
) -> list[Attention]:
    """What a lead has to do something about; ``fundings``: of the same providers, in the same order."""
    lines = []
    for state, funding in zip(states, fundings, strict=True):
        if state.status in {"failing", "locked"} or state.obstacle:
            lines.append(failing_key(project, state, actor, zone))
        if not state.version and funding.status == "failing":
            lines.append(failing_platform_key(funding, zone))
    if not any(state.version for state in states) and all(each.status == "none" for each in fundings):
        text = f"Runs of {escape(project.slug)} cannot make calls: it has no key, and this server has no platform key."
        lines.append(Attention("No key", "red", text))
    return lines


def policy_note(project: Project, state: KeyState, viewer: Viewer, zone: ZoneInfo) -> str:
    """Who chose it, and what it is not for."""
    rest = "Rate limits and outages are not refusals: nothing changes then."
    if state.provider != DEFAULT:
        return rest
    if project.policy_set_at is None:
        return f"Stop is the default. {rest}"
    name = "stop" if project.on_key_failure == "stop" else "fall back"
    by = escape(viewer.called(project.policy_set_by))
    return f"Set to {name} by {by}, {day(from_micros(project.policy_set_at).astimezone(zone))}. {rest}"


def advice(provider: Provider) -> str:
    """What to know before a key is added."""
    hint = provider.key_hint
    return _ADVICE.format(create=hint.create, restricted=hint.restricted, spend_limit=hint.spend_limit)


def provider_links(provider: Provider) -> str:
    """Where the spend of one's own key is watched and limited."""
    links = provider.links
    return f"At {provider.facts.title}: [usage]({links.usage}) · [spend limits]({links.limits}) · [API keys]({links.keys})"


def draw_changes(states: Sequence[KeyState], payers: Sequence[Payer]) -> None:
    """The table of what a key of one's own changes, with what is in use: for all providers that are, or for which."""
    named = [(state.provider, payer) for state, payer in zip(states, payers, strict=True)]
    own = [name for name, payer in named if payer == "own"]
    funded = [name for name, payer in named if payer == "platform"]
    platform_title = "Platform-funded" + _in_use(funded, own, "violet")
    own_title = "Your own key (BYOK)" + _in_use(own, funded, "blue")
    company = titles(state.provider for state in states)
    table = {
        "Topic": [f":gray[{topic}]" for topic in _CHANGES],
        platform_title: [old for old, _ in _CHANGES.values()],
        own_title: [new.format(company=company) for _, new in _CHANGES.values()],
    }
    st.table(table, border="horizontal", hide_index=True, alt="What bringing your own key changes")


def _in_use(these: Sequence[str], others: Sequence[str], color: str) -> str:
    """The badge of the column in use; where both are, for which providers it is."""
    if not these:
        return ""
    which = f"in use for {titles(these, 'and')}" if others else "in use"
    return f" {badge(which, color)}"
