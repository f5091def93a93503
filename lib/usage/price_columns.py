"""What a usage row keeps of its price, so that its cost can be computed again from the row alone."""

from __future__ import annotations

from lib.pricing.prices import Cost, Tokens


def token_columns(tokens: Tokens) -> dict[str, int]:
    """The quantities by column: cached and written ones are parts of input, reasoning is part of output."""
    return {
        "input_tokens": tokens.input,
        "cached_input_tokens": tokens.cached,
        "output_tokens": tokens.output,
        "reasoning_tokens": tokens.reasoning,
        "cache_write_tokens": tokens.cache_write,
        "cache_write_1h_tokens": tokens.cache_write_1h,
    }


def price_columns(cost: Cost, tokens: Tokens) -> dict[str, int | str | None]:
    """The columns by name, as stored. A price of cache writes only where some were written."""
    unit = cost.unit
    return {
        "cost_nano": cost.nano,
        "price_input": unit.input,
        "price_cached_input": unit.cached_input,
        "price_output": unit.output or 0,
        "price_cache_write": unit.cache_write if tokens.cache_write else None,
        "price_cache_write_1h": unit.cache_write_1h if tokens.cache_write_1h else None,
        "fees_nano": cost.fees_nano,
        "price_table": cost.table,
    }
