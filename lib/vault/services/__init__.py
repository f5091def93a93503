"""Key services that wrap master keys, each behind ``lib.vault.wrapped.KeyService``. Their clients are extras."""
