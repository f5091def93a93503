"""Senders of alerts in many processes at once, or killed while they send: ``python -m tests.alert_senders JSON``."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from lib.alerts import queue
from lib.alerts.alerts import Alerts
from lib.clock import SECOND
from lib.settings import Settings
from tests.spending import Shop

ROOT = Path(__file__).resolve().parents[1]


def send(url: str, *, kills: int, together: int) -> None:
    """Send all that is due: by senders that are killed so many times, then by ``together`` of them at once."""
    command = [sys.executable, "-m", "tests.alert_senders", json.dumps([url, kills, together])]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def _desk(url: str) -> tuple[Shop, Alerts]:
    shop = Shop(url)
    settings = Settings(database_url=url, notify_private_hosts=["127.0.0.1"])
    return shop, Alerts(shop.database, shop.keyring, settings)


def _fork(shop: Shop, alerts: Alerts) -> int:
    child = os.fork()
    if child == 0:
        alerts.sender.once()
        shop.close()
        os._exit(0)
    return child


def main(url: str, kills: int, together: int) -> None:
    if kills:  # what a killed sender has taken is another one's soon
        queue.LEASE = SECOND // 5
    luck = random.Random(11)
    shop, alerts = _desk(url)
    shop.close()
    for _ in range(kills):
        child = _fork(shop, alerts)
        time.sleep(luck.uniform(0.01, 0.25))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    if kills:
        time.sleep(0.5)
        queue.LEASE = 30 * SECOND
    children = [_fork(shop, alerts) for _ in range(together)]
    for child in children:
        assert os.waitpid(child, 0)[1] == 0


if __name__ == "__main__":
    told: list[Any] = json.loads(sys.argv[1])
    main(*told)
