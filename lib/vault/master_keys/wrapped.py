"""Master keys that a key service has wrapped: their text says who unwraps them, and nothing of the key itself.

``transit:MOUNT/NAME:mk-…:vault:v1:…`` is one of Transit (OpenBao, HashiCorp Vault), ``awskms:ARN:mk-…:…`` one of AWS
KMS. The id is in it so that what a master key seals can be told while its service is away; whatever the service gives
is only taken where it has that id.
"""

from __future__ import annotations

import re
from typing import NamedTuple, Protocol

from lib.secret import Secret
from lib.vault.sealing import MasterKey

TRANSIT, AWS_KMS = "transit", "awskms"
_KEYS = {TRANSIT: r"[\w.-]+(?:/[\w.-]+)*", AWS_KMS: r"[\w.:/-]+"}
_CIPHERTEXTS = {TRANSIT: r"[\w-]+:v\d+:[\w+/=-]+", AWS_KMS: r"[A-Za-z0-9+/=]+"}
_ID = r"mk-[0-9a-f]{12}"
_ENTRIES = [
    re.compile(rf"({name}):({key}):({_ID}):({_CIPHERTEXTS[name]})", re.ASCII) for name, key in _KEYS.items()
]


class ServiceKey(NamedTuple):
    """A key that never leaves its service, by which master keys are wrapped."""

    service: str
    name: str

    def __str__(self) -> str:
        return f"{self.service}:{self.name}"


class Wrapped(NamedTuple):
    """A wrapped master key."""

    by: ServiceKey
    id: str
    ciphertext: str

    @property
    def text(self) -> str:
        """How the variable and the file take it."""
        return f"{self.by}:{self.id}:{self.ciphertext}"


class KeyService(Protocol):
    """What wraps and unwraps. Both raise KeyServiceFailed, and no exception of theirs holds a key."""

    def wrap(self, key: ServiceKey, raw: bytes, master_key_id: str) -> str:
        """The ciphertext of a master key."""
        ...

    def unwrap(self, wrapped: Wrapped) -> MasterKey:
        """The master key that the service gives, whichever that is."""
        ...


def service_key(text: str) -> ServiceKey:
    """The key that ``QODEX_KEY_SERVICE`` names. Raises ValueError."""
    service, _, name = text.strip().partition(":")
    if service in _KEYS and re.fullmatch(_KEYS[service], name, re.ASCII):
        return ServiceKey(service, name)
    raise ValueError("write it like transit:NAME, transit:MOUNT/NAME or awskms:ARN")


def wrapped_in(text: Secret) -> Wrapped | None:
    """The wrapped master key that a text is, None where it is something else: a master key in the clear."""
    for form in _ENTRIES:
        if found := form.fullmatch(text.reveal().strip()):
            service, name, master_key_id, ciphertext = found.groups()
            return Wrapped(ServiceKey(service, name), master_key_id, ciphertext)
    return None
