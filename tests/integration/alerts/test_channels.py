"""Every channel against a real server: what arrives, and what becomes of receivers that misbehave."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from zoneinfo import ZoneInfo

import pytest
from standardwebhooks import Webhook

from lib.alerts.channels import chat, slack, webhook
from lib.alerts.channels.http import Poster
from lib.alerts.channels.mail import NOT_SET_UP, Mailer
from lib.alerts.messages import Message, message_of
from lib.alerts.sentences import Site
from lib.llm.http import install_log_redaction
from lib.secret import Secret
from tests.receivers import Receiver, mail_server, receiving
from tests.unit.alerts.test_messages import DATA, NOW

HERE = ("127.0.0.1",)
POSTER = Poster(HERE, seconds=2)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


def message(kind: str = "cap.threshold") -> Message:
    row = SimpleNamespace(event_id="msg_1234", kind=kind, severity="critical", at=NOW)
    return message_of(row, DATA[kind], Site("https://qodex.example.com", ZoneInfo("UTC")), NOW)


# --- webhooks --------------------------------------------------------------------------------------


def test_a_webhook_is_signed_as_its_receivers_library_verifies_it(receiver):
    secret = webhook.new_secret()
    assert webhook.send(POSTER, Secret(receiver.url), secret, message()).ok
    (post,) = receiver.posts
    told = Webhook(secret.reveal()).verify(post.body, post.headers)
    assert (told["type"], told["data"]["project"], told["data"]["cap_usd"]) == (
        "cap.threshold",
        "payments",
        "60",
    )
    assert told["data"]["link"] == "https://qodex.example.com/plan?project=payments"
    assert post.headers["webhook-id"] == "msg_1234"
    assert post.headers["host"] == f"127.0.0.1:{receiver.port}"


def test_a_webhook_with_another_secret_does_not_verify(receiver):
    webhook.send(POSTER, Secret(receiver.url), webhook.new_secret(), message())
    (post,) = receiver.posts
    with pytest.raises(Exception, match="No matching signature"):
        Webhook(webhook.new_secret().reveal()).verify(post.body, post.headers)


@pytest.mark.parametrize(
    ("behaviour", "said", "gone"),
    [
        (500, "500", False),
        (404, "404", False),
        (410, "410", True),
        ("redirect", "302: it redirects, which is not followed.", False),
        ("hang", "No answer within 0.5 s.", False),
        ("drip", "No answer within 0.5 s.", False),
    ],
)
def test_what_a_receiver_that_misbehaves_is_taken_for(receiver, behaviour, said, gone):
    receiver.behaviour = behaviour
    answer = webhook.send(Poster(HERE, seconds=0.5), Secret(receiver.url), webhook.new_secret(), message())
    assert (answer.ok, answer.said, answer.gone) == (False, said, gone)
    assert len(receiver.posts) == 1


def test_a_receiver_that_has_had_enough_says_for_how_long(receiver):
    receiver.behaviour, receiver.headers = 429, {"retry-after": "120"}
    answer = webhook.send(POSTER, Secret(receiver.url), webhook.new_secret(), message())
    assert (answer.ok, answer.retry_after) == (False, 120)


def test_nothing_is_sent_to_a_private_network(receiver):
    answer = webhook.send(Poster(), Secret(receiver.url), webhook.new_secret(), message())
    assert "private network" in answer.said
    assert receiver.posts == []


def test_no_connection_is_a_sentence():
    answer = webhook.send(POSTER, Secret("http://127.0.0.1:9/hook"), webhook.new_secret(), message())
    assert answer.said == "No connection, or none that lasted (ConnectError)."


def test_the_environments_proxies_are_ignored(receiver, monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert webhook.send(POSTER, Secret(receiver.url), webhook.new_secret(), message()).ok


@pytest.mark.parametrize("behaviour", [200, "redirect", 500])
def test_no_log_at_any_level_holds_the_address_which_is_a_secret(receiver, caplog, behaviour):
    install_log_redaction()
    for logger in ("", "httpx2", "httpcore2"):  # a dashboard in this process may have made them quiet
        caplog.set_level(logging.DEBUG, logger)
    receiver.behaviour, receiver.elsewhere = behaviour, "/hook"
    slack.send(POSTER, Secret(receiver.url), message())
    assert len(receiver.posts) == 1
    assert "receive_response_headers.complete" in caplog.text
    assert "/hook" not in caplog.text


def test_a_name_server_that_hangs_holds_up_nobody_beyond_the_deadline(monkeypatch):
    go_on, ended = threading.Event(), threading.Event()

    def look_up(*_: object) -> list[str]:
        go_on.wait(20)
        ended.set()
        return ["127.0.0.1"]

    monkeypatch.setattr("lib.alerts.channels.http.addresses_of", look_up)
    answer = slack.send(Poster(HERE, seconds=0.2), Secret("http://chat.example.com/hook"), message())
    assert not ended.is_set()
    assert answer.said == "No answer within 0.2 s."
    go_on.set()


# --- Slack, and the other chats --------------------------------------------------------------------


def test_slack_gets_the_json_that_it_takes(receiver):
    assert slack.send(POSTER, Secret(receiver.url), message()).ok
    (post,) = receiver.posts
    told = json.loads(post.body)
    assert told["text"].startswith("payments: 84% of the 5-hour cap is used. https://")
    assert [block["type"] for block in told["blocks"]] == ["header", "section", "section", "actions"]


@pytest.mark.parametrize("status", [403, 404, 410])
def test_a_slack_address_that_is_gone_is_not_tried_again(receiver, status):
    receiver.behaviour = status
    assert slack.send(POSTER, Secret(receiver.url), message()).gone


def test_another_chat_goes_through_apprise(receiver, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    answer = chat.send(Secret(f"json://127.0.0.1:{receiver.port}/hook"), message(), HERE)
    assert answer.ok, answer
    told = json.loads(receiver.posts[0].body)
    assert (told["title"], told["type"]) == ("payments: 84% of the 5-hour cap is used", "failure")
    assert "https://qodex.example.com/plan" in told["message"]


@pytest.mark.parametrize(
    ("behaviour", "said", "seconds"),
    [(500, "500", 30), ("redirect", "302", 30), ("hang", "No answer within 1 s.", 1)],
)
def test_a_chat_that_misbehaves_is_no_success(receiver, behaviour, said, seconds):
    receiver.behaviour = behaviour
    answer = chat.send(Secret(f"json://127.0.0.1:{receiver.port}/hook"), message(), HERE, seconds=seconds)
    assert (answer.ok, answer.said) == (False, said)
    assert {post.path for post in receiver.posts} <= {"/hook"}


def test_apprise_reaches_no_private_network(receiver):
    answer = chat.send(Secret(f"json://localhost:{receiver.port}/hook"), message(), ())
    assert not answer.ok
    assert receiver.posts == []


@pytest.mark.parametrize(
    "address",
    ["exec://ls", "syslog://", "dbus://", "file:///tmp/x", "gnome://", "mailto://u:p@example.com", "x"],
)
def test_what_acts_on_this_machine_is_no_chat(address):
    assert chat.mask(Secret(address)) is None


@pytest.mark.parametrize(
    "address", ["discord://1234567890/abcdefghijklmnop", "tgram://123456789:abcdefg_hijklmnop/12315544"]
)
def test_no_chat_makes_its_message_of_a_file_of_this_host(address, tmp_path):
    template = tmp_path / "template.json"
    template.write_text("{}")
    assert chat.mask(Secret(address)) is not None
    assert chat.mask(Secret(f"{address}?template={template}")) is None


def test_a_chats_address_is_shown_without_its_tokens():
    shown = chat.mask(Secret("discord://1234567890/abcdefghijklmnop"))
    assert shown is not None
    assert "abcdefghijklmnop" not in shown
    assert chat.mask(Secret("json://chat.example.com/secret-path")) == "json://chat.example.com/…"


# --- mail ------------------------------------------------------------------------------------------


def test_mail_arrives_with_what_mail_programs_need():
    with mail_server() as (mailbox, url):
        assert Mailer(Secret(url), "qodex@example.com").send("ada@example.com", message()).ok
    (mail,) = mailbox.mails
    assert (mail["To"], mail["Subject"]) == (
        "ada@example.com",
        "[Qodex] payments: 84% of the 5-hour cap is used",
    )
    assert mail["Message-ID"] == "<msg_1234@example.com>"
    assert mail["References"] == "<payments.5h@example.com>"
    assert mail["Auto-Submitted"] == "auto-generated"
    text = mail.get_content()
    assert "Room left: $9.60" in text
    assert text.count("https://") == 1


def test_a_mailbox_that_is_not_there_is_gone_for_good():
    with mail_server() as (mailbox, url):
        mailbox.refuses = "550 no such user"
        answer = Mailer(Secret(url), "qodex@example.com").send("nobody@example.com", message())
    assert (answer.ok, answer.gone) == (False, True)
    assert "nobody" not in answer.said


def test_a_mail_server_that_hangs_is_left_in_time(receiver):
    receiver.behaviour = "hang"
    answer = Mailer(Secret(f"smtp://127.0.0.1:{receiver.port}"), "qodex@example.com", seconds=0.5).send(
        "ada@example.com", message()
    )
    assert not answer.ok


def test_without_a_mail_server_it_is_said():
    assert Mailer(None, None).send("ada@example.com", message()).said == NOT_SET_UP
