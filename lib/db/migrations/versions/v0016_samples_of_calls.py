"""An index of samples of calls, for percentiles over a whole period: one call in 8, and of these one in 64, by share.

Which calls these are is told by their ids alone (lib.db.call_sample), so rows of every version are in it.
"""

from __future__ import annotations

from alembic import op

from lib.db.migrations.online import Online, is_there

revision = "0016"
down_revision = "0015"

_NAME = "ix_usage_events_sample"
_CHARACTER = {
    "sqlite": "(ifnull(unicode(substr(event_id, -{place}, 1)), 0) & 255)",
    "postgresql": "(ascii(substr(event_id, length(event_id) - {place} + 1, 1)) & 255)",
}
_SHARE = {"sqlite": "((({number}) % 4093) / 64)", "postgresql": "(mod({number}, 4093) / 64)"}
_COLUMNS = (
    "project_id, occurred_at, status, source, provider, model, run_kind, input_tokens, output_tokens, latency_ms,"
    " event_id"
)


def ahead(online: Online) -> None:
    online.index(_NAME, "usage_events", _definition("postgresql"))


def upgrade() -> None:
    connection = op.get_bind()
    if connection.dialect.name == "sqlite" or not is_there(connection, _NAME):
        op.execute(f"CREATE INDEX {_NAME} ON usage_events {_definition(connection.dialect.name)}")


def _definition(dialect: str) -> str:
    number = " + ".join(
        f"{weight} * {_CHARACTER[dialect].format(place=place)}"
        for place, weight in enumerate((1, 31, 961, 1140), start=1)
    )
    share = _SHARE[dialect].format(number=number)
    return f"({share}, {_COLUMNS}) WHERE {share} < 8"
