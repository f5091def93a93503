"""Engine, transactions, tables and migrations: everything that differs between SQLite and PostgreSQL."""

from lib.db.engine import AnyRow, Database

__all__ = ["AnyRow", "Database"]
