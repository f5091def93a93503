"""Runs and calls as OpenTelemetry spans: by the GenAI conventions, complete, and without a word of the conversation."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import openai
import pytest
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from lib.errors import SettingsError
from lib.metrics.spans import SPANS
from lib.platform import Platform
from lib.pricing.amounts import plain_usd
from tests.calls import SAY
from tests.upstream import CLAUDE_KEY, GOOD_KEY, PLATFORM_KEY, ScriptedUpstream
from tests.upstream_behaviours import Behaviour

ROOT = Path(__file__).resolve().parents[3]
EXPORTER = InMemorySpanExporter()
on_sqlite = pytest.mark.parametrize("database_kind", ["sqlite"])


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    """What a process's own SDK gets; it is the global one, as an SDK of a provider would find it."""
    if isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(EXPORTER))
        trace.set_tracer_provider(provider)
    EXPORTER.clear()
    SPANS.turn_on()
    yield EXPORTER
    SPANS.__init__()  # type: ignore[misc]


def calls_and_runs(exporter: InMemorySpanExporter) -> tuple[list[Any], list[Any]]:
    found = exporter.get_finished_spans()
    return (
        [span for span in found if span.kind is trace.SpanKind.CLIENT],
        [span for span in found if span.kind is not trace.SpanKind.CLIENT],
    )


def test_a_call_is_a_span_under_that_of_its_run(shop: Platform, spans: InMemorySpanExporter) -> None:
    with shop.run("shop", kind="scan") as run:
        run.openai.responses.create(model="gpt-5-mini", input="a secret question")
    ([call], [parent]) = calls_and_runs(spans)
    assert (call.name, parent.name) == ("chat gpt-5-mini", "invoke_agent scan")
    assert call.parent.span_id == parent.context.span_id
    assert call.start_time < call.end_time
    told = dict(call.attributes)
    detail = shop.runs.show(run.id, actor=shop.actor)
    (row,) = detail.calls
    expected = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-5-mini",
        "gen_ai.response.model": row.served_model,
        "gen_ai.usage.input_tokens": row.input_tokens,
        "gen_ai.usage.output_tokens": row.output_tokens,
        "gen_ai.usage.cache_read.input_tokens": row.cached_input_tokens,
        "http.response.status_code": 200,
        "qodex.source": "platform",
        "qodex.status": "ok",
        "qodex.call.id": row.event_id,
        "qodex.request.id": row.upstream_request_id,
        "qodex.cost_usd": plain_usd(row.cost_nano),
    }
    assert told == {name: value for name, value in expected.items() if value is not None}
    assert dict(parent.attributes)["qodex.run.status"] == "passed"
    assert dict(parent.attributes)["qodex.project"] == "shop"


def test_streams_async_calls_and_errors_are_told_alike(
    shop: Platform, spans: InMemorySpanExporter, upstream: ScriptedUpstream
) -> None:
    with shop.run("shop") as run:
        for _ in run.openai.chat.completions.create(model="gpt-5-mini", messages=SAY, stream=True):
            pass
        upstream.queue(
            Behaviour(status=400, json={"error": {"message": "no", "type": "invalid_request_error"}})
        )
        with pytest.raises(openai.BadRequestError):
            run.openai.responses.create(model="gpt-5-mini", input="x")
    asyncio.run(_ask(shop))
    calls, runs = calls_and_runs(spans)
    assert len(calls) == 3
    assert {call.parent.span_id for call in calls} == {run.context.span_id for run in runs}
    assert len(runs) == 2
    failed = [call for call in calls if not call.status.is_ok and call.status.status_code.name == "ERROR"]
    assert [dict(call.attributes)["error.type"] for call in failed]


async def _ask(shop: Platform) -> None:
    async with shop.run("shop") as run:
        await run.async_openai.responses.create(model="gpt-5-mini", input="x")


@on_sqlite
def test_a_run_that_ends_by_an_exception_is_a_failed_span(
    shop: Platform, spans: InMemorySpanExporter
) -> None:
    with pytest.raises(ZeroDivisionError), shop.run("shop"):
        raise ZeroDivisionError
    _, [run] = calls_and_runs(spans)
    assert run.status.status_code.name == "ERROR"
    assert dict(run.attributes)["error.type"] == "error"


