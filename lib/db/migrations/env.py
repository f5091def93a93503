"""Alembic's entry: it runs inside the transaction that lib.db.migrate has opened."""

from alembic import context

from lib.db.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transaction_per_migration=False,
)
context.run_migrations()
