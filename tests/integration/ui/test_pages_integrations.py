"""Settings > Integrations: every state of a key, and everything a lead does with one."""

from __future__ import annotations

import base64
import os
from typing import NamedTuple

import pytest
from streamlit.testing.v1 import AppTest

from lib.ui.base.server import real_front_door
from tests.pages import ADMIN, Dashboard, buttons, press, texts
from tests.upstream import (
    CLAUDE_KEY,
    CLAUDE_WRONG_KEY,
    GEMINI_KEY,
    GEMINI_WRONG_KEY,
    GOOD_KEY,
    OTHER_KEY,
    PLATFORM_KEY,
    WRONG_KEY,
    ScriptedUpstream,
)

pytestmark = pytest.mark.parametrize("database_kind", ["sqlite"])


def type_key(page: AppTest, key: str) -> AppTest:
    """Paste a key into the open dialog and press "Check and save"."""
    field = next(each for each in page.text_input if each.label == "New OpenAI API key")
    field.input(key)
    return press(page, "Check and save")


def with_platform_key(monkeypatch: pytest.MonkeyPatch, key: str = PLATFORM_KEY) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", key)
    real_front_door.clear()


# --- states


def test_a_project_without_a_key_is_platform_funded_with_its_caps_and_offers_to_add_one(
    dashboard: Dashboard, monkeypatch: pytest.MonkeyPatch
):
    with_platform_key(monkeypatch)
    dashboard.add("checkout-api")
    page = dashboard.open("integrations")
    assert "Platform-funded" in texts(page)
    assert "5-hour cap" in texts(page)
    assert "Before you add a key" in texts(page)
    assert "Anthropic API key" in texts(page)
    assert "Google API key" in texts(page)
    assert "What bringing your own key changes" in texts(page)
    assert {"Add your key", "Send a test call"} <= set(buttons(page))
    assert not {"Replace", "Check again", ":red[Remove]"} & set(buttons(page))


def test_without_any_key_the_page_says_that_no_call_can_be_made(dashboard: Dashboard):
    dashboard.add("checkout-api")
    page = dashboard.open("integrations")
    assert "this server has no platform key" in texts(page)
    assert "Nobody pays for calls of checkout-api yet" in texts(page)
    assert "Qodex pays for the calls" not in texts(page)


def test_a_failing_platform_key_is_told_where_it_matters(
    dashboard: Dashboard, upstream: ScriptedUpstream, monkeypatch: pytest.MonkeyPatch
):
    with_platform_key(monkeypatch)
    dashboard.add("checkout-api")
    upstream.keys[PLATFORM_KEY] = "revoked"
    real_front_door().test_call("checkout-api", "gpt-5-mini", "Say hello.", actor=ADMIN)
    assert "The platform key •••• 0003 has been rejected by OpenAI since" in texts(
        dashboard.open("integrations")
    )


def test_a_key_in_use_shows_four_characters_who_saved_it_and_when_it_was_checked_and_used(
    dashboard: Dashboard,
):
    dashboard.add("search-ranking", GOOD_KEY)
    said = texts(dashboard.open("integrations"))
    assert "`•••• 0001`" in said
    assert "by you" in said
    assert "known to OpenAI" in said
    assert "Spend since saved" in said
    assert GOOD_KEY not in said


def test_a_key_is_active_once_a_call_has_succeeded_and_not_before(dashboard: Dashboard):
    """Whether it can pay, no check can tell."""
    dashboard.add("search-ranking", GOOD_KEY)
    said = texts(dashboard.open("integrations"))
    assert "Untested" in said
    assert "whether it can pay shows with the first call" in said
    assert ":green-badge" not in said
    dashboard.platform.test_call("search-ranking", "gpt-5-mini", "Say hello.", actor=ADMIN)
    said = texts(dashboard.open("integrations"))
    assert "Active" in said
    assert "shows with the first call" not in said


