"""What an operator does with a database: check it, watch it, maintain it, copy it to the other engine."""
