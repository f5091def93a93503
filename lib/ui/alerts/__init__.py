"""The screen Settings > Alerts."""
