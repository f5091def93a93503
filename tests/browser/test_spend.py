"""Overview and Usage as a person meets them: bars, tables and names lead on, and new calls show up by themselves."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.sample import fill
from tests.browser.visit import PATIENCE, Served, Visit, served

_HEADER, _ROW = 35, 34  # pixels of a table


@pytest.fixture(scope="module")
def in_use(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Eight projects, ninety days of calls and a few runs."""
    with served(tmp_path_factory.mktemp("spend")) as running:
        fill(running.platform, running.upstream)
        yield running


def when_drawn(page: Page, element: Locator) -> Locator:
    """A chart or a table, once it has come to rest."""
    element.scroll_into_view_if_needed()
    element.locator("canvas, svg.marks").first.wait_for(timeout=PATIENCE)
    before = b""
    # Charts and tables draw themselves after they are there: until two pictures of them are the same.
    while before != (now := element.screenshot()):
        before = now
        page.wait_for_timeout(500)
    return element


def click_in(page: Page, element: Locator, x: float, y: float) -> None:
    """A click so far right of and below an element's corner, once it is drawn."""
    box = when_drawn(page, element).bounding_box()
    assert box
    # A hand comes from somewhere: a table that has not seen it coming does not take its click.
    page.mouse.move(box["x"] + x, box["y"] + y)
    page.wait_for_timeout(200)
    page.mouse.click(box["x"] + x, box["y"] + y)


def asked(page: Page) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(page.url).query).items()}


@pytest.mark.parametrize("path", ["", "usage"])
def test_a_click_on_a_bar_narrows_the_page_to_its_day(path: str, page: Page, in_use: Served):
    visit = Visit(page, in_use.address).open(path)
    chart = page.locator("[data-testid=stVegaLiteChart][aria-label^='Spend per day']")
    click_in(page, chart, 500, 150)
    visit.sees("hours in UTC")
    address = asked(page)
    assert address["period"] == "custom"
    assert address["from"] == address["to"]


def test_a_click_is_followed_again_after_one_has_been_taken_back(page: Page, in_use: Served):
    visit = Visit(page, in_use.address).open("usage")
    chart = page.locator("[data-testid=stVegaLiteChart][aria-label^='Spend per day']")
    for _ in range(2):
        click_in(page, chart, 500, 150)
        visit.sees("hours in UTC")
        visit.choose("Period", "Last 30 days").sees("vs 30 d before", "days in UTC")
        assert "period" not in asked(page)


@pytest.mark.parametrize("path", ["", "usage"])
def test_another_period_is_drawn_into_the_charts_and_tables_that_are_there(
    path: str, page: Page, in_use: Served
):
    visit = Visit(page, in_use.address).open(path)
    drawn = page.locator("[data-testid=stVegaLiteChart] svg.marks, [data-testid=stDataFrame]")
    expect(page.locator("[data-testid=stVegaLiteChart] svg.marks").first).to_be_visible(timeout=PATIENCE)
    number = drawn.count()
    drawn.evaluate_all("all => all.forEach(each => { each.dataset.seen = 'yes' })")
    labels = page.locator("svg.marks").nth(0 if path else -1).locator(".role-axis-label text")
    before = labels.all_text_contents()
    visit.choose("Period", "Last 7 days").sees("vs 7 d before")
    expect(labels).not_to_have_text(before, timeout=PATIENCE)
    assert drawn.count() == number
    assert set(drawn.evaluate_all("all => all.map(each => each.dataset.seen)")) == {"yes"}
    expect(page.locator("svg.marks").last).to_be_visible()
    again = places_of_labels(page)
    visit.open(path, period="7d")
    expect(labels).not_to_have_text(before, timeout=PATIENCE)
    page.wait_for_function(_SETTLED, arg=again, timeout=PATIENCE)


_PLACES = """[...document.querySelectorAll('svg.marks .role-axis-label text')]
    .filter(each => each.textContent && each.getAttribute('opacity') !== '0')
    .map(each => `${each.textContent} ${Math.round(each.getBoundingClientRect().x)}`).sort().join()"""
_SETTLED = f"again => {_PLACES} === again"


def places_of_labels(page: Page) -> str:
    """Every label of every axis, and how far from the left it stands."""
    page.wait_for_timeout(1_000)
    return str(page.evaluate(_PLACES))


def test_a_chart_turns_into_its_table_and_back(page: Page, in_use: Served):
    visit = Visit(page, in_use.address).open("usage")
    tables = page.get_by_test_id("stDataFrame").count()
    visit.page.get_by_role("button", name="Table").first.click()
    expect(page.get_by_test_id("stDataFrame")).to_have_count(tables + 1, timeout=PATIENCE)
    visit.page.get_by_role("button", name="Chart").first.click()
    expect(page.get_by_test_id("stDataFrame")).to_have_count(tables, timeout=PATIENCE)


