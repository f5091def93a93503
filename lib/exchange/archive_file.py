"""A file of archived events, as it is read back: its rows, its sums, its hash."""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from lib.errors import BadInput

if TYPE_CHECKING:
    import pyarrow as pa

SUMMED = ("input_tokens", "output_tokens", "cached_input_tokens", "reasoning_tokens")
ROWS = 5_000


@dataclass
class Sums:
    """What a file holds, counted on its way there, or back."""

    rows: int = 0
    nano: Counter[str] = field(default_factory=Counter)
    tokens: Counter[str] = field(default_factory=Counter)
    unpriced: int = 0

    def add(self, columns: dict[str, list[Any]]) -> None:
        """Count some rows, by columns; money in nano-USD."""
        self.rows += len(columns["source"])
        for source, nano in zip(columns["source"], columns["cost_usd"], strict=True):
            self.unpriced += nano is None
            self.nano[source] += nano or 0
        for name in SUMMED:
            self.tokens[name] += sum(filter(None, columns[name]))

    def add_batch(self, batch: pa.RecordBatch) -> None:
        """Count some rows as the file has them."""
        columns = batch.to_pydict()
        columns["cost_usd"] = [None if cost is None else int(cost.scaleb(9)) for cost in columns["cost_usd"]]
        self.add(columns)


def batches(path: Path, columns: list[str]) -> Iterator[pa.RecordBatch]:
    """Some thousand rows after the other."""
    from pyarrow import parquet  # noqa: PLC0415 - takes a while to load

    with parquet.ParquetFile(path) as file:
        yield from file.iter_batches(batch_size=ROWS, columns=columns)


def sums_in(path: Path) -> Sums:
    """Read the file back."""
    found = Sums()
    for batch in batches(path, ["source", "cost_usd", *SUMMED]):
        found.add_batch(batch)
    return found


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """One archive at a time writes into a folder; the system lets go of it when its process ends, however that ends."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BadInput(f"Another archive writes into {folder}. Try again when it is done.") from None
        yield
    finally:
        os.close(descriptor)


def open_new(path: Path) -> IO[bytes]:
    """Open a file for writing that is made now, for its owner alone: what an interrupted run left there is taken away.

    Nothing is written through a link, and into no file that somebody else has made meanwhile.
    """
    with suppress(FileNotFoundError):
        path.unlink()
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.fdopen(os.open(path, flags, 0o600), "wb", buffering=0)
