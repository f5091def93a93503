"""One POST to an address that a person has typed: no redirect, no proxy, no private network, within a deadline."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import httpx2

from lib.alerts.channels.answer import DEADLINE_SECONDS, Answer
from lib.alerts.channels.guard import HostRefused, addresses_of

_LONGEST_ANSWER = 2_000
_GONE = 410
_TOO_MANY = 429
_LONGEST_WAIT = 86_400.0
_PORTS = {"https": 443, "http": 80}


@dataclass(frozen=True)
class Posted:
    """The other side's answer: its status (None where there was none), how it begins, and what was said of it."""

    status: int | None
    begin: str
    answer: Answer


@dataclass(frozen=True)
class Poster:
    """Posts to hosts that are public, or that the operator has named. ``certificates`` checks https."""

    private_hosts: Sequence[str] = ()
    certificates: ssl.SSLContext | None = None
    seconds: float = DEADLINE_SECONDS

    def post(self, url: str, body: str, headers: Mapping[str, str]) -> Posted:
        """Send ``body``; raises nothing."""
        return asyncio.run(self._within(url, body, headers))

    async def _within(self, url: str, body: str, headers: Mapping[str, str]) -> Posted:
        try:
            async with asyncio.timeout(self.seconds):
                return await self._post(url, body, headers)
        except HostRefused as refused:
            return _nothing(str(refused))
        except TimeoutError:
            return _nothing(f"No answer within {self.seconds:g} s.")
        except httpx2.HTTPError as problem:
            return _nothing(f"No connection, or none that lasted ({type(problem).__name__}).")

    async def _post(self, url: str, body: str, headers: Mapping[str, str]) -> Posted:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or _PORTS[parts.scheme]
        found = await _in_daemon_thread(partial(addresses_of, host, port, self.private_hosts))
        # To the address that was checked: the name might lead elsewhere the next time it is resolved.
        numbered = f"[{found[0]}]" if ":" in found[0] else found[0]
        target = urlunsplit((parts.scheme, f"{numbered}:{port}", parts.path or "/", parts.query, ""))
        named = {"Host": parts.netloc.rpartition("@")[2], "User-Agent": "Qodex-Alerts", **headers}
        request = httpx2.Request(
            "POST", target, content=body.encode(), headers=named, extensions=self._extensions(host)
        )
        # Not a client, which writes the whole address into the log: who has it can write into the channel.
        async with httpx2.AsyncHTTPTransport(verify=self.certificates or True, trust_env=False) as transport:
            answer = await transport.handle_async_request(request)
            try:
                return Posted(answer.status_code, await _begin(answer), _answer(answer))
            finally:
                await answer.aclose()

    def _extensions(self, host: str) -> dict[str, Any]:
        waits = dict.fromkeys(("connect", "read", "write", "pool"), self.seconds)
        return {"sni_hostname": host, "timeout": waits}


async def _in_daemon_thread(look_up: Callable[[], list[str]]) -> list[str]:
    """What ``look_up`` returns. Nobody waits for it after the deadline: the end of a loop waits for the threads of its own."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[list[str]] = loop.create_future()

    def settle(found: Future[list[str]]) -> None:
        if not done.done():
            problem = found.exception()
            done.set_exception(problem) if problem else done.set_result(found.result())

    def run() -> None:
        found: Future[list[str]] = Future()
        try:
            found.set_result(look_up())
        except Exception as problem:  # noqa: BLE001 - belongs to whoever waits
            found.set_exception(problem)
        with suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(settle, found)

    threading.Thread(target=run, daemon=True, name="qodex-look-up").start()
    return await done


async def _begin(answer: httpx2.Response) -> str:
    """How the body begins: a page of an error may be endless."""
    content = b""
    async for piece in answer.aiter_raw():
        content += piece
        if len(content) >= _LONGEST_ANSWER:
            break
    return content[:_LONGEST_ANSWER].decode(errors="replace")


def _answer(answer: httpx2.Response) -> Answer:
    status = answer.status_code
    if answer.is_success:
        return Answer(ok=True, said=str(status))
    if answer.is_redirect:
        return Answer(ok=False, said=f"{status}: it redirects, which is not followed.")
    after = _seconds(answer.headers.get("retry-after")) if status == _TOO_MANY else None
    return Answer(ok=False, said=str(status), gone=status == _GONE, retry_after=after)


def _seconds(text: str | None) -> float | None:
    return min(float(text), _LONGEST_WAIT) if text and text.isascii() and text.isdigit() else None


def _nothing(said: str) -> Posted:
    return Posted(None, "", Answer(ok=False, said=said))
