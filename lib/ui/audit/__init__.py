"""Settings > Audit log: who changed what."""
