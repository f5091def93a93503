"""A provider that lies, hangs, breaks off and repeats the key: of each one no key gets out, and nothing is made up."""

from __future__ import annotations

import gc
import io
import json
import logging
import pickle
import traceback
import types
import zlib
from collections.abc import Callable
from contextlib import suppress
from itertools import product
from typing import Any

import httpx2
import pytest

from lib.platform import Platform, Run
from tests.calls import CALLS, both_ways, on_sqlite, rows
from tests.providers import ProviderCase, drive, of_each_provider
from tests.upstream import REPLY, Behaviour, ScriptedUpstream, Usage

pytestmark = [on_sqlite, of_each_provider]


@pytest.fixture
def run(on_own_key: Platform) -> Any:
    with on_own_key.run("shop") as run:
        yield run


def failing(run: Run, provider: ProviderCase, way: str, what: Callable[[Any], Any]) -> BaseException:
    """What the SDK raises; JSON that is none comes out of Google's as it is."""
    with pytest.raises((provider.error, httpx2.HTTPError, json.JSONDecodeError)) as failed:
        drive(run, provider, way, what)
    return failed.value


# --- no failure carries the key --------------------------------------------------------------------


@both_ways
@pytest.mark.parametrize("stream", [False, True])
def test_no_failure_carries_the_key(
    on_own_key: Platform,
    run: Run,
    provider: ProviderCase,
    upstream: ScriptedUpstream,
    caplog: pytest.LogCaptureFixture,
    way: str,
    stream: bool,
) -> None:
    """Not in its text, its traceback's locals, its pickle, its response, the log or the database."""
    caplog.set_level(logging.DEBUG)
    failures = ["echo", "echo_400", "echo_500", "drop", "truncated", "redirect", "detail_400"]
    for failure in [*failures, "broken_stream"] if stream else failures:
        upstream.queue(provider.told(failure))
        error = failing(run, provider, way, lambda client: provider.ask(client, stream=stream))
        told = f"{_variables(error)}{error}{error!r}{vars(error)}{getattr(error, 'details', '')}{getattr(error, 'body', '')}"
        assert provider.leak not in told, failure
        assert provider.leak.encode() not in _pickled(error), failure
        assert not _reaches(error, provider.leak), failure
        response = getattr(error, "response", None)
        if response is not None:
            assert provider.leak not in f"{response.headers}{response.request.headers}{response.text}", (
                failure
            )
    assert provider.leak not in caplog.text
    assert all(provider.leak not in str(record.__dict__) for record in caplog.records)
    assert provider.leak not in str(rows(on_own_key))
    assert set(rows(on_own_key, "status")) <= {"error", "unknown", "broken"}


def _variables(error: BaseException | None) -> str:
    """What a traceback with variables shows, but for frames of tests, which hold the key."""
    found = []
    while error is not None:
        trace = traceback.TracebackException.from_exception(error, capture_locals=True)
        found += [f"{frame.line}{frame.locals}" for frame in trace.stack if "tests" not in frame.filename]
        error = error.__cause__ or error.__context__
    return "".join(found)


def _pickled(error: BaseException) -> bytes:
    """As much of it as can be: what an asynchronous answer holds, none can pickle."""
    with suppress(TypeError, AttributeError, RuntimeError):
        return pickle.dumps(error)
    return pickle.dumps(error.response.headers)  # type: ignore[attr-defined]


def _reaches(start: object, text: str) -> bool:
    """Whether ``text`` is found in anything that hangs on it: causes, frames and their locals."""
    return any(text in _text(one) for one in _hanging_on(start) if isinstance(one, str | bytes))


def _hanging_on(start: Any) -> list[Any]:
    waiting, seen = [start], {}
    while waiting:
        one = waiting.pop()
        if id(one) not in seen and not isinstance(one, _NOT_FOLLOWED) and not _is_foreign(one):
            seen[id(one)] = one
            waiting += _parts(one)
    return list(seen.values())


