"""What this process counts and times for Prometheus: few labels, never a project, a key or a person.

Counting costs about a microsecond and is always done; it is served where ``QODEX_METRICS_ADDRESS`` says.
"""

from __future__ import annotations

import re

from prometheus_client import CollectorRegistry, Counter, Histogram

from lib.errors import QodexError

REGISTRY = CollectorRegistry()

_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)

CALLS = Counter(
    "qodex_calls",
    "Calls that were settled, by what became of them.",
    ("provider", "source", "status"),
    registry=REGISTRY,
)
UNKNOWN_OUTCOMES = Counter(
    "qodex_unknown_outcomes",
    "Settled calls of which nobody knows what they cost.",
    ("provider", "source"),
    registry=REGISTRY,
)
CEILINGS_PASSED = Counter(
    "qodex_ceilings_passed",
    "Settled calls on the platform key that cost more than what was reserved for them.",
    ("provider",),
    registry=REGISTRY,
)
REFUSALS = Counter(
    "qodex_refusals",
    "Calls that were refused before they left: by a cap (with its window), a budget, a key, a price.",
    ("reason", "window"),
    registry=REGISTRY,
)
RESOLVE_SECONDS = Histogram(
    "qodex_resolve_seconds",
    "From the row of a run to the key that pays for its call, opened; a part of the opening.",
    buckets=_SECONDS,
    registry=REGISTRY,
)
OPEN_SECONDS = Histogram(
    "qodex_open_seconds",
    "The transaction before a call leaves: key, reservation, open row.",
    buckets=_SECONDS,
    registry=REGISTRY,
)
SETTLE_SECONDS = Histogram(
    "qodex_settle_seconds",
    "The transaction after a call: its usage row, its cost on the account.",
    buckets=_SECONDS,
    registry=REGISTRY,
)


def count_call(
    provider: str, source: str, status: str, *, is_known: bool, passed_ceiling: bool = False
) -> None:
    """Count a call whose usage row has been written.

    Args:
        provider: as in the usage row, and so are ``source`` and ``status``.
        source: ``platform`` or ``byok``.
        status: what became of it.
        is_known: whether its cost is.
        passed_ceiling: whether it cost more than what was reserved for it.
    """
    CALLS.labels(provider, source, status).inc()
    if not is_known:
        UNKNOWN_OUTCOMES.labels(provider, source).inc()
    if passed_ceiling:
        CEILINGS_PASSED.labels(provider).inc()


def count_refusal(problem: QodexError) -> None:
    """Count what did not leave, by the rule that it broke (``cap_exceeded``, ``key_missing``, …)."""
    words = re.findall(r"[A-Z][a-z]+", type(problem).__name__)
    REFUSALS.labels("_".join(words).lower(), getattr(problem, "window", "")).inc()