def test_a_genuine_key_whose_account_is_out_of_money_is_saved_with_a_warning(
    dashboard: Dashboard, upstream: ScriptedUpstream
):
    upstream.keys[GOOD_KEY] = "out_of_money"
    dashboard.add("search-ranking", GOOD_KEY)
    said = texts(dashboard.open("integrations"))
    assert "Cannot be used now" in said
    assert "Active" not in said
    assert "accepted" not in said
    assert "out of money" in said
    assert "stays until a call succeeds" in said
    press(
        dashboard.open("integrations"), "Check again"
    )  # the list of models is free: it tells nothing of money
    upstream.keys[GOOD_KEY] = "good"
    said = texts(press(dashboard.open("integrations"), "Check again"))
    assert "Cannot be used now" in said
    dashboard.platform.test_call("search-ranking", "gpt-5-mini", "Say hello.", actor=ADMIN)
    said = texts(dashboard.open("integrations"))
    assert "Active" in said
    assert "In the way" not in said


@pytest.mark.parametrize("behaviour", ["out_of_money", "ip_not_authorized"])
def test_a_key_that_cannot_be_used_replaces_one_that_works_only_with_the_persons_word(
    dashboard: Dashboard, upstream: ScriptedUpstream, behaviour: str
):
    dashboard.add("checkout-api", GOOD_KEY)
    upstream.keys[OTHER_KEY] = behaviour
    page = type_key(press(dashboard.open("integrations"), "Replace"), OTHER_KEY)
    said = texts(page)
    assert "The key is genuine, but" in said
    assert "Nothing was saved." in said
    assert dashboard.key("checkout-api").last4 == GOOD_KEY[-4:]
    page = press(page, "Replace it anyway")
    state = dashboard.key("checkout-api")
    assert (state.last4, state.status) == (OTHER_KEY[-4:], "warning")
    assert OTHER_KEY not in repr(page.session_state)
    assert "Cannot be used now" in texts(dashboard.open("integrations"))


def test_a_key_revoked_upstream_is_failing_since_then_with_the_providers_own_words(
    dashboard: Dashboard, upstream: ScriptedUpstream
):
    dashboard.add("mobile-bff", GOOD_KEY)
    upstream.keys[GOOD_KEY] = "revoked"
    dashboard.platform.test_call("mobile-bff", "gpt-5-mini", "Say hello.", actor=ADMIN)
    said = texts(dashboard.open("integrations"))
    assert "OpenAI has rejected its key since" in said
    assert "1 call failed; nothing was spent on the platform key." in said
    assert "`401` `invalid_api_key`" in said
    assert "Incorrect API key provided" in said
    assert "request `req_" in said


def test_a_key_of_a_master_key_that_is_not_here_is_locked_and_the_page_says_which_one_it_needs(
    dashboard: Dashboard, monkeypatch: pytest.MonkeyPatch
):
    dashboard.add("checkout-api", GOOD_KEY)
    needed = dashboard.platform.keyring.ids[0]
    monkeypatch.setenv("QODEX_MASTER_KEYS", base64.b64encode(os.urandom(32)).decode())
    real_front_door.clear()
    page = dashboard.open("integrations")
    assert not page.exception
    assert "Locked" in texts(page)
    assert needed in texts(page)


# --- entering a key


def test_an_accepted_key_is_in_use_and_neither_the_page_nor_the_session_keeps_it(dashboard: Dashboard):
    dashboard.add("checkout-api")
    page = type_key(press(dashboard.open("integrations"), "Add your key"), GOOD_KEY)
    assert (dashboard.key("checkout-api").last4, dashboard.key("checkout-api").saved_by) == ("0001", "local")
    assert "is in use from the next call on" in texts(page)
    assert GOOD_KEY not in texts(page)
    assert GOOD_KEY not in repr(page.session_state)


def test_the_step_after_saving_is_a_test_call_until_a_call_has_succeeded(dashboard: Dashboard):
    dashboard.add("checkout-api")
    page = type_key(press(dashboard.open("integrations"), "Add your key"), GOOD_KEY)
    assert "Next step: send a test call" in texts(page).replace("*", "")
    assert [button.proto.type for button in page.button if button.label == "Send a test call"] == ["primary"]
    press(press(page, "Send a test call"), "Send")
    page = dashboard.open("integrations")
    assert "Next step" not in texts(page)
    assert [button.proto.type for button in page.button if button.label == "Send a test call"] == [
        "secondary"
    ]


