"""A provider to test against: a real HTTP/1.1 server on loopback that answers as the real ones do, and misbehaves on demand.

Who names a version of Anthropic's interface is answered as Anthropic does, who asks under a version of Google's as
Google does, anybody else as OpenAI.

In a test::

    with ScriptedUpstream() as upstream:
        upstream.keys[GOOD_KEY] = "out_of_money"          # from now on, for this key
        upstream.queue("server_error", times=2)           # the next two requests, whoever asks
        upstream.queue(Behaviour(status=418, json={}))    # anything else
        upstream.usage["gpt-5-mini"] = Usage(input=2048, cached=1920, output=900, reasoning=832)
        upstream.requests                                 # what arrived

For a browser test, in a process of its own: ``python -m tests.upstream --port 9001``; it is told what
to do over HTTP (``POST /_control``, see ``_Script.control``), and ``GET /_control`` shows what arrived.
"""

from __future__ import annotations

import argparse
import json
import ssl
import threading
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import urlsplit

from tests import upstream_anthropic, upstream_google
from tests.upstream_answers import Answer, Usage, answer, no_key, wrong_key
from tests.upstream_behaviours import BEHAVIOURS, Behaviour, Told, behaviour

GOOD_KEY = "sk-test-good-key-0001"
OTHER_KEY = "sk-test-good-key-0002"
PLATFORM_KEY = "sk-test-platform-key-0003"
WRONG_KEY = "sk-test-wrong-key-0009"
CLAUDE_KEY = "sk-ant-test-good-key-0001"
CLAUDE_OTHER_KEY = "sk-ant-test-good-key-0002"
CLAUDE_PLATFORM_KEY = "sk-ant-test-platform-0003"
CLAUDE_WRONG_KEY = "sk-ant-test-wrong-key-0009"
GEMINI_KEY = "AQ.Ab-test-good-key-0001"
GEMINI_OTHER_KEY = "AIza-test-good-key-of-the-old-kind-0002"
GEMINI_PLATFORM_KEY = "AQ.Ab-test-platform-key-0003"
GEMINI_WRONG_KEY = "AQ.Ab-test-wrong-key-0009"
_GOOD_KEYS = (
    *(GOOD_KEY, OTHER_KEY, PLATFORM_KEY),
    *(CLAUDE_KEY, CLAUDE_OTHER_KEY, CLAUDE_PLATFORM_KEY),
    *(GEMINI_KEY, GEMINI_OTHER_KEY, GEMINI_PLATFORM_KEY),
)
REPLY = "Hello from the scripted upstream."

__all__ = [
    "CLAUDE_KEY",
    "CLAUDE_OTHER_KEY",
    "CLAUDE_PLATFORM_KEY",
    "CLAUDE_WRONG_KEY",
    "GEMINI_KEY",
    "GEMINI_OTHER_KEY",
    "GEMINI_PLATFORM_KEY",
    "GEMINI_WRONG_KEY",
    "GOOD_KEY",
    "OTHER_KEY",
    "PLATFORM_KEY",
    "WRONG_KEY",
    "Behaviour",
    "ScriptedUpstream",
    "Seen",
    "Usage",
]


