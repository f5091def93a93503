"""The audit log: one row a change, written in the transaction of the change itself."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import Connection, bindparam, func, insert, select

from lib.access.roles import Actor
from lib.clock import Micros
from lib.db.tables import audit_log
from lib.providers import DEFAULT


class Tag(StrEnum):
    """What happened: colon paths, from the general to the particular. Whose key it was stands in the row."""

    PROJECT_CREATED = "project:created"
    PROJECT_RENAMED = "project:renamed"
    PROJECT_LABELLED = "project:labelled"
    PROJECT_ARCHIVED = "project:archived"
    PROJECT_RESTORED = "project:restored"
    PROJECT_DELETED = "project:deleted"
    PROJECT_PLAN_SET = "project:plan:set"
    PROJECT_SEALED = "project:sealed"
    POLICY_SET = "project:key_failure:set"
    KEY_SAVED = "key:saved"
    KEY_ROTATED = "key:rotated"
    KEY_REMOVED = "key:removed"
    KEY_CHECKED = "key:checked"
    KEY_REFUSED = "key:refused"
    KEY_LOCKED = "key:locked"
    PLAN_SET = "plan:set"
    CAPS_SET = "project:caps:set"
    CAPS_ENDED = "project:caps:ended"
    CAPS_ASKED = "project:caps:asked"
    CAPS_APPROVED = "project:caps:approved"
    CAPS_DECLINED = "project:caps:declined"
    MEMBER_ADDED = "member:added"
    MEMBER_CHANGED = "member:changed"
    MEMBER_REMOVED = "member:removed"
    VIEW_SHARED = "view:shared"
    VIEW_RENAMED = "view:renamed"
    VIEW_DELETED = "view:deleted"
    USAGE_IMPORTED = "usage:imported"
    USAGE_EXPORTED = "usage:exported"
    USAGE_ARCHIVED = "usage:archived"
    SAMPLE_LOADED = "sample:loaded"
    SAMPLE_REMOVED = "sample:removed"
    KEY_RESEALED = "key:resealed"
    MASTER_KEY_CREATED = "master:created"
    MASTER_KEY_PROMOTED = "master:promoted"
    MASTER_KEY_ROTATED = "master:rotated"
    MASTER_KEY_RETIRED = "master:retired"
    ALERTS_SET = "alerts:set"
    ALERTS_MUTED = "alerts:muted"
    ALERTS_OPTED = "alerts:mail:set"
    CHANNEL_ADDED = "alerts:channel:added"
    CHANNEL_REMOVED = "alerts:channel:removed"
    CHANNEL_SWITCHED = "alerts:channel:switched"
    ALERT_SENT_AGAIN = "alerts:sent_again"
    SIGNED_IN = "signin:accepted"
    SIGN_IN_REFUSED = "signin:refused"
    SIGNED_OUT = "signin:ended"
    ACTION_REFUSED = "access:refused"


@dataclass(frozen=True)
class Subject:
    """The project an audit row is about; its name is kept, because the history outlives it."""

    project_id: str
    slug: str


_INSERT = insert(audit_log)
_OLD_KEY = f"key:{DEFAULT}:"


def record(
    connection: Connection,
    at: Micros,
    actor: Actor,
    tag: Tag,
    subject: Subject | None = None,
    *,
    before: Mapping[str, object] | None = None,
    after: Mapping[str, object] | None = None,
) -> None:
    """Write one row. ``before`` and ``after`` hold no secrets: of a key its last four at most."""
    connection.execute(
        _INSERT,
        {
            "at": at,
            "actor": actor.name,
            "origin": actor.origin.value,
            "action": tag.value,
            "project_id": subject.project_id if subject else None,
            "project": subject.slug if subject else None,
            "before": _json(before),
            "after": _json(after),
        },
    )


_RECENT = select(func.count(), func.min(audit_log.c.at)).where(
    audit_log.c.at > bindparam("since"), audit_log.c.action.in_(bindparam("tags", expanding=True))
)
_BY_ACTOR = _RECENT.where(audit_log.c.actor == bindparam("who"))
_BY_PROJECT = _RECENT.where(audit_log.c.project_id == bindparam("who"))


def count_recent(
    connection: Connection, since: Micros, tags: list[Tag], *, actor: str | None = None, project_id: str = ""
) -> tuple[int, Micros | None]:
    """How many rows with one of ``tags`` a person (or a project) has since then, and the oldest one's time."""
    statement = _BY_ACTOR if actor is not None else _BY_PROJECT
    who = actor if actor is not None else project_id
    names = [name for tag in tags for name in of_any_release(tag.value)]
    row = connection.execute(statement, {"since": since, "tags": names, "who": who}).one()
    return int(row[0]), row[1]


def of_any_release(tag: str) -> tuple[str, ...]:
    """What rows call it: releases with one provider said ``key:NAME:saved`` for ``key:saved``."""
    return (tag, tag.replace("key:", _OLD_KEY, 1)) if tag.startswith("key:") else (tag,)


def current(tag: str) -> str:
    """What this release calls the tag of a row."""
    return tag.replace(_OLD_KEY, "key:", 1)


def _json(values: Mapping[str, object] | None) -> str | None:
    return None if values is None else json.dumps(values, ensure_ascii=False, sort_keys=True, default=str)
