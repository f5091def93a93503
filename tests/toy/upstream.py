"""The toy provider itself: a real HTTP server on loopback, scripted by key and by engine."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

OWN_KEY = "toy.live.OwnKey0000001111"
SERVICE_KEY = "toy.svc.Service000002222"
PLATFORM_KEY = "toy.svc.Platform00003333"
WRONG_KEY = "toy.live.WrongKey00009999"
COUNTED = {"read": 40, "reread": 10, "made": 20, "thought": 5}
PIECES = ("Once ", "upon a ", "time.")
_REFUSALS = {"wrong": (400, "KEY_UNKNOWN"), "poor": (403, "PURSE_EMPTY"), "fast": (429, "TOO_FAST")}


@dataclass
class Asked:
    """One request as it arrived."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]

    @property
    def key(self) -> str:
        return self.headers.get("x-toy-key", "")


@dataclass
class Script:
    """How each key fares, and how a stream ends: ``over``, ``cut``, ``fault``, or never (``waits``)."""

    keys: dict[str, str] = field(
        default_factory=lambda: dict.fromkeys((OWN_KEY, SERVICE_KEY, PLATFORM_KEY), "good")
    )
    ends: str = "over"
    closing: threading.Event = field(default_factory=threading.Event)
    asked: list[Asked] = field(default_factory=list)


class ToyUpstream:
    """Runs it in threads; use it with ``with``."""

    def __init__(self) -> None:
        self.script = Script()
        handler = type("Handler", (_Handler,), {"script": self.script})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/v9"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.script.closing.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    script: Script

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        if not self._refused(self._arrived()):
            self._whole(200, {"engines": ["tin-soldier-1"]})

    def do_POST(self) -> None:
        asked = self._arrived()
        if self._refused(asked):
            return
        if asked.body.get("lines"):
            self._stream(asked)
        else:
            self._whole(200, {"engine": "tin-soldier-1", "piece": "".join(PIECES), "counted": COUNTED})

    def _arrived(self) -> Asked:
        raw = self.rfile.read(int(self.headers.get("content-length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        asked = Asked(self.path, headers, json.loads(raw) if raw else {})
        self.script.asked.append(asked)
        return asked

    def _refused(self, asked: Asked) -> bool:
        fate = self.script.keys.get(asked.key, "wrong")
        if fate == "good":
            return False
        status, reason = _REFUSALS[fate]
        self._whole(status, {"fault": {"reason": reason, "text": f"No play with {asked.key} today"}})
        return True

    def _whole(self, status: int, content: dict[str, Any]) -> None:
        body = json.dumps(content).encode()
        self._head(status, "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _stream(self, asked: Asked) -> None:
        """Lines of JSON; each repeats the tokens so far, and the last word is ``over``."""
        self._head(200, "application/x-ndjson")
        self.send_header("Connection", "close")
        self.end_headers()
        for number, piece in enumerate(PIECES, start=1):
            counted = COUNTED | {"made": COUNTED["made"] * number // len(PIECES)}
            self._line({"engine": "tin-soldier-1", "piece": piece, "counted": counted})
        if self.script.ends == "fault":
            self._line({"fault": {"reason": "SPRING_BROKE", "text": f"Wind up {asked.key} again"}})
        elif self.script.ends == "waits":
            self.script.closing.wait()
        elif self.script.ends == "over":
            self._line({"over": True})
        self.close_connection = True

    def _line(self, content: dict[str, Any]) -> None:
        self.wfile.write(json.dumps(content).encode() + b"\n")
        self.wfile.flush()

    def _head(self, status: int, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Toy-Trace", f"trace-{len(self.script.asked)}")
