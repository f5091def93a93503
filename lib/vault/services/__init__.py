"""Key services that wrap master keys, each behind ``lib.vault.master_keys.wrapped.KeyService``. Their clients are extras."""