def test_a_rejected_key_shows_the_providers_message_and_the_key_in_use_stays_in_use(dashboard: Dashboard):
    dashboard.add("checkout-api", GOOD_KEY)
    page = type_key(press(dashboard.open("integrations"), "Replace"), WRONG_KEY)
    assert "Incorrect API key provided" in page.error[0].value
    assert "`401` `invalid_api_key` · request `req_" in page.error[0].value
    assert "Nothing was saved. **•••• 0001** stays in use" in texts(page)
    assert dashboard.key("checkout-api").version == 1
    assert WRONG_KEY not in texts(page) + repr(page.session_state)


def test_a_key_that_could_not_be_checked_saves_nothing_and_can_be_tried_again_without_pasting_it(
    dashboard: Dashboard, upstream: ScriptedUpstream
):
    dashboard.add("checkout-api", GOOD_KEY)
    upstream.queue("server_error")
    page = type_key(press(dashboard.open("integrations"), "Replace"), OTHER_KEY)
    assert page.warning[0].value
    assert "Nothing was saved. **•••• 0001** stays in use" in texts(page)
    assert dashboard.key("checkout-api").last4 == "0001"
    assert OTHER_KEY not in texts(page) + repr(page.session_state)
    press(page, "Try again")
    assert dashboard.key("checkout-api").last4 == "0002"


def test_a_dialog_closes_where_the_page_goes_to_another_project_and_its_key_is_not_saved_there(
    dashboard: Dashboard, upstream: ScriptedUpstream
):
    """By the browser's Back, for one: what was typed for one project must not become another one's key."""
    dashboard.add("checkout-api", GOOD_KEY)
    dashboard.add("search", GOOD_KEY)
    upstream.queue("server_error")
    page = type_key(press(dashboard.open("integrations", project="checkout-api"), "Replace"), OTHER_KEY)
    assert "Try again" in buttons(page)
    page.query_params["project"] = "search"
    page.run()
    assert "Try again" not in buttons(page)
    page = press(page, "Replace")
    assert "Try again" not in buttons(page)
    assert (dashboard.key("checkout-api").last4, dashboard.key("search").last4) == ("0001", "0001")


def test_a_key_that_was_typed_and_not_sent_is_forgotten(dashboard: Dashboard, upstream: ScriptedUpstream):
    dashboard.add("checkout-api")
    page = press(dashboard.open("integrations"), "Add your key")
    next(each for each in page.text_input if each.label == "New OpenAI API key").input(GOOD_KEY)
    page = press(page, "Cancel").run()
    assert GOOD_KEY not in texts(page) + repr(page.session_state)
    assert upstream.requests == []


@pytest.mark.parametrize("pasted", ["", "hello", "sk-", "sk-test" + "x" * 5000])
def test_what_cannot_be_a_key_is_refused_without_asking_the_provider(
    dashboard: Dashboard, upstream: ScriptedUpstream, pasted: str
):
    dashboard.add("checkout-api")
    page = type_key(press(dashboard.open("integrations"), "Add your key"), pasted)
    assert page.error[0].value
    assert upstream.requests == []
    assert dashboard.key("checkout-api").version == 0


def test_of_two_people_who_replace_at_once_the_second_is_told_and_overwrites_nothing(dashboard: Dashboard):
    dashboard.add("checkout-api", GOOD_KEY)
    page = press(dashboard.open("integrations"), "Replace")
    field = next(each for each in page.text_input if each.label == "New OpenAI API key")
    field.input(OTHER_KEY)
    dashboard.platform.keys.save("checkout-api", PLATFORM_KEY)
    page = press(page, "Check and save")
    assert "worker saved the key •••• 0003 in the meantime" in texts(page)
    assert "Until it is accepted, •••• 0003 stays in use" in texts(page)
    assert dashboard.key("checkout-api").last4 == "0003"
    type_key(page, OTHER_KEY)
    assert dashboard.key("checkout-api").last4 == "0002"


# --- with a key in use


