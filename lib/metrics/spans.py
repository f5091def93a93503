"""Runs and calls as OpenTelemetry spans, by its GenAI conventions: what was asked of which model, never a text or a key.

Off unless ``QODEX_TRACES`` says so. A span of a call is made when its usage row is written, from that row; so every way
to end is told alike, streams that were forgotten and calls that were owed, too. Its parent is the span of its run.
"""

from __future__ import annotations

import logging
import os
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from functools import wraps
from importlib import import_module
from typing import Any, ParamSpec

from lib.errors import SettingsError

log = logging.getLogger(__name__)

P = ParamSpec("P")
Attribute = str | int | float | bool

VARIABLE = "QODEX_TRACES"
_REMEMBERED = 10_000
_FAILED = {"error", "lost"}


def _harmless(tell: Callable[P, None]) -> Callable[P, None]:
    """What takes the spans is a worker's own: where it fails, no run may end and no answer be lost for it."""

    @wraps(tell)
    def tried(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            tell(*args, **kwargs)
        except Exception as problem:  # noqa: BLE001 - whatever it is
            log.warning("A span was not told: what takes them failed (%s).", type(problem).__name__)

    return tried


class Spans:
    """The spans of this process. Off until ``turn_on``; then about 20 microseconds a call."""

    def __init__(self) -> None:
        self._tracer: Any = None
        self._trace: Any = None
        self._runs: OrderedDict[str, Any] = OrderedDict()

    def turn_on(self) -> None:
        """Make spans from now on, for whoever takes those of this process: its own SDK, or one that is set up here.

        That one sends by OTLP over HTTP, and is set by the usual ``OTEL_…`` variables. Raises SettingsError.
        """
        self._trace = _load("opentelemetry.trace")
        provider = self._trace.get_tracer_provider()
        if isinstance(provider, self._trace.ProxyTracerProvider):
            self._trace.set_tracer_provider(_sender())
        self._tracer = self._trace.get_tracer("qodex")

    @_harmless
    def begin_run(self, run_id: str, project: str, kind: str) -> None:
        """A run of this process has begun."""
        if self._tracer is None:
            return
        told = {
            "gen_ai.operation.name": "invoke_agent",
            "gen_ai.agent.name": kind,
            "qodex.run.id": run_id,
            "qodex.project": project,
        }
        self._runs[run_id] = self._tracer.start_span(f"invoke_agent {kind}", attributes=told)
        if len(self._runs) > _REMEMBERED:
            self._runs.popitem(last=False)

    @_harmless
    def end_run(self, run_id: str, status: str) -> None:
        """It has ended; calls that are settled later are still its own."""
        span = self._runs.get(run_id)
        if span is not None and span.is_recording():
            span.set_attribute("qodex.run.status", status)
            if status in _FAILED:
                span.set_attribute("error.type", status)
                span.set_status(self._trace.StatusCode.ERROR)
            span.end()

    @_harmless
    def add_call(
        self, run_id: str | None, name: str, told: Mapping[str, Attribute | None], latency_ms: int | None
    ) -> None:
        """A call has just ended; of a run that is not this process's nothing is told.

        Args:
            run_id: its run.
            name: of the span.
            told: attributes; None is left out. ``error.type`` makes it a failed one.
            latency_ms: how long it took.
        """
        run = self._runs.get(run_id or "")
        if self._tracer is None or run is None:
            return
        ended = time.time_ns()
        span = self._tracer.start_span(
            name,
            context=self._trace.set_span_in_context(run),
            kind=self._trace.SpanKind.CLIENT,
            attributes={key: value for key, value in told.items() if value is not None},
            start_time=ended - (latency_ms or 0) * 1_000_000,
        )
        if told.get("error.type"):
            span.set_status(self._trace.StatusCode.ERROR)
        span.end(ended)


SPANS = Spans()


def _sender() -> Any:
    sdk, resources = _load("opentelemetry.sdk.trace"), _load("opentelemetry.sdk.resources")
    exporting = _load("opentelemetry.sdk.trace.export")
    otlp = _load("opentelemetry.exporter.otlp.proto.http.trace_exporter")
    named = {} if "OTEL_SERVICE_NAME" in os.environ else {"service.name": "qodex"}
    provider = sdk.TracerProvider(resource=resources.Resource.create(named))
    provider.add_span_processor(exporting.BatchSpanProcessor(otlp.OTLPSpanExporter()))
    return provider


def _load(module: str) -> Any:
    try:
        return import_module(module)
    except ImportError:
        pass
    raise SettingsError(VARIABLE, "needs the OpenTelemetry SDK: pip install 'qodex-byok[otel]'")
