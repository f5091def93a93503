"""Labels of projects on the pages: a filter in the address of Overview and Usage, of what the viewer may see."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest

from lib.clock import DAY
from lib.reports.models import UsageFilter
from lib.ui.base import loaders
from lib.ui.usage import export_card
from lib.web.downloads.links import Signer, new_browser
from tests.integration.ui.test_pages_spend import _now, metrics, use
from tests.pages import ADMIN, Dashboard, texts

pytestmark = pytest.mark.parametrize("database_kind", ["sqlite"])


@pytest.fixture
def labelled(dashboard: Dashboard) -> Dashboard:
    """Two projects of one cost centre and one without; their calls are of today."""
    loaders.forget()
    for slug, cost in (("checkout-api", "1.50"), ("mobile-bff", "0.25"), ("docs", "4")):
        dashboard.add(slug)
        use(dashboard, f"0,{slug},byok,gpt-5,{cost}")
        if slug != "docs":
            label(dashboard, slug, "4711")
    return dashboard


def label(dashboard: Dashboard, slug: str, value: str) -> None:
    dashboard.platform.project_changes.describe(slug, labels={"cost_centre": value}, actor=ADMIN)


def projects(dashboard: Dashboard, **address: str) -> list[str]:
    return dashboard.open("overview", **address).dataframe[0].value["Project"].tolist()


@pytest.mark.parametrize(
    ("asked", "total"),
    [("cost_centre=4711", "$1.75"), ("cost_centre=", "$4.00"), ("cost_centre=never", "$5.75")],
)
@pytest.mark.parametrize("name", ["usage", "overview"])
def test_a_link_with_a_label_shows_what_its_projects_spent(
    labelled: Dashboard, name: str, asked: str, total: str
):
    page = labelled.open(name, label=asked)
    assert not page.exception
    assert metrics(page)["Total spend"] == total
    if asked.endswith("never"):
        assert "This link names no such label that you can see; showing all." in texts(page)


def test_overview_lists_the_projects_that_have_the_label_now_or_had_it_when_they_spent(labelled: Dashboard):
    labelled.add("quiet")
    label(labelled, "quiet", "4711")
    label(labelled, "mobile-bff", "")
    assert sorted(projects(labelled, label="cost_centre=4711")) == ["checkout-api", "quiet"]
    assert sorted(projects(labelled, label="cost_centre=")) == ["docs", "mobile-bff"]


def test_no_choice_of_labels_stands_where_there_are_none(dashboard: Dashboard):
    loaders.forget()
    dashboard.add("checkout-api")
    use(dashboard, "1,checkout-api,byok,gpt-5,1")
    for name in ("usage", "overview"):
        page = dashboard.open(name)
        assert "Labels" not in {choice.label for choice in page.multiselect}
        assert not page.exception


def test_what_was_spent_before_the_day_of_a_label_stays_without_it(labelled: Dashboard):
    use(labelled, f"{2 * DAY // 3_600_000_000},docs,byok,gpt-5,8")
    label(labelled, "docs", "4711")
    spent = labelled.platform.reports.totals(UsageFilter(labels=["cost_centre=4711"]), actor=ADMIN)
    assert spent.byok_nano == 5_750_000_000


def test_the_file_has_columns_of_labels_where_they_are_asked_for(
    labelled: Dashboard, monkeypatch: pytest.MonkeyPatch
):
    browser = new_browser()
    monkeypatch.setattr(export_card, "this_browser", lambda: browser)
    page = labelled.open("usage", label="cost_centre=4711")
    signer, at = Signer(labelled.platform.settings), _now(labelled)
    for asked in (False, True):
        page.checkbox(key="export:labels").set_value(asked).run()
        [button] = page.get("link_button")
        [token] = parse_qs(urlsplit(button.proto.url).query)["t"]
        link = signer.read(token, browser, "csv", at)
        assert (link.labels, link.wanted.labels) == (asked, ("cost_centre=4711",))
