"""What an address of the environment leads to: this machine, the local link, or elsewhere. Pure."""

from __future__ import annotations

import ipaddress
import socket
from urllib.parse import SplitResult, urlsplit

_LOOPBACK_NAMES = {"localhost"}
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def split(text: str) -> SplitResult:
    """Split an http(s) address; what several readers might read differently is refused with a ValueError."""
    problem = ValueError("not a usable address; write it like https://host/path, in plain ASCII")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise problem from None
    host = parts.hostname or ""
    if parts.scheme not in {"https", "http"} or not host or "%" in host.partition("%25")[0] or port == 0:
        raise problem
    if not all("!" <= character <= "~" and character != "\\" for character in text):
        raise problem
    return parts


def is_loopback(host: str) -> bool:
    """Whether the host is this machine, also where an IPv6 socket writes an IPv4 address (``::ffff:127.0.0.1``)."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host in _LOOPBACK_NAMES
    return address.is_loopback or (getattr(address, "ipv4_mapped", None) or address).is_loopback


def is_link_local(host: str) -> bool:
    """Whether the host is an address of the local link, however it is written."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return _is_link_local_number(host)
    return address.is_link_local or _inner_address(address).is_link_local


def _inner_address(address: _Address) -> _Address:
    """The IPv4 address that an IPv6 one stands for: mapped, compatible or through NAT64."""
    if isinstance(address, ipaddress.IPv6Address) and (
        address in _NAT64 or address.ipv4_mapped or int(address) >> 32 == 0
    ):
        return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    return address


def _is_link_local_number(host: str) -> bool:
    """``https://2852039166`` is 169.254.169.254 to the resolver."""
    try:
        return ipaddress.ip_address(socket.inet_aton(host)).is_link_local
    except OSError:
        return False
