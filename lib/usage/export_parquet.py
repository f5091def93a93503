"""Events as Parquet, with proper types: instants with a zone, whole numbers, exact decimals."""

from __future__ import annotations

from collections.abc import Sequence
from io import RawIOBase
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from lib.usage.columns import EVENT_COLUMNS, Column, Kind

_USD = pa.decimal128(19, 9)
_TYPES = {
    Kind.TIME: pa.timestamp("us", tz="UTC"),
    Kind.TEXT: pa.string(),
    Kind.COUNT: pa.int64(),
    Kind.USD: _USD,
}
_ROW_GROUP = 50_000
SCHEMA = pa.schema([(column.name, _TYPES[column.kind]) for column in EVENT_COLUMNS])


class ParquetSink:
    """Takes batches of stored rows in the order of EVENT_COLUMNS; ``close`` writes the end of the file."""

    def __init__(self, out: RawIOBase) -> None:
        self._writer = parquet.ParquetWriter(out, SCHEMA, compression="zstd")
        self._waiting: list[Sequence[Any]] = []

    def write(self, rows: Sequence[Sequence[Any]]) -> None:
        """Write a batch; rows wait until there are enough for a row group."""
        self._waiting.extend(rows)
        if len(self._waiting) >= _ROW_GROUP:
            self._flush()

    def close(self) -> None:
        """Write what waits, and the end of the file."""
        if self._waiting:
            self._flush()
        self._writer.close()

    def _flush(self) -> None:
        columns = zip(*self._waiting, strict=True)
        arrays = [_array(column, values) for column, values in zip(EVENT_COLUMNS, columns, strict=True)]
        self._writer.write_table(pa.Table.from_arrays(arrays, schema=SCHEMA), row_group_size=_ROW_GROUP)
        self._waiting = []


def _array(column: Column, values: Sequence[Any]) -> pa.Array:
    if column.kind is not Kind.USD:
        return pa.array(values, type=_TYPES[column.kind])
    # Nano-USD as whole decimals hold the same digits as USD with nine places: only the scale differs.
    whole = pa.array(values, type=pa.int64()).cast(pa.decimal128(19, 0))
    return pa.Array.from_buffers(_USD, len(whole), whole.buffers())
