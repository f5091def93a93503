"""A hostile environment, a hostile provider and careless callers: no key gets out and nothing gets past the meter."""

from __future__ import annotations

import asyncio
import gc
import io
import json
import logging
import pickle
import traceback
import types
import zlib
from contextlib import suppress
from itertools import product
from typing import Any

import httpx2
import openai
import pytest
from packaging.version import Version

from lib.errors import NotMetered
from lib.llm.openai.provider import OpenAI
from tests.calls import CALLS, ask, both_ways, drive, loaned, on_sqlite, rows
from tests.upstream import GOOD_KEY, OTHER_KEY, Behaviour, Usage

pytestmark = on_sqlite
LEAK = "good-key"  # the part of GOOD_KEY that stands nowhere else


# --- the environment -------------------------------------------------------------------------------

HOSTILE = {
    "OPENAI_API_KEY": OTHER_KEY,
    "OPENAI_ADMIN_KEY": OTHER_KEY,
    "OPENAI_ORG_ID": "org-hostile",
    "OPENAI_PROJECT_ID": "proj-hostile",
    "OPENAI_WEBHOOK_SECRET": "hostile",
    "OPENAI_BASE_URL": "http://hostile.invalid/v1",
    "OPENAI_CUSTOM_HEADERS": f"Authorization: Bearer {OTHER_KEY}\nX-Hostile: 1\nOpenAI-Organization: org-hostile",
    "HTTP_PROXY": "http://hostile.invalid:1",
    "HTTPS_PROXY": "http://hostile.invalid:1",
    "ALL_PROXY": "http://hostile.invalid:1",
    "SSL_CERT_FILE": "/nowhere",
}


@both_ways
@pytest.mark.parametrize("copied", [False, True])
def test_nothing_of_the_environment_reaches_a_request(byok, run, upstream, monkeypatch, way, copied):
    for name, value in HOSTILE.items():
        monkeypatch.setenv(name, value)
        monkeypatch.setenv(name.lower(), value)
    drive(run, way, lambda client: ask(client.copy() if copied else client))
    (seen,) = upstream.requests
    assert seen.key == GOOD_KEY
    assert "hostile" not in str(seen.headers).lower()
    assert OTHER_KEY not in str(vars(run.openai))


@both_ways
def test_headers_of_the_caller_cannot_replace_the_key_or_name_another_account(byok, run, upstream, way):
    theirs = {
        "Authorization": f"Bearer {OTHER_KEY}",
        "OpenAI-Organization": "org-mine",
        "OpenAI-Project": "proj-mine",
        "api-key": OTHER_KEY,
        "X-Api-Key": OTHER_KEY,
        "Cookie": "a=b",
        "Proxy-Authorization": "Basic x",
        "Host": "hostile.invalid",
        "Accept-Encoding": "br",
        "X-Mine": "1",
    }
    drive(run, way, lambda client: ask(client, extra_headers=theirs))
    headers = upstream.requests[0].headers
    assert (headers["authorization"], headers["x-mine"]) == (f"Bearer {GOOD_KEY}", "1")
    assert (headers["host"], headers["accept-encoding"]) == (f"127.0.0.1:{upstream.port}", "identity")
    assert OTHER_KEY not in str(headers)
    assert not {"openai-organization", "openai-project", "cookie", "proxy-authorization"} & set(headers)


def test_cookies_of_the_provider_are_not_sent_back(byok, run, upstream):
    upstream.queue(Behaviour(headers={"set-cookie": "track=1"}))
    ask(run.openai)
    ask(run.openai)
    assert "cookie" not in upstream.requests[1].headers


# --- ways around the meter -------------------------------------------------------------------------

