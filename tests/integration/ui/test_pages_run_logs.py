"""Runs > Run logs: finding a run, and what its card says."""

from __future__ import annotations

from contextlib import closing

import pytest
from openai import APIStatusError

from lib.errors import QodexError
from lib.formatting import moneys
from lib.platform import Platform
from lib.secret import Secret
from lib.settings import Settings
from tests.pages import ADMIN, Dashboard, texts
from tests.upstream import GOOD_KEY, PLATFORM_KEY, ScriptedUpstream

pytestmark = pytest.mark.parametrize("database_kind", ["sqlite"])


def make_run(
    dashboard: Dashboard, slug: str = "checkout-api", *, calls: int = 1, budget: int | None = None
) -> str:
    """A run that makes calls until something stops it; returns its id."""
    run = dashboard.platform.run(slug, kind="scan", token_budget=budget)
    try:
        with run:
            for _ in range(calls):
                client = run.openai.with_options(max_retries=0)
                client.responses.create(model="gpt-5-mini", input="Hello", max_output_tokens=20)
    except (APIStatusError, QodexError):
        pass
    return run.id


def rows(dashboard: Dashboard, **address: str) -> list[str]:
    page = dashboard.open("run_logs", **address)
    return list(page.dataframe[0].value["Run"]) if page.dataframe else []


def test_without_runs_the_page_says_what_to_do(dashboard: Dashboard):
    dashboard.add("checkout-api", GOOD_KEY)
    assert "No runs match" in texts(dashboard.open("run_logs"))


def test_runs_are_listed_newest_first_fifteen_on_a_page(dashboard: Dashboard):
    dashboard.add("checkout-api", GOOD_KEY)
    made = [make_run(dashboard) for _ in range(17)]
    assert rows(dashboard) == made[:1:-1]
    assert rows(dashboard, page="2") == made[1::-1]
    assert "15 of 17 runs" in texts(dashboard.open("run_logs"))


def test_a_run_that_both_keys_paid_for_says_what_each_of_them_paid(dashboard: Dashboard, settings: Settings):
    dashboard.add("checkout-api")
    funded = Platform(settings.model_copy(update={"openai_api_key": Secret(PLATFORM_KEY)}))
    with closing(funded), funded.run("checkout-api") as run:
        run.openai.responses.create(model="gpt-5-mini", input="Hello", max_output_tokens=20)
        dashboard.platform.keys.save("checkout-api", GOOD_KEY)
        run.openai.responses.create(model="gpt-5", input="Hello")
    found = dashboard.platform.runs.show(run.id, actor=ADMIN).run
    platform_part, own_part = moneys(found.platform_nano, found.byok_nano)
    paid = [f"Platform {platform_part}", f"BYOK •••• {GOOD_KEY[-4:]} {own_part}"]
    page = dashboard.open("run_logs", run=run.id)
    assert list(page.dataframe[0].value["Paid by"][0]) == ["Platform and BYOK"]
    assert all(part in texts(page) for part in paid)


@pytest.mark.parametrize("page", ["0", "-1", "99", "two", "9" * 40])
def test_a_page_number_that_is_none_does_not_break_the_page(dashboard: Dashboard, page: str):
    dashboard.add("checkout-api", GOOD_KEY)
    make_run(dashboard)
    assert not dashboard.open("run_logs", page=page).exception


def test_runs_are_found_by_run_id_and_by_the_providers_request_id(dashboard: Dashboard):
    dashboard.add("checkout-api", GOOD_KEY)
    first, second = make_run(dashboard), make_run(dashboard)
    request = dashboard.platform.runs.show(second, actor=ADMIN).calls[0].upstream_request_id
    assert rows(dashboard, q=first) == [first]
    assert rows(dashboard, q=str(request)) == [second]
    assert rows(dashboard, q="r-nowhere") == []


def test_filters_live_in_the_address(dashboard: Dashboard):
    dashboard.add("checkout-api", GOOD_KEY)
    dashboard.add("search-ranking", GOOD_KEY)
    mine, other = make_run(dashboard), make_run(dashboard, "search-ranking")
    assert rows(dashboard, project="checkout-api") == [mine]
    assert rows(dashboard, project="search-ranking", kind="scan", status="passed", source="byok") == [other]
    assert rows(dashboard, status="failed") == []


def test_a_run_in_the_address_is_opened_with_its_calls(dashboard: Dashboard):
    dashboard.add("checkout-api", GOOD_KEY)
    page = dashboard.open("run_logs", run=make_run(dashboard, calls=3))
    calls = page.dataframe[1].value
    assert list(calls["#"]) == [1, 2, 3]
    assert [list(result) for result in calls["Result"]] == [["200"]] * 3
    assert "Passed" in texts(page)


