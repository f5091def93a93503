"""What an address of the environment leads to: this machine, the local link, or elsewhere. Pure."""

from __future__ import annotations

import ipaddress
import socket
from urllib.parse import SplitResult, urlsplit

_LOOPBACK_NAMES = {"localhost"}
_NOT_PUBLIC = tuple(
    map(ipaddress.ip_network, ("192.0.0.0/24", "192.88.99.0/24", "fec0::/10", "3fff::/20", "5f00::/16"))
)
"""Networks that are nobody's on the internet and that not every Python of ours knows as such: one cloud's metadata is in the first."""
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


def clean_site(text: str) -> str:
    """An address that people open or sign in at. Raises ValueError."""
    parts = split(text.strip())
    if parts.username is not None or parts.query or parts.fragment:
        raise ValueError("use an address without a name, ? and #")
    _require_https(parts)
    return text.strip().rstrip("/")


def clean_proxy(text: str) -> str:
    """The address of a proxy. Raises ValueError."""
    parts = split(text.strip())
    if parts.path.strip("/") or parts.query or parts.fragment:
        raise ValueError("use http://host:port or https://host:port, with nothing after it")
    return text.strip()


def clean_upstream(text: str) -> str:
    """The address of a provider, to which keys are sent. Raises ValueError."""
    parts = split(text.strip())
    if parts.username is not None:
        raise ValueError("an address with a name or password in it is refused")
    if parts.query or parts.fragment:
        raise ValueError("use an address without ? and #")
    if is_link_local(_host(parts)):
        raise ValueError("a link-local address is never a provider")
    _require_https(parts)
    return text.strip().rstrip("/")


def require_mail_server(text: str) -> None:
    """Return if it is the address of a mail server, ``smtp://`` or ``smtps://``. Raises ValueError."""
    problem = ValueError("write it like smtps://user:password@host:465 or smtp://user:password@host:587")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise problem from None
    after = parts.path.strip("/") or parts.query or parts.fragment
    if parts.scheme not in {"smtp", "smtps"} or not parts.hostname or port == 0 or after:
        raise problem


def host_and_port(text: str) -> tuple[str, int]:
    """Where a server of ours listens, ``127.0.0.1:9464`` or ``[::1]:9464``. Raises ValueError."""
    problem = ValueError("write it like 127.0.0.1:9464")
    try:
        parts = urlsplit(f"//{text.strip()}")
        host, port = parts.hostname, parts.port
    except ValueError:
        raise problem from None
    if not host or not port or parts.path or parts.query or parts.fragment or parts.username is not None:
        raise problem
    return host, port


def is_public(address: _Address) -> bool:
    """Whether an address is of the internet at large, and not of a network of one's own, however it is written."""
    return all(
        each.is_global
        and not (each.is_multicast or each.is_reserved or any(each in network for network in _NOT_PUBLIC))
        for each in (address, _inner_address(address))
    )


def _require_https(parts: SplitResult) -> None:
    if parts.scheme == "http" and not is_loopback(_host(parts)):
        raise ValueError("http:// is only for this machine (localhost); use https://")


def _host(parts: SplitResult) -> str:
    return (parts.hostname or "").rstrip(".")


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
    """The IPv4 address that an IPv6 one stands for: mapped, compatible, through NAT64 or 6to4."""
    if isinstance(address, ipaddress.IPv6Address) and address.sixtofour:
        return address.sixtofour
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
