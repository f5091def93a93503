"""A call that the ledger has opened: what the client and the notes of its run need of it."""

from __future__ import annotations

from dataclasses import dataclass, field

from lib.clock import Micros
from lib.secret import Secret


@dataclass(frozen=True)
class OpenAttempt:
    """One HTTP attempt that may leave now, and the key it leaves with."""

    id: str
    project_id: str
    project: str
    run_id: str
    run_kind: str
    source: str
    secret: Secret = field(repr=False)
    last4: str
    key_version: int | None
    model: str
    endpoint: str
    default_output_limit: int | None
    """Output limit to write into the request, where it sets none itself and runs on the platform key."""
    falls_back: bool
    """True where the project chose to go on with the platform key if this key fails."""
    lease_until: Micros
    opened_at: Micros
    ceiling_nano: int | None
    """What it reserves on the platform's money, nano-USD; None on a key of the project's own."""
    provider: str
    """The name of the provider that it goes to (lib.providers)."""
    region: str
    """The region of the host that it goes to; empty for a global one."""