@on_sqlite
def test_no_span_of_anybody_holds_a_text_or_a_key(
    byok: Platform, spans: InMemorySpanExporter, upstream: ScriptedUpstream
) -> None:
    byok.keys.save("shop", CLAUDE_KEY, provider="anthropic")
    with byok.run("shop") as run:
        run.openai.responses.create(model="gpt-5-mini", input="a secret question")
        run.anthropic.messages.create(
            model="claude-haiku-4-5",
            max_tokens=5,
            messages=[{"role": "user", "content": "a secret question"}],
        )
    shown = "".join(span.to_json() for span in spans.get_finished_spans())
    for text in ("question", GOOD_KEY, CLAUDE_KEY, "sk-"):
        assert text not in shown
    names = sorted(span.name for span in spans.get_finished_spans())
    assert names == ["chat claude-haiku-4-5", "chat gpt-5-mini", "invoke_agent scan"]  # none of the SDK's own


class _Broken(SpanProcessor):
    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        raise ValueError("not this one")

    def on_end(self, span: ReadableSpan) -> None:
        raise ValueError("nor its end")


@on_sqlite
def test_a_processor_of_the_workers_own_that_fails_costs_no_answer_and_no_run(shop: Platform) -> None:
    provider = TracerProvider()
    SPANS.turn_on()
    SPANS._tracer = provider.get_tracer("a worker's own")
    try:
        begun = shop.run("shop")
        provider.add_span_processor(_Broken())
        for started in (begun, shop.run("shop")):
            with started as run:
                assert run.openai.responses.create(model="gpt-5-mini", input="x").output_text
            detail = shop.runs.show(run.id, actor=shop.actor)
            assert (detail.run.status, [call.status for call in detail.calls]) == ("passed", ["ok"])
    finally:
        SPANS.__init__()  # type: ignore[misc]


@on_sqlite
def test_nothing_is_made_unless_it_is_turned_on(shop: Platform) -> None:
    with shop.run("shop") as run:
        run.openai.responses.create(model="gpt-5-mini", input="x")
    assert not SPANS._runs


@on_sqlite
def test_without_its_packages_the_sentence_says_what_to_install(
    shop: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.trace", None)
    with pytest.raises(SettingsError, match=r"pip install 'qodex-byok\[otel\]'"):
        SPANS.turn_on()


class _Collector(BaseHTTPRequestHandler):
    received: list[bytes] = []  # noqa: RUF012 - the class is made once

    def do_POST(self) -> None:
        self.received.append(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None: ...


WORKER = """
from lib import Platform
platform = Platform.from_env()
with platform.run("shop") as run:
    run.openai.responses.create(model="gpt-5-mini", input="a secret question")
platform.close()
"""


@on_sqlite
def test_a_worker_sends_them_by_otlp_where_the_usual_variables_say(
    shop: Platform, upstream: ScriptedUpstream
) -> None:
    assert shop.settings.master_keys
    collector = HTTPServer(("127.0.0.1", 0), _Collector)
    thread = threading.Thread(target=collector.serve_forever)
    thread.start()
    environment = {
        "PATH": os.environ["PATH"],
        "DATABASE_URL": shop.settings.database_url,
        "QODEX_MASTER_KEYS": shop.settings.master_keys.reveal(),
        "QODEX_OPENAI_API_KEY": PLATFORM_KEY,
        "OPENAI_BASE_URL": upstream.base_url,
        "QODEX_TRACES": "yes",
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{collector.server_port}",
        "OTEL_SERVICE_NAME": "worker-7",
    }
    try:
        subprocess.run([sys.executable, "-c", WORKER], cwd=ROOT, env=environment, check=True)
    finally:
        collector.shutdown()
        thread.join()
        collector.server_close()
    sent = b"".join(_Collector.received)
    for text in (b"chat gpt-5-mini", b"invoke_agent scan", b"worker-7"):
        assert text in sent
    for text in (b"secret question", PLATFORM_KEY.encode()):
        assert text not in sent
