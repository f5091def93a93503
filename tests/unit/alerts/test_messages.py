"""What alerts say: the number, the reason, when room returns, and one link."""

from __future__ import annotations

from types import SimpleNamespace
from zoneinfo import ZoneInfo

import pytest

from lib.alerts import messages
from lib.alerts.channels.slack import payload_of
from lib.alerts.kinds import KINDS
from lib.alerts.messages import message_of, together
from lib.alerts.sentences import Site, wait
from lib.clock import DAY, HOUR, MINUTE
from lib.formatting import money

NOW = 1_790_000_000_000_000
SITE = Site("https://qodex.example.com", ZoneInfo("UTC"))
CAP = {
    "project": "payments",
    "window": "5h",
    "percent": 84,
    "cap_nano": 60 * 10**9,
    "used_nano": 48_400_000_000,
    "reserved_nano": 2 * 10**9,
    "rolls_off_at": NOW + 30 * MINUTE,
    "rolls_off_nano": 1_500_000_000,
    "returns_at": NOW + 70 * MINUTE,
    "threshold_percent": 80,
    "runs_waiting": 2,
}
KEY = {
    "project": "payments",
    "provider": "openai",
    "last4": "x4Tz",
    "why": "rejected",
    "code": "invalid_api_key",
    "since": NOW,
}
ASKED = {
    "project": "payments",
    "asked_by": "ada@example.com",
    "reason": "Release week",
    "cap_5h_nano": 20 * 10**9,
    "cap_7d_nano": 90 * 10**9,
    "ends_at": NOW + 3 * DAY,
}
DECIDED = {"status": "approved", "decided_by": "bo@example.com", "answer": None}
DATA = {
    "cap.threshold": CAP,
    "cap.reached": CAP,
    "cap.forecast": CAP | {"median": NOW + HOUR, "earliest": NOW, "latest": None, "chance_percent": 85},
    "runs.waiting": {"project": "payments", "runs": 3, "since": NOW - HOUR, "returns_at": NOW + HOUR},
    "caps.asked": ASKED,
    "caps.decided": ASKED | DECIDED,
    "key.failing": KEY,
    "key.recovered": KEY,
    "key.locked": KEY | {"why": "The key is locked."},
    "key.old": KEY | {"days": 200, "saved_by": "ada@example.com"},
    "key.unused": KEY | {"days": 40},
    "run.budget_exceeded": {"project": "payments", "run_id": "r-1", "used": 210_000, "budget": 200_000},
    "usage.unpriced": {"project": "payments", "model": "gpt-x", "source": "byok", "run_id": "r-1"},
    "spend.jump": {"project": "payments", "spent_nano": 9 * 10**9, "usual_nano": 10**9, "times": 9},
    "channel.off": {"project": "payments", "channel": "hooks.slack.com/…abcd", "why": "it is gone (404)."},
    "platform.key_failing": {"last4": "x4Tz", "why": "out_of_money"},
    "platform.key_recovered": {"last4": "x4Tz", "why": None},
    "test": {"project": "payments", "who": "ada@example.com"},
}


def message(kind: str, **more: object) -> messages.Message:
    row = SimpleNamespace(event_id="msg_1", kind=kind, severity="warning", at=NOW)
    return message_of(row, {**DATA[kind], **more}, SITE, NOW)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_words_one_link_and_no_loose_ends(kind):
    found = message(kind)
    assert found.title
    assert found.text.endswith(".")
    assert found.link.startswith("https://qodex.example.com/")
    assert not {"None", "nano", "{", "  "} & {
        word for word in ("None", "nano", "{", "  ") if word in found.text
    }


def test_a_threshold_says_the_number_the_reason_and_what_leaves():
    found = message("cap.threshold")
    assert found.title == "payments: 84% of the 5-hour cap is used"
    assert found.text == (
        "payments has used 84% of its 5-hour cap of $60.00, running calls included; it has just passed 80%. "
        "The next $1.50 leave the window in 30 min (Mon 21 Sep, 14:43 UTC)."
    )
    assert found.facts == [("Used", "$48.40"), ("Reserved by running calls", "$2.00"), ("Room left", "$9.60")]
    assert found.link == "https://qodex.example.com/plan?project=payments"


