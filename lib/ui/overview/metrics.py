"""The five numbers of Overview, the last of them how many projects are at or near a cap."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from lib.access.roles import Actor
from lib.caps.windows import NEAR_CAP, Headroom
from lib.clock import MINUTE
from lib.formatting import count
from lib.reports.models import Totals
from lib.ui.base import loaders
from lib.ui.base.comparing import change, difference
from lib.ui.base.filters import Chosen
from lib.ui.overview.table import ProjectStatus
from lib.ui.parts import spend_card
from lib.ui.parts.cards import Metric

_FULL = 100


@dataclass(frozen=True)
class NearCaps:
    """How many projects on the platform key are at or near a cap.

    ``change`` leaves running calls out on both sides, because what was reserved back then is not kept.
    """

    now: int
    change: str | None = None
    series: list[int] = field(default_factory=list)


def near_caps(found: Sequence[ProjectStatus], chosen: Chosen, actor: Actor) -> NearCaps:
    """How many are there now; how many were at the same moment of the period before, and since, where it goes on."""
    rooms = {each.project.slug: each.headroom for each in found if each.headroom}
    now = sum(each.nearest >= NEAR_CAP for each in found)
    if not rooms or chosen.period.until < chosen.now:
        return NearCaps(now)
    until = chosen.now - chosen.now % MINUTE  # what ends with each look would never be found in the cache
    series = loaders.count_near_cap_over_time(rooms, NEAR_CAP, chosen.period.since, until, actor)
    before = loaders.count_near_cap_over_time(rooms, NEAR_CAP, chosen.earlier.until, until, actor, points=2)
    settled = sum(map(_is_near_by_settled_calls, rooms.values()))
    change = difference(settled, before[0]) if len(before) > 1 else None  # its calls may be archived
    return NearCaps(now, change, [*series[:-1], now])


def _is_near_by_settled_calls(room: Headroom) -> bool:
    return any(100 * window.used_nano >= NEAR_CAP * window.cap_nano for window in room.windows.values())


def metrics(
    sums: Totals, previous: Totals, series: Sequence[Totals], found: Sequence[ProjectStatus], near: NearCaps
) -> list[Metric]:
    """The five numbers of the page."""
    capped = [each for each in found if each.headroom]
    return [
        *spend_card.amounts(sums, previous, series),
        Metric(
            "Calls",
            count(sums.calls),
            change(sums.calls, previous.calls),
            series=[row.calls for row in series],
        ),
        Metric(
            "At or near a cap",
            f"{count(near.now)} of {count(len(capped))}",
            near.change,
            "orange" if near.now else "gray",
            near.series,
            help=_how_near(capped),
        ),
    ]


def _how_near(capped: Sequence[ProjectStatus]) -> str:
    full = sum(each.nearest >= _FULL for each in capped)
    near = sum(NEAR_CAP <= each.nearest < _FULL for each in capped)
    return (
        f"Projects on the platform key that have used {NEAR_CAP}% or more of a cap: {full} at "
        f"{'its cap' if full == 1 else 'their caps'}, {near} near. "
        "The change and the line go by today's caps and keys; the change leaves running calls out."
    )
