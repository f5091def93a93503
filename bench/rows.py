"""The rows of the tables that drawn traffic comes to, in chunks that fit into memory."""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bench.traffic import (
    CEILING,
    END,
    ERROR,
    KINDS,
    OK,
    PRICES,
    PROJECTS,
    START,
    STATUSES,
    UNKNOWN,
    Array,
    Traffic,
    prices,
)
from lib.clock import DAY, MINUTE, SECOND

Row = Sequence[Any]
CHUNK = 20_000
RUN_COLUMNS = (
    *("project_id", "run_id", "kind", "status", "started_at", "started_by", "ended_at", "lease_until"),
    *("calls", "failed_calls", "unpriced_calls", "tokens", "platform_nano", "byok_nano"),
    *("platform_calls", "byok_calls", "last4"),
)
EVENT_COLUMNS = (
    *(
        "project_id",
        "event_id",
        "occurred_at",
        "run_id",
        "run_kind",
        "source",
        "provider",
        "model",
        "endpoint",
    ),
    *("status", "input_tokens", "cached_input_tokens", "output_tokens", "reasoning_tokens", "cost_nano"),
    *("price_input", "price_cached_input", "price_output", "key_last4", "upstream_request_id", "latency_ms"),
    *("imported", "http_status", "error_code", "sequence", "counted_after_nano", "unknown_after_nano"),
    *("served_model", "cache_write_tokens", "cache_write_1h_tokens", "fees_nano", "price_table"),
)
ACCOUNT_COLUMNS = (
    "project_id",
    "sequence",
    "counted_nano",
    "unknown_nano",
    "reserved_nano",
    "last_settled_at",
)
CAP_COLUMNS = ("project_id", "cap_5h_nano", "cap_7d_nano", "reason", "set_at", "set_by")
_RUN_STATUSES = ("passed", "failed", "error", "budget_exceeded", "lost")
_RUN_SHARES = (0.87, 0.08, 0.03, 0.015, 0.005)


