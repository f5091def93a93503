"""A database server that is too old is refused in one sentence, before anything is asked of it."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest

from lib.db import Database
from lib.db.blocks.postgresql import OLDEST, unsupported
from lib.db.migrate import migrate
from lib.errors import DatabaseUnavailable
from tests.services import OLDEST_POSTGRES

_NO_ENCRYPTION = {80877103, 80877104}  # what a client asks for first


@contextmanager
def server_of(version: str) -> Iterator[str]:
    """A server that lets a client in and tells its version, as PostgreSQL does; gives the URL. It answers no query."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=_serve, args=(server, version), daemon=True).start()
        yield f"postgresql+psycopg://qodex@127.0.0.1:{server.getsockname()[1]}/qodex"


def _serve(server: socket.socket, version: str) -> None:
    client, _ = server.accept()
    with client:
        while True:
            length, code = struct.unpack("!II", client.recv(8, socket.MSG_WAITALL))
            client.recv(length - 8, socket.MSG_WAITALL)
            if code not in _NO_ENCRYPTION:
                break
            client.sendall(b"N")
        told = {"server_version": version, "client_encoding": "UTF8"}
        parameters = [_message(b"S", f"{name}\0{value}\0".encode()) for name, value in told.items()]
        client.sendall(b"".join([_message(b"R", bytes(4)), *parameters, _message(b"Z", b"I")]))
        client.recv(1)


def _message(kind: bytes, content: bytes) -> bytes:
    return kind + struct.pack("!I", 4 + len(content)) + content


@pytest.mark.parametrize(("version", "told"), [("13.22", "PostgreSQL 13."), ("9.6.24", "PostgreSQL 9.6.")])
def test_an_older_server_is_refused_when_a_process_starts(version: str, told: str) -> None:
    with server_of(version) as url, closing(Database(url)) as database:
        with pytest.raises(DatabaseUnavailable, match="Qodex needs PostgreSQL 14 or newer") as problem:
            migrate(database)
        assert problem.value.cause == "unsupported"
        assert told in str(problem.value)


def test_the_oldest_supported_one_and_a_pooler_that_tells_no_version_are_not() -> None:
    assert OLDEST == OLDEST_POSTGRES
    assert unsupported(140_000) is None
    assert unsupported(0) is None
