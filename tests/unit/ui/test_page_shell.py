"""The HTML that pages begin as, of the Streamlit that is installed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from streamlit import file_util

from lib.ui.shell.startup import page_shell

FOLDER = Path(file_util.get_static_dir()) / "static" / "js"
HTML = page_shell().html
READY, FETCHED = (
    [
        path.removeprefix("/static/js/")
        for path in re.findall(f'<meta name="{kind}" content="([^"]+)"', HTML)[0].split()
    ]
    for kind in ("soon", "fetched")
)
NEEDED = ("ArrowVegaLiteChart", "embed", "Metric", "Selectbox", "Html")
LATER = ("DataFrame", "Multiselect")


@pytest.mark.parametrize("modules", [READY, FETCHED])
def test_modules_that_are_loaded_before_they_are_needed_exist_and_are_named_once(modules: list[str]):
    assert modules
    assert len(modules) == len(set(modules))
    assert all((FOLDER / name).is_file() for name in modules)


@pytest.mark.parametrize("part", NEEDED)
def test_parts_for_the_first_chart_are_made_ready(part: str):
    """A newer Streamlit may call them otherwise: then pages take longer again."""
    assert [name for name in READY if name.startswith(f"{part}.")]


@pytest.mark.parametrize("part", LATER)
def test_parts_for_tables_and_filters_are_fetched(part: str):
    assert [name for name in FETCHED if name.startswith(f"{part}.")]


def test_nothing_that_a_fetched_module_imports_has_to_be_asked_for_when_it_has_come():
    imports = re.compile(r"""\bfrom\s*["']\./([^"']+)["']""")
    imported = {
        each for name in FETCHED for each in imports.findall((FOLDER / name).read_text(encoding="utf-8"))
    }
    assert {name for name in imported if name not in HTML} == set()
