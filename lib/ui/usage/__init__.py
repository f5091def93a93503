"""Settings > Usage: filters, charts, calls and the export."""
