"""The thresholds of a project's caps: which have just been crossed, told once in a rolling window.

A threshold fires when used and reserved come to its part of the cap, and is told again only after they have fallen
five points below it, an hour later at the earliest: usage leaves a rolling window all the time, and would cross it
again with every call. A changed cap or threshold is looked at anew in silence.

All of it happens in the transaction that settles a call, which holds the project's account anyway. So that a call
costs nothing more for it, the account keeps two marks: the running total (reservations included) below which nothing
can have been crossed, and the time before which nothing can have fallen low enough. Usage that leaves the windows
only makes the first mark too low, and usage that comes only makes the second too early: neither is ever late.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, bindparam, select, update

from lib.access.audit import Subject
from lib.alerts import kinds, outbox
from lib.caps.admission import falls_below_at, window
from lib.caps.cap_state import CapState, cap_snapshot
from lib.caps.windows import WINDOWS, Window
from lib.clock import HOUR, MINUTE, Micros, to_micros
from lib.db.alert_tables import alert_settings, alert_states
from lib.db.raw_execute import raw_execute
from lib.db.tables import accounts, runs
from lib.errors import CapExceeded

DEFAULT_THRESHOLDS = (80,)
HYSTERESIS = 5
"""Points that a window must fall below its threshold before that is told again."""
QUIET: Micros = HOUR
"""How long after a threshold was told it is not told again."""
_SOONEST: Micros = MINUTE
_NEVER = 2**62
FULL = 100
"""Stands for the first refusal, where a threshold's percents stand else."""

_SETTINGS = select(alert_settings.c.thresholds).where(alert_settings.c.project_id == bindparam("project"))
_STATES = select(
    alert_states.c.subject, alert_states.c.state, alert_states.c.since, alert_states.c.cap_nano
).where(
    alert_states.c.project_id == bindparam("project"),
    alert_states.c.subject >= "cap:",
    alert_states.c.subject < "cap;",  # the next character
)
_MARK = (
    update(accounts)
    .where(accounts.c.project_id == bindparam("project"))
    .values(
        alert_above_nano=bindparam("above"),
        alert_after=bindparam("after"),
        alert_cap_5h_nano=bindparam("cap_5h"),
        alert_cap_7d_nano=bindparam("cap_7d"),
    )
)
_EVALUATE_SOON = (
    update(accounts)
    .where(accounts.c.project_id == bindparam("project"))
    .values(alert_after=bindparam("after"))
)
_WAITING = select(runs.c.run_id).where(
    runs.c.project_id == bindparam("project"), runs.c.status == "waiting", runs.c.ended_at.is_(None)
)


@dataclass(frozen=True)
class _Mark:
    """One threshold of one window, as it was last known."""

    window: str
    percent: int
    state: str
    since: Micros
    cap_nano: int | None

    @property
    def subject(self) -> str:
        return subject(self.window, self.percent)


def subject(name: str, percent: int) -> str:
    """How the states name a threshold."""
    return f"cap:{name}:{percent}"


def evaluate(
    connection: Connection, project_id: str, now: Micros, *, just_counted: int = 0, silently: bool = False
) -> None:
    """Tell of the thresholds that have been crossed, arm those that are low enough, and set the account's marks.

    Args:
        connection: of a transaction that holds the project's account.
        project_id: whose.
        now: the time that counts.
        just_counted: what this very transaction has counted, nano-USD: before it usage was lower by that.
        silently: tell nothing, as the thresholds have been chosen just now.
    """
    at = cap_snapshot(connection, project_id, now)
    crossed: dict[str, _Mark] = {}
    marks = []
    for mark in _known(connection, at):
        after = _evaluated(at, mark, just_counted)
        marks.append(after)
        if after != mark or mark.since == 0:
            since = after.since or at.now
            outbox.put_state(connection, project_id, after.subject, after.state, since, after.cap_nano)
        if after != mark and after.state == "fired" and after.cap_nano == mark.cap_nano:
            crossed[after.window] = after  # the highest of them comes last
    _set_marks(connection, at, marks)
    if not silently:
        for mark in crossed.values():
            _fire(connection, at, mark)


def _known(connection: Connection, at: CapState) -> list[_Mark]:
    """The thresholds of a project, the lowest first; one that was never looked at is armed for the cap of now."""
    rows = {row.subject: row for row in raw_execute(connection, _STATES, {"project": at.project_id})}
    known = []
    for name in WINDOWS:
        for percent in (*thresholds(connection, at.project_id), FULL):
            row = rows.get(subject(name, percent))
            if row is not None:
                known.append(_Mark(name, percent, row.state, row.since, row.cap_nano))
            elif percent != FULL:
                known.append(_Mark(name, percent, "armed", 0, at.caps.nano[name]))
    return known


