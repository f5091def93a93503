"""Where an export goes: a file that appears whole, or standard output or the like, which gets all or nothing as well."""

from __future__ import annotations

import os
import secrets
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from lib.errors import BadInput


@contextmanager
def destination(path: Path | None) -> Iterator[IO[bytes]]:
    """What to write into; it is handed on when the block ends without an error. None is standard output.

    Raises:
        BadInput: ``path`` cannot be written.
    """
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
        with temporary.open("xb") as file:
            if there:
                os.fchmod(file.fileno(), stat.S_IMODE(there.st_mode))
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
