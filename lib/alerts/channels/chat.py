"""Teams, Discord, Google Chat, Telegram and the like, through apprise in a process of its own."""

from __future__ import annotations

import json
import subprocess  # nosec B404 - our own program, by its list of arguments
import sys
from collections.abc import Sequence
from typing import Any

from lib.alerts.channels.answer import DEADLINE_SECONDS, Answer
from lib.alerts.messages import Message
from lib.secret import Secret
from lib.settings import ROOT

_START_SECONDS = 20.0
"""What starting the process and loading apprise may take on a busy machine, besides the deadline of the sending."""


def mask(url: Secret) -> str | None:
    """An address as it may be shown, without its tokens; None where apprise cannot use it, or may not."""
    found = _ask({"what": "mask", "url": url.reveal(), "private_hosts": []}, DEADLINE_SECONDS)
    return None if found is None else found["masked"]


def send(
    url: Secret, message: Message, private_hosts: Sequence[str], *, seconds: float = DEADLINE_SECONDS
) -> Answer:
    """Send one message; raises nothing."""
    asked = {
        "what": "send",
        "url": url.reveal(),
        "title": message.title,
        "body": f"{message.text}\n\n{message.link_title}: {message.link}",
        "severity": message.severity,
        "private_hosts": list(private_hosts),
        "seconds": seconds,
    }
    found = _ask(asked, seconds)
    if found is None:
        return Answer(ok=False, said=f"No answer within {seconds:g} s.")
    status = found["status"]
    if found["ok"]:
        return Answer(ok=True, said="accepted by the service")
    return Answer(
        ok=False, said=status or "No connection, or the host is of a private network.", gone=status == "410"
    )


def _ask(asked: dict[str, Any], seconds: float) -> dict[str, Any] | None:
    """What the process answers; None where it does not within its time. The address goes through a pipe alone."""
    try:
        done = subprocess.run(  # nosec B603 - our own program
            [sys.executable, "-m", "lib.alerts.channels.chat_process"],
            input=json.dumps(asked),
            capture_output=True,
            text=True,
            cwd=ROOT,
            env={"PYTHONPATH": str(ROOT), "NO_PROXY": "*", "NETRC": "/dev/null"},
            timeout=seconds + _START_SECONDS,
            check=True,
        )
        answer: dict[str, Any] = json.loads(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    return answer
