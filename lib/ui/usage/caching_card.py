"""What caching of input saves, on Settings > Usage: by model, from the prices of each call."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import ROUND_HALF_EVEN, Decimal
from fractions import Fraction
from typing import Any

import streamlit as st

from lib.access.roles import Actor
from lib.formatting import MINUS, UNKNOWN, count, money, moneys, share
from lib.reports.caching import ModelCaching, add_up, both_ledgers, break_even
from lib.reports.models import Totals, UsageFilter
from lib.ui.base import loaders
from lib.ui.base.comparing import money_adding_up
from lib.ui.base.filters import Chosen
from lib.ui.base.server import front_door
from lib.ui.base.tables import arrow, count_column, dollars, height_of, money_column, wide_enough
from lib.ui.base.wording import SOURCE, SOURCE_COLOR, badge, escape
from lib.ui.parts import cards

_MOST = 8
_HELP = {
    "Saved by reads": "What the tokens read from the provider's cache would have cost more as plain input",
    "Paid for writes": "What the tokens written to the cache cost more than plain input",
    "Net": "Saved by reads, less what was paid for writes; each call at the prices of its own row",
    "Reads per written token": "How often a written token was read, and how often it has to be for its write to pay",
    "Not known": "Calls that used the cache and whose rows lack one of these prices: they are in no other column",
}


def draw_caching_card(wanted: UsageFilter, sums: Totals, chosen: Chosen, actor: Actor) -> None:
    """The card; without any use of a cache it says so."""
    found = loaders.cached_for_a_minute(front_door().caching.by_model, wanted, actor=actor)
    with cards.card():
        if not found:
            cards.heading("What caching saves, USD", note=chosen.zone.key)
            st.caption("No input was read from a provider's cache, and none was written to one.")
            return
        sources = {each.source for each in found}
        whose = SOURCE[found[0].source] if len(sources) == 1 else "both sources"
        cards.heading(
            "What caching saves, USD", note=f"at the prices of each call; {whose}, {chosen.zone.key}"
        )
        total = add_up(found)
        st.markdown(_amount(found, total))
        st.caption(escape(_explained(total, sums)))
        _table(both_ledgers(found))


def _amount(found: Sequence[ModelCaching], total: ModelCaching) -> str:
    """What caching saved in all, and in each ledger."""
    if total.calls == total.unknown_calls:
        return f"**{UNKNOWN}**"
    nets = {source: sum(each.net_nano for each in found if each.source == source) for source in SOURCE}
    what = "saved" if total.net_nano >= 0 else "more paid than saved"
    line = f"**{escape(money(abs(total.net_nano)))} {what}**"
    if all(nets.values()):
        amounts = money_adding_up(*nets.values())
        line += "".join(
            f" {badge(f'{SOURCE[source]} {amount}', SOURCE_COLOR[source])}"
            for source, amount in zip(nets, amounts, strict=True)
        )
    return line


def _explained(total: ModelCaching, sums: Totals) -> str:
    """How much of what would have been spent that is, of what it is made, and what is not known."""
    sentences = []
    if total.net_nano > 0:
        without = sums.total_nano + total.net_nano
        sentences.append(
            f"{share(total.net_nano, without, places=1)} of what would have been spent without it."
        )
    saved, paid = money_adding_up(total.saved_nano, -total.extra_nano)  # as the net amount above is rounded
    if total.written_tokens:
        sentences.append(
            f"Reads saved {saved}, writes cost {paid.removeprefix(MINUS)} more than plain input."
        )
    else:
        sentences.append("Writes to the cache were not charged for.")
    if total.unknown_calls:
        sentences.append(f"Not known of {count(total.unknown_calls, 'call')} without a price of each kind.")
    return " ".join(sentences)


def _table(rows: Sequence[ModelCaching]) -> None:
    columns = _columns(rows)
    amounts = [*columns["Saved by reads"], *columns["Paid for writes"]]
    written = any(each.written_tokens for each in rows)
    shown = {
        "Paid for writes": written,
        "Net": written,
        "Reads per written token": written,
        "Not known": any(columns["Not known"]),
    }
    config = {
        name: money_column(amounts) | {"help": _HELP[name]} for name in ("Saved by reads", "Paid for writes")
    }
    config["Tokens read"] = count_column()
    config["Not known"] = count_column() | {"help": _HELP["Not known"]}
    for name in ("Net", "Reads per written token"):
        config[name] = st.column_config.TextColumn(alignment="right", help=_HELP[name])
    st.dataframe(
        arrow(columns),
        hide_index=True,
        row_height=34,
        height=height_of(len(rows), row=34, most=_MOST),
        key="caching",
        placeholder="",
        alt="What caching saves by model, the most first",
        column_order=[name for name in columns if shown.get(name, True)],
        column_config=wide_enough(columns, config, "Model"),
    )


def _columns(rows: Sequence[ModelCaching]) -> dict[str, list[Any]]:
    def amounts(name: str) -> list[float | None]:
        return [None if each.calls == each.unknown_calls else dollars(getattr(each, name)) for each in rows]

    return {
        "Model": [each.model for each in rows],
        "Saved by reads": amounts("saved_nano"),
        "Paid for writes": amounts("extra_nano"),
        "Net": _nets(rows),
        "Tokens read": [each.read_tokens for each in rows],
        "Reads per written token": [_reads(each) for each in rows],
        "Not known": [each.unknown_calls for each in rows],
    }


def _nets(rows: Sequence[ModelCaching]) -> list[str]:
    """As text, because a table of numbers puts the sign behind the dollar."""
    known = [None if each.calls == each.unknown_calls else each.net_nano for each in rows]
    return ["" if nano is None else text for nano, text in zip(known, moneys(*known), strict=True)]


def _reads(each: ModelCaching) -> str:
    """``3.2, pays from 0.28``: how often a written token was read, and from where on its write pays."""
    if not each.written_tokens:
        return ""
    so_far, pays = Fraction(each.read_tokens, each.written_tokens), break_even(each)
    return _times(so_far) + ("" if pays is None else f", pays from {_times(pays)}")


def _times(number: Fraction) -> str:
    size = Decimal(number.numerator) / number.denominator
    return f"{size.quantize(Decimal('0.01') if size < 1 else Decimal('0.1'), ROUND_HALF_EVEN):,}"
