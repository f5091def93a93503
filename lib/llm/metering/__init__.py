"""The metered transports: every HTTP attempt is opened and settled in the ledger."""
