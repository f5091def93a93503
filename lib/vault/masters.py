"""Master keys: read from the environment or a file, made on the first start of an empty SQLite database."""

from __future__ import annotations

import base64
import binascii
import logging
import os
import stat
import tempfile
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

from lib.errors import MasterKeyMissing, SettingsError
from lib.settings import Settings
from lib.vault.sealing import KEY_BYTES, MasterKey

log = logging.getLogger(__name__)

_PRINTABLE = range(0x20, 0x7F)
_FEWEST_DISTINCT = 17  # 32 random bytes have fewer once in 10**13; "0000…" and repeated words always
_NEW = 'python3 -c "import base64, os; print(base64.b64encode(os.urandom(32)).decode())"'


class Keyring:
    """The master keys this process has. The first one seals; each opens what names its id."""

    def __init__(self, keys: Iterable[MasterKey] = (), *, missing: str = "") -> None:
        self._keys = {key.id: key for key in keys}
        self._missing = missing

    @property
    def ids(self) -> list[str]:
        """Ids of the keys at hand, the sealing one first."""
        return list(self._keys)

    def get(self, master_key_id: str) -> MasterKey | None:
        """The key of that id, None where this process does not have it."""
        return self._keys.get(master_key_id)

    @property
    def first(self) -> MasterKey:
        """The key that seals. Raises MasterKeyMissing, saying where to give one."""
        for key in self._keys.values():
            return key
        raise MasterKeyMissing(self._missing or "There is no master key. Set QODEX_MASTER_KEYS.")


def load_keyring(settings: Settings, *, may_create: bool) -> Keyring:
    """Read the master keys that ``settings`` names.

    Args:
        settings: ``QODEX_MASTER_KEYS`` wins over ``QODEX_MASTER_KEY_FILE``.
        may_create: make the file where there is none; only ever true on an empty SQLite database,
            because a new key cannot open what an older one has sealed.

    Raises:
        SettingsError: a key is not base64 of 32 random bytes, or others may read the file.
    """
    if settings.master_keys:
        return Keyring(_parse("QODEX_MASTER_KEYS", settings.master_keys.reveal().split(",")))
    path = settings.master_key_file
    found = _read_private(path)
    if found is None and may_create:
        _create(path, settings)
        found = _read_private(path)
    if found is not None:
        return Keyring(_parse("QODEX_MASTER_KEY_FILE", found.splitlines()))
    return Keyring(
        missing="There is no master key, so no key can be saved. "
        "Set QODEX_MASTER_KEYS, or put the file of QODEX_MASTER_KEY_FILE back."
    )


def _parse(variable: str, texts: Iterable[str]) -> list[MasterKey]:
    found = [text.strip() for text in texts if text.strip() and not text.strip().startswith("#")]
    if not found:
        raise SettingsError(variable, f"holds no key. Make one: {_NEW}")
    return [MasterKey(_decode(variable, number, text)) for number, text in enumerate(found, start=1)]


def _decode(variable: str, number: int, text: str) -> bytes:
    try:
        raw = base64.b64decode(text.translate(str.maketrans("-_", "+/")), validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if len(raw) != KEY_BYTES or not _looks_random(raw, text):
        raise SettingsError(
            variable,
            f"key {number} is not base64 of 32 random bytes (a passphrase is not enough). Make one: {_NEW}",
        )
    return raw


def _looks_random(raw: bytes, text: str) -> bool:
    """Tell random bytes from placeholders, counted-up bytes and passphrases that happen to be base64."""
    steps = {(later - earlier) % 256 for earlier, later in pairwise(raw)}
    mixed = text.lower() != text != text.upper()
    few = len(set(raw)) < _FEWEST_DISTINCT or len(steps) < _FEWEST_DISTINCT
    return mixed and not few and not all(byte in _PRINTABLE for byte in raw)


def _read_private(path: Path) -> str | None:
    """The file's text, None where there is no such file."""
    try:
        with path.open(encoding="ascii", errors="replace") as file:
            if stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o077:
                raise SettingsError(
                    "QODEX_MASTER_KEY_FILE", f"others can read {path.name}. Run: chmod 600 on it."
                )
            return file.read(100_000)
    except FileNotFoundError:
        return None
    except OSError as problem:
        raise SettingsError("QODEX_MASTER_KEY_FILE", f"cannot be read ({problem.strerror}).") from None


def _create(path: Path, settings: Settings) -> None:
    if settings.is_sqlite and path.parent == Path(settings.database_url.removeprefix("sqlite:///")).parent:
        log.warning("%s lies beside the database, and so in every copy of that folder. Better move it.", path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        _write_whole(path, base64.b64encode(os.urandom(KEY_BYTES)) + b"\n")
    except FileExistsError:
        return  # another process was first; its key is the one
    except OSError as problem:
        raise SettingsError("QODEX_MASTER_KEY_FILE", f"cannot be made ({problem.strerror}).") from None
    log.warning("A master key was made in %s. Back it up: without it no saved key can be opened.", path)


def _write_whole(path: Path, content: bytes) -> None:
    """Make the file whole or not at all, and never over another one, also when two processes start at once."""
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # mode 0600
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.link(name, path)
    finally:
        Path(name).unlink()
    # Keys will be saved that nothing else opens: the folder's entry must survive a power cut too.
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
