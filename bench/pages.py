"""The two pages in Chromium against an empty page of the same server.

``BENCH_EVENTS`` is the number of events: 10000000 for the full size.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from playwright.sync_api import BrowserContext, Page

from bench import generator
from bench.measure import median, table, verdict
from lib.settings import ROOT
from tests.chromium import running_chromium
from tests.services import running_dashboard

EVENTS = int(os.environ.get("BENCH_EVENTS", "1000000"))
PAGES = {"Overview": "/", "Usage": "/usage", "Usage of one project": "/usage?project=project-001"}
_ROUNDS = 7
_PATIENCE = 60_000
_FIRST_CHART, _WHOLE, _CHANGE_MS = 1.5, 2.5, 200
"""Aims: of the empty page's time until the first chart and until the whole page, and above an empty rerun."""
_CALM = 1_500  # ms, several times what a change takes

# In the browser itself, at each frame: what a person sees, not what the server has sent.
_STILL = "document.querySelector('[data-testid=stApp]')?.dataset.testScriptState === 'notRunning'"
_PAINTED = f"""() => {{
    const charts = [...document.querySelectorAll('[data-testid=stVegaLiteChart]')];
    const drawn = charts.every(chart => {{
        const picture = chart.querySelector('canvas, svg');
        return picture && picture.getBoundingClientRect().height > 0;
    }});
    const waiting = document.querySelector('[data-testid=stSkeleton]');
    return {_STILL} && charts.length && drawn && !waiting && WORDS && performance.now();
}}"""
# Of what a page has to say in a chart, the first that is large enough to be read; the small ones above it are no answer.
_FIRST = """() => [...document.querySelectorAll('[data-testid=stVegaLiteChart]')].some(chart => {
    const picture = chart.querySelector('canvas, svg');
    return picture && picture.getBoundingClientRect().height > 150;
}) && WORDS && performance.now()"""
_BARE = f"() => {_STILL} && WORDS && performance.now()"
# A change is watched from within and read afterwards: asking at each frame costs more than what is watched.
_WATCHED = """which => {
    const seen = node => (node.closest ? node : node.parentElement)?.closest(which);
    const note = () => { window.drawnAt = performance.now() };
    const watch = new MutationObserver(all => all.some(each => seen(each.target)) && note());
    watch.observe(document.body, { subtree: true, childList: true, attributes: true, characterData: true });
}"""
_CHARTS, _TEXT = "[data-testid=stVegaLiteChart]", "[data-testid=stMarkdown]"


def main() -> None:
    """Print the tables."""
    path = generator.sqlite_file(EVENTS)
    with served(path) as address, running_chromium() as browser:
        context = browser.new_context(viewport={"width": 1440, "height": 900})
        _print_navigation(context, address)
        _print_change(context, address)


@contextmanager
def served(database: Path, *, defaults: bool = False) -> Iterator[str]:
    """Serve a generated database; ``defaults``: with Streamlit's settings, not ours."""
    secrets = generator.secrets()
    environment = {
        "DATABASE_URL": f"sqlite:///{database}",
        "QODEX_MASTER_KEYS": secrets["master_keys"].reveal(),
        "QODEX_OPENAI_API_KEY": secrets["openai_api_key"].reveal(),
        "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH")))),
        **({"BENCH_DEFAULTS": "1"} if defaults else {}),
    }
    options = ["--server.fileWatcherType=auto", "--runner.postScriptGC=true"] if defaults else []
    with (
        tempfile.TemporaryDirectory() as folder,
        running_dashboard(
            environment, Path(folder) / "log", script="bench/served/app.py", options=options
        ) as address,
    ):
        yield address


# --- in the browser --------------------------------------------------------------------------------


class Tab:
    """One tab, and how many bytes came over its web socket."""

    def __init__(self, page: Page) -> None:
        self.page, self.received = page, 0
        page.on("websocket", lambda socket: socket.on("framereceived", self._count))

    def _count(self, payload: str | bytes) -> None:
        self.received += len(payload)

    def wait(self, condition: str, words: str = "") -> float:
        """When, milliseconds after the navigation, the page is drawn and shows these words."""
        shown = f"document.body.innerText.includes('{words}')" if words else "true"
        found = self.page.wait_for_function(
            condition.replace("WORDS", shown), polling="raf", timeout=_PATIENCE
        )
        return float(found.json_value())