@dataclass
class Seen:
    """One request as it arrived. ``finished`` turns true when its whole answer was written."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    key: str | None
    finished: bool = False
    query: str = ""
    speaks: str = "openai"

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class _Script:
    """What the server is told to do and what it saw; shared by its threads."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.closing = threading.Event()
        self.reset()

    def reset(self) -> None:
        self.keys: dict[str, Told] = dict.fromkeys(_GOOD_KEYS, "good")
        self.usage: dict[str, Usage] = {}
        self.reply = REPLY
        self.requests: list[Seen] = []
        self.queued: list[Behaviour] = []
        self.count = 0

    def arrive(self, seen: Seen) -> tuple[int, Behaviour | Answer]:
        """Record a request; return its number and how to answer it."""
        with self.lock:
            self.requests.append(seen)
            self.count += 1
            for place, waiting in enumerate(self.queued):
                if _applies(waiting, seen):
                    return self.count, self.queued.pop(place)
            if seen.key is None or (told := self.keys.get(seen.key)) is None:
                return self.count, _turned_away(seen)
            chosen = behaviour(told)
            return self.count, chosen if _applies(chosen, seen) else BEHAVIOURS["good"]

    def control(self, told: dict[str, Any]) -> None:
        """Do as another process says: ``reset``, ``keys`` (null forgets one), ``queue``, ``usage``, ``reply``."""
        if told.get("reset"):
            self.reset()
        for key, how in told.get("keys", {}).items():
            if how is None:
                self.keys.pop(key, None)
            else:
                behaviour(how)
                self.keys[key] = how
        self.queued += [behaviour(how) for how in told.get("queue", [])]
        self.usage |= {model: Usage(**tokens) for model, tokens in told.get("usage", {}).items()}
        self.reply = told.get("reply", self.reply)

    def state(self) -> dict[str, Any]:
        return {
            "keys": {
                key: how if isinstance(how, (str, dict)) else "custom" for key, how in self.keys.items()
            },
            "behaviours": sorted(BEHAVIOURS),
            "requests": [
                {f.name: getattr(seen, f.name) for f in fields(seen)}
                | {"body": seen.body.decode(errors="replace")}
                for seen in self.requests
            ],
        }

    def answer(self, number: int, seen: Seen, how: Behaviour) -> Answer:
        try:
            asked = seen.json if seen.body else None
        except ValueError:
            asked = None
        model = str(asked.get("model")) if isinstance(asked, dict) else ""
        usage = self.usage.get(model) or self.usage.get("*") or Usage()
        if seen.speaks != "openai":
            other = upstream_anthropic if seen.speaks == "anthropic" else upstream_google
            return other.answer(seen.method, seen.path, asked, number=number, reply=self.reply, usage=usage)
        return answer(
            seen.method,
            seen.path,
            asked,
            number=number,
            reply=self.reply,
            usage=usage,
            stream_usage=how.stream_usage,
        )


def _turned_away(seen: Seen) -> Answer:
    if seen.speaks != "openai":
        other = upstream_anthropic if seen.speaks == "anthropic" else upstream_google
        return other.no_key() if seen.key is None else other.wrong_key()
    return no_key() if seen.key is None else wrong_key(seen.key)


def _applies(how: Behaviour, seen: Seen) -> bool:
    return not how.only or seen.method in how.only or seen.path in how.only


def _language(path: str, headers: dict[str, str]) -> str:
    """Which provider the asker takes this server for."""
    if path.startswith(("/v1beta/", "/upload/")):
        return "google"
    return "anthropic" if "anthropic-version" in headers else "openai"


