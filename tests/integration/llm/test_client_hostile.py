"""OpenAI's SDK and careless callers: nothing gets past the meter. What all providers share is in test_hostile_upstream.py."""

from __future__ import annotations

from typing import Any

import httpx2
import openai
import pytest
from packaging.version import Version

from lib.errors import NotMetered
from lib.llm.openai.provider import OpenAI
from tests.calls import CALLS, ask, both_ways, drive, on_sqlite, rows
from tests.upstream import GOOD_KEY, OTHER_KEY, Behaviour

pytestmark = on_sqlite


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


@both_ways
def test_redirects_are_not_followed(byok, run, upstream, way):
    upstream.queue("redirect")
    with pytest.raises(openai.APIStatusError):
        drive(run, way, lambda client: ask(client, extra_body={"follow_redirects": True}))
    assert len(upstream.requests) == 1
    assert rows(byok, "status", "http_status", "cost_nano") == [("error", 307, 0)]


# --- a hostile provider ----------------------------------------------------------------------------


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
