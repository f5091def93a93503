"""The card of one run: what happened, who paid, the provider's own words, and every call."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from lib.access.roles import Actor
from lib.clock import from_micros
from lib.formatting import count, duration, exact_seconds, moneys, weekday_time
from lib.providers import title
from lib.runs.log import LogLine, RunDetail, RunRow
from lib.ui.base.filters import Chosen
from lib.ui.base.navigation import INTEGRATIONS, link
from lib.ui.base.server import front_door
from lib.ui.base.wording import (
    KIND,
    SOURCE_COLOR,
    badge,
    code,
    escape,
    key_name,
    payer,
    quote,
    run_status,
)
from lib.ui.parts.cards import card, facts, heading
from lib.ui.runs.calls_table import draw_calls
from lib.ui.shell.guards import Viewer
from lib.usage.event_row import EventRow

_LIMITS = {
    "budget": ("Stopped at the run's token budget", "budget:stopped", "warning"),
    "budget_exceeded": ("Stopped at a cap", "cap:stopped", "warning"),
    "refused": ("Refused at a cap", "cap:refused", "warning"),
    "waiting": ("Waiting for room in a cap", "run:waiting", "schedule"),
}
"""What a limit did -> title, the log line that says it, icon."""
_LOST = "Its worker gave no sign of life any more. Calls that were open count as outcome unknown."
_REPORTED = {
    "failed": ("The run reported that it failed", "Its worker ended it as failed."),
    "error": ("The run ended with an error", "An error in its worker ended it."),
}
"""What a run says of itself, where no call is the reason -> title, and who ended it."""


def draw_run_card(detail: RunDetail, chosen: Chosen, viewer: Viewer) -> None:
    """The card of the run that was chosen."""
    run = detail.run
    failed = _last_failure(detail.calls)
    with card():
        _draw_title(run, failed, chosen)
        said = _draw_what_happened(detail, failed)
        if run.token_budget:
            _draw_budget(run, chosen)
        if failed:
            _draw_failure(run, failed, chosen, viewer.actor)
        _draw_log([line for line in detail.log if line.tag not in said], chosen)
        draw_calls(detail.calls, chosen, archived=detail.archived_calls)


def _last_failure(calls: Sequence[EventRow]) -> EventRow | None:
    return next((call for call in reversed(calls) if call.status == "error"), None)


def _payers(run: RunRow) -> dict[str, str]:
    """Who paid for a run -> colour name; where both keys did, each with its part of the cost."""
    own = payer("byok", run.last4)
    if run.source == "both":
        platform_part, own_part = moneys(run.platform_nano, run.byok_nano)
        parts = {f"Platform {platform_part}": "platform", f"{own} {own_part}": "byok"}
    else:
        parts = {payer(run.source, run.last4): run.source} if run.source else {}
    return {word: SOURCE_COLOR[source] for word, source in parts.items()}


def _draw_title(run: RunRow, failed: EventRow | None, chosen: Chosen) -> None:
    word, color = run_status(run.status, stopped_by=run.stopped_by, failed_calls=run.failed_calls)
    names = [badge(word, color), *(badge(name, color) for name, color in _payers(run).items())]
    took = duration((run.ended_at or chosen.now) - run.started_at)
    kind = KIND.get(run.kind, run.kind)
    note = f"{escape(run.project)} · {kind} · {exact_seconds(run.started_at, chosen.zone)} · {took}"
    with st.container(horizontal=True, vertical_alignment="bottom", gap="xsmall"):
        st.markdown(f"#### Run {escape(run.run_id)}", anchors=False, width="content")
        for name in names:
            st.markdown(name, width="content")
        st.caption(note, width="stretch")
        if failed and failed.source == "byok":
            link(INTEGRATIONS, "Show the key", project=run.project)


def _draw_what_happened(detail: RunDetail, failed: EventRow | None) -> set[str]:
    """Say what ended or changed the run; returns the tags of the log lines that are said with it."""
    run, tags = detail.run, {line.tag: line.message for line in detail.log}
    kind = "budget" if (run.status, run.stopped_by) == ("budget_exceeded", "budget") else run.status
    if kind in _LIMITS:
        title, tag, icon = _LIMITS[kind]
        st.warning(escape(tags.get(tag, "")), title=title, icon=f":material/{icon}:")
        return {tag}
    if "key:locked" in tags:
        st.error(escape(tags["key:locked"]), title="The key is locked", icon=":material/lock:")
        return {"key:locked"}
    if failed and "key:fell_back" in tags:
        st.warning(_said(failed, tags), title=_refused(failed, tags), icon=":material/warning:")
        return {"key:failed", "key:fell_back"}
    if failed and run.status != "passed":
        st.error(_said(failed, tags), title=_refused(failed, tags), icon=":material/error:")
        return {"key:failed"}
    if run.status == "lost":
        st.error(_LOST, title="The worker was lost", icon=":material/error:")
    if run.status in _REPORTED:
        title, ended = _REPORTED[run.status]
        st.error(f"{ended} {_of_calls(detail.calls)}", title=title, icon=":material/error:")
    return set()


def _of_calls(calls: Sequence[EventRow]) -> str:
    if not calls:
        return "It made no call."
    cut = sum(call.status != "ok" for call in calls)
    said = f"{count(cut)} of its {count(len(calls), 'call')} did not complete" if cut else "No call failed"
    return f"{said}. Look for the reason in the worker's own log."


def _refused(failed: EventRow, tags: dict[str, str]) -> str:
    if "key:failed" not in tags:
        return f"{title(failed.provider)} answered with an error"
    whose = f"the key {key_name(failed.key_last4)}" if failed.source == "byok" else "the platform key"
    return f"{title(failed.provider)} refused {whose}"


def _said(failed: EventRow, tags: dict[str, str]) -> str:
    words = quote(failed.error_message or "no message")
    if "key:fell_back" in tags:
        return f"{words}\n\n{escape(tags['key:fell_back'])}"
    if "key:failed" in tags and failed.source == "byok":
        return f"{words}\n\nNothing was spent on the platform key. This is not a test failure."
    return words


def _draw_budget(run: RunRow, chosen: Chosen) -> None:
    budget = run.token_budget or 1
    warned = ""
    if run.budget_warned_at is not None:
        at = from_micros(run.budget_warned_at).astimezone(chosen.zone)
        warned = f" · warned at 80% ({at:%H:%M:%S})"
    st.progress(min(1.0, run.tokens / budget), f"{count(run.tokens)} of {count(budget)} tokens{warned}")


def _draw_failure(run: RunRow, failed: EventRow, chosen: Chosen, actor: Actor) -> None:
    left, right = st.columns(2)
    none = "none"
    with left:
        facts(
            {
                "Status": code(str(failed.http_status)) if failed.http_status else none,
                "Code": code(failed.error_code) if failed.error_code else none,
                "Type": code(failed.error_type) if failed.error_type else none,
                "Request id": code(failed.upstream_request_id) if failed.upstream_request_id else none,
            },
            alt="What the provider answered",
        )
    rows = {"Endpoint": code(f"POST /v1/{failed.endpoint}"), "Model": escape(failed.model) or none}
    state = front_door().keys.describe(run.project, actor=actor, provider=failed.provider)
    if failed.source == "byok":
        if state.failing_since is not None and state.last4 == failed.key_last4:
            rows["Failing since"] = weekday_time(state.failing_since, chosen.zone)
        stops = state.on_key_failure == "stop"
        rows[f"If {title(failed.provider)} refuses the key"] = (
            "Stop" if stops else "Fall back to the platform key"
        )
    with right:
        facts(rows, alt="What was asked")


def _draw_log(log: Sequence[LogLine], chosen: Chosen) -> None:
    if not log:
        return
    heading("Log", note="what happened besides the calls")
    for line in log:
        at = from_micros(line.at).astimezone(chosen.zone)
        st.markdown(f":gray[{at:%H:%M:%S}] {escape(line.message)}")
