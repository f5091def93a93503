"""Events as Parquet, with proper types: instants with a zone, whole numbers, exact decimals."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from io import RawIOBase
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from lib.exchange.columns import EVENT_COLUMNS, Column, Kind
from lib.exchange.event_slices import Rows, TimeSlice

_USD = pa.decimal128(19, 9)
_TYPES = {
    Kind.TIME: pa.timestamp("us", tz="UTC"),
    Kind.TEXT: pa.string(),
    Kind.COUNT: pa.int64(),
    Kind.USD: _USD,
}
_ROW_GROUP = 10_000
SCHEMA = pa.schema([(column.name, _TYPES[column.kind]) for column in EVENT_COLUMNS])


class EventsAsParquet:
    """Events as Parquet; ``close`` writes the end of the file."""

    def __init__(self, out: RawIOBase) -> None:
        self._writer = parquet.ParquetWriter(out, SCHEMA, compression="zstd")
        self._waiting: list[pa.RecordBatch] = []

    @staticmethod
    def reads(events: TimeSlice) -> Iterator[Rows]:
        """What it takes of a slice."""
        return events.rows()

    def write(self, batch: Rows) -> int:
        """Take some rows, which wait until there are enough for a row group; returns how many."""
        # As Arrow has them they take a tenth of the memory.
        columns = zip(*batch, strict=True)
        arrays = [_array(column, values) for column, values in zip(EVENT_COLUMNS, columns, strict=True)]
        self._waiting.append(pa.RecordBatch.from_arrays(arrays, schema=SCHEMA))
        if sum(batch.num_rows for batch in self._waiting) >= _ROW_GROUP:
            self._flush()
        return len(batch)

    def close(self) -> None:
        """Write what waits, and the end of the file."""
        if self._waiting:
            self._flush()
        self._writer.close()

    def _flush(self) -> None:
        self._writer.write_table(pa.Table.from_batches(self._waiting), row_group_size=2 * _ROW_GROUP)
        self._waiting = []


def _array(column: Column, values: Sequence[Any]) -> pa.Array:
    if values.count(None) == len(values):
        return pa.nulls(len(values), type=_TYPES[column.kind])  # what changes a price is mostly empty
    if column.kind is not Kind.USD:
        return pa.array(values, type=_TYPES[column.kind])
    # Nano-USD as whole decimals hold the same digits as USD with nine places: only the scale differs.
    whole = pa.array(values, type=pa.int64()).cast(pa.decimal128(19, 0))
    return pa.Array.from_buffers(_USD, len(whole), whole.buffers())
