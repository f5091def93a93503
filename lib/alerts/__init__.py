"""Alerts: what is noticed while calls settle, and how people and machines are told of it, once."""
