"""One row of an import: from texts to what is stored, or the reason why not."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from lib.clock import DAY, Micros, from_micros
from lib.db.tables import EVENT_STATUSES, SOURCES
from lib.errors import PriceUnknown
from lib.exchange.columns import EVENT_HEADER, LARGEST_USD, BadCell, cell_readers
from lib.exchange.file_reader import Source
from lib.exchange.staging import content_id
from lib.pricing.prices import NANO, PriceBook, Tokens

_DEFAULTS = {"source": "byok", "provider": "openai", "model": "", "endpoint": "", "status": "ok"}
_DEFAULT_PLACES = [(EVENT_HEADER.index(name), default) for name, default in _DEFAULTS.items()]
_STATUS = EVENT_HEADER.index("status")

_Counts = Sequence[int | None]


class BadRow(ValueError):
    """The row cannot be imported; ``str()`` says which column and why."""


class RowReader:
    """Reads the rows of one file.

    Args:
        source: the file; what it leaves out gets a default (see lib.exchange.import_usage).
        prices: for rows that name no cost.
        ids: the projects by slug.
        now: the time of the import; rows of more than a day later are bad.
        samples: slugs of the sample data, which takes no real usage.
    """

    def __init__(
        self,
        source: Source,
        prices: PriceBook,
        ids: Mapping[str, str],
        now: Micros,
        *,
        samples: Collection[str] = (),
    ) -> None:
        self._prices = prices
        self._ids = ids
        self._samples = samples
        self._latest = now + DAY
        readers = dict(zip(EVENT_HEADER, cell_readers(was_inert=source.was_inert), strict=True))
        self._columns = source.columns
        self._readers = [(EVENT_HEADER.index(name), readers[name]) for name in source.columns]
        self._is_export = len(source.columns) == len(EVENT_HEADER)
        self.unpriced = 0

    def read(self, texts: Sequence[str] | str) -> tuple[tuple[Any, ...], bool]:
        """Return the row as lib.exchange.import_usage stores it, and whether its id was made from its content.

        Raises:
            BadRow: says why.
        """
        if isinstance(texts, str):
            raise BadRow(texts)
        cells = self._cells(texts)
        said_how_it_ended = cells[_STATUS] is not None
        for place, default in _DEFAULT_PLACES:
            cells[place] = cells[place] or default
        event_id, at, slug, run_id, source, provider, model, endpoint, status, *numbers = cells
        tokens, (cost, *prices), rest = numbers[:4], numbers[4:8], numbers[8:]
        self._require_time_and_project(at, slug)
        _require_known(source, status)
        _require_tokens(tokens, model, may_be_empty=said_how_it_ended)
        if cost is None and not (self._is_export and event_id and said_how_it_ended):
            cost, prices = self._price(at, (provider, model, status), tokens, prices)
        self.unpriced += cost is None
        row = (
            self._ids[slug],
            event_id or content_id(cells),
            at,
            run_id,
            source,
            provider,
            model,
            endpoint,
            status,
            *tokens,
            cost,
            *prices,
            *rest,
        )
        return row, event_id is None

    def _cells(self, texts: Sequence[str]) -> list[Any]:
        cells: list[Any] = [None] * len(EVENT_HEADER)
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
        if at > self._latest:
            raise BadRow("occurred_at lies more than a day ahead")
        if slug is None:
            raise BadRow("project is empty")
        if slug in self._samples:
            raise BadRow("project is sample data, which takes no usage; create a project of your own")
        if slug not in self._ids:
            raise BadRow("project is none of this deployment's; create it first")

    def _price(
        self, at: Micros, what: tuple[str, str, str], tokens: _Counts, prices: list[int | None]
    ) -> tuple[int | None, list[int | None]]:
        """The cost of a row that names none, and the prices behind it."""
        provider, model, status = what
        given, cached, made, reasoning = tokens
        if status == "error":
            return 0, prices
        if status != "ok" or given is None or made is None:
            return None, prices
        used = Tokens(given, cached or 0, made, reasoning or 0)
        try:
            cost = self._prices.cost(model, used, at=from_micros(at), provider=provider)
        except PriceUnknown:
            return None, prices
        if cost.nano > LARGEST_USD * NANO:
            raise BadRow(f"costs more than {LARGEST_USD:,} USD")
        return cost.nano, [cost.unit.input, cost.unit.cached_input, cost.unit.output]


def _require_known(source: str, status: str) -> None:
    if source not in SOURCES:
        raise BadRow(f"source is none of {', '.join(SOURCES)}")
    if status not in EVENT_STATUSES:
        raise BadRow(f"status is none of {', '.join(EVENT_STATUSES)}")


def _require_tokens(tokens: _Counts, model: str, *, may_be_empty: bool) -> None:
    """Model and tokens may be empty only where the row itself says how the call ended, as exports do."""
    given, cached, made, reasoning = tokens
    if not may_be_empty:
        if not model:
            raise BadRow("model is empty")
        if given is None or made is None:
            raise BadRow(f"{'input' if given is None else 'output'}_tokens is empty")
    if cached is not None and (given is None or cached > given):
        raise BadRow("cached_input_tokens is more than input_tokens")
    if reasoning is not None and (made is None or reasoning > made):
        raise BadRow("reasoning_tokens is more than output_tokens")
