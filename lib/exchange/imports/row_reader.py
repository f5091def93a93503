"""One row of an import: from texts to what is stored, or the reason why not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Any

from lib.clock import DAY, Micros, from_micros
from lib.db.tables import EVENT_STATUSES, SOURCES
from lib.errors import PriceUnknown
from lib.exchange.columns import EVENT_COLUMNS, EVENT_HEADER, FIRST_HEADER, ColumnKind
from lib.exchange.files.cell_reader import LARGEST_USD, BadCell, beyond_micros, cell_readers, is_rounded
from lib.exchange.files.file_reader import Source
from lib.exchange.files.price_conditions import Unread, says_something
from lib.exchange.imports.staging import content_id, former_id
from lib.pricing.amounts import NANO
from lib.pricing.prices import PriceBook, Tokens, cost_at
from lib.pricing.rates import UnitPrices
from lib.pricing.terms import STANDARD, Terms, special_tier
from lib.providers import DEFAULT
from lib.usage.price_columns import price_columns

_DEFAULTS = {"source": "byok", "provider": DEFAULT, "model": "", "endpoint": "", "status": "ok"}
_DEFAULT_PLACES = [(EVENT_HEADER.index(name), default) for name, default in _DEFAULTS.items()]
_PLACE = {name: place for place, name in enumerate(EVENT_HEADER)}
_EVENT, _TIME, _PROJECT = (_PLACE[name] for name in ("event_id", "occurred_at", "project"))
_SOURCE, _PROVIDER, _MODEL, _STATUS = (_PLACE[name] for name in ("source", "provider", "model", "status"))
_INPUT, _CACHED, _OUTPUT, _REASONING, _WRITTEN, _WRITTEN_1H = (
    _PLACE[f"{name}_tokens"]
    for name in ("input", "cached_input", "output", "reasoning", "cache_write", "cache_write_1h")
)
_TIER, _REGION, _SERVED = (_PLACE[name] for name in ("service_tier", "region", "served_model"))
_COST, _FEES = _PLACE["cost_usd"], _PLACE["fees_usd"]
_RUN, _REQUEST = _PLACE["run_id"], _PLACE["upstream_request_id"]
_NAMES = itemgetter(_PROJECT, _SOURCE, _PROVIDER, _MODEL, _RUN, _REQUEST, _INPUT, _OUTPUT)
_CONDITIONS = {name: _PLACE[name] for name in ("service_tier", "region")}
_UNIT_PRICES = itemgetter(
    *(
        _PLACE[f"price_{name}"]
        for name in ("input", "cached_input", "output", "cache_write", "cache_write_1h")
    )
)
_STORED = {column.stored: place for place, column in enumerate(EVENT_COLUMNS)}

_AMOUNTS = frozenset(column.name for column in EVENT_COLUMNS if column.kind is ColumnKind.USD)
_FILLED = frozenset({*_AMOUNTS, "price_table"})
"""Columns that pricing fills, whether the file has them or not."""
_FIRST = {"project": "project_id", "event_id": "event_id"}
"""What each row begins with: column of the file -> column of the table."""
_NAMES_OF_BUCKET = frozenset({"occurred_at", "project"})

Cells = list[Any]
"""One row's values in the order of EVENT_HEADER; None where it says nothing."""


class BadRow(ValueError):
    """The row cannot be imported; ``str()`` says which column and why."""


