"""A PostgreSQL server of one's own that can be stopped, crash and come back, while its clients go on."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from lib.db import Database
from lib.db.migrate import migrate
from tests.services import (
    PostgresServer,
    _environment,
    _readable,
    _run,
    _unprivileged_user,
    postgres_programs,
)


class MortalServer:
    """It waits for the disk like a real one, so that a crash takes what was not flushed."""

    def __init__(self, folder: Path, programs: Path, user: str | None, flush: str) -> None:
        self._flush = flush
        self._folder, self._programs, self._user = folder, programs, user
        self.databases = PostgresServer(folder, folder / "data")

    def start(self) -> None:
        """Come (back) up; returns when it takes connections."""
        options = f"-k {self._folder} -c listen_addresses= -c max_connections=100 -c fsync=off -c wal_writer_delay={self._flush}"
        self._control("start", "-w", "-l", str(self._folder / "log"), "-o", options)

    def stop(self) -> None:
        """An orderly end, whoever is connected."""
        self._control("stop", "-w", "-m", "fast")

    def crash(self) -> None:
        """Lose what was not flushed, and come back."""
        self._control("stop", "-w", "-m", "immediate")
        self.start()

    def is_running(self) -> bool:
        return (self._folder / "data" / "postmaster.pid").exists()

    def connect(self, url: str) -> psycopg.Connection:
        """A client that is none of the product's."""
        name = url.split("@/")[1].split("?", maxsplit=1)[0]
        return psycopg.connect(host=str(self._folder), user="qodex", dbname=name)

    def _control(self, *words: str) -> None:
        subprocess.run(
            [self._programs / "pg_ctl", "-D", self._folder / "data", *words],
            check=True,
            user=self._user,
            cwd="/",
            env=_environment(self._programs),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )


@contextmanager
def mortal_postgres(*, flush: str = "10s") -> Iterator[MortalServer]:
    """A running server, which is gone at the end of the block in whatever state it is.

    Args:
        flush: how long what may be lost in a crash stays unflushed; PostgreSQL's own default is 200ms.
    """
    programs = postgres_programs()
    with tempfile.TemporaryDirectory(prefix="qodex-pg-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        user = _unprivileged_user(Path(folder))
        programs = _readable(programs, Path(folder)) if user else programs
        arguments = ["-U", "qodex", "--auth=trust", "--encoding=UTF8", "--no-sync"]
        _run([programs / "initdb", "-D", Path(folder) / "data", *arguments], user=user)
        server = MortalServer(Path(folder), programs, user, flush)
        server.start()
        try:
            yield server
        finally:
            server.databases.close()
            if server.is_running():
                server._control("stop", "-w", "-m", "immediate")


def new_database(server: MortalServer) -> str:
    """The URL of a new database with the newest schema."""
    url = server.databases.url(server.databases.create())
    database = Database(url)
    migrate(database)
    database.close()
    return url
