"""Runs: how they start, stay alive and end, and their log."""
