"""Where an import keeps its good rows until all are read: an unlinked temporary file of this process.

No other process can open that file, so that unpickling it is safe.

In memory stay eight bytes a row and identity, which is enough to find equal rows of a file however far apart they
stand; of rows with an event id of their own sixteen, to find those that contradict each other.
"""

from __future__ import annotations

import pickle  # nosec B403
import tempfile
from array import array
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from types import TracebackType
from typing import Any, Self

Row = tuple[Any, ...]
_PROJECT, _EVENT, _FORMER = 0, 1, -1
_EIGHT_BYTES = slice(2, 18)  # behind the prefix


def content_id(identity: Sequence[object]) -> str:
    """An event id made from what tells a call from others; the same in every file and at every time."""
    return _id_of("c-", identity)


def former_id(cells: Sequence[object]) -> str:
    """The id that the same row got before schema 0007: from all that the file said of it, latency and all."""
    return _id_of("i-", cells)


def _id_of(prefix: str, content: Sequence[object]) -> str:
    return f"{prefix}{blake2b(repr(content).encode(), digest_size=16).hexdigest()}"


class StagedRows:
    """Rows whose first two fields are the project's and the event's id; with ``former`` the last one is a former id.

    Of rows with an equal id that was made from content the first keeps it, the second gets ``-2`` after it, and so
    on: the same ids whenever the file comes again. Former ids are numbered among themselves.
    """

    def __init__(self, *, former: bool = False) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - closed by __exit__
        self._ids = [_Ids(_EVENT), _Ids(_FORMER)] if former else [_Ids(_EVENT)]
        self._given = _GivenIds()
        self.project_ids: set[str] = set()
        self.from_content = 0
        """How many rows have an id that was made from their content."""

    def add(self, rows: list[Row], from_content: list[int]) -> None:
        """Keep rows, in this order. ``from_content`` are the places of those whose id is a ``content_id``."""
        pickle.dump((rows, from_content), self._file, pickle.HIGHEST_PROTOCOL)
        for ids in self._ids:
            ids.note([rows[place] for place in from_content])
        made = set(from_content)
        if len(made) < len(rows):
            self._given.note([row for place, row in enumerate(rows) if place not in made])
        self.from_content += len(made)
        self.project_ids.update({row[_PROJECT] for row in rows})

    def count_contradictory(self) -> int:
        """How many rows have the event id of an earlier one, given by the file, and say something else."""
        return self._given.count_contradictory()

    def batches(self) -> Iterator[list[Row]]:
        """All rows, as they were added, each with an id of its own."""
        numbered = [ids for ids in self._ids if ids.find_repeated()]
        self._file.seek(0)
        while True:
            try:
                rows, from_content = pickle.load(self._file)  # noqa: S301 # nosec B301
            except EOFError:
                return
            for ids in numbered:
                for place in from_content:
                    rows[place] = ids.numbered(rows[place])
            yield rows

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


class _GivenIds:
    """Ids that the file gives: by their hashes, and those of the whole rows."""

    def __init__(self) -> None:
        self._ids, self._rows = array("q"), array("q")

    def note(self, rows: list[Row]) -> None:
        self._ids.extend([hash(row[: _EVENT + 1]) for row in rows])
        self._rows.extend([hash(row) for row in rows])

    def count_contradictory(self) -> int:
        import numpy as np  # noqa: PLC0415 - a worker never needs it

        ids, rows = np.array(self._ids, dtype=np.int64), np.array(self._rows, dtype=np.int64)
        order = np.lexsort((rows, ids))
        ids, rows = ids[order], rows[order]
        return int(np.count_nonzero((ids[1:] == ids[:-1]) & (rows[1:] != rows[:-1])))


class _Ids:
    """One field of the rows that holds ids made from content."""

    def __init__(self, place: int) -> None:
        self._place = place
        self._hashes = array("Q")
        self._repeated: set[int] = set()
        self._seen: dict[str, int] = {}

    def note(self, rows: list[Row]) -> None:
        place = self._place
        self._hashes.extend([_hash(row[place]) for row in rows])

    def find_repeated(self) -> bool:
        """Whether any id occurs more than once; to be asked before ``numbered``."""
        import numpy as np  # noqa: PLC0415 - a worker never needs it

        hashes = np.array(self._hashes, dtype=np.uint64)
        hashes.sort()
        self._repeated = set(hashes[1:][hashes[1:] == hashes[:-1]].tolist())
        self._seen = {}
        return bool(self._repeated)

    def numbered(self, row: Row) -> Row:
        """The row with a number behind an id that has occurred already."""
        made = row[self._place]
        if _hash(made) not in self._repeated:
            return row
        number = self._seen[made] = self._seen.get(made, 0) + 1
        if number == 1:
            return row
        fields = list(row)
        fields[self._place] = f"{made}-{number}"
        return tuple(fields)


def _hash(made: str) -> int:
    return int(made[_EIGHT_BYTES], 16)
