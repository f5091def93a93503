"""What changed between two stretches of time, and why: a change of spend split into its causes. Pure.

The rule, one step after another for each model of each project, with what the stretch before cost as the start:

1. ``calls``: as many calls as now, each at what a call cost before;
2. ``models``: the calls of each model by themselves, so that what moved to dearer or cheaper models is apart. A model
   that is new or gone counts here whole, while its project or the models beside it had calls in both stretches;
3. ``tokens``: as many tokens per call as now;
4. ``token_cost``: what a token costs now, without what caching saves: prices, tiers, fees, the share of output;
5. ``cache``: what caching of input saves now.

Each step is rounded to a whole nano-USD, and the last one ends at what was spent: so the causes add up to the change
exactly. Where more than one call in twenty of a model has no known cost, its tokens say too little of the others: steps
3 to 5 are then one, ``call_cost``. Where it is not known what caching saved, step 5 is part of 4.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple, TypeVar

from lib.reports.models import FIELDS, Totals

FEW = 20
"""One call in so many that is not known is too little to keep a cause from being told."""

Cells = Mapping[Hashable, Totals]
"""The sums of one stretch by model, or by project and model."""
Saved = Mapping[Hashable, int | None]
"""What caching saved in each of these cells, nano-USD; None where that is not known, nothing where none was used."""

_NONE: Saved = {}

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Causes(NamedTuple):
    """Parts of a change in nano-USD, which add up to it."""

    calls: int = 0
    models: int = 0
    tokens: int = 0
    token_cost: int = 0
    cache: int = 0
    call_cost: int = 0

    @property
    def main(self) -> str | None:
        """The cause that outweighs all others together; None where none does."""
        size, name = max((abs(nano), name) for name, nano in self._asdict().items())
        return name if 2 * size > sum(map(abs, self)) else None


@dataclass(frozen=True)
class SpendChange:
    """What one project or model spent now and before; of the last row of a list, what all ``others`` did."""

    name: str
    now: Totals
    before: Totals
    causes: Causes | None = None
    """None of a sum of others, and where there is nothing to split: no call, or no known cost, in one of the two."""
    others: int = 0

    @property
    def change_nano(self) -> int:
        """By how much known costs grew."""
        return self.now.total_nano - self.before.total_nano


def split_change(now: Cells, before: Cells, saved: Saved = _NONE, saved_before: Saved = _NONE) -> Causes:
    """The causes of the change of all of these together."""
    steps = Causes()
    for cell in now.keys() | before.keys():
        found = _steps(now.get(cell), before.get(cell), saved.get(cell, 0), saved_before.get(cell, 0))
        steps = Causes(*map(sum, zip(steps, found, strict=True)))
    calls = _more_calls(_sum(now.values()), _sum(before.values()))
    # What the models' own calls come to beyond that is the mix of models.
    return steps._replace(calls=calls, models=steps.models + steps.calls - calls)


def rank_changes(
    now: Mapping[str, Totals], before: Mapping[str, Totals], *, most: int
) -> tuple[list[SpendChange], SpendChange | None]:
    """The largest changes, up or down, and the sum of all others. Causes are left to ``with_causes``.

    One more than ``most`` needs no sum.
    """
    every = [
        SpendChange(name, now.get(name) or Totals(), before.get(name) or Totals())
        for name in now.keys() | before.keys()
    ]
    every.sort(key=lambda each: (-abs(each.change_nano), -_unknown(each), each.name))
    if len(every) <= most + 1:
        return every, None
    left = every[most:]
    sums = (_sum(each.now for each in left), _sum(each.before for each in left))
    return every[:most], SpendChange("", *sums, others=len(left))


def with_causes(
    each: SpendChange, now: Cells, before: Cells, saved: Saved = _NONE, saved_before: Saved = _NONE
) -> SpendChange:
    """The change with its causes, from the sums of its cells."""
    told = _priced(each.now) > 0 and _priced(each.before) > 0
    causes = split_change(now, before, saved, saved_before) if told else None
    return SpendChange(each.name, each.now, each.before, causes, each.others)


def grouped(cells: Mapping[tuple[str, K], V]) -> dict[str, dict[Hashable, V]]:
    """Cells by the first part of their keys."""
    found: dict[str, dict[Hashable, V]] = defaultdict(dict)
    for (name, cell), sums in cells.items():
        found[name][cell] = sums
    return found


def _steps(now: Totals | None, before: Totals | None, saved: int | None, saved_before: int | None) -> Causes:
    """The steps of one model, ``calls`` being those of its own."""
    now, before = now or Totals(), before or Totals()
    start, end = before.total_nano, now.total_nano
    if _priced(now) <= 0 or _priced(before) <= 0:
        return Causes(models=end - start)
    with_calls = start + _more_calls(now, before)
    if not (_is_told(now) and _is_told(before) and _tokens(before)):
        return Causes(calls=with_calls - start, call_cost=end - with_calls)
    with_tokens = _scaled(start, _tokens(now), _tokens(before))
    as_cached_before = end
    if saved is not None and saved_before is not None and start + saved_before > 0:
        as_cached_before = _scaled(start, end + saved, start + saved_before)
    return Causes(
        calls=with_calls - start,
        tokens=with_tokens - with_calls,
        token_cost=as_cached_before - with_tokens,
        cache=end - as_cached_before,
    )


def _more_calls(now: Totals, before: Totals) -> int:
    """What more or fewer calls make, each at what a call cost before."""
    start = before.total_nano
    return _scaled(start, _priced(now), _priced(before)) - start if _priced(before) > 0 else 0


def _scaled(nano: int, part: int, whole: int) -> int:
    return round(Fraction(nano * part, whole))  # half-even, and exact however large


def _priced(sums: Totals) -> int:
    """Calls that have a known cost; error answers cost nothing and are left out."""
    return sums.calls - sums.unpriced_calls - sums.error_calls


def _is_told(sums: Totals) -> bool:
    """Whether so few calls have no known cost that the tokens are those of the others."""
    return FEW * sums.unpriced_calls <= sums.calls


def _tokens(sums: Totals) -> int:
    return sums.input_tokens + sums.output_tokens


def _unknown(each: SpendChange) -> int:
    return each.now.unpriced_calls + each.before.unpriced_calls


def _sum(several: Iterable[Totals]) -> Totals:
    columns = [
        vars(each) for each in several
    ]  # of thousands, which one by one would take a tenth of a second
    return Totals(**{name: sum(each[name] for each in columns) for name in FIELDS})
