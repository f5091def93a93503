"""Reading caps, for pages and the command line: now, in the past, and as they will be if nothing is spent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from sqlalchemy import BigInteger, Connection, Select, bindparam, literal, select

from lib.access.projects import find, visible_ids
from lib.access.roles import Action, Actor, allows
from lib.caps.admission import window
from lib.caps.cap_state import CapState, cap_snapshot, cap_snapshots, total_at
from lib.caps.windows import WINDOWS, Headroom, Window
from lib.clock import DAY, Micros
from lib.db import Database
from lib.db.tables import accounts, projects, usage_events
from lib.errors import ProjectUnknown
from lib.usage.archived import archived_until
from lib.usage.expiry import expire_calls, sweep


@dataclass(frozen=True, slots=True)
class Point:
    """What a window held at one instant, nano-USD."""

    at: Micros
    nano: int


@dataclass(frozen=True, slots=True)
class Outlook:
    """The room of each window at an instant to come, if nothing new is spent; nano-USD, by window.

    ``taken_nano``: what is used and reserved then.
    """

    at: Micros
    free_nano: Mapping[str, int]
    taken_nano: Mapping[str, int]


class CapsView:
    """Reading a project's caps. Each function checks that the actor may see the project's spend."""

    def __init__(self, database: Database, worker: Actor) -> None:
        self._database = database
        self._worker = worker

    def headroom(self, slug: str, *, actor: Actor | None = None) -> Headroom:
        """How much of each cap is used, reserved and free now, and when room returns.

        Raises:
            ProjectUnknown: no such project, or ``actor`` may not know of it.
        """
        project_id = self._visible(slug, actor)
        expire_calls(self._database, project_id)
        with self._database.read() as connection:
            now = self._database.now(connection)
            at = cap_snapshot(connection, project_id, now)
            windows = {name: window(connection, at, name) for name in WINDOWS}
            return Headroom(slug, at.caps.plan, now, windows)

    def headroom_all(self, *, actor: Actor | None = None) -> dict[str, Headroom]:
        """Headroom of every project that the actor may see, by slug, in one SELECT.

        What rolls off next is looked up only where a window is full: else ``rolls_off_at`` is None here.
        """
        actor = actor or self._worker
        sweep(self._database)
        with self._database.read() as connection:
            now = self._database.now(connection)
            found = [
                at for at in cap_snapshots(connection, now) if allows(actor, Action.SEE_SPEND, at.project_id)
            ]
            return {
                at.slug: Headroom(
                    at.slug, at.caps.plan, now, {name: _brief(connection, at, name) for name in WINDOWS}
                )
                for at in found
            }

    def count_near_cap_over_time(
        self,
        rooms: Mapping[str, Headroom],
        percent: int,
        *,
        since: Micros,
        until: Micros,
        points: int = 12,
        actor: Actor | None = None,
    ) -> list[int]:
        """How many of these projects had used so much of a cap, at evenly spaced instants; running calls left out.

        Instants whose windows hold archived calls are left out, too.

        Args:
            rooms: the projects, with the caps of today; no other caps are kept.
            percent: of either cap.
            since: the first instant.
            until: the last instant, but never later than now.
            points: how many instants, at least two.
            actor: for whom.
        """
        with self._database.read() as connection:
            visible_ids(connection, actor or self._worker, rooms)
            last = min(until, self._database.now(connection))
            step = max(0, last - since) // (points - 1)
            wanted = {"slugs": list(rooms), "last": last, "points": points, "step": step, **_LENGTHS}
            rows = connection.execute(_TOTALS_OVER_TIME, wanted).all()
            known = _known_from(connection)
        instants = [last - step * number for number in range(points)]
        found = Counter(dict.fromkeys((at for at in instants if at >= known), 0))
        caps = {  # times 100, as percents of them are asked for
            slug: [percent * window.cap_nano for window in room.windows.values()]
            for slug, room in rooms.items()
        }
        for at, slug, total, *before in rows:
            pairs = zip(before, caps[slug], strict=True)
            if at in found:
                found[at] += any(100 * (total - each) >= cap for each, cap in pairs)
        return [found[at] for at in sorted(found)]

    def consumption(
        self,
        slug: str,
        name: str,
        *,
        since: Micros | None = None,
        until: Micros | None = None,
        points: int = 337,
        actor: Actor | None = None,
    ) -> list[Point]:
        """What the window ``name`` held, exactly, at evenly spaced instants; those of archived calls are left out.

        Args:
            slug: the project.
            name: ``5h`` or ``7d``.
            since: the first instant; seven days ago unless told.
            until: the last instant; now unless told, and never later.
            points: how many instants, at least two.
            actor: for whom.
        """
        project_id = self._visible(slug, actor)
        expire_calls(self._database, project_id)
        with self._database.read() as connection:
            now = cap_snapshot(connection, project_id, self._database.now(connection)).now
            last = now if until is None else min(until, now)
            first = now - 7 * DAY if since is None else min(since, last)
            wanted = {"project_id": project_id, "last": last, "points": points, "length": WINDOWS[name]}
            rows = connection.execute(_SERIES, {**wanted, "step": (last - first) // (points - 1)}).all()
            known = _known_from(connection)
        return [Point(int(row.at), int(row.nano)) for row in rows if row.at >= known]

    def forecast(self, slug: str, ahead: Sequence[Micros], *, actor: Actor | None = None) -> list[Outlook]:
        """The room of both windows so long from now, if nothing new is spent and running calls go on."""
        project_id = self._visible(slug, actor)
        expire_calls(self._database, project_id)
        with self._database.read() as connection:
            at = cap_snapshot(connection, project_id, self._database.now(connection))
            moments = [at.now + wait for wait in ahead]
            starts = [moment - length for moment in moments for length in WINDOWS.values()]
            totals = _totals(connection, project_id, starts)
        return [_outlook(at, moment, totals) for moment in moments]

    def _visible(self, slug: str, actor: Actor | None) -> str:
        with self._database.read() as connection:
            project = find(connection, slug)
        if not allows(actor or self._worker, Action.SEE_SPEND, project.id):
            raise ProjectUnknown(slug)
        return project.id


def _known_from(connection: Connection) -> Micros:
    """The first instant before which both windows are whole: what they held is asked of single calls."""
    archived = archived_until(connection)
    return 0 if archived is None else archived + max(WINDOWS.values())


def _brief(connection: Connection, at: CapState, name: str) -> Window:
    if at.used(name) + at.reserved >= at.caps.nano[name]:
        return window(connection, at, name)
    return Window(
        name=name,
        cap_nano=at.caps.nano[name],
        used_nano=at.used(name),
        unknown_nano=at.unknown - at.unknown_before[name],
        reserved_nano=at.reserved,
        returns_at=None,
        rolls_off_at=None,
        rolls_off_nano=0,
    )


def _outlook(at: CapState, moment: Micros, totals: Mapping[Micros, int]) -> Outlook:
    caps: Mapping[str, int] = at.caps.nano
    if at.caps.later is not None and moment >= at.caps.later[0]:
        caps = at.caps.later[1]
    taken = {name: at.counted - totals[moment - length] + at.reserved for name, length in WINDOWS.items()}
    return Outlook(moment, {name: max(0, caps[name] - nano) for name, nano in taken.items()}, taken)


def _totals(connection: Connection, project_id: str, moments: Sequence[Micros]) -> dict[Micros, int]:
    """The project's running total at each of a few instants."""
    asked = {f"at{number}": moment for number, moment in enumerate(moments)}
    row = connection.execute(_totals_at(len(moments)), {"project_id": project_id, **asked}).one()
    return dict(zip(moments, (int(total) for total in row), strict=True))


