"""A process of its own that hands one message to apprise: ``python -m lib.alerts.channels.chat_process``.

Apprise brings an HTTP stack that follows the environment's proxies, reads ``.netrc`` and resolves names by itself. Here
the environment is empty, each address is checked as it is resolved, redirects are not followed, and whoever started
the process ends it after its deadline. It reads JSON from standard input and writes JSON to standard output.
"""

from __future__ import annotations

import json
import logging
import re
import signal
import socket
import sys
from typing import Any

from lib.alerts.channels.guard import HostRefused, allowed

SCHEMES = frozenset(
    {
        *("slack", "workflow", "workflows", "discord", "pagerduty", "opsgenie", "gchat", "tgram"),
        *("ntfy", "ntfys", "webex", "wxteams", "json", "jsons"),
    }
)
"""What apprise may be used for. Others of it act on this host (``exec``, ``dbus``, ``syslog``, files)."""
_NAMING_HOSTS = {"json", "jsons", "ntfy", "ntfys"}
_STATUS = re.compile(r"error[=\s]*(\d{3})")
_SEVERITIES = {"info": "info", "warning": "warning", "critical": "failure"}


def main() -> None:
    """Answer one request."""
    asked = json.load(sys.stdin)
    _guard_names(asked["private_hosts"])
    json.dump(_masked(asked) if asked["what"] == "mask" else _sent(asked), sys.stdout)


def _guard_names(private_hosts: list[str]) -> None:
    """Let no connection go to a private network, whatever leads there."""
    resolve = socket.getaddrinfo

    def checked(host: Any, *arguments: Any, **options: Any) -> Any:
        found = resolve(host, *arguments, **options)
        name = host.decode() if isinstance(host, bytes) else str(host)
        if not all(allowed(name, str(each[4][0]), private_hosts) for each in found):
            raise OSError("private network")
        return found

    socket.getaddrinfo = checked


def _service(url: str) -> Any:
    """Apprise's object for an address of a service that may be used; None for any other."""
    from apprise import Apprise, AppriseAsset  # noqa: PLC0415 - a second of work, and of no use elsewhere

    asset = AppriseAsset(http_redirects=False, app_id="Qodex", app_desc="Qodex", app_url="")
    found: Any = Apprise.instantiate(url, asset=asset, suppress_exceptions=True)
    if found is None:
        return None
    names = [getattr(found, name, None) or () for name in ("protocol", "secure_protocol")]
    schemes = {scheme for each in names for scheme in ([each] if isinstance(each, str) else each)}
    # A template is a file of this host, or of whatever address stands there.
    return found if schemes <= SCHEMES and not getattr(found, "template", None) else None


def _masked(asked: dict[str, Any]) -> dict[str, Any]:
    found = _service(asked["url"])
    if found is None:
        return {"masked": None}
    scheme, _, rest = found.url(privacy=True).partition("?")[0].partition("://")
    # Of those that name a host of their own, the path is what must not be known.
    shown = f"{rest.rpartition('@')[2].partition('/')[0]}/…" if scheme in _NAMING_HOSTS else rest
    return {"masked": f"{scheme}://{shown}"}


def _sent(asked: dict[str, Any]) -> dict[str, Any]:
    from apprise import NotifyType  # noqa: PLC0415

    found = _service(asked["url"])
    if found is None:
        return {"ok": False, "status": None}
    lines = _Lines()
    logging.getLogger("apprise").addHandler(lines)
    kind = NotifyType(_SEVERITIES[asked["severity"]])
    signal.setitimer(signal.ITIMER_REAL, asked["seconds"])  # ends the process
    try:
        ok = bool(found.notify(title=asked["title"], body=asked["body"], notify_type=kind))
    except (HostRefused, OSError, TypeError, ValueError):
        ok = False
    return {"ok": ok, "status": lines.status}


class _Lines(logging.Handler):
    """Keeps the status that a service answered with; the lines themselves may hold the address."""

    status: str | None = None

    def emit(self, record: logging.LogRecord) -> None:
        found = _STATUS.search(record.getMessage())
        if found:
            self.status = found[1]


if __name__ == "__main__":
    main()
