"""The usage row of a call that has ended: what it used, what it cost, and the prices behind that."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import fields
from typing import Any

from lib.clock import Micros, from_micros
from lib.db.tables import usage_events
from lib.errors import PriceUnknown
from lib.ledger.attempts import AttemptResult
from lib.ledger.open_attempt import OpenAttempt
from lib.pricing.prices import NO_TOKENS, PriceBook
from lib.pricing.regions import percent_more
from lib.pricing.terms import Terms, special_tier
from lib.usage.event_row import COLUMNS, EventRow
from lib.usage.price_columns import price_columns, token_columns

# What an attempt states is stored in the column of that name.
_AS_STATED = [field.name for field in fields(AttemptResult) if field.name in COLUMNS]
_LENGTHS = {column.name: getattr(column.type, "length", None) for column in usage_events.columns}


def _cut(column: str, value: Any) -> Any:
    """Foreign text, no longer than its column."""
    return value[: _LENGTHS[column]] if isinstance(value, str) else value


def settled_event(
    call: OpenAttempt, outcome: AttemptResult, prices: PriceBook, *, now: Micros, priced_at: Micros
) -> EventRow:
    """The row as it is stored, still without the account's running totals."""
    row = EventRow(
        project_id=call.project_id,
        event_id=call.id,
        occurred_at=now,
        run_id=call.run_id,
        run_kind=call.run_kind,
        source=call.source,
        provider=call.provider,
        model=call.model,
        endpoint=call.endpoint,
        status=outcome.status,
        key_last4=call.last4,
    )
    row.fill({name: _cut(name, getattr(outcome, name)) for name in _AS_STATED})
    row.service_tier = _cut("service_tier", special_tier(outcome.service_tier) or None)
    _add_tokens(row, outcome)
    _add_cost(row, call, outcome, prices, priced_at)
    return row


def _add_tokens(row: EventRow, outcome: AttemptResult) -> None:
    """An error answer used none; where the provider did not say, it is not known."""
    used = outcome.tokens or (NO_TOKENS if outcome.status == "error" else None)
    if used is not None:
        row.fill(token_columns(used))


def _add_cost(
    row: EventRow, call: OpenAttempt, outcome: AttemptResult, prices: PriceBook, at: Micros
) -> None:
    """The cost and the unit prices behind it; an error answer costs nothing, unknown stays unknown."""
    if outcome.free or (outcome.tokens is None and outcome.status == "error"):
        row.cost_nano = 0
        return
    more = percent_more(call.provider, outcome.served_model or call.model, call.region)
    row.region = None if more == 0 else call.region
    if outcome.tokens is None or not outcome.priceable:
        return
    terms = Terms(
        tier=special_tier(outcome.service_tier),
        region=call.region,
        tools=outcome.tool_calls,
        served_model=outcome.served_model or "",
        text_only=True,  # anything else that is billed apart is not priceable
    )
    with suppress(PriceUnknown):
        cost = prices.cost(
            call.model, outcome.tokens, at=from_micros(at), provider=call.provider, terms=terms
        )
        row.fill(price_columns(cost, outcome.tokens))
        row.region = cost.region or None
