"""From an event to its recipients: who is told, when, how often it is tried, and what is told together."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import select, update

from lib.access.roles import Origin
from lib.alerts import kinds, outbox, triggers
from lib.alerts.alerts import Alerts
from lib.alerts.delivery.queue import GIVES_UP_AFTER, MOST_AN_HOUR, RETRIES
from lib.caps.requests import CapRequests
from lib.clock import DAY, HOUR, MINUTE, SECOND, Micros, from_micros
from lib.db import Database
from lib.db.blocks.limits import Limits
from lib.db.tables import alert_channels, alert_deliveries
from lib.errors import BadInput, Forbidden
from lib.secret import Secret
from lib.settings import Settings
from lib.vault.master_keys.masters import Keyring
from lib.vault.master_keys.rotation import Masters
from lib.vault.sealing import MasterKey
from tests.receivers import Mailbox, Receiver, mail_server, receiving
from tests.spending import ADMIN, Clock, Shop, open_shop

KEY = {"project": "shop", "last4": "x4Tz", "why": "rejected", "code": None}


class Desk:
    """The project ``shop``, a receiver of webhooks and a mail server."""

    def __init__(self, shop: Shop, clock: Clock, receiver: Receiver, mailbox: Mailbox, mail_url: str) -> None:
        self.shop, self.clock, self.receiver, self.mailbox = shop, clock, receiver, mailbox
        self.settings = Settings(
            database_url=shop.url,
            smtp_url=Secret(mail_url),
            mail_from="qodex@example.com",
            notify_private_hosts=["127.0.0.1"],
            public_url="https://qodex.example.com",
            oidc_issuer="https://id.example.com",
            oidc_client_id="x",
            oidc_client_secret=Secret("x"),
            cookie_secret=Secret("x" * 32),
        )
        self.alerts = Alerts(shop.database, shop.keyring, self.settings)
        self.project_id: str = shop.account().project_id

    def hook(self, slug: str | None = "shop", **more: Any) -> Any:
        return self.alerts.channels.add(slug, "webhook", Secret(self.receiver.url), actor=ADMIN, **more)

    def lead(self, email: str = "lead@example.com", slug: str = "shop") -> None:
        from lib.access.members import Members

        Members(self.shop.database).put(email, "lead", slug=slug, actor=ADMIN)

    def happen(self, kind: kinds.AlertKind = kinds.KEY_FAILING, data: dict[str, Any] | None = None) -> str:
        with self.shop.database.write() as connection:
            return outbox.record(connection, self.project_id, kind, self.clock(), data or KEY | {"since": 1})

    def deliveries(self) -> list[Any]:
        with self.shop.database.read() as connection:
            return list(
                connection.execute(select(alert_deliveries).order_by(alert_deliveries.c.next_at)).all()
            )

    def types(self) -> list[str]:
        return [json.loads(post.body)["type"] for post in self.receiver.posts]

    def subjects(self) -> list[str]:
        return [mail["Subject"] for mail in self.mailbox.mails]


@pytest.fixture
def desk(database_url: str, clock: Clock) -> Iterator[Desk]:
    with open_shop(database_url, clock) as shop, receiving() as receiver, mail_server() as (mailbox, url):
        yield Desk(shop, clock, receiver, mailbox, url)


def test_one_event_goes_once_to_each_recipient(desk: Desk) -> None:
    desk.hook()
    desk.lead()
    event_id = desk.happen()
    assert [desk.alerts.sender.once() for _ in range(2)] == [(2, 0), (0, 0)]
    assert desk.receiver.accepted == [event_id]
    assert desk.subjects() == ["[Qodex] shop: the key •••• x4Tz fails"]


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_a_sender_with_nothing_to_send_does_not_wait_for_the_writer(desk: Desk) -> None:
    other = Database(desk.shop.url, limits=Limits(seconds=1.0))
    with desk.shop.database.write():
        sender = Alerts(other, desk.shop.keyring, desk.settings).sender
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(sender.once).result() == (0, 0)
    other.close()


def test_an_alert_of_a_newer_version_is_sent_by_its_name_and_holds_up_no_other(desk: Desk) -> None:
    desk.hook()
    desk.happen(replace(kinds.KEY_FAILING, name="key.of_a_newer_version"))
    desk.happen(data={"project": "shop", "of": "another shape"})
    event_id = desk.happen()
    assert desk.alerts.sender.once() == (3, 0)
    assert event_id in desk.receiver.accepted
    titles = {each.title for each in desk.alerts.history.recent("shop", actor=ADMIN)}
    assert titles == {"shop: key.of_a_newer_version", "shop: key.failing", "shop: the key •••• x4Tz fails"}


def test_the_platforms_channels_get_what_happens_to_every_project(desk: Desk) -> None:
    desk.hook(None, least_severity="critical")
    desk.happen()
    desk.happen(kinds.KEY_RECOVERED)
    desk.alerts.sender.once()
    assert desk.types() == ["key.failing"]


def test_without_leads_administrators_are_told(desk: Desk) -> None:
    from lib.access.members import Members

    Members(desk.shop.database).put("root@example.com", "admin", slug=None, actor=ADMIN)
    desk.happen()
    desk.alerts.sender.once()
    assert [mail["To"] for mail in desk.mailbox.mails] == ["root@example.com"]
    desk.lead()
    desk.happen()
    desk.alerts.sender.once()
    assert [mail["To"] for mail in desk.mailbox.mails] == ["root@example.com", "lead@example.com"]


def test_a_request_for_more_room_goes_to_administrators_and_its_answer_to_who_asked_and_the_leads(
    desk: Desk,
) -> None:
    from lib.access.members import Members

    members = Members(desk.shop.database)
    for email, role, slug in (
        ("root@example.com", "admin", None),
        ("all@example.com", "lead", None),
        ("other@example.com", "lead", None),
        ("lead@example.com", "lead", "shop"),
    ):
        members.put(email, role, slug=slug, actor=ADMIN)
    requests = CapRequests(desk.shop.database, triggers.note_cap_request)
    asked = requests.ask(
        "shop",
        cap_5h_nano=1,
        cap_7d_nano=1,
        until=desk.clock.now + DAY,
        reason="Release week",
        actor=members.actor("all@example.com", Origin.BROWSER),
    )
    desk.alerts.sender.once()
    assert {mail["To"] for mail in desk.mailbox.mails} == {"root@example.com"}
    root = members.actor("root@example.com", Origin.BROWSER)
    requests.decline("shop", asked.request_id, answer="Add a key", actor=root)
    desk.mailbox.mails.clear()
    desk.alerts.sender.once()
    assert {mail["To"] for mail in desk.mailbox.mails} == {"all@example.com", "lead@example.com"}


def test_who_wants_no_mail_gets_none(desk: Desk) -> None:
    from lib.access.members import Members

    desk.lead()
    lead = Members(desk.shop.database).actor("lead@example.com", Origin.BROWSER)
    desk.alerts.preferences.want_mail("shop", False, actor=lead)
    desk.happen()
    assert desk.alerts.sender.once() == (0, 0)
    desk.alerts.preferences.want_mail("shop", True, actor=lead)
    desk.happen()
    assert desk.alerts.sender.once() == (1, 0)


def test_what_fails_is_tried_again_later_and_later_and_then_given_up_loudly(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    desk.hook()
    desk.receiver.behaviour = 500
    event_id = desk.happen()
    assert desk.alerts.sender.once() == (0, 1)
    for pause in RETRIES:
        desk.clock.now += pause - SECOND
        assert desk.alerts.sender.once() == (0, 0)
        desk.clock.now += SECOND
        assert desk.alerts.sender.once() == (0, 1)
    desk.clock.now += 10 * DAY
    assert desk.alerts.sender.once() == (0, 0)
    assert {post.headers["webhook-id"] for post in desk.receiver.posts} == {event_id}
    assert [row.state for row in desk.deliveries()] == ["failed"]
    assert [record.levelno for record in caplog.records if "given up" in record.message] == [logging.ERROR]


def test_a_receiver_that_comes_back_gets_what_it_missed(desk: Desk) -> None:
    desk.hook()
    desk.receiver.behaviour = 503
    event_id = desk.happen()
    desk.alerts.sender.once()
    desk.receiver.behaviour = 204
    desk.clock.now += 5 * SECOND
    assert desk.alerts.sender.once() == (1, 0)
    assert desk.receiver.accepted == [event_id]
    (channel,) = desk.alerts.channels.list("shop", actor=ADMIN)
    assert channel.failing_since is None


def test_410_switches_a_channel_off_and_its_leads_are_told(desk: Desk) -> None:
    desk.hook()
    desk.lead()
    desk.receiver.behaviour = 410
    desk.happen()
    desk.alerts.sender.once()
    desk.happen()
    desk.alerts.sender.once()
    assert len(desk.receiver.posts) == 1
    (channel,) = desk.alerts.channels.list("shop", actor=ADMIN)
    assert channel.off_at is not None
    assert "[Qodex] A channel of shop was switched off" in desk.subjects()


def test_a_channel_that_fails_for_five_days_is_switched_off(desk: Desk) -> None:
    desk.hook()
    desk.receiver.behaviour = 500
    desk.happen()
    desk.alerts.sender.once()
    desk.clock.now += GIVES_UP_AFTER
    desk.happen()
    desk.alerts.sender.once()
    (channel,) = desk.alerts.channels.list("shop", actor=ADMIN)
    assert channel.off_why is not None
    assert "5 days" in channel.off_why
    assert desk.alerts.channels.switch("shop", channel.id, True, actor=ADMIN).off_at is None


def test_a_channel_gets_twenty_messages_an_hour_and_then_one_that_counts_the_rest(desk: Desk) -> None:
    desk.hook()
    for _ in range(MOST_AN_HOUR + 37):
        desk.happen()
    assert desk.alerts.sender.once() == (MOST_AN_HOUR, 0)
    desk.clock.now += HOUR - MINUTE
    assert desk.alerts.sender.once() == (0, 0)
    desk.clock.now += MINUTE
    assert desk.alerts.sender.once() == (1, 0)
    told = json.loads(desk.receiver.posts[-1].body)
    assert (told["type"], told["data"]["count"]) == ("alerts.more", 37)
    assert {row.state for row in desk.deliveries()} == {"sent"}


def test_what_is_not_urgent_is_told_people_once_a_day_and_machines_at_once(desk: Desk) -> None:
    desk.hook()
    desk.lead()
    for _ in range(3):
        desk.happen(kinds.KEY_RECOVERED)
    assert desk.alerts.sender.once() == (3, 0)
    assert desk.mailbox.mails == []
    desk.clock.now = _at(desk.clock.now, 8)
    assert desk.alerts.sender.once() == (1, 0)
    assert desk.subjects() == ["[Qodex] Daily digest: 3 alerts"]


def _at(now: Micros, hour: int) -> Micros:
    at = from_micros(now)
    return now - (now % DAY) + DAY * (at.hour >= hour) + hour * HOUR


def test_quiet_hours_hold_back_what_is_not_critical(desk: Desk) -> None:
    desk.lead()
    hour = from_micros(desk.clock.now).hour
    desk.alerts.preferences.set("shop", percents=[80], quiet=(hour, (hour + 2) % 24), actor=ADMIN)
    desk.happen(kinds.UNPRICED, {"project": "shop", "model": "x", "source": "byok", "run_id": "r"})
    desk.happen()
    desk.alerts.sender.once()
    assert desk.subjects() == ["[Qodex] shop: the key •••• x4Tz fails"]
    desk.clock.now += 2 * HOUR
    desk.alerts.sender.once()
    assert desk.subjects()[1:] == ["[Qodex] shop: calls of x have no price"]


def test_what_is_muted_is_told_nobody_and_stands_on_the_page(desk: Desk) -> None:
    desk.hook()
    desk.alerts.preferences.mute("shop", "key.failing", desk.clock.now + HOUR, actor=ADMIN)
    desk.happen()
    assert desk.alerts.sender.once() == (0, 0)
    (told,) = desk.alerts.history.recent("shop", actor=ADMIN)
    assert told.muted
    desk.clock.now += HOUR
    desk.happen()
    assert desk.alerts.sender.once() == (1, 0)


def test_an_alert_can_be_sent_again_under_the_same_id(desk: Desk) -> None:
    channel, _ = desk.hook()
    event_id = desk.happen()
    desk.alerts.sender.once()
    desk.alerts.history.send_again("shop", event_id, channel.id, actor=ADMIN)
    with pytest.raises(BadInput):
        desk.alerts.history.send_again("shop", event_id, channel.id, actor=ADMIN)
    desk.alerts.sender.once()
    assert desk.receiver.accepted == [event_id, event_id]


def test_a_test_says_what_the_channel_answers(desk: Desk) -> None:
    channel, _ = desk.hook()
    assert desk.alerts.history.send_test("shop", channel.id, actor=ADMIN).ok
    desk.receiver.behaviour = 500
    assert desk.alerts.history.send_test("shop", channel.id, actor=ADMIN).said == "500"
    states = [each.deliveries[0].state for each in desk.alerts.history.recent("shop", actor=ADMIN)]
    assert sorted(states) == ["failed", "sent"]
    assert desk.alerts.sender.once() == (0, 0)


def test_what_is_under_way_to_a_channel_that_was_removed_is_dropped(desk: Desk) -> None:
    channel, _ = desk.hook()
    desk.receiver.behaviour = 500
    desk.happen()
    desk.alerts.sender.once()
    desk.alerts.channels.remove("shop", channel.id, actor=ADMIN)
    desk.clock.now += HOUR
    assert desk.alerts.sender.once() == (0, 0)
    assert [row.state for row in desk.deliveries()] == ["dropped"]


def test_a_receiver_that_hangs_holds_up_no_other(desk: Desk) -> None:
    desk.hook()
    desk.lead()
    desk.receiver.behaviour = "hang"
    desk.alerts.sender._poster = type(desk.alerts.sender._poster)(("127.0.0.1",), seconds=0.5)
    for _ in range(3):
        desk.happen()
    assert desk.alerts.sender.once() == (3, 3)


# --- addresses -------------------------------------------------------------------------------------


def test_an_address_is_sealed_and_shown_masked(desk: Desk) -> None:
    address = "https://hooks.slack.com/services/T0/B0/secretsecretsecret"
    channel, _ = desk.alerts.channels.add("shop", "slack", Secret(address), actor=ADMIN)
    assert channel.masked == "hooks.slack.com/…cret"
    with desk.shop.database.read() as connection:
        row = connection.execute(select(alert_channels)).one()
    assert b"secretsecret" not in b"".join(each for each in row if isinstance(each, bytes))
    assert "secretsecret" not in repr(row)


@pytest.mark.parametrize(
    "address", ["json://chat.example.com/hook", "JSON://chat.example.com", "ntfy://chat.example.com/topic"]
)
def test_no_chat_speaks_in_the_clear_but_to_a_host_that_the_operator_has_named(
    desk: Desk, address: str
) -> None:
    with pytest.raises(BadInput, match="Use an https address"):
        desk.alerts.channels.add("shop", "chat", Secret(address), actor=ADMIN)
    named, _ = desk.alerts.channels.add("shop", "chat", Secret("json://127.0.0.1:9/hook"), actor=ADMIN)
    assert named.masked == "json://127.0.0.1:9/…"


def test_an_address_that_was_moved_to_another_row_does_not_open(desk: Desk) -> None:
    first, _ = desk.hook()
    second, _ = desk.alerts.channels.add(
        "shop", "webhook", Secret("https://other.example.com/x"), actor=ADMIN
    )
    with desk.shop.database.write() as connection:
        rows = {row.channel_id: row for row in connection.execute(select(alert_channels))}
        moved = {
            name: rows[second.id]._mapping[name] for name in ("sealed_data_key", "sealed_value", "masked")
        }
        connection.execute(
            update(alert_channels).where(alert_channels.c.channel_id == first.id).values(moved)
        )
    answer = desk.alerts.history.send_test("shop", first.id, actor=ADMIN)
    assert "changed in the database past Qodex" in answer.said


def test_a_rotation_of_the_master_key_hands_addresses_over(desk: Desk) -> None:
    channel, _ = desk.hook()
    old = desk.shop.keyring.first.id
    keyring = Keyring([MasterKey(bytes(range(32))), *desk.shop.keyring._keys.values()])
    masters = Masters(desk.shop.database, keyring, desk.settings)
    masters.rotate(actor=ADMIN)
    with desk.shop.database.read() as connection:
        assert set(connection.execute(select(alert_channels.c.master_key_id)).scalars()) == {keyring.first.id}
    without = Alerts(desk.shop.database, Keyring([keyring.first]), desk.settings)
    assert old != keyring.first.id
    assert without.history.send_test("shop", channel.id, actor=ADMIN).ok


@pytest.mark.parametrize(
    ("kind", "address"),
    [
        ("webhook", "http://hooks.example.com/x"),
        ("webhook", "ftp://hooks.example.com/x"),
        ("webhook", "https://user:pw@hooks.example.com/x"),
        ("slack", "hooks.slack.com"),
        ("email", "nobody"),
        ("chat", "exec://ls"),
        ("pigeon", "https://example.com"),
        ("webhook", ""),
    ],
)
def test_an_address_that_cannot_be_used_is_refused(desk: Desk, kind: str, address: str) -> None:
    with pytest.raises(BadInput):
        desk.alerts.channels.add("shop", kind, Secret(address), actor=ADMIN)


def test_a_manager_sees_what_happened_and_not_whom_it_was_told(desk: Desk) -> None:
    from lib.access.members import Members

    members = Members(desk.shop.database)
    desk.lead()
    members.put("boss@example.com", "manager", slug="shop", actor=ADMIN)
    boss = members.actor("boss@example.com", Origin.BROWSER)
    desk.happen()
    desk.alerts.sender.once()
    (told,) = desk.alerts.history.recent("shop", actor=boss)
    assert (told.title, told.deliveries) == ("shop: the key •••• x4Tz fails", ())
    with pytest.raises(Forbidden):
        desk.alerts.channels.list("shop", actor=boss)
    with pytest.raises(Forbidden):
        desk.alerts.history.recent(None, actor=boss)
