"""Totals of days by source, and the models that occur, kept by triggers on the daily roll-up.

Triggers, because workers of the version before go on writing days while this is applied.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

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
_FILL_TOTALS = """
INSERT INTO usage_daily_totals SELECT project_id, day_at, source, {sums}
FROM usage_daily GROUP BY project_id, day_at, source
"""
_FILL_MODELS = "INSERT INTO usage_models SELECT DISTINCT project_id, provider, model FROM usage_daily"
_DAY = "project_id = OLD.project_id AND day_at = OLD.day_at AND source = OLD.source"
# What each change of a row of usage_daily does; its keys never change. The model first, and untouched where
# it is known: no call waits here for another one that waits for it.
_STATEMENTS = {
    "INSERT": """
INSERT INTO usage_models (project_id, provider, model) VALUES (NEW.project_id, NEW.provider, NEW.model)
ON CONFLICT DO NOTHING;
INSERT INTO usage_daily_totals (project_id, day_at, source, {names})
VALUES (NEW.project_id, NEW.day_at, NEW.source, {new})
ON CONFLICT (project_id, day_at, source) DO UPDATE SET {added};
""",
    "UPDATE": "UPDATE usage_daily_totals SET {changed} WHERE {day};",
    "DELETE": """
UPDATE usage_daily_totals SET {taken} WHERE {day};
DELETE FROM usage_daily_totals WHERE {day} AND calls = 0;
""",
}
_SQLITE = "CREATE TRIGGER usage_daily_{event} AFTER {event} ON usage_daily BEGIN {body} END"
_POSTGRES = """
CREATE FUNCTION usage_daily_{event}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body} RETURN NULL; END $$;
CREATE TRIGGER usage_daily_{event} AFTER {event} ON usage_daily
FOR EACH ROW EXECUTE FUNCTION usage_daily_{event}();
"""


def upgrade() -> None:
    _create_tables()
    _fill()
    trigger = _SQLITE if op.get_bind().dialect.name == "sqlite" else _POSTGRES
    for event, statements in _STATEMENTS.items():
        body = statements.format(
            names=", ".join(_SUMS),
            new=", ".join(_values("NEW")),
            added=", ".join(f"{name} = usage_daily_totals.{name} + excluded.{name}" for name in _SUMS),
            changed=_changed(" + ", "NEW", " - ", "OLD"),
            taken=_changed(" - ", "OLD"),
            day=_DAY,
        )
        op.execute(trigger.format(event=event.lower(), body=body))


def _create_tables() -> None:
    op.create_table(
        "usage_daily_totals",
        sa.Column("project_id", sa.String(length=36), nullable=False),
        sa.Column("day_at", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("source", sa.String(length=10), nullable=False),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in _SUMS),
        sa.ForeignKeyConstraint(
            ["project_id"], ["projects.id"], name=op.f("fk_usage_daily_totals_project_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("project_id", "day_at", "source", name=op.f("pk_usage_daily_totals")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "usage_models",
        sa.Column("project_id", sa.String(length=36), nullable=False),
        sa.Column("provider", sa.String(length=40), nullable=False),
        sa.Column("model", sa.String(length=200), nullable=False),
        sa.ForeignKeyConstraint(
            ["project_id"], ["projects.id"], name=op.f("fk_usage_models_project_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("project_id", "provider", "model", name=op.f("pk_usage_models")),
        sqlite_with_rowid=False,
    )


def _fill() -> None:
    # On PostgreSQL nobody writes days between this sum and the triggers.
    if op.get_bind().dialect.name != "sqlite":
        op.execute("LOCK TABLE usage_daily IN SHARE ROW EXCLUSIVE MODE")
    failed = (f"sum(CASE WHEN status = '{status}' THEN calls ELSE 0 END)" for status in _STATUSES)
    sums = ", ".join(("sum(calls)", *failed, *(f"sum({name})" for name in _PLAIN)))
    op.execute(_FILL_TOTALS.format(sums=sums))
    op.execute(_FILL_MODELS)


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