def test_a_reached_cap_says_when_room_returns_who_waits_and_the_ways_on():
    assert message("cap.reached").text == (
        "payments has no room in its 5-hour cap of $60.00: something was refused for the first time. Room returns in "
        "1 h 10 min (Mon 21 Sep, 15:23 UTC). 2 runs wait. You can wait, add the project's own key, or ask for "
        "another plan."
    )


def test_a_request_for_more_room_says_who_how_much_how_long_and_why():
    assert message("caps.asked").text == (
        "ada@example.com asks for $20.00 in 5 hours and $90.00 in 7 days for payments, until Thu 24 Sep, 14:13 UTC: "
        "“Release week”. An administrator who is somebody else decides."
    )
    assert message("caps.asked").link == "https://qodex.example.com/plan?project=payments"
    assert message("caps.asked").data["ends_at"] == "2026-09-24T14:13:20Z"


def test_the_answer_says_what_was_given_or_why_not():
    assert message("caps.decided").text == (
        "bo@example.com has given payments $20.00 in 5 hours and $90.00 in 7 days, until Thu 24 Sep, 14:13 UTC. "
        "ada@example.com had asked: “Release week”."
    )
    assert message("caps.decided", status="declined", answer="Add your own key").text == (
        "bo@example.com has declined what was asked for payments: “Add your own key”. "
        "ada@example.com had asked: “Release week”."
    )


def test_a_key_is_named_with_its_provider_where_the_event_knows_it():
    assert message("key.failing").title == "payments: the OpenAI key •••• x4Tz fails"
    assert message("key.failing", provider=None).title == "payments: the key •••• x4Tz fails"
    assert message("key.locked").title == "payments: its OpenAI key is locked, and its calls stop"


def test_machines_get_plain_money_and_times():
    data = message("cap.threshold").data
    assert (data["cap_usd"], data["used_usd"], data["rolls_off_at"]) == ("60", "48.4", "2026-09-21T14:43:20Z")
    assert not [name for name in data if name.endswith("_nano")]


def test_slack_gets_blocks_with_a_button_and_nothing_that_it_would_read_as_markup():
    payload = payload_of(message("usage.unpriced", model="<!channel> & co"))
    assert [block["type"] for block in payload["blocks"]] == ["header", "section", "actions"]
    assert "&lt;!channel&gt; &amp; co" in payload["blocks"][1]["text"]["text"]
    assert payload["blocks"][-1]["elements"][0]["url"] == "https://qodex.example.com/usage?project=payments"
    assert len(payload_of(message("cap.threshold"))["blocks"][2]["fields"]) == 3


def test_many_alerts_are_told_in_one_that_lists_the_first_and_counts_the_rest():
    found = together("msg_2", [message("key.recovered")] * 37, SITE, NOW, digest=False)
    assert found.title == "37 more alerts"
    assert found.text.endswith("and 17 more")
    assert len(found.data["alerts"]) == 37
    assert (
        together("msg_2", [message("key.recovered")], SITE, NOW, digest=True).title == "Daily digest: 1 alert"
    )


@pytest.mark.parametrize("nano", [0, 40_000, 4_200_000, 9_960_000, 1_234_560_000_000])
def test_amounts_are_said_as_pages_say_them(nano):
    assert ("Used", money(nano)) in message("cap.reached", used_nano=nano).facts


@pytest.mark.parametrize(
    ("micros", "words"),
    [
        (1, "1 min"),
        (59 * MINUTE, "59 min"),
        (HOUR, "1 h"),
        (70 * MINUTE, "1 h 10 min"),
        (DAY + HOUR, "1 d 1 h"),
    ],
)
def test_waits_in_words(micros, words):
    assert wait(micros) == words
