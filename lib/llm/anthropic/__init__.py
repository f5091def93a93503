"""Anthropic: how its keys are checked, and how its requests, answers and errors are read."""