WEBSOCKETS = {
    "responses": lambda c: c.responses.connect(),
    "realtime": lambda c: c.realtime.connect(model="gpt-realtime"),
    "translations": lambda c: c.realtime.translations.connect(model="gpt-realtime-translate"),
    "live": lambda c: c.live.connect(model="gpt-live-1"),
    "live sideband": lambda c: c.live.sideband.connect(session_id="s"),
    "live forks": lambda c: c.live.forks.connect(session_id="s"),
    "beta realtime": lambda c: c.beta.realtime.connect(model="gpt-realtime"),
    "beta responses": lambda c: c.beta.responses.connect(),
    "of a copy": lambda c: c.with_options(timeout=1).responses.connect(),
    "of a copied copy": lambda c: c.copy().copy().realtime.connect(model="gpt-realtime"),
}


@both_ways
@pytest.mark.parametrize("name", WEBSOCKETS)
def test_no_websocket_is_opened(run, upstream, way, name):
    client = run.openai if way == "sync" else run.async_openai
    try:
        with pytest.raises(NotMetered, match="WebSocket"):
            WEBSOCKETS[name](client)
    except AttributeError:
        assert name.partition(" ")[0] in {"live", "translations"}
        assert Version(openai.__version__) < Version("3.54"), "this way was there"
        pytest.skip("an SDK that does not know it yet")
    assert upstream.requests == []


@both_ways
def test_no_resource_of_the_sdk_keeps_a_way_to_connect(run, way):
    """Whatever a newer SDK adds, at any depth."""
    waiting: list[Any] = [run.openai if way == "sync" else run.async_openai]
    seen: set[type] = set()
    while waiting:
        owner = waiting.pop()
        kind = type(owner)
        if kind in seen:
            continue
        seen.add(kind)
        if hasattr(kind, "connect"):
            with pytest.raises(NotMetered):
                owner.connect()
        names = [name for name in dir(kind) if not name.startswith("_")]
        parts = [
            getattr(owner, name) for name in names if "cached_property" in type(_static(kind, name)).__name__
        ]
        waiting += [part for part in parts if type(part).__module__.startswith("openai.resources")]
    assert len(seen) > 40


def _static(kind: type, name: str) -> object:
    return next(vars(base)[name] for base in kind.__mro__ if name in vars(base))


@both_ways
@pytest.mark.parametrize(
    "option",
    [
        {"base_url": "http://127.0.0.1:1/v1"},
        {"websocket_base_url": "ws://127.0.0.1:1"},
        {"http_client": object()},
        {"data_residency": "eu"},
        {"admin_api_key": OTHER_KEY},
        {"workload_identity": {}},
        {"something_new": 1},
    ],
    ids=lambda option: next(iter(option)),
)
def test_a_copy_cannot_go_elsewhere(run, way, option):
    client = run.openai if way == "sync" else run.async_openai
    if option == {"workload_identity": {}}:
        option = {"workload_identity": {"client_id": "x"}}
    with pytest.raises(NotMetered):
        client.with_options(**option)


@both_ways
def test_a_copy_with_another_key_or_account_ignores_them(run, upstream, way):
    drive(
        run,
        way,
        lambda client: ask(
            client.with_options(api_key=OTHER_KEY, organization="org-mine", project="proj-mine")
        ),
    )
    assert upstream.requests[0].key == GOOD_KEY
    assert "mine" not in str(upstream.requests[0].headers)


@pytest.mark.parametrize(
    "address",
    [
        "http://127.0.0.1:1/v1/responses",
        "http://localhost:{port}/v1/responses",
        "https://127.0.0.1:{port}/v1/responses",
        "http://127.0.0.1:{port}/v2/responses",
        "http://127.0.0.1:{port}/v1extra/responses",
        "http://127.0.0.1:{port}/v1/%2e%2e/responses",
        "http://127.0.0.1:{port}/v1/%252e%252e/responses",
        "http://127.0.0.1:{port}/v1/..%2fresponses",
        "http://127.0.0.1:{port}/v1/..%5cresponses",
        "http://user:name@127.0.0.1:{port}/v1/responses",
    ],
)
@both_ways
def test_a_request_to_another_address_is_not_sent(byok, run, upstream, way, address):
    with pytest.raises(NotMetered):
        drive(
            run,
            way,
            lambda client: client.post(
                address.format(port=upstream.port), cast_to=object, body={"model": "gpt-5"}
            ),
        )
    assert (upstream.requests, rows(byok)) == ([], [])


