"""Master keys: read from the environment or a file, made on the first start of an empty SQLite database.

Each stands there as it is, or wrapped by a key service (lib.vault.master_keys.wrapped).
"""

from __future__ import annotations

import base64
import binascii
import logging
import os
from collections.abc import Callable, Iterable
from itertools import pairwise
from pathlib import Path
from typing import TypeAlias, cast

from lib.errors import KeyServiceFailed, MasterKeyMissing, SettingsError
from lib.secret import Secret
from lib.settings import Settings
from lib.vault.master_keys import keyfile
from lib.vault.master_keys.unwrapping import Unwrapper
from lib.vault.master_keys.wrapped import Wrapped, wrapped_in
from lib.vault.sealing import KEY_BYTES, MasterKey

log = logging.getLogger(__name__)

VARIABLE = "QODEX_MASTER_KEYS"
_ALPHABET = str.maketrans("-_", "+/")
_PRINTABLE = range(0x20, 0x7F)
_FEWEST_DISTINCT = 17  # 32 random bytes have fewer once in 10**13; "0000…" and repeated words always
_NEW = 'python3 -c "import base64, os; print(base64.b64encode(os.urandom(32)).decode())"'
_MISSING = (
    "There is no master key, so no project can be created and no key saved. "
    "Set QODEX_MASTER_KEYS, or put the file of QODEX_MASTER_KEY_FILE back."
)

Entry: TypeAlias = MasterKey | Wrapped
Reread = Callable[[], list[Entry] | None]
"""The keys as they are now, None where they are as they were. Raises SettingsError, MasterKeyMissing."""


class Keyring:
    """The master keys this process has. The first one seals; each opens what names its id.

    Args:
        keys: the sealing one first.
        missing: what to say where there is none.
        reread: for keys in a file, which may change while this process runs. It is looked at before each
            sealing and for each id that is not known: so a rotation needs no restart.
        unwrapper: asks key services for what they have wrapped, and makes new keys that they wrap.
    """

    def __init__(
        self,
        keys: Iterable[Entry] = (),
        *,
        missing: str = "",
        reread: Reread | None = None,
        unwrapper: Unwrapper | None = None,
    ) -> None:
        self._missing = missing
        self._reread = reread
        self._unwrapper = unwrapper or Unwrapper({})
        self._take(keys)

    def _take(self, keys: Iterable[Entry]) -> None:
        self._keys = {key.id: key for key in keys}
        self._unwrapper.prepare(key for key in self._keys.values() if isinstance(key, Wrapped))

    @property
    def ids(self) -> list[str]:
        """Ids of the keys that this process was given, the sealing one first; a key service may withhold some."""
        return list(self._keys)

    def get(self, master_key_id: str) -> MasterKey | None:
        """The key of that id, None where this process does not have it, or its key service does not give it."""
        if master_key_id not in self._keys:
            try:
                self.refresh()
            except (SettingsError, MasterKeyMissing) as problem:
                log.warning("%s", problem)
        found = self._keys.get(master_key_id)
        return self._unwrapper.get(found) if isinstance(found, Wrapped) else found

    def withheld(self, master_key_id: str) -> KeyServiceFailed | None:
        """Why a key service does not give the key of that id, None where that is not the reason."""
        found = self._keys.get(master_key_id)
        if isinstance(found, Wrapped) and self._unwrapper.get(found) is None:
            return self._unwrapper.problem(found)
        return None

    @property
    def first(self) -> MasterKey:
        """The key that seals. Raises MasterKeyMissing, saying where to give one, or what its key service says.

        Where the file cannot be read any more nothing is sealed (SettingsError): after a restart nobody
        could open it.
        """
        self.refresh()
        for found in self._keys.values():
            key = self._unwrapper.get(found) if isinstance(found, Wrapped) else found
            if key is None:
                raise self._unwrapper.problem(cast("Wrapped", found))
            return key
        raise MasterKeyMissing(self._missing or "There is no master key. Set QODEX_MASTER_KEYS.")

    def refresh(self) -> None:
        """Read the file again if it has changed. Where that fails, what is at hand goes on opening."""
        keys = self._reread() if self._reread else None
        if keys is not None:
            self._take(keys)

    def new_entry(self) -> Secret:
        """A new master key, as the file and the variable take it. Raises KeyServiceFailed."""
        return _new_entry(self._unwrapper)


