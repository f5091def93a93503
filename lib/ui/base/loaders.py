"""Reports for pages, kept for a few seconds. What a person may see is part of what an answer is kept by.

Keys, runs and today's caps are never kept: what is shown of them is read from the database each time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ParamSpec, TypeVar, cast

import streamlit as st

from lib.access.roles import Actor
from lib.caps.windows import Headroom
from lib.clock import Micros
from lib.ui.base.server import front_door

SECONDS_KEPT = 3

P = ParamSpec("P")
T = TypeVar("T")


def cached(report: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Answer of one of the front door's reports, at most ``SECONDS_KEPT`` old; shared, so nobody may change it.

    The actor has to be among the arguments: what they read as tells one question from another, and an actor reads as
    all of its rights.
    """
    # A text, because hashing the filter itself takes as long as some answers. That of a method names its object too.
    return cast(T, _kept(repr((report, args, kwargs)), lambda: report(*args, **kwargs)))


def cached_for_a_minute(report: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """As ``cached``, for what is over, which imports alone change, or changes slowly; at most a minute old."""
    return cast(T, _kept_for_a_minute(repr((report, args, kwargs)), lambda: report(*args, **kwargs)))


def count_near_cap_over_time(
    rooms: Mapping[str, Headroom],
    percent: int,
    since: Micros,
    until: Micros,
    actor: Actor,
    *,
    points: int = 12,
) -> list[int]:
    """How many of these projects had used so much of a cap of today, at evenly spaced instants.

    Kept for a minute: what counted by then stays as it is, because calls count when they settle, and imports never.
    """
    ask = front_door().caps.count_near_cap_over_time
    caps = {slug: [window.cap_nano for window in room.windows.values()] for slug, room in rooms.items()}
    found = _kept_for_a_minute(
        repr((ask, caps, percent, since, until, points, actor)),
        lambda: ask(rooms, percent, since=since, until=until, points=points, actor=actor),
    )
    return cast(list[int], found)


def forget() -> None:
    """Drop all answers after a change made here, so that the next page shows it at once."""
    _kept.clear()
    _kept_for_a_minute.clear()


@st.cache_resource(ttl=SECONDS_KEPT, max_entries=500, show_spinner=False)
def _kept(key: str, _ask: Callable[[], object]) -> object:  # noqa: ARG001 - it is what the answer is kept by
    """The answer itself, not a copy for each page: nobody changes it."""
    return _ask()


@st.cache_resource(ttl=60, max_entries=300, show_spinner=False)
def _kept_for_a_minute(key: str, _ask: Callable[[], object]) -> object:  # noqa: ARG001 - as above
    """As ``_kept``, for what is over. A function of its own: Streamlit has one cache for each."""
    return _ask()