def test_a_client_whose_address_was_changed_sends_nothing(byok, run, upstream):
    run.openai.base_url = "http://127.0.0.1:1/v1"
    with pytest.raises(NotMetered):
        ask(run.openai)
    assert rows(byok) == []


@both_ways
def test_redirects_are_not_followed(byok, run, upstream, way):
    upstream.queue("redirect")
    with pytest.raises(openai.APIStatusError):
        drive(run, way, lambda client: ask(client, extra_body={"follow_redirects": True}))
    assert len(upstream.requests) == 1
    assert rows(byok, "status", "http_status", "cost_nano") == [("error", 307, 0)]


# --- a hostile provider ----------------------------------------------------------------------------


def spy(log: list[BaseException], way: str, run: Any, what: Any) -> None:
    with pytest.raises((openai.OpenAIError, httpx2.TransportError)) as failed:  # raw in older SDKs' streams
        drive(run, way, what)
    log.append(failed.value)


FAILURES = ["echo", "echo_400", "echo_500", "drop", "truncated", "broken_stream", "detail_400"]


@both_ways
@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("name", ["chat stream", "responses"])
def test_no_failure_carries_the_key(byok, run, upstream, caplog, way, failure, name):
    """Not in its text, its traceback's locals, its pickle, its response, the log or the database."""
    caplog.set_level(logging.DEBUG)
    upstream.queue(failure)
    if failure == "broken_stream" and name == "responses":
        upstream.reset()
        upstream.queue("truncated")
    log: list[BaseException] = []
    spy(log, way, run, lambda client: CALLS[name](client.with_options(max_retries=0)))
    (error,) = log
    told = "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
    assert LEAK not in told
    assert LEAK not in str(error) + repr(error) + repr(vars(error))
    assert LEAK.encode() not in pickle.dumps(error)
    assert not _reaches(error, LEAK)
    assert LEAK not in caplog.text
    assert all(LEAK not in str(record.__dict__) for record in caplog.records)
    assert LEAK not in str(rows(byok))
    response = getattr(error, "response", None)
    if response is not None:
        assert LEAK not in str(response.headers) + response.text


def _reaches(start: BaseException, text: str) -> bool:
    """Whether ``text`` is found in anything that hangs on an exception: its causes, frames and their locals."""
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


PIECES = [GOOD_KEY, GOOD_KEY[3:], GOOD_KEY[:16], GOOD_KEY[5:17]]


@both_ways
@pytest.mark.parametrize("name", ["chat stream", "responses stream", "chat", "responses"])
@pytest.mark.parametrize("piece", PIECES)
def test_an_error_inside_a_good_answer_carries_no_piece_of_the_key(byok, run, upstream, way, name, piece):
    error = {"message": f"Bad key {piece}, sorry.", "type": "x", "code": piece}
    if name.endswith("stream"):
        text, kind = f"data: {json.dumps({'error': error})}\n\n", "text/event-stream"
    else:
        text, kind = json.dumps({"object": "response", "output": [], "error": error}), "application/json"
    upstream.queue(Behaviour(status=200, text=text, headers={"content-type": kind}))
    if name.endswith("stream"):
        log: list[BaseException] = []
        spy(log, way, run, CALLS[name])
        assert not _reaches(log[0], LEAK)
        told = str(log[0]) + str(vars(log[0]))
    else:
        told = str(drive(run, way, CALLS[name]))
    assert not _shared(told, piece)
    ((status, message, code),) = rows(byok, "status", "error_message", "error_code")
    assert (status, message, code) == ("broken", "Bad key [key hidden], sorry.", "[key hidden]")


