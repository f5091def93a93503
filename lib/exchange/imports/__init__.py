"""Usage in: read row by row, checked, and written in one transaction."""