def _print_navigation(context: BrowserContext, address: str) -> None:
    # How much of the time is Streamlit's own, once there is anything to draw: a chart and a table of its own.
    drawn = {"a chart and a table alone": "/plain", **PAGES}
    _navigation(context, f"{address}/empty", _BARE, _BARE, "run 1.")  # warms both, server and browser
    for path in drawn.values():
        _navigation(context, address + path, _FIRST, _PAINTED)
    found: dict[str, list[Navigation]] = {name: [] for name in ("empty", *drawn)}
    for _ in range(_ROUNDS):
        found["empty"].append(_navigation(context, f"{address}/empty", _BARE, _BARE, "run 1."))
        for name, path in drawn.items():
            found[name].append(_navigation(context, address + path, _FIRST, _PAINTED))
    floor = median([each.whole for each in found["empty"]])
    rows = []
    for name, each in found.items():
        first, whole = (median([getattr(one, which) for one in each]) for which in ("first", "whole"))
        aims = (_FIRST_CHART, _WHOLE) if name in PAGES else (None, None)
        shares = [
            f"{took / floor:.2f}×" if aim is None else verdict(took / floor, aim)
            for took, aim in zip((first, whole), aims, strict=True)
        ]
        size = max(one.received for one in each)
        rows.append((name, f"{first:.0f}", shares[0], f"{whole:.0f}", shares[1], f"{size / 1e3:.0f}"))
    against = "against the empty page"
    header = ("page", "ms to the first chart", against, "ms to all charts", against, "kB over the web socket")
    table(f"Navigation in Chromium, {EVENTS:,} events, warm", header, rows)


class Navigation(NamedTuple):
    """Milliseconds until the first chart and the whole page are painted, and bytes over the web socket."""

    first: float
    whole: float
    received: int


def _navigation(context: BrowserContext, url: str, first: str, whole: str, words: str = "") -> Navigation:
    page = context.new_page()
    tab = Tab(page)
    page.goto(url, wait_until="commit")
    times = tab.wait(first, words), tab.wait(whole, words)
    page.close()
    return Navigation(*times, tab.received)


def _print_change(context: BrowserContext, address: str) -> None:
    empty = Tab(context.new_page())
    empty.page.goto(f"{address}/empty")
    empty.wait(_BARE, "run 1.")
    empty.page.evaluate(_WATCHED, _TEXT)
    floor = median([_again(empty, number) for number in range(2, 2 + _ROUNDS)])
    rows = [("empty rerun", f"{floor:.0f}", "", "")]
    for name in ("Overview", "Usage"):
        tab = Tab(context.new_page())
        tab.page.goto(address + PAGES[name])
        tab.wait(_PAINTED)
        tab.page.evaluate(_WATCHED, _CHARTS)
        times, sizes = [], []
        for period, words in (("Last 7 days", "7 d before"), ("Last 30 days", "30 d before")) * 4:
            before = tab.received
            times.append(_choose(tab, period, f"vs {words}"))
            sizes.append(tab.received - before)
        added = median(times) - floor
        target = f"{added:.0f} (target ≤ {_CHANGE_MS}{'' if added <= _CHANGE_MS else ', MISSED'})"
        rows.append((f"{name}: another period", f"{median(times):.0f}", target, f"{max(sizes) / 1e3:.0f}"))
        tab.page.close()
    header = ("change", "ms to painted charts", "above the empty rerun, ms", "kB over the web socket")
    table(f"A filter change in Chromium, {EVENTS:,} events", header, rows)


_CLOCK = "element => element.addEventListener('click', () => { window.clickedAt = performance.now() }, true)"


def _again(tab: Tab, number: int) -> float:
    button = tab.page.get_by_role("button", name="Again")
    button.evaluate(_CLOCK)
    button.click()
    return _drawn(tab, f"run {number}.")


def _choose(tab: Tab, period: str, words: str) -> float:
    tab.page.get_by_role("combobox", name="Period").click()
    option = tab.page.get_by_role("option", name=period, exact=True)
    option.evaluate(_CLOCK)
    option.click()
    return _drawn(tab, words)


def _drawn(tab: Tab, words: str) -> float:
    """Milliseconds from the click to the last change of what is watched, once the page says these words."""
    tab.page.wait_for_timeout(_CALM)
    tab.wait(_BARE, words)
    return float(tab.page.evaluate("window.drawnAt - window.clickedAt"))


if __name__ == "__main__":
    main()
