"""What is told and when: thresholds, quiet hours, what is muted, and who wants no mail. Each change is audited."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection, delete, insert, select

from lib.access import audit
from lib.access.audit import Tag
from lib.access.denied_attempts import denials_logged
from lib.access.roles import Action, Actor
from lib.alerts import thresholds
from lib.alerts.kinds import KINDS
from lib.alerts.subjects import Owner, owner
from lib.clock import DAY, Micros
from lib.db import Database
from lib.db.alert_tables import PLATFORM
from lib.db.tables import accounts, alert_mutes, alert_opt_outs, alert_settings
from lib.errors import BadInput

_MOST_THRESHOLDS = 5
_LOWEST, _HIGHEST = 1, 99
_LONGEST_MUTE: Micros = 366 * DAY


@dataclass(frozen=True)
class Preferences:
    """How a project (or the platform) wants its alerts. Hours are of the reporting zone; ``muted``: kind -> until."""

    thresholds: Sequence[int] = thresholds.DEFAULT_THRESHOLDS
    quiet_from: int | None = None
    quiet_until: int | None = None
    muted: dict[str, Micros] = field(default_factory=dict)
    without_mail: frozenset[str] = frozenset()
    """Members who have chosen to get no mail of it."""


class PreferenceStore:
    """Read and change them. Each function checks the actor's rights itself; ``slug`` None is the platform."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, slug: str | None, *, actor: Actor) -> Preferences:
        """How its alerts are wanted now. Whoever sees the project's spend may know."""
        with self._database.read() as connection:
            whose = owner(connection, slug, actor, Action.SEE_SPEND)
            return preferences_of(connection, whose.id, self._database.now(connection))

    def set(
        self,
        slug: str | None,
        *,
        percents: Sequence[int],
        quiet: tuple[int, int] | None,
        actor: Actor,
    ) -> Preferences:
        """Choose the thresholds, in percent of a cap, and the hours in which only what is critical is told.

        Raises:
            BadInput: a threshold is not between 1 and 99, there are too many, or the hours are no hours.
            Forbidden: that takes a lead of the project; the platform's take an administrator.
        """
        chosen = _clean_thresholds(percents)
        hours = _clean_hours(quiet)
        with (
            denials_logged(self._database, actor, "change the alerts", slug),
            self._database.write() as connection,
        ):
            whose = owner(connection, slug, actor, lock=True)
            now = self._database.now(connection)
            before = preferences_of(connection, whose.id, now)
            connection.execute(delete(alert_settings).where(alert_settings.c.project_id == whose.id))
            row = {
                "project_id": whose.id,
                "thresholds": ",".join(map(str, chosen)),
                "quiet_from": hours[0] if hours else None,
                "quiet_until": hours[1] if hours else None,
                "set_at": now,
                "set_by": actor.name,
            }
            connection.execute(insert(alert_settings), row)
            _look_in_silence(connection, whose, now)
            after = preferences_of(connection, whose.id, now)
            told = {"before": _audited(before), "after": _audited(after)}
            audit.record(connection, now, actor, Tag.ALERTS_SET, whose.subject, **told)
        return after

    def mute(self, slug: str | None, kind: str, until: Micros | None, *, actor: Actor) -> None:
        """Tell nothing of a kind until then; None ends it. What is muted still shows on the page.

        Raises:
            BadInput: no such kind, or the end lies in the past or more than a year ahead.
        """
        if kind not in KINDS:
            raise BadInput("There is no such kind of alert.")
        with (
            denials_logged(self._database, actor, "mute alerts", slug),
            self._database.write() as connection,
        ):
            whose = owner(connection, slug, actor, lock=True)
            now = self._database.now(connection)
            if until is not None and not now < until <= now + _LONGEST_MUTE:
                raise BadInput("Choose an end that is to come, at most a year ahead.")
            before = preferences_of(connection, whose.id, now).muted.get(kind)
            this = (alert_mutes.c.project_id == whose.id) & (alert_mutes.c.kind == kind)
            connection.execute(delete(alert_mutes).where(this))
            if until is not None:
                row = {
                    "project_id": whose.id,
                    "kind": kind,
                    "until": until,
                    "set_at": now,
                    "set_by": actor.name,
                }
                connection.execute(insert(alert_mutes), row)
            audit.record(
                connection,
                now,
                actor,
                Tag.ALERTS_MUTED,
                whose.subject,
                before={"kind": kind, "ends_at": before},
                after={"kind": kind, "ends_at": until},
            )

    def want_mail(self, slug: str | None, wanted: bool, *, actor: Actor) -> None:  # noqa: FBT001
        """Choose for oneself whether mail comes that goes to all leads (administrators) else."""
        with self._database.write() as connection:
            whose = owner(connection, slug, actor, Action.SEE_SPEND, lock=True)
            now = self._database.now(connection)
            this = (alert_opt_outs.c.project_id == whose.id) & (alert_opt_outs.c.email == actor.name)
            connection.execute(delete(alert_opt_outs).where(this))
            if not wanted:
                row = {"project_id": whose.id, "email": actor.name, "set_at": now}
                connection.execute(insert(alert_opt_outs), row)
            audit.record(connection, now, actor, Tag.ALERTS_OPTED, whose.subject, after={"mail": wanted})


def preferences_of(connection: Connection, owner_id: str, now: Micros) -> Preferences:
    """How alerts of a project, or of the platform, are wanted; what is muted no longer is left out."""
    found = connection.execute(
        select(alert_settings.c.quiet_from, alert_settings.c.quiet_until).where(
            alert_settings.c.project_id == owner_id
        )
    ).first()
    muted = connection.execute(
        select(alert_mutes.c.kind, alert_mutes.c.until).where(
            alert_mutes.c.project_id == owner_id, alert_mutes.c.until > now
        )
    )
    without = connection.execute(
        select(alert_opt_outs.c.email).where(alert_opt_outs.c.project_id == owner_id)
    ).scalars()
    return Preferences(
        tuple(thresholds.thresholds(connection, owner_id)),
        found.quiet_from if found else None,
        found.quiet_until if found else None,
        {row.kind: row.until for row in muted},
        frozenset(without),
    )


def _look_in_silence(connection: Connection, whose: Owner, now: Micros) -> None:
    """What is above a threshold that has just been chosen is seen on the page, and no news."""
    if whose.id == PLATFORM:
        return
    account = select(accounts.c.project_id).where(accounts.c.project_id == whose.id)
    connection.execute(account.with_for_update())
    thresholds.evaluate(connection, whose.id, now, silently=True)


def _clean_thresholds(percents: Sequence[int]) -> list[int]:
    chosen = sorted(set(percents))
    if len(chosen) > _MOST_THRESHOLDS or any(not _LOWEST <= each <= _HIGHEST for each in chosen):
        raise BadInput(
            f"Choose at most {_MOST_THRESHOLDS} thresholds, each from {_LOWEST} to {_HIGHEST} percent."
        )
    return chosen


def _clean_hours(quiet: tuple[int, int] | None) -> tuple[int, int] | None:
    if quiet is None or quiet[0] == quiet[1]:
        return None
    if not all(0 <= hour < DAY // (60 * 60 * 1_000_000) for hour in quiet):
        raise BadInput("Quiet hours are whole hours from 0 to 23.")
    return quiet


def _audited(found: Preferences) -> dict[str, object]:
    quiet = None if found.quiet_from is None else f"{found.quiet_from}:00 to {found.quiet_until}:00"
    return {"thresholds": list(found.thresholds), "quiet_hours": quiet}
