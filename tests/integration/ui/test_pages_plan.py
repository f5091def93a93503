"""Plan, where caps are changed: administrators see the effect before they save, leads ask, and somebody else decides."""

from __future__ import annotations

import pytest
from streamlit.testing.v1 import AppTest

from lib.access.roles import Actor, Origin, Role
from lib.clock import DAY
from lib.pricing.amounts import NANO
from tests.pages import ADMIN, Dashboard, buttons, press, texts
from tests.upstream import GOOD_KEY

pytestmark = pytest.mark.parametrize("database_kind", ["sqlite"])


@pytest.fixture(autouse=True)
def _project(dashboard: Dashboard) -> None:
    dashboard.add("checkout-api")


def dialog(dashboard: Dashboard, opener: str, page: str = "plan") -> AppTest:
    return press(dashboard.open(page, project="checkout-api"), opener)


def type_caps(page: AppTest, five_hours: str, seven_days: str) -> AppTest:
    for label, text in (("5-hour cap, USD", five_hours), ("7-day cap, USD", seven_days)):
        next(field for field in page.text_input if field.label == label).input(text)
    return page.run()


def fill(page: AppTest, label: str, text: str) -> AppTest:
    next(field for field in page.text_input if field.label == label).input(text)
    return page.run()


def ask(dashboard: Dashboard, who: Actor) -> None:
    now = dashboard.platform.caps.headroom("checkout-api", actor=ADMIN).at
    dashboard.platform.cap_requests.ask(
        "checkout-api",
        cap_5h_nano=40 * NANO,
        cap_7d_nano=90 * NANO,
        until=now + 3 * DAY,
        reason="Release *week*",
        actor=who,
    )


def lead(dashboard: Dashboard) -> Actor:
    project = dashboard.platform.projects.get("checkout-api", actor=ADMIN)
    return Actor("lead@example.com", Origin.BROWSER, None, {project.id: Role.LEAD})


def caps(dashboard: Dashboard) -> list[int]:
    room = dashboard.platform.caps.headroom("checkout-api", actor=ADMIN)
    return [window.cap_nano // NANO for window in room.windows.values()]


def test_an_administrator_gives_a_project_caps_of_its_own_and_sees_what_that_changes(dashboard: Dashboard):
    page = type_caps(dialog(dashboard, "Set own caps"), "0", "12.50")
    said = texts(page)
    assert "5-hour: $0.00 of $0.00 used (100%), $0.00 free instead of $5.00" in said
    assert "At the 5-hour cap new chats are refused" in said
    assert caps(dashboard) == [5, 30]
    page = press(fill(type_caps(page, "8", "40"), "Why", "Release week"), "Set caps")
    assert caps(dashboard) == [8, 40]
    assert "Release week" in texts(dashboard.open("plan", project="checkout-api"))
    press(dialog(dashboard, "End own caps"), "End own caps")
    assert caps(dashboard) == [8, 40]


@pytest.mark.parametrize(("text", "sentence"), [("much", "plain number"), ("-1", "0 USD or more")])
def test_an_amount_that_is_none_is_said_and_cannot_be_saved(dashboard: Dashboard, text: str, sentence: str):
    page = type_caps(dialog(dashboard, "Set own caps"), text, "12.50")
    assert sentence in page.error[0].value.replace("\\", "")
    assert "Set caps" not in buttons(page)


def test_without_a_reason_nothing_is_saved_and_the_dialog_says_why(dashboard: Dashboard):
    page = press(type_caps(dialog(dashboard, "Set own caps"), "8", "40"), "Set caps")
    assert "Say why" in page.error[0].value
    assert caps(dashboard) == [5, 30]


def test_an_administrator_changes_the_plan_of_a_project(dashboard: Dashboard):
    page = dialog(dashboard, "Change plan")
    page.radio[0].set_value("Scale").run()
    assert "free instead of $5.00" in texts(page)
    press(page, "Change to Scale")
    assert dashboard.platform.projects.get("checkout-api", actor=ADMIN).plan == "Scale"


def test_an_administrator_edits_a_plan_and_sees_whose_caps_these_are(dashboard: Dashboard):
    page = type_caps(dialog(dashboard, "Edit plans"), "0", "30")
    assert "1 project has these caps. At a cap at once: checkout-api." in texts(page)
    press(type_caps(page, "6", "31"), "Save plan")
    assert caps(dashboard) == [6, 31]


def test_what_a_lead_asks_for_is_on_overview_and_somebody_else_approves_it_for_a_time(dashboard: Dashboard):
    ask(dashboard, lead(dashboard))
    dashboard.add("search-ranking", GOOD_KEY)
    with dashboard.platform.run("search-ranking") as run:
        run.openai.responses.create(model="gpt-5-mini", input="Hi", max_output_tokens=50)
    assert "lead@example.com asks for $40.00 in 5 hours and $90.00 in 7 days" in texts(
        dashboard.open("overview")
    )
    page = dialog(dashboard, "Approve")
    assert "Release *week*" in texts(page)
    press(page, "Approve")
    page.button(key="confirm:request:approve").click().run()
    assert caps(dashboard) == [40, 90]
    assert dashboard.platform.cap_requests.waiting(actor=ADMIN) == []
    assert "asks for" not in texts(dashboard.open("overview"))


def test_a_request_is_declined_with_the_reason_that_the_lead_then_reads(dashboard: Dashboard):
    ask(dashboard, lead(dashboard))
    page = fill(dialog(dashboard, "Decline"), "Why not", "Use your own key")
    page.button(key="confirm:request:decline").click().run()
    assert "Use your own key" in texts(dashboard.open("plan", project="checkout-api"))
    assert caps(dashboard) == [5, 30]


def test_nobody_is_offered_to_decide_on_what_they_asked_for_themselves(dashboard: Dashboard):
    ask(dashboard, ADMIN)
    page = dashboard.open("plan", project="checkout-api")
    assert not {"Approve", "Decline"} & set(buttons(page))
    assert "somebody else who is an administrator decides" in texts(page)
