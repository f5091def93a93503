"""Senders of alerts in many processes at once, or killed while they send: ``python -m tests.alert_senders JSON``."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from sqlalchemy import select

from lib.alerts.alerts import Alerts
from lib.alerts.delivery import queue
from lib.alerts.delivery.queue import DeliveryQueue
from lib.alerts.delivery.sender import Sender
from lib.clock import SECOND
from lib.db.tables import alert_deliveries
from lib.settings import Settings
from tests.spending import Shop

ROOT = Path(__file__).resolve().parents[1]
_LEASE = SECOND // 5
_PATIENCE = 600
_STEPS, _STEP_SECONDS = 7, 0.01
"""How many steps a sender does at most before it is killed, and how much later, so that it is in the middle of one."""
_LEFT = select(alert_deliveries.c.event_id).where(alert_deliveries.c.state == "due").limit(1)


def send(url: str, *, kills: int, together: int) -> int:
    """Send all that is due: by senders that are killed so many times, then by ``together`` of them at once.

    Returns how many were killed while they were sending; fewer where nothing was left to send.
    """
    command = [sys.executable, "-m", "tests.alert_senders", json.dumps([url, kills, together])]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def _desk(url: str) -> tuple[Shop, Alerts]:
    shop = Shop(url)
    settings = Settings(database_url=url, notify_private_hosts=["127.0.0.1"])
    return shop, Alerts(shop.database, shop.keyring, settings)


def _fork(shop: Shop, alerts: Alerts, *, dies: tuple[int, float] | None = None) -> int:
    """A sender. It may die: at so many steps of its work, and so many seconds after."""
    child = os.fork()
    if child == 0:
        if dies is not None:
            _die_after(*dies)
        alerts.sender.once()
        shop.close()
        os._exit(0)
    return child


def _die_after(steps: int, seconds: float) -> None:
    """A step is that a delivery is taken, sent, or settled."""
    left = iter(range(steps))
    end = threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGKILL))

    def counted(act: Callable[..., Any]) -> Callable[..., Any]:
        def counting(*told: Any) -> Any:
            done = act(*told)
            if next(left, None) == steps - 1:
                end.start()
            return done

        return counting

    for place, name in ((DeliveryQueue, "take"), (Sender, "_send"), (DeliveryQueue, "settle")):
        setattr(place, name, counted(getattr(place, name)))


def _killed(shop: Shop, alerts: Alerts, times: int) -> int:
    luck, killed = random.Random(11), 0
    while killed < times:
        child = _fork(shop, alerts, dies=(luck.randint(1, _STEPS), luck.uniform(0, _STEP_SECONDS)))
        if os.WIFSIGNALED(os.waitpid(child, 0)[1]):
            killed += 1
            continue
        time.sleep(_LEASE / SECOND)  # what was left was another one's still
        with shop.database.read() as connection:
            all_sent = connection.execute(_LEFT).first() is None
        shop.close()
        if all_sent:
            break
    return killed


def main(url: str, kills: int, together: int) -> None:
    shop, alerts = _desk(url)
    shop.close()
    # However busy the machine is, none is told twice because it took long.
    alerts.sender._poster = replace(alerts.sender._poster, seconds=_PATIENCE)
    # What a killed sender has taken is another one's soon.
    queue.LEASE = _LEASE
    killed = _killed(shop, alerts, kills)
    if kills:
        time.sleep(_LEASE / SECOND)
    queue.LEASE = 2 * _PATIENCE * SECOND
    children = [_fork(shop, alerts) for _ in range(together)]
    for child in children:
        assert os.waitpid(child, 0)[1] == 0
    print(killed)


if __name__ == "__main__":
    told: list[Any] = json.loads(sys.argv[1])
    main(*told)
