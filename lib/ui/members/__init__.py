"""Settings > Members: who may do what."""
