"""What changed on Overview and Usage: by project or model, the largest change first, and why."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import streamlit as st

from lib.access.roles import Actor
from lib.formatting import MINUS, UNKNOWN, Decimals, count, decimals
from lib.reports.caching import both_ledgers
from lib.reports.changes import Causes, Saved, SpendChange, grouped, rank_changes, with_causes
from lib.reports.models import Totals, UsageFilter
from lib.ui.base import filters, loaders, query_state
from lib.ui.base.comparing import change, signed_money, signed_moneys_adding_up
from lib.ui.base.filters import Chosen
from lib.ui.base.navigation import USAGE, go
from lib.ui.base.server import front_door
from lib.ui.base.tables import (
    arrow,
    cell,
    height_of,
    in_room,
    known,
    money_column,
    row_opens,
    titles_of,
    wide_enough,
)
from lib.ui.base.wording import SOURCE, SOURCE_COLOR, badge, escape
from lib.ui.base.wrong_links import draw_wrong_links
from lib.ui.parts import cards

_MOST, _TITLE = 6, "Title"
_CAUSE = {
    "calls": "calls",
    "models": "choice of models",
    "tokens": "tokens per call",
    "token_cost": "cost per token",
    "cache": "share cached",
    "call_cost": "cost per call",
}
_RULE = (
    "Worked out in this order: as many calls as now at what one cost before; the models that they went to; as many "
    "tokens per call as now; what a token costs now, were nothing cached (prices, fees, the share of output); the share of "
    "input that was cached. A cause is named alone where it "
    "outweighs all others together."
)


@dataclass(frozen=True)
class Stretches:
    """What is compared: the sums of the filter's period and of the same stretch before."""

    wanted: UsageFilter
    sums: Totals
    previous: Totals
    chosen: Chosen
    titles: Mapping[str, str]
    """Of the projects, by short name."""


def draw_changes_card(found: Stretches, actor: Actor) -> None:
    """The card; nothing where there is no spend, known or not, in both stretches."""
    if not found.sums.calls and not found.previous.calls:
        return
    with cards.card():
        _draw(found, actor)


@st.fragment
def _draw(found: Stretches, actor: Actor) -> None:
    wanted, sums, previous, chosen = found.wanted, found.sums, found.previous, found.chosen
    with st.container(gap="xsmall"):
        note = f"{chosen.before}; {_ledgers(sums, previous)}, {chosen.zone.key}"
        if not previous.calls:
            cards.heading("What changed", note=note)
            st.caption(escape(f"No call to compare with: {chosen.against.removeprefix('Compared with ')}"))
            return
        by = _head(note, one_project=len(wanted.projects) == 1)
        before = filters.before(wanted, chosen)
        models, models_before = _by_model(wanted, actor), _by_model_before(before, actor)
        saved = _saved_by_model(wanted, actor), _saved_by_model(before, actor)
        causes = with_causes(SpendChange("", sums, previous), models, models_before, *saved).causes
        st.markdown(_amount(sums, previous))
        if said := _explained(sums, previous, causes):
            st.caption(said)
        rows = (
            _by_project(wanted, before, actor) if by == "project" else _models(models, models_before, *saved)
        )
        _table(by, rows, found.titles if by == "project" else {})


def _head(note: str, *, one_project: bool) -> str:
    """The title, and beside it the choice of what the rows are."""
    with st.container(horizontal=True, vertical_alignment="bottom", horizontal_alignment="distribute"):
        cards.heading("What changed", note=note, width="content")
        if one_project:
            return "model"
        by = query_state.select(
            "What changed, by",
            "changes",
            ["project", "model"],
            default="project",
            width=130,
            noun="rows of what changed",
            format_func=lambda name: f"By {name}",
        )
    draw_wrong_links()  # of what this card takes from the address
    return by


def _ledgers(sums: Totals, previous: Totals) -> str:
    platform, byok = sums.platform_calls + previous.platform_calls, sums.byok_calls + previous.byok_calls
    return "both sources" if platform and byok else SOURCE["byok" if byok else "platform"]


# --- all together ----------------------------------------------------------------------------------


def _amount(now: Totals, before: Totals) -> str:
    """By how much, and of which ledger."""
    parts = [getattr(now, f"{source}_nano") - getattr(before, f"{source}_nano") for source in SOURCE]
    percent = change(now.total_nano, before.total_nano)
    line = f"**{escape(signed_money(sum(parts), decimals(parts)))}**"
    line += f" ({escape(percent)})" if percent else ""
    if all(parts):
        amounts = signed_moneys_adding_up(*parts)
        line += "".join(
            f" {badge(f'{title} {amount}', SOURCE_COLOR[source])}"
            for (source, title), amount in zip(SOURCE.items(), amounts, strict=True)
        )
    return line


def _explained(now: Totals, before: Totals, causes: Causes | None) -> str:
    """The causes, which add up to it; what is unknown stands beside them."""
    places = decimals([now.total_nano - before.total_nano])
    listed = _listed(causes, places) if causes and any(causes) else ""
    said = "; ".join(filter(None, (listed, _unknown(now, before))))
    # A minus sign stays with its amount at the end of a line.
    return escape(said[:1].upper() + said[1:]).replace(MINUS, f"{MINUS}\N{WORD JOINER}")


