"""The file of an export: written whole from one moment of the database, in a temporary place without a name.

So it is gone with its process, however that ends.
"""

from __future__ import annotations

import json
import logging
import os
import tempfile
import threading
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import IO, Any, cast

from lib.access.roles import Actor
from lib.errors import QodexError
from lib.exchange.export import ExportResult, export_usage
from lib.platform import Platform
from lib.settings import COMMAND
from lib.web.downloads.export_slots import ClientDisconnected
from lib.web.downloads.links import Link, file_name

log = logging.getLogger(__name__)

MOST_BYTES = 2 * 1024**3
MOST_SAID = f"{MOST_BYTES // 1024**3} GiB"


class TooLarge(QodexError):
    """The file would be larger than this server makes them."""


class Unwritable(QodexError):
    """The temporary file failed, for one because the disk is full. Why stands in the log only."""


@dataclass
class ExportFile:
    """A file that is whole."""

    file: IO[bytes]
    done: ExportResult
    name: str

    def again(self) -> ExportFile:
        """A second handle of the file, to be closed on its own."""
        return ExportFile(os.fdopen(os.dup(self.file.fileno()), "rb", buffering=0), self.done, self.name)

    def piece(self, at: int, length: int) -> bytes:
        """Some of its bytes. Several may read it at once, so there is no place where one has stopped."""
        return os.pread(self.file.fileno(), length, at)

    def meta(self) -> bytes:
        """The content of the ``.meta.json`` that goes with it."""
        content = json.dumps(self.done.meta() | {"file": self.name}, indent=2, ensure_ascii=False)
        return f"{content}\n".encode()


def write(
    platform: Platform,
    link: Link,
    actor: Actor,
    gone: threading.Event,
    progress: Callable[[int], None] | None = None,
) -> ExportFile:
    """Make the file of a link.

    Args:
        platform: the front door.
        link: what to export.
        actor: who exports it, with the roles they have now.
        gone: set when the client has gone; then the file is given up.
        progress: called with the rows written so far.

    Raises:
        TooLarge, Unwritable, ClientDisconnected, Forbidden, ProjectUnknown, DatabaseUnavailable.
    """
    with ExitStack() as undo:
        try:
            file = undo.enter_context(tempfile.TemporaryFile(prefix="qodex-export-"))
            done = export_usage(
                platform.database,
                link.wanted,
                cast(IO[bytes], _Bounded(file, gone)),
                actor=actor,
                format=link.format,
                labels=link.labels,
                progress=progress,
            )
            file.flush()
        except OSError as problem:
            log.error("An export could not be written: %s", problem)  # noqa: TRY400 - the cause in one line
            raise Unwritable("The file could not be written on the server. Tell an operator.") from None
        undo.pop_all()
    projects = done.wanted.projects
    whose = projects[0] if len(projects) == 1 else len(projects)
    return ExportFile(file, done, file_name(link.wanted, whose, link.format, sample=link.sample))


class _Bounded:
    """Passes bytes on to a file until they are too many, or no client waits for them."""

    def __init__(self, file: IO[bytes], gone: threading.Event) -> None:
        self._file, self._gone, self._bytes = file, gone, 0

    def write(self, data: Any) -> int:
        if self._gone.is_set():
            raise ClientDisconnected
        self._bytes += memoryview(data).nbytes
        if self._bytes > MOST_BYTES:
            raise TooLarge(
                f"This export is larger than {MOST_BYTES // 1024**2:,} MiB, the most that the page makes. Choose "
                f"a shorter period, or export on the server: {COMMAND} usage export"
            )
        return self._file.write(data)
