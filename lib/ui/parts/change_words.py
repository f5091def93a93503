"""What changed, in words: by how much, in percent, and why."""

from __future__ import annotations

from lib.formatting import MINUS, UNKNOWN, Decimals, count, decimals
from lib.reports.changes import Causes, SpendChange
from lib.reports.models import Totals
from lib.ui.base.comparing import change, signed_money, signed_moneys_adding_up
from lib.ui.base.tables import known
from lib.ui.base.wording import escape

_CAUSE = {
    "calls": "calls",
    "models": "choice of models",
    "tokens": "tokens per call",
    "token_cost": "cost per token",
    "cache": "share cached",
    "call_cost": "cost per call",
}


def explained(now: Totals, before: Totals, causes: Causes | None) -> str:
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


def change_in_words(each: SpendChange, places: Decimals) -> str:
    """By how much one row changed; unknown where one of its amounts is."""
    if known(each.now) is None or known(each.before) is None:
        return UNKNOWN
    return signed_money(each.change_nano, places)


def percent(each: SpendChange) -> str:
    """By how much in percent; ``new`` or ``gone`` where one of the two has no calls."""
    if not each.before.calls:
        return "new"
    if not each.now.calls:
        return "gone"
    if known(each.now) is None or known(each.before) is None:
        return ""
    return change(each.now.total_nano, each.before.total_nano) or ""


def why(each: SpendChange, places: Decimals) -> str:
    """The cause of one row, and what is unknown of it."""
    return "; ".join(filter(None, (_cause(each, places), _unknown(each.now, each.before))))


def _cause(each: SpendChange, places: Decimals) -> str:
    if each.causes is None or not any(each.causes):
        return ""
    if main := each.causes.main:
        return f"{_CAUSE[main]} {signed_money(getattr(each.causes, main), places)}"
    return f"mixed: {_listed(each.causes, places, most=2)}"