@cache
def _totals_at(count: int) -> Select[Any]:
    columns: Any = [total_at(bindparam(f"at{number}", type_=BigInteger), _TOTAL) for number in range(count)]
    chosen: Select[Any] = select(*columns)
    return chosen.select_from(accounts).where(accounts.c.project_id == bindparam("project_id"))


_TOTAL = usage_events.c.counted_after_nano


def _moments() -> Any:
    """Evenly spaced instants, the last one first."""
    first = select(bindparam("last", type_=BigInteger).label("at"), literal(1).label("number"))
    moments = first.cte("moments", recursive=True)
    earlier = select(moments.c.at - bindparam("step", type_=BigInteger), moments.c.number + 1)
    return moments.union_all(earlier.where(moments.c.number < bindparam("points", type_=BigInteger)))


def _series() -> Select[Any]:
    """The running total at evenly spaced instants, and at as many a window's length before them."""
    moments = _moments()
    before = total_at(moments.c.at - bindparam("length", type_=BigInteger), _TOTAL)
    return (
        select(moments.c.at, (total_at(moments.c.at, _TOTAL) - before).label("nano"))
        .select_from(moments.join(accounts, accounts.c.project_id == bindparam("project_id")))
        .order_by(moments.c.at)
    )


def _totals_over_time() -> Select[Any]:
    """Totals of many projects over time, for both windows."""
    moments = _moments()
    before = [total_at(moments.c.at - bindparam(name, type_=BigInteger), _TOTAL) for name in _LENGTHS]
    return (
        select(moments.c.at, projects.c.slug, total_at(moments.c.at, _TOTAL), *before)
        .select_from(moments.join(projects, projects.c.slug.in_(bindparam("slugs", expanding=True))))
        .join(accounts, accounts.c.project_id == projects.c.id)
    )


_LENGTHS = {f"length_{name}": length for name, length in WINDOWS.items()}
# A few index look-ups for each point, in one SELECT; its text is the same however many points there are.
_SERIES, _TOTALS_OVER_TIME = _series(), _totals_over_time()
