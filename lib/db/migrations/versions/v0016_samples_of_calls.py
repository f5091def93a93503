"""Indexes of samples of calls, for percentiles over a whole period: one call in 8 and in 64.

Which calls these are is told by their ids alone (lib.db.call_sample), so rows of every version are in them.
"""

from __future__ import annotations

from alembic import op

from lib.db.migrations.online import Online, is_there

revision = "0016"
down_revision = "0015"

_WEIGHTS = (1, 31, 961, 1140, 2596, 2709)
_BELOW = {8: 512, 64: 64}
_CHARACTER = {
    "sqlite": "coalesce(unicode(substr(event_id, -{place}, 1)), 0)",
    "postgresql": "ascii(substr(event_id, length(event_id) - {place} + 1, 1))",
}
_COLUMNS = (
    "project_id, occurred_at, status, source, provider, model, run_kind, input_tokens, output_tokens, latency_ms,"
    " event_id"
)


def ahead(online: Online) -> None:
    for one_in in _BELOW:
        online.index(_name(one_in), "usage_events", _definition("postgresql", one_in))


def upgrade() -> None:
    connection = op.get_bind()
    for one_in in _BELOW:
        if connection.dialect.name == "sqlite" or not is_there(connection, _name(one_in)):
            definition = _definition(connection.dialect.name, one_in)
            op.execute(f"CREATE INDEX {_name(one_in)} ON usage_events {definition}")


def _name(one_in: int) -> str:
    return f"ix_usage_events_one_in_{one_in}"


def _definition(dialect: str, one_in: int) -> str:
    terms = (
        f"{weight} * ({_CHARACTER[dialect].format(place=place)} % 256)"
        for place, weight in enumerate(_WEIGHTS, start=1)
    )
    return f"({_COLUMNS}) WHERE ({' + '.join(terms)}) % 4093 < {_BELOW[one_in]}"
