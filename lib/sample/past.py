"""The older weeks of the sample data, as a file that the import reads."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from random import Random

from lib.clock import Micros, iso
from lib.errors import PriceUnknown
from lib.exchange.columns import EVENT_COLUMNS
from lib.pricing.amounts import plain_usd
from lib.pricing.prices import PriceBook, Tokens
from lib.pricing.terms import Terms
from lib.sample.projects import PLATFORM_LAST4, Story
from lib.sample.traffic import SEED, DraftCall, DraftRun

_LONGEST_INPUT = 300_000
_TEXT = Terms(text_only=True)
_ERRORS = {"rate_limited": "error", "overloaded": "error"}


def sized(
    runs: Sequence[DraftRun], story: Story, prices: PriceBook, since: Micros, at: datetime
) -> list[DraftRun]:
    """Return the runs with calls as large as makes those after ``since`` cost what the story says of a week.

    Args:
        runs: as drawn.
        story: whose.
        prices: what a call costs.
        since: a week ago.
        at: the time whose prices are taken, for all calls.
    """
    week = [call for run in runs if run.started_at >= since for call in run.calls if not call.rush]
    cost = sum(_cost(call, prices, at) or 0 for call in week)
    factor = min(4.0, max(0.25, story.week_nano / cost)) if cost else 1.0
    return [replace(run, calls=[_scaled(call, factor) for call in run.calls]) for run in runs]


def usage_file(
    stories: Sequence[tuple[Story, Sequence[DraftRun]]],
    prices: PriceBook,
    now: Micros,
    at: datetime,
    *,
    until: Micros,
) -> bytes:
    """Return the calls of these runs in the columns of an export; their costs are those of today's prices."""
    text = io.StringIO()
    names = [column.name for column in EVENT_COLUMNS]
    writer = csv.DictWriter(text, names, restval="")
    writer.writeheader()
    for story, runs in stories:
        chance = Random(f"{SEED}: events of {story.name}")  # noqa: S311  # nosec B311
        writer.writerows(_rows(story, runs, prices, now, at, chance, until))
    return text.getvalue().encode()


def _rows(
    story: Story,
    runs: Sequence[DraftRun],
    prices: PriceBook,
    now: Micros,
    at: datetime,
    chance: Random,
    until: Micros,
) -> Iterator[dict[str, object]]:
    for run in runs:
        for call in run.calls:
            if call.at >= until:
                break  # the run went on into the week that goes through the ledger
            yield {
                "event_id": f"{chance.getrandbits(128):032x}",
                "occurred_at": iso(call.at),
                "project": story.name,
                "run_id": run.run_id,
                "provider": call.provider,
                "model": call.model,
                "endpoint": call.endpoint,
                **_payer(story, call, now),
                **_end(call, prices, at),
            }


def _payer(story: Story, call: DraftCall, now: Micros) -> dict[str, object]:
    key = story.key_of(call.provider)
    if key is not None and call.at >= now - key.saved:
        return {"source": "byok", "key_last4": key.last4}
    return {"source": "platform", "key_last4": PLATFORM_LAST4}


def _end(call: DraftCall, prices: PriceBook, at: datetime) -> dict[str, object]:
    if call.mishap in _ERRORS:
        nothing = dict.fromkeys(
            ("input_tokens", "cached_input_tokens", "output_tokens", "reasoning_tokens", "cost_usd"), 0
        )
        return {"status": "error", "latency_ms": call.latency_ms, **nothing}
    if call.mishap:
        return {"status": call.mishap}
    cost = _cost(call, prices, at)
    return {
        "status": "ok",
        "input_tokens": call.input,
        "cached_input_tokens": call.cached,
        "output_tokens": call.output,
        "reasoning_tokens": call.reasoning,
        "cost_usd": "" if cost is None else plain_usd(cost),
        "latency_ms": call.latency_ms,
    }


def _cost(call: DraftCall, prices: PriceBook, at: datetime) -> int | None:
    try:
        tokens = Tokens(call.input, call.cached, call.output, call.reasoning)
        return prices.cost(call.model, tokens, at=at, provider=call.provider, terms=_TEXT).nano
    except PriceUnknown:
        return None


def _scaled(call: DraftCall, factor: float) -> DraftCall:
    if call.rush:
        return call
    factor = min(factor, _LONGEST_INPUT / max(1, call.input))
    return replace(
        call,
        input=int(call.input * factor),
        cached=int(call.cached * factor),
        output=int(call.output * factor),
        reasoning=int(call.reasoning * factor),
    )
