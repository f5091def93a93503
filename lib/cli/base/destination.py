"""Where an export goes: a file that appears whole, or standard output or the like, which gets all or nothing as well."""

from __future__ import annotations

import os
import secrets
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from lib.db.upkeep.health import names_of
from lib.errors import BadInput
from lib.settings import Settings

_STANDARD_OUTPUT = Path("/dev/stdout")


def own_files(settings: Settings) -> list[Path]:
    """The files that a deployment lives on, which no export may take the place of."""
    named = (settings.master_key_file, settings.prices_file, settings.ca_file)
    return [*names_of(settings.database_url), *filter(None, named)]


def require_not_own(path: Path | None, own: Iterable[Path]) -> None:
    """Refuse a name that leads to one of these files, by whatever link. None is standard output.

    Raises:
        BadInput: it does.
    """
    if any(_is_same(path or _STANDARD_OUTPUT, file) for file in own):
        raise BadInput(
            "That is a file of this deployment (database, master keys, settings). Choose another name."
        )


@contextmanager
def destination(path: Path | None, own: Iterable[Path]) -> Iterator[IO[bytes]]:
    """What to write into; it is handed on when the block ends without an error. None is standard output.

    Raises:
        BadInput: ``path`` cannot be written, or is one of our ``own`` files.
    """
    require_not_own(path, own)
    if path is None or _is_standard_output(path):
        with _spooled() as file:
            yield file
            _hand_on(file, sys.stdout.buffer)
        return
    try:
        there = _found(path)
        if there is None or stat.S_ISREG(there.st_mode):
            with _whole(path, there) as file:
                yield file
        else:
            with _spooled() as file:
                yield file
                with path.open("wb") as out:
                    _hand_on(file, out)
    except OSError as problem:
        raise BadInput(f"{path.name} cannot be written: {problem.strerror}.") from None


def is_stream(path: Path) -> bool:
    """Whether it is there and takes bytes one after the other: a pipe, a device, ``/dev/stdout``."""
    return (path.exists() and not path.is_file() and not path.is_dir()) or _is_standard_output(path)


def _is_standard_output(path: Path) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(1))
    except OSError:
        return False


def _is_same(path: Path, own: Path) -> bool:
    """Whether both are one file; a name that nothing bears yet is compared by its folder, so links end there too."""
    try:
        return path.samefile(own)
    except OSError:
        real, mine = Path(os.path.realpath(path)), Path(os.path.realpath(own))
        return real.name == mine.name and _is_same_folder(real.parent, mine.parent)


def _is_same_folder(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return one == other


def _found(path: Path) -> os.stat_result | None:
    try:
        there = path.stat()
    except FileNotFoundError:
        return None
    if stat.S_ISDIR(there.st_mode):
        raise BadInput("That is a folder. Write the name of a file after -o.")
    return there


def _spooled() -> IO[bytes]:
    return tempfile.TemporaryFile()  # a slow reader must not keep the database's snapshot open


def _hand_on(file: IO[bytes], out: IO[bytes]) -> None:
    file.seek(0)
    shutil.copyfileobj(file, out)
    out.flush()


@contextmanager
def _whole(path: Path, there: os.stat_result | None) -> Iterator[IO[bytes]]:
    target = Path(os.path.realpath(path))  # a link stays, and the file behind it changes
    temporary = target.with_name(f".qodex-{secrets.token_hex(4)}.part")
    try:
        # What projects spent is for the one who asked: others may read a new file only where its owner says so.
        with os.fdopen(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
            if there:
                os.fchmod(file.fileno(), stat.S_IMODE(there.st_mode))
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
