"""The filters, the table and the file of the audit log."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence

import streamlit as st

from lib.access.auditlog import AuditFilter, AuditRow
from lib.clock import iso
from lib.ui import address, paging
from lib.ui.filters import Chosen
from lib.ui.tables import arrow
from lib.ui.wording import ago, count, exact_seconds, money, shorten
from lib.usage.columns import inert

PAGE_ROWS = 25
MOST_ROWS = 50_000  # of the file

KINDS = {
    "key": "Keys",
    "project": "Projects and policies",
    "plan": "Plans and caps",
    "member": "Members",
    "usage": "Imports and exports",
    "master": "Master keys",
    "sample": "Sample data",
    "signin": "Sign-ins",
    "access": "Refused attempts",
}
_WORDS = {
    "key:openai:saved": "Key saved",
    "key:openai:rotated": "Key replaced",
    "key:openai:removed": "Key removed",
    "key:openai:checked": "Key checked",
    "key:openai:refused": "Key refused by OpenAI",
    "key:openai:locked": "Key found locked",
    "key:openai:resealed": "Key re-sealed with another master key",
    "project:created": "Project created",
    "project:plan:set": "Plan changed",
    "project:caps:set": "Caps changed",
    "project:key_failure:set": "Failure policy changed",
    "plan:set": "Plan's caps changed",
    "member:added": "Member added",
    "member:changed": "Role changed",
    "member:removed": "Member removed",
    "usage:imported": "Usage imported",
    "usage:exported": "Usage exported",
    "master:created": "Master key made",
    "master:promoted": "Master key put first",
    "master:rotated": "Keys re-sealed with a master key",
    "master:retired": "Master key retired",
    "sample:loaded": "Sample data loaded",
    "sample:removed": "Sample data removed",
    "signin:accepted": "Signed in",
    "signin:refused": "Sign-in refused",
    "signin:ended": "Signed out",
    "access:refused": "Attempt refused",
}


def choose(projects: Sequence[str], actors: Sequence[str], chosen: Chosen) -> AuditFilter:
    """Draw the filters and return what they come to, on the page that the address names."""
    slugs = address.select_many("Projects", "project", projects)
    kinds = address.select_many("What", "what", list(KINDS), format_func=KINDS.__getitem__)
    people = address.select_many("By", "by", actors)
    return AuditFilter(
        projects=tuple(slugs),
        actors=tuple(people),
        actions=tuple(kinds),
        since=chosen.period.since,
        until=chosen.period.until,
        limit=PAGE_ROWS,
        offset=paging.offset(PAGE_ROWS),
    )


def draw(rows: Sequence[AuditRow], chosen: Chosen) -> None:
    """The rows, newest first."""
    columns: dict[str, list[object]] = {
        f"When ({chosen.zone.key})": [exact_seconds(row.at, chosen.zone) for row in rows],
        "Ago": [ago(row.at, chosen.now) for row in rows],
        "What": [word(row.action) for row in rows],
        "Project": [shorten(row.project or "", 28) for row in rows],
        "By": [row.actor for row in rows],
        "From": [row.origin for row in rows],
        "Before": [_values(row.before) for row in rows],
        "After": [_values(row.after) for row in rows],
    }
    st.dataframe(
        arrow(columns),
        hide_index=True,
        row_height=34,
        height=36 + 34 * max(len(rows), 1),
        alt=f"{count(len(rows), 'change')}, newest first",
    )


def as_csv(rows: Sequence[AuditRow]) -> bytes:
    """The rows as a file that opens safely in a spreadsheet."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(("at", "action", "project", "actor", "origin", "before", "after"))
    for row in rows:
        cells = (row.action, row.project, row.actor, row.origin, row.before, row.after)
        writer.writerow((iso(row.at), *(inert(cell) for cell in cells)))
    return text.getvalue().encode()


def word(action: str) -> str:
    """What a tag means; the tag itself where there is no better word."""
    return _WORDS.get(action, action)


def _values(text: str | None) -> str:
    """``plan Starter, cap 5h $20.00``: the JSON of a row for people."""
    values = json.loads(text) if text else {}
    return ", ".join(_pair(name, value) for name, value in values.items() if value not in (None, [], ""))


def _pair(name: str, value: object) -> str:
    if name.endswith("_nano") and isinstance(value, int):
        return f"{name.removesuffix('_nano').replace('_', ' ')} {money(value)}"
    if name.endswith("_at") and isinstance(value, int):
        return f"{name.removesuffix('_at').replace('_', ' ')} {iso(value)}"
    words = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return f"{name.replace('_', ' ')} {words}"
