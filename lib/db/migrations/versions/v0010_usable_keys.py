"""Whether a call with a key has ever succeeded, and what stands in the way of one that cannot be used now.

What older rows tell of it is filled in: a key that was used and does not fail has worked; a warning of OpenAI
about money or this server's address stands in the way.
"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"

_RULE = "obstacle IN ('money', 'address')"
_MONEY = (
    "insufficient_quota",
    "credit_balance_exhausted",
    "project_spend_limit_exceeded",
    "organization_spend_limit_exceeded",
    "organization_usage_limit_exceeded",
)


def upgrade() -> None:
    op.add_column("provider_keys", sa.Column("worked_at", sa.BigInteger()))
    if op.get_bind().dialect.name == "sqlite":  # which takes a rule with its column alone
        rule = f"CONSTRAINT ck_provider_keys_obstacle CHECK ({_RULE})"
        op.execute(f"ALTER TABLE provider_keys ADD COLUMN obstacle VARCHAR(10) {rule}")
    else:
        op.add_column("provider_keys", sa.Column("obstacle", sa.String(length=10)))
        op.create_check_constraint("obstacle", "provider_keys", _RULE)
    keys = sa.table(
        "provider_keys",
        *map(sa.column, ("used_at", "worked_at", "failing_since", "check_code", "obstacle")),
    )
    worked = keys.c.used_at.is_not(None) & keys.c.failing_since.is_(None) & keys.c.check_code.is_(None)
    op.execute(sa.update(keys).where(worked).values(worked_at=keys.c.used_at))
    op.execute(sa.update(keys).where(keys.c.check_code.in_(_MONEY)).values(obstacle="money"))
    op.execute(sa.update(keys).where(keys.c.check_code == "ip_not_authorized").values(obstacle="address"))
