"""The file of master keys: for its owner alone, read whole, written whole or not at all.

One key a line; ``#`` begins a comment. A key that was added by ``master new`` stands last, under a comment of
its own (``# next: …``): it opens, and ``master rotate`` makes it the first one, which encrypts.

The text is a ``Secret`` wherever it goes, and so is each of its lines: a disk may be full and a folder read-only, and
a traceback that shows variables must not show it then.
"""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Callable, Iterable
from itertools import pairwise
from pathlib import Path

from lib.errors import SettingsError
from lib.secret import Secret
from lib.settings import COMMAND

VARIABLE = "QODEX_MASTER_KEY_FILE"
_LARGEST = 100_000
_NEXT = "# next:"
_MARK = f'{_NEXT} opens, but encrypts only from "{COMMAND} master rotate" on'
_SUFFIX = ".part"

IdOf = Callable[[Secret], str | None]
"""The id of the master key that a line holds, None for a comment or an empty line."""


# --- the text --------------------------------------------------------------------------------------


def lines_of(text: Secret) -> list[Secret]:
    """The lines, without their ends."""
    return list(map(Secret, text.reveal().splitlines()))


def text_of(lines: Iterable[Secret]) -> Secret:
    """The text of these lines."""
    return Secret("".join(f"{line.reveal()}\n" for line in lines))


def with_next(text: Secret, line: Secret) -> Secret:
    """The text with one more key at its end, marked as the next one; the only key of a file needs no mark."""
    if not text.reveal().strip():
        return text_of([line])
    return text_of([Secret(text.reveal().rstrip()), Secret(_MARK), line])


def next_of(text: Secret, id_of: IdOf) -> str | None:
    """The id of the newest key that is marked as the next one; None where there is none."""
    lines = lines_of(text)
    marked = [id_of(key) for mark, key in pairwise(lines) if _is_mark(mark)]
    first = next(filter(None, map(id_of, lines)), None)
    return next((found for found in reversed(marked) if found not in {None, first}), None)


def with_first(text: Secret, key_id: str, id_of: IdOf) -> Secret:
    """The text with that key in the first line and no marks."""
    lines = lines_of(text)
    wanted = next(line for line in lines if id_of(line) == key_id)
    return text_of([wanted, *(line for line in lines if id_of(line) != key_id and not _is_mark(line))])


def without(text: Secret, key_id: str, id_of: IdOf) -> Secret:
    """The text without that key and its mark."""
    lines = lines_of(text)
    gone = {place for place, line in enumerate(lines) if id_of(line) == key_id}
    gone |= {place - 1 for place in gone if place and _is_mark(lines[place - 1])}
    return text_of([line for place, line in enumerate(lines) if place not in gone])


def _is_mark(line: Secret) -> bool:
    return line.reveal().strip().startswith(_NEXT)


# --- the file --------------------------------------------------------------------------------------


def read(path: Path) -> Secret | None:
    """The file's text, None where there is no such file. Raises SettingsError where others can read it, too."""
    try:
        with path.open(encoding="ascii", errors="replace") as file:
            if stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o077:
                raise SettingsError(VARIABLE, f"others can read {path.name}. Run: chmod 600 on it.")
            return Secret(file.read(_LARGEST))
    except FileNotFoundError:
        return None
    except OSError as problem:
        raise SettingsError(VARIABLE, f"cannot be read ({problem.strerror}).") from None


def version(path: Path) -> object:
    """Something else after each change of the file; None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return (found.st_ino, found.st_mtime_ns, found.st_size, found.st_mode)


def create(path: Path, text: Secret) -> None:
    """Make the file. Raises FileExistsError where another process was first; its file is the one."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        name = _write_beside(path, text)
        try:
            os.link(name, path)
        finally:
            name.unlink()
        _keep_entry(path)
    except FileExistsError:
        raise
    except OSError as problem:
        raise SettingsError(VARIABLE, f"cannot be made ({problem.strerror}).") from None


def replace(path: Path, text: Secret) -> None:
    """Put another text in the file's place. One at a time: the caller keeps others out."""
    try:
        for left in path.parent.glob(f".{path.name}.*{_SUFFIX}"):
            left.unlink()  # of one that was killed here: it holds keys
        name = _write_beside(path, text, owner=path.stat())
        name.replace(path)
        _keep_entry(path)
    except OSError as problem:
        raise SettingsError(
            VARIABLE, f"cannot be written ({problem.strerror}). Nothing was changed."
        ) from None


def _write_beside(path: Path, text: Secret, *, owner: os.stat_result | None = None) -> Path:
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=_SUFFIX, dir=path.parent)  # 0600
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            if owner is not None and (owner.st_uid, owner.st_gid) != (os.geteuid(), os.getegid()):
                os.fchown(descriptor, owner.st_uid, owner.st_gid)  # root must not lock the server out
            file.write(text.reveal())
            file.flush()
            os.fsync(descriptor)
    except BaseException:
        Path(name).unlink()
        raise
    return Path(name)


def _keep_entry(path: Path) -> None:
    """Keys will be saved that nothing else opens: the folder's entry must survive a power cut too."""
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
