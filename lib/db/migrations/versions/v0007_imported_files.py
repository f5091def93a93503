"""Files that were imported, known by their hash, so that an import can say which equal rows are of another file.

Where rows were imported before, a row named FORMER says so: those rows have ids made from all that their file said,
and an import of the same file must go on recognising them.
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.create_table(
        "imported_files",
        sa.Column("sha256", sa.String(64), primary_key=True),
        sa.Column("imported_at", sa.BigInteger, nullable=False),
    )
    op.execute(
        "INSERT INTO imported_files (sha256, imported_at) "
        "SELECT 'before 0007', 0 WHERE EXISTS (SELECT 1 FROM usage_events WHERE imported)"
    )