def test_what_is_in_use_is_said_of_providers_that_somebody_pays_for(dashboard: Dashboard):
    dashboard.add("checkout-api", GOOD_KEY)
    _, platform, own = dashboard.open("integrations").table[-1].value.columns
    assert platform == "Platform-funded"
    assert "in use" in own


def test_check_again_notes_what_the_provider_says(dashboard: Dashboard, upstream: ScriptedUpstream):
    dashboard.add("checkout-api", GOOD_KEY)
    assert "OpenAI knows •••• 0001" in texts(press(dashboard.open("integrations"), "Check again"))
    upstream.keys[GOOD_KEY] = "revoked"
    page = press(dashboard.open("integrations"), "Check again")
    assert dashboard.key("checkout-api").status == "failing"
    assert "Failing" in texts(page)


def test_a_check_that_could_not_be_made_changes_nothing(dashboard: Dashboard, upstream: ScriptedUpstream):
    dashboard.add("checkout-api", GOOD_KEY)
    upstream.queue("server_error")
    page = press(dashboard.open("integrations"), "Check again")
    assert "Could not check the key" in page.warning[0].value
    assert dashboard.key("checkout-api").status == "working"


def test_removing_asks_first_and_says_what_follows(dashboard: Dashboard):
    dashboard.add("checkout-api", GOOD_KEY)
    page = press(dashboard.open("integrations"), ":red[Remove]")
    assert "the caps of the **Starter** plan apply" in texts(page)
    assert dashboard.key("checkout-api").version == 1
    page = press(page, "Remove the key")
    assert dashboard.key("checkout-api").version == 0
    assert "Platform-funded" in texts(page)


def test_cancelling_the_removal_keeps_the_key(dashboard: Dashboard):
    dashboard.add("checkout-api", GOOD_KEY)
    press(press(dashboard.open("integrations"), ":red[Remove]"), "Cancel")
    assert dashboard.key("checkout-api").version == 1


def test_the_lead_chooses_what_happens_when_the_key_fails(dashboard: Dashboard):
    dashboard.add("checkout-api", GOOD_KEY)
    page = dashboard.open("integrations")
    page = page.radio[0].set_value("platform").run()
    assert dashboard.platform.projects.get("checkout-api", actor=ADMIN).on_key_failure == "platform"
    assert "Set to fall back by you" in texts(page)


# --- a test call


def test_a_test_call_shows_the_answer_tokens_cost_latency_and_whose_key_paid(dashboard: Dashboard):
    dashboard.add("checkout-api", GOOD_KEY)
    said = texts(press(press(dashboard.open("integrations"), "Send a test call"), "Send"))
    assert "Hello from the scripted upstream" in said
    assert "BYOK •••• 0001" in said
    for fact in ("Tokens", "Cost", "Latency", "Request"):
        assert fact in said


def test_a_test_call_that_no_key_can_pay_for_says_so(dashboard: Dashboard):
    dashboard.add("checkout-api")
    page = press(press(dashboard.open("integrations"), "Send a test call"), "Send")
    assert "no key of its own and no platform key" in texts(page)


# --- another provider ------------------------------------------------------------------------------


class Another(NamedTuple):
    """A second provider beside OpenAI, whose card is the only one with a key of its own but for OpenAI's."""

    name: str
    title: str
    good: str
    wrong: str
    refusal: str
    model_path: str
    add_button: int
    """Which of the buttons that add a key is its card's."""


ANOTHER = [
    Another("anthropic", "Anthropic", CLAUDE_KEY, CLAUDE_WRONG_KEY, "invalid x-api-key", "/messages", 0),
    Another(
        "google",
        "Google",
        GEMINI_KEY,
        GEMINI_WRONG_KEY,
        "API key not valid",
        "/models/gemini-3.5-flash-lite:generateContent",
        1,
    ),
]
another_provider = pytest.mark.parametrize("another", ANOTHER, ids=lambda each: each.name)


def press_second(page: AppTest, label: str) -> AppTest:
    """Click the button of that label on the card of the second provider with a key."""
    [button for button in page.button if button.label == label][-1].click()
    return page.run()


