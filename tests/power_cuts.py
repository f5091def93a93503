"""What a power cut leaves of a SQLite database: its two files at one moment, whose last writes may be missing or torn.

The write-ahead log is a header and frames of one page each, appended; only what follows the last flush of it can be
missing. A checkpoint flushes it first, then copies the newest committed version of each page into the database file.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_HEADER, _FRAME_HEADER = 32, 24


class Frame(NamedTuple):
    """One page in the write-ahead log; ``ends_at`` is its end in the file."""

    page: int
    is_commit: bool
    ends_at: int
    content: bytes


class Files(NamedTuple):
    """The database file and its write-ahead log."""

    database: bytes
    log: bytes

    @classmethod
    def taken(cls, path: Path) -> Files:
        """As they are now: read past SQLite, in the middle of whatever it does."""
        # By another process: SQLite's locks of this one would go with the file that is closed.
        names = path, path.with_name(f"{path.name}-wal")
        return cls(*(subprocess.run(["cat", name], capture_output=True, check=True).stdout for name in names))

    def put(self, path: Path) -> None:
        """Write them where a database is opened next."""
        path.write_bytes(self.database)
        path.with_name(f"{path.name}-wal").write_bytes(self.log)
        path.with_name(f"{path.name}-shm").unlink(missing_ok=True)

    @property
    def page_size(self) -> int:
        return int.from_bytes(self.log[8:12], "big")

    def frames(self) -> list[Frame]:
        """Those of the log's present round; what an earlier round has left behind them has other salts."""
        length, found, at = _FRAME_HEADER + self.page_size, [], _HEADER
        while at + length <= len(self.log) and self.log[at + 8 : at + 16] == self.log[16:24]:
            page, committed = (int.from_bytes(self.log[at + n : at + n + 4], "big") for n in (0, 4))
            content = self.log[at + _FRAME_HEADER : at + length]
            at += length
            found.append(Frame(page, committed > 0, at, content))
        return found

    def spilled(self) -> list[Frame]:
        """The frames of a transaction that has not been committed."""
        frames = self.frames()
        commits = [place for place, frame in enumerate(frames) if frame.is_commit]
        return frames[commits[-1] + 1 if commits else 0 :]

    def cut_short(self) -> Iterator[Files]:
        """The log ends after each of its frames, and in the middle of each."""
        yield self._replace(log=b"")
        for frame in self.frames():
            for end in (frame.ends_at - self.page_size // 2, frame.ends_at):
                yield self._replace(log=self.log[:end])

    def half_checkpointed(self) -> Iterator[Files]:
        """A checkpoint has come to each page in turn, and has written the half of it."""
        committed = self.frames()[: -len(self.spilled()) or None]
        newest = {frame.page: frame.content for frame in committed}
        database = bytearray(self.database)
        for page in sorted(newest):
            at = (page - 1) * self.page_size
            for size in (self.page_size // 2, self.page_size):
                database.extend(bytes(max(0, at + size - len(database))))
                database[at : at + size] = newest[page][:size]
                yield self._replace(database=bytes(database))
