"""What the benchmarks run on: fresh databases of both engines, a project with a key, and an upstream."""

from __future__ import annotations

import base64
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2

from lib.access.roles import Origin, local_administrator
from lib.platform import Platform
from lib.secret import Secret
from lib.settings import ROOT, Settings
from lib.vault.keys import KeyStore
from lib.vault.states import Verdict
from tests.services import running_postgres

KEY = "sk-bench-good-key-0001"
CLAUDE_KEY, GEMINI_KEY = "sk-ant-bench-good-key-0001", "AQ.Ab-bench-good-key-0001"
ACTOR = local_administrator(Origin.WORKER, "bench")


def free_port() -> int:
    """A port of this machine that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def database_urls() -> Iterator[dict[str, str]]:
    """A fresh database of each engine."""
    with tempfile.TemporaryDirectory() as folder, running_postgres(durable=True) as server:
        yield {"SQLite": f"sqlite:///{Path(folder) / 'qodex.db'}", "PostgreSQL": server.url(server.create())}


@contextmanager
def upstream() -> Iterator[str]:
    """The scripted provider in a process of its own, so that it does not share our interpreter."""
    port = free_port()
    command = [sys.executable, "-m", "tests.upstream", "--port", str(port)]
    command += [word for key in (KEY, CLAUDE_KEY, GEMINI_KEY) for word in ("--key", key)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        base_url = f"http://127.0.0.1:{port}/v1"
        _wait_for(base_url)
        try:
            yield base_url
        finally:
            process.terminate()


def _wait_for(base_url: str) -> None:
    for _ in range(100):
        try:
            httpx2.get(f"{base_url}/models", trust_env=False)
        except httpx2.TransportError:
            time.sleep(0.1)
        else:
            return
    raise RuntimeError("the scripted upstream did not start")


@contextmanager
def platform(url: str, base_url: str = "https://api.openai.com/v1") -> Iterator[Platform]:
    """A front door with the project ``bench`` and its key of each provider in use."""
    root = base_url.removesuffix("/v1")
    settings = Settings(
        database_url=url,
        openai_base_url=base_url,
        anthropic_base_url=root,
        google_base_url=root,
        master_keys=Secret(base64.b64encode(os.urandom(32)).decode()),
        openai_api_key=Secret(KEY),
    )
    opened = Platform(settings, actor=ACTOR)
    opened.projects.add("bench", actor=ACTOR)
    store = KeyStore(opened.database, opened.keyring, {})
    for provider, key in {"openai": KEY, "anthropic": CLAUDE_KEY, "google": GEMINI_KEY}.items():
        store.save(
            "bench", Secret(key), actor=ACTOR, expected_version=0, verdict=Verdict(), provider=provider
        )
    try:
        yield opened
    finally:
        opened.close()
