"""Events as Parquet, with proper types: instants with a zone, whole numbers, exact decimals."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from io import RawIOBase

import pyarrow as pa
from pyarrow import csv, parquet

from lib.exchange.columns import EVENT_COLUMNS, Column, ColumnKind
from lib.exchange.event_slices import Rows, TimeSlice
from lib.exchange.sql_lines import AS_STORED, BETWEEN, Lines, is_nullable

_USD = pa.decimal128(19, 9)
_TIME = pa.timestamp("us", tz="UTC")
_TYPES = {
    ColumnKind.TIME: _TIME,
    ColumnKind.TEXT: pa.string(),
    ColumnKind.COUNT: pa.int64(),
    ColumnKind.USD: _USD,
}
_STORED = {
    ColumnKind.TIME: pa.int64(),
    ColumnKind.TEXT: pa.string(),
    ColumnKind.COUNT: pa.int64(),
    ColumnKind.USD: pa.int64(),
}
_ROW_GROUP = 10_000
# Of values that hardly ever come twice a dictionary is made in vain, and takes room.
_DIFFERENT = {"event_id", "occurred_at", "cost_usd", "upstream_request_id"}

# Lines are read by Arrow itself, a whole piece at once.
_PARSING = csv.ParseOptions(delimiter=BETWEEN, newlines_in_values=True)
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
"""Arrow skips one at the beginning; so it gets one, and a text that begins so keeps its own."""


class EventsAsParquet:
    """Events as Parquet; ``close`` writes the end of the file."""

    def __init__(self, out: RawIOBase, columns: Sequence[Column] = EVENT_COLUMNS) -> None:
        self._columns = columns
        self._schema = pa.schema([(column.name, _TYPES[column.kind]) for column in columns])
        few_values = [name for name in self._schema.names if name not in _DIFFERENT]
        self._writer = parquet.ParquetWriter(out, self._schema, compression="zstd", use_dictionary=few_values)
        self._waiting: list[pa.RecordBatch] = []

    @staticmethod
    def reads(events: TimeSlice) -> Iterator[Lines | Rows]:
        """What it takes of a slice."""
        return events.lines(AS_STORED)

    def write(self, batch: Lines | Rows) -> int:
        """Take some rows, which wait until there are enough for a row group; returns how many."""
        # As Arrow has them they take a tenth of the memory.
        found = (
            _of_lines(batch, self._columns) if isinstance(batch, Lines) else _of_rows(batch, self._columns)
        )
        columns = [_typed(column, values) for column, values in zip(self._columns, found, strict=True)]
        self._waiting.append(pa.RecordBatch.from_arrays(columns, schema=self._schema))
        if sum(batch.num_rows for batch in self._waiting) >= _ROW_GROUP:
            self._flush()
        return len(columns[0])

    def close(self) -> None:
        """Write what waits, and the end of the file."""
        if self._waiting:
            self._flush()
        self._writer.close()

    def _flush(self) -> None:
        self._writer.write_table(pa.Table.from_batches(self._waiting), row_group_size=2 * _ROW_GROUP)
        self._waiting = []


def _of_lines(lines: Lines, columns: Sequence[Column]) -> list[pa.Array]:
    text, types = _BYTE_ORDER_MARK + lines.text, {column.name: _STORED[column.kind] for column in columns}
    reading = csv.ReadOptions(column_names=list(types), use_threads=False, block_size=len(text) + 1)
    converting = csv.ConvertOptions(
        column_types=types,
        null_values=[""],
        strings_can_be_null=True,
        quoted_strings_can_be_null=False,  # PostgreSQL writes an empty text so
    )
    table = csv.read_csv(
        pa.BufferReader(text), read_options=reading, parse_options=_PARSING, convert_options=converting
    )
    return [column.combine_chunks() for column in table.columns]


def _of_rows(rows: Rows, columns: Sequence[Column]) -> list[pa.Array]:
    cells = zip(*rows, strict=True)
    return [
        pa.array(values, type=_STORED[column.kind]) for values, column in zip(cells, columns, strict=True)
    ]


def _typed(column: Column, values: pa.Array) -> pa.Array:
    """Values as stored (nano-USD, microseconds) as those of the file."""
    if values.null_count == len(values):
        return pa.nulls(len(values), type=_TYPES[column.kind])  # what changes a price is mostly empty
    if column.kind is ColumnKind.USD:
        # Nano-USD as whole decimals hold the same digits as USD with nine places: only the scale differs.
        whole = values.cast(pa.decimal128(19, 0))
        return pa.Array.from_buffers(_USD, len(whole), whole.buffers())
    if column.kind is ColumnKind.TIME:
        return values.view(_TIME)
    if column.kind is ColumnKind.TEXT and not is_nullable(column):
        return values.fill_null("")
    return values