def _listed(causes: Causes, places: Decimals, most: int = len(_CAUSE)) -> str:
    """``calls +$3.10, tokens per call -$2.90``: the largest first; all of them add up.

    With the decimals of the change that they explain, so that a cause of no weight does not give all of them more.
    """
    named = [(name, nano) for name, nano in causes._asdict().items() if nano]
    amounts = signed_moneys_adding_up(*(nano for _, nano in named), places=places)
    found = sorted(zip(named, amounts, strict=True), key=lambda each: -abs(each[0][1]))
    return ", ".join(f"{_CAUSE[name]} {amount}" for (name, _), amount in found[:most])


def _unknown(now: Totals, before: Totals) -> str:
    """``Cost of 14 calls unknown now, of 3 before``; empty where all are known."""
    found = {"now": now.unpriced_calls, "before": before.unpriced_calls}
    said = ", ".join(f"{count(calls, 'call')} {when}" for when, calls in found.items() if calls)
    return f"cost unknown: {said}" if said else ""


# --- row by row ------------------------------------------------------------------------------------


def _by_model(wanted: UsageFilter, actor: Actor) -> dict[Hashable, Totals]:
    return {row.model: row for row in loaders.cached(front_door().reports.by_model, wanted, actor=actor)}


def _by_model_before(before: UsageFilter, actor: Actor) -> dict[Hashable, Totals]:
    found = loaders.cached_for_a_minute(front_door().reports.by_model, before, actor=actor)
    return {row.model: row for row in found}


def _saved_by_model(wanted: UsageFilter, actor: Actor) -> Saved:
    found = loaders.cached_for_a_minute(front_door().caching.by_model, wanted, actor=actor)
    return {row.model: row.known_net_nano for row in both_ledgers(found)}


def _models(
    now: Mapping[Any, Totals], before: Mapping[Any, Totals], saved: Saved, saved_before: Saved
) -> list[SpendChange]:
    shown, others = rank_changes(now, before, most=_MOST)
    told = [
        with_causes(each, {each.name: each.now}, {each.name: each.before}, saved, saved_before)
        for each in shown
    ]
    return [*told, *([others] if others else [])]


def _by_project(wanted: UsageFilter, before: UsageFilter, actor: Actor) -> list[SpendChange]:
    """The largest changes; only of those are the models asked for."""
    reports, caching = front_door().reports, front_door().caching
    sums = loaders.cached(reports.by_project, wanted, actor=actor)
    sums_before = loaders.cached_for_a_minute(reports.by_project, before, actor=actor)
    shown, others = rank_changes(sums, sums_before, most=_MOST)
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


def _table(by: str, rows: Sequence[SpendChange], titles: Mapping[str, str]) -> None:
    noun = by.capitalize()
    columns = _columns(noun, rows, titles)

    def leave(row: int) -> None:
        if not rows[row].others:
            _open(by, rows[row].name)

    st.dataframe(
        arrow(columns),
        hide_index=True,
        row_height=34,
        height=height_of(len(rows), row=34, most=_MOST + 1),
        **row_opens(f"changes:{by}", leave),
        placeholder="",
        alt=f"What changed by {by}, the largest change first",
        column_order=in_room(columns, _TITLE),
        column_config=wide_enough(columns, _config(columns), noun, _TITLE),
    )


def _columns(noun: str, rows: Sequence[SpendChange], titles: Mapping[str, str]) -> dict[str, list[Any]]:
    places = decimals(each.change_nano for each in rows)
    named = titles_of([each.name for each in rows], titles)
    return {
        noun: [each.name or count(each.others, "other") for each in rows],
        **({_TITLE: named} if any(named) else {}),
        "Before": [cell(each.before) for each in rows],
        "Now": [cell(each.now) for each in rows],
        "Change": [_change(each, places) for each in rows],
        "%": [_percent(each) for each in rows],
        "Why": [_why(each, places) for each in rows],
    }


def _config(columns: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
    amounts = money_column([*columns["Before"], *columns["Now"]])
    right = st.column_config.TextColumn(alignment="right")
    why = st.column_config.TextColumn(help=_RULE, width="large")
    return {"Before": amounts, "Now": amounts, "Change": right, "%": right, "Why": why}


def _change(each: SpendChange, places: Decimals) -> str:
    if known(each.now) is None or known(each.before) is None:
        return UNKNOWN
    return signed_money(each.change_nano, places)


def _percent(each: SpendChange) -> str:
    if not each.before.calls:
        return "new"
    if not each.now.calls:
        return "gone"
    if known(each.now) is None or known(each.before) is None:
        return ""
    return change(each.now.total_nano, each.before.total_nano) or ""


def _why(each: SpendChange, places: Decimals) -> str:
    return "; ".join(filter(None, (_cause(each, places), _unknown(each.now, each.before))))


def _cause(each: SpendChange, places: Decimals) -> str:
    if each.causes is None or not any(each.causes):
        return ""
    if main := each.causes.main:
        return f"{_CAUSE[main]} {signed_money(getattr(each.causes, main), places)}"
    return f"mixed: {_listed(each.causes, places, most=2)}"


def _open(by: str, name: str) -> None:
    """Usage of what the row is about, for the same period and filter."""
    kept: dict[str, str | list[str]] = {each: st.query_params.get_all(each) for each in st.query_params}
    go(USAGE, **{**kept, by: name})
