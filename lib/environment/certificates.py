"""The certificate authorities that provider calls trust, where an operator names them."""

from __future__ import annotations

import ssl
from pathlib import Path

from lib.errors import SettingsError


def read(path: Path) -> ssl.SSLContext:
    """A context that trusts the authorities of this file alone. Raises SettingsError."""
    # Not ssl.create_default_context: it writes session keys to where SSLKEYLOGFILE says.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(cafile=path)
    except (OSError, ssl.SSLError) as problem:
        reason = type(problem).__name__
    else:
        return context
    raise SettingsError("QODEX_CA_FILE", f"not a readable file of certificates in PEM form ({reason})")