def _shared(text: str, key: str) -> list[str]:
    return [key[at : at + 8] for at in range(len(key) - 7) if key[at : at + 8] in text]


@both_ways
@pytest.mark.parametrize("name", ["chat stream", "responses stream", "chat", "responses", "embeddings"])
def test_a_good_answer_does_not_say_the_key(byok, run, upstream, way, name):
    upstream.reply(f"Your key is {GOOD_KEY}.")
    answer = drive(run, way, CALLS[name])
    assert GOOD_KEY not in str(answer)
    assert rows(byok, "status") == ["ok"]


@both_ways
def test_a_connection_that_breaks_off_with_the_key_does_not_tell_it(byok, run, upstream, way):
    upstream.queue(Behaviour(fault="bad_chunk"))
    log: list[BaseException] = []
    spy(log, way, run, lambda client: ask(client.with_options(max_retries=0)))
    assert not _reaches(log[0], LEAK)
    ((status, message),) = rows(byok, "status", "error_message")
    assert status == "broken"
    assert LEAK not in message


CHARSETS = ["utf-16", "utf-16-be", "utf-32", "utf-7", "cp037", "cp500", "latin-1", "utf-8-sig"]


@both_ways
@pytest.mark.parametrize("declared", ["itself", "another", "none"])
def test_no_charset_hides_the_key_of_an_error_answer(byok, run, upstream, way, declared):
    """Nor do its parts, to whoever reads the text, the bytes, or the JSON."""
    said = {"error": {"message": "No: {key} ä", "type": "invalid_request_error", "code": "{key}"}}
    text = json.dumps(said, ensure_ascii=False)
    for charset in CHARSETS:
        parameter = {"itself": f"; charset={charset}", "another": "; charset=utf-8", "none": ""}[declared]
        headers = {"content-type": f"application/json{parameter}"}
        upstream.queue(Behaviour(status=400, text=text, headers=headers, charset=charset))
        log: list[BaseException] = []
        spy(log, way, run, lambda client: ask(client.with_options(max_retries=0)))
        response = log[0].response
        told = [str(log[0]), str(vars(log[0])), response.text, response.content.decode(), str(rows(byok))]
        assert LEAK not in "".join(told), charset
        assert LEAK not in response.content.decode(charset, "replace")
        assert "charset" not in response.headers["content-type"]
        if declared == "itself":
            assert (log[0].body["type"], response.encoding) == ("invalid_request_error", "utf-8")


@both_ways
def test_a_charset_that_cannot_be_leaves_an_error_answer_readable(byok, run, upstream, way):
    texts = ('{"error": {"message": "No: {key}."}}', '{"error": {"message": "Nö: {key}."}}\0')
    for charset, text in product(["hex", "rot13", "idna", "undefined", "no-such", "é", '"utf-16"'], texts):
        headers = {"content-type": f"application/json; charset={charset}"}
        upstream.queue(Behaviour(status=400, text=text, headers=headers))
        log: list[BaseException] = []
        spy(log, way, run, lambda client: ask(client.with_options(max_retries=0)))
        assert "[key hidden]" in log[0].response.text
        assert LEAK not in str(log[0]) + log[0].response.text


@both_ways
@pytest.mark.parametrize("charset", ["utf-8", "utf-16"])
def test_no_compression_hides_the_key_of_an_error_answer(byok, run, upstream, way, charset):
    text = '{"error": {"message": "No: {key}."}}'
    encodings = ["gzip", "deflate", "br", "zstd", "x-gzip", "gzip, gzip", "no-such"]
    for encoding, gzip in product(encodings, (True, False)):
        headers = {"content-encoding": encoding, "content-type": f"application/json; charset={charset}"}
        upstream.queue(Behaviour(status=400, text=text, headers=headers, charset=charset, gzip=gzip))
        log: list[BaseException] = []
        spy(log, way, run, lambda client: ask(client.with_options(max_retries=0)))
        response = log[0].response
        assert "content-encoding" not in response.headers
        assert LEAK not in str(log[0]) + response.text + response.content.decode(charset, "replace")
        with suppress(zlib.error):
            assert LEAK.encode() not in zlib.decompressobj(wbits=47).decompress(response.content)


