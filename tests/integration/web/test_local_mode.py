"""Local mode means this machine: the connection itself decides, whatever serves the application and on which address.

Real servers on all interfaces, real sockets, and another machine (tests/machines.py) that says "Host: localhost".
"""

from __future__ import annotations

import base64
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from lib.web.local_mode import REFUSAL
from tests.machines import HERE, SOCKET, Machine, another_machine
from tests.services import ROOT, SIGN_IN, running_program

pytestmark = pytest.mark.slow

PATHS = (
    "/",
    "/usage",
    "/healthz",
    "/_stcore/health",
    "/_stcore/host-config",
    "/auth/login",
    "/export/usage.csv",
)
SERVERS: dict[str, tuple[str, ...]] = {
    "streamlit run": (
        "streamlit",
        "run",
        f"{ROOT}/app.py",
        "--server.address=0.0.0.0",
        "--server.port={port}",
    ),
    "streamlit run, both families": (
        *("streamlit", "run", f"{ROOT}/app.py", "--server.address=::", "--server.port={port}"),
    ),
    "uvicorn": ("uvicorn", "app:app", f"--app-dir={ROOT}", "--host=0.0.0.0", "--port={port}"),
    "uvicorn that trusts every proxy": (
        *("uvicorn", "app:app", f"--app-dir={ROOT}", "--host=0.0.0.0", "--port={port}"),
        "--forwarded-allow-ips=*",
    ),
    "uvicorn on IPv6": ("uvicorn", "app:app", f"--app-dir={ROOT}", "--host=::", "--port={port}"),
    "gunicorn": (
        *("gunicorn", "app:app", f"--pythonpath={ROOT}", "--worker-class=uvicorn_worker.UvicornWorker"),
        "--bind=0.0.0.0:{port}",
    ),
}


@dataclass
class Server:
    port: int
    log: Path
    v4: bool = True
    v6: bool = False


@pytest.fixture(scope="module")
def stranger() -> Iterator[Machine]:
    with another_machine() as machine:
        yield machine


def environment(folder: Path, **more: str) -> dict[str, str]:
    return {
        "DATABASE_URL": f"sqlite:///{folder / 'qodex.db'}",
        "QODEX_MASTER_KEYS": base64.b64encode(os.urandom(32)).decode(),
    } | more


@pytest.fixture(scope="module", params=SERVERS)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The dashboard in the local mode, on every address of this machine, started from another folder."""
    folder = tmp_path_factory.mktemp("local")
    words = [sys.executable, "-m", *SERVERS[request.param]]
    v6 = request.param in {"streamlit run, both families", "uvicorn on IPv6"}
    v4 = request.param != "uvicorn on IPv6"
    with running_program(
        words, environment(folder), folder / "log", host="127.0.0.1" if v4 else "[::1]", cwd=folder
    ) as port:
        yield Server(port, folder / "log", v4, v6)


def ways(server: Server, machine: Machine) -> list[str]:
    """The addresses of this server that the machine can reach."""
    found = [machine.v4 if server.v4 else None, machine.v6 if server.v6 else None]
    return [address for address in found if address]


def opening(port: int, **headers: str) -> tuple[str, dict[str, str]]:
    """The request that opens the pages' web socket, as a page of ours makes it."""
    return "/_stcore/stream", {"Origin": f"http://localhost:{port}"} | SOCKET | headers


def test_this_machine_is_served(server: Server):
    for address in ways(server, HERE):
        asked = [("/", {}), ("/healthz", {}), opening(server.port)]
        page, health, socket = HERE.ask_all(address, server.port, asked)
        assert (page.status, '<div id="root">' in page.body) == (200, True)
        assert (health.status, socket.status) == (200, 101)


LIES: tuple[dict[str, str], ...] = (
    {},
    {"X-Forwarded-For": "127.0.0.1"},
    {"X-Real-IP": "127.0.0.1"},
    {"Forwarded": "for=127.0.0.1"},
)


def test_another_machine_gets_a_sentence_and_nothing_else_whatever_it_says_of_itself(
    server: Server, stranger: Machine
):
    reached = ways(server, stranger)
    if not reached:
        pytest.skip("there is no way by IPv6 from elsewhere")
    for address in reached:
        pages = stranger.ask_all(address, server.port, [(path, lie) for path in PATHS for lie in LIES])
        assert {(page.status, page.body) for page in pages} == {(403, REFUSAL)}
        assert not any("set-cookie" in map(str.lower, page.headers) for page in pages)
        sockets = stranger.ask_all(address, server.port, [opening(server.port, **lie) for lie in LIES])
        assert {socket.status for socket in sockets} == {403}
    assert "Refused a connection from elsewhere" in server.log.read_text()


