"""Runs > Run logs: the list of runs and the card of one."""
