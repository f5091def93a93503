"""What changed a call's price, so that the row alone gives its cost: cache writes, tier, region, fees, table.

Rows from before keep their promise too: OpenAI bills what is written to its cache at 1.25 times the price of
input, whole tokens at whole prices, so what a live row cost beyond its columns says how many were written.
Nothing is priced anew; a row that does not come out to the last nano-USD stays as it is.

On PostgreSQL the columns and their rules come in a moment, as the rules hold for new rows only; old rows are filled
in by some thousands, and at last the rules are checked for them too, all without keeping a call from writing.
"""

from functools import partial
from typing import Any

import sqlalchemy as sa
from alembic import op

from lib.db.migrations.online import Online, has_column

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
# SQLite takes a rule only together with a column, and reads the whole table for it: so all come with one.
_BRINGS_RULES = "fees_nano"
_RULES = (
    ("written", "cache_write_tokens >= 0 AND cache_write_1h_tokens >= 0"),
    ("written_is_part", _WRITTEN_IS_PART),
    ("fees", "fees_nano >= 0"),
)
_BEYOND = """(cost_nano * 1000000 - (input_tokens - cached_input_tokens) * price_input
    - cached_input_tokens * price_cached_input - output_tokens * price_output)"""
_WRITTEN = f"(({_BEYOND} + price_input / 8) / (price_input / 4))"
_OFF = f"({_BEYOND} - {_WRITTEN} * (price_input / 4))"
# The bounds keep every product within 64 bits, which SQLite would leave for floats without a word.
_RECOVER = f"""
UPDATE usage_events SET cache_write_tokens = {_WRITTEN}, price_cache_write = price_input / 4 * 5
WHERE NOT imported AND cache_write_tokens IS NULL AND (model LIKE 'gpt-5.6%' OR model LIKE 'gpt-5-6%' OR model LIKE 'gpt-6%')
AND cost_nano < 9000000000000 AND input_tokens < 10000000 AND output_tokens < 10000000
AND price_input BETWEEN 10000000 AND 200000000000 AND price_output < 400000000000 AND price_input % 4 = 0
AND {_BEYOND} > 500000 AND {_OFF} BETWEEN -500000 AND 500000
AND {_WRITTEN} BETWEEN 1 AND input_tokens - cached_input_tokens
"""  # noqa: S608  # nosec B608 - of constants


_BATCH = 10_000
_AFTER = "(project_id, event_id) > (:project, :event)"
_LAST_OF_BATCH = f"""
SELECT project_id, event_id FROM usage_events WHERE {_AFTER} ORDER BY project_id, event_id LIMIT 1 OFFSET {_BATCH - 1}
"""  # noqa: S608  # nosec B608 - of constants
_UP_TO = "(project_id, event_id) <= (:last_project, :last_event)"


def ahead(online: Online) -> None:
    online.briefly(add_columns)
    reached: dict[str, Any] | None = {"project": "", "event": ""}
    while reached is not None:
        reached = online.briefly(partial(_recover_batch, reached))


def upgrade() -> None:
    connection = op.get_bind()
    if connection.dialect.name == "sqlite":
        for name, kind in _COLUMNS:
            brought = "".join(f" {_constraint(*rule)}" for rule in _RULES) if name == _BRINGS_RULES else ""
            op.execute(f"ALTER TABLE usage_events ADD COLUMN {name} {kind}{brought}")
        op.execute(_RECOVER)
        return
    add_columns(connection)
    op.execute(_RECOVER)  # what was written meanwhile
    for rule, _sql in _RULES:
        op.execute(f"ALTER TABLE usage_events VALIDATE CONSTRAINT ck_usage_events_{rule}")


def _constraint(rule: str, sql: str) -> str:
    return f"CONSTRAINT ck_usage_events_{rule} CHECK ({sql})"


def add_columns(connection: sa.Connection) -> None:
    if has_column(connection, "usage_events", _COLUMNS[-1][0]):
        return
    changes = [f"ADD COLUMN {name} {kind}" for name, kind in _COLUMNS]
    changes += [f"ADD {_constraint(*rule)} NOT VALID" for rule in _RULES]
    connection.execute(sa.text(f"ALTER TABLE usage_events {', '.join(changes)}"))


def _recover_batch(after: dict[str, Any], connection: sa.Connection) -> dict[str, Any] | None:
    """Fill in some rows; returns after which ones to go on, None at the end."""
    last = connection.execute(sa.text(_LAST_OF_BATCH), after).first()
    if last is None:
        connection.execute(sa.text(f"{_RECOVER} AND {_AFTER}"), after)
        return None
    reached = {"last_project": last.project_id, "last_event": last.event_id}
    connection.execute(sa.text(f"{_RECOVER} AND {_AFTER} AND {_UP_TO}"), after | reached)
    return {"project": last.project_id, "event": last.event_id}