def thresholds(connection: Connection, project_id: str) -> Sequence[int]:
    """The percents of a cap that a project wants to be told of, the lowest first."""
    row = next(iter(raw_execute(connection, _SETTINGS, {"project": project_id})), None)
    if row is None:
        return DEFAULT_THRESHOLDS
    return sorted(int(percent) for percent in row.thresholds.split(",") if percent)


def _evaluated(at: CapState, mark: _Mark, just_counted: int) -> _Mark:
    """The threshold as it is now."""
    cap, taken = at.caps.nano[mark.window], at.used(mark.window) + at.reserved
    over = mark.percent < FULL and cap > 0 and FULL * taken >= mark.percent * cap
    if mark.cap_nano is not None and mark.cap_nano != cap:
        return replace(mark, state="fired" if over else "armed", since=at.now, cap_nano=cap)
    if mark.state == "fired":
        low = FULL * (taken - just_counted) < (mark.percent - HYSTERESIS) * cap
        if not (low and at.now >= mark.since + QUIET):
            return mark
        mark = replace(mark, state="armed", since=at.now)
    return replace(mark, state="fired", since=at.now) if over else mark


def _set_marks(connection: Connection, at: CapState, marks: Sequence[_Mark]) -> None:
    above = min((_above(at, mark) for mark in marks if mark.state == "armed"), default=_NEVER)
    after = [_armed_again(connection, at, mark) for mark in marks if mark.state == "fired"]
    if at.caps.later is not None:
        after.append(at.caps.later[0])
    told = {"project": at.project_id, "above": above, "after": min(after, default=None)}
    caps = {f"cap_{name}": cap for name, cap in at.caps.nano.items()}
    raw_execute(connection, _MARK, {**told, **caps})


def _above(at: CapState, mark: _Mark) -> int:
    """The running total, reservations included, at which the threshold is crossed if nothing leaves the window."""
    cap = at.caps.nano[mark.window]
    if cap == 0 or mark.percent == FULL:
        return _NEVER
    return at.counted_before[mark.window] + -(-mark.percent * cap // FULL)


def _armed_again(connection: Connection, at: CapState, mark: _Mark) -> Micros:
    """The earliest time at which the threshold can be armed again; not at once, so that no call looks in vain."""
    low = max(1, (mark.percent - HYSTERESIS) * at.caps.nano[mark.window] // FULL)
    return max(mark.since + QUIET, falls_below_at(connection, at, mark.window, low), at.now + _SOONEST)


def _fire(connection: Connection, at: CapState, mark: _Mark) -> None:
    data = _figures(at, window(connection, at, mark.window)) | {"threshold_percent": mark.percent}
    severity = kinds.severity_of_threshold(mark.percent)
    outbox.record(connection, at.project_id, kinds.CAP_THRESHOLD, at.now, data, severity=severity)


def _figures(at: CapState, found: Window) -> dict[str, Any]:
    return {
        "project": at.slug,
        "window": found.name,
        "percent": found.percent,
        "cap_nano": found.cap_nano,
        "used_nano": found.used_nano,
        "reserved_nano": found.reserved_nano,
        "rolls_off_at": found.rolls_off_at,
        "rolls_off_nano": found.rolls_off_nano,
        "returns_at": found.returns_at,
    }


def refused(connection: Connection, project: Subject, now: Micros, problem: CapExceeded) -> None:
    """Tell of a cap that has refused something, if it is the first time since there was room.

    Args:
        connection: of the transaction that notes the refusal. It holds no row that is locked after an account.
        project: whose cap.
        now: the time that counts.
        problem: the refusal.
    """
    about = subject(problem.window, FULL)
    # Where it is the call that is too large, or there is no cap to reach, nothing is new.
    if problem.returns_at is None or _is_fired(connection, project, about):
        return
    at = cap_snapshot(connection, project.project_id, now, lock=True)
    if _is_fired(connection, project, about):  # by who held the account meanwhile
        return
    found = window(connection, at, problem.window)
    outbox.put_state(connection, project.project_id, about, "fired", now, found.cap_nano)
    data = _figures(at, found) | {
        "returns_at": to_micros(problem.returns_at),
        "runs_waiting": len(raw_execute(connection, _WAITING, {"project": project.project_id})),
    }
    outbox.record(connection, project.project_id, kinds.CAP_REACHED, now, data)
    # The next settlement is to look when it can be armed again.
    raw_execute(connection, _EVALUATE_SOON, {"project": project.project_id, "after": now})


def _is_fired(connection: Connection, project: Subject, about: str) -> bool:
    state = outbox.state_of(connection, project.project_id, about)
    return state is not None and bool(state.state == "fired")
