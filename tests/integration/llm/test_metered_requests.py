"""A request that can be read in two ways does not leave on platform money; on the project's own key it passes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx2
import pytest

from lib.errors import NotMetered
from lib.llm.openai.sdk import Carried
from tests.calls import both_ways, drive, on_sqlite, rows

pytestmark = on_sqlite

SAID = b'"messages":[{"role":"user","content":"Hi"}]'
PLAIN = b'{"model":"gpt-5-nano",%s,"max_completion_tokens":5}' % SAID
TWO_WAYS: Mapping[str, bytes] = {
    "two models": b'{"model":"gpt-5-pro","model":"gpt-5-nano",%s}' % SAID,
    "two limits": b'{"model":"gpt-5-nano",%s,"max_tokens":100000,"max_tokens":1}' % SAID,
    "a limit in escapes": b'{"model":"gpt-5-nano",%s,"max_tokens":9,"max_toke\\u006es":1}' % SAID,
    "two lists of tools": b'{"model":"gpt-5-nano",%s,"tools":[{"type":"web_search"}],"tools":[]}' % SAID,
    "two names far inside": b'{"model":"gpt-5-nano","messages":[{"role":"user","content":"x","content":[]}]}',
    "another case": b'{"model":"gpt-5-nano",%s,"Model":"gpt-5-pro"}' % SAID,
    "another case of nothing": b'{"model":"gpt-5-nano",%s,"MAX_TOKENS":null}' % SAID,
    "a limit beyond range": b'{"model":"gpt-5-nano",%s,"max_tokens":9223372036854775808}' % SAID,
    "a limit beyond doubles": b'{"model":"gpt-5-nano",%s,"max_tokens":1e400}' % SAID,
    "a limit with a point": b'{"model":"gpt-5-nano",%s,"max_tokens":5.0}' % SAID,
    "a limit as text": b'{"model":"gpt-5-nano",%s,"max_tokens":"5"}' % SAID,
    "a limit that is true": b'{"model":"gpt-5-nano",%s,"max_tokens":true}' % SAID,
    "no number": b'{"model":"gpt-5-nano",%s,"temperature":NaN}' % SAID,
    "half of a character": b'{"model":"gpt-5-nano","messages":[{"role":"user","content":"\\ud800"}]}',
    "a byte order mark": b"\xef\xbb\xbf" + PLAIN,
    "something behind": PLAIN + b"{}",
    "other bytes": PLAIN.decode().encode("utf-16"),
    "nested extra body": b'{"model":"gpt-5-nano",%s,"extra_body":{"service_tier":"priority"}}' % SAID,
}
JSON_TYPE = "application/json"
AROUND: Mapping[str, tuple[str, dict[str, str]]] = {
    "an encoded body": ("/chat/completions", {"Content-Encoding": "gzip"}),
    "another charset": ("/chat/completions", {"Content-Type": "application/json; charset=utf-7"}),
    "two types in one": ("/chat/completions", {"Content-Type": "application/json, text/plain"}),
    "another method": ("/chat/completions", {"X-HTTP-Method-Override": "PUT"}),
    "another path": ("/chat/completions", {"X-Original-URL": "/v1/images/generations"}),
    "a beta": ("/chat/completions", {"OpenAI-Beta": "made-up=v1"}),
    "a query": ("/chat/completions?model=gpt-5-pro", {}),
    "two slashes": ("//chat/completions", {}),
    "escapes in the path": ("/chat/completion%73", {}),
    "a slash behind": ("/chat/completions/", {}),
    "a semicolon": ("/chat/completions;v=2", {}),
    "other letters": ("/Chat/Completions", {}),
}


def post(client: Any, path: str, body: bytes, headers: dict[str, str] | None = None) -> Any:
    options = {"headers": {"Content-Type": JSON_TYPE} | (headers or {})}
    return client.post(path, cast_to=httpx2.Response, content=body, options=options)


@both_ways
@pytest.mark.parametrize("name", TWO_WAYS)
def test_a_body_that_can_be_read_in_two_ways_is_not_sent_on_platform_money(shop, upstream, way, name):
    with shop.run("shop") as run, pytest.raises(NotMetered, match="The call was not sent: "):
        drive(run, way, lambda client: post(client, "/chat/completions", TWO_WAYS[name]))
    assert (upstream.requests, rows(shop)) == ([], [])


@both_ways
@pytest.mark.parametrize("name", AROUND)
def test_a_request_that_says_two_things_about_itself_is_not_sent_on_platform_money(shop, upstream, way, name):
    path, headers = AROUND[name]
    with shop.run("shop") as run, pytest.raises(NotMetered):
        drive(run, way, lambda client: post(client, path, PLAIN, headers))
    assert (upstream.requests, rows(shop)) == ([], [])


@both_ways
def test_the_same_request_without_a_doubt_is_sent(shop, upstream, way):
    with shop.run("shop") as run:
        drive(run, way, lambda client: post(client, "/chat/completions", PLAIN))
    assert [seen.json["max_completion_tokens"] for seen in upstream.requests] == [5]
    ((status, cost),) = rows(shop, "status", "cost_nano")
    assert (status, cost > 0) == ("ok", True)


@both_ways
@pytest.mark.parametrize("name", TWO_WAYS)
def test_on_the_projects_own_key_such_a_body_passes_as_it_is(byok, run, upstream, way, name):
    upstream.queue({"status": 200, "json": {"model": "gpt-5-pro", "usage": USAGE}})
    drive(run, way, lambda client: post(client, "/chat/completions", TWO_WAYS[name]))
    assert [seen.body for seen in upstream.requests] == [TWO_WAYS[name]]
    ((status, read, cost),) = rows(byok, "status", "input_tokens", "cost_nano")
    assert (status, read) == ("ok", 10)
    # The limits bound a reservation alone; what an answer says of itself is priced by its own model, or unknown.
    assert cost is None or (name.startswith("a limit") and cost == OF_THE_MODEL_THAT_ANSWERED)


USAGE = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
OF_THE_MODEL_THAT_ANSWERED = 750_000  # nano-USD of gpt-5-pro, dearer than the one that was asked for


@both_ways
@pytest.mark.parametrize("name", AROUND)
def test_on_the_projects_own_key_such_a_request_passes(byok, run, upstream, way, name):
    path, headers = AROUND[name]
    upstream.queue({"status": 200, "json": {"model": "gpt-5-nano", "usage": USAGE}})
    drive(run, way, lambda client: post(client, path, PLAIN, headers))
    assert [seen.body for seen in upstream.requests] == [PLAIN]
    assert rows(byok, "status") == ["ok"]


def test_two_headers_of_one_name_are_not_sent_on_platform_money(shop, upstream):
    """The SDK keeps one of each; whoever builds the request by hand may send two."""
    twice = [("Content-Type", JSON_TYPE), ("Content-Type", "text/plain")]
    request = httpx2.Request("POST", f"{upstream.base_url}/chat/completions", headers=twice, content=PLAIN)
    with shop.run("shop") as run, pytest.raises(Carried, match="not plain JSON"):
        run.openai._client.send(request)
    assert upstream.requests == []
