"""The HTML that pages begin as, of the Streamlit that is installed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from streamlit import file_util

from lib.ui.shell.startup import page_shell

SOON = re.findall(r'<meta name="soon" content="([^"]+)"', page_shell().html)[0].split()
MODULES = [path.removeprefix("/static/js/") for path in SOON]
NEEDED = ("ArrowVegaLiteChart", "embed", "DataFrame", "Metric", "Selectbox", "Html")


def test_modules_that_are_loaded_before_they_are_needed_exist_and_are_named_once():
    folder = Path(file_util.get_static_dir()) / "static" / "js"
    assert MODULES
    assert len(MODULES) == len(set(MODULES))
    assert all((folder / name).is_file() for name in MODULES)


@pytest.mark.parametrize("part", NEEDED)
def test_parts_for_charts_and_tables_are_among_them(part: str):
    """A newer Streamlit may call them otherwise: then pages take longer again."""
    assert [name for name in MODULES if name.startswith(f"{part}.")]
