"""A month of events that is a table of its own (lib.db.months): compared with its file, and dropped whole.

That takes a moment, where deleting its calls takes minutes, leaves their room to nobody but the next calls, and writes
each of them into PostgreSQL's log. Where anything is not as expected the calls are deleted one by one, as elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, text

from lib.clock import Micros, from_micros, month_after
from lib.db import Database
from lib.db.months.partitioning import patiently
from lib.db.months.parts import Part, parts, take_out
from lib.exchange.archive_file import SUMMED, Sums, batches

if TYPE_CHECKING:
    pass

Call = tuple[str, str]
"""Project and event."""

_NEWEST = """
SELECT DISTINCT ON (project_id) project_id, event_id FROM {part} WHERE sequence IS NOT NULL
ORDER BY project_id, occurred_at DESC, sequence DESC
"""
_SUMS = """
SELECT source, count(*) AS rows, coalesce(sum(cost_nano), 0) AS nano, count(*) - count(cost_nano) AS unpriced, {tokens}
FROM {part} AS event WHERE NOT EXISTS (
    SELECT FROM unnest(CAST(:projects AS text[]), CAST(:events AS text[])) AS kept (project_id, event_id)
    WHERE kept.project_id = event.project_id AND kept.event_id = event.event_id)
GROUP BY source
"""
_ANY = "SELECT 1 FROM {part} LIMIT 1"


def drop_month(database: Database, month_at: Micros, path: Path, ids: Mapping[str, str]) -> bool:
    """Drop the calls of a month that a file holds; whether they are gone.

    Args:
        database: where the month is archived by now, so that no call comes to it any more.
        month_at: the month.
        path: the file.
        ids: of projects, by slug.
    """
    until = month_after(month_at)
    with database.read(seconds=0) as connection:
        found = parts(connection)
        if not found or (found[0].until or 0) >= until:
            return bool(found) and found[0].until == until  # by a run that was stopped after it
        part = _alone(connection, found, month_at)
        kept = None if part is None else _kept(connection, part, path, ids)
    if kept is None:
        return False
    patiently(database, lambda connection: take_out(connection, until, kept))
    return True


def _alone(connection: Connection, found: list[Part], month_at: Micros) -> Part | None:
    """The part of the month; None where it has none of its own, or a month before it has calls."""
    until, mine = month_after(month_at), None
    for part in found:
        if part.since is None or part.until is None or part.until > until:
            continue
        if (part.since, part.until) == (month_at, until):
            mine = part
        elif connection.execute(text(_ANY.format(part=part.name))).first() is not None:
            return None
    return mine


def _kept(connection: Connection, part: Part, path: Path, ids: Mapping[str, str]) -> list[Call] | None:
    """The calls of the part that stay, because the caps count from them; None if all others are not those of the file."""
    newest = {
        (row.project_id, row.event_id) for row in connection.execute(text(_NEWEST.format(part=part.name)))
    }
    there = Sums()
    for batch in _of_month(path, part):
        there.add_batch(batch)
        slugs, events = batch["project"].to_pylist(), batch["event_id"].to_pylist()
        newest -= {(ids.get(slug, ""), event) for slug, event in zip(slugs, events, strict=True)}
    kept = sorted(newest)
    return kept if _sums(connection, part, kept) == there else None


def _of_month(path: Path, part: Part) -> Any:
    import pyarrow as pa  # noqa: PLC0415 - takes a while to load
    from pyarrow import compute  # noqa: PLC0415

    since = pa.scalar(from_micros(part.since or 0), pa.timestamp("us", tz="UTC"))
    wanted = ["project", "event_id", "occurred_at", "source", "cost_usd", *SUMMED]
    for batch in batches(path, wanted):
        yield batch.filter(compute.greater_equal(batch["occurred_at"], since))


def _sums(connection: Connection, part: Part, kept: list[Call]) -> Sums:
    tokens = ", ".join(f"coalesce(sum({name}), 0) AS {name}" for name in SUMMED)
    which = {"projects": [project for project, _ in kept], "events": [event for _, event in kept]}
    found = Sums()
    for row in connection.execute(text(_SUMS.format(part=part.name, tokens=tokens)), which).mappings():
        found.rows += row["rows"]
        found.unpriced += row["unpriced"]
        found.nano[row["source"]] += int(row["nano"])
        for name in SUMMED:
            found.tokens[name] += int(row[name])
    return found
