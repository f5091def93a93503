"""What only a browser shows of the charts: that all of their words have room, and that Vega has nothing to say."""

from __future__ import annotations

import io
from collections.abc import Iterator
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
WITH_PART = ("usage", "usage of a day", "usage of a quarter")
"""Where a bar is not over, and marked."""
WITH_LEGEND = ("overview", "usage", "usage of one project")

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


def look_at(page: Page, dashboard: Served, name: str, width: int = 1280, **more: str) -> Page:
    """Open a page and wait until its charts have settled; at another width, if it is open already."""
    page.set_viewport_size({"width": width, "height": 900})
    path, query = PAGES[name]
    if page.url == "about:blank":
        Visit(page, dashboard.address).open(path, **query, **more)
    page.wait_for_function(_ALL_DRAWN, timeout=PATIENCE)
    before: Any = None
    while before != (now := page.evaluate(_PLACES)):
        before = now
        page.wait_for_timeout(500)
    return page


@pytest.mark.parametrize("narrow", [False, True], ids=["wide and less wide", "a telephone"])
@pytest.mark.parametrize("name", PAGES)
def test_vega_warns_of_nothing_no_legend_is_cut_and_no_bar_covers_the_words_beside_it(
    name: str, narrow: bool, page: Page, in_use: Served
):
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    for width in [420] if narrow else [1280, 1024]:
        look_at(page, in_use, name, width)
        assert page.evaluate(_CUT) == []
        words = page.locator("svg.marks text").all_text_contents()
        assert ("so far" in words) >= (name in WITH_PART)
        assert page.locator(".role-legend-label text").count() >= (name in WITH_LEGEND)
        assert page.evaluate(_COVERED) == []
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
COSTS = {
    "a-lot": ("118", "0.0042"),
    "cents": ("0.03", "0.012"),
    "less": ("0.0042", "0.0007"),
    "alone": ("3.5",),
}


@pytest.fixture(scope="module")
def costs_of_today(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Calls of today, one a model, at the costs of ``COSTS``, in a project each."""
    from lib.exchange.imports.import_usage import import_usage

    with served(tmp_path_factory.mktemp("costs")) as running:
        platform = running.platform
        with platform.database.read() as connection:
            now = iso(platform.database.now(connection))
        lines = ["occurred_at,project,model,input_tokens,output_tokens,cost_usd"]
        for slug, costs in COSTS.items():
            platform.projects.add(slug, actor=platform.actor)
            lines += [f"{now},{slug},model-{at},{1500 * at},{at},{cost}" for at, cost in enumerate(costs, 1)]
        file = io.BytesIO("\n".join(lines).encode())
        import_usage(platform.database, platform.prices, file, name="costs.csv", actor=platform.actor)
        yield running


@pytest.mark.parametrize("slug", COSTS)
def test_the_labels_of_an_axis_have_equal_decimals(slug: str, page: Page, costs_of_today: Served):
    look_at(page, costs_of_today, "usage of a day", project=slug)
    axes = page.evaluate(_AXES)
    sums = page.locator("svg.marks .mark-text.role-mark text").all_text_contents()
    assert sum("$" in labels[0] for labels in axes) >= 1
    for labels in [*axes, [text for text in sums if "$" in text]]:
        assert len({len(text.partition(".")[2]) for text in labels}) == 1, labels
