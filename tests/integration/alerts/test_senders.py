"""Any number of senders at once, and senders that are killed: nothing is lost, and nothing is another event."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator

import pytest
from sqlalchemy import select

from lib.alerts import kinds, outbox
from lib.alerts.alerts import Alerts
from lib.db.tables import alert_deliveries
from lib.secret import Secret
from lib.settings import Settings
from tests.alert_senders import send
from tests.receivers import Receiver, receiving
from tests.spending import ADMIN, Shop
from tests.whole import whole_or

EVENTS = 15
KILLS, PROJECTS = whole_or((30, 8), (200, 30))

pytestmark = pytest.mark.slow


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


@pytest.fixture
def shop(database_url: str, receiver: Receiver, projects: int) -> Iterator[Shop]:
    """So many projects with a webhook each, and events that nobody was told of yet."""
    shop = Shop(database_url)
    settings = Settings(database_url=database_url, notify_private_hosts=["127.0.0.1"])
    alerts = Alerts(shop.database, shop.keyring, settings)
    for number in range(projects):
        project_id = shop.add(f"shop-{number}")
        alerts.channels.add(f"shop-{number}", "webhook", Secret(receiver.url), actor=ADMIN)
        with shop.database.write() as connection:
            for event in range(EVENTS):
                data = {"project": f"shop-{number}", "last4": f"{event:04}", "why": "rejected", "code": None}
                outbox.record(connection, project_id, kinds.KEY_FAILING, event, data)
    yield shop
    shop.close()


def _told(receiver: Receiver) -> set[tuple[str, str]]:
    bodies = [json.loads(post.body)["data"] for post in receiver.posts]
    return {(body["project"], body["last4"]) for body in bodies}


def _all(projects: int) -> set[tuple[str, str]]:
    return {(f"shop-{number}", f"{event:04}") for number in range(projects) for event in range(EVENTS)}


@pytest.mark.parametrize("projects", [8])
def test_senders_side_by_side_send_each_alert_exactly_once(
    shop: Shop, receiver: Receiver, projects: int
) -> None:
    send(shop.url, kills=0, together=4)
    assert _told(receiver) == _all(projects)
    assert Counter(Counter(receiver.accepted).values()) == {1: projects * EVENTS}


@pytest.mark.parametrize("projects", [PROJECTS])
def test_senders_that_are_killed_lose_nothing_and_make_no_second_event(
    shop: Shop, receiver: Receiver, projects: int
) -> None:
    """Each of them in the middle of its work: it has taken a delivery, sends it, or writes what became of it."""
    assert send(shop.url, kills=KILLS, together=2) == KILLS
    assert _told(receiver) == _all(projects)
    assert len(set(receiver.accepted)) == projects * EVENTS
    with shop.database.read() as connection:
        states = set(connection.execute(select(alert_deliveries.c.state)).scalars())
    assert states == {"sent"}
