"""Transit of OpenBao or HashiCorp Vault, through hvac.

A token may come from a file that an agent renews, so it is read for each request. What the environment says about
proxies does not count: the token would go there.
"""

from __future__ import annotations

import base64
import ssl
from typing import Any

from lib.errors import KeyServiceFailed
from lib.secret import Secret, without_variables
from lib.settings import Settings
from lib.vault.master_keys.wrapped import ServiceKey, Wrapped
from lib.vault.sealing import MasterKey
from lib.vault.services.packages import load

_SECONDS = 5
_MOUNT = "transit"
_REFUSALS = {
    "InvalidRequest": "refuses: it is not what that key has wrapped, or the key may not be used so",
    "Unauthorized": "refuses the token",
    "Forbidden": "refuses: the token is not valid any more, or its policy does not allow it",
    "InvalidPath": "does not exist there",
}
_FAILURES = {"VaultDown": "is sealed or in maintenance", "VaultNotInitialized": "is not set up yet"}


class Transit:
    """Wraps by ``transit:NAME`` or ``transit:MOUNT/NAME``."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    @without_variables
    def wrap(self, key: ServiceKey, raw: bytes, master_key_id: str) -> str:
        """The ciphertext of a master key. Raises KeyServiceFailed."""
        text = base64.b64encode(raw).decode()
        return str(self._ask("encrypt_data", key, master_key_id, plaintext=text)["ciphertext"])

    @without_variables
    def unwrap(self, wrapped: Wrapped) -> MasterKey:
        """The master key that a ciphertext holds. Raises KeyServiceFailed."""
        found = self._ask("decrypt_data", wrapped.by, wrapped.id, ciphertext=wrapped.ciphertext)
        return MasterKey(base64.b64decode(found["plaintext"]))

    def _ask(self, what: str, key: ServiceKey, master_key_id: str, **words: str) -> dict[str, str]:
        mount, _, name = key.name.rpartition("/")
        hvac = load("hvac", "vault")
        if not self._settings.vault_addr:
            raise KeyServiceFailed(master_key_id, f"{key} has no address. Set VAULT_ADDR.")
        try:
            ask = getattr(self._client(hvac).secrets.transit, what)
            found: dict[str, str] = ask(name, mount_point=mount or _MOUNT, **words)["data"]
            return found
        except hvac.exceptions.VaultError as problem:
            kind = type(problem).__name__
        except OSError as problem:
            kind = type(problem).__name__
        except (LookupError, TypeError, ValueError):
            kind = "an answer that is none"
        # Out here: an error reporter would show the token and the key in the frames of the client.
        why = _REFUSALS.get(kind) or _FAILURES.get(kind) or f"does not answer ({kind})"
        sentence = f"{key} at {self._settings.vault_addr} {why}."
        raise KeyServiceFailed(master_key_id, sentence, refused=kind in _REFUSALS)

    def _client(self, hvac: Any) -> Any:
        requests = load("requests", "vault")
        session = requests.Session()
        session.trust_env = False
        session.mount("https://", _adapter(requests))
        # Of the session: hvac takes that for its own ``verify`` where it is given one.
        session.verify = str(self._settings.vault_cacert or "") or True
        return hvac.Client(
            url=self._settings.vault_addr,
            token=self._token().reveal(),
            namespace=self._settings.vault_namespace,
            timeout=_SECONDS,
            session=session,
            allow_redirects=False,  # the token would go along
        )

    def _token(self) -> Secret:
        if (path := self._settings.vault_token_file) is None:
            return self._settings.vault_token or Secret("")
        try:
            return Secret(path.read_text(encoding="ascii").strip())
        except (OSError, UnicodeDecodeError):
            return Secret("")  # which the service refuses


def _adapter(requests: Any) -> Any:
    """What connects, with a context of our own: the one that it makes by itself writes session keys to where SSLKEYLOGFILE says."""

    class Adapter(requests.adapters.HTTPAdapter):  # type: ignore[misc]
        def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            super().init_poolmanager(*arguments, ssl_context=context, **options)

    return Adapter()
