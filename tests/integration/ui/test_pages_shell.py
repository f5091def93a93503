"""The gate, the way between pages, and what is shown when something fails."""

from __future__ import annotations

import logging

import pytest
from streamlit.testing.v1 import AppTest

from lib.ui.base.server import real_front_door
from tests import services
from tests.pages import PAGES, ROOT, Dashboard, buttons, file_of, from_main, press, texts

SIGN_IN = services.SIGN_IN | {"QODEX_EMAIL_DOMAINS": "example.com"}

pytestmark = pytest.mark.parametrize("database_kind", ["sqlite"])


@pytest.mark.parametrize("name", PAGES)
def test_a_page_that_runs_without_the_main_script_shows_nothing(dashboard: Dashboard, name: str):
    dashboard.add("checkout-api")
    page = AppTest.from_file(ROOT / "pages" / PAGES[name], default_timeout=300).run()
    assert not page.exception
    assert (texts(page), buttons(page)) == ("", [])


@pytest.mark.parametrize("name", PAGES)
def test_on_a_cold_server_no_page_is_served_past_the_gate(
    dashboard: Dashboard, name: str, monkeypatch: pytest.MonkeyPatch
):
    dashboard.add("checkout-api")
    for variable, value in SIGN_IN.items():
        monkeypatch.setenv(variable, value)
    real_front_door.clear()
    page = from_main().switch_page(file_of(name)).run()
    assert not page.exception
    assert "checkout-api" not in texts(page)
    assert [title.value for title in page.title] == ["Sign in"]


@pytest.mark.parametrize("name", PAGES)
def test_every_page_of_projects_offers_to_create_one_in_an_empty_installation(
    dashboard: Dashboard, name: str
):
    page = dashboard.open(name)
    assert not page.exception
    assert not page.error
    assert ("Create a project" in buttons(page)) is (name != "guide")


def test_a_kept_link_into_sample_data_that_is_gone_shows_the_real_projects(dashboard: Dashboard):
    dashboard.add("checkout-api")
    page = dashboard.open("integrations", sample="1")
    assert "checkout-api" in texts(page)
    assert "The sample data was removed" in texts(page)
    assert "Remove the sample data" not in buttons(page)


def test_a_first_project_is_created_in_the_browser(dashboard: Dashboard):
    page = press(dashboard.open("integrations"), "Create a project")
    page.text_input(key="new-project:slug").input("checkout-api")
    page = press(page, "Create project")
    assert [project.slug for project in dashboard.platform.projects.list(actor=dashboard.platform.actor)] == [
        "checkout-api"
    ]
    assert page.query_params["project"] == "checkout-api"


def test_a_project_that_cannot_be_named_so_is_refused_in_a_sentence(dashboard: Dashboard):
    page = press(dashboard.open("integrations"), "Create a project")
    page.text_input(key="new-project:slug").input("![x](https://evil.example/x.png)")
    page = press(page, "Create project")
    assert "short name" in page.error[0].value
    assert "evil" not in texts(page)


@pytest.mark.parametrize("name", PAGES)
def test_an_unusable_environment_is_one_sentence_on_every_page(
    dashboard: Dashboard, name: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("QODEX_TIMEZONE", "Mars/Olympus")
    real_front_door.clear()
    page = from_main().run()
    assert not page.exception
    assert "QODEX\\_TIMEZONE" in page.error[0].value
    monkeypatch.delenv("QODEX_TIMEZONE")
    assert not dashboard.open(name).error


def test_a_mistake_of_ours_is_an_error_id_on_the_page_and_a_traceback_in_the_log(
    dashboard: Dashboard, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    def broken(*_args: object, **_options: object) -> None:
        raise RuntimeError("a detail of the inside")

    dashboard.add("checkout-api")
    page = dashboard.open("integrations")
    monkeypatch.setattr("lib.access.projects.Projects.list", broken)
    with caplog.at_level(logging.ERROR):
        page = page.run()
    assert not page.exception
    assert "a detail of the inside" not in texts(page)
    error_id = page.error[0].value.split("`")[1]
    assert error_id in caplog.text
    assert "a detail of the inside" in caplog.text


def test_the_project_is_named_in_the_address_and_an_unknown_one_is_told(dashboard: Dashboard):
    dashboard.add("checkout-api")
    dashboard.add("search-ranking")
    assert dashboard.open("integrations").query_params["project"] == "checkout-api"
    assert "search" in texts(dashboard.open("integrations", project="search-ranking"))
    page = dashboard.open("integrations", project="somebody-elses")
    assert "no such project that you can see" in page.warning[0].value
    assert page.query_params["project"] in {"checkout-api", "search-ranking"}
