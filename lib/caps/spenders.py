"""Why a project is near its cap: which runs, models and people spent what is in a window, in order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import BigInteger, ColumnElement, Connection, Subquery, bindparam, func, select

from lib.access.projects import find_for
from lib.access.roles import Action, Actor
from lib.caps.cap_state import cap_snapshot
from lib.caps.windows import WINDOWS
from lib.db import Database
from lib.db.tables import runs, usage_events

KINDS = ("runs", "models", "people")
_MOST = 8


@dataclass(frozen=True, slots=True)
class Spender:
    """One run, model or person: what their calls in the window count, in nano-USD, and how many they are.

    ``name`` is empty for calls that belong to none; ``others`` says how many of the smallest are summed up in the row.
    """

    name: str
    nano: int
    calls: int
    others: int = 0


class Spenders:
    """Reading what is in a window. It is all that counts there: the sums are the window's own."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def of(self, slug: str, window: str, *, actor: Actor) -> Mapping[str, Sequence[Spender]]:
        """By kind (``KINDS``), the largest first.

        Raises:
            ProjectUnknown: no such project, or ``actor`` may not know of it.
        """
        with self._database.read() as connection:
            project = find_for(connection, slug, actor, Action.SEE_SPEND)
            at = cap_snapshot(connection, project.id, self._database.now(connection))
            calls = _calls()
            names: dict[str, ColumnElement[str]] = {
                "runs": calls.c.run_id,
                "models": calls.c.model,
                "people": calls.c.started_by,
            }
            asked = {
                "project_id": project.id,
                "since": at.now - WINDOWS[window],
                "before": at.counted_before[window],
            }
            return {kind: _ranked(connection, calls, name, asked) for kind, name in names.items()}


def _calls() -> Subquery:
    """Each call that settled within the window, with what it counts: by how much the running total grew."""
    total = usage_events.c.counted_after_nano
    last = func.lag(total, 1, bindparam("before", type_=BigInteger)).over(order_by=usage_events.c.sequence)
    of_run = (runs.c.project_id == usage_events.c.project_id) & (runs.c.run_id == usage_events.c.run_id)
    return (
        select(usage_events.c.run_id, usage_events.c.model, runs.c.started_by, (total - last).label("nano"))
        .outerjoin(runs, of_run)
        .where(
            usage_events.c.project_id == bindparam("project_id"),
            usage_events.c.sequence.is_not(None),
            usage_events.c.occurred_at > bindparam("since"),
        )
        .subquery()
    )


def _ranked(
    connection: Connection, calls: Subquery, name: ColumnElement[str], asked: Mapping[str, object]
) -> list[Spender]:
    nano, number = func.sum(calls.c.nano), func.count()
    statement = (
        select(
            func.coalesce(name, "").label("name"),
            nano.label("nano"),
            number.label("calls"),
            func.count().over().label("names"),
            func.sum(nano).over().label("all_nano"),
            func.sum(number).over().label("all_calls"),
        )
        .group_by(name)
        .order_by(nano.desc(), name)
        .limit(_MOST + 1)
    )
    rows = connection.execute(statement, asked).all()
    found = [Spender(row.name, int(row.nano), row.calls) for row in rows]
    if not rows or rows[0].names <= _MOST + 1:  # one more needs no sum
        return found
    del found[_MOST:]
    nano_left = int(rows[0].all_nano) - sum(each.nano for each in found)
    calls_left = int(rows[0].all_calls) - sum(each.calls for each in found)
    return [*found, Spender("", nano_left, calls_left, rows[0].names - _MOST)]
