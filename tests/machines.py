"""Another machine, as far as a server can tell: a network namespace, or else an address of this one's own.

Linux lets root make a namespace with a cable to it; connections from there have an address that is no loopback.
Elsewhere connections to this machine's own outer address have one, too, at both ends.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import pytest

# Asks, from another process, in whatever namespace it runs: prints what came back, one JSON line a request.
_CLIENT = """
import http.client, json, socket, sys
for host, port, path, headers in json.load(sys.stdin):
    connection = http.client.HTTPConnection(host, port, timeout=300)
    if host.startswith("/"):
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(host)
    connection.putrequest("GET", path, skip_host=True)
    for name, value in headers.items():
        connection.putheader(name, value)
    connection.endheaders()
    answer = connection.getresponse()
    body = "" if answer.status == 101 else answer.read().decode(errors="replace")
    print(json.dumps([answer.status, dict(answer.getheaders()), body]), flush=True)
    connection.close()
"""
SOCKET = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}
"""What makes a request open a web socket."""


@dataclass
class Answer:
    """What a server said to one request."""

    status: int
    headers: dict[str, str]
    body: str


@dataclass
class Machine:
    """Where requests come from.

    Args:
        v4, v6: the addresses under which it reaches servers of this machine; None where there is no such way.
        prefix: the words that run a program there.
    """

    v4: str
    v6: str | None = None
    prefix: tuple[str, ...] = ()

    def ask(self, host: str, port: int, path: str = "/", **headers: str) -> Answer:
        """One request, with these headers and no others."""
        return self.ask_all(host, port, [(path, headers)])[0]

    def ask_all(self, host: str, port: int, requests: Sequence[tuple[str, dict[str, str]]]) -> list[Answer]:
        """Several requests, each on a connection of its own; without one their ``Host`` is ``localhost:port``."""
        asked = [(host, port, path, {"Host": f"localhost:{port}"} | headers) for path, headers in requests]
        told = subprocess.run(
            [*self.prefix, sys.executable, "-c", _CLIENT],
            input=json.dumps(asked),
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert told.returncode == 0, told.stderr
        return [Answer(*json.loads(line)) for line in told.stdout.splitlines()]


HERE = Machine("127.0.0.1", "::1")
"""This machine itself."""


@contextmanager
def another_machine() -> Iterator[Machine]:
    """A machine that is not this one; skips the test where there is no way to have one."""
    try:
        made = _make_namespace()
    except (OSError, subprocess.CalledProcessError):
        yield Machine(_outer_address())
        return
    try:
        yield made
    finally:
        with suppress(subprocess.CalledProcessError):
            _ip("netns", "del", made.prefix[-1])


def _make_namespace() -> Machine:
    if os.geteuid() != 0 or shutil.which("ip") is None:
        raise OSError("namespaces take root and iproute2")
    number = random.SystemRandom().randrange(256)
    name = f"qodex{os.getpid()}"
    here, there = f"q{os.getpid()}h", f"q{os.getpid()}t"
    _ip("netns", "add", name)
    try:
        _ip("link", "add", here, "type", "veth", "peer", "name", there, "netns", name)
        for place, end, last in (((), here, 1), (("-n", name), there, 2)):
            _ip(*place, "addr", "add", f"10.213.{number}.{last}/24", "dev", end)
            with suppress(subprocess.CalledProcessError):  # a kernel without IPv6
                _ip(*place, "addr", "add", f"fd13:{number:x}::{last}/64", "dev", end, "nodad")
            _ip(*place, "link", "set", end, "up")
    except BaseException:
        _ip("netns", "del", name)
        raise
    v6 = f"fd13:{number:x}::1"
    return Machine(
        f"10.213.{number}.1", v6 if v6 in _addresses(here) else None, ("ip", "netns", "exec", name)
    )


def _ip(*words: str) -> str:
    return subprocess.run(["ip", *words], check=True, capture_output=True, text=True).stdout


def _addresses(device: str) -> list[str]:
    found: list[dict[str, Any]] = json.loads(_ip("-j", "addr", "show", "dev", device))
    return [each["local"] for part in found for each in part["addr_info"]]


def _outer_address() -> str:
    try:
        found: list[Mapping[str, Any]] = json.loads(_ip("-j", "-4", "addr", "show", "scope", "global"))
        return str(next(each["local"] for part in found for each in part["addr_info"]))
    except (OSError, subprocess.CalledProcessError, StopIteration):
        pytest.skip("this machine has neither namespaces nor an address beside loopback")