def test_the_costliest_run_leads_to_its_log(page: Page, in_use: Served):
    visit = Visit(page, in_use.address).open("usage")
    click_in(page, table_of(page, "usage-costliest-runs"), 300, _HEADER + _ROW / 2)
    page.wait_for_url("**/run_logs?*", timeout=PATIENCE)
    visit.sees("payments-core")
    assert asked(page)["project"] == "payments-core"


def test_a_group_leads_to_the_usage_of_itself_alone(page: Page, in_use: Served):
    for group, said in {
        "model": "Models: gpt",
        "user": "User: nobody known",
        "key": "Key: not known",
    }.items():
        visit = Visit(page, in_use.address).open("usage", group=group)
        click_in(page, table_of(page, f"usage-groups-{group}"), 60, _HEADER + _ROW / 2)
        visit.sees(said, "match")
        assert asked(page)["group"] == group


def table_of(page: Page, key: str) -> Locator:
    """The table whose rows open, of that key."""
    return page.locator(f".st-key-opens-{key}").get_by_test_id("stDataFrame")


def test_a_change_leads_to_the_usage_of_its_project_or_model(page: Page, in_use: Served):
    for by in ("project", "model"):
        visit = Visit(page, in_use.address).open("", period="30d")
        if by == "model":
            visit.choose("What changed, by", "By model")
        click_in(page, page.get_by_test_id("stDataFrame").first, 200, _HEADER + _ROW / 2)
        page.wait_for_url(f"**/usage?*{by}=*", timeout=PATIENCE)
        visit.settle()


def test_in_a_sorted_table_a_row_leads_to_the_project_that_it_names(page: Page, in_use: Served):
    visit = Visit(page, in_use.address).open("")
    table = page.get_by_test_id("stDataFrame").last
    click_in(page, table, 80, _HEADER / 2)  # by name: checkout-api is the first
    click_in(page, table, 80, _HEADER + 19)
    page.wait_for_url("**/usage?*", timeout=PATIENCE)
    visit.settle()
    assert asked(page)["project"] == "checkout-api"


def leading_on(page: Page, path: str) -> Locator:
    """The table of the page; on Overview what changed stands before the projects."""
    tables = page.get_by_test_id("stDataFrame")
    return tables.first if path else tables.last


_LEADING_ON = pytest.mark.parametrize(
    ("path", "height", "name", "column"),
    [("", 38, "project", 1), ("run_logs", 34, "run", 2)],
    ids=["overview", "run logs"],
)


@_LEADING_ON
@pytest.mark.parametrize("way", ["a click anywhere", "a double click", "Enter"])
def test_the_row_that_is_pointed_at_opens_and_no_other(
    path: str, height: int, name: str, column: int, way: str, page: Page, in_use: Served
):
    visit = Visit(page, in_use.address).open(path)
    table = when_drawn(page, leading_on(page, path))
    third = table.locator(f"#glide-cell-{column}-2").inner_text()
    if way == "Enter":
        table.locator("canvas").first.focus()  # the first cell
        for key in ("ArrowDown", "ArrowRight", "ArrowDown", "Enter"):
            page.keyboard.press(key)
    else:
        box = table.bounding_box()
        assert box
        where = (box["x"] + 330, box["y"] + _HEADER + 2.5 * height)
        page.mouse.click(*where, click_count=2 if "double" in way else 1)
    page.wait_for_url("**/run_logs?run=*" if path else "**/usage?*", timeout=PATIENCE)
    visit.settle()
    assert asked(page)[name] == third


@_LEADING_ON
def test_a_table_whose_rows_open_shows_no_checkboxes_and_sorts_by_its_header(
    path: str, height: int, name: str, column: int, page: Page, in_use: Served
):
    Visit(page, in_use.address).open(path)
    table = when_drawn(page, leading_on(page, path))
    room = table.locator("xpath=ancestor::*[@data-testid='stElementContainer']").last.bounding_box()
    box = table.bounding_box()
    assert box
    assert room
    # The boxes are the first 32 pixels; what is left of the room is cut off.
    assert (room["x"] - box["x"], room["x"] + room["width"]) == (32, box["x"] + box["width"])
    address = page.url
    page.mouse.click(room["x"] + 40, room["y"] + _HEADER / 2)
    when_drawn(page, table)
    assert page.url == address
    cells = [table.locator(f"#glide-cell-1-{row}").inner_text() for row in range(3)]
    assert cells == sorted(cells)


@pytest.mark.parametrize("path", ["", "usage"])
def test_a_new_call_shows_up_by_itself(path: str, page: Page, in_use: Served):
    visit = Visit(page, in_use.address).open(path)
    before = page.get_by_test_id("stMetricValue").all_inner_texts()
    with in_use.platform.run("storefront-web", kind="scan") as run:
        run.openai.responses.create(model="gpt-5", input="Write a test. " * 700, max_output_tokens=90_000)
    value = page.get_by_test_id("stMetricValue").first
    expect(value).not_to_have_text(before[0], timeout=PATIENCE)
    assert visit.elsewhere == set()
