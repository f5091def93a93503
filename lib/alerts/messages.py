"""What an alert says: the number, the reason, when room returns, and one link. Pure.

A message is made of its event's data each time that it is sent, so that one sentence serves mail, chat, webhooks and
the page. Nothing in it comes from a prompt or an answer of a model, and of a key it has the last four at most.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lib.alerts import kinds
from lib.alerts.sentences import WORDS, AlertText, Event, Site
from lib.clock import Micros, iso
from lib.formatting import count
from lib.pricing.amounts import plain_usd

_LISTED = 20


@dataclass(frozen=True)
class Message:
    """One alert, or several in one, as every channel gets it."""

    message_id: str
    kind: str
    severity: str
    project: str | None
    at: Micros
    title: str
    text: str
    facts: Sequence[tuple[str, str]]
    link: str
    link_title: str
    data: Mapping[str, Any]


def message_of(row: Any, data: Mapping[str, Any], site: Site, now: Micros) -> Message:
    """The message of one event.

    Args:
        row: of ``alert_events``: ``event_id``, ``kind``, ``severity`` and ``at``.
        data: what it holds, read.
        site: where links lead.
        now: when it is sent; what is to come is said from there.
    """
    said = _words(row.kind, Event(data, site, now))
    project = data.get("project")
    return Message(
        message_id=row.event_id,
        kind=row.kind,
        severity=row.severity,
        project=project,
        at=row.at,
        title=said.title,
        text=said.text,
        facts=said.facts,
        link=site.link(said.page, project, **(said.more or {})),
        link_title=said.page_title,
        data=_public(data),
    )


def together(
    message_id: str, messages: Sequence[Message], site: Site, now: Micros, *, digest: bool
) -> Message:
    """Several messages in one: the day's digest, or what was more than a channel gets in an hour."""
    number = len(messages)
    title = f"Daily digest: {count(number, 'alert')}" if digest else count(number, "more alert")
    why = (
        "What happened and was not urgent."
        if digest
        else "This channel has had as many messages as it gets in an hour; these are the rest."
    )
    lines = [f"{site.time(each.at)} · {each.title}" for each in messages[:_LISTED]]
    if number > _LISTED:
        lines.append(f"and {number - _LISTED} more")
    projects = {each.project for each in messages}
    only = projects.pop() if len(projects) == 1 else None
    return Message(
        message_id=message_id,
        kind="alerts.digest" if digest else "alerts.more",
        severity=max((each.severity for each in messages), key=kinds.RANKS.__getitem__),
        project=only,
        at=now,
        title=title,
        text="\n".join([why, *lines]),
        facts=(),
        link=site.link("alerts", only),
        link_title="Open Alerts",
        data={
            "count": number,
            "alerts": [
                {"id": each.message_id, "type": each.kind, "timestamp": iso(each.at), **each.data}
                for each in messages
            ],
        },
    )


def _words(kind: str, event: Event) -> AlertText:
    try:
        return WORDS[kind](event)
    except (LookupError, TypeError, ValueError):
        # While versions change, a newer process writes kinds and data that this one does not know.
        title = f"{event.get('project') or 'Qodex'}: {kind}"
        return AlertText(
            title, "A newer version of Qodex has noticed this, and has the words for it.", page="alerts"
        )


def _public(data: Mapping[str, Any]) -> dict[str, Any]:
    """As machines get it: money in USD, times in ISO 8601."""
    public: dict[str, Any] = {}
    for name, value in data.items():
        stem, _, ending = name.rpartition("_")
        if ending == "nano":
            public[f"{stem}_usd"] = plain_usd(value)
        elif ending == "at" or name in {"since", "earliest", "latest", "median"}:
            public[name] = None if value is None else iso(value)
        else:
            public[name] = value
    return public
