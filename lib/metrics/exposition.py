"""Serves the metrics of this process on an address of their own, in Prometheus' text format.

The server is prometheus-client's, in a daemon thread. Gauges are read when somebody asks, at most once in a few
seconds: whoever scrapes often does not load the database.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from lib.environment.addresses import host_and_port
from lib.metrics.meters import REGISTRY

log = logging.getLogger(__name__)

Gauges = Mapping[str, tuple[str, float]]
"""By name without the prefix: what it tells, and its value."""

_KEPT = 5.0  # seconds


def serve(address: str, gauges: Callable[[], Gauges]) -> None:
    """Serve the metrics of this process; where the address is taken the log says so, and work goes on.

    Args:
        address: ``host:port``.
        gauges: reads what is not counted but there: open calls, what is reserved and owed.
    """
    host, port = host_and_port(address)
    registry = CollectorRegistry()
    registry.register(_ProcessCollector(gauges))
    try:
        start_http_server(port, host, registry)
    except OSError as problem:
        log.warning(
            "Metrics are not served: %s cannot be had (%s). Each process needs a QODEX_METRICS_ADDRESS of its own.",
            address,
            problem.strerror or problem,
        )
        return
    log.info("Metrics are served on http://%s/metrics.", address)


class _ProcessCollector(Collector):
    """What this process has counted, and the gauges, which are kept for some seconds."""

    def __init__(self, read: Callable[[], Gauges]) -> None:
        self._read = read
        self._turn = threading.Lock()
        self._until = 0.0
        self._kept: Gauges = {}

    def describe(self) -> Iterable[Metric]:
        """Nothing: registering asks no database."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """Every metric of the process."""
        yield from REGISTRY.collect()
        for name, (tells, value) in self._gauges().items():
            yield GaugeMetricFamily(f"qodex_{name}", tells, value)

    def _gauges(self) -> Gauges:
        with self._turn:
            if time.monotonic() >= self._until:
                self._kept = self._read()
                self._until = time.monotonic() + _KEPT
            return self._kept
