"""A provider that no one has: made after CONTRIBUTING.md, "Add a provider", in a folder of its own.

Everything about it differs from the one that is live: header, keys, errors, addresses, streams, names of tokens.
"""
