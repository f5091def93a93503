"""Authenticated encryption of one secret, bound to its row.

Envelope encryption with AES-256-GCM (NIST SP 800-38D): each version of a secret has a fresh data key;
the data key is sealed by a master key, the secret by the data key. What each box is for is part of its
associated data, length-prefixed so that no two different rows share it. A box that was moved to another
row, or put back under another version, does not open.

What points at a key is no secret, but no other program may change it: an empty box, whose associated data it is,
stands over it (GMAC).

Nonces are 96 random bits. A data key seals one value; a master key seals one data key per saved key and one
record per change of what points at it, far below the 2**32 boxes that random nonces allow.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes, hmac
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from lib.secret import Secret, without_variables

SCHEME = "aes256gcm-1"
KEY_BYTES = 32
_NONCE_BYTES = 12
_ID_LABEL = b"qodex master key id"


class DoesNotOpen(Exception):
    """The box was altered, or belongs to another row."""


class Binding(NamedTuple):
    """The row a secret belongs to: immutable ids only. A tuple, as each call makes one."""

    deployment_id: str
    project_id: str
    provider: str
    secret_id: str
    version: int

    def packed(self) -> bytes:
        """Every part with its length before it, so that no two rows have the same bytes."""
        *ids, version = self
        return b"".join(map(_prefixed, (*ids, str(version))))


class Sealed(NamedTuple):
    """What is stored. Nothing of the secret can be told from it without the master key."""

    scheme: str
    master_key_id: str
    data_key: bytes
    value: bytes


class MasterKey:
    """32 random bytes that seal data keys and vouch for records, and the id by which rows name them."""

    __slots__ = ("__cipher", "id")

    @without_variables
    def __init__(self, raw: bytes) -> None:
        if len(raw) != KEY_BYTES:
            raise ValueError("a master key has 32 bytes")
        self.__cipher = AESGCM(raw)
        self.id = _master_key_id(raw)

    def __repr__(self) -> str:
        return f"MasterKey({self.id})"

    def __reduce_ex__(self, protocol: object) -> str:
        raise TypeError("a master key is not pickled or copied")

    def seal(self, secret: Secret, binding: Binding) -> Sealed:
        """Seal a key under a fresh data key for the row that ``binding`` names."""
        data_key, row = _DataKey(), binding.packed()
        return Sealed(
            SCHEME,
            self.id,
            data_key.sealed_by(self.__cipher, data_key_context(row, self.id)),
            data_key.seal(secret, value_context(row, secret.last4)),
        )

    def open(self, sealed: Sealed, last4: str, binding: Binding) -> Secret:
        """Return the key. Raises DoesNotOpen where anything differs from what was sealed."""
        row = binding.packed()
        try:
            # Neither the data key nor the text gets a name: a traceback that shows locals would show it.
            cipher = AESGCM(_unbox(self.__cipher, sealed.data_key, data_key_context(row, self.id)))
            return Secret(_unbox(cipher, sealed.value, value_context(row, last4)).decode())
        except (InvalidTag, ValueError):
            raise DoesNotOpen from None

    def authenticate(self, *parts: str) -> bytes:
        """What only a holder of this master key can put over these parts, in this order."""
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self.__cipher.encrypt(nonce, b"", _record(self.id, parts))

    def vouches(self, seal: object, *parts: str) -> bool:
        """Whether ``seal``, as the database gave it, was put over these parts by this master key."""
        if not isinstance(seal, bytes):
            return False
        try:
            return _unbox(self.__cipher, seal, _record(self.id, parts)) == b""
        except (InvalidTag, ValueError):
            return False

    def rewrap(self, sealed: Sealed, binding: Binding, to: MasterKey) -> Sealed:
        """``sealed`` with its data key sealed by another master key, its content untouched. Raises DoesNotOpen."""
        row = binding.packed()
        try:
            nonce = os.urandom(_NONCE_BYTES)
            data_key = nonce + to.__cipher.encrypt(
                nonce,
                _unbox(self.__cipher, sealed.data_key, data_key_context(row, self.id)),
                data_key_context(row, to.id),
            )
        except (InvalidTag, ValueError):
            raise DoesNotOpen from None
        return Sealed(sealed.scheme, to.id, data_key, sealed.value)


class _DataKey:
    """The key of one value. Its bytes have no name outside, so that no traceback shows them."""

    __slots__ = ("__raw",)

    def __init__(self) -> None:
        self.__raw = AESGCM.generate_key(bit_length=8 * KEY_BYTES)

    def sealed_by(self, cipher: AESGCM, associated: bytes) -> bytes:
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + cipher.encrypt(nonce, self.__raw, associated)

    def seal(self, secret: Secret, associated: bytes) -> bytes:
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + AESGCM(self.__raw).encrypt(nonce, secret.reveal().encode(), associated)


def _unbox(cipher: AESGCM, box: bytes, associated: bytes) -> bytes:
    return cipher.decrypt(box[:_NONCE_BYTES], box[_NONCE_BYTES:], associated)


def _record(master_key_id: str, parts: Sequence[str]) -> bytes:
    """One text of all parts, in which no part can pass for two. Raises ValueError where one has a NUL in it."""
    told = "\0".join(("record", master_key_id, *parts))
    if told.count("\0") != len(parts) + 1:
        raise ValueError("a part of a record has a NUL in it")
    return told.encode(errors="surrogatepass")


def data_key_context(row: bytes, master_key_id: str) -> bytes:
    """What must be the same when a data key is unsealed; ``row`` is a packed binding."""
    return _DATA_KEY_LABEL + row + _prefixed(master_key_id)


def value_context(row: bytes, last4: str) -> bytes:
    """What must be the same when a value is opened."""
    return _VALUE_LABEL + row + _prefixed(last4)


@lru_cache(maxsize=4096)  # ids, most of them those of the call before
def _prefixed(part: str) -> bytes:
    content = part.encode()
    return len(content).to_bytes(4, "big") + content


_DATA_KEY_LABEL = _prefixed(SCHEME) + _prefixed("data key")
_VALUE_LABEL = _prefixed(SCHEME) + _prefixed("value")


def _master_key_id(raw: bytes) -> str:
    mac = hmac.HMAC(raw, hashes.SHA256())
    mac.update(_ID_LABEL)
    return f"mk-{mac.finalize()[:6].hex()}"
