"""Authenticated encryption of one secret, bound to its row.

Envelope encryption with AES-256-GCM (NIST SP 800-38D): each version of a secret has a fresh data key;
the data key is sealed by a master key, the secret by the data key. What each box is for is part of its
associated data, length-prefixed so that no two different rows share it. A box that was moved to another
row, or put back under another version, does not open.

Nonces are 96 random bits. A data key seals one value; a master key seals one data key per saved key,
far below the 2**32 boxes that random nonces allow.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes, hmac
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

SCHEME = "aes256gcm-1"
KEY_BYTES = 32
_NONCE_BYTES = 12
_ID_LABEL = b"qodex master key id"


class DoesNotOpen(Exception):
    """The box was altered, or belongs to another row."""


@dataclass(frozen=True)
class Binding:
    """The row a secret belongs to: immutable ids only."""

    deployment_id: str
    project_id: str
    provider: str
    secret_id: str
    version: int

    def associated_data(self, purpose: str, *more: str) -> bytes:
        """The bytes that must be the same when opening: every part with its length before it."""
        parts = (SCHEME, purpose, self.deployment_id, self.project_id, self.provider, self.secret_id)
        return b"".join(_prefixed(part) for part in (*parts, str(self.version), *more))


@dataclass(frozen=True)
class Sealed:
    """What is stored. Nothing of the secret can be told from it without the master key."""

    scheme: str
    master_key_id: str
    data_key: bytes
    value: bytes


class MasterKey:
    """32 random bytes that seal data keys, and the id by which rows name them."""

    __slots__ = ("__cipher", "id")

    def __init__(self, raw: bytes) -> None:
        if len(raw) != KEY_BYTES:
            raise ValueError("a master key has 32 bytes")
        self.__cipher = AESGCM(raw)
        self.id = _master_key_id(raw)

    def __repr__(self) -> str:
        return f"MasterKey({self.id})"

    def __reduce_ex__(self, protocol: object) -> str:
        raise TypeError("a master key is not pickled or copied")

    def seal(self, text: str, last4: str, binding: Binding) -> Sealed:
        """Seal ``text`` under a fresh data key for the row that ``binding`` names."""
        data_key = AESGCM.generate_key(bit_length=8 * KEY_BYTES)
        return Sealed(
            SCHEME,
            self.id,
            _box(self.__cipher, data_key, binding.associated_data("data key", self.id)),
            _box(AESGCM(data_key), text.encode(), binding.associated_data("value", last4)),
        )

    def open(self, sealed: Sealed, last4: str, binding: Binding) -> str:
        """Return the text. Raises DoesNotOpen where anything differs from what was sealed."""
        try:
            # The data key gets no name here: a traceback that shows locals would show it.
            cipher = AESGCM(
                _unbox(self.__cipher, sealed.data_key, binding.associated_data("data key", self.id))
            )
            value = _unbox(cipher, sealed.value, binding.associated_data("value", last4))
        except (InvalidTag, ValueError):
            raise DoesNotOpen from None
        return value.decode()

    def hand_over(self, sealed: Sealed, binding: Binding, to: MasterKey) -> Sealed:
        """The same box, its data key sealed by another master key. Raises DoesNotOpen."""
        try:
            data_key = _box(
                to.__cipher,
                _unbox(self.__cipher, sealed.data_key, binding.associated_data("data key", self.id)),
                binding.associated_data("data key", to.id),
            )
        except (InvalidTag, ValueError):
            raise DoesNotOpen from None
        return Sealed(sealed.scheme, to.id, data_key, sealed.value)


def _box(cipher: AESGCM, content: bytes, associated: bytes) -> bytes:
    nonce = os.urandom(_NONCE_BYTES)
    return nonce + cipher.encrypt(nonce, content, associated)


def _unbox(cipher: AESGCM, box: bytes, associated: bytes) -> bytes:
    return cipher.decrypt(box[:_NONCE_BYTES], box[_NONCE_BYTES:], associated)


def _prefixed(part: str) -> bytes:
    content = part.encode()
    return len(content).to_bytes(4, "big") + content


def _master_key_id(raw: bytes) -> str:
    mac = hmac.HMAC(raw, hashes.SHA256())
    mac.update(_ID_LABEL)
    return f"mk-{mac.finalize()[:6].hex()}"
