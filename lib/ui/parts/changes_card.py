"""What changed on Overview and Usage: by project or model, the largest change first, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import streamlit as st

from lib.access.roles import Actor
from lib.formatting import count, decimals
from lib.reports.changes import SpendChange, with_causes
from lib.reports.models import Totals, UsageFilter
from lib.ui.base import filters, query_state
from lib.ui.base.comparing import change, signed_money, signed_moneys_adding_up
from lib.ui.base.filters import Chosen
from lib.ui.base.navigation import USAGE, go
from lib.ui.base.tables import (
    arrow,
    cell,
    height_of,
    in_room,
    money_column,
    row_opens,
    titles_of,
    wide_enough,
)
from lib.ui.base.wording import SOURCE, SOURCE_COLOR, badge, escape
from lib.ui.base.wrong_links import draw_wrong_links
from lib.ui.parts import cards, change_rows, change_words

_TITLE = "Title"
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
        models = change_rows.by_model(wanted, actor)
        models_before = change_rows.by_model_before(before, actor)
        saved = change_rows.saved_by_model(wanted, actor), change_rows.saved_by_model(before, actor)
        causes = with_causes(SpendChange("", sums, previous), models, models_before, *saved).causes
        st.markdown(_amount(sums, previous))
        if said := change_words.explained(sums, previous, causes):
            st.caption(said)
        rows = (
            change_rows.of_projects(wanted, before, actor)
            if by == "project"
            else change_rows.of_models(models, models_before, *saved)
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
        height=height_of(len(rows), row=34, most=change_rows.MOST_ROWS + 1),
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
        "Change": [change_words.change_in_words(each, places) for each in rows],
        "%": [change_words.percent(each) for each in rows],
        "Why": [change_words.why(each, places) for each in rows],
    }


def _config(columns: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
    amounts = money_column([*columns["Before"], *columns["Now"]])
    right = st.column_config.TextColumn(alignment="right")
    why = st.column_config.TextColumn(help=_RULE, width="large")
    return {"Before": amounts, "Now": amounts, "Change": right, "%": right, "Why": why}


def _open(by: str, name: str) -> None:
    """Usage of what the row is about, for the same period and filter."""
    kept: dict[str, str | list[str]] = {each: st.query_params.get_all(each) for each in st.query_params}
    go(USAGE, **{**kept, by: name})