def _parts(one: Any) -> list[Any]:
    if isinstance(one, types.TracebackType):
        return [one.tb_next, *_locals(one.tb_frame)]
    if isinstance(one, types.MethodType):
        return [one.__self__]
    if isinstance(one, BaseException):
        return [one.__traceback__, one.__cause__, one.__context__, one.args, vars(one)]
    return gc.get_referents(one)


def _is_foreign(one: Any) -> bool:
    return type(one).__module__.startswith(("tests", "_pytest", "sqlalchemy", "asyncio"))


def _text(one: str | bytes) -> str:
    return one if isinstance(one, str) else one.decode("latin-1")


_NOT_FOLLOWED = (type, types.ModuleType, types.FunctionType, types.CodeType, types.FrameType, logging.Logger)


def _locals(frame: types.FrameType) -> list[Any]:
    return [] if "tests" in frame.f_code.co_filename else list(frame.f_locals.values())


# --- nor does a good answer ------------------------------------------------------------------------


def _error_of(provider: ProviderCase, piece: str) -> dict[str, Any]:
    message = f"Bad key {piece}, sorry."
    if provider.name == "anthropic":
        return {"type": "error", "error": {"type": "x", "message": message, "details": {"error_code": piece}}}
    if provider.name == "google":
        return {"error": {"code": 503, "status": piece, "message": message}}
    return {"object": "response", "output": [], "error": {"message": message, "type": "x", "code": piece}}


@both_ways
@pytest.mark.parametrize("stream", [False, True])
def test_an_error_inside_a_good_answer_carries_no_piece_of_the_key(
    on_own_key: Platform,
    run: Run,
    provider: ProviderCase,
    upstream: ScriptedUpstream,
    way: str,
    stream: bool,
) -> None:
    key = provider.key
    for piece in (key, key[3:], key[:18], key[5:19]):
        text, kind = json.dumps(_error_of(provider, piece)), "application/json"
        if stream:
            named = "event: error\n" if provider.name == "anthropic" else ""
            text, kind = f"{named}data: {text}\n\n", "text/event-stream"
        upstream.queue(Behaviour(status=200, text=text, headers={"content-type": kind}))
        if stream:
            error = failing(run, provider, way, lambda client: provider.ask(client, stream=True))
            assert not _reaches(error, provider.leak)
            told = f"{error}{vars(error)}"
        else:
            told = str(drive(run, provider, way, provider.ask))
        assert not _shared(told, piece)
    found = rows(on_own_key, "status", "error_message", "cost_nano")
    assert found == [("broken", "Bad key [key hidden], sorry.", None)] * 4
    assert provider.leak not in str(rows(on_own_key))


def _shared(text: str, key: str) -> list[str]:
    return [key[at : at + 8] for at in range(len(key) - 7) if key[at : at + 8] in text]


@both_ways
@pytest.mark.parametrize("stream", [False, True])
def test_a_good_answer_does_not_say_the_key(
    on_own_key: Platform,
    run: Run,
    provider: ProviderCase,
    upstream: ScriptedUpstream,
    caplog: pytest.LogCaptureFixture,
    way: str,
    stream: bool,
) -> None:
    upstream.reply(f"Your key is {provider.key}.")
    headers = {"x-echo": "Bearer {key}", "request-id": "req_{key}", "x-request-id": "req_{key}"}
    upstream.queue(Behaviour(headers=headers | {"set-cookie": "k={key}"}))
    with caplog.at_level(logging.DEBUG):
        answer = drive(run, provider, way, lambda client: provider.ask(client, stream=stream))
    assert provider.key not in str(answer)
    assert provider.leak not in caplog.text
    assert "send_request_headers" in caplog.text
    assert rows(on_own_key, "status", "cost_nano") == [("ok", provider.cost)]
    assert provider.leak not in str(rows(on_own_key))


