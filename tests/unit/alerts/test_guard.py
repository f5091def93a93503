"""Which hosts a message may go to."""

from __future__ import annotations

import pytest

from lib.alerts.channels.guard import HostRefused, addresses_of, allowed, is_named

PRIVATE = [
    "127.0.0.1",
    "10.0.0.1",
    "192.168.1.1",
    "172.16.0.1",
    "169.254.169.254",
    "100.64.0.1",
    "0.0.0.0",
    "224.0.0.1",
    "::1",
    "fe80::1%eth0",
    "fd00::1",
    "::ffff:10.0.0.1",
    "64:ff9b::a9fe:a9fe",
    "2002:a00:1::",
    "192.0.0.192",
    "192.88.99.1",
    "fec0::1",
]


@pytest.mark.parametrize("address", PRIVATE)
def test_a_private_address_is_refused_however_it_is_written(address):
    assert not allowed("hooks.example.com", address, [])


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111"])
def test_a_public_address_is_fine(address):
    assert allowed("hooks.example.com", address, [])


@pytest.mark.parametrize("entry", ["chat.internal", "CHAT.internal", "10.0.0.7", "10.0.0.0/8"])
def test_what_the_operator_names_is_fine(entry):
    assert allowed("chat.internal", "10.0.0.7", [entry])


@pytest.mark.parametrize("entry", ["internal", "10.0.0.8", "10.1.0.0/16", "chat.internal.example.com"])
def test_naming_one_host_names_no_other(entry):
    assert not allowed("chat.internal", "10.0.0.7", [entry])


def test_a_network_names_no_host_before_it_is_resolved():
    assert not is_named("chat.internal", ["10.0.0.0/8"])
    assert is_named("10.2.3.4", ["10.0.0.0/8"])


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "::1"])
def test_this_machine_is_refused_by_any_name(host):
    with pytest.raises(HostRefused, match=r"private network|no address"):
        addresses_of(host, 80, [])


def test_a_host_without_an_address_is_refused():
    with pytest.raises(HostRefused, match="no address"):
        addresses_of("nowhere.invalid", 80, [])
