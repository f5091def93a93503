"""Settings > Alerts: who is told what, and what was told."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from lib.alerts import kinds, outbox
from lib.secret import Secret
from tests.pages import ADMIN, Dashboard, buttons, press, texts
from tests.receivers import Receiver, receiving

pytestmark = pytest.mark.parametrize("database_kind", ["sqlite"])


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


@pytest.fixture
def shop(dashboard: Dashboard, monkeypatch: pytest.MonkeyPatch) -> Dashboard:
    monkeypatch.setenv("QODEX_NOTIFY_PRIVATE_HOSTS", "127.0.0.1")
    dashboard.add("checkout-api")
    return dashboard


def alerts(shop: Dashboard) -> Any:
    return shop.platform.alerts


def tables(page: AppTest) -> list[list[dict[str, Any]]]:
    return [frame.value.to_dict("records") for frame in page.dataframe]


def happen(shop: Dashboard) -> str:
    platform = shop.platform
    project_id = platform.projects.get("checkout-api", actor=ADMIN).id
    with platform.database.write() as connection:
        now = platform.database.now(connection)
        data = {"project": "checkout-api", "last4": "x4Tz", "why": "rejected", "code": None}
        return outbox.record(connection, project_id, kinds.KEY_FAILING, now, data)


def test_where_nobody_is_told_the_page_says_so_and_offers_a_channel(shop: Dashboard):
    page = shop.open("alerts", project="checkout-api")
    said = texts(page)
    assert "no channel was added" in said
    assert "No alerts yet." in said
    assert "no mail server is set up" in said
    assert {"Add a channel", "Save"} <= set(buttons(page))


def test_what_was_told_stands_there_with_whom_it_went_to(shop: Dashboard):
    happen(shop)
    page = shop.open("alerts", project="checkout-api")
    (row,) = next(rows for rows in tables(page) if rows and "When" in rows[0])
    assert (row["Alert"], list(row["Severity"]), row["Sent to"]) == (
        "checkout-api: the key •••• x4Tz fails",
        ["Critical"],
        "No channel",
    )


def test_thresholds_and_quiet_hours_are_saved(shop: Dashboard):
    page = shop.open("alerts", project="checkout-api")
    for label in ("50%", "95%", "Quiet hours: critical alerts only"):
        next(each for each in page.checkbox if each.label == label).check()
    press(page, "Save")
    assert not page.exception
    found = alerts(shop).preferences.get("checkout-api", actor=ADMIN)
    assert (list(found.thresholds), found.quiet_from, found.quiet_until) == ([50, 80, 95], 22, 7)


def test_a_webhook_is_added_and_its_secret_shown_once(shop: Dashboard, receiver: Receiver):
    page = press(shop.open("alerts", project="checkout-api"), "Add a channel")
    page.radio[0].set_value("webhook").run()
    next(each for each in page.text_input if each.label == "Address").input(
        "https://ops.example.com/hooks/abcd1234"
    )
    press(page, "Add")
    (secret,) = [each.value for each in page.code]
    assert secret.startswith("whsec_")
    press(page, "Done")
    assert not page.code
    (channel,) = alerts(shop).channels.list("checkout-api", actor=ADMIN)
    assert channel.masked == "ops.example.com/…1234"
    assert "abcd1234" not in texts(page) + str(tables(page))


def test_the_secret_of_one_projects_webhook_is_not_shown_with_another_project(shop: Dashboard):
    shop.add("search")
    page = press(shop.open("alerts", project="checkout-api"), "Add a channel")
    page.radio[0].set_value("webhook").run()
    next(each for each in page.text_input if each.label == "Address").input("https://ops.example.com/hook")
    press(page, "Add")
    assert page.code
    page.query_params["project"] = "search"
    page.run()
    press(page, "Add a channel")
    assert not page.code
    assert [each for each in page.text_input if each.label == "Address"]


def test_an_address_that_cannot_be_used_is_refused_in_the_dialog(shop: Dashboard):
    page = press(shop.open("alerts", project="checkout-api"), "Add a channel")
    next(each for each in page.text_input if each.label == "Address").input("http://example.com/secret-path")
    press(page, "Add")
    assert "Use an https address" in texts(page)
    assert "secret-path" not in texts(page)
    assert alerts(shop).channels.list("checkout-api", actor=ADMIN) == []


def test_a_channel_stands_in_the_table_masked(shop: Dashboard):
    address = Secret("https://hooks.slack.com/services/T0/B0/secretsecret")
    alerts(shop).channels.add("checkout-api", "slack", address, actor=ADMIN, least_severity="warning")
    page = shop.open("alerts", project="checkout-api")
    (row,) = next(rows for rows in tables(page) if rows and "Address" in rows[0])
    assert (row["Channel"], row["Address"], row["Gets"], list(row["State"])) == (
        "Slack",
        "hooks.slack.com/…cret",
        "Warnings and critical",
        ["On"],
    )
    assert "no channel was added" not in texts(page)


def test_administrators_have_the_platforms_own(shop: Dashboard):
    page = shop.open("alerts", of="platform")
    assert "all projects" in texts(page)
    assert "Add a channel" in buttons(page)
    assert not page.exception
