"""The filters, the table and the file of the audit log."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence

import streamlit as st

from lib.access import audit
from lib.access.auditlog import AuditFilter, AuditRow
from lib.clock import iso
from lib.exchange.columns import escape_formula
from lib.formatting import ago, count, exact_seconds, money
from lib.providers import title
from lib.ui.base import paging, query_state
from lib.ui.base.filters import Chosen
from lib.ui.base.tables import arrow, wide_enough
from lib.ui.base.wording import key_name

FILTERS = ("project", "what", "by")
PAGE_ROWS = 25
MOST_ROWS = 50_000  # of the file

KINDS = {
    "key": "Keys",
    "project": "Projects and policies",
    "plan": "Plans and caps",
    "member": "Members",
    "view": "Shared views",
    "alerts": "Alerts",
    "usage": "Imports and exports",
    "master": "Master keys",
    "sample": "Sample data",
    "signin": "Sign-ins",
    "access": "Refused attempts",
}
_WORDS = {
    "key:saved": "Key saved",
    "key:rotated": "Key replaced",
    "key:removed": "Key removed",
    "key:checked": "Key checked",
    "key:refused": "Key refused by its provider",
    "key:locked": "Key found locked",
    "key:resealed": "Key re-sealed with another master key",
    "project:created": "Project created",
    "project:renamed": "Title changed",
    "project:labelled": "Label changed",
    "project:archived": "Project archived",
    "project:restored": "Project restored",
    "project:deleted": "Project deleted",
    "project:sealed": "Sealed as found in the database",
    "project:plan:set": "Plan changed",
    "project:caps:set": "Caps changed",
    "project:caps:ended": "Own caps ended",
    "project:caps:asked": "More room asked for",
    "project:caps:approved": "Request for more room approved",
    "project:caps:declined": "Request for more room declined",
    "project:key_failure:set": "Failure policy changed",
    "plan:set": "Plan's caps changed",
    "member:added": "Member added",
    "member:changed": "Role changed",
    "member:removed": "Member removed",
    "view:shared": "View shared",
    "view:renamed": "View renamed",
    "view:deleted": "View deleted",
    "usage:imported": "Usage imported",
    "usage:exported": "Usage exported",
    "usage:archived": "Usage archived",
    "master:created": "Master key made",
    "master:promoted": "Master key put first",
    "master:rotated": "Keys re-sealed with a master key",
    "master:retired": "Master key retired",
    "alerts:set": "Alerts changed",
    "alerts:muted": "Alerts muted",
    "alerts:mail:set": "Mail of alerts chosen",
    "alerts:channel:added": "Alert channel added",
    "alerts:channel:removed": "Alert channel removed",
    "alerts:channel:switched": "Alert channel switched",
    "alerts:sent_again": "Alert sent again",
    "sample:loaded": "Sample data loaded",
    "sample:removed": "Sample data removed",
    "signin:accepted": "Signed in",
    "signin:refused": "Sign-in refused",
    "signin:ended": "Signed out",
    "access:refused": "Attempt refused",
}


_NAMES = {
    "cap_5h_nano": "5-hour cap",
    "cap_7d_nano": "7-day cap",
    "ends_at": "until",
    "last4": "key",
    "master_key_id": "master key",
    "on_key_failure": "if the provider refuses the key:",
}
"""Names of values that do not speak for themselves."""
_SPELT = {"last4": key_name, "provider": title}


def choose(projects: Sequence[str], actors: Sequence[str], chosen: Chosen) -> AuditFilter:
    """Draw the filters and return what they come to, on the page that the address names."""
    slugs = query_state.select_many("Projects", "project", projects, noun="project that you can see")
    kinds = query_state.select_many(
        "What", "what", list(KINDS), noun="kind of change", format_func=KINDS.__getitem__
    )
    people = query_state.select_many("By", "by", actors, noun="person")
    return AuditFilter(
        projects=tuple(slugs),
        actors=tuple(people),
        actions=tuple(kinds),
        since=chosen.period.since,
        until=chosen.period.until,
        limit=PAGE_ROWS,
        offset=paging.offset(PAGE_ROWS),
    )


def draw_audit_list(rows: Sequence[AuditRow], chosen: Chosen) -> None:
    """The rows, newest first."""
    columns: dict[str, list[object]] = {
        "When": [exact_seconds(row.at, chosen.zone) for row in rows],
        "Ago": [ago(row.at, chosen.now) for row in rows],
        "What": [word(row.action) for row in rows],
        "Project": [row.project or "" for row in rows],
        "By": [row.actor for row in rows],
        "From": [row.origin for row in rows],
        "Before": [values(row.before) for row in rows],
        "After": [values(row.after) for row in rows],
    }
    st.dataframe(
        arrow(columns),
        hide_index=True,
        row_height=34,
        height=36 + 34 * max(len(rows), 1),
        alt=f"{count(len(rows), 'change')}, newest first",
        column_config=wide_enough(columns, {}, "Project"),
    )


def as_csv(rows: Sequence[AuditRow]) -> bytes:
    """The rows as a file that opens safely in a spreadsheet."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(("at", "action", "project", "actor", "origin", "before", "after"))
    for row in rows:
        cells = (row.action, row.project, row.actor, row.origin, row.before, row.after)
        writer.writerow((iso(row.at), *(escape_formula(cell) for cell in cells)))
    return text.getvalue().encode()


def word(action: str) -> str:
    """What a tag means; the tag itself where there is no better word."""
    return _WORDS.get(audit.current(action), action)


def values(text: str | None) -> str:
    """``plan Starter``, ``5-hour cap $20.00, 7-day cap $70.00``: the JSON of a row for people."""
    return _pairs(json.loads(text) if text else {})


def _pairs(found: Mapping[str, object]) -> str:
    return ", ".join(_pair(name, value) for name, value in found.items() if value not in (None, [], {}, ""))


def _pair(name: str, value: object) -> str:
    title = _NAMES.get(name) or name.removesuffix("_nano").removesuffix("_at").replace("_", " ")
    return f"{title} {_written(name, value)}"


def _written(name: str, value: object) -> str:
    match value:
        case int() if name.endswith("_nano"):
            return money(value)
        case int() if name.endswith("_at"):
            return iso(value)
        case int():
            return count(value)
        case dict():
            return f"({_pairs(value)})"
        case list():
            return ", ".join(map(str, value))
        case _:
            return _SPELT.get(name, str)(str(value))