def load_keyring(settings: Settings, *, may_create: bool) -> Keyring:
    """Read the master keys that ``settings`` names.

    Args:
        settings: ``QODEX_MASTER_KEYS`` wins over ``QODEX_MASTER_KEY_FILE``.
        may_create: make the file where there is none; only ever true on an empty SQLite database,
            because a new key cannot open what an older one has sealed.

    Raises:
        SettingsError: a key is not base64 of 32 random bytes, or others may read the file.
        KeyServiceFailed: the first key could not be wrapped.
    """
    unwrapper = Unwrapper.of(settings)
    if settings.master_keys:
        return Keyring(parse(VARIABLE, entries_of(settings.master_keys)), unwrapper=unwrapper)
    path = settings.master_key_file
    if may_create and keyfile.read(path) is None:
        _create(path, settings, _new_entry(unwrapper))
    source = _File(path)
    try:
        return Keyring(source() or (), missing=_MISSING, reread=source, unwrapper=unwrapper)
    except MasterKeyMissing:
        return Keyring(missing=_MISSING, reread=source, unwrapper=unwrapper)


class _File:
    """The keys of a file, each time it has changed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: object = None

    def __call__(self) -> list[Entry] | None:
        now = keyfile.version(self._path)
        if now is not None and now == self._seen:
            return None
        text = keyfile.read(self._path)
        if text is None:
            raise MasterKeyMissing(_MISSING)
        keys = parse(keyfile.VARIABLE, keyfile.lines_of(text))
        self._seen = now
        return keys


def entries_of(variable: Secret) -> list[Secret]:
    """The entries of ``QODEX_MASTER_KEYS``, empty ones too."""
    return list(map(Secret, variable.reveal().split(",")))


def parse(variable: str, texts: Iterable[Secret]) -> list[Entry]:
    """The keys of these texts; empty ones and comments are none. Raises SettingsError."""
    found = [wrapped_in(text) or _master_key(text) for text in texts if not is_comment(text)]
    if not found:
        raise SettingsError(variable, f"holds no key. Make one: {_NEW}")
    keys = [key for key in found if key is not None]
    if len(keys) < len(found):
        raise SettingsError(
            variable,
            f"key {1 + found.index(None)} is not base64 of 32 random bytes (a passphrase is not enough), and none "
            "that a key service has wrapped. "
            f"Make one: {_NEW}",
        )
    return keys


def id_of(line: Secret) -> str | None:
    """The id of the key that a line of the file holds, None for a comment."""
    return None if is_comment(line) else parse(keyfile.VARIABLE, [line])[0].id


def new_key() -> Secret:
    """A new master key, as the file and the variable take it."""
    return Secret(base64.b64encode(os.urandom(KEY_BYTES)).decode())


def _new_entry(unwrapper: Unwrapper) -> Secret:
    by = unwrapper.wraps_by
    return Secret(unwrapper.new(by).text) if by else new_key()


def is_comment(text: Secret) -> bool:
    """Whether it is a comment, or empty."""
    return text.reveal().strip()[:1] in {"", "#"}


def _master_key(text: Secret) -> MasterKey | None:
    """The key that a text is, None where it is none. Its bytes get no name: a traceback would show them."""
    try:
        if len(_bytes(text)) == KEY_BYTES and _looks_random(text):
            return MasterKey(_bytes(text))
    except (binascii.Error, ValueError):
        pass
    return None


def _bytes(text: Secret) -> bytes:
    return base64.b64decode(text.reveal().strip().translate(_ALPHABET), validate=True)


def _looks_random(text: Secret) -> bool:
    """Tell random bytes from placeholders, counted-up bytes and passphrases that happen to be base64."""
    mixed = len({text.reveal(), text.reveal().lower(), text.reveal().upper()}) == 3  # noqa: PLR2004
    steps = {(later - earlier) % 256 for earlier, later in pairwise(_bytes(text))}
    few = len(set(_bytes(text))) < _FEWEST_DISTINCT or len(steps) < _FEWEST_DISTINCT
    return mixed and not few and not set(_bytes(text)) <= set(_PRINTABLE)


def _create(path: Path, settings: Settings, line: Secret) -> None:
    if settings.is_sqlite and path.parent == Path(settings.database_url.removeprefix("sqlite:///")).parent:
        log.warning("%s lies beside the database, and so in every copy of that folder. Better move it.", path)
    try:
        keyfile.create(path, keyfile.text_of([line]))
    except FileExistsError:
        return  # another process was first; its key is the one
    log.warning("A master key was made in %s. Back it up: without it no saved key can be opened.", path)
