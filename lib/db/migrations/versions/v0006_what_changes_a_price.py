"""What changed a call's price, so that the row alone gives its cost: cache writes, tier, region, fees, table.

Rows from before keep their promise too: OpenAI bills what is written to its cache at 1.25 times the price of
input, whole tokens at whole prices, so what a live row cost beyond its columns says how many were written.
Nothing is priced anew; a row that does not come out to the last nano-USD stays as it is.
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

_COLUMNS = (
    ("served_model", sa.String(200)),
    ("service_tier", sa.String(40)),
    ("region", sa.String(40)),
    ("cache_write_tokens", sa.BigInteger()),
    ("cache_write_1h_tokens", sa.BigInteger()),
    ("price_cache_write", sa.BigInteger()),
    ("price_cache_write_1h", sa.BigInteger()),
    ("fees_nano", sa.BigInteger()),
    ("price_table", sa.String(60)),
)
_WRITTEN_IS_PART = (
    "coalesce(cached_input_tokens, 0) + coalesce(cache_write_tokens, 0) + "
    "coalesce(cache_write_1h_tokens, 0) <= input_tokens"
)
# By the column that brings its rule with it: SQLite takes a rule only together with a column.
_RULES = {
    "cache_write_1h_tokens": (
        ("written", "cache_write_tokens >= 0 AND cache_write_1h_tokens >= 0"),
        ("written_is_part", _WRITTEN_IS_PART),
    ),
    "fees_nano": (("fees", "fees_nano >= 0"),),
}
_BEYOND = """(cost_nano * 1000000 - (input_tokens - cached_input_tokens) * price_input
    - cached_input_tokens * price_cached_input - output_tokens * price_output)"""
_WRITTEN = f"(({_BEYOND} + price_input / 8) / (price_input / 4))"
_OFF = f"({_BEYOND} - {_WRITTEN} * (price_input / 4))"
# The bounds keep every product within 64 bits, which SQLite would leave for floats without a word.
_RECOVER = f"""
UPDATE usage_events SET cache_write_tokens = {_WRITTEN}, price_cache_write = price_input / 4 * 5
WHERE NOT imported AND (model LIKE 'gpt-5.6%' OR model LIKE 'gpt-5-6%' OR model LIKE 'gpt-6%')
AND cost_nano < 9000000000000 AND input_tokens < 10000000 AND output_tokens < 10000000
AND price_input BETWEEN 10000000 AND 200000000000 AND price_output < 400000000000 AND price_input % 4 = 0
AND {_BEYOND} > 500000 AND {_OFF} BETWEEN -500000 AND 500000
AND {_WRITTEN} BETWEEN 1 AND input_tokens - cached_input_tokens
"""  # noqa: S608  # nosec B608 - of constants


def upgrade() -> None:
    for name, kind in _COLUMNS:
        rules = _RULES.get(name, ())
        text = "".join(f" CONSTRAINT ck_usage_events_{rule} CHECK ({sql})" for rule, sql in rules)
        op.execute(f"ALTER TABLE usage_events ADD COLUMN {name} {kind}{text}")
    op.execute(_RECOVER)