class RowReader:
    """Reads the rows of one file.

    Args:
        source: the file; what it leaves out gets a default (see lib.exchange.imports.import_usage).
        prices: for rows that name no cost.
        ids: the projects by slug.
        now: the time of the import; rows of more than a day later are bad.
        former: each row ends with the id that it got before schema 0007.
        earliest: the end of archived months; earlier rows are bad, because their sums may be here already.
    """

    def __init__(
        self,
        source: Source,
        prices: PriceBook,
        ids: Mapping[str, str],
        now: Micros,
        *,
        former: bool = False,
        earliest: Micros | None = None,
    ) -> None:
        self._earliest = earliest
        self._prices = prices
        self._ids = ids
        self._latest = now + DAY
        readers = dict(zip(EVENT_HEADER, cell_readers(formulas_escaped=source.formulas_escaped), strict=True))
        self._columns = columns = source.header.columns
        self._readers = [(_PLACE[name], readers[name]) for name in columns]
        self._time, self._model = columns.index("occurred_at"), columns.index("model")
        self._amounts = [columns.index(name) for name in columns if name in _AMOUNTS]
        self._is_export = set(FIRST_HEADER) <= set(columns)
        # A column that no row can fill is left out: it would take as long to write as one that holds something.
        kept = [column for column in EVENT_COLUMNS if column.name in {*columns, *_DEFAULTS, *_FILLED}]
        kept = [column for column in kept if column.name not in _FIRST]
        self._kept = itemgetter(*(_PLACE[column.name] for column in kept))
        self.stored = (*_FIRST.values(), *(column.stored for column in kept))
        self._conditions = [_PLACE[name] for name in columns if name in _CONDITIONS]
        self._former = former
        self.unread = Unread(source.header.conditions)
        self.unpriced = 0
        self.rounded = 0

    def is_empty(self, texts: Sequence[str] | str) -> bool:
        """Whether a row says no more than a time and a project: a day without usage, in a report by days."""
        if isinstance(texts, str) or texts[self._model]:
            return False
        return not any(
            text and name not in _NAMES_OF_BUCKET for name, text in zip(self._columns, texts, strict=False)
        )

    def read(self, texts: Sequence[str] | str) -> tuple[tuple[Any, ...], bool]:
        """Return the row as lib.exchange.imports.import_usage stores it, and whether its id was made from its content.

        Raises:
            BadRow: says why.
        """
        if isinstance(texts, str):
            raise BadRow(texts)
        cells = self._cells(texts)
        said_how_it_ended = cells[_STATUS] is not None
        for place, default in _DEFAULT_PLACES:
            cells[place] = cells[place] or default
        for place in self._conditions:  # a region called global is none
            cells[place] = cells[place] if says_something(cells[place]) else None
        self._require_time_and_project(cells[_TIME], cells[_PROJECT])
        _require_known(cells[_SOURCE], cells[_STATUS])
        _require_tokens(cells, may_be_empty=said_how_it_ended)
        event_id = cells[_EVENT]
        is_ours = self._is_export and event_id and said_how_it_ended
        stored_id = event_id or content_id(_identity(cells, beyond_micros(texts[self._time])))
        former = (None if event_id else former_id(cells[: len(FIRST_HEADER)]),) if self._former else ()
        if cells[_COST] is None and cells[_STATUS] == "error" and not is_ours:
            cells[_COST] = 0
        is_unread = self.unread.columns and self._is_unread(cells, texts)
        if cells[_COST] is None and not is_unread and not is_ours:
            self._price(cells)
        self.unpriced += cells[_COST] is None
        if self._amounts:
            self.rounded += any(is_rounded(texts[column]) for column in self._amounts)
        row = (self._ids[cells[_PROJECT]], stored_id, *self._kept(cells), *former)
        return row, event_id is None

    def _is_unread(self, cells: Cells, texts: Sequence[str]) -> bool:
        """Whether columns that were not read keep the cost unknown."""
        read = {name: cells[place] for name, place in _CONDITIONS.items()}
        return self.unread.note(texts[len(self._columns) :], read, has_cost=cells[_COST] is not None)

    def _cells(self, texts: Sequence[str]) -> Cells:
        cells: Cells = [None] * len(EVENT_HEADER)
        column = 0
        try:
            for column, (place, read) in enumerate(self._readers):
                cells[place] = read(texts[column])
        except BadCell as problem:
            raise BadRow(f"{self._columns[column]} {problem}") from None
        return cells

    def _require_time_and_project(self, at: Micros | None, slug: str | None) -> None:
        if at is None:
            raise BadRow("occurred_at is empty")
        if self._earliest is not None and at < self._earliest:
            raise BadRow(f"occurred_at lies before {from_micros(self._earliest):%Y-%m-%d}, which is archived")
        if at > self._latest:
            raise BadRow("occurred_at lies more than a day ahead")
        if slug is None:
            raise BadRow("project is empty")
        if slug not in self._ids:
            raise BadRow("project is none of this deployment's; create it first")

    def _price(self, cells: Cells) -> None:
        """Fill in the cost of a row that names none: at the prices that it names, else at the table's, which it gets."""
        if cells[_STATUS] != "ok" or cells[_INPUT] is None or cells[_OUTPUT] is None:
            return
        used = Tokens(
            cells[_INPUT],
            cells[_CACHED] or 0,
            cells[_OUTPUT],
            cells[_REASONING] or 0,
            cells[_WRITTEN] or 0,
            cells[_WRITTEN_1H] or 0,
        )
        if any(price is not None for price in _UNIT_PRICES(cells)):
            cells[_COST] = _cost_at_its_own(cells, used)
        elif not cells[_FEES]:  # of tools that the row does not name
            self._price_by_table(cells, used)
        if (cells[_COST] or 0) > LARGEST_USD * NANO:
            raise BadRow(f"costs more than {LARGEST_USD:,} USD")

    def _price_by_table(self, cells: Cells, used: Tokens) -> None:
        at, provider = from_micros(cells[_TIME]), cells[_PROVIDER]
        tier, region, served = special_tier(cells[_TIER]), cells[_REGION], cells[_SERVED]
        terms = Terms(tier, region or "", served_model=served or "") if tier or region or served else STANDARD
        try:
            cost = self._prices.cost(cells[_MODEL], used, at=at, provider=provider, terms=terms)
        except PriceUnknown:
            return
        for name, value in price_columns(cost, used).items():
            cells[_STORED[name]] = value


