"""Which hosts a message may be sent to: those of the internet at large, and those that the operator has named.

Whoever may add a webhook could make this server ask for anything that only it can reach: a cloud's metadata, an
administration page. So a name is resolved once, each address is checked, and the connection goes to one of those.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Sequence

from lib.environment.addresses import is_public


class HostRefused(Exception):
    """The host is of a network of one's own, and nobody allowed that; or it has no address."""


def allowed(host: str, address: str, private_hosts: Sequence[str]) -> bool:
    """Whether a connection to ``address``, which ``host`` led to, may be made."""
    number = ipaddress.ip_address(address.partition("%")[0])
    return is_public(number) or any(_names(each, host, number) for each in private_hosts)


def is_named(host: str, private_hosts: Sequence[str]) -> bool:
    """Whether the operator has named this host itself."""
    try:
        number = ipaddress.ip_address(host)
    except ValueError:
        number = None
    return any(_names(each, host, number) for each in private_hosts)


def addresses_of(host: str, port: int, private_hosts: Sequence[str]) -> list[str]:
    """The addresses of a host, all of them allowed. Raises HostRefused."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise HostRefused("The host has no address.") from None
    addresses = list(dict.fromkeys(str(each[4][0]) for each in found))
    if not addresses or not all(allowed(host, each, private_hosts) for each in addresses):
        raise HostRefused(
            "The host is of a private network. An operator can allow it: QODEX_NOTIFY_PRIVATE_HOSTS."
        )
    return addresses


def _names(entry: str, host: str, number: ipaddress.IPv4Address | ipaddress.IPv6Address | None) -> bool:
    if entry.casefold() == host.rstrip(".").casefold():
        return True
    try:
        return number is not None and number in ipaddress.ip_network(entry, strict=False)
    except ValueError:
        return False
