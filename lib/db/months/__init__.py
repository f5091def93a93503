"""Usage events by month, on PostgreSQL: the parts of their table, and how they are moved into them."""
