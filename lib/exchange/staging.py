"""Where an import keeps its good rows until all are read: an unlinked temporary file of this process.

Nobody else can open that file, so that unpickling it is safe.

In memory stay eight bytes a row, which is enough to find equal rows of a file however far apart they stand.
"""

from __future__ import annotations

import pickle  # nosec B403
import tempfile
from array import array
from collections.abc import Iterator
from hashlib import blake2b
from types import TracebackType
from typing import Any, Self

Row = tuple[Any, ...]
_PROJECT, _EVENT = 0, 1
_PREFIX = "i-"
_EIGHT_BYTES = slice(len(_PREFIX), len(_PREFIX) + 16)


def content_id(cells: list[Any]) -> str:
    """An event id made from what a row says; the same in every file and at every time."""
    return f"{_PREFIX}{blake2b(repr(cells).encode(), digest_size=16).hexdigest()}"


class Spool:
    """Rows whose first two fields are the project's and the event's id.

    Of rows with equal content the first keeps its ``content_id``, the second gets ``-2`` after it, and so
    on: the same ids whenever the file comes again.
    """

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - closed by __exit__
        self._hashes = array("Q")
        self.project_ids: set[str] = set()

    def add(self, rows: list[Row], from_content: list[int]) -> None:
        """Keep rows, in this order. ``from_content`` are the places of those whose id is a ``content_id``."""
        pickle.dump((rows, from_content), self._file, pickle.HIGHEST_PROTOCOL)
        self._hashes.extend([_hash(rows[place]) for place in from_content])
        self.project_ids.update({row[_PROJECT] for row in rows})

    def batches(self) -> Iterator[list[Row]]:
        """All rows, as they were added, each with an id of its own."""
        repeated, seen = self._repeated(), dict[str, int]()
        self._file.seek(0)
        while True:
            try:
                rows, from_content = pickle.load(self._file)  # noqa: S301 # nosec B301
            except EOFError:
                return
            if repeated:
                for place in from_content:
                    if _hash(rows[place]) in repeated:
                        rows[place] = _numbered(rows[place], seen)
            yield rows

    def _repeated(self) -> set[int]:
        """Hashes that occur more than once."""
        import numpy as np  # noqa: PLC0415 - a worker never needs it

        hashes = np.array(self._hashes, dtype=np.uint64)
        hashes.sort()
        return set(hashes[1:][hashes[1:] == hashes[:-1]].tolist())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


def _hash(row: Row) -> int:
    return int(row[_EVENT][_EIGHT_BYTES], 16)


def _numbered(row: Row, seen: dict[str, int]) -> Row:
    event_id = row[_EVENT]
    number = seen[event_id] = seen.get(event_id, 0) + 1
    return row if number == 1 else (row[_PROJECT], f"{event_id}-{number}", *row[_EVENT + 1 :])
