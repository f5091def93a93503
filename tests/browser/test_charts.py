"""What only a browser shows of the charts: that all of their words have room, and that Vega has nothing to say."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page

from lib.clock import iso
from tests.browser.sample import fill
from tests.browser.visit import PATIENCE, Served, Visit, served

PAGES: dict[str, tuple[str, dict[str, str]]] = {
    "overview": ("", {}),
    "usage": ("usage", {}),
    "usage of one project": ("usage", {"project": "checkout-api", "period": "7d"}),
    "usage of a day": ("usage", {"period": "24h"}),
    "usage of a quarter": ("usage", {"period": "90d"}),
    "plan": ("plan", {"project": "checkout-api"}),
}
WIDTHS = (1280, 1024, 420)

_ALL_DRAWN = """() => {
    const charts = [...document.querySelectorAll('[data-testid=stVegaLiteChart]')];
    return charts.length && charts.every(each => each.querySelector('svg.marks')); }"""
_PLACES = """() => [...document.querySelectorAll('svg.marks text')]
    .map(each => { const box = each.getBoundingClientRect(); return [each.textContent, box.x, box.y] })"""
_CUT = """() => [...document.querySelectorAll('svg.marks')].flatMap(svg => {
    const room = svg.getBoundingClientRect();
    return [...svg.querySelectorAll('.role-legend-label text')]
        .filter(each => { const box = each.getBoundingClientRect();
            return box.left < room.left || box.right > room.right + 1 || box.top < room.top - 1 })
        .map(each => each.textContent) })"""
_COVERED = """() => [...document.querySelectorAll('svg.marks text')]
    .filter(each => each.textContent === 'so far').flatMap(words => {
        const box = words.getBoundingClientRect();
        return [...words.closest('svg').querySelectorAll('.mark-rect.role-mark path')]
            .filter(bar => bar.getAttribute('opacity') !== '0' && bar.getBoundingClientRect().height > 1)
            .map(bar => bar.getBoundingClientRect())
            .filter(bar => bar.left < box.right - 1 && bar.right > box.left + 1
                && bar.top < box.bottom - 3 && bar.bottom > box.top + 3)
            .map(bar => [bar.left, bar.top, box.left, box.top]) })"""


@pytest.fixture(scope="module")
def in_use(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Eight projects, ninety days of calls and a few runs."""
    with served(tmp_path_factory.mktemp("charts")) as running:
        fill(running.platform, running.upstream)
        yield running


def look_at(page: Page, dashboard: Served, name: str, width: int = 1280) -> Page:
    """Open a page and wait until its charts have settled."""
    page.set_viewport_size({"width": width, "height": 900})
    path, query = PAGES[name]
    Visit(page, dashboard.address).open(path, **query)
    page.wait_for_function(_ALL_DRAWN, timeout=PATIENCE)
    before: Any = None
    while before != (now := page.evaluate(_PLACES)):
        before = now
        page.wait_for_timeout(500)
    return page


@pytest.mark.parametrize("name", PAGES)
def test_vega_warns_of_nothing(name: str, page: Page, in_use: Served):
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    look_at(page, in_use, name)
    assert [line for line in said if "WARN" in line or "ERROR" in line] == []


_FIRST_CHART = """new MutationObserver(() => {
    if (window.besideTheFirst || !document.querySelector('[data-testid=stVegaLiteChart] :is(canvas, svg)')) return;
    window.besideTheFirst = document.querySelectorAll('[data-testid=stVegaLiteChart], [data-testid=stDataFrame]').length;
}).observe(document, { subtree: true, childList: true })"""


def test_the_first_chart_is_drawn_before_what_is_below_it(page: Page, in_use: Served):
    page.add_init_script(_FIRST_CHART)
    look_at(page, in_use, "usage")
    assert page.evaluate("window.besideTheFirst") == 1


_AXES = """() => [...document.querySelectorAll('svg.marks .role-axis-label, svg.marks .role-legend-label')]
    .map(axis => [...axis.querySelectorAll('text')].map(label => label.textContent)
        .filter(text => /^[$]?[0-9][0-9,.]*$/.test(text))).filter(labels => labels.length)"""


def import_costs(dashboard: Served, *costs: str) -> None:
    """Calls of today, one a model, at these costs."""
    from lib.exchange.imports.import_usage import import_usage

    platform = dashboard.platform
    platform.projects.add("tiny", actor=platform.actor)
    with platform.database.read() as connection:
        now = iso(platform.database.now(connection))
    rows = [f"{now},tiny,model-{at},{1500 * at},{at},{cost}" for at, cost in enumerate(costs, 1)]
    text = "\n".join(["occurred_at,project,model,input_tokens,output_tokens,cost_usd", *rows])
    file = io.BytesIO(text.encode())
    import_usage(platform.database, platform.prices, file, name="costs.csv", actor=platform.actor)


@pytest.mark.parametrize("costs", [("118", "0.0042"), ("0.03", "0.012"), ("0.0042", "0.0007"), ("3.5",)])
def test_the_labels_of_an_axis_have_equal_decimals(costs: tuple[str, ...], page: Page, tmp_path: Path):
    with served(tmp_path) as dashboard:
        import_costs(dashboard, *costs)
        look_at(page, dashboard, "usage of a day")
        axes = page.evaluate(_AXES)
        sums = page.locator("svg.marks .mark-text.role-mark text").all_text_contents()
    assert sum("$" in labels[0] for labels in axes) >= 1
    for labels in [*axes, [text for text in sums if "$" in text]]:
        assert len({len(text.partition(".")[2]) for text in labels}) == 1, labels


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", ["overview", "usage", "usage of one project"])
def test_no_legend_is_cut(name: str, width: int, page: Page, in_use: Served):
    look_at(page, in_use, name, width)
    assert page.locator(".role-legend-label text").count()
    assert page.evaluate(_CUT) == []
    if name == "usage":
        no_bar_covers_the_words_beside_it(page)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", ["usage of a day", "usage of a quarter"])
def test_the_bar_that_is_not_over_is_marked_beside_all_bars(
    name: str, width: int, page: Page, in_use: Served
):
    look_at(page, in_use, name, width)
    no_bar_covers_the_words_beside_it(page)


def no_bar_covers_the_words_beside_it(page: Page) -> None:
    assert "so far" in page.locator("svg.marks text").all_text_contents()
    assert page.evaluate(_COVERED) == []
