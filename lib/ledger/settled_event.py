"""The usage row of a call that has ended: what it used, what it cost, and the prices behind that."""

from __future__ import annotations

from contextlib import suppress

from lib.clock import Micros, from_micros
from lib.errors import PriceUnknown
from lib.ledger.attempts import AttemptResult
from lib.ledger.key_health import cut
from lib.ledger.opened import OpenCall
from lib.pricing.prices import NO_TOKENS, PriceBook
from lib.pricing.regions import percent_more
from lib.pricing.terms import Terms, special_tier
from lib.usage.event_row import EventRow
from lib.usage.price_columns import price_columns, token_columns


def settled_event(
    call: OpenCall, outcome: AttemptResult, prices: PriceBook, *, now: Micros, priced_at: Micros
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
        served_model=cut(outcome.served_model, 200),
        service_tier=cut(special_tier(outcome.service_tier) or None, 40),
        key_last4=call.last4,
        upstream_request_id=cut(outcome.upstream_request_id, 200),
        latency_ms=outcome.latency_ms,
        http_status=outcome.http_status,
        error_code=cut(outcome.error_code, 100),
        error_type=cut(outcome.error_type, 100),
        error_message=cut(outcome.error_message, 600),
    )
    _add_tokens(row, outcome)
    _add_cost(row, call, outcome, prices, priced_at)
    return row


def _add_tokens(row: EventRow, outcome: AttemptResult) -> None:
    """An error answer used none; where the provider did not say, it is not known."""
    used = outcome.tokens or (NO_TOKENS if outcome.status == "error" else None)
    if used is not None:
        row.fill(token_columns(used))


def _add_cost(row: EventRow, call: OpenCall, outcome: AttemptResult, prices: PriceBook, at: Micros) -> None:
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
    )
    with suppress(PriceUnknown):
        cost = prices.cost(
            call.model, outcome.tokens, at=from_micros(at), provider=call.provider, terms=terms
        )
        row.fill(price_columns(cost, outcome.tokens))
        row.region = cost.region or None