class _Gone(Exception):
    """The connection is to be closed now."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: _Server

    def handle(self) -> None:
        with suppress(OSError, _Gone):
            super().handle()

    def finish(self) -> None:
        with suppress(OSError):
            super().finish()

    def log_message(self, *_: object) -> None:
        """Say nothing: a log line would hold what the test looks for."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("do_"):
            return self._serve
        raise AttributeError(name)

    # --- what arrived

    def _serve(self) -> None:
        path, body = urlsplit(self.path).path, self._read()
        headers = {name.lower(): value for name, value in self.headers.items()}
        script = self.server.script
        if path == "/_control":
            self._control(body)
            return
        speaks = _language(path, headers)
        bearer = headers.get("authorization", "")
        key = bearer.removeprefix("Bearer ") if bearer.startswith("Bearer ") else None
        seen = Seen(
            self.command,
            path.removeprefix("/v1beta" if speaks == "google" else "/v1"),
            headers,
            body,
            headers.get("x-goog-api-key") if speaks == "google" else key,
            query=urlsplit(self.path).query,
            speaks=speaks,
        )
        number, how = script.arrive(seen)
        if isinstance(how, Answer):
            self._whole(how.status, how.raw, self._headers(number, Behaviour(), seen))
        else:
            self._behave(number, seen, how)
        seen.finished = True

    def _read(self) -> bytes:
        if self.headers.get("transfer-encoding", "").lower() == "chunked":
            parts = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("content-length", 0)))

    def _control(self, body: bytes) -> None:
        script = self.server.script
        try:
            if self.command == "POST":
                with script.lock:
                    script.control(json.loads(body or b"{}"))
            with script.lock:
                status, raw = 200, json.dumps(script.state()).encode()
        except (ValueError, TypeError, KeyError, AttributeError) as problem:
            status, raw = 400, json.dumps({"error": repr(problem)}).encode()
        self._whole(status, raw, {"content-type": "application/json"})

    # --- how it is answered

    def _headers(self, number: int, how: Behaviour, seen: Seen) -> dict[str, str]:
        request_id = f"req_{number:08x}"
        own = {"x-request-id": request_id, "openai-version": "2020-10-01"}
        if seen.speaks == "anthropic":
            own = {"request-id": request_id, "anthropic-workspace-id": "wrkspc_test"}
        if seen.speaks == "google":
            own = {"x-gemini-service-tier": "standard"}
        common = {"content-type": "application/json"} | own
        return common | {name: self._fill(value, seen) for name, value in how.headers.items()}

    def _fill(self, text: str, seen: Seen) -> str:
        return text.replace("{key}", seen.key or "").replace(
            "{base}", f"http://localhost:{self.server.server_port}"
        )

    def _behave(self, number: int, seen: Seen, how: Behaviour) -> None:
        self._wait(how.delay)
        headers = self._headers(number, how, seen)
        self._fail(how, headers, (seen.key or "")[3:])
        if how.status is not None:
            raw = how.text if how.text is not None else json.dumps(how.json)
            body = self._fill(raw, seen).encode(how.charset) + b"<p>padding</p>\n" * (how.pad // 15)
            self._whole(how.status, body, headers, how)
            return
        good = how.streamed() or self.server.script.answer(number, seen, how)
        if good.events is None:
            self._whole(good.status, good.raw, headers, how)
        else:
            self._stream(good.events, headers | {"content-type": "text/event-stream; charset=utf-8"}, how)

    def _fail(self, how: Behaviour, headers: dict[str, str], most_of_key: str) -> None:
        """The faults after which nothing more comes; some answers that are hardly HTTP hold most of the key."""
        chunked = self._head(200, headers | {"transfer-encoding": "chunked"})
        dripping: dict[str, tuple[bytes, bytes]] = {
            "drip_headers": (b"HTTP/1.1 200 OK\r\nx-drip: ", b"a"),
            "drip_body": (chunked, b"1\r\n \r\n"),
            "drip_chunk_length": (chunked + b"1;", b"a"),
            "interim": (b"", b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"),
        }
        broken = {
            "drop": b"",
            "bad_chunk": chunked + f"{most_of_key}\r\n".encode(),
            "bad_header": f"HTTP/1.1 200 OK\r\n{most_of_key}\r\n\r\n".encode(),
            "bad_reason": f"HTTP/1.1 200 It's {most_of_key}\r\nx-more: {most_of_key}\r\n\r\n".encode(),
        }
        if how.fault == "hang":
            self._wait(3600)
        if how.fault in dripping:
            first, drop = dripping[how.fault]
            self._drip(first, how, drop)
        if how.fault in broken:
            self._send(broken[how.fault])
            raise _Gone

    def _wait(self, seconds: float) -> None:
        if seconds and self.server.script.closing.wait(seconds):
            raise _Gone

    def _head(self, status: int, headers: dict[str, str]) -> bytes:
        lines = [f"HTTP/1.1 {status} {self.responses.get(status, ('Scripted',))[0]}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")

    def _send(self, data: bytes) -> None:
        self.wfile.write(data)
        self.wfile.flush()

    def _drip(self, first: bytes, how: Behaviour, drop: bytes) -> None:
        self._send(first)
        while True:
            self._wait(how.interval)
            self._send(drop)

    def _whole(
        self, status: int, body: bytes, headers: dict[str, str], how: Behaviour = BEHAVIOURS["good"]
    ) -> None:
        if how.gzip:
            squeeze = zlib.compressobj(wbits=31)
            body, headers = squeeze.compress(body) + squeeze.flush(), headers | {"content-encoding": "gzip"}
        head = self._head(status, headers | {"content-length": str(len(body))})
        if how.fault in {"truncate", "break"}:
            self._send(head + body[: len(body) // 2])
            raise _Gone
        self._send(head if self.command == "HEAD" else head + body)

    def _stream(self, events: list[tuple[str | None, str]], headers: dict[str, str], how: Behaviour) -> None:
        if how.gzip:
            headers = headers | {"content-encoding": "gzip"}
        self._send(self._head(200, headers | {"transfer-encoding": "chunked"}))
        for place, data in enumerate(_encoded(events, gzip=how.gzip)):
            if how.fault in {"break", "truncate"} and place >= how.break_after:
                raise _Gone
            if place:
                self._wait(how.event_delay)
            self._send(b"%x\r\n%s\r\n" % (len(data), data))
        self._send(b"0\r\n\r\n")


def _encoded(events: list[tuple[str | None, str]], *, gzip: bool) -> Iterator[bytes]:
    squeeze = zlib.compressobj(wbits=31) if gzip else None
    for place, (name, data) in enumerate(events):
        raw = (f"event: {name}\n" if name else "").encode() + f"data: {data}\n\n".encode()
        if squeeze is None:
            yield raw
        else:
            last = place == len(events) - 1
            yield squeeze.compress(raw) + squeeze.flush(zlib.Z_FINISH if last else zlib.Z_SYNC_FLUSH)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 256

    def __init__(self, port: int, script: _Script) -> None:
        self.script = script
        super().__init__(("127.0.0.1", port), _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no error of ours."""


class ScriptedUpstream:
    """The server, for a ``with`` block. See the module's own text."""

    def __init__(
        self, keys: dict[str, Told] | None = None, *, port: int = 0, tls: ssl.SSLContext | None = None
    ) -> None:
        self._script = _Script()
        self._script.keys |= keys or {}
        self._server = _Server(port, self._script)
        self._scheme = "https" if tls else "http"
        if tls:  # the handshake is for the request's own thread, at its first read
            self._server.socket = tls.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._script.closing.set()
        self._server.shutdown()
        self._server.server_close()

    @property
    def port(self) -> int:
        return self._server.server_port

    @property
    def base_url(self) -> str:
        return f"{self._scheme}://127.0.0.1:{self.port}/v1"

    @property
    def root_url(self) -> str:
        """Where it is for who writes the version into each path."""
        return self.base_url.removesuffix("/v1")

    @property
    def keys(self) -> dict[str, Told]:
        """How each key is treated; a key that is not here is wrong."""
        return self._script.keys

    @property
    def usage(self) -> dict[str, Usage]:
        """Tokens to report, by model; ``"*"`` for the rest."""
        return self._script.usage

    @property
    def requests(self) -> list[Seen]:
        return self._script.requests

    def reply(self, text: str) -> None:
        """Answer with this text from now on."""
        self._script.reply = text

    def queue(self, told: Told, *, times: int = 1, only: tuple[str, ...] = ()) -> None:
        """Answer the next ``times`` requests (that ``only`` fits) this way, whatever key they carry."""
        how = behaviour(told)
        with self._script.lock:
            self._script.queued += [replace(how, only=only or how.only)] * times

    def reset(self) -> None:
        """Forget everything, as after the start."""
        with self._script.lock:
            self._script.reset()


def main() -> None:
    parser = argparse.ArgumentParser(description="Serve a scripted OpenAI on loopback.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--key", action="append", default=[], metavar="KEY[=BEHAVIOUR]")
    asked = parser.parse_args()
    keys: dict[str, Told] = {}
    for pair in asked.key:
        key, _, how = pair.partition("=")
        keys[key] = how or "good"
    with ScriptedUpstream(keys, port=asked.port) as upstream:
        print(upstream.base_url, flush=True)
        with suppress(KeyboardInterrupt):
            threading.Event().wait()


if __name__ == "__main__":
    main()