def test_no_answer_and_no_client_carries_the_key(
    run: Run, provider: ProviderCase, upstream: ScriptedUpstream
) -> None:
    client: Any = run.client(provider.name)
    upstream.queue("echo_good", times=2)
    stream = provider.ask(client, stream=True)
    next(stream)
    answer = provider.ask(client)
    for found in (stream, answer, client, vars(client), getattr(client, "_client", None)):
        assert not _reaches(found, provider.leak)
        assert provider.leak not in repr(found)
    stream.close()


# --- how it is written -----------------------------------------------------------------------------

CHARSETS = ["utf-16", "utf-16-be", "utf-32", "utf-7", "cp037", "cp500", "latin-1", "utf-8-sig"]
_SAID = '{"error": {"message": "No: {key} ä", "type": "invalid_request_error", "code": "{key}"}}'


@both_ways
def test_no_charset_hides_the_key_of_an_error_answer(
    on_own_key: Platform, run: Run, provider: ProviderCase, upstream: ScriptedUpstream, way: str
) -> None:
    """Nor do its parts, to whoever reads the text, the bytes, or the JSON."""
    for charset, declared in product(CHARSETS, ("itself", "another", "none")):
        parameter = {"itself": f"; charset={charset}", "another": "; charset=utf-8", "none": ""}[declared]
        headers = {"content-type": f"application/json{parameter}"}
        upstream.queue(Behaviour(status=400, text=_SAID, headers=headers, charset=charset))
        error: Any = failing(run, provider, way, provider.ask)
        response = error.response
        told = f"{error}{vars(error)}{response.text}{response.content.decode()}"
        assert provider.leak not in told, (charset, declared)
        assert provider.leak not in response.content.decode(charset, "replace")
        assert "charset" not in response.headers["content-type"]
        if declared == "itself":
            assert response.encoding == "utf-8"
            assert response.json()["error"]["type"] == "invalid_request_error"
    assert provider.leak not in str(rows(on_own_key))


@both_ways
def test_a_charset_that_cannot_be_leaves_an_error_answer_readable(
    run: Run, provider: ProviderCase, upstream: ScriptedUpstream, way: str
) -> None:
    texts = ('{"error": {"message": "No: {key}."}}', '{"error": {"message": "Nö: {key}."}}\0')
    for charset, text in product(["hex", "rot13", "idna", "undefined", "no-such", "é", '"utf-16"'], texts):
        headers = {"content-type": f"application/json; charset={charset}"}
        upstream.queue(Behaviour(status=400, text=text, headers=headers))
        error: Any = failing(run, provider, way, provider.ask)
        assert "[key hidden]" in error.response.text
        assert provider.leak not in str(error) + error.response.text


@both_ways
@pytest.mark.parametrize("charset", ["utf-8", "utf-16"])
def test_no_compression_hides_the_key_of_an_error_answer(
    run: Run, provider: ProviderCase, upstream: ScriptedUpstream, way: str, charset: str
) -> None:
    text = '{"error": {"message": "No: {key}."}}'
    encodings = ["gzip", "deflate", "br", "zstd", "x-gzip", "gzip, gzip", "no-such"]
    for encoding, gzip in product(encodings, (True, False)):
        headers = {"content-encoding": encoding, "content-type": f"application/json; charset={charset}"}
        upstream.queue(Behaviour(status=400, text=text, headers=headers, charset=charset, gzip=gzip))
        error: Any = failing(run, provider, way, provider.ask)
        response = error.response
        assert "content-encoding" not in response.headers
        assert provider.leak not in str(error) + response.text + response.content.decode(charset, "replace")
        with suppress(zlib.error):
            assert provider.leak.encode() not in zlib.decompressobj(wbits=47).decompress(response.content)


# --- lies and silence ------------------------------------------------------------------------------


@both_ways
def test_a_lying_provider_makes_tokens_unknown_and_nothing_fails(
    on_own_key: Platform, run: Run, provider: ProviderCase, upstream: ScriptedUpstream, way: str
) -> None:
    lies = (
        Usage(input=-5, cached=0, output=1),
        Usage(input=1, cached=2, output=1),
        Usage(input=10**15, output=0),
        Usage(input=9, output=1, reasoning=2),
    )
    for lie, stream in product(lies, (False, True)):
        upstream.usage["*"] = lie
        answer = drive(run, provider, way, lambda client, stream=stream: provider.ask(client, stream=stream))
        assert answer
    assert set(rows(on_own_key, "status", "input_tokens", "cost_nano")) == {("ok", None, None)}


