"""Settings > Plan: the cap windows."""
