"""What an import did, and what the person who asked for it has to know of that."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

_BAD_KEPT = 1_000


@dataclass
class ImportResult:
    """Counts of rows and what was not used.

    ``unpriced`` rows are good, but their cost is unknown. ``bad`` holds (line number, reason) of the
    first thousand bad rows, ``skipped`` counts all of them.
    """

    rows: int = 0
    added: int = 0
    already_there: int = 0
    skipped: int = 0
    passed_over: int = 0
    """Rows that say no more than a time and a project, as usage reports have for days without usage."""
    contradictory: int = 0
    """Rows that have the event id of an earlier row of the file and say something else; the first is taken."""
    unpriced: int = 0
    rounded: int = 0
    """Rows with an amount of more than nine decimals."""
    unused_columns: list[str] = field(default_factory=list)
    """Columns of the file that were not used, as it writes them."""
    cost_unknown_for: dict[str, int] = field(default_factory=dict)
    """Columns that change a price and were not read -> how many rows have no known cost for that reason."""
    summed_rows: int = 0
    """Rows that sum several requests; each is kept as one call."""
    summed_requests: int = 0
    is_new_file: bool = True
    """Whether no file of the very same bytes was imported before."""
    may_be_former: bool = False
    """Whether files were imported before their hashes were kept, so that this one may be one of them."""
    is_certain: bool = True
    """Whether each row has an event id of its own, so that what is already there is no other call."""
    bad: list[tuple[int, str]] = field(default_factory=list)
    projects: list[str] = field(default_factory=list)

    def note(self, line: int, reason: str) -> None:
        """Count a bad row."""
        self.skipped += 1
        if len(self.bad) < _BAD_KEPT:
            self.bad.append((line, reason))

    def sentences(self) -> Iterator[str]:
        """What was read and what became of it, the most important first."""
        counts = f"{self.added:,} added, {self.already_there:,} already there, {self.skipped:,} bad"
        yield f"{_rows(self.rows)} read: {counts}."
        if self.passed_over:
            yield f"{_rows(self.passed_over)} without usage passed over."
        if self.contradictory:
            have = "has" if self.contradictory == 1 else "have"
            yield (
                f"{_rows(self.contradictory)} {have} the event_id of an earlier row of the file, and other values: "
                "the first was taken."
            )
        if self.already_there and self.is_new_file and not self.is_certain:
            why = (
                "or with this one before an upgrade" if self.may_be_former else "this one was never imported"
            )
            yield (
                f"{_rows(self.already_there)} already there came with another file, {why}. "
                "Calls that only look alike need an event_id of their own."
            )
        if self.unused_columns:
            yield f"Columns not used: {', '.join(self.unused_columns)}."
        if self.unpriced:
            yield f"The cost of {_rows(self.unpriced)} is unknown."
        yield from self._why_unknown()
        if self.rounded:
            yield f"Amounts of more than nine decimals in {_rows(self.rounded)} were rounded (half to even)."

    def _why_unknown(self) -> Iterator[str]:
        if self.summed_rows:
            sums, counts = ("sums", "It counts") if self.summed_rows == 1 else ("sum", "Each counts")
            yield (
                f"{_rows(self.summed_rows)} {sums} several requests, {self.summed_requests:,} in all. "
                f"{counts} as one call."
            )
        if self.cost_unknown_for:
            columns = ", ".join(f"{name} ({_rows(rows)})" for name, rows in self.cost_unknown_for.items())
            yield f"No cost was worked out where these columns say something that changes it: {columns}."


def _rows(number: int) -> str:
    return f"{number:,} row{'' if number == 1 else 's'}"