@both_ways
@pytest.mark.parametrize("name", ["chat stream", "responses"])
def test_no_answer_carries_the_key(byok, run, upstream, way, name):
    upstream.queue("echo_good")

    async def raw() -> Any:
        client = loaned(run)
        answer = await client.responses.with_raw_response.create(model="gpt-5", input="Hi")
        await client.close()
        return answer.http_response

    if way == "async":
        response = asyncio.run(raw())
    elif name == "responses":
        response = run.openai.responses.with_raw_response.create(model="gpt-5", input="Hi").http_response
    else:
        stream = CALLS[name](run.openai)
        next(stream)
        response = stream.response
    assert LEAK not in str(response.headers) + str(response.request.headers)
    assert LEAK.encode() not in pickle.dumps(response.request)
    found = [one for one in _hanging_on(response) if isinstance(one, str | bytes) and LEAK in _text(one)]
    assert found == []
    response.close() if way == "sync" else None
    assert LEAK not in str(rows(byok))


def test_no_client_carries_the_key(run):
    ask(run.openai)
    client = run.openai
    assert LEAK not in str(vars(client)) + repr(client) + str(vars(client._client)) + client.api_key
    assert not any(LEAK in _text(one) for one in _hanging_on(client) if isinstance(one, str | bytes))


@both_ways
def test_a_lying_provider_makes_tokens_unknown_and_nothing_fails(byok, run, upstream, way):
    for lie in (
        Usage(input=-5, cached=0, output=1),
        Usage(input=1, cached=2, output=1),
        Usage(input=10**15, output=0),
    ):
        upstream.usage["*"] = lie
        drive(run, way, CALLS["responses"])
        drive(run, way, CALLS["chat stream"])
    assert set(rows(byok, "status", "input_tokens", "cost_nano")) == {("ok", None, None)}


@both_ways
def test_a_huge_error_page_is_cut(byok, run, upstream, way):
    upstream.queue("huge_html")
    with pytest.raises(openai.InternalServerError) as failed:
        drive(run, way, lambda client: ask(client.with_options(max_retries=0)))
    assert len(failed.value.response.content) <= 1024 * 1024
    ((status, message),) = rows(byok, "status", "error_message")
    assert status == "unknown"
    assert len(message) <= 600


@both_ways
@pytest.mark.parametrize("failure", ["hang", "drip_headers"])
def test_a_time_out_has_an_unknown_outcome(byok, run, upstream, way, failure):
    upstream.queue(failure)
    with pytest.raises(openai.APITimeoutError if failure == "hang" else openai.APIConnectionError):
        drive(run, way, lambda client: ask(client.with_options(timeout=_short(failure), max_retries=0)))
    assert rows(byok, "status", "cost_nano", "error_type") == [("unknown", None, "connection")]


def _short(failure: str) -> httpx2.Timeout:
    return httpx2.Timeout(5, read=0.2 if failure == "hang" else 0.05)


@both_ways
@pytest.mark.parametrize("name", ["chat", "chat stream"])
def test_an_answer_that_drips_ends_as_a_time_out(byok, run, upstream, monkeypatch, way, name):
    """Each byte is in time; all of them are not."""
    monkeypatch.setattr("lib.llm.metering.attempt.LONGEST_CALL", 0.3)
    upstream.queue(Behaviour(fault="drip_body", interval=0.05))
    with pytest.raises((openai.APITimeoutError, httpx2.ReadTimeout)):  # raw in older SDKs' streams
        drive(run, way, lambda client: CALLS[name](client.with_options(timeout=5, max_retries=0)))
    assert rows(byok, "status", "cost_nano", "error_code") == [("broken", None, "ReadTimeout")]


