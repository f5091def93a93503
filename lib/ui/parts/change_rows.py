"""What changed, row by row: of which projects or models, the largest change first."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import replace
from typing import Any

from lib.access.roles import Actor
from lib.reports.caching import both_ledgers
from lib.reports.changes import Saved, SpendChange, grouped, rank_changes, with_causes
from lib.reports.models import Totals, UsageFilter
from lib.ui.base import loaders
from lib.ui.base.server import front_door

MOST_ROWS = 6
"""Beside them all others stand in one row."""


def by_model(wanted: UsageFilter, actor: Actor) -> dict[Hashable, Totals]:
    """The sums of each model in the period."""
    return {row.model: row for row in loaders.cached(front_door().reports.by_model, wanted, actor=actor)}


def by_model_before(before: UsageFilter, actor: Actor) -> dict[Hashable, Totals]:
    """The sums of each model in what the period is compared with, at most a minute old: imports alone change it."""
    found = loaders.cached_for_a_minute(front_door().reports.by_model, before, actor=actor)
    return {row.model: row for row in found}


def saved_by_model(wanted: UsageFilter, actor: Actor) -> Saved:
    """What caching saved on each model, in nano-USD, as far as prices are known."""
    found = loaders.cached_for_a_minute(front_door().caching.by_model, wanted, actor=actor)
    return {row.model: row.known_net_nano for row in both_ledgers(found)}


def of_models(
    now: Mapping[Any, Totals], before: Mapping[Any, Totals], saved: Saved, saved_before: Saved
) -> list[SpendChange]:
    """The largest changes by model."""
    shown, others = rank_changes(now, before, most=MOST_ROWS)
    told = [
        with_causes(each, {each.name: each.now}, {each.name: each.before}, saved, saved_before)
        for each in shown
    ]
    return [*told, *([others] if others else [])]


def of_projects(wanted: UsageFilter, before: UsageFilter, actor: Actor) -> list[SpendChange]:
    """The largest changes; only of those are the models asked for."""
    reports, caching = front_door().reports, front_door().caching
    sums = loaders.cached(reports.by_project, wanted, actor=actor)
    sums_before = loaders.cached_for_a_minute(reports.by_project, before, actor=actor)
    shown, others = rank_changes(sums, sums_before, most=MOST_ROWS)
    asked = [replace(each, projects=tuple(row.name for row in shown)) for each in (wanted, before)]
    cells, cells_before = (
        grouped(load(reports.by_project_and_model, each, actor=actor))
        for load, each in zip((loaders.cached, loaders.cached_for_a_minute), asked, strict=True)
    )
    saved, saved_before = (
        grouped({key: row.known_net_nano for key, row in found.items()})
        for found in (
            loaders.cached_for_a_minute(caching.by_project_and_model, each, actor=actor) for each in asked
        )
    )
    told = [
        with_causes(
            row,
            cells.get(row.name, {}),
            cells_before.get(row.name, {}),
            saved.get(row.name, {}),
            saved_before.get(row.name, {}),
        )
        for row in shown
    ]
    return [*told, *([others] if others else [])]