@another_provider
def test_the_key_of_each_provider_is_added_checked_and_removed_by_itself(
    dashboard: Dashboard, upstream: ScriptedUpstream, another: Another
):
    dashboard.add("checkout-api", GOOD_KEY)
    said = texts(dashboard.open("integrations"))
    assert f"Nobody pays for {another.title} calls of checkout-api yet" in said
    assert "this server has no platform key" not in said, "It can call OpenAI."
    page = dashboard.open("integrations")
    [button for button in page.button if button.label == "Add your key"][another.add_button].click()
    page, field = page.run(), f"New {another.title} API key"
    next(each for each in page.text_input if each.label == field).input(another.wrong)
    page = press(page, "Check and save")
    assert another.refusal in page.error[0].body.replace("\\", "")
    next(each for each in page.text_input if each.label == field).input(another.good)
    press(page, "Check and save")
    saved = dashboard.platform.keys.describe("checkout-api", provider=another.name)
    assert (saved.last4, saved.saved_by) == (another.good[-4:], "local")
    page = dashboard.open("integrations")
    assert f"{another.title} bills the calls of checkout-api to your account" in texts(page)
    assert "OpenAI bills the calls of checkout-api to your account" in texts(page)
    assert another.good not in texts(page)
    upstream.keys[another.good] = f"{another.name}.out_of_money"
    said = texts(press_second(page, "Check again"))
    assert "knows •••• 0001, but it cannot be used now" in said
    page = press_second(dashboard.open("integrations"), ":red[Remove]")
    press(page, "Remove the key")
    assert dashboard.platform.keys.describe("checkout-api", provider=another.name).status == "none"
    assert dashboard.key("checkout-api").last4 == GOOD_KEY[-4:]


@another_provider
def test_the_policy_of_each_provider_is_its_own(dashboard: Dashboard, another: Another):
    dashboard.add("checkout-api", GOOD_KEY)
    dashboard.platform.keys.save("checkout-api", another.good, provider=another.name)
    page = dashboard.open("integrations")
    question = f"If {another.title} refuses the key"
    next(each for each in page.radio if each.label == question).set_value("platform").run()
    keys = dashboard.platform.keys
    assert keys.describe("checkout-api", provider=another.name).on_key_failure == "platform"
    assert keys.describe("checkout-api").on_key_failure == "stop"


def test_what_a_key_changes_is_told_for_all_three(dashboard: Dashboard, monkeypatch: pytest.MonkeyPatch):
    with_platform_key(monkeypatch)
    dashboard.add("checkout-api")
    for another in ANOTHER:
        dashboard.platform.keys.save("checkout-api", another.good, provider=another.name)
    said = texts(dashboard.open("integrations"))
    assert "in use for OpenAI" in said
    assert "in use for Anthropic and Google" in said
    assert "OpenAI, Anthropic or Google bills your account" in said


def test_what_googles_own_spend_cap_really_does_is_told_before_a_key_is_added(dashboard: Dashboard):
    dashboard.add("checkout-api")
    assert "Google's own spend cap acts about ten minutes late" in texts(dashboard.open("integrations"))


def test_a_key_that_may_administer_the_organization_is_warned_of(
    dashboard: Dashboard, upstream: ScriptedUpstream
):
    upstream.keys[CLAUDE_KEY] = "anthropic.administers"
    dashboard.add("checkout-api")
    dashboard.platform.keys.save("checkout-api", CLAUDE_KEY, provider="anthropic")
    said = texts(dashboard.open("integrations"))
    assert "it can also administer the organization" in said
    assert "`wrkspc_test`, which Anthropic bills" in said


@another_provider
def test_a_test_call_goes_to_the_provider_of_its_card(
    dashboard: Dashboard, upstream: ScriptedUpstream, another: Another
):
    dashboard.add("checkout-api", GOOD_KEY)
    dashboard.platform.keys.save("checkout-api", another.good, provider=another.name)
    page = press(press_second(dashboard.open("integrations"), "Send a test call"), "Send")
    assert f"{another.title} bills your account" in texts(page)
    assert (upstream.requests[-1].path, upstream.requests[-1].key) == (another.model_path, another.good)