@both_ways
@pytest.mark.parametrize("fault", ["drip_headers", "interim"])
def test_an_answer_that_never_begins_ends_as_a_time_out(byok, run, upstream, monkeypatch, way, fault):
    """Headers that drip, and interim answers without end: each piece is in time, and none reaches the SDK."""
    monkeypatch.setattr("lib.llm.metering.attempt.LONGEST_CALL", 0.3)
    upstream.queue(Behaviour(fault=fault, interval=0.05))
    with pytest.raises(openai.APITimeoutError):
        drive(run, way, lambda client: ask(client.with_options(timeout=5, max_retries=0)))
    assert rows(byok, "status", "cost_nano", "error_code") == [("unknown", None, "ReadTimeout")]


@both_ways
def test_a_piece_that_never_comes_to_its_end_ends_as_a_time_out(byok, run, upstream, monkeypatch, way):
    """The length of a chunk drips: no byte of the body comes, so nobody who reads it could look at a clock."""
    monkeypatch.setattr("lib.llm.metering.attempt.LONGEST_CALL", 0.3)
    upstream.queue(Behaviour(fault="drip_chunk_length", interval=0.05))
    with pytest.raises((openai.APITimeoutError, httpx2.ReadTimeout)):
        drive(run, way, lambda client: ask(client.with_options(timeout=5, max_retries=0)))
    assert rows(byok, "status", "cost_nano", "error_code") == [("broken", None, "ReadTimeout")]


@both_ways
def test_an_error_page_that_drips_does_not_hold_the_caller(byok, run, upstream, monkeypatch, way):
    monkeypatch.setattr("lib.llm.metering.transport.ERROR_PATIENCE", 0)
    monkeypatch.setattr("lib.llm.metering.async_transport.ERROR_PATIENCE", 0)
    upstream.queue(Behaviour(status=500, text="<p>", pad=300_000))
    with pytest.raises(openai.InternalServerError):
        drive(run, way, lambda client: ask(client.with_options(max_retries=0)))
    assert rows(byok, "status") == ["unknown"]


@both_ways
def test_what_could_never_be_sent_is_no_call_and_one_line_in_the_runs_log(byok, settings, way):
    dead = settings.model_copy(update={"openai_base_url": "http://127.0.0.1:9/v1"})
    with byok.run("shop") as run:
        run.openai = OpenAI().client(byok.ledger, dead, run.started)
        run.async_openai = OpenAI().async_client(byok.ledger, dead, run.started)
        with pytest.raises(openai.APIConnectionError):
            drive(run, way, lambda client: ask(client.with_options(max_retries=1)))
    assert rows(byok) == []
    found = byok.runs.show(run.id, actor=byok.actor)
    [line] = found.log
    assert (found.run.calls, line.tag) == (0, "call:not_sent")


def test_names_of_the_provider_that_no_database_takes_do_no_harm(byok, run, upstream):
    body = {
        "object": "response",
        "model": "a\u0000b",
        "output": [],
        "usage": {"input_tokens": 1, "output_tokens": 1},
    }
    upstream.queue(Behaviour(status=200, json=body))
    ask(run.openai)
    assert rows(byok, "status", "model", "input_tokens") == [("ok", "gpt-5", 1)]


# --- logs ------------------------------------------------------------------------------------------


@both_ways
def test_debug_logs_do_not_hold_the_key(run, way):
    """Whatever handler is attached, at any level."""
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    root = logging.getLogger()
    loggers = [root, *(logging.getLogger(name) for name in ("openai", "httpx2", "httpcore2"))]
    levels = [logger.level for logger in loggers]
    root.addHandler(handler)
    try:
        for logger in loggers:
            logger.setLevel(logging.DEBUG)
        drive(run, way, CALLS["chat stream"])
    finally:
        root.removeHandler(handler)
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
    assert "HTTP Request" in written.getvalue()
    assert LEAK not in written.getvalue()
