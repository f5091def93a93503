"""Totals of hours by source, and of days by source and model: what pages ask most, kept by triggers.

And an index of the few days with unpriced calls.

As with the totals of days (0002), workers of the version before keep them too. Within a call everything is
locked in one order: the models first, then the hour's totals, the day's totals, the day's models.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_STATUSES = ("error", "broken", "abandoned", "unknown")
_PLAIN = (
    "unpriced_calls",
    "cost_nano",
    "input_tokens",
    "cached_input_tokens",
    "output_tokens",
    "reasoning_tokens",
)
_SUMS = ("calls", *(f"{status}_calls" for status in _STATUSES), *_PLAIN)
_TEXTS = {"source": 10, "provider": 40, "model": 200}
# Of which table, kept in which one, by which columns besides the project.
_KEPT = (
    ("usage_hourly", "usage_hourly_totals", ("hour_at", "source")),
    ("usage_daily", "usage_daily_models", ("day_at", "source", "provider", "model")),
)
_FILL = "INSERT INTO {kept} SELECT {keys}, {sums} FROM {table} GROUP BY {keys} ORDER BY {keys}"
_STATEMENTS = {
    "INSERT": """
{model}INSERT INTO {kept} ({keys}, {names}) VALUES ({new_keys}, {new})
ON CONFLICT ({keys}) DO UPDATE SET {added};
""",
    "UPDATE": "UPDATE {kept} SET {changed} WHERE {same};",
    "DELETE": "UPDATE {kept} SET {taken} WHERE {same}; DELETE FROM {kept} WHERE {same} AND calls = 0;",
}
# As 0002 has it for days; an hour comes before its day.
_MODEL = """
INSERT INTO usage_models (project_id, provider, model) VALUES (NEW.project_id, NEW.provider, NEW.model)
ON CONFLICT DO NOTHING;
"""
_SQLITE = "CREATE TRIGGER {kept}_{event} AFTER {event} ON {table} BEGIN {body} END"
_POSTGRES = """
CREATE FUNCTION {kept}_{event}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body} RETURN NULL; END $$;
CREATE TRIGGER {kept}_{event} AFTER {event} ON {table} FOR EACH ROW EXECUTE FUNCTION {kept}_{event}();
"""


def upgrade() -> None:
    for table, kept, keys in _KEPT:
        _create(kept, keys)
        _fill(table, kept, ("project_id", *keys))
        _keep(table, kept, ("project_id", *keys))
    unpriced = sa.text("unpriced_calls > 0")
    op.create_index(
        "ix_usage_daily_unpriced",
        "usage_daily",
        ["project_id", "day_at"],
        sqlite_where=unpriced,
        postgresql_where=unpriced,
    )


def _create(kept: str, keys: tuple[str, ...]) -> None:
    op.create_table(
        kept,
        sa.Column("project_id", sa.String(length=36), nullable=False),
        *(
            sa.Column(name, sa.String(_TEXTS[name]), nullable=False)
            if name in _TEXTS
            else sa.Column(name, sa.BigInteger(), autoincrement=False, nullable=False)
            for name in keys
        ),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in _SUMS),
        sa.ForeignKeyConstraint(
            ["project_id"], ["projects.id"], name=op.f(f"fk_{kept}_project_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("project_id", *keys, name=op.f(f"pk_{kept}")),
        sqlite_with_rowid=False,
    )


def _fill(table: str, kept: str, keys: tuple[str, ...]) -> None:
    # On PostgreSQL nobody writes between this sum and the triggers.
    if op.get_bind().dialect.name != "sqlite":
        op.execute(f"LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE")
    failed = (f"sum(CASE WHEN status = '{status}' THEN calls ELSE 0 END)" for status in _STATUSES)
    sums = ", ".join(("sum(calls)", *failed, *(f"sum({name})" for name in _PLAIN)))
    op.execute(_FILL.format(kept=kept, keys=", ".join(keys), sums=sums, table=table))


def _keep(table: str, kept: str, keys: tuple[str, ...]) -> None:
    trigger = _SQLITE if op.get_bind().dialect.name == "sqlite" else _POSTGRES
    for event, statements in _STATEMENTS.items():
        body = statements.format(
            model=_MODEL if table == "usage_hourly" else "",
            kept=kept,
            keys=", ".join(keys),
            names=", ".join(_SUMS),
            new_keys=", ".join(f"NEW.{key}" for key in keys),
            new=", ".join(_values("NEW")),
            added=", ".join(f"{name} = {kept}.{name} + excluded.{name}" for name in _SUMS),
            changed=_changed(" + ", "NEW", " - ", "OLD"),
            taken=_changed(" - ", "OLD"),
            same=" AND ".join(f"{key} = OLD.{key}" for key in keys),
        )
        op.execute(trigger.format(table=table, kept=kept, event=event.lower(), body=body))


def _values(row: str) -> list[str]:
    statuses = (f"CASE WHEN {row}.status = '{status}' THEN {row}.calls ELSE 0 END" for status in _STATUSES)
    return [f"{row}.calls", *statuses, *(f"{row}.{name}" for name in _PLAIN)]


def _changed(*signed: str) -> str:
    """``name = name ± value of a row …`` for each sum."""
    pairs = list(zip(signed[::2], (_values(row) for row in signed[1::2]), strict=True))
    return ", ".join(
        f"{name} = {name}" + "".join(f"{sign}{values[number]}" for sign, values in pairs)
        for number, name in enumerate(_SUMS)
    )
