"""Formats that all providers share: keys as they are pasted, JSON bodies of requests, server-sent events."""
