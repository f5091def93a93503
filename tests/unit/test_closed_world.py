"""The tests' own surroundings: nothing of the machine gets in, nothing gets out."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path

import hypothesis
import pytest

from tests.conftest import NetworkBlocked


def test_a_connection_to_another_machine_is_refused() -> None:
    with socket.socket() as outgoing, pytest.raises(NetworkBlocked):
        outgoing.connect(("192.0.2.1", 443))


def test_an_asynchronous_connection_to_another_machine_is_refused() -> None:
    with pytest.raises(NetworkBlocked):
        asyncio.run(asyncio.open_connection("192.0.2.1", 443))


def test_a_name_of_another_machine_is_not_looked_up() -> None:
    with pytest.raises(NetworkBlocked):
        socket.getaddrinfo("example.com", 443)


def test_a_name_that_cannot_exist_fails_as_it_does_without_a_network() -> None:
    with pytest.raises(socket.gaierror):
        socket.getaddrinfo("nowhere.invalid", 443)


def test_a_connection_to_this_machine_works() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname()).close()


def test_no_provider_setting_of_the_machine_is_visible() -> None:
    assert [
        name for name in os.environ if name.startswith(("OPENAI_", "QODEX_")) or "PROXY" in name.upper()
    ] == []


def test_no_property_test_has_a_clock():
    """A slow machine is no failure. A test's own list would take the place of this one, so none has one."""
    assert hypothesis.settings().deadline is None
    assert hypothesis.HealthCheck.too_slow in hypothesis.settings().suppress_health_check
    tests = Path(__file__).resolve().parents[1].rglob("test_*.py")
    own = "suppress_" + "health_check="
    assert [path.name for path in tests if own in path.read_text(encoding="utf-8")] == []