def test_a_refused_key_shows_the_providers_words_status_code_type_and_request_id(
    dashboard: Dashboard, upstream: ScriptedUpstream
):
    dashboard.add("mobile-bff", GOOD_KEY)
    upstream.keys[GOOD_KEY] = "revoked"
    run_id = make_run(dashboard, "mobile-bff")
    page = dashboard.open("run_logs", run=run_id)
    assert "Incorrect API key provided" in page.error[0].value
    assert "Nothing was spent on the platform key" in page.error[0].value
    said = texts(page)
    for fact in ("`401`", "`invalid_api_key`", "`invalid_request_error`", "`req_", "`POST /v1/responses`"):
        assert fact in said
    assert GOOD_KEY not in said


def test_a_run_that_reached_its_budget_says_so_and_that_it_is_no_test_failure(dashboard: Dashboard):
    dashboard.add("checkout-api", GOOD_KEY)
    page = dashboard.open("run_logs", run=make_run(dashboard, calls=5, budget=40))
    assert "its own budget of 40 tokens" in page.warning[0].value
    assert "not a test failure" in page.warning[0].value
    assert "Budget exceeded" in texts(page)


def test_a_run_that_reported_failure_says_so_and_that_no_call_failed(dashboard: Dashboard):
    dashboard.add("checkout-api", GOOD_KEY)
    with dashboard.platform.run("checkout-api", kind="scan") as run:
        run.openai.responses.create(model="gpt-5-mini", input="Hello", max_output_tokens=20)
        run.finish("failed")

    page = dashboard.open("run_logs", run=run.id)

    assert "ended it as failed. No call failed." in page.error[0].value


def test_a_run_that_failed_before_any_call_says_that_it_made_none(dashboard: Dashboard):
    dashboard.add("checkout-api", GOOD_KEY)
    with dashboard.platform.run("checkout-api", kind="scan") as run:
        run.finish("failed")

    assert "It made no call." in dashboard.open("run_logs", run=run.id).error[0].value


def test_a_failed_run_whose_stream_was_given_up_does_not_say_that_no_call_failed(dashboard: Dashboard):
    dashboard.add("checkout-api", GOOD_KEY)
    with dashboard.platform.run("checkout-api", kind="scan") as run:
        with run.openai.responses.create(
            model="gpt-5-mini", input="Hello", max_output_tokens=20, stream=True
        ) as events:
            next(iter(events))
        run.finish("failed")

    said = dashboard.open("run_logs", run=run.id).error[0].value
    assert "1 of its 1 call did not complete" in said
    assert "No call failed" not in said


def test_a_run_that_its_workers_own_error_ended_says_that_no_call_failed(dashboard: Dashboard):
    dashboard.add("checkout-api", GOOD_KEY)
    run = dashboard.platform.run("checkout-api", kind="scan")

    def work() -> None:
        with run:
            run.openai.responses.create(model="gpt-5-mini", input="Hello", max_output_tokens=20)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        work()
    shown = dashboard.open("run_logs", run=run.id).error[0].value
    assert "An error in its worker ended it. No call failed." in shown


def test_an_unknown_run_is_told_in_a_sentence(dashboard: Dashboard):
    dashboard.add("checkout-api", GOOD_KEY)
    page = dashboard.open("run_logs", run="r-000000000000")
    assert not page.exception
    assert "no run of that id" in texts(page)


def test_what_an_upstream_says_is_shown_as_text_and_never_as_markdown(
    dashboard: Dashboard, upstream: ScriptedUpstream
):
    from tests.upstream_behaviours import Behaviour

    dashboard.add("checkout-api", GOOD_KEY)
    evil = "![x](https://evil.example/x.png) :red[pay now] $x$"
    upstream.queue(Behaviour(status=400, json={"error": {"message": evil, "code": "`![y](z)", "type": "t"}}))
    page = dashboard.open("run_logs", run=make_run(dashboard))
    assert r"\!\[x\]" in page.error[0].value
    assert r"\:red\[pay" in page.error[0].value.replace("\u2060", "")
    assert "``" in page.table[0].value.to_string() + texts(page)


@pytest.mark.parametrize("page", ["run_logs", "usage", "audit_log"])
def test_a_project_that_one_cannot_see_is_said_and_never_stands_for_all(dashboard: Dashboard, page: str):
    dashboard.add("checkout-api", GOOD_KEY)
    make_run(dashboard)

    shown = dashboard.open(page, project="of-somebody-else")

    assert "This link names no such project that you can see" in " ".join(w.value for w in shown.warning)