def _cost_at_its_own(cells: Cells, used: Tokens) -> int | None:
    """What a row comes to at the prices that it names; None where they leave something out."""
    whole, cached, output, written, written_1h = _UNIT_PRICES(cells)
    if whole is None:
        return None
    return cost_at(used, UnitPrices(whole, cached, output, written, written_1h), cells[_FEES] or 0)


def _identity(cells: Cells, beyond: str) -> tuple[object, ...]:
    """What tells a call from others. No latency, cost or price: a second export of it may have more columns."""
    parts = cells[_CACHED] or 0, cells[_REASONING] or 0, cells[_WRITTEN] or 0, cells[_WRITTEN_1H] or 0
    return (cells[_TIME], beyond, *_NAMES(cells), *parts)


def _require_known(source: str, status: str) -> None:
    if source not in SOURCES:
        raise BadRow(f"source is none of {', '.join(SOURCES)}")
    if status not in EVENT_STATUSES:
        raise BadRow(f"status is none of {', '.join(EVENT_STATUSES)}")


def _require_tokens(cells: Cells, *, may_be_empty: bool) -> None:
    """Model and tokens may be empty only where the row itself says how the call ended, as exports do."""
    given, made, reasoning = cells[_INPUT], cells[_OUTPUT], cells[_REASONING]
    if not may_be_empty:
        if not cells[_MODEL]:
            raise BadRow("model is empty")
        if given is None or made is None:
            raise BadRow(f"{'input' if given is None else 'output'}_tokens is empty")
    if cells[_CACHED] is not None and (given is None or cells[_CACHED] > given):
        raise BadRow("cached_input_tokens is more than input_tokens")
    written = (cells[_WRITTEN] or 0) + (cells[_WRITTEN_1H] or 0)
    if written and (given is None or (cells[_CACHED] or 0) + written > given):
        raise BadRow("cached and cache-written tokens are more than input_tokens")
    if reasoning is not None and (made is None or reasoning > made):
        raise BadRow("reasoning_tokens is more than output_tokens")
