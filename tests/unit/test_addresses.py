"""What an address leads to."""

from __future__ import annotations

import pytest

from lib.environment import addresses


@pytest.mark.parametrize(
    "host", ["localhost", "127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1", "::ffff:7f00:1"]
)
def test_this_machine_by_whatever_name(host: str):
    assert addresses.is_loopback(host)


@pytest.mark.parametrize(
    "host",
    [
        "",
        "0.0.0.0",
        "::",
        "192.0.2.7",
        "::ffff:192.0.2.7",
        "fe80::1%eth0",
        "64:ff9b::7f00:1",
        "::127.0.0.1",
        "localhost.example",
        "/run/qodex.sock",
        "127.0.0.1.example",
        "2130706433",
        "testclient",
    ],
)
def test_what_is_no_loopback_address_is_elsewhere(host: str):
    assert not addresses.is_loopback(host)