@both_ways
def test_a_huge_error_page_is_cut(
    on_own_key: Platform, run: Run, provider: ProviderCase, upstream: ScriptedUpstream, way: str
) -> None:
    upstream.queue("huge_html")
    error: Any = failing(run, provider, way, provider.ask)
    assert len(error.response.content) <= 1024 * 1024
    ((status, message, cost),) = rows(on_own_key, "status", "error_message", "cost_nano")
    assert (status, cost) == ("unknown", None)
    assert len(message) <= 600


@both_ways
def test_what_is_no_answer_is_no_success(
    on_own_key: Platform, run: Run, provider: ProviderCase, upstream: ScriptedUpstream, way: str
) -> None:
    for silence, wait in (
        ("hang", 0.2),
        ("drip_headers", 0.05),
        ("drop", 30),
        ("bad_chunk", 30),
        ("truncated", 30),
    ):
        upstream.queue(Behaviour(fault="bad_chunk") if silence == "bad_chunk" else silence)
        error = failing(run, provider, way, lambda client, wait=wait: provider.ask(client, wait=wait))
        assert not _reaches(error, provider.leak)
    assert rows(on_own_key, "status", "cost_nano") == [("unknown", None)] * 3 + [("broken", None)] * 2
    assert provider.leak not in str(rows(on_own_key))


@both_ways
def test_a_web_page_with_200_has_an_unknown_cost(
    on_own_key: Platform, run: Run, provider: ProviderCase, upstream: ScriptedUpstream, way: str
) -> None:
    """OpenAI's and Anthropic's SDK hand it over."""
    upstream.queue("captive_portal")
    with suppress(json.JSONDecodeError):
        assert REPLY not in str(drive(run, provider, way, provider.ask))
    assert rows(on_own_key, "status", "input_tokens", "cost_nano") == [("ok", None, None)]


def test_names_of_the_provider_that_no_database_takes_do_no_harm(
    on_own_key: Platform, run: Run, provider: ProviderCase, upstream: ScriptedUpstream
) -> None:
    bodies: dict[str, Any] = {
        "openai": {
            "object": "response",
            "model": "a\0b",
            "output": [],
            "usage": {"input_tokens": 1, "output_tokens": 1},
        },
        "anthropic": {
            "type": "message",
            "model": "a\0b",
            "content": [],
            "usage": {"input_tokens": 1, "output_tokens": 1},
        },
        "google": {
            "modelVersion": "a\0b",
            "responseId": "\0",
            "candidates": [],
            "usageMetadata": {"promptTokenCount": 1, "candidatesTokenCount": 1, "totalTokenCount": 2},
        },
    }
    upstream.queue(Behaviour(status=200, json=bodies[provider.name]))
    provider.ask(run.client(provider.name))
    assert rows(on_own_key, "status", "model", "input_tokens") == [("ok", provider.model, 1)]


# --- logs ------------------------------------------------------------------------------------------


@both_ways
def test_debug_logs_do_not_hold_the_key(run: Run, provider: ProviderCase, way: str) -> None:
    """Whatever handler is attached, at any level."""
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    root = logging.getLogger()
    names = ("openai", "anthropic", "google_genai", "httpx2", "httpcore2")
    loggers = [root, *map(logging.getLogger, names)]
    levels = [logger.level for logger in loggers]
    root.addHandler(handler)
    try:
        for logger in loggers:
            logger.setLevel(logging.DEBUG)
        drive(run, provider, way, lambda client: provider.ask(client, stream=True))
        if provider.name == "openai":
            drive(run, provider, way, CALLS["chat stream"])
    finally:
        root.removeHandler(handler)
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
    assert "HTTP Request" in written.getvalue()
    assert provider.leak not in written.getvalue()
