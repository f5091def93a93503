"""Documentation that can be generated is: these tests keep it so."""

from __future__ import annotations

import re

import pytest

from lib.settings import Settings
from tests.write_docs import BLOCKS, ROOT, written


@pytest.mark.parametrize("file", BLOCKS)
def test_what_the_code_says_stands_in_the_docs(file: str):
    assert (ROOT / file).read_text() == written(file), "run: python -m tests.write_docs"


def test_every_setting_has_a_variable_and_a_description():
    for name, field in Settings.model_fields.items():
        assert field.validation_alias, name
        assert field.description, name


def test_links_of_the_docs_lead_to_files():
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        for target in re.findall(r"\]\(([^)#:]+)\)", path.read_text()):
            assert (path.parent / target).exists(), f"{path.name}: {target}"
