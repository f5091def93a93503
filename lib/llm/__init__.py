"""Calls to a provider: what a provider is, how a key is checked, and the metered client."""