@dataclass
class Rows:
    """The rows of one database."""

    traffic: Traffic
    seed: int
    ids: list[str] = field(init=False)
    run_ids: list[str] = field(init=False)

    def __post_init__(self) -> None:
        rng = random.Random(self.seed)
        self.ids = [str(uuid.UUID(int=rng.getrandbits(128), version=4)) for _ in range(PROJECTS)]
        # Counted in steps that pass over every number of ten hexadecimal digits: each id once, in no order.
        self.run_ids = [
            f"r-{n * 0x9E3779B97 & 0xFFFFFFFFFF:010x}" for n in range(len(self.traffic.runs.kind))
        ]
        counted = np.flatnonzero(self.traffic.counted)
        self._counted = counted[np.argsort(self.traffic.project[counted], kind="stable")]
        self._sequence, self._total, self._unknown = self._running_totals()

    @property
    def slugs(self) -> list[str]:
        """Names, the busiest project's first."""
        return [f"project-{number:03}" for number in range(1, PROJECTS + 1)]

    @property
    def own_keys(self) -> list[str]:
        """The projects that use a key of their own now."""
        return [slug for number, slug in enumerate(self.slugs) if number % 5 in {1, 3}]

    def _running_totals(self) -> tuple[Array, Array, Array]:
        """Of each counted call, in the order of project and time: its number, and the totals right after it."""
        project, cost = self.traffic.project[self._counted], self.traffic.cost[self._counted]
        counts, unknown = np.where(cost < 0, CEILING, cost), np.where(cost < 0, CEILING, 0)
        first = np.concatenate([[0], np.cumsum(np.bincount(project, minlength=PROJECTS))])
        sums = [np.concatenate([[0], np.cumsum(each)]) for each in (np.ones_like(cost), counts, unknown)]
        return tuple(each[1:] - each[first[project]] for each in sums)  # type: ignore[return-value]

    def accounts(self) -> Iterator[Row]:
        """Where each project's totals stand after its last call."""
        project = self.traffic.project[self._counted]
        last = np.searchsorted(project, np.arange(PROJECTS), side="right") - 1
        for number, row in enumerate(last.tolist()):
            if row < 0 or project[row] != number:
                yield (self.ids[number], 0, 0, 0, 0, 0)
                continue
            totals = (int(each[row]) for each in (self._sequence, self._total, self._unknown))
            yield (self.ids[number], *totals, 0, int(self.traffic.at[self._counted[row]]))

    def caps(self) -> Iterator[Row]:
        """Caps somewhat above what each project spends, so that some are near and a few are full."""
        project, cost = self.traffic.project[self._counted], self.traffic.cost[self._counted]
        recent = self.traffic.at[self._counted] > END - 7 * DAY
        week = np.bincount(project[recent], np.maximum(cost[recent], 0), PROJECTS)
        for number, spent in enumerate(week.tolist()):
            cap = 1_000_000_000 + int(spent * (0.95 + number % 10 / 5))
            yield (self.ids[number], cap // 4, cap, "benchmark", START, "bench")

    def runs(self) -> Iterator[list[Row]]:
        """Runs with the sums of their calls; foreign calls have none."""
        traffic, number = self.traffic, len(self.run_ids)
        rng = np.random.default_rng(self.seed + 1)
        status = rng.choice(len(_RUN_STATUSES), number, p=_RUN_SHARES).tolist()
        sums = [column.tolist() for column in self._run_sums()]
        ended = np.maximum(traffic.runs.started, self._last_call()) + SECOND
        plain = (each.tolist() for each in (traffic.runs.project, traffic.runs.kind, traffic.runs.started))
        projects, kinds, started = plain
        ended, foreign = ended.tolist(), traffic.runs.imported.tolist()
        chosen = [run for run in range(number) if not foreign[run]]
        for start in range(0, len(chosen), CHUNK):
            yield [
                (
                    self.ids[projects[run]],
                    self.run_ids[run],
                    KINDS[kinds[run]],
                    _RUN_STATUSES[status[run]],
                    started[run],
                    "bench",
                    ended[run],
                    ended[run] + MINUTE,
                    *(column[run] for column in sums),
                    "PLAT" if sums[-2][run] else "BYOK",
                )
                for run in chosen[start : start + CHUNK]
            ]

    def _last_call(self) -> Array:
        last = np.zeros(len(self.run_ids), dtype=np.int64)
        np.maximum.at(last, self.traffic.run, self.traffic.at)
        return last

    def _run_sums(self) -> list[Array]:
        traffic = self.traffic
        cost, byok = np.maximum(traffic.cost, 0), traffic.byok
        used = np.maximum(traffic.input, 0) + np.maximum(traffic.output, 0)
        weights = [
            np.ones_like(cost),
            traffic.status != OK,
            traffic.cost < 0,
            used,
            np.where(byok, 0, cost),
            np.where(byok, cost, 0),
            ~byok,
            byok,
        ]
        # Sums as floats are exact below 9,000,000 USD.
        return [np.bincount(traffic.run, each, len(self.run_ids)).astype(np.int64) for each in weights]

    def events(self) -> Iterator[list[Row]]:
        """Usage events in the order of time."""
        number = len(self.traffic.at)
        totals = []
        for values in (self._sequence, self._total, self._unknown):
            column = np.full(number, -1, dtype=np.int64)
            column[self._counted] = values
            totals.append(column)
        for start in range(0, number, CHUNK):
            part = slice(start, min(start + CHUNK, number))
            yield list(zip(*self._event_columns(part, [each[part] for each in totals]), strict=True))

    def _event_columns(self, part: slice, totals: list[Array]) -> list[list[Any]]:
        traffic = self.traffic
        at, status, byok = traffic.at[part], traffic.status[part], traffic.byok[part]
        imported, model = traffic.imported[part], traffic.model[part]
        unit = prices()[model]
        unpriced = (traffic.cost[part] < 0) | (status == ERROR)
        models, run_ids = list(PRICES), self.run_ids
        moments = at.tolist()
        numbers = range(part.start, part.stop)
        foreign = imported.tolist()
        runs = traffic.run[part].tolist()
        return [
            [self.ids[project] for project in traffic.project[part].tolist()],
            # Like a UUID of version 7: later ones are greater.
            [
                f"{m >> 24:08x}-{m >> 8 & 0xFFFF:04x}-7000-8000-{n:012x}"
                for m, n in zip(moments, numbers, strict=True)
            ],
            moments,
            [None if out else run_ids[run] for run, out in zip(runs, foreign, strict=True)],
            [
                None if out else KINDS[kind]
                for kind, out in zip(traffic.kind[part].tolist(), foreign, strict=True)
            ],
            ["byok" if own else "platform" for own in byok.tolist()],
            ["openai"] * len(moments),
            [models[each] for each in model.tolist()],
            ["responses"] * len(moments),
            [STATUSES[each] for each in status.tolist()],
            *(
                _known(each[part])
                for each in (traffic.input, traffic.cached, traffic.output, traffic.reasoning)
            ),
            _known(traffic.cost[part]),
            *(_known(np.where(unpriced, -1, unit[:, column])) for column in range(3)),
            ["BYOK" if own else "PLAT" for own in byok.tolist()],
            [None if out else f"req_{n:024x}" for n, out in zip(numbers, foreign, strict=True)],
            traffic.latency[part].tolist(),
            foreign,
            [None if each == UNKNOWN else 500 if each == ERROR else 200 for each in status.tolist()],
            ["server_error" if each == ERROR else None for each in status.tolist()],
            *(_known(each) for each in totals),
            *self._price_columns(model.tolist(), traffic.input[part], unpriced),
        ]

    def _price_columns(self, model: list[int], given: Array, unpriced: Array) -> Iterator[list[Any]]:
        """As a live call's row has them: the dated name that answers, nothing written to a cache, no fees."""
        names = [f"{name}-2025-08-07" for name in PRICES]
        dark, free = (given < 0).tolist(), unpriced.tolist()
        yield [None if out else names[each] for each, out in zip(model, dark, strict=True)]
        for columns in (dark, dark, free):
            yield [None if out else 0 for out in columns]
        yield [None if out else "genai-prices-0.2.3" for out in free]


def _known(values: Array) -> list[int | None]:
    """Unknown, which is negative, is NULL."""
    column = values.astype(object)
    column[values < 0] = None
    return column.tolist()  # type: ignore[no-any-return]