PASSED_ON: tuple[dict[str, str], ...] = (
    {"X-Forwarded-For": "203.0.113.9"},
    {"X-Forwarded-For": "203.0.113.9, 127.0.0.1"},
    {"X-Forwarded-For": "127.0.0.1"},
    {"X-Forwarded-Host": "qodex.example"},
    {"X-Real-IP": "203.0.113.9"},
    {"Forwarded": "for=203.0.113.9"},
    {"Via": "1.1 proxy"},
)


def test_what_a_proxy_on_this_machine_passes_on_is_not_served(server: Server):
    for address in ways(server, HERE):
        pages = HERE.ask_all(address, server.port, [("/", headers) for headers in PASSED_ON])
        assert {(page.status, page.body) for page in pages} == {(403, REFUSAL)}
        sockets = [opening(server.port, **headers) for headers in PASSED_ON]
        assert {answer.status for answer in HERE.ask_all(address, server.port, sockets)} == {403}


def test_a_unix_socket_is_a_proxys_and_not_served(tmp_path: Path):
    path = tmp_path / "s"
    words = [sys.executable, "-m", "uvicorn", "app:app", f"--app-dir={ROOT}", f"--uds={path}"]
    with running_program(words, environment(tmp_path), tmp_path / "log", socket=path):
        local = {"Host": "localhost"}
        asked = [("/", local), ("/_stcore/stream", local | {"Origin": "http://localhost"} | SOCKET)]
        page, socket = HERE.ask_all(str(path), 0, asked)
        assert (page.status, page.body, socket.status) == (403, REFUSAL, 403)


def test_with_sign_in_other_machines_are_served_under_the_public_name(tmp_path: Path, stranger: Machine):
    words = [sys.executable, "-m", *SERVERS["uvicorn"]]
    with running_program(words, environment(tmp_path, **SIGN_IN), tmp_path / "log") as port:
        names = [
            ("/", {"Host": host, "X-Forwarded-For": "203.0.113.9"})
            for host in ("qodex.example", "evil.example")
        ]
        assert [answer.status for answer in stranger.ask_all(stranger.v4, port, names)] == [200, 403]


def test_settings_that_cannot_be_used_are_as_closed_as_the_local_mode(tmp_path: Path, stranger: Machine):
    words = [sys.executable, "-m", *SERVERS["uvicorn"]]
    unusable = environment(tmp_path, **SIGN_IN, QODEX_TIMEZONE="Mars/Olympus")
    with running_program(words, unusable, tmp_path / "log") as port:
        assert stranger.ask(stranger.v4, port, "/", Host="qodex.example").status == 403
        assert HERE.ask(HERE.v4, port, "/", Host=f"localhost:{port}").status == 200


# --- under a path --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "variables"),
    [
        (
            ("streamlit", "run", f"{ROOT}/app.py", "--server.port=0"),
            {"STREAMLIT_SERVER_BASE_URL_PATH": "qodex"},
        ),
        (("streamlit", "run", f"{ROOT}/app.py", "--server.port=0", "--server.baseUrlPath=/a/b/"), {}),
        (
            ("uvicorn", "app:app", f"--app-dir={ROOT}", "--port=0"),
            {"STREAMLIT_SERVER_BASE_URL_PATH": "/qodex"},
        ),
    ],
    ids=["streamlit's variable", "streamlit's option", "uvicorn"],
)
def test_a_base_path_ends_the_start_with_a_sentence(
    tmp_path: Path, words: tuple[str, ...], variables: dict[str, str]
):
    started = subprocess.run(
        [sys.executable, "-m", *words],
        env=os.environ | environment(tmp_path, **variables),
        capture_output=True,
        text=True,
        timeout=600,
        cwd=tmp_path,
        check=False,
    )
    assert started.returncode != 0
    assert "the dashboard is served at the root of a host name only, not under a path" in started.stderr


def test_under_a_root_path_nothing_is_served_and_nothing_opens(tmp_path: Path):
    words = [sys.executable, "-m", *SERVERS["uvicorn"], "--root-path=/qodex"]
    with running_program(words, environment(tmp_path), tmp_path / "log") as port:
        paths = ("/", "/healthz", "/_stcore/metrics", "/qodex/_stcore/metrics", "/qodex/healthz")
        for answer in HERE.ask_all(HERE.v4, port, [(path, {}) for path in paths]):
            assert (answer.status, "take the server's root path away" in answer.body) == (503, True)
            assert "cache_memory_bytes" not in answer.body
